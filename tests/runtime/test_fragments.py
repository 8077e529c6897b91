import io
import struct
from array import array
from pathlib import Path

import pytest
from lightsr import fragments
from lightsr.errors import ImageError

PATH = Path("a.dcm")


def laid_out(table: bytes, parts: list[bytes]) -> tuple["array[int]", io.BytesIO]:
    """Items as a file holds them, and where `lightsr.gate` finds them."""
    file, found = io.BytesIO(), array("Q")
    for content in (table, *parts):
        file.write(b"\xfe\xff\x00\xe0" + struct.pack("<I", len(content)))
        found.extend((file.tell(), len(content)))
        file.write(content)
    return found, file


def frames(table: bytes, parts: list[bytes], count: int, header: dict[str, bytes] | None = None) -> list[bytes]:
    found, file = laid_out(table, parts)
    return [
        b"".join(file.getvalue()[offset : offset + length] for offset, length in frame)
        for frame in fragments.by_frame(found, count, header or {}, file, PATH)
    ]


A, B, C, D = b"\xff\xd8a1", b"a2a2", b"\xff\xd8b1b1", b"b2"


def test_fragments_of_frames() -> None:
    table = struct.pack("<II", 0, 24)
    assert frames(b"", [A, B], 1) == [A + B]
    assert frames(b"", [A, C], 2) == [A, C]
    assert frames(b"", [A, B, C, D], 2) == [A + B, C + D]
    assert frames(table, [A, B, C, D], 2) == [A + B, C + D]
    assert frames(struct.pack("<I", 0), [A, B], 1) == [A + B]
    assert frames(b"", [A, C], 2, {"ExtendedOffsetTable": struct.pack("<QQ", 0, 12)}) == [A, C]


@pytest.mark.parametrize(
    ("table", "parts", "count", "header", "message"),
    [
        (b"", [A], 2, None, "2 frames in 1 fragments; a frame has one at least"),
        (b"", [], 1, None, "1 frames in 0 fragments"),
        (b"", [A, B, D], 2, None, "2 frames in 3 fragments without an offset table"),
        (b"", [B, A, C, D], 2, None, "cannot be told apart"),
        (struct.pack("<I", 0), [A, C], 2, None, "an offset table of 4 bytes for 2 frames"),
        (struct.pack("<II", 0, 5), [A, C], 2, None, "points beside its fragments"),
        (struct.pack("<II", 12, 0), [A, C], 2, None, "points beside its fragments"),
        (struct.pack("<II", 4, 12), [A, C], 2, None, "points beside its fragments"),
        (b"", [A, C], 2, {"ExtendedOffsetTable": bytes(8)}, "an extended offset table that does not fit"),
        (b"", [A, C], 2, {"ExtendedOffsetTable": struct.pack("<QQ", 0, 2**63)}, "points beside"),
    ],
)
def test_what_does_not_go_together(
    table: bytes, parts: list[bytes], count: int, header: dict[str, bytes] | None, message: str
) -> None:
    with pytest.raises(ImageError, match=message):
        frames(table, parts, count, header)


def test_no_items_at_all() -> None:
    with pytest.raises(ImageError, match="without items"):
        fragments.by_frame(array("Q"), 1, {}, io.BytesIO(), PATH)
