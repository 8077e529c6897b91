"""Elements of a DICOM data set: what they say about their lengths, and whether it is true.

Clauses are of PS3.5 of the DICOM standard unless another part is named.
"""

import struct
from array import array
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO

from lightsr.errors import ImageError
from lightsr.limits import (
    MAX_ALL_FRAMES_ELEMENTS,
    MAX_ELEMENTS,
    MAX_FRAGMENTS,
    MAX_FRAME_ELEMENTS,
    MAX_FRAME_VALUE_BYTES,
    MAX_FRAMES,
    MAX_NESTING,
    MAX_OTHER_BYTES,
    MAX_TEXT_BYTES,
    MAX_VALUE_BYTES,
)

OVERLAY_GROUPS = range(0x6000, 0x6020, 2)
"""Groups that may each hold one overlay plane (7.6)."""

BINARY_TAGS = (
    *(range(0x00281200, 0x00281300), range(0x00283006, 0x00283007), range(0x7FE00000, 0x7FE10000)),
    *(range(0x54001010, 0x54001011), *(range(group << 16, (group + 1) << 16) for group in OVERLAY_GROUPS)),
)
"""Elements that hold binary data, where their representation is left out: tables, overlays, pixels, waveforms."""

SEARCHED_BYTES = 2**20
"""How much of a value of unknown length is searched for its end at a time."""

UNDEFINED = 0xFFFFFFFF
"""Length that says: up to a delimiter (7.1.2)."""

FRAME_GROUPS = 0x52009230
"""Per-Frame Functional Groups Sequence (PS3.3 C.7.6.16)."""

PIXEL_DATA = 0x7FE00010
FLOAT_PIXEL_DATA = frozenset({0x7FE00008, 0x7FE00009})
_ITEM, _ITEM_END, _SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD

LONG_LENGTH_VRS = frozenset({b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"})
"""Value representations whose length takes four bytes (7.1.2)."""

SINGLE_VALUE_VRS = LONG_LENGTH_VRS - {b"UC"} | {b"LT", b"ST"}
"""Those of one value, or of bytes that stay bytes."""

LONG_TEXT_VRS = frozenset({b"LT", b"ST", b"UR", b"UT"})
"""Those of one text of any length."""


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
class FrameGroupsElement:
    """Where a file's Per-Frame Functional Groups Sequence lies.

    Parameters
    ----------
    start, end : int
        First byte of the element and first byte behind it, in the opened stream.
    implicit : bool
        Whether its items leave representations out.
    items : array of uint64
        Offset and length of what each item holds, in turn.
    """

    start: int
    end: int
    implicit: bool
    items: "array[int]" = field(repr=False)


class _TooMuchError(ImageError):
    """More than is allowed, which counts even where damage does not."""


class Walk:
    """From element to element, reading tags and lengths only, as pydicom would read them.

    Parameters
    ----------
    stream : binary file
    length : int
        Of the stream, bytes.
    path : Path
    little : bool

    Attributes
    ----------
    frame_groups : FrameGroupsElement or None
        Once `to_pixels` has found it.
    header_end : int
        Where the pixels' element begins, or the stream ends, once `to_pixels` has found it.
    """

    def __init__(self, stream: BinaryIO, length: int, path: Path, *, little: bool) -> None:
        self.stream, self.length, self.path = stream, length, path
        order = "<" if little else ">"
        self._tag, self._long, self._short = (struct.Struct(order + kind) for kind in ("HH", "I", "H"))
        self._left, self._value_bytes, self._text_bytes = MAX_ELEMENTS, 0, 0
        self._frames_left, self._of_a_frame = MAX_ALL_FRAMES_ELEMENTS, False
        self.frame_groups: FrameGroupsElement | None = None
        self.header_end = length

    def to_pixels(self, start: int, *, implicit: bool) -> PixelElement | None:
        """Check everything from `start` up to the pixels, and find these; None where there are none.

        Raises
        ------
        ImageError
            Elements that are damaged, are there twice, or hold more than is allowed.
        """
        position, end = self._elements(start, self.length, implicit, depth=0)
        self.header_end = position
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
        seen: set[int] = set()
        while position + 8 <= limit:
            self._count()
            tag, vr, offset, length = self._header(position, implicit)
            if tag == _ITEM_END:
                return offset, None
            if depth == 0 and not tag >> 16 & 1:
                if tag in seen:  # readers differ in which one they believe
                    raise ImageError(f"{self.path}: its element {_shown(tag)} is there twice; it is damaged")
                seen.add(tag)
            if depth == 0 and tag in FLOAT_PIXEL_DATA:
                raise ImageError(f"{self.path}: pixels in floating point; integers are allowed")
            if depth == 0 and tag == PIXEL_DATA:
                return position, (vr, offset, length)
            if depth == 0 and tag == FRAME_GROUPS:
                position = self._frame_groups(position, offset, length, implicit)
            elif length == UNDEFINED:
                sequence = vr in (b"", b"SQ", b"UN")
                position = (
                    self._sequence(offset, limit, implicit, depth + 1) if sequence else self._delimited(offset, limit)
                )
            else:
                self._check_inside(tag, offset, length, limit)
                if depth > 0 or not tag >> 16 & 1:  # what is private is never decoded, but inside of items
                    self._check_value(tag, vr, offset, length, implicit, depth)
                position = offset + length
        if position != limit:
            raise self._ends_early()
        return position, None

    def _frame_groups(self, start: int, position: int, length: int, implicit: bool) -> int:
        """Go through the functional groups of frames, each counted by itself; returns where they end."""
        if length != UNDEFINED:
            self._check_inside(FRAME_GROUPS, position, length, self.length)
        limit = self.length if length == UNDEFINED else position + length
        items, outside = array("Q"), (self._left, self._value_bytes)
        self._of_a_frame = True
        while length == UNDEFINED or position + 8 <= limit:
            tag, item_length = self._item(position)
            position += 8
            if tag == _SEQUENCE_END and length == UNDEFINED:
                limit = position
                break
            if tag != _ITEM:
                raise ImageError(f"{self.path}: a sequence that holds {_shown(tag)} instead of items; it is damaged")
            if len(items) >= 2 * MAX_FRAMES:
                raise _TooMuchError(f"{self.path}: more than {MAX_FRAMES} frames; fewer are allowed")
            self._left, self._value_bytes = MAX_FRAME_ELEMENTS, 0
            self._count()
            if item_length == UNDEFINED:
                end, _ = self._elements(position, limit, implicit, depth=1)
                if self._item(end - 8)[0] != _ITEM_END:
                    raise self._ends_early()
                items.extend((position, end - position - 8))
                position = end
            else:
                self._check_inside(tag, position, item_length, limit)
                self._elements(position, position + item_length, implicit, depth=1)
                items.extend((position, item_length))
                position += item_length
        if position != limit:
            raise self._ends_early()
        self._of_a_frame = False
        self._left, self._value_bytes = outside
        self.frame_groups = FrameGroupsElement(start, limit, implicit, items)
        return limit

    def _check_value(self, tag: int, vr: bytes, offset: int, length: int, implicit: bool, depth: int) -> None:
        """What pydicom would make of a value of known length, once it is used.

        Damage inside does not matter before, if ever; how much there is does.
        """
        unknown = vr in (b"", b"UN")  # pydicom then goes by its dictionary
        if length >= 8 and (unknown or vr == b"SQ") and self._item(offset)[0] == _ITEM:
            try:
                self._sequence(offset, offset + length, implicit, depth + 1)
            except _TooMuchError:
                raise
            except ImageError:
                return
        elif vr in LONG_TEXT_VRS:
            self._text_bytes += length
            if self._text_bytes > MAX_TEXT_BYTES:
                raise _TooMuchError(
                    f"{self.path}: more than {MAX_TEXT_BYTES // 2**20} MiB of text; its element {_shown(tag)} has "
                    f"{length} bytes; remove it first"
                )
        elif (unknown and not any(tag in tags for tags in BINARY_TAGS)) or vr not in (b"UN", b"", *SINGLE_VALUE_VRS):
            self._value_bytes += length
            if self._value_bytes > (MAX_FRAME_VALUE_BYTES if self._of_a_frame else MAX_VALUE_BYTES):
                allowed = f"{MAX_VALUE_BYTES // 2**20} MiB of short values"
                if self._of_a_frame:
                    allowed = f"{MAX_FRAME_VALUE_BYTES // 2**10} KiB of short values of one frame"
                raise _TooMuchError(
                    f"{self.path}: more than {allowed}; its element {_shown(tag)} has {length} bytes; it is damaged, "
                    "or convert it first"
                )

    def _sequence(self, position: int, limit: int, implicit: bool, depth: int) -> int:
        """Go through the items of a sequence of unknown length (7.5); returns where it ends."""
        if depth > MAX_NESTING:
            raise _TooMuchError(f"{self.path}: sequences nested more than {MAX_NESTING} deep; fewer are allowed")
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
            read = self.stream.read(min(SEARCHED_BYTES, limit - position))
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
        if vr in LONG_LENGTH_VRS:
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
        if self._of_a_frame:
            self._frames_left -= 1
            if min(self._left, self._frames_left) < 0:
                raise _TooMuchError(
                    f"{self.path}: functional groups of more than {MAX_FRAME_ELEMENTS} elements of one frame or "
                    f"{MAX_ALL_FRAMES_ELEMENTS} elements of all; fewer are allowed"
                )
        elif self._left < 0:
            raise _TooMuchError(f"{self.path}: more than {MAX_ELEMENTS} elements; fewer are allowed")

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
