import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightsr import pngs
from lightsr.errors import ImageError

from .broken.rasters import a_png, chunk, grey_rows, png_header, png_of, with_checksums


@given(data=st.data())
def test_a_stream_in_any_parts(data: st.DataObject) -> None:
    """It must hold what is needed, and end properly where it ends there."""
    length = data.draw(st.integers(1, 3000))
    needed = length - data.draw(st.sampled_from([0, 0, 1, -1, 500]))
    packed = zlib.compress(bytes(n % 251 for n in range(length)), data.draw(st.sampled_from([0, 1, 9])))
    whole = data.draw(st.booleans())
    packed = packed if whole else packed[: data.draw(st.integers(0, len(packed) - 1))]
    inflated = pngs.Inflated(max(needed, 1))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(packed)), max_size=6)))
    for start, end in zip([0, *cuts], [*cuts, len(packed)], strict=True):
        inflated.take(packed[start:end])
    if whole:
        assert inflated.whole == (max(needed, 1) <= length)
    elif needed >= length:
        assert not inflated.whole
    assert inflated.length <= max(needed, 1) + 1


def test_no_more_is_opened_than_is_needed() -> None:
    packer = zlib.compressobj(1)
    inflated = pngs.Inflated(1000)
    for _ in range(200):
        inflated.take(packer.compress(bytes(1 << 20)))
    assert inflated.whole
    assert inflated.length == 1001


@pytest.mark.parametrize("place", range(12, len(a_png()), 7))
def test_any_changed_byte_is_found(place: int, tmp_path: Path) -> None:
    """Pillow looks at no check sum of a chunk of pixels."""
    content = bytearray(a_png())
    content[place] ^= 1
    (tmp_path / "a").write_bytes(content)
    with pytest.raises(ImageError):
        pngs.check(tmp_path / "a")


def test_chunks_in_parts_and_what_lies_behind(tmp_path: Path) -> None:
    path = tmp_path / "a"
    packed = zlib.compress(grey_rows())
    parts = b"".join(chunk(b"IDAT", packed[start : start + 5]) for start in range(0, len(packed), 5))
    path.write_bytes(png_header() + chunk(b"IDAT", b"") + parts + chunk(b"IEND", b"") + b"anything")
    assert pngs.check(path) is None
    path.write_bytes(png_of(grey_rows(), extra=chunk(b"pHYs", b"\0\0\0\3\0\0\0\4\1")))
    assert pngs.check(path) == (3, 4, 1)
    path.write_bytes(png_of(grey_rows() + b"more rows"))
    assert pngs.check(path) is None


def test_check_sums_can_be_put_right() -> None:
    content = bytearray(a_png())
    content[-1] ^= 1
    assert with_checksums(bytes(content)) == a_png()
