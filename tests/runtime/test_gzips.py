import gzip
import io
import random
import time
import zlib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from lightsr import gzips

NOISE = random.Random(1).randbytes(2 * gzips.PART_BYTES)


@given(
    members=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 40)), min_size=1, max_size=4),
    limit=st.integers(0, 9000),
)
def test_members_and_zeros_between_them(members: list[tuple[int, int]], limit: int) -> None:
    """As Python's gzip module reads them."""
    content = b"".join(gzip.compress(NOISE[:length], mtime=0) + bytes(zeros) for length, zeros in members)
    total = sum(length for length, _ in members)
    assert len(gzip.decompress(content)) == total
    found = gzips.length(io.BytesIO(content), limit)
    assert found == total if total <= limit else found > limit


@pytest.mark.parametrize("step", range(-12, 13))
def test_a_member_that_ends_at_the_end_of_a_part(step: int) -> None:
    first = gzip.compress(NOISE[: gzips.PART_BYTES - 28 + step], 0, mtime=0)
    assert abs(len(first) - gzips.PART_BYTES) < 30
    content = first + gzip.compress(b"second", mtime=0)
    assert gzips.length(io.BytesIO(content), 10**9) == gzips.PART_BYTES - 28 + step + 6
    assert gzips.length(io.BytesIO(first), 10**9) == gzips.PART_BYTES - 28 + step


@given(st.integers(0, 400), st.integers(1, 255))
@example(place=10, change=8)
def test_damage_is_found(place: int, change: int) -> None:
    content = bytearray(gzip.compress(NOISE[:380], mtime=0))
    place %= len(content)
    content[place] ^= change
    if 3 <= place <= 9:  # flags, time, system: these say nothing about the content, or are wrong
        return
    if place == 10 and not change & 7:  # what stands in front of a stored block is skipped (RFC 1951, 3.2.4)
        assert gzip.decompress(content) == NOISE[:380]
        return
    with pytest.raises((zlib.error, EOFError, ValueError)):
        gzips.length(io.BytesIO(bytes(content)), 10**9)


def test_cut_anywhere_it_ends_early() -> None:
    content = gzip.compress(NOISE[:380], mtime=0)
    for end in range(len(content)):
        with pytest.raises((zlib.error, EOFError)):
            gzips.length(io.BytesIO(content[:end]), 10**9)


def test_what_would_take_hours_is_refused_at_once() -> None:
    """Python's gzip module takes zeros one by one."""
    started = time.process_time()
    for behind in (bytes(1 << 26), bytes(1 << 26) + b"x", gzip.compress(b"", mtime=0) * 250_000):
        with pytest.raises(ValueError):  # noqa: PT011
            gzips.length(io.BytesIO(gzip.compress(b"a", mtime=0) + behind), 10**9)
    assert time.process_time() - started < 30  # of minutes; on an emulated processor, too
    assert gzips.length(io.BytesIO(gzip.compress(b"a", mtime=0) + bytes(gzips.MAX_ZEROS // 2)), 10**9) == 1


def test_the_head_is_no_more_than_was_asked_for() -> None:
    assert gzips.head(io.BytesIO(gzip.compress(NOISE, mtime=0)), 540) == NOISE[:540]
    assert gzips.head(io.BytesIO(gzip.compress(b"abc", mtime=0)), 540) == b"abc"
