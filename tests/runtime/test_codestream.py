"""Frames that lie about themselves never reach a decoder."""

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightsr import codestream
from lightsr.errors import ImageError
from lightsr.pixels import PixelDescription
from lightsr.syntaxes import TRANSFER_SYNTAXES

from .dicom_files import encoded, rle

PATH = Path("a.dcm")
GREY = np.arange(40 * 60, dtype=np.uint16).reshape(40, 60).astype(np.uint8)
COLOUR = np.stack([GREY, GREY // 2, 255 - GREY], axis=-1)

RLE, JPEG, J2K = (TRANSFER_SYNTAXES[f"1.2.840.10008.1.2.{end}"] for end in ("5", "4.50", "4.90"))
EXTENDED = TRANSFER_SYNTAXES["1.2.840.10008.1.2.4.51"]
LOSSLESS_JPEG = TRANSFER_SYNTAXES["1.2.840.10008.1.2.4.70"]
LOSSY_J2K = TRANSFER_SYNTAXES["1.2.840.10008.1.2.4.91"]


def a_description(**changes: Any) -> PixelDescription:
    values: dict[str, Any] = {"rows": 40, "columns": 60, "frames": 1, "samples": 1, "photometric": "MONOCHROME2"}
    values |= {"allocated": 8, "stored": 8, "low_bit": 0, "signed": False, "by_plane": False}
    return PixelDescription(**values | changes)


def refusal(content: bytes, syntax: Any, of: PixelDescription) -> str:
    with pytest.raises(ImageError) as caught:
        codestream.checked(content, syntax, of, PATH)
    assert str(caught.value).startswith("a.dcm: ")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_what_headers_say() -> None:
    found = codestream.checked(encoded(GREY, "JPEG"), JPEG, a_description(), PATH)
    assert (found.rows, found.columns, found.samples, found.precision) == (40, 60, 1, 8)
    of = a_description(samples=3, photometric="YBR_FULL_422")
    assert codestream.checked(encoded(COLOUR, "JPEG"), JPEG, of, PATH).colour == "YBR"
    of = a_description(samples=3, photometric="YBR_ICT")
    lossy = encoded(COLOUR, "JPEG2000", irreversible=True, mct=1)
    assert codestream.checked(lossy, LOSSY_J2K, of, PATH).colour == "ICT"
    deep = encoded(GREY.astype(np.uint16) << 8, "JPEG2000")
    found = codestream.checked(deep, J2K, a_description(allocated=16, stored=12), PATH)
    assert (found.precision, found.signed) == (16, False)


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
@pytest.mark.parametrize("change", [{"rows": 39}, {"columns": 61}, {"rows": 60, "columns": 40}])
def test_another_size_than_the_header(kind: str, change: dict[str, int]) -> None:
    syntax = JPEG if kind == "JPEG" else J2K
    assert "60x40x1, and a header that says" in refusal(encoded(GREY, kind), syntax, a_description(**change))
    colour = a_description(samples=3, photometric="YBR_FULL")
    assert "60x40x1, and a header that says 60x40x3" in refusal(encoded(GREY, kind), syntax, colour)


def test_a_jpeg_2000_header_that_lies() -> None:
    content = bytearray(encoded(GREY, "JPEG2000"))
    content[8:16] = struct.pack(">II", 40_000, 40_000)
    assert "in more than 65535 tiles" in refusal(bytes(content), J2K, a_description())
    content[24:32] = struct.pack(">II", 40_000, 40_000)
    message = refusal(bytes(content), J2K, a_description())
    assert "40000x40000x1, and a header that says 60x40x1" in message
    content = bytearray(encoded(GREY, "JPEG2000"))
    content[24:32] = struct.pack(">II", 1, 1)
    assert "2399 of 2400 tiles are missing" in refusal(bytes(content), J2K, a_description())
    content[8:16] = struct.pack(">II", 60_000, 60_000)
    assert "in more than 65535 tiles" in refusal(bytes(content), J2K, a_description())
    content[24:32] = bytes(8)
    assert "damaged JPEG 2000 header" in refusal(bytes(content), J2K, a_description())
    content = bytearray(encoded(COLOUR, "JPEG2000"))
    content[46] = 2
    of = a_description(samples=3, photometric="YBR_RCT")
    assert "samples differ in size or precision" in refusal(bytes(content), J2K, of)


def test_tiles_that_are_missing_or_cut_off() -> None:
    whole = encoded(GREY, "JPEG2000", tile_size=(16, 16))
    assert codestream.checked(whole, J2K, a_description(), PATH).rows == 40
    starts = [start for start in range(len(whole)) if whole[start : start + 4] == b"\xff\x90\0\x0a"]
    assert len(starts) == 12
    for missing in (0, 5, 11):
        end = starts[missing + 1] if missing < 11 else len(whole) - 2
        content = whole[: starts[missing]] + whole[end:]
        assert "of which 1 of 12 tiles are missing" in refusal(content, J2K, a_description())
    for end in range(starts[0] + 14, len(whole) - 2):
        message = refusal(whole[:end], J2K, a_description())
        assert "tiles are missing" in message or "cut off" in message or "end inside" in message
    assert codestream.checked(whole[:-2], J2K, a_description(), PATH).rows == 40  # some leave out the end
    open_end = whole[: starts[11] + 6] + bytes(4) + whole[starts[11] + 10 :]
    assert codestream.checked(open_end, J2K, a_description(), PATH).rows == 40


def test_signs_and_precision() -> None:
    content = bytearray(encoded(GREY, "JPEG2000"))
    assert "contradict each other about signed values" in refusal(bytes(content), J2K, a_description(signed=True))
    content[42] = 0x87
    assert codestream.checked(bytes(content), J2K, a_description(signed=True), PATH).signed
    content[42] = 11
    assert "12 bits, and a header that says 8 in 8" in refusal(bytes(content), J2K, a_description())
    content[42] = 9
    of = a_description(allocated=16, stored=12)
    assert codestream.checked(bytes(content), J2K, of, PATH).precision == 10
    assert "8 bits, and a header that says 12 in 16" in refusal(encoded(GREY, "JPEG"), JPEG, of)
    content = bytearray(encoded(GREY, "JPEG"))
    start = content.index(b"\xff\xc0")
    content[start + 1], content[start + 4] = 0xC1, 12
    message = refusal(bytes(content), EXTENDED, a_description(allocated=16, stored=12))
    assert "JPEG Extended of 12 bits; 8 unsigned bits are allowed" in message


def test_another_kind_than_the_transfer_syntax() -> None:
    assert "that are no JPEG 2000 codestream" in refusal(encoded(GREY, "JPEG"), J2K, a_description())
    assert "that are no JPEG" in refusal(encoded(GREY, "JPEG2000"), JPEG, a_description())
    assert "kind baseline, which is not JPEG Lossless" in refusal(encoded(GREY, "JPEG"), LOSSLESS_JPEG, a_description())
    assert "of another kind" in refusal(encoded(GREY, "JPEG", progressive=True), JPEG, a_description())
    assert "in a JP2 file; a bare codestream is allowed" in refusal(
        b"\0\0\0\x0cjP  \r\n\x87\n" + encoded(GREY, "JPEG2000"), J2K, a_description()
    )


def test_jfif_and_adobe_markers_that_contradict_each_other() -> None:
    content = encoded(COLOUR, "JPEG")
    assert content[2:4] == b"\xff\xe0"
    adobe = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
    both = content[:20] + adobe + content[20:]
    for photometric in ("RGB", "YBR_FULL_422"):
        of = a_description(samples=3, photometric=photometric)
        assert "JFIF and Adobe markers contradict each other" in refusal(both, JPEG, of)


@pytest.mark.parametrize(
    ("photometric", "options", "said"),
    [
        ("YBR_RCT", {"mct": 0}, "otherwise"),
        ("YBR_ICT", {"mct": 1}, "RCT"),
        ("YBR_FULL", {"mct": 1}, "RCT"),
        ("YBR_FULL_422", {"mct": 0}, "otherwise"),
    ],
)
def test_colours_that_contradict_each_other(photometric: str, options: dict[str, int], said: str) -> None:
    of = a_description(samples=3, photometric=photometric)
    message = refusal(encoded(COLOUR, "JPEG2000", **options), J2K, of)
    assert f"its header says {photometric}, its J2K pixels {said}" in message


def test_palette_values_in_a_lossy_picture() -> None:
    of = a_description(photometric="PALETTE COLOR")
    assert "palette values in JPEG Baseline, which changes them" in refusal(encoded(GREY, "JPEG"), JPEG, of)


def test_rle_headers() -> None:
    content = rle(GREY[None])
    codestream.checked(content, RLE, a_description(), PATH)
    assert "in 1 RLE segments; 2 are needed" in refusal(content, RLE, a_description(allocated=16, stored=12))
    message = refusal(content, RLE, a_description(rows=9000, columns=9000))
    assert "RLE segments that cannot hold 9000x9000 pixels" in message
    assert "damaged RLE header" in refusal(content[:8] + b"\x40\0\0\0" + content[12:], RLE, a_description())
    assert "damaged RLE header" in refusal(content[:4] + b"\x50\0\0\0" + content[8:], RLE, a_description())
    assert "end inside their header" in refusal(content[:63], RLE, a_description())
    deep = rle(GREY[None].astype(np.uint16))
    beyond = deep[:8] + struct.pack("<I", len(deep) + 1) + deep[12:]
    assert "RLE segments that cannot hold" in refusal(beyond, RLE, a_description(allocated=16, stored=16))


@given(
    content=st.binary(max_size=120), start=st.sampled_from([b"", b"\xff\xd8", b"\xff\x4f\xff\x51", b"\1\0\0\0@\0\0\0"])
)
@settings(deadline=None)
def test_any_bytes_are_refused_or_understood(content: bytes, start: bytes) -> None:
    for syntax in TRANSFER_SYNTAXES.values():
        if syntax.codec:
            for of in (a_description(), a_description(samples=3, photometric="RGB")):
                try:
                    codestream.checked(start + content, syntax, of, PATH)
                except ImageError as error:
                    assert "\n" not in str(error)


@pytest.mark.parametrize("kind", ["JPEG", "JPEG2000"])
def test_cut_anywhere_in_its_header_a_frame_is_refused(kind: str) -> None:
    content = encoded(GREY, kind)
    end = content.index(b"\xff\xc0") + 10 if kind == "JPEG" else content.index(b"\xff\x52") + 9
    for length in range(end):
        refusal(content[:length], JPEG if kind == "JPEG" else J2K, a_description())
