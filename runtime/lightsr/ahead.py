"""Work that goes on while the last piece of it is used: reading, the network and writing at once."""

import threading
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast

Item = TypeVar("Item")

_END: Any = object()


class CancelledError(Exception):
    """Nobody wants the rest any more."""


def ahead(items: Generator[Item, None, None], cancel: threading.Event) -> Generator[Item, None, None]:
    """Items of a generator, each made in another thread while the one before is used.

    Never more than two are there: the one that is used, and the one that is made.

    Parameters
    ----------
    items : generator
        Closed at the end, in whatever way that comes; only one thread at a time runs it.
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
    pool = ThreadPoolExecutor(1)
    try:
        coming = pool.submit(next, items, _END)
        while (item := coming.result()) is not _END:
            coming = pool.submit(next, items, _END)
            yield cast(Item, item)
            del item
    except BaseException:  # the consumer's early end among them
        cancel.set()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
        items.close()
