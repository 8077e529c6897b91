"""Broken PNG and JPEG files."""

import io
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from lightsr.raster import PNG_SIGNATURE
from PIL import Image as PillowImage

from .making import Broken, cut, fixed, patched

GREY = np.random.default_rng(5).integers(0, 256, (16, 24)).astype(np.uint8)

SIZE = (16, 24)


def chunk(kind: bytes, data: bytes, *, length: int | None = None) -> bytes:
    """A chunk of a PNG; `length` is what it claims."""
    stated = len(data) if length is None else length
    return struct.pack(">I", stated) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_header(size: tuple[int, int] = SIZE, depth: int = 8, colour: int = 0, interlaced: int = 0) -> bytes:
    """Signature and IHDR."""
    return PNG_SIGNATURE + chunk(b"IHDR", struct.pack(">IIBBBBB", size[1], size[0], depth, colour, 0, 0, interlaced))


def png_of(
    rows: bytes,
    *,
    size: tuple[int, int] = SIZE,
    extra: bytes = b"",
    interlaced: int = 0,
    depth: int = 8,
    colour: int = 0,
    level: int = -1,
) -> bytes:
    """A PNG of filtered rows, with chunks in front of them."""
    start = png_header(size, depth, colour, interlaced)
    return start + extra + chunk(b"IDAT", zlib.compress(rows, level)) + chunk(b"IEND", b"")


def with_checksums(content: bytes) -> bytes:
    """A PNG whose chunks have the checksums that they should."""
    result, position = bytearray(content), 8
    while position + 12 <= len(result):
        end = position + 8 + int.from_bytes(result[position : position + 4], "big")
        if end + 4 > len(result):
            break
        result[end : end + 4] = zlib.crc32(result[position + 4 : end]).to_bytes(4, "big")
        position = end + 4
    return bytes(result)


def grey_rows(pixels: np.ndarray = GREY) -> bytes:
    """Rows without a filter."""
    return b"".join(b"\0" + row.tobytes() for row in pixels)


def jpeg_of(pixels: np.ndarray = GREY, **options: Any) -> bytes:
    """A JPEG that Pillow writes."""
    buffer = io.BytesIO()
    PillowImage.fromarray(pixels).save(buffer, format="JPEG", **options)
    return buffer.getvalue()


def segments(content: bytes) -> Iterator[tuple[int, int]]:
    """Marker and place of the segments of a JPEG up to its first scan."""
    position = 2
    while True:
        yield content[position + 1], position
        if content[position + 1] == 0xDA:
            return
        position += 2 + struct.unpack_from(">H", content, position + 2)[0]


def a_png(pixels: np.ndarray = GREY) -> bytes:
    """A valid grey picture."""
    return png_of(grey_rows(pixels), size=(pixels.shape[0], pixels.shape[1]))


def wholes() -> Iterator[bytes]:
    """Small valid files."""
    colour = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)
    yield a_png()
    yield png_of(b"".join(b"\2" + row.tobytes() for row in GREY), extra=chunk(b"pHYs", struct.pack(">IIB", 9, 9, 1)))
    yield png_of(bytes((2 * 24 + 1) * 16), depth=16)
    yield png_of(b"\1" * ((3 * 24 + 1) * 16), colour=2)
    yield png_of(bytes(9 * 9), size=(8, 8), interlaced=1)
    yield jpeg_of()
    yield jpeg_of(colour)
    yield jpeg_of(colour, progressive=True, dpi=(300, 150))
    yield jpeg_of(GREY, restart_marker_blocks=2, comment=b"words")


def _png_fields() -> Iterator[tuple[str, int]]:
    yield "the signature", 0
    names = ("length", "type", "width", "height", "depth", "colour type", "compression", "filter", "interlace", "CRC")
    yield from zip((f"IHDR's {name}" for name in names), (8, 12, 16, 20, 24, 25, 26, 27, 28, 29), strict=True)
    end = len(a_png()) - 12
    places = (33, 37, 41, (41 + end) // 2, end - 8, end - 4, end, end + 4, end + 8)
    names = ("length", "type", "first row", "half of the rows", "Adler-32", "CRC")
    yield from zip(
        [*(f"IDAT's {name}" for name in names), *(f"IEND's {name}" for name in ("length", "type", "CRC"))],
        places,
        strict=True,
    )


def _jpeg_fields(content: bytes) -> Iterator[tuple[str, int]]:
    yield "SOI", 0
    names = {0xE0: "APP0", 0xDB: "DQT", 0xC0: "SOF", 0xC4: "DHT", 0xDA: "SOS"}
    scan = 0
    for number, (marker, place) in enumerate(segments(content)):
        name = f"{names[marker]} {number}"
        yield name, place
        yield f"the length of {name}", place + 2
        yield f"what {name} holds", place + 4
        if marker == 0xC0:
            yield from (
                (f"the {what} of {name}", place + at) for what, at in (("height", 5), ("width", 7), ("components", 9))
            )
        scan = place + 2 + struct.unpack_from(">H", content, place + 2)[0]
    yield "the scan", scan
    yield "half of the scan", (scan + len(content)) // 2
    yield "EOI", len(content) - 2


def _sized(content: bytes, rows: int, columns: int) -> bytes:
    """A JPEG whose frame header says another size."""
    place = next(place for marker, place in segments(content) if 0xC0 <= marker <= 0xC2)
    return patched(content, place + 5, struct.pack(">HH", rows, columns))


def _flipped() -> bytes:
    """A bit of a pixel in a stream of stored bytes: it opens all the same, only its check sums do not fit."""
    content = png_of(grey_rows(), level=0)
    place = content.index(GREY[3].tobytes()) + 7
    return patched(content, place, bytes([content[place] ^ 0x40]))


def _zip_bomb(mib: int, size: tuple[int, int]) -> bytes:
    packer = zlib.compressobj(1)
    packed = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(mib)), packer.flush()])
    return png_header(size) + chunk(b"IDAT", packed) + chunk(b"IEND", b"")


def _packed(kind: bytes, start: bytes, mib: int) -> bytes:
    """A chunk in front of a picture that is large when it is opened."""
    return png_of(grey_rows(), extra=chunk(kind, start + zlib.compress(bytes(mib << 20), 1)))


def _many_chunks(count: int, kind: bytes = b"tEXt", data: bytes = b"") -> bytes:
    return png_of(grey_rows(), extra=chunk(kind, data) * count)


def _with_segments(count: int) -> bytes:
    """A JPEG with APP1 segments of 64 KiB in front of its picture."""
    content = jpeg_of()
    return content[:2] + (b"\xff\xe1\xff\xff" + bytes(65_533)) * count + content[2:]


def _many_scans(count: int) -> bytes:
    """A progressive JPEG whose last scan is sent again and again."""
    content = jpeg_of(progressive=True)
    last = content.rindex(b"\xff\xda")
    return content[:-2] + content[last:-2] * count + content[-2:]


def _without_last_scan() -> bytes:
    content = jpeg_of(progressive=True)
    return content[: content.rindex(b"\xff\xda")] + b"\xff\xd9"


def _ended_early(content: bytes) -> bytes:
    """Half of the bytes of the last scan, and a proper end."""
    last = content.rindex(b"\xff\xda")
    return content[: (last + len(content)) // 2] + b"\xff\xd9"


def _without_restarts() -> bytes:
    """Of a picture with restart markers, all from the third one on is missing."""
    content = jpeg_of(restart_marker_blocks=1)
    return content[: content.index(b"\xff\xd2")] + b"\xff\xd9"


def _png(says: str, content: bytes) -> Broken:
    return Broken(fixed(content), says, ".png")


def _jpeg(says: str, content: bytes) -> Broken:
    return Broken(fixed(content), says, ".jpg")


PNG: dict[str, Broken] = {
    **cut("PNG", a_png(), _png_fields(), ".png"),
    "PNG with one bit of a pixel changed": _png("check sum", _flipped()),
    "PNG of fewer rows than it says": _png("end early", png_of(grey_rows()[:-25])),
    "PNG of 65535x65535 pixels": _png("at most 128 million", png_of(grey_rows(), size=(65_535, 65_535))),
    "PNG of 2147483647x2147483647 pixels": _png("million", png_of(grey_rows(), size=(2**31 - 1, 2**31 - 1))),
    "PNG of 10000x10000 pixels in a few bytes": _png("end early", png_of(grey_rows(), size=(10_000, 10_000))),
    "PNG without a column": _png("0x16 pixels", png_of(grey_rows(), size=(16, 0))),
    "PNG of an unknown filter method": _png("no known way", with_checksums(patched(a_png(), 27, b"\1"))),
    "PNG of an unknown filter of a row": _png("damaged", png_of(b"\7" + grey_rows()[1:])),
    "PNG whose IDAT says 4 GiB": _png("cut off", patched(a_png(), 33, b"\xff\xff\xff\xff")),
    "PNG with pixels before its header": _png("not its first chunk", PNG_SIGNATURE + a_png()[33:]),
    "PNG with two headers": _png("there twice", a_png()[:33] + a_png()[8:]),
    "PNG with an empty header": _png("0 bytes instead of 13", PNG_SIGNATURE + chunk(b"IHDR", b"") + a_png()[33:]),
    "PNG without pixels": _png("end early", png_header() + chunk(b"IEND", b"")),
    "PNG bomb in a text": Broken(lambda: _packed(b"zTXt", b"a\0\0", 300), "damaged", ".png"),
    "PNG bomb in a colour profile": Broken(lambda: _packed(b"iCCP", b"a\0\0", 300), "damaged", ".png"),
    "PNG bomb of 100 million empty pixels, cut": Broken(lambda: _zip_bomb(95, (10_000, 10_000)), "end early", ".png"),
    "PNG with half a million chunks": Broken(lambda: _many_chunks(500_000), "chunks", ".png"),
    "PNG that goes on as a hole": Broken(lambda: a_png()[:-12], "check sum", ".png", 1 << 30),
    "PNG with a chunk of 2 GiB": Broken(
        lambda: png_header() + struct.pack(">I", 2**31 - 1) + b"teSt", "8 MiB beside its pixels", ".png", 2**31 + 100
    ),
    "PNG with 16 MiB beside its pixels": Broken(
        lambda: _many_chunks(16, b"teSt", bytes(1 << 20)), "8 MiB beside its pixels", ".png"
    ),
}

JPEG: dict[str, Broken] = {
    **cut("JPEG", jpeg_of(), _jpeg_fields(jpeg_of()), ".jpg"),
    "JPEG of 65535x65535 pixels": _jpeg("at most 128 million", _sized(jpeg_of(), 65_535, 65_535)),
    "JPEG of 10000x10000 pixels in a few bytes": _jpeg("too few", _sized(jpeg_of(), 10_000, 10_000)),
    "JPEG of 10000x10000 pixels with bytes behind": _jpeg(
        "too few", _sized(jpeg_of(), 10_000, 10_000) + bytes(300_000)
    ),
    "JPEG of more rows than it has": _jpeg("before its last row", _sized(jpeg_of(), 128, 24)),
    "progressive JPEG of more rows than it has": _jpeg("before its last", _sized(jpeg_of(progressive=True), 128, 24)),
    "JPEG without a row": _jpeg("damaged frame header", _sized(jpeg_of(), 0, 24)),
    "JPEG cut, and ended properly": _jpeg("before its last row", _ended_early(jpeg_of())),
    "colour JPEG cut, and ended properly": _jpeg(
        "before its last row", _ended_early(jpeg_of(np.stack([GREY] * 3, -1)))
    ),
    "progressive JPEG without its last scan": _jpeg("last scans are missing", _without_last_scan()),
    "JPEG cut at a restart marker": _jpeg("between its restart markers", _without_restarts()),
    "JPEG without a scan": _jpeg("without all", jpeg_of()[: jpeg_of().index(b"\xff\xda")] + b"\xff\xd9"),
    "JPEG of arithmetic coding": _jpeg("not read", jpeg_of().replace(b"\xff\xc0", b"\xff\xc9")),
    "JPEG whose segment has no length": _jpeg("inside a segment", patched(jpeg_of(), 4, b"\0\0")),
    "JPEG whose scan header is empty": _jpeg(  # found by fuzzing
        "damaged scan header", jpeg_of()[: jpeg_of().index(b"\xff\xda")] + b"\xff\xda\0\2\1\1\xff\xd9"
    ),
    "JPEG of two frames": _jpeg(
        "a damaged or truncated PNG or JPEG", jpeg_of()[:2] + jpeg_of()[2:-2].replace(b"\xff\xda", b"\xff\xc0", 1)
    ),
    "JPEG of a thousand scans": Broken(lambda: _many_scans(1000), "200 scans", ".jpg"),
    "JPEG with 16 MiB beside its pixels": Broken(lambda: _with_segments(250), "8 MiB beside its pixels", ".jpg"),
    "JPEG that goes on as a hole": Broken(lambda: jpeg_of()[:-2], "ends early", ".jpg", 1 << 30),
}

GOOD: dict[str, Broken] = {
    "PNG bomb behind its pixels": Broken(lambda: _zip_bomb(300, SIZE), "", ".png"),
}
"""Pictures all the same: what is too much of them is never opened."""
