"""Which parts of compressed Pixel Data make up which frame (PS3.5, A.4)."""

import struct
from array import array
from pathlib import Path
from typing import Any, BinaryIO

from lightsr.errors import ImageError

STARTS = (b"\xff\xd8", b"\xff\x4f")
"""First bytes of a JPEG or JPEG-LS picture, and of a JPEG 2000 codestream."""

Part = tuple[int, int]
"""Offset in the file and length of a fragment."""


def by_frame(fragments: "array[int]", count: int, header: Any, file: BinaryIO, path: Path) -> list[list[Part]]:
    """Fragments of every frame.

    An offset table decides; without one a frame is a fragment, or begins with the first
    bytes of a picture.

    Parameters
    ----------
    fragments : array of uint64
        Offset and length of every item in turn, the basic offset table first.
    count : int
        Frames that the header promises.
    header : pydicom.Dataset
        For the extended offset table.
    file : binary file
    path : Path
        For messages.

    Raises
    ------
    ImageError
        Fragments, tables and frames do not go together.
    """
    if not fragments:
        raise ImageError(f"{path}: compressed pixels without items; it is damaged")
    table_at, table_length = fragments[0], fragments[1]
    parts = list(zip(fragments[2::2], fragments[3::2], strict=True))
    if len(parts) < count:
        raise ImageError(f"{path}: {count} frames in {len(parts)} fragments; a frame has one at least; it is damaged")
    extended = header.get("ExtendedOffsetTable")
    if extended:
        # Each frame is one fragment then (PS3.3 C.7.6.3.1.8), so the table says nothing new.
        if len(extended) != 8 * count or len(parts) != count:
            raise ImageError(f"{path}: an extended offset table that does not fit its {count} frames; it is damaged")
        offsets = list(struct.unpack(f"<{count}Q", extended))
        return _by_offset(parts, offsets, path)
    if table_length:
        if table_length != 4 * count:
            raise ImageError(f"{path}: an offset table of {table_length} bytes for {count} frames; it is damaged")
        file.seek(table_at)
        return _by_offset(parts, list(struct.unpack(f"<{count}I", file.read(table_length))), path)
    if count == 1:
        return [parts]
    if len(parts) == count:
        return [[part] for part in parts]
    return _by_start(parts, count, file, path)


def _by_offset(parts: list[Part], offsets: list[int], path: Path) -> list[list[Part]]:
    """Frames that begin at `offsets`, counted from the first fragment's item."""
    frames: list[list[Part]] = []
    waiting = list(reversed(offsets))
    first = parts[0][0] - 8
    for part in parts:
        if waiting and part[0] - 8 - first == waiting[-1]:
            waiting.pop()
            frames.append([])
        if not frames:
            break
        frames[-1].append(part)
    if waiting or not frames:
        raise ImageError(f"{path}: an offset table that points beside its fragments; it is damaged")
    return frames


def _by_start(parts: list[Part], count: int, file: BinaryIO, path: Path) -> list[list[Part]]:
    frames: list[list[Part]] = []
    for offset, length in parts:
        file.seek(offset)
        if file.read(min(2, length)) in STARTS:
            frames.append([])
        if not frames:
            break
        frames[-1].append((offset, length))
    if len(frames) != count:
        raise ImageError(
            f"{path}: {count} frames in {len(parts)} fragments without an offset table, which cannot be told apart"
        )
    return frames
