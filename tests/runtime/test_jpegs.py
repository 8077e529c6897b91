import io
import itertools
import zlib
from typing import Any

import numpy as np
import pytest
from lightsr import jpegs
from PIL import Image as PillowImage

from .broken.rasters import jpeg_of

RANDOM = np.random.default_rng(0)

PICTURES = {
    "noise": RANDOM.integers(0, 256, (64, 48, 3)).astype(np.uint8),
    "odd": RANDOM.integers(0, 256, (17, 41, 3)).astype(np.uint8),
    "one pixel": np.full((1, 1, 3), 9, np.uint8),
    "white": np.full((33, 70, 3), 255, np.uint8),
    "the grey of nothing": np.full((33, 70, 3), 128, np.uint8),
    "a ramp": np.indices((50, 60)).sum(0)[..., None].repeat(3, 2).astype(np.uint8),
}


def decoded(content: bytes) -> np.ndarray:
    with PillowImage.open(io.BytesIO(content)) as picture:
        return np.array(picture)


def a_jpeg(picture: str, *, colour: bool, **options: Any) -> bytes:
    pixels = PICTURES[picture]
    return jpeg_of(pixels if colour else pixels[..., 0], **options)


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize("colour", [False, True])
def test_whole_pictures_pass(picture: str, colour: bool) -> None:
    """Also where encoders sent few bits, or cut a scan by restart markers."""
    for quality, subsampling, progressive, optimize, restart in itertools.product(
        (10, 95), (0, 1, 2), (False, True), (False, True), (0, 1, 3)
    ):
        options = {"quality": quality, "subsampling": subsampling, "progressive": progressive, "optimize": optimize}
        content = a_jpeg(picture, colour=colour, **options, restart_marker_blocks=restart)
        assert np.array_equal(jpegs.checked(content, decoded), decoded(content))
        found = jpegs.layout(content)
        assert (found.rows, found.columns) == PICTURES[picture].shape[:2]
        assert len(found.ends) == content.count(b"\xff\xda")
    for behind in (b"\0", b"a motion picture", b"\xff\xd9"):
        jpegs.checked(content + behind, decoded)


@pytest.mark.parametrize("picture", [name for name in PICTURES if name != "one pixel"])
@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("progressive", [False, True])
def test_a_picture_of_which_something_is_missing_is_refused(picture: str, colour: bool, progressive: bool) -> None:
    """Cut anywhere in its scans, and ended as it should be; but for its very last block."""
    content = a_jpeg(picture, colour=colour, progressive=progressive)
    whole = decoded(content)
    start, end = content.index(b"\xff\xda"), len(content) - 2
    seen = 0
    for place in range(start + 14, end, max(1, (end - start) // 50)):
        cut = content[:place] + b"\xff\xd9"
        try:
            other = jpegs.checked(cut, decoded)
        except (ValueError, OSError):
            seen += 1
            continue
        changed = np.argwhere((whole != other).reshape(*whole.shape[:2], -1).any(-1))
        # A block, and what smoothing makes of it; of a progressive picture what its last bits cover.
        assert len(changed) <= 17**2
        assert place > end - 64
    assert seen > 5


def test_what_a_decoder_makes_of_it_shows_that_the_test_is_needed() -> None:
    """Pillow gives a picture of a cut file, and of more rows than there are."""
    content = a_jpeg("noise", colour=False)
    cut = content[: len(content) // 2] + b"\xff\xd9"
    assert decoded(cut).shape == (64, 48)
    assert np.unique(decoded(cut)[48:]).tolist() == [128]
    with pytest.raises(ValueError, match="before its last row"):
        jpegs.checked(cut, decoded)


def test_a_scan_that_ends_in_fill_bytes() -> None:
    """Any number of 0xFF may stand in front of a marker; behind them the bytes that are put there would be one."""
    content = a_jpeg("a ramp", colour=False)
    assert jpegs.layout(content[:-2] + b"\xff\xff\xff\xff\xd9").ends == [len(content) - 2]
    for place in range(len(content) - 40, len(content) - 12):
        with pytest.raises(ValueError, match="before its last row"):
            jpegs.checked(content[:place] + b"\xff\xff\xd9", decoded)


def test_restart_markers_are_counted() -> None:
    content = a_jpeg("noise", colour=True, restart_marker_blocks=1, subsampling=2)
    assert content.count(b"\xff\xd0") >= 1
    jpegs.layout(content)
    for number in range(8):
        marker = bytes((0xFF, 0xD0 + number))
        if marker in content:
            with pytest.raises(ValueError, match="between its restart markers"):
                jpegs.layout(content.replace(marker, b"", 1))


def test_bits_that_a_progressive_picture_never_sent() -> None:
    content = a_jpeg("noise", colour=True, progressive=True)
    scans = [place for place in range(len(content)) if content[place : place + 2] == b"\xff\xda"]
    assert len(scans) > 5
    for place in scans[1:]:
        with pytest.raises(ValueError, match="without all of its scans|the last scans are missing"):
            jpegs.layout(content[:place] + b"\xff\xd9")


def test_a_lossless_one_is_read_where_it_may_be() -> None:
    """In DICOM; its unit is a pixel (T.81, H.1.1). `tests/oracles/test_lossless.py` has pictures and a decoder."""
    head = b"\xff\xd8" + b"\xff\xc3\0\x0b\x0c\0\x02\0\x03\x01\x01\x11\0" + b"\xff\xdd\0\x04\0\x03"
    content = head + b"\xff\xda\0\x08\x01\x01\0\x01\0\0" + b"ab\xff\xd0cd" + b"\xff\xd9"
    found = jpegs.layout(content, (jpegs.LOSSLESS,))
    assert (found.rows, found.columns, found.ends) == (2, 3, [len(content) - 2])
    with pytest.raises(ValueError, match="between its restart markers"):
        jpegs.layout(content.replace(b"\xff\xd0", b""), (jpegs.LOSSLESS,))
    for kinds in (jpegs.FRAMES, (0xC1,)):
        with pytest.raises(ValueError, match="of a kind that is not read"):
            jpegs.layout(content, kinds)


def test_padding_holds_no_marker() -> None:
    assert b"\xff" not in jpegs.PADDING
    assert zlib.crc32(jpegs.PADDING) != zlib.crc32(bytes(len(jpegs.PADDING)))
