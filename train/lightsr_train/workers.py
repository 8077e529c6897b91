"""Other processes of this machine that do work for this one."""

import ctypes
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from lightsr.errors import LightsrError

T = TypeVar("T")
R = TypeVar("R")

MOST = 8
"""Workers that are started unless more are asked for: each may hold a whole image."""

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
        A worker was ended from outside, as when memory runs out.
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
            worker_init_fn=_begin,
            multiprocessing_context="fork",
            pin_memory=pinned,
        )
        results = iter(loader)
    try:
        yield from results
    except RuntimeError as error:
        if "DataLoader worker" not in str(error):
            raise
        raise WorkerError(
            "a worker process was ended from outside; memory may have run out, also that of /dev/shm; "
            "--workers 0 does without them"
        ) from error


@contextmanager
def _signals_later() -> Iterator[None]:
    """Signals that come meanwhile are heard afterwards.

    What a handler raises amid a fork is lost, and so are locks that were taken for the fork. torch's handler for a
    worker's end is taken away again: it raises an error wherever this process is, not where a result is missed.
    """
    if threading.current_thread() is not threading.main_thread():  # which alone hears signals
        yield
        return
    heard: list[int] = []
    before: dict[int, Any] = {signal.SIGCHLD: signal.getsignal(signal.SIGCHLD)}
    before |= {each: signal.signal(each, lambda number, frame: heard.append(number)) for each in _ENDING}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, signal.SIG_DFL if handler is None else handler)
    for each in heard:
        signal.raise_signal(each)


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


def _begin(number: int) -> None:
    """In a worker: leave Ctrl-C to the process that it works for, and end with that."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGKILL)
