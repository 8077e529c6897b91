"""Chunks of a PNG, checked before Pillow gets the file.

Pillow does not check the sums of the pixels' chunks, gives zeros for rows that are not there, and
keeps what other chunks hold, however long they are. Nothing is kept here: a file is walked through once.

References
----------
Portable Network Graphics Specification, Third Edition, W3C: chunks in 5.3, their check sum in 5.5, passes in 8,
IHDR in 11.2.1, pHYs in 11.3.4.3.
"""

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from lightsr.errors import ImageError
from lightsr.image import MAX_PIXELS
from lightsr.signatures import PNG_SIGNATURE

COLOUR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
"""IHDR colour types."""

CURES = {
    0: "save it as 8-bit grey",
    2: "save its channels as 16-bit grey each, or as 8-bit RGB if that loses nothing",
    3: "save it as RGB, or as grey if it is",
    4: "save it without its alpha channel",
    6: "save it without its alpha channel",
}
"""What to do with a PNG of a colour type and depth that is not read."""

ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and steps, of the passes of an interlaced PNG."""

PART_BYTES = 1 << 20
"""How much of a chunk, and of what it opens to, is looked at together."""

MAX_OTHER_BYTES = 8 << 20
"""Of all chunks but those of the pixels: colour profiles have up to some MiB."""

MAX_CHUNKS = 200_000
"""Writers cut pixels into parts of 8 KiB and more."""

Physical = tuple[int, int, int]
"""What pHYs says: pixels across and down per unit, and the unit, 1 for a metre, 0 for none."""


def check(path: Path) -> Physical | None:
    """Refuse a PNG that is damaged, or that Pillow would silently change.

    The latter are 16-bit colour, grey of 1, 2 or 4 bits, and transparency.

    Parameters
    ----------
    path : Path
        Of a file that begins with `PNG_SIGNATURE`.

    Returns
    -------
    (int, int, int) or None
        Physical size of a pixel, if the file states one.

    Raises
    ------
    ImageError
    """
    with path.open("rb") as file:
        file.seek(len(PNG_SIGNATURE))
        return _walk(file, path)


def _walk(file: BinaryIO, path: Path) -> Physical | None:
    damaged = f"{path}: a PNG with a chunk that is cut off, too long or not what its check sum says; it is damaged"
    pixels: Inflated | None = None
    physical: Physical | None = None
    other = 0
    for number in range(MAX_CHUNKS):
        head = file.read(8)
        if len(head) < 8:
            raise ImageError(f"{path}: a PNG that ends before its last chunk; nothing was read from it")
        length, kind = struct.unpack(">I4s", head)
        if (kind == b"IHDR") != (number == 0):
            raise ImageError(f"{path}: a PNG whose header is not its first chunk, or there twice; it is damaged")
        if kind == b"tRNS":
            raise ImageError(f"{path}: a PNG with a transparent value; only opaque pictures are allowed")
        other += 0 if kind == b"IDAT" else length
        if other > MAX_OTHER_BYTES:
            raise ImageError(f"{path}: a PNG with more than {MAX_OTHER_BYTES >> 20} MiB beside its pixels; remove them")
        total, start = zlib.crc32(kind), b""
        for part in _parts(file, length):
            total, start = zlib.crc32(part, total), start or part
            if kind == b"IDAT" and pixels is not None:
                pixels.take(part)
        if file.read(4) != total.to_bytes(4, "big"):
            raise ImageError(damaged)
        if kind == b"IHDR":
            pixels = Inflated(_raw_length(_checked_header(start, path)))
        elif kind == b"pHYs" and length == 9:
            physical = struct.unpack(">IIB", start)
        elif kind == b"IEND":
            if pixels is None or not pixels.whole:
                raise ImageError(f"{path}: a PNG whose pixels end early or are damaged; nothing was read from it")
            return physical
    raise ImageError(f"{path}: a PNG of more than {MAX_CHUNKS:,} chunks; it is damaged")


def _parts(file: BinaryIO, length: int) -> Iterator[bytes]:
    """The next `length` bytes of a file, or fewer where it ends."""
    while length and (part := file.read(min(length, PART_BYTES))):
        length -= len(part)
        yield part


class Inflated:
    """How long a zlib stream is that comes in parts, up to what is needed of it; no more is opened.

    Parameters
    ----------
    needed : int
        Bytes.
    """

    def __init__(self, needed: int) -> None:
        self.needed, self.length = needed, 0
        self._stream = zlib.decompressobj()
        self._damaged = False

    @property
    def whole(self) -> bool:
        """Whether all is there that is needed; where the stream should end with it, it did, and its check sum fits."""
        return not self._damaged and (self.length > self.needed or (self.length == self.needed and self._stream.eof))

    def take(self, part: bytes) -> None:
        """The next part."""
        if self._damaged:
            return
        try:
            while part and self.length <= self.needed and not self._stream.eof:
                most = min(PART_BYTES, self.needed + 1 - self.length)
                self.length += len(self._stream.decompress(part, most))
                part = self._stream.unconsumed_tail
        except zlib.error:
            self._damaged = True


def _checked_header(header: bytes, path: Path) -> bytes:
    """IHDR of a picture whose values Pillow gives as they are."""
    if len(header) != 13:
        raise ImageError(f"{path}: a PNG whose header has {len(header)} bytes instead of 13; it is damaged")
    width, height, depth, colour, *ways = struct.unpack(">IIBBBBB", header)
    name = COLOUR_TYPES.get(colour, f"colour type {colour}")
    if (colour, depth) not in {(0, 8), (0, 16), (2, 8)}:
        raise ImageError(
            f"{path}: a PNG of {depth}-bit {name}; 8- or 16-bit grey and 8-bit RGB are allowed; "
            f"{CURES.get(colour, 'save it as one of these')} first"
        )
    if not width or not height or ways[:2] != [0, 0] or ways[2] > 1:
        raise ImageError(f"{path}: a PNG of {width}x{height} pixels, or packed in no known way; it is damaged")
    if width * height > MAX_PIXELS:
        raise ImageError(f"{path}: {width}x{height} pixels; at most {MAX_PIXELS // 1_000_000} million are allowed")
    return header


def _raw_length(header: bytes) -> int:
    """Bytes of all rows with their filter bytes, for each pass of an interlaced picture."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    pixel = depth // 8 * (3 if colour == 2 else 1)
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        total += rows * (1 + columns * pixel) if columns > 0 and rows > 0 else 0
    return total
