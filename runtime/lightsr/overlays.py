"""Overlay planes: drawings of one bit a pixel over a picture, enlarged by repeating their pixels.

Clauses are of PS3.3 of the DICOM standard unless another part is named.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightsr.elements import OVERLAY_GROUPS
from lightsr.errors import ImageError

ROWS, COLUMNS, FRAMES, ORIGIN = 0x0010, 0x0011, 0x0015, 0x0050
BITS_ALLOCATED, BIT_POSITION, AREA, DATA = 0x0100, 0x0102, 0x1301, 0x3000

MEASURED = (0x1302, 0x1303)
"""Mean and deviation of the source's values in a region of interest (C.9.2.1)."""

MAX_BYTES = 16 * 2**20
"""Length of all enlarged planes together, which are held in memory."""

BAND_ROWS = 64
"""Rows of a plane that are enlarged at a time."""

MAX_SIDE, MAX_ORIGIN = 2**16 - 1, 2**15 - 1
"""Of Overlay Rows and Columns, and of Overlay Origin (C.9.2; PS3.5, 6.2: US and SS)."""


def enlarge(dataset: Any, scale: int) -> None:
    """Make the overlay planes of a data set those of the enlarged picture, in place.

    Planes of their own stay. What is no such plane goes: bits above the pixel values, a
    retired form that the reader masks out, and groups without data.

    Parameters
    ----------
    dataset : pydicom.Dataset
        Its words in little-endian order.
    scale : int

    Raises
    ------
    ImageError
        A plane's data are not as long as its size needs, or it would become larger than
        allowed; the caller knows the file.
    """
    groups = {tag.group for tag in dataset.keys() if 0x6000 <= tag.group <= 0x60FF}  # noqa: SIM118
    left = MAX_BYTES
    for group in sorted(groups):
        if group in OVERLAY_GROUPS and _number(dataset, group, BITS_ALLOCATED) == 1 and _tag(group, DATA) in dataset:
            left -= _enlarge(dataset, group, scale, left)
        else:
            for tag in [tag for tag in dataset.keys() if tag.group == group]:  # noqa: SIM118
                del dataset[tag]


def _enlarge(dataset: Any, group: int, scale: int, most: int) -> int:
    """Enlarge one plane, which may take `most` bytes; returns how many it takes."""
    rows, columns = _number(dataset, group, ROWS), _number(dataset, group, COLUMNS)
    frames = _number(dataset, group, FRAMES) if _tag(group, FRAMES) in dataset else 1
    element = dataset.get(_tag(group, ORIGIN))
    origin = list(element.value) if element is not None and element.VM == 2 else []
    content = dataset[_tag(group, DATA)].value
    needed = (rows * columns * frames + 7) // 8
    whole = isinstance(content, bytes) and needed > 0 and needed <= len(content) <= needed + 1
    if not whole or not all(isinstance(value, int) for value in origin) or not origin:
        raise ImageError(
            f"its overlay plane {group:04X} is damaged: {rows}x{columns} bits of {frames} frames take {needed} bytes, "
            "and two numbers tell its origin; mend or remove it first"
        )
    moved = [(value - 1) * scale + 1 for value in origin]
    bytes_ = needed * scale * scale
    if max(rows, columns) * scale > MAX_SIDE or max(map(abs, moved)) > MAX_ORIGIN or bytes_ > most:
        raise ImageError(
            f"its overlay plane {group:04X} would become larger than allowed: {MAX_SIDE} a side, "
            f"{MAX_BYTES >> 20} MiB in all, an origin of {MAX_ORIGIN}; remove it first or choose a smaller --scale"
        )
    dataset[_tag(group, ROWS)].value, dataset[_tag(group, COLUMNS)].value = scale * rows, scale * columns
    dataset[_tag(group, ORIGIN)].value = moved
    dataset[_tag(group, DATA)].value = repeated(content, (frames, rows, columns), scale)
    dataset.add_new(_tag(group, BIT_POSITION), "US", 0)
    if _number(dataset, group, AREA):
        dataset[_tag(group, AREA)].value = _number(dataset, group, AREA) * scale * scale
    for element_number in MEASURED:
        dataset.pop(_tag(group, element_number), None)
    return bytes_


def repeated(content: bytes, shape: tuple[int, int, int], scale: int) -> bytes:
    """Repeat every bit `scale` times in both directions.

    Parameters
    ----------
    content : bytes
        Bits of all frames without gaps, the first in the lowest bit of its byte (PS3.5, 8.1.2).
    shape : (int, int, int)
        Frames, rows and columns.
    scale : int

    Returns
    -------
    bytes
        In the same order, of even length.

    >>> repeated(bytes([0b01]), (1, 1, 2), 2).hex(" ")  # 10 becomes 1100 and 1100
    '33 00'
    """
    frames, rows, columns = shape
    stored = np.frombuffer(content, dtype=np.uint8)
    waiting: NDArray[np.uint8] = np.empty(0, dtype=np.uint8)
    parts = []
    for first in range(0, frames * rows, BAND_ROWS):  # a byte a bit, of a few rows at a time
        start, end = first * columns, min(first + BAND_ROWS, frames * rows) * columns
        bits = np.unpackbits(stored[start // 8 : (end + 7) // 8], bitorder="little")[start % 8 :][: end - start]
        larger = bits.reshape(-1, columns).repeat(scale, 0).repeat(scale, 1)
        waiting = np.concatenate((waiting, larger.ravel()))
        full = len(waiting) // 8 * 8
        parts.append(np.packbits(waiting[:full], bitorder="little").tobytes())
        waiting = waiting[full:]
    result = b"".join((*parts, np.packbits(waiting, bitorder="little").tobytes()))
    return result + b"\0" * (len(result) % 2)


def _tag(group: int, element: int) -> int:
    return group << 16 | element


def _number(dataset: Any, group: int, element: int) -> int:
    """One whole number, 0 where there is none."""
    found = dataset.get(_tag(group, element))
    return int(found.value) if found is not None and isinstance(found.value, int) else 0
