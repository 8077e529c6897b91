"""Directories of a TIFF: where its tags are, checked before any of them is believed.

A tag states how many values it has and where they lie. Everything must lie inside the file, the
chain of directories must end, and what is kept stays small, however the file lies.

References
----------
TIFF Revision 6.0, Adobe 1992, section 2; BigTIFF: 64-bit offsets, version 43.
"""

import struct
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import BinaryIO, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from lightsr.errors import ImageError

ByteOrder = Literal["<", ">"]

MARKS: dict[bytes, tuple[ByteOrder, bool]] = {
    b"II*\0": ("<", False),
    b"MM\0*": (">", False),
    b"II+\0": ("<", True),
    b"MM\0+": (">", True),
}
"""First bytes of a TIFF: byte order, and whether it is a BigTIFF."""

MAX_PAGES = 10_000

MAX_ENTRIES = 1_000_000
"""Tags of all pages together."""

MAX_TEXT = 1 << 16
"""Bytes of a description that are looked at."""

MAX_COMPARED = 16
"""Values of a tag that are compared between pages."""

TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Length of a value by its type; others are not read."""

INTEGERS = {1: "u1", 3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}

KEPT = frozenset(
    {
        *(254, 255, 256, 257, 258, 259, 262, 266, 270, 273, 274, 277, 278, 279, 282, 283, 284, 296, 305, 317),
        *(322, 323, 324, 325, 330, 338, 339, 32997, 33628, 33629, 34412, 42113),
    }
)
"""Tags that decide how a page is read; others are stepped over."""


class Tag(NamedTuple):
    """What a directory says about one of its tags."""

    code: int
    type: int
    length: int
    """How many values it has."""
    inline: bytes
    """Its values where the directory itself holds them, else b""."""
    offset: int
    """Of the values elsewhere."""


@dataclass(frozen=True)
class Directory:
    """Tags of one page, read from the open file when they are asked for.

    Parameters
    ----------
    path : Path
    stream : binary file
    order : {"<", ">"}
    tags : dict of int to Tag
        Those of `KEPT`.
    """

    path: Path
    stream: BinaryIO
    order: ByteOrder
    tags: dict[int, Tag]

    def numbers(self, code: int, *, most: int) -> NDArray[np.int64]:
        """The first whole numbers of a tag, shape (n,) with n at most `most`, 0 where it is not there.

        Raises
        ------
        ImageError
            They are of another type, or beyond 63 bits.
        """
        tag = self.tags.get(code)
        if tag is None:
            return np.empty(0, np.int64)
        if tag.type not in INTEGERS:
            raise ImageError(f"{self.path}: a TIFF whose tag {code} holds no whole numbers; it is damaged")
        values = np.frombuffer(self._content(tag, most), self.order + INTEGERS[tag.type])
        if values.size and values.max() > np.iinfo(np.int64).max:
            raise ImageError(f"{self.path}: a TIFF whose tag {code} points beyond the file; it is damaged")
        return values.astype(np.int64)

    def number(self, code: int, default: int) -> int:
        """First whole number of a tag, or `default` where it is not there."""
        values = self.numbers(code, most=1)
        return int(values[0]) if values.size else default

    def ratio(self, code: int) -> Fraction | None:
        """A rational number above 0, else None."""
        tag = self.tags.get(code)
        if tag is None or tag.type != 5 or tag.length != 1:
            return None
        over, under = struct.unpack(f"{self.order}II", self._content(tag, 1))
        return Fraction(over, under) if over and under else None

    def text(self, code: int) -> str:
        """Beginning of a text, at most `MAX_TEXT` bytes."""
        tag = self.tags.get(code)
        if tag is None or TYPE_BYTES[tag.type] != 1:
            return ""
        return self._content(tag, MAX_TEXT).decode("latin-1")

    def alike(self, other: "Directory", code: int) -> bool:
        """Whether both pages say the same by a tag; of long ones only the beginning is compared."""
        one, two = self.tags.get(code), other.tags.get(code)
        if one is None or two is None:
            return one is two
        same = (one.type, one.length) == (two.type, two.length)
        return same and self._content(one, MAX_COMPARED) == other._content(two, MAX_COMPARED)

    def _content(self, tag: Tag, most: int) -> bytes:
        """Bytes of the first values of a tag, at most `most` values."""
        wanted = min(tag.length, most) * TYPE_BYTES[tag.type]
        if tag.inline:
            return tag.inline[:wanted]
        self.stream.seek(tag.offset)
        return self.stream.read(wanted)


def walk(stream: BinaryIO, length: int, path: Path) -> list[Directory]:
    """Directories of all pages in turn.

    Parameters
    ----------
    stream : binary file
    length : int
        Of the file, bytes.
    path : Path
        For messages.

    Raises
    ------
    ImageError
        Something lies outside the file, directories go round in a circle, or there are too many.
    """
    stream.seek(0)
    start = stream.read(16)
    order, big = MARKS[start[:4]]
    try:
        if big:
            size, zero, offset = struct.unpack(f"{order}HHQ", start[4:16])
            if (size, zero) != (8, 0):
                raise ImageError(f"{path}: a BigTIFF with offsets of {size} bytes; 8 are allowed")
        else:
            (offset,) = struct.unpack(f"{order}I", start[4:8])
    except struct.error as error:
        raise ImageError(f"{path}: a TIFF that ends in its header; nothing was read from it") from error
    found: list[Directory] = []
    seen: set[int] = set()
    entries = 0
    while offset:
        if offset in seen:
            raise ImageError(f"{path}: a TIFF whose pages go round in a circle; it is damaged")
        if len(seen) == MAX_PAGES:
            raise ImageError(f"{path}: a TIFF of more than {MAX_PAGES:,} pages; split it first")
        seen.add(offset)
        tags, count, offset = _directory(stream, offset, length, order, big, path)
        entries += count
        if entries > MAX_ENTRIES:
            raise ImageError(f"{path}: a TIFF of more than {MAX_ENTRIES:,} tags; it is damaged")
        found.append(Directory(path, stream, order, tags))
    if not found:
        raise ImageError(f"{path}: a TIFF without a page; it is damaged")
    return found


def _directory(
    stream: BinaryIO, offset: int, length: int, order: ByteOrder, big: bool, path: Path
) -> tuple[dict[int, Tag], int, int]:
    """Tags at `offset`, how many there are, and the offset of the next directory."""
    outside = f"{path}: a TIFF of which a directory or a tag lies outside the file; it is damaged"
    entry, after = (struct.Struct(f"{order}HHQ8s"), "Q") if big else (struct.Struct(f"{order}HHI4s"), "I")
    stream.seek(min(offset, length))
    head = stream.read(8 if big else 2)
    if len(head) < (8 if big else 2):
        raise ImageError(outside)
    (count,) = struct.unpack(f"{order}{'Q' if big else 'H'}", head)
    end = offset + len(head) + count * entry.size
    if count > MAX_ENTRIES or end + struct.calcsize(after) > length:
        raise ImageError(outside)
    content = stream.read(count * entry.size + struct.calcsize(after))
    tags: dict[int, Tag] = {}
    for code, kind, values, inline in entry.iter_unpack(content[: count * entry.size]):
        if code not in KEPT:
            continue
        if kind not in TYPE_BYTES or code in tags or not values:
            raise ImageError(f"{path}: a TIFF whose tag {code} is of no known type, empty or there twice")
        if values * TYPE_BYTES[kind] <= len(inline):
            tags[code] = Tag(code, kind, values, inline, 0)
            continue
        (place,) = struct.unpack(f"{order}{after}", inline)
        if place + values * TYPE_BYTES[kind] > length:
            raise ImageError(outside)
        tags[code] = Tag(code, kind, values, b"", place)
    (following,) = struct.unpack(f"{order}{after}", content[count * entry.size :])
    return tags, count, following
