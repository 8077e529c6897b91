"""Strips and tiles of a TIFF: the bytes of its pixels, of which a band of rows needs only some.

References
----------
TIFF Revision 6.0, Adobe 1992: strips in section 3, PackBits in 9, the horizontal predictor in 14,
tiles in 15. Technical Note 3: the predictor of floating-point values.
"""

import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lightsr import stored
from lightsr.directories import Directory
from lightsr.errors import ImageError

NONE, PACKBITS = 1, 32773

DEFLATE = (8, 32946)

COMPRESSIONS = {2: "CCITT", 3: "CCITT", 4: "CCITT", 5: "LZW", 6: "JPEG", 7: "JPEG", 34712: "JPEG 2000", 50000: "ZSTD"}
"""Names of some that are refused."""

MAX_SEGMENTS = 1_000_000
"""Strips and tiles of all pages together."""

MAX_TILE = 2**24
"""Pixels of a tile that is larger than its picture."""

UNPACKED_COPIES = 7
"""Of a segment that is unpacked: its bytes before and after, its differences, their sums, the last of each plane."""


@dataclass(frozen=True)
class Layout:
    """How the pixels of a page are cut into segments.

    Parameters
    ----------
    path : Path
    size : (int, int)
        Rows and columns of the page.
    segment : (int, int)
        Rows and columns of a segment; a strip is as wide as the page, and the last one may be lower.
    tiled : bool
    dtype : numpy.dtype
        As stored.
    channels : int
    planes : int
        1 where the channels of a pixel are beside each other, else as many as channels.
    compression, predictor : int
    """

    path: Path
    size: tuple[int, int]
    segment: tuple[int, int]
    tiled: bool
    dtype: np.dtype[Any]
    channels: int
    planes: int
    compression: int
    predictor: int

    @property
    def grid(self) -> tuple[int, int]:
        """How many segments there are down and across a plane."""
        return -(-self.size[0] // self.segment[0]), -(-self.size[1] // self.segment[1])

    @property
    def count(self) -> int:
        """Number of segments."""
        down, across = self.grid
        return down * across * self.planes

    def segment_shape(self, down: int) -> tuple[int, int, int]:
        """Rows, columns and channels that the segments of a row of segments hold."""
        rows = self.segment[0] if self.tiled else min(self.segment[0], self.size[0] - down * self.segment[0])
        return rows, self.segment[1], self.channels // self.planes

    def segment_bytes(self, down: int) -> int:
        """Length of such a segment without compression."""
        rows, columns, channels = self.segment_shape(down)
        return rows * columns * channels * self.dtype.itemsize


def of(page: Directory, dtype: np.dtype[Any], channels: int, path: Path) -> Layout:
    """How the pixels of a page are stored.

    Raises
    ------
    ImageError
        In a way that is not read.
    """
    rows, columns = page.number(257, 0), page.number(256, 0)
    stored.check_size(rows, columns, path)
    compression, predictor, planar = page.number(259, NONE), page.number(317, 1), page.number(284, 1)
    if compression not in (NONE, PACKBITS, *DEFLATE):
        name = COMPRESSIONS.get(compression, f"number {compression}")
        raise ImageError(
            f"{path}: a TIFF with {name} compression; none, deflate and PackBits are allowed; "
            "write it without compression first"
        )
    allowed = (1, 3) if dtype.kind == "f" else (1, 2)
    if predictor not in allowed or (predictor > 1 and compression not in DEFLATE):
        raise ImageError(f"{path}: a TIFF with predictor {predictor}; {allowed[0]} and {allowed[1]} are allowed here")
    if planar not in (1, 2):
        raise ImageError(f"{path}: a TIFF with planar configuration {planar}; 1 and 2 are allowed")
    tiled = 322 in page.tags or 323 in page.tags
    segment = (page.number(323, 0), page.number(322, 0)) if tiled else (min(page.number(278, rows), rows), columns)
    if min(segment) < 1 or (tiled and segment[0] * segment[1] > max(rows * columns, MAX_TILE)):
        raise ImageError(f"{path}: a TIFF with {'tiles' if tiled else 'strips'} of {segment[1]}x{segment[0]} pixels")
    return Layout(
        path, (rows, columns), segment, tiled, dtype, channels, channels if planar == 2 else 1, compression, predictor
    )


def places(page: Directory, layout: Layout, length: int) -> NDArray[np.int64]:
    """Offset and length of every segment of a page, (n, 2), all inside the file of `length` bytes.

    Raises
    ------
    ImageError
        There are not as many as the size needs, or they cannot hold the pixels.
    """
    codes = (324, 325) if layout.tiled else (273, 279)
    down, across = layout.grid
    needed = layout.count
    stated = [page.tags[code].length if code in page.tags else 0 for code in codes]
    if stated != [needed, needed]:
        raise ImageError(
            f"{layout.path}: a TIFF with {stated[0]} offsets and {stated[1]} lengths of strips or tiles; "
            f"its size needs {needed} of each; it is damaged"
        )
    offsets, counts = (page.numbers(code, most=needed) for code in codes)
    if (offsets > length).any() or (counts > length - offsets).any():
        raise ImageError(f"{layout.path}: a TIFF whose pixels lie outside the file; it is damaged")
    expected = np.full((down, across), layout.segment_bytes(0), np.int64)
    expected[-1] = layout.segment_bytes(down - 1)
    most = 1 if layout.compression == NONE else stored.MAX_INFLATION
    if (np.tile(expected.ravel(), layout.planes) > most * counts).any():
        raise ImageError(f"{layout.path}: a TIFF whose strips or tiles are too short for its pixels; it is damaged")
    return np.stack((offsets, counts), axis=1)


Kept = dict[int, tuple[int, NDArray[Any]]]
"""The last packed strip of each plane, unpacked: its number among all, and its values."""


def rows(
    stream: BinaryIO, layout: Layout, segments: NDArray[np.int64], top: int, bottom: int, kept: Kept | None = None
) -> NDArray[Any]:
    """Rows [top, bottom) of a page, shape (rows, columns[, 3]); other segments are not touched.

    They have the layout's dtype, in native byte order. A packed strip may be as high as its page; `kept`
    saves unpacking it for every few rows.

    Raises
    ------
    ImageError
        A segment is damaged.
    """
    height, width = layout.segment
    result = np.empty((bottom - top, layout.size[1], layout.channels), layout.dtype.newbyteorder("="))
    down, across = layout.grid
    for plane in range(layout.planes):
        channels = np.index_exp[plane : plane + 1] if layout.planes > 1 else np.index_exp[:]
        for y in range(top // height, -(-bottom // height)):
            first, last = max(top, y * height), min(bottom, (y + 1) * height)
            for x in range(across):
                wanted = slice(first - y * height, last - y * height)
                number = (plane * down + y) * across + x
                if kept is not None and layout.compression != NONE and not layout.tiled:
                    if kept.get(plane, (-1,))[0] != number:
                        kept.pop(plane, None)
                        everything = slice(0, layout.segment_shape(y)[0])
                        kept[plane] = number, _segment(stream, layout, segments[number], y, everything)
                    values = kept[plane][1][wanted]
                else:
                    values = _segment(stream, layout, segments[number], y, wanted)
                columns = min(width, layout.size[1] - x * width)
                place = np.s_[first - top : last - top, x * width : x * width + columns]
                result[(*place, *channels)] = values[:, :columns]
    return result if layout.channels > 1 else result[..., 0]


def held_bytes(layout: Layout) -> int:
    """Memory that `rows` takes beside its result: packed segments are unpacked whole, plain ones read by rows."""
    if layout.compression == NONE:
        return 0
    row_of_tiles = layout.segment[0] * layout.grid[1] * layout.segment[1] * layout.channels * layout.dtype.itemsize
    return UNPACKED_COPIES * layout.segment_bytes(0) + (row_of_tiles if layout.tiled else 0)


def _segment(stream: BinaryIO, layout: Layout, place: NDArray[np.int64], down: int, wanted: slice) -> NDArray[Any]:
    """Some rows of a segment, (rows, columns, channels) in native byte order."""
    shape, needed, start = layout.segment_shape(down), layout.segment_bytes(down), int(place[0])
    if layout.compression == NONE:
        row_bytes = needed // shape[0]
        shape, needed = (wanted.stop - wanted.start, *shape[1:]), (wanted.stop - wanted.start) * row_bytes
        start, wanted = start + wanted.start * row_bytes, slice(None)
    stream.seek(start)
    content = stream.read(needed if layout.compression == NONE else int(place[1]))
    if layout.compression in DEFLATE:
        content = _inflated(content, needed, layout.path)
    elif layout.compression == PACKBITS:
        content = unpacked(content, needed)
    if len(content) < needed:
        raise ImageError(f"{layout.path}: a TIFF with a strip or tile that ends early; nothing was read from it")
    return _unpredicted(content, layout, shape)[wanted]


def _inflated(content: bytes, needed: int, path: Path) -> bytes:
    """First `needed` bytes of a zlib stream, whose checksum is checked where it ends there; no more are made."""
    stream = zlib.decompressobj()
    try:
        values = stream.decompress(content, needed)
        more = stream.decompress(stream.unconsumed_tail, 1)
    except zlib.error as error:
        raise ImageError(f"{path}: a TIFF with a damaged strip or tile; nothing was read from it") from error
    return values if more or stream.eof else b""


def unpacked(content: bytes, needed: int) -> bytes:
    """First `needed` bytes of what PackBits (TIFF 6.0, section 9) has packed, or all that there are.

    >>> unpacked(bytes((1, 7, 8, 254, 9)), 5)
    b'\\x07\\x08\\t\\t\\t'
    """
    parts, length, position = [], 0, 0
    while length < needed and position < len(content):
        count = content[position]
        if count < 128:
            part = content[position + 1 : position + 2 + count]
            position += 2 + count
        else:
            part = b"" if count == 128 else content[position + 1 : position + 2] * (257 - count)
            position += 1 if count == 128 else 2
        parts.append(part)
        length += len(part)
    return b"".join(parts)[:needed]


def _unpredicted(content: bytes, layout: Layout, shape: tuple[int, int, int]) -> NDArray[Any]:
    """Values of a segment, in native byte order; predictor 2 is that of TIFF 6.0, section 14, 3 Adobe's for floats."""
    if layout.predictor == 3:  # differences of bytes, the most significant ones of a row first
        differences = np.frombuffer(content, np.uint8).reshape(shape[0], -1, shape[2])
        summed = np.cumsum(differences, axis=1, dtype=np.uint8)
        size = layout.dtype.itemsize
        ordered = summed.reshape(shape[0], size, shape[1] * shape[2]).transpose(0, 2, 1)
        values = np.ascontiguousarray(ordered).view(layout.dtype.newbyteorder(">")).reshape(shape)
        return stored.native(values)
    values = stored.native(np.frombuffer(content, layout.dtype).reshape(shape))
    return np.cumsum(values, axis=1, dtype=values.dtype) if layout.predictor == 2 else values
