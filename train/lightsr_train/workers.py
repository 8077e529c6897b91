"""Other processes of this machine that do work for this one."""

import ctypes
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, TypeVar

from lightsr.errors import LightsrError

T = TypeVar("T")
R = TypeVar("R")

MOST = 8
"""Workers that are started unless more are asked for: each may hold three whole images."""

_AHEAD = 2
"""Items of each worker that may be done before they are wanted."""

_ENDING = (signal.SIGINT, signal.SIGTERM)
"""Signals by which people and systems end a run."""

_DIE_WITH_PARENT = 1
"""PR_SET_PDEATHSIG of prctl(2)."""


class WorkerError(LightsrError):
    """A worker that ended before its work."""


def possible() -> bool:
    """Whether there can be workers: where processes are forked, which is on Linux."""
    return sys.platform == "linux"


def in_order(
    function: Callable[[T], R], items: Sequence[T], workers: int, *, pinned: bool = False
) -> Generator[R, None, None]:
    """``map(function, items)`` by other processes, which are a few items ahead.

    They are forked, and so see what this process has in memory without a copy; they end
    with the generator, or with this process. Where they are not `possible`, this one does
    the work itself.

    Parameters
    ----------
    function : callable
        Uses neither a GPU nor torch's threads. An exception that it raises is a fault in the program.
    items : sequence
    workers : int
        Processes; with fewer than one, this one does the work itself.
    pinned : bool
        Whether tensors in the results lie in page-locked memory, from which they are copied to a GPU meanwhile.

    Raises
    ------
    WorkerError
        A worker was ended from outside, as when memory runs out, or has no shared memory.
    """
    if workers < 1 or not possible():
        yield from map(function, items)
        return
    from torch.utils.data import DataLoader  # reading alone has no need of torch

    with _signals_later(), warnings.catch_warnings():
        # Python 3.12 warns of forks beside threads, whose locks no worker needs; torch, of more workers than CPUs.
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", UserWarning)
        loader: DataLoader[Any] = DataLoader(
            _Mapped(function, items),  # type: ignore[arg-type]
            batch_size=None,
            num_workers=workers,
            prefetch_factor=_AHEAD,
            collate_fn=_as_it_is,
            worker_init_fn=partial(_begin, os.getpid()),
            multiprocessing_context="fork",
            pin_memory=pinned,
        )
        results = iter(loader)
    failure: Exception | None = None
    while failure is None:
        try:
            with _watched():
                result = next(results)
        except StopIteration:
            return
        except Exception as error:
            failure = error.with_traceback(None)  # which holds the loader, and so its workers
        else:
            yield result
    del results, loader  # those that are left end here
    told = str(failure)
    own = "in DataLoader worker process" in told  # what the function raised
    full = isinstance(failure, RuntimeError) and "shared memory" in told
    # One that ends while its tensors are fetched shows as a connection that is lost.
    lost = isinstance(failure, (ConnectionError, EOFError, FileNotFoundError)) and not own
    if not full and not lost and "DataLoader worker (pid" not in told:
        raise failure
    if full:
        raise WorkerError(
            "a worker process finds no room in /dev/shm; enlarge it (docker run --shm-size=1g), or take --workers 0"
        )
    raise WorkerError(
        "a worker process was ended from outside; memory may have run out, which --workers 0 needs less of"
    )


_watch: Any = None
"""torch's handler for a worker's end, once it has set one."""


@contextmanager
def _signals_later() -> Iterator[None]:
    """Signals that come meanwhile are heard afterwards.

    What a handler raises amid a fork is lost, and so are locks that were taken for the fork. torch's handler for a
    worker's end, which it sets here for good, is taken away again: it raises an error wherever this process is.
    """
    global _watch
    if not _hears():
        yield
        return
    heard: list[int] = []
    before: dict[int, Any] = {signal.SIGCHLD: signal.getsignal(signal.SIGCHLD)}
    before |= {each: signal.signal(each, lambda number, frame: heard.append(number)) for each in _ENDING}
    try:
        yield
    finally:
        if (now := signal.getsignal(signal.SIGCHLD)) != before[signal.SIGCHLD]:
            _watch = now
        for each, handler in before.items():
            signal.signal(each, signal.SIG_DFL if handler is None else handler)
    for each in heard:
        signal.raise_signal(each)


@contextmanager
def _watched() -> Iterator[None]:
    """While a result is waited for, torch's handler is there: a worker that ends amid a message would be waited for."""
    if _watch is None or not _hears():
        yield
        return
    before = signal.signal(signal.SIGCHLD, _watch)
    try:
        signal.raise_signal(signal.SIGCHLD)  # one may have ended before
        yield
    finally:
        signal.signal(signal.SIGCHLD, before)


def _hears() -> bool:
    """Whether this thread is the one that hears signals."""
    return threading.current_thread() is threading.main_thread()


class _Mapped:
    """What `in_order` gives, by number."""

    def __init__(self, function: Callable[[Any], Any], items: Sequence[Any]) -> None:
        self.function = function
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> Any:
        return self.function(self.items[number])


def _as_it_is(item: T) -> T:
    return item


def _begin(parent: int, number: int) -> None:
    """In a worker: leave signals to the process that it works for, and end with that."""
    os.setpgid(0, 0)  # neither Ctrl-C nor a signal to the run's group
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
    if os.getppid() != parent:  # it ended in the meantime
        os._exit(1)
