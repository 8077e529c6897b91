"""Colours of DICOM images as RGB (PS3.3 C.7.6.3.1.2 and C.7.9)."""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightsr.errors import ImageError
from lightsr.image import LUMA

COLOURS = ("Red", "Green", "Blue")

GREY_LEVEL = 128
"""Value of the two colour differences where there is no colour."""


def rgb_from_ybr(values: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """RGB of luminance and two colour differences over the full range (YBR_FULL).

    Parameters
    ----------
    values : ndarray, shape (h, w, 3), uint8

    Returns
    -------
    ndarray, shape (h, w, 3), uint8
        Rounded to the nearest and clipped.

    >>> rgb_from_ybr(np.array([[[76, 85, 255], [90, 128, 128]]], np.uint8)).tolist()
    [[[254, 0, 0], [90, 90, 90]]]

    References
    ----------
    PS3.3 C.7.6.3.1.2; ITU-R BT.601: a difference is that of blue or red from luminance, over twice the
    share that luminance takes from the others.
    """
    red, green, blue = LUMA
    luminance = values[..., 0].astype(np.float32)
    towards_blue = (values[..., 1].astype(np.float32) - GREY_LEVEL) * np.float32(2 * (1 - blue))
    towards_red = (values[..., 2].astype(np.float32) - GREY_LEVEL) * np.float32(2 * (1 - red))
    channels = (
        luminance + towards_red,
        luminance - (np.float32(blue) * towards_blue + np.float32(red) * towards_red) / np.float32(green),
        luminance + towards_blue,
    )
    result: NDArray[np.uint8] = np.clip(np.floor(np.stack(channels, axis=-1) + 0.5), 0, 255).astype(np.uint8)
    return result


def palette(header: Any, path: Path, *, little: bool) -> tuple[NDArray[np.uint8], int]:
    """Colours that the values of a PALETTE COLOR image stand for (C.7.9, C.7.6.3.1.5 and .6).

    Parameters
    ----------
    header : pydicom.Dataset
    path : Path
        For messages.
    little : bool
        Byte order of the tables' words.

    Returns
    -------
    table : ndarray, shape (n, 3), uint8
    first : int
        Value that stands for the first row; lower ones stand for it too, and values
        beyond the table for its last.

    Raises
    ------
    ImageError
        Tables that are missing or there in two forms, damaged, or differ in their descriptions.
    """
    tables = []
    descriptors = set()
    for colour in COLOURS:
        name = f"{colour}PaletteColorLookupTable"
        descriptor, content = header.get(f"{name}Descriptor"), header.get(f"{name}Data")
        segments = header.get(f"Segmented{name}Data")
        if content is not None and segments is not None:
            raise ImageError(f"{path}: palettes that are segmented and not; one is allowed; convert it to RGB first")
        content = segments if content is None else content
        if descriptor is None or not isinstance(content, bytes) or len(descriptor) != 3:
            raise ImageError(f"{path}: a palette image with a palette that is missing or damaged")
        entries, first, bits = (int(value) for value in descriptor)
        descriptors.add((entries, first, bits))
        if segments is not None:
            content = _expanded(content, entries or 65_536, bits, path, little=little)
        tables.append(_table(content, entries or 65_536, bits, path, little=little))
    if len(descriptors) != 1:
        raise ImageError(f"{path}: palettes of different lengths; three alike are allowed")
    return np.stack(tables, axis=-1), first


def _table(content: bytes, entries: int, bits: int, path: Path, *, little: bool) -> NDArray[np.uint8]:
    """One colour's table in 8 bits.

    Of 16-bit entries the upper byte: exact for both usual ways of writing an 8-bit level
    in 16 bits (the byte twice, or with a zero below).
    """
    wide = np.frombuffer(content[: len(content) // 2 * 2], "<u2" if little else ">u2")
    if bits == 16 and len(wide) == entries:
        if wide.max() <= 255 and wide.any():
            raise ImageError(f"{path}: a 16-bit palette that uses 8 bits; it is dark, or damaged; convert it first")
        return (wide >> 8).astype(np.uint8)
    if bits == 8 and len(content) in (entries, entries + entries % 2):
        # Words of two entries, the first in the lower byte.
        packed = wide.astype("<u2").tobytes() + content[len(wide) * 2 :] if not little else content
        return np.frombuffer(packed[:entries], np.uint8)
    if bits == 8 and len(wide) == entries and wide.max() <= 255:  # a byte in each word, as some write it
        return wide.astype(np.uint8)
    raise ImageError(f"{path}: a palette of {entries} entries of {bits} bits in {len(content)} bytes; it is damaged")


def _expanded(content: bytes, entries: int, bits: int, path: Path, *, little: bool) -> bytes:
    """A segmented table as a plain one of the same byte order (C.7.9.2).

    Runs of values and straight lines. Indirect segments repeat others by an offset that readers
    understand as one of bytes or of words: they are refused.
    """
    if bits not in (8, 16):
        raise ImageError(f"{path}: segmented palettes of {bits} bits; 8 and 16 are allowed")
    word = "<u2" if little else ">u2"
    data = np.frombuffer(content[: len(content) // 2 * 2], word)
    if bits == 8:
        data = np.frombuffer(data.astype("<u2").tobytes(), np.uint8)  # words of two, the first in the lower byte
    values: list[NDArray[Any]] = []
    count = position = 0
    while count < entries:
        kind, length = (
            (int(number) for number in data[position : position + 2]) if position + 2 < len(data) else (-1, 0)
        )
        if kind == 2:
            raise ImageError(
                f"{path}: palettes with indirect segments; plain ones are allowed; convert it to RGB first"
            )
        if kind == 0:
            part = data[position + 2 : position + 2 + length]
        elif kind == 1 and values:
            start, end = float(values[-1][-1]), float(data[position + 2])
            part = np.rint(np.linspace(start, end, length + 1)[1:]).astype(data.dtype)
        else:
            part = data[:0]
        position += 2 + (length if kind == 0 else 1)
        if not length or len(part) != length or count + length > entries:
            raise ImageError(f"{path}: palettes of segments that do not make {entries} entries; it is damaged")
        values.append(part)
        count += length
    if data[position:].any():  # but for what fills up to an even length
        raise ImageError(f"{path}: palettes of segments that make more than {entries} entries; it is damaged")
    table = np.concatenate(values)
    if bits == 16:
        return table.astype(word).tobytes()
    packed = np.frombuffer(table.tobytes() + b"\0" * (entries % 2), "<u2")
    return packed.astype(word).tobytes()


def rgb_from_palette(values: NDArray[Any], table: NDArray[np.uint8], first: int) -> NDArray[np.uint8]:
    """Colours of palette values (C.7.6.3.1.5).

    Parameters
    ----------
    values : ndarray, shape (h, w), any integer dtype
    table : ndarray, shape (n, 3), uint8
    first : int
        Value of the first row; both as `palette` gives them.

    Returns
    -------
    ndarray, shape (h, w, 3), uint8

    >>> table = np.array([[0, 0, 0], [9, 8, 7]], np.uint8)
    >>> rgb_from_palette(np.array([[3, 4, 200]], np.uint8), table, 3).tolist()
    [[[0, 0, 0], [9, 8, 7], [9, 8, 7]]]
    """
    rows = np.clip(values.astype(np.int32) - first, 0, len(table) - 1)
    return table[rows]
