"""Valid files made invalid, for every reader alike: a result or an `ImageError` of one line, nothing else."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from hypothesis import strategies as st
from lightsr import files
from lightsr.errors import ImageError


def mutations(content: bytes, *, begin: int = 0) -> st.SearchStrategy[bytes]:
    """`content` cut short, or with one to four of its bytes from `begin` on changed."""
    places = st.integers(begin, len(content) - 1)
    cut = places.map(lambda end: content[:end])
    changes = st.lists(st.tuples(places, st.integers(0, 255)), min_size=1, max_size=4)

    def changed(values: list[tuple[int, int]]) -> bytes:
        result = bytearray(content)
        for place, value in values:
            result[place] = value
        return bytes(result)

    return cut | changes.map(changed)


def refused(path: Path) -> str | None:
    """Message by which a file is refused, opened or read; None if all of it can be read.

    Bands must be what the frames are.
    """
    try:
        with files.opened(path) as frames:
            assert frames.count >= 1
            for number in range(min(frames.count, 3)):
                image = frames[number]
                assert image.size == frames.size
                assert np.isfinite(image.pixels).all()
                if frames.band:
                    half = image.size[0] // 2
                    parts = [frames.band(number, 0, half), frames.band(number, half, image.size[0])]
                    assert np.array_equal(np.concatenate(parts), image.pixels)
    except ImageError as error:
        assert str(error).count("\n") == 0
        assert str(path) in str(error)
        return str(error)
    return None


def cuts(content: bytes, *, end: int) -> Iterator[bytes]:
    """`content` cut at every second byte of its first `end`, then here and there, and before its last."""
    end = min(end, len(content))
    step = max(1, (len(content) - end) // 20)
    for length in (*range(1, end, 2), *range(end, len(content), step), len(content) - 1):
        yield content[:length]
