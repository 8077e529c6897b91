"""The gate in front of pydicom: what a DICOM file claims about its own lengths is checked first.

pydicom allocates what an element says about its length and inflates without bound. Nothing
reaches it before this module, which needs the standard library alone, has found every such
claim true. Clauses are of PS3.5 of the DICOM standard unless another part is named.
"""

import contextlib
import struct
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from lightsr.errors import ImageError
from lightsr.syntaxes import ALLOWED, DEFLATED, TRANSFER_SYNTAXES, TransferSyntax, name_of

PREAMBLE_BYTES = 128
"""Free bytes before the letters DICM (PS3.10, 7.1)."""

MAX_META_BYTES = 65_536
"""Longest file meta information that is searched for the transfer syntax."""

MAX_FILE_BYTES = 8 * 2**30
"""Length above which a file is refused."""

MAX_OTHER_BYTES = 64 * 2**20
"""Length of everything before the pixels above which a file is refused: pydicom holds it in memory."""

MAX_NESTING = 32
"""Depth of sequences in sequences above which a file is refused."""

MAX_ELEMENTS = 500_000
"""Elements and items above which a file is refused."""

MAX_FRAGMENTS = 200_000
"""Parts of compressed pixels above which a file is refused."""

MAX_INFLATED_BYTES = 512 * 2**20
MAX_INFLATION = 64
"""A deflated data set is opened up to the smaller of these: bytes, and times the file's length."""

INFLATE_BYTES = 2**20
"""How much of a deflated data set is opened at a time."""

UNDEFINED = 0xFFFFFFFF
"""Length that says: up to a delimiter (7.1.2)."""

PIXEL_DATA = 0x7FE00010
FLOAT_PIXEL_DATA = frozenset({0x7FE00008, 0x7FE00009})
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD

_LONG_LENGTH_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)
"""Value representations whose length takes four bytes (7.1.2)."""


@dataclass(frozen=True)
class PixelElement:
    """Where a file's Pixel Data lies.

    Parameters
    ----------
    vr : str
        "" where the transfer syntax leaves it out.
    offset : int
        First byte of the value, in the opened stream.
    length : int or None
        Bytes of the value as stated, all inside the stream; None for fragments.
    fragments : array of uint64
        Offset and length of each fragment in turn, the offset table's item first (A.4).
    """

    vr: str
    offset: int
    length: int | None
    fragments: "array[int]" = field(default_factory=lambda: array("Q"), repr=False)


@dataclass(frozen=True)
class Contents:
    """An opened file that may be given to pydicom.

    Parameters
    ----------
    path : Path
    stream : binary file
        The file, or, of a deflated one, the same data set as an explicit little-endian file.
    syntax : TransferSyntax
        As the file states it.
    pixels : PixelElement or None
    """

    path: Path
    stream: BinaryIO
    syntax: TransferSyntax
    pixels: PixelElement | None


@contextlib.contextmanager
def opened(path: Path) -> Iterator[Contents]:
    """Open a DICOM file if all that it says about lengths is true.

    Parameters
    ----------
    path : Path

    Yields
    ------
    Contents
        Valid until the context ends.

    Raises
    ------
    ImageError
        Not a regular file, too long, no or two transfer syntaxes or one that is not in
        `lightsr.syntaxes.TRANSFER_SYNTAXES`, elements that reach beyond the file, deep nesting, a data
        set that inflates without measure.
    """
    if not path.is_file():
        raise ImageError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}")
    with path.open("rb") as file:
        length = file.seek(0, 2)
        if length > MAX_FILE_BYTES:
            raise ImageError(f"{path}: {length // 2**30} GiB; at most {MAX_FILE_BYTES // 2**30} GiB are allowed")
        uid, start = _file_meta(file, path)
        if uid not in TRANSFER_SYNTAXES:
            raise ImageError(f"{path}: transfer syntax {name_of(uid)}; {ALLOWED}; decompress it first")
        syntax = TRANSFER_SYNTAXES[uid]
        stream: BinaryIO = file
        if uid == DEFLATED:
            stream, start = _inflated(file, start, length, path)
            length = stream.seek(0, 2)
        pixels = _Walk(stream, length, path, little=syntax.little).to_pixels(start, syntax)
        stream.seek(0)
        yield Contents(path, stream, syntax, pixels)


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins with `head` (at least 132 bytes) is DICOM (PS3.10, 7.1)."""
    return head[PREAMBLE_BYTES : PREAMBLE_BYTES + 4] == b"DICM"


def _file_meta(file: BinaryIO, path: Path) -> tuple[str, int]:
    """Transfer syntax UID from the file meta information, and where the data set begins (PS3.10, 7.1)."""
    file.seek(0)
    content = file.read(PREAMBLE_BYTES + 4 + MAX_META_BYTES)
    if not is_dicom(content):
        raise ImageError(f"{path}: no DICOM file: the letters DICM are missing after its preamble")
    position, found = PREAMBLE_BYTES + 4, []
    while position + 8 <= len(content) and content[position : position + 2] == b"\x02\x00":
        element, vr = content[position + 2 : position + 4], content[position + 4 : position + 6]
        wide = vr in _LONG_LENGTH_VRS
        start = position + (12 if wide else 8)
        length = int.from_bytes(content[start - (4 if wide else 2) : start], "little")
        if element == b"\x10\x00":
            found.append(content[start : start + min(length, 64)].rstrip(b"\0 ").decode("ascii", "replace"))
        position = start + length
    if position > len(content):
        raise ImageError(f"{path}: file meta information that is damaged or too long; nothing was read from it")
    if len(found) > 1:  # readers differ in which one they believe
        raise ImageError(f"{path}: DICOM with {len(found)} transfer syntaxes; exactly one is allowed")
    if not found:
        raise ImageError(f"{path}: DICOM without a transfer syntax in its file meta information; nothing was read")
    return found[0], position


def _inflated(file: BinaryIO, start: int, length: int, path: Path) -> tuple[BinaryIO, int]:
    """The file that a deflated one stands for (A.5), in memory, and where its data set begins.

    Its length is counted first, and nothing kept meanwhile: a bomb costs time, not memory.
    """
    limit = min(MAX_INFLATED_BYTES, MAX_INFLATION * length)
    needed = 0
    for part in _inflate(file, start, path):
        needed += len(part)
        if needed > limit:
            raise ImageError(
                f"{path}: deflated, and more than {limit // 2**20} MiB when it is opened; at most {MAX_INFLATION} "
                f"times the file and {MAX_INFLATED_BYTES // 2**20} MiB are allowed; decompress it first"
            )
    uid = b"1.2.840.10008.1.2.1\0"
    meta = b"\x02\x00\x10\x00UI" + struct.pack("<H", len(uid)) + uid
    head = bytes(PREAMBLE_BYTES) + b"DICM\x02\x00\x00\x00UL\x04\x00" + struct.pack("<I", len(meta)) + meta
    stream = BytesIO()
    stream.write(head)
    for part in _inflate(file, start, path):
        stream.write(part)
    return stream, len(head)


def _inflate(file: BinaryIO, start: int, path: Path) -> Iterator[bytes]:
    """Parts of a deflated data set, each at most `INFLATE_BYTES`."""
    file.seek(start)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        while not inflater.eof:
            packed = inflater.unconsumed_tail or file.read(65_536)
            if not packed:
                raise ImageError(f"{path}: a deflated data set that ends early; nothing was read from it")
            yield inflater.decompress(packed, INFLATE_BYTES)
    except zlib.error as error:
        raise ImageError(f"{path}: a damaged deflated data set; nothing was read from it") from error


class _Walk:
    """From element to element, reading tags and lengths only, as pydicom would read them.

    Parameters
    ----------
    stream : binary file
    length : int
        Of the stream, bytes.
    path : Path
    little : bool
    """

    def __init__(self, stream: BinaryIO, length: int, path: Path, *, little: bool) -> None:
        self.stream, self.length, self.path = stream, length, path
        order = "<" if little else ">"
        self._tag, self._long, self._short = (struct.Struct(order + kind) for kind in ("HH", "I", "H"))
        self._left = MAX_ELEMENTS

    def to_pixels(self, start: int, syntax: TransferSyntax) -> PixelElement | None:
        """Check everything from `start` up to the pixels, and find these."""
        position, end = self._elements(start, self.length, syntax.implicit, depth=0)
        if position - start > MAX_OTHER_BYTES:
            raise ImageError(
                f"{self.path}: {(position - start) // 2**20} MiB beside the pixels; "
                f"at most {MAX_OTHER_BYTES // 2**20} MiB are allowed"
            )
        if end is None:
            return None
        vr, offset, length = end
        if length != UNDEFINED:
            self._check_inside(PIXEL_DATA, offset, length, self.length)
            return PixelElement(vr.decode("ascii"), offset, length)
        return PixelElement(vr.decode("ascii"), offset, None, self._fragments(offset))

    def _elements(
        self, position: int, limit: int, implicit: bool, *, depth: int
    ) -> tuple[int, tuple[bytes, int, int] | None]:
        """Go through a data set, or one item's.

        Returns
        -------
        position : int
            Behind the last element, or behind the delimiter of an item of unknown length.
        pixels : (bytes, int, int) or None
            Of the outermost data set: representation, offset and length of the pixels, at
            which it stops.
        """
        implicit = self._really_implicit(position, implicit, nested=depth > 0)
        while position + 8 <= limit:
            self._count()
            tag, vr, offset, length = self._header(position, implicit)
            if tag == _ITEM_END:
                return offset, None
            if depth == 0 and tag in FLOAT_PIXEL_DATA:
                raise ImageError(f"{self.path}: pixels in floating point; integers are allowed")
            if depth == 0 and tag == PIXEL_DATA:
                return position, (vr, offset, length)
            if length == UNDEFINED:
                sequence = vr in (b"", b"SQ", b"UN")
                position = (
                    self._sequence(offset, limit, implicit, depth + 1) if sequence else self._delimited(offset, limit)
                )
            else:
                self._check_inside(tag, offset, length, limit)
                position = offset + length
        if position != limit:
            raise self._ends_early()
        return position, None

    def _sequence(self, position: int, limit: int, implicit: bool, depth: int) -> int:
        """Go through the items of a sequence of unknown length (7.5); returns where it ends."""
        if depth > MAX_NESTING:
            raise ImageError(f"{self.path}: sequences nested more than {MAX_NESTING} deep; fewer are allowed")
        while position + 8 <= limit:
            self._count()
            tag, length = self._item(position)
            position += 8
            if tag == _SEQUENCE_END:
                return position
            if tag != _ITEM:
                raise ImageError(f"{self.path}: a sequence that holds {_shown(tag)} instead of items; it is damaged")
            if length == UNDEFINED:
                position, _ = self._elements(position, limit, implicit, depth=depth)
            else:
                self._check_inside(tag, position, length, limit)
                self._elements(position, position + length, implicit, depth=depth)
                position += length
        raise self._ends_early()

    def _delimited(self, position: int, limit: int) -> int:
        """End of a value of unknown length that is no sequence, as an icon's compressed pixels.

        Like pydicom it goes by the delimiter's bytes alone, wherever they are.
        """
        delimiter = self._tag.pack(_SEQUENCE_END >> 16, _SEQUENCE_END & 0xFFFF)
        self.stream.seek(position)
        kept = b""
        while position < limit:
            read = self.stream.read(min(INFLATE_BYTES, limit - position))
            found = (kept + read).find(delimiter)
            if found >= 0:
                return position - len(kept) + found + 8
            position += len(read)
            kept = read[-3:]
        raise self._ends_early()

    def _fragments(self, position: int) -> "array[int]":
        """Offsets and lengths of the parts of compressed pixels (A.4)."""
        found = array("Q")
        while position + 8 <= self.length:
            tag, length = self._item(position)
            position += 8
            if tag == _SEQUENCE_END:
                return found
            if tag != _ITEM or length == UNDEFINED:
                raise ImageError(f"{self.path}: compressed pixels that are not in items; it is damaged")
            self._check_inside(tag, position, length, self.length)
            if len(found) >= 2 * MAX_FRAGMENTS:
                raise ImageError(f"{self.path}: more than {MAX_FRAGMENTS} fragments of compressed pixels")
            found.extend((position, length))
            position += length
        raise self._ends_early()

    def _header(self, position: int, implicit: bool) -> tuple[int, bytes, int, int]:
        """Tag, representation, value's offset and length of the element at `position` (7.1)."""
        content = self._read(position, 8)
        group, element = self._tag.unpack_from(content)
        tag, vr = group << 16 | element, content[4:6]
        # pydicom takes a representation that is no two letters for one that was left out.
        if implicit or group == 0xFFFE or not b"AA" <= vr <= b"ZZ":
            return tag, b"", position + 8, self._long.unpack_from(content, 4)[0]
        if vr in _LONG_LENGTH_VRS:
            return tag, vr, position + 12, self._long.unpack(self._read(position + 8, 4))[0]
        return tag, vr, position + 8, self._short.unpack_from(content, 6)[0]

    def _item(self, position: int) -> tuple[int, int]:
        content = self._read(position, 8)
        group, element = self._tag.unpack_from(content)
        return group << 16 | element, self._long.unpack_from(content, 4)[0]

    def _really_implicit(self, position: int, stated: bool, *, nested: bool) -> bool:
        """What a data set's first element shows, by which pydicom goes against the transfer syntax."""
        if nested and stated:
            return True
        self.stream.seek(position + 4)
        vr = self.stream.read(2)
        return stated if len(vr) < 2 else not (vr.isalpha() and vr.isupper())

    def _read(self, position: int, count: int) -> bytes:
        self.stream.seek(position)
        content = self.stream.read(count)
        if len(content) < count:
            raise self._ends_early()
        return content

    def _count(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise ImageError(f"{self.path}: more than {MAX_ELEMENTS} elements; fewer are allowed")

    def _check_inside(self, tag: int, offset: int, length: int, limit: int) -> None:
        if offset + length > limit:
            raise ImageError(
                f"{self.path}: its element {_shown(tag)} says {length} bytes, {max(0, limit - offset)} are there; "
                "it is damaged or cut off"
            )

    def _ends_early(self) -> ImageError:
        return ImageError(f"{self.path}: damaged DICOM, which ends inside an element; nothing was read from it")


def _shown(tag: int) -> str:
    """Tag as it is written in the standard.

    >>> _shown(0x7FE00010)
    '(7FE0,0010)'
    """
    return f"({tag >> 16:04X},{tag & 0xFFFF:04X})"
