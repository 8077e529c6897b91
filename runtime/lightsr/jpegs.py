"""Markers of a JPEG, checked because decoders do not mind what is missing.

A decoder that runs out of a scan's bytes goes on in mid-grey, to the last row that the header claims,
and says nothing that Pillow would pass on. So a picture that was cut off, or claims to be higher than it
is, comes out with a part that nobody has seen.

References
----------
ITU-T T.81 (ISO/IEC 10918-1): markers in B.1.1.3, frame and scan headers in B.2.2 and B.2.3, order
of the blocks in A.2, progressions in G.1.1, lossless processes in annex H.
"""

import re
import struct
import zlib
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

EOI, SOS, DRI, TEM = 0xD9, 0xDA, 0xDD, 0x01

PROGRESSIVE = 0xC2

FRAMES = (0xC0, 0xC1, PROGRESSIVE)
"""Frame headers (SOF) that are read of files; others are arithmetic, lossless or hierarchical."""

SEQUENTIAL = (0xC0, 0xC1)
"""Those of them whose scans have all coefficients."""

LOSSLESS = 0xC3
"""Frame header of what DICOM files may have besides."""

ALL_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})

MAX_OTHER_BYTES = 8 << 20
"""In front of the first scan and between scans: thumbnails and colour profiles have up to some MiB."""

MAX_SEGMENT_BYTES = 2 + 65_535

MAX_SCANS = 200
"""Each costs a pass over the whole picture; encoders write about ten."""

PIXELS_PER_BYTE = 512
"""At most: a block of 64 pixels takes one bit of a progressive picture's first scan, and two of others."""

PADDING = bytes(range(1, 128)) * 32
"""Put behind a scan to see whether its decoder needs more; without 0xFF, which would begin a marker."""

Pixels = TypeVar("Pixels", bound=Any)
"""Bytes or an array."""

_ALL = bytes((0, 63, 0))
"""End of a scan header: all coefficients, with all their bits (B.2.3)."""

_END_OF_SCAN = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]", re.DOTALL)
_RESTARTS = re.compile(rb"\xff+[\xd0-\xd7]", re.DOTALL)


@dataclass
class Layout:
    """What the markers of a JPEG say.

    Parameters
    ----------
    rows, columns : int
    sampling : dict of int to (int, int)
        Horizontal and vertical sampling factors of each component, by its identifier.
    kind : int
        Marker of its frame header.
    starts, ends : list of int
        Where the bytes of each scan, behind its header, begin and end.
    sent : int
        Bytes of all scans.
    left : dict of int to list of int
        Of each component, for each of the 64 coefficients, how many of its lower bits were not sent yet; -1: none were.
    """

    rows: int
    columns: int
    sampling: dict[int, tuple[int, int]]
    kind: int
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    sent: int = 0
    left: dict[int, list[int]] = field(default_factory=dict)

    def units(self, components: list[int]) -> int:
        """Number of units (MCU) of a scan: blocks of a single component, else all of a place in the picture (A.2)."""
        side = 1 if self.kind == LOSSLESS else 8
        most = [max(factors[axis] for factors in self.sampling.values()) for axis in (0, 1)]
        if len(components) > 1:
            return -(-self.columns // (side * most[0])) * -(-self.rows // (side * most[1]))
        own = self.sampling[components[0]]
        columns, rows = (-(-length * own[axis] // most[axis]) for axis, length in enumerate((self.columns, self.rows)))
        return -(-columns // side) * -(-rows // side)


def frame(head: bytes) -> Layout:
    """Size and components of a JPEG, from its beginning.

    Parameters
    ----------
    head : bytes
        At least `MAX_OTHER_BYTES` and `MAX_SEGMENT_BYTES` of the file, or all of it.

    Raises
    ------
    ValueError
        As `layout`.
    """
    found = next((segment.frame for segment in _segments(head) if segment.frame), None)
    if found is None:
        raise ValueError("without a frame header")
    return found


def layout(content: bytes, kinds: Collection[int] = FRAMES) -> Layout:
    """Walk over the markers of a JPEG up to its end.

    Parameters
    ----------
    content : bytes
        A whole file; what follows its end does not matter.
    kinds : collection of int
        Frame headers that are allowed.

    Raises
    ------
    ValueError
        What is wrong with it, in words without a value of the file but numbers.

    Notes
    -----
    A scan must have all restart markers that its size needs, and of a progressive picture every
    coefficient must have been sent to its last bit.
    """
    found: Layout | None = None
    interval = 0
    for segment in _segments(content, kinds):
        found = segment.frame
        if segment.marker == DRI:
            interval = int.from_bytes(segment.body[:2], "big")
        elif segment.marker == SOS:
            if found is None:
                raise ValueError("without a frame header")
            _take_scan(content, segment, found, interval)
            if len(found.ends) > MAX_SCANS:
                raise ValueError(f"of more than {MAX_SCANS} scans")
    if found is None or set(found.left) != set(found.sampling):
        raise ValueError("without all of its scans")
    if found.rows * found.columns > PIXELS_PER_BYTE * found.sent:
        raise ValueError(f"with {found.sent} bytes of pixels, too few for {found.columns}x{found.rows}")
    if any(bits for left in found.left.values() for bits in left):
        raise ValueError("of which the last scans are missing")
    return found


class _Segment(NamedTuple):
    """A part of a JPEG: its marker, what its header holds, where a scan's bytes begin and end, the frame so far."""

    marker: int
    body: bytes
    start: int
    end: int
    frame: Layout | None


def _segments(content: bytes, kinds: Collection[int] = FRAMES) -> Iterator[_Segment]:
    if content[:2] != b"\xff\xd8":
        raise ValueError("that does not begin as one")
    found: Layout | None = None
    position, other = 2, 0
    while True:
        marker, position = _marker(content, position)
        if marker == EOI:
            return
        if marker == TEM or 0xD0 <= marker <= 0xD7:
            continue
        length = int.from_bytes(content[position : position + 2], "big")
        start = end = position + length
        other += length
        if other > MAX_OTHER_BYTES:
            raise ValueError(f"with more than {MAX_OTHER_BYTES >> 20} MiB beside its pixels")
        if length < 2 or start > len(content):
            raise ValueError("that ends inside a segment")
        body = content[position + 2 : start]
        if marker in ALL_FRAMES:
            if marker not in kinds or found is not None:
                raise ValueError("of a kind that is not read, or of two frames")
            found = _frame(body, marker)
        if marker == SOS:
            match = _END_OF_SCAN.search(content, start)
            if match is None:
                raise ValueError("that ends early")
            end = match.start()
        yield _Segment(marker, body, start, end, found)
        position = end


def _marker(content: bytes, position: int) -> tuple[int, int]:
    """The marker at a place, and the place behind it; any number of 0xFF may stand in front (B.1.1.2)."""
    if content[position : position + 1] != b"\xff":
        raise ValueError("that ends early, or with bytes between its segments")
    while content[position : position + 1] == b"\xff":
        position += 1
    if position >= len(content) or not content[position]:
        raise ValueError("that ends early")
    return content[position], position + 1


def _frame(body: bytes, kind: int) -> Layout:
    try:
        _, rows, columns, count = struct.unpack_from(">BHHB", body)
        parts = [struct.unpack_from("BB", body, 6 + 3 * index) for index in range(count)]
    except struct.error:
        raise ValueError("with a damaged frame header") from None
    sampling = {identifier: (factors >> 4, factors & 15) for identifier, factors in parts}
    fits = all(1 <= factor <= 4 for factors in sampling.values() for factor in factors)
    if not rows or not columns or len(sampling) != count or not 1 <= count <= 4 or not fits:
        raise ValueError("with a damaged frame header")
    return Layout(rows, columns, sampling, kind)


def _take_scan(content: bytes, scan: _Segment, of: Layout, interval: int) -> None:
    """Note in `of` where a scan's bytes end and what it sends."""
    header = scan.body
    count = header[0] if header else 0
    components = [header[1 + 2 * index] for index in range(count)] if len(header) == 4 + 2 * count else []
    if not components or not set(components) <= set(of.sampling):
        raise ValueError("with a damaged scan header")
    first, last, bits = (header[-3], header[-2], header[-1] & 15) if of.kind == PROGRESSIVE else (0, 63, 0)
    if not first <= last <= 63:
        raise ValueError("with a damaged scan header")
    for identifier in components:
        left = of.left.setdefault(identifier, [-1] * 64)
        left[first : last + 1] = [bits] * (last + 1 - first)
    if interval:
        needed = -(-of.units(components) // interval) - 1
        if len(_RESTARTS.findall(content, scan.start, scan.end)) != needed:
            raise ValueError("of which parts are missing between its restart markers")
    of.starts.append(scan.start)
    of.ends.append(scan.end)
    of.sent += scan.end - scan.start


def padded(content: bytes, found: Layout, ends: Collection[int]) -> bytes:
    """The same JPEG with bytes behind some scans, which no decoder needs that has all of these.

    In scan headers of sequential frames the last coefficient is put right, which some encoders leave at 0: decoders
    read such a file, but not with something else to complain about.

    Parameters
    ----------
    content : bytes
    found : Layout
        Of `content`.
    ends : collection of int
        Of the scans, some of `found.ends`.
    """
    parts, before = [], 0
    for start, end in zip(found.starts, found.ends, strict=True):
        if found.kind in SEQUENTIAL:
            parts += [content[before : start - len(_ALL)], _ALL]
            before = start
        parts += [content[before:end], PADDING if end in ends else b""]
        before = end
    return b"".join([*parts, content[before:]])


def checked(
    content: bytes,
    decode: Callable[[bytes], Pixels],
    kinds: Collection[int] = FRAMES,
    *,
    scan_by_scan: bool = False,
) -> Pixels:
    """Pixels of a JPEG of which nothing is missing.

    A decoder that runs out of a scan's bytes takes those that `padded` put there, and another picture comes of
    it. Such a one is decoded first, and not kept.

    Parameters
    ----------
    content : bytes
    decode : callable
        Gives the pixels of a JPEG, in one piece.
    kinds : collection of int
        As that of `layout`.
    scan_by_scan : bool
        One more picture for every scan, for a decoder that gives up where there are more bytes behind several.

    Raises
    ------
    ValueError
        As `layout`, or its scans end before its last row.
    """
    found = layout(content, kinds)
    copies = [[end] for end in found.ends] if scan_by_scan else [found.ends]
    expected = {zlib.crc32(decode(padded(content, found, ends))) for ends in copies}
    pixels = decode(content)
    if expected != {zlib.crc32(pixels)}:
        raise ValueError("that ends before its last row")
    return pixels
