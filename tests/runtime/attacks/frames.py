"""Compressed frames that lie about themselves, and tables that lie about frames."""

import importlib.util
import struct
from collections.abc import Callable

import numpy as np

from tests.runtime.dicom_files import rle

from .making import (
    COLOUR,
    GREY,
    HTJ2K,
    ITEM,
    J2K,
    JPEG,
    JPEG_LOSSLESS,
    JPEG_LS,
    OPEN,
    RLE,
    SMALL,
    Attack,
    a_rle_cine,
    a_target,
    encoded,
    item,
    patched,
    with_items,
    with_pixels,
)


def _j2k(change: Callable[[bytes], bytes] = bytes, pixels: np.ndarray = SMALL) -> Callable[[], list[bytes]]:
    return lambda: [change(encoded(pixels, "JPEG2000"))]


def _jpeg(change: Callable[[bytes], bytes] = bytes, pixels: np.ndarray = GREY) -> Callable[[], list[bytes]]:
    return lambda: [change(encoded(pixels, "JPEG"))]


def _huge(content: bytes) -> bytes:
    """A JPEG 2000 picture in one tile that claims 40000 x 40000 pixels."""
    size = struct.pack(">II", 40_000, 40_000)
    return patched(patched(content, 8, size), 24, size)


def _frame_header(content: bytes) -> int:
    """Where a JPEG's start of frame begins, or a JPEG-LS's."""
    return max(content.find(marker) for marker in (b"\xff\xc0", b"\xff\xf7"))


def _jpeg_size(rows: int, columns: int) -> Callable[[bytes], bytes]:
    return lambda content: patched(content, _frame_header(content) + 5, struct.pack(">HH", rows, columns))


def _with_second_header(content: bytes) -> bytes:
    """The right frame header, and behind it another of 40000 x 40000."""
    start = _frame_header(content)
    end = start + 2 + struct.unpack_from(">H", content, start + 2)[0]
    return content[:end] + patched(content[start:end], 5, struct.pack(">HH", 40_000, 40_000)) + content[end:]


def _with_marker(marker: bytes, payload: bytes) -> Callable[[bytes], bytes]:
    """A JPEG 2000 picture with a marker segment behind its size."""

    def change(content: bytes) -> bytes:
        end = 4 + struct.unpack_from(">H", content, 4)[0]
        return content[:end] + marker + struct.pack(">H", 2 + len(payload)) + payload + content[end:]

    return change


def _jpeg_ls(change: Callable[[bytes], bytes] = bytes) -> Callable[[], list[bytes]]:
    def frames() -> list[bytes]:
        import jpeg_ls

        return [change(bytes(jpeg_ls.encode_array(SMALL << 4)))]

    return frames


def _with_oversize(content: bytes) -> bytes:
    """An LSE segment of type 4, which may state a size of 32 bits (ISO/IEC 14495-1, C.2.4.1.4)."""
    start = _frame_header(content)
    segment = b"\xff\xf8" + struct.pack(">HBBII", 12, 4, 4, 40_000, 40_000)
    return content[:start] + segment + content[start:]


def _rle_header(*numbers: int) -> bytes:
    return struct.pack("<16I", *numbers, *[0] * (16 - len(numbers)))


def _table(count: int, offsets: tuple[int, ...]) -> Callable[[], bytes]:
    """Frames behind a basic offset table."""
    table = struct.pack(f"<{len(offsets)}I", *offsets)
    return lambda: item(table) + b"".join(item(frame) for frame in a_rle_cine(count))


def _extended(offsets: tuple[int, ...], lengths: tuple[int, ...] = (0, 0)) -> dict[str, bytes]:
    tables = (struct.pack(f"<{len(numbers)}Q", *numbers) for numbers in (offsets, lengths))
    return dict(zip(("ExtendedOffsetTable", "ExtendedOffsetTableLengths"), tables, strict=True))


_FLAT = np.zeros((3_000, 3_000), np.uint8)

FRAMES = {
    "RLE of another size": Attack(
        with_pixels(lambda: a_rle_cine(1), Rows=900, Columns=900),
        "RLE segments that cannot hold 900x900 pixels",
        "pydicom: 3 GiB for 64 x 64 pixels that claim 40000 x 40000",
    ),
    "a size that nobody has": Attack(
        with_pixels(lambda: a_rle_cine(1), Rows=40_000, Columns=40_000), "40000x40000 pixels"
    ),
    "compressed frames": Attack(
        with_pixels(lambda: a_rle_cine(1), NumberOfFrames=2**31 - 1),
        "2147483647 frames; at most 16384 frames are allowed",
        "pydicom: MemoryError for 16 TiB",
    ),
    "a frame missing": Attack(
        with_pixels(lambda: a_rle_cine(2), NumberOfFrames=3), "3 frames in 2 fragments", "pydicom #2371: StopIteration"
    ),
    "a compressed frame of any length": Attack(
        with_pixels(lambda: [a_rle_cine(1)[0] + bytes(2**21)]), "compressed bytes; at most 1064960 are allowed"
    ),
    "a frame of nothing": Attack(with_items(lambda: item(b"") + item(b"")), "end inside their header"),
    "RLE segments out of bounds": Attack(
        with_pixels(lambda: [_rle_header(2, 64, 0xFFFFFFF0) + a_rle_cine(1)[0][64:]]), "RLE segments that cannot hold"
    ),
    "RLE segments backwards": Attack(
        with_pixels(lambda: [_rle_header(2, 64, 1) + a_rle_cine(1)[0][64:]]), "RLE segments that cannot hold"
    ),
    "RLE segments without number": Attack(
        with_pixels(lambda: [_rle_header(0xFFFFFFFF, 64) + bytes(9000)]), "in 4294967295 RLE segments; 2 are needed"
    ),
    "RLE of no operation": Attack(
        with_pixels(lambda: [_rle_header(2, 64, 4160) + b"\x80" * 8192]),
        "cannot be decoded",
        "Orthanc CVE-2026-5441: an escape at the end of what is decoded",
    ),
    "RLE that ends in a run": Attack(
        with_pixels(lambda: [_rle_header(2, 64, 192) + b"\x81\0" * 63 + b"\x81\x81" + b"\x81\0" * 31 + b"\x7f"]),
        "cannot be decoded",
    ),
    "an offset table beside its fragments": Attack(
        with_items(_table(2, (0, 0xFFFFFFF0)), NumberOfFrames=2), "points beside its fragments"
    ),
    "an offset table of another length": Attack(
        with_items(_table(2, (0, 8, 16)), NumberOfFrames=2), "an offset table of 12 bytes for 2 frames"
    ),
    "an offset table backwards": Attack(
        with_items(_table(2, (9000, 0)), NumberOfFrames=2), "points beside its fragments"
    ),
    "an extended table of another length": Attack(
        with_items(_table(2, ()), NumberOfFrames=2, **_extended((0,))), "extended offset table that does not fit its 2"
    ),
    "an extended table beside its fragments": Attack(
        with_items(_table(2, ()), NumberOfFrames=2, **_extended((0, 2**64 - 16))), "points beside its fragments"
    ),
    "fragments without a delimiter": Attack(
        lambda path: (
            with_items(lambda: item(b"") + item(a_rle_cine(1)[0]))(path),
            path.write_bytes(path.read_bytes()[:-8]),
        ),
        "ends inside an element",
    ),
    "a fragment without length": Attack(
        with_items(lambda: item(b"") + ITEM + OPEN + a_rle_cine(1)[0]),
        "not in items",
        "GDCM CVE-2025-11266: writes out of bounds for malformed fragments",
    ),
    "a fragment beyond the file": Attack(
        with_items(lambda: item(b"") + item(a_rle_cine(1)[0], 0x7FFFFFF0)), "(FFFE,E000) says 2147483632 bytes"
    ),
    "something else than fragments": Attack(with_items(lambda: b"\x28\0\x10\0US\2\0" * 9), "not in items"),
    "fragments without number": Attack(with_items(lambda: item(b"") * 200_002), "more than 200000 fragments"),
    "compressed pixels of known length": Attack(lambda path: _of_known_length(path), "pixels that are not in items"),
    "JPEG of another size": Attack(
        with_pixels(_jpeg(_jpeg_size(65_500, 65_500)), JPEG, GREY), "65500x65500x1, and a header"
    ),
    "JPEG with two headers": Attack(
        with_pixels(_jpeg(_with_second_header), JPEG, GREY),
        "cannot be decoded",
        "the first is checked, the second believed",
    ),
    "JPEG of more colours": Attack(
        with_pixels(_jpeg(pixels=COLOUR), JPEG, GREY), "64x64x3, and a header that says 64x64x1"
    ),
    "JPEG of 12 bits": Attack(
        with_pixels(_jpeg(lambda c: patched(c, _frame_header(c) + 4, b"\x0c")), JPEG, GREY),
        "12 bits",
        "libjpeg-turbo CVE-2023-2804: samples beyond what 12 bits hold",
    ),
    "progressive JPEG": Attack(
        with_pixels(_jpeg(lambda c: c.replace(b"\xff\xc0", b"\xff\xc2", 1)), JPEG, GREY), "header of another kind"
    ),
    "JPEG with a segment of no length": Attack(
        with_pixels(_jpeg(lambda c: patched(c, 4, b"\0\0")), JPEG, GREY), "of another kind or damaged"
    ),
    "JPEG with codes of any length": Attack(
        with_pixels(_jpeg(lambda c: patched(c, c.index(b"\xff\xc4") + 5, b"\xff" * 16)), JPEG, GREY),
        "cannot be decoded",
    ),
    "JPEG cut off": Attack(with_pixels(_jpeg(lambda c: c[: len(c) * 3 // 4]), JPEG, GREY), "cannot be decoded"),
    "JPEG-LS of another size": Attack(
        with_pixels(_jpeg_ls(_jpeg_size(60_000, 60_000)), JPEG_LS), "60000x60000x1, and a header"
    ),
    "JPEG-LS with a second size": Attack(
        with_pixels(_jpeg_ls(_with_oversize), JPEG_LS),
        "frame 1 ",
        "CharLS GHSA-mqrg-gfc8-73ff: sides of 32 bits in a segment of their own, not limited before 2.4.4",
    ),
    "JPEG-LS of other bits": Attack(
        with_pixels(_jpeg_ls(lambda c: patched(c, _frame_header(c) + 4, b"\x02")), JPEG_LS), "of 2 bits, and a header"
    ),
    "JPEG-LS with thresholds of any size": Attack(
        with_pixels(
            _jpeg_ls(lambda c: c[:2] + b"\xff\xf8\0\x0d\x01\xff\xff\xff\xff\xff\xff\xff\xff\0\0" + c[2:]), JPEG_LS
        ),
        "",
    ),
    "lossless JPEG of another size": Attack(
        with_pixels(_jpeg(lambda c: _jpeg_size(9, 9)(c).replace(b"\xff\xc0", b"\xff\xc3", 1)), JPEG_LOSSLESS, GREY),
        "9x9x1, and a header" if importlib.util.find_spec("gdcm") else "a decoder is missing",
    ),
    "JPEG 2000 that lies": Attack(
        with_pixels(_j2k(_huge), J2K),
        "40000x40000x1, and a header that says 64x64x1",
        "pydicom: 8 GiB of address space",
    ),
    "HTJ2K that lies": Attack(with_pixels(_j2k(_huge), HTJ2K), "40000x40000x1, and a header that says 64x64x1"),
    "JPEG 2000 that begins behind its end": Attack(
        with_pixels(_j2k(lambda c: patched(c, 16, struct.pack(">II", 100, 100))), J2K),
        "-36x-36x1, and a header",
        "OpenJPEG CVE-2020-6851: sides below zero",
    ),
    "JPEG 2000 moved by two thousand million": Attack(
        with_pixels(_j2k(lambda c: patched(c, 8, struct.pack(">IIII", 2**31 + 64, 2**31 + 64, 2**31, 2**31))), J2K),
        "in more than 65535 tiles",
    ),
    "JPEG 2000 in tiles without number": Attack(
        with_pixels(_j2k(lambda c: patched(_huge(c), 24, struct.pack(">II", 1, 1))), J2K), "in more than 65535 tiles"
    ),
    "JPEG 2000 of which tiles are missing": Attack(
        with_pixels(_j2k(lambda c: patched(c, 24, struct.pack(">II", 1, 1))), J2K), "4095 of 4096 tiles are missing"
    ),
    "JPEG 2000 cut off": Attack(with_pixels(_j2k(lambda c: c[: len(c) * 3 // 4]), J2K), "a tile is cut off"),
    "JPEG 2000 of which the end is cut off": Attack(
        with_pixels(_j2k(lambda c: patched(c, c.index(b"\xff\x90") + 6, bytes(4))[: len(c) * 3 // 4]), J2K), "frame 1 "
    ),
    "JPEG 2000 tiles of the same pixels": Attack(
        with_pixels(_j2k(lambda c: c[:-2] + c[c.index(b"\xff\x90") : -2] * 50 + c[-2:]), J2K), "frame 1 "
    ),
    "JPEG 2000 in a tile of 32 bits": Attack(with_pixels(_j2k(lambda c: patched(c, 24, b"\xff" * 8)), J2K), ""),
    "JPEG 2000 without tiles": Attack(
        with_pixels(_j2k(lambda c: patched(c, 24, bytes(8))), J2K), "damaged JPEG 2000 header"
    ),
    "JPEG 2000 of many colours": Attack(
        with_pixels(_j2k(lambda c: patched(c, 40, struct.pack(">H", 16_384))), J2K), "damaged JPEG 2000 header"
    ),
    "JPEG 2000 whose colours differ in size": Attack(
        with_pixels(_j2k(lambda c: patched(c, 46, b"\x02\x02"), COLOUR), J2K, COLOUR),
        "differ in size or precision",
        "Pillow CVE-2020-10994, OpenJPEG #1347: rows of one colour read as those of another",
    ),
    "JPEG 2000 of 38 bits": Attack(
        with_pixels(_j2k(lambda c: patched(c, 42, b"\x25")), J2K), "of 38 bits, and a header"
    ),
    "JPEG 2000 of another sign": Attack(
        with_pixels(_j2k(lambda c: patched(c, 42, b"\x8f")), J2K), "contradict each other about signed"
    ),
    "JPEG 2000 with tile lengths that lie": Attack(
        with_pixels(_j2k(_with_marker(b"\xff\x55", b"\0\x60" + b"\xff" * 60_000)), J2K),
        "",
        "OpenJPEG CVE-2024-56827: writes beyond its list of tile-parts",
    ),
    "JPEG 2000 with component collections": Attack(
        with_pixels(_j2k(_with_marker(b"\xff\x75", b"\0\0\1\0\0\xff\xff" + b"\xff" * 300)), J2K),
        "",
        "OpenJPEG CVE-2016-8332: writes where a collection of components points",
    ),
    "JPEG 2000 with too many resolutions": Attack(
        with_pixels(_j2k(lambda c: patched(c, c.index(b"\xff\x52") + 9, b"\xff")), J2K), "frame 1 "
    ),
    "JPEG 2000 in a JP2 file": Attack(
        with_pixels(lambda: [b"\0\0\0\x0cjP  \r\n\x87\n" + encoded(SMALL, "JPEG2000")], J2K), "in a JP2 file"
    ),
    "JPEG 2000 bomb": Attack(
        with_pixels(_j2k(pixels=_FLAT), J2K, _FLAT),
        "compressed bytes for",
        "some hundred bytes stand for millions of pixels",
    ),
    "JPEG 2000 bomb of frames": Attack(
        with_pixels(lambda: _j2k(pixels=_FLAT[:1000, :1000])() * 100, J2K, _FLAT[:1000, :1000], NumberOfFrames=100),
        "compressed bytes for",
    ),
    "JPEG 2000 bomb of tiles": Attack(
        with_pixels(lambda: [encoded(_FLAT, "JPEG2000", tile_size=(500, 500))], J2K, _FLAT),
        "compressed bytes for",
    ),
    "JPEG 2000 that stands for as much as it may": Attack(
        with_pixels(_j2k(pixels=_FLAT[:1400, :1400]), J2K, _FLAT[:1400, :1400]), ""
    ),
    "RLE that stands for much more": Attack(
        with_pixels(lambda: a_rle_cine(1), Rows=9000, Columns=9000), "8384 compressed bytes for 154 MiB of pixels"
    ),
    "a lie in the last frame": Attack(
        with_pixels(lambda: [*_j2k()(), *_j2k(_huge)()], J2K, NumberOfFrames=2), "40000x40000x1, and a header"
    ),
    "more values than the header allows": Attack(
        with_pixels(lambda: [rle(SMALL[None])], RLE, BitsStored=10, HighBit=9), "values outside its 10 stored bits"
    ),
}
"""By name."""


def _of_known_length(path):  # type: ignore[no-untyped-def]
    from tests.runtime.dicom_files import save

    content = item(b"") + item(a_rle_cine(1)[0])
    dataset = a_target(SMALL, SOPClassUID="1.2.840.10008.5.1.4.1.1.6.1")
    del dataset.PixelData
    save(dataset, path, RLE)
    with path.open("ab") as file:
        file.write(b"\xe0\x7f\x10\x00OB\0\0" + struct.pack("<I", len(content)) + content)
