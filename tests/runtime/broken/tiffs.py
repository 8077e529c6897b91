"""Broken TIFF and BigTIFF files."""

import struct
import zlib
from collections.abc import Iterator

import numpy as np

from .making import Broken, cut, fixed, patched

Entries = dict[int, tuple[int, list[int]]]
"""Type and values by tag."""

SIZES = {1: "B", 2: "B", 3: "H", 4: "I", 5: "II", 16: "Q"}
"""`struct`'s letters for the types of values."""

PAGE: Entries = {
    256: (3, [6]),
    257: (3, [4]),
    258: (3, [8]),
    259: (3, [1]),
    262: (3, [1]),
    273: (4, [8]),
    277: (3, [1]),
    278: (3, [4]),
    279: (4, [24]),
}
"""A grey page of 6x4 bytes at 8."""

BIG_PAGE: Entries = {**PAGE, 273: (16, [16]), 279: (16, [24])}
"""The same in a BigTIFF, whose data begin at 16."""

DATA = bytes(range(24))


def a_tiff(entries: Entries, data: bytes = b"", *, following: int = 0, order: str = "<", big: bool = False) -> bytes:
    """A TIFF of one page with `data` behind its header, at 8 or 16, and tags as they are given."""
    head, word = (16, "Q") if big else (8, "I")
    width = struct.calcsize(word)
    start = head + len(data) + len(data) % 2
    place = start + (8 if big else 2) + (4 + 2 * width) * len(entries) + width
    body, outside = struct.pack(order + ("Q" if big else "H"), len(entries)), b""
    for code, (kind, values) in sorted(entries.items()):
        content = struct.pack(f"{order}{len(values)}{SIZES[kind][0]}", *values)
        count = len(values) // len(SIZES[kind])
        if len(content) > width:
            content, outside = struct.pack(order + word, place + len(outside)), outside + content
        body += struct.pack(f"{order}HH{word}", code, kind, count) + content.ljust(width, b"\0")
    mark = b"II" if order == "<" else b"MM"
    version = struct.pack(f"{order}HHHQ", 43, 8, 0, start) if big else struct.pack(f"{order}HI", 42, start)
    return mark + version + data.ljust(start - head, b"\0") + body + struct.pack(order + word, following) + outside


def deflated_bomb(inflated: int, size: tuple[int, int], compression: int = 8) -> bytes:
    """Zeros behind the pixels of one strip."""
    packer = zlib.compressobj(1)
    packed = b"".join([*(packer.compress(bytes(1 << 20)) for _ in range(inflated >> 20)), packer.flush()])
    page = {**PAGE, 256: (3, [size[1]]), 257: (3, [size[0]]), 278: (3, [size[0]]), 259: (3, [compression])}
    return a_tiff({**page, 279: (4, [len(packed)])}, packed)


def many_pages(count: int, segments_each: int) -> bytes:
    """Pages that share one long table of strips."""
    table = 8 + 24
    lengths, first = table + 4 * segments_each, table + 8 * segments_each
    entries = {**PAGE, 257: (4, [segments_each]), 278: (3, [1])}
    content = bytearray(b"II*\0" + struct.pack("<I", first) + bytes(24) + struct.pack("<I", 8) * segments_each)
    content += struct.pack("<I", 6) * segments_each
    size = 2 + 12 * len(entries) + 4
    for number in range(count):
        content += struct.pack("<H", len(entries))
        for code, (kind, values) in sorted(entries.items()):
            place, values_there = {273: (table, segments_each), 279: (lengths, segments_each)}.get(code, (values[0], 1))
            content += struct.pack("<HHII", code, kind, values_there, place)
        content += struct.pack("<I", first + (number + 1) * size if number + 1 < count else 0)
    return bytes(content)


def wholes() -> Iterator[bytes]:
    """Small valid files."""
    yield a_tiff(PAGE, DATA)
    yield a_tiff(BIG_PAGE, DATA, big=True)
    yield a_tiff({**PAGE, 258: (3, [16]), 279: (4, [48])}, DATA * 2, order=">")
    packed = zlib.compress(DATA)
    yield a_tiff({**PAGE, 259: (3, [8]), 279: (4, [len(packed)]), 317: (3, [2])}, packed)
    yield a_tiff({**PAGE, 259: (3, [32773]), 279: (4, [26])}, b"\x09" + DATA[:10] + b"\x0d" + DATA[10:])
    colour = {258: (3, [8] * 3), 262: (3, [2]), 277: (3, [3]), 284: (3, [2])}
    yield a_tiff({**PAGE, **colour, 273: (4, [8, 8, 8]), 279: (4, [24] * 3)}, DATA)  # type: ignore[dict-item]
    floats = np.arange(24, dtype="<f4").tobytes()
    yield a_tiff({**PAGE, 258: (3, [32]), 339: (3, [3]), 279: (4, [96]), 282: (5, [3, 1]), 283: (5, [3, 1])}, floats)
    tiles = {322: (3, [16]), 323: (3, [16]), 324: (4, [8]), 325: (4, [256])}
    yield a_tiff({code: PAGE[code] for code in PAGE if code not in (273, 278, 279)} | tiles, bytes(256))
    yield a_tiff({**PAGE, 270: (2, list(b"ImageJ=1.53t\nimages=1\nmin=0\n\0"))}, DATA)
    yield many_pages(3, 4)


def _fields(entries: Entries, *, big: bool) -> Iterator[tuple[str, int]]:
    """Of `a_tiff(entries, DATA)`, in the order of the file."""
    yield "its byte order", 0
    yield "its version", 2
    if big:
        yield from (("the length of its offsets", 4), ("the zero behind it", 6))
    yield "the place of its directory", 8 if big else 4
    head, word = (16, 8) if big else (8, 4)
    yield "its pixels", head
    place = head + len(DATA)
    yield "the number of its tags", place
    place += 8 if big else 2
    for code in sorted(entries):
        yield from (
            (f"{what} of tag {code}", place + at) for what, at in (("the code", 0), ("the type", 2), ("the count", 4))
        )
        yield f"the value of tag {code}", place + 4 + word
        place += 4 + 2 * word
    yield "the place of the next directory", place


def _tiff(says: str, changes: dict[int, tuple[int, list[int]] | None], data: bytes = DATA) -> Broken:
    """A classic page with other tags; None takes one away."""
    entries = {code: entry for code, entry in {**PAGE, **changes}.items() if entry}
    return Broken(lambda: a_tiff(entries, data), says, ".tif")


def _big(says: str, changes: Entries) -> Broken:
    return Broken(lambda: a_tiff({**BIG_PAGE, **changes}, DATA, big=True), says, ".tif")


def _float(value: bytes) -> Broken:
    """A float picture of which the value of row 1, column 2 is not finite."""
    entries: Entries = {**PAGE, 258: (3, [32]), 339: (3, [3]), 279: (4, [96])}
    content = patched(bytes(96), 4 * (6 + 2), value)
    return Broken(lambda: a_tiff(entries, content), "at row 1, column 2; finite", ".tif")


HUGE = 2**32 - 1

TIFF: dict[str, Broken] = {
    **cut("TIFF", a_tiff(PAGE, DATA), _fields(PAGE, big=False), ".tif"),
    **cut("BigTIFF", a_tiff(BIG_PAGE, DATA, big=True), _fields(BIG_PAGE, big=True), ".tif"),
    "TIFF of 65535x65535 pixels": _tiff("at most 128 million", {256: (3, [65_535]), 257: (3, [65_535])}),
    "BigTIFF of 65535x65535 pixels": _big("at most 128 million", {256: (3, [65_535]), 257: (3, [65_535])}),
    "TIFF of 4294967295x4294967295 pixels": _tiff("million", {256: (4, [HUGE]), 257: (4, [HUGE])}),
    "BigTIFF of 2**63 columns": _big("beyond the file", {256: (16, [2**63])}),
    "TIFF of more rows than it has": _tiff("too short", {257: (3, [5]), 278: (3, [5])}),
    "TIFF of more columns than it has": _tiff("too short", {256: (3, [7])}),
    "TIFF without a row": _tiff("6x0 pixels", {257: (3, [0])}),
    "TIFF whose strip lies behind the file": _tiff("outside the file", {273: (4, [HUGE])}),
    "TIFF whose strip is as long as a file can be": _tiff("outside the file", {279: (4, [HUGE])}),
    "BigTIFF whose strip is as long as a file can be": _big("outside the file", {279: (16, [2**63 - 1])}),
    "BigTIFF whose strip has 2**64-1 bytes": _big("beyond the file", {279: (16, [2**64 - 1])}),
    "TIFF with a tag of 4 billion values": Broken(
        lambda: a_tiff(PAGE, DATA).replace(struct.pack("<HHI", 273, 4, 1), struct.pack("<HHI", 273, 4, HUGE)),
        "outside the file",
        ".tif",
    ),
    "TIFF of 65535 tags": Broken(lambda: patched(a_tiff(PAGE, DATA), 32, b"\xff\xff"), "lies outside the file", ".tif"),
    "BigTIFF of 2**64-1 tags": Broken(
        lambda: patched(a_tiff(BIG_PAGE, DATA, big=True), 40, b"\xff" * 8), "lies outside the file", ".tif"
    ),
    "BigTIFF of offsets of 4 bytes": Broken(
        lambda: patched(a_tiff(BIG_PAGE, DATA, big=True), 4, b"\4\0"), "offsets of 4 bytes", ".tif"
    ),
    "TIFF whose pages go round": Broken(lambda: a_tiff(PAGE, DATA, following=32), "round in a circle", ".tif"),
    "TIFF without a page": Broken(fixed(b"II*\0" + bytes(40)), "without a page", ".tif"),
    "TIFF whose directory is its header": Broken(
        fixed(b"II*\0" + struct.pack("<I", 2) + bytes(99)), "is damaged", ".tif"
    ),
    "TIFF of 10001 pages": Broken(lambda: many_pages(10_001, 1), "10,000 pages", ".tif"),
    "TIFF of a million and a half strips": Broken(lambda: many_pages(10, 150_000), "1,000,000 strips", ".tif"),
    "TIFF of tiles of 2**31 pixels": _tiff(
        "tiles of", {322: (4, [2**31]), 323: (4, [2**31]), 324: (4, [8]), 325: (4, [24])}
    ),
    "TIFF with a deflated strip that is none": _tiff("damaged strip", {259: (3, [8])}),
    "TIFF with a packed strip that ends early": _tiff("ends early", {259: (3, [32_773])}),
    "TIFF bomb of 9000x9000 pixels": Broken(lambda: deflated_bomb(1 << 20, (9000, 9000)), "too short", ".tif"),
    "TIFF bomb of 8000x8000 pixels, cut": Broken(lambda: deflated_bomb(60 << 20, (8000, 8000)), "ends early", ".tif"),
    "TIFF that holds NaN": _float(b"\0\0\xc0\x7f"),
    "TIFF that holds infinity": _float(b"\0\0\x80\xff"),
    "TIFF that holds a value beyond 1e30": _float(np.float32(2e30).tobytes()),
    "TIFF with one more page, cut": Broken(lambda: many_pages(3, 4)[:-9], "outside the file", ".tif"),
}

GOOD: dict[str, Broken] = {
    "TIFF bomb behind its pixels": Broken(lambda: deflated_bomb(300 << 20, (4, 6)), "", ".tif"),
    "TIFF that goes on as a hole": Broken(lambda: a_tiff(PAGE, DATA), "", ".tif", 9 << 30),
}
"""Pictures all the same: what is behind them is never read."""
