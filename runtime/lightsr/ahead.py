"""Work that goes on while the last piece of it is used: reading, the network and writing at once."""

import contextlib
import queue
import threading
from collections.abc import Generator
from typing import Any, TypeVar

Item = TypeVar("Item")

TICK_SECONDS = 0.5
"""How often whoever waits is woken: on Windows Ctrl-C does not do that."""

_END: Any = object()


class CancelledError(Exception):
    """Nobody wants the rest any more."""


def ahead(items: Generator[Item, None, None], cancel: threading.Event) -> Generator[Item, None, None]:
    """Items of a generator, each made in another thread while the one before is used.

    Never more than two are there: the one that is used, and the one that is made.

    Parameters
    ----------
    items : generator
        Run and closed by that thread, in whatever way the end comes; it is over before this generator is.
    cancel : threading.Event
        Set when no more items are wanted. What makes an item may look at it, and raise `CancelledError`; until
        then its end is waited for.

    Yields
    ------
    The items.

    Raises
    ------
    What making an item raises, in the place of that item.
    """
    wanted = threading.Semaphore(0)
    made: queue.SimpleQueue[tuple[Item, BaseException | None]] = queue.SimpleQueue()
    over = threading.Event()

    def make() -> None:
        with contextlib.closing(items):
            while wanted.acquire() and not over.is_set():
                try:
                    item, error = next(items, _END), None
                except BaseException as caught:
                    item, error = _END, caught
                made.put((item, error))
                if item is _END:
                    return
                del item

    # A process need not wait for it that ends without closing this generator.
    thread = threading.Thread(target=make, daemon=True)
    try:
        thread.start()
        wanted.release()
        while True:
            item, error = _taken(made)
            if error is not None:
                try:
                    raise error
                finally:
                    error = None  # its traceback holds this frame, and with it the last item
            if item is _END:
                return
            wanted.release()
            yield item
            del item
    except BaseException:  # the consumer's early end among them, and an interrupt at any place
        cancel.set()
        raise
    finally:
        over.set()
        wanted.release()
        with contextlib.suppress(RuntimeError):  # interrupted before it was started
            while thread.is_alive():
                thread.join(TICK_SECONDS)


def _taken(made: "queue.SimpleQueue[tuple[Item, BaseException | None]]") -> tuple[Item, BaseException | None]:
    while True:
        with contextlib.suppress(queue.Empty):
            return made.get(timeout=TICK_SECONDS)
