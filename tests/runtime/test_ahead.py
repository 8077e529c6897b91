import threading
import time
from collections.abc import Generator

import pytest
from lightsr.ahead import CancelledError, ahead


def test_never_more_than_two_items_are_there() -> None:
    made: list[int] = []

    def items() -> Generator[int, None, None]:
        for number in range(5):
            made.append(number)
            yield number

    found = []
    for number in ahead(items(), threading.Event()):
        found.append(number)
        time.sleep(0.02)  # the next one may come, the one after that may not
        assert made == list(range(min(number + 2, 5)))
    assert found == [0, 1, 2, 3, 4]


def test_reading_and_using_overlap() -> None:
    """Each item waits until the one before is in use: without a thread of its own that never happens."""
    in_use = [threading.Event() for _ in range(4)]

    def items() -> Generator[int, None, None]:
        for number in range(4):
            assert not number or in_use[number - 1].wait(5)
            yield number

    for number in ahead(items(), threading.Event()):
        in_use[number].set()


def test_an_error_comes_in_its_place() -> None:
    closed = []

    def items() -> Generator[int, None, None]:
        try:
            yield 1
            raise KeyError("broken")
        finally:
            closed.append(True)

    found = []
    with pytest.raises(KeyError, match="broken"):
        for number in ahead(items(), threading.Event()):
            found.append(number)
    assert found == [1]
    assert closed


def test_who_leaves_early_waits_for_nothing_but_the_item_in_hand() -> None:
    cancel, closed = threading.Event(), []

    def items() -> Generator[int, None, None]:
        try:
            yield 0
            for _ in range(2000):
                if cancel.is_set():
                    raise CancelledError
                time.sleep(0.005)
            raise AssertionError("nobody said that the rest is not wanted")
        finally:
            closed.append(True)

    before = threading.active_count()
    numbers = ahead(items(), cancel)
    assert next(numbers) == 0
    numbers.close()
    assert closed
    assert threading.active_count() == before


def test_one_may_feed_another() -> None:
    cancel = threading.Event()

    def doubled(numbers: Generator[int, None, None]) -> Generator[int, None, None]:
        for number in numbers:
            yield 2 * number

    inner = ahead((number for number in range(50)), cancel)
    assert list(ahead(doubled(inner), cancel)) == list(range(0, 100, 2))
    assert not cancel.is_set()
