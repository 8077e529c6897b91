"""What a DICOM header says about its pixels, and stored values from their bytes.

Clauses are of PS3.3 of the DICOM standard unless another part is named.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightsr.elements import OVERLAY_GROUPS
from lightsr.errors import ImageError
from lightsr.image import MAX_PIXELS
from lightsr.limits import MAX_FRAMES

PHOTOMETRIC = {
    "MONOCHROME1": 1,
    "MONOCHROME2": 1,
    "PALETTE COLOR": 1,
    "RGB": 3,
    "YBR_FULL": 3,
    "YBR_FULL_422": 3,
    "YBR_RCT": 3,
    "YBR_ICT": 3,
}
"""Photometric interpretations that are understood, and their samples per pixel (C.7.6.3.1.2)."""

GREY = ("MONOCHROME1", "MONOCHROME2")

UNREAD_PHOTOMETRIC = frozenset({"HSV", "ARGB", "CMYK", "YBR_PARTIAL_422", "YBR_PARTIAL_420", "XYB"})
"""Further ones that the standard knows or knew; of any other value nothing is repeated."""


@dataclass(frozen=True)
class PixelDescription:
    """Image Pixel attributes (C.7.6.3) that agree with each other.

    Parameters
    ----------
    rows, columns, frames : int
    samples : int
        Per pixel, 1 or 3.
    photometric : str
        One of `PHOTOMETRIC`.
    allocated, stored : int
        Bits of the word that holds a value, and of the value.
    low_bit : int
        The value's lowest bit in its word: 0 but in old files.
    signed : bool
    by_plane : bool
        Samples one colour after the other (Planar Configuration 1).
    overlay_bits : int
        Mask of unused bits that hold overlays which the header declares (C.9.2, retired use).
    """

    rows: int
    columns: int
    frames: int
    samples: int
    photometric: str
    allocated: int
    stored: int
    low_bit: int
    signed: bool
    by_plane: bool
    overlay_bits: int = 0

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the stored values: uint8, int8, uint16 or int16."""
        return np.dtype(f"{'i' if self.signed else 'u'}{self.allocated // 8}")

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one frame: (rows, columns), or (rows, columns, 3)."""
        return (self.rows, self.columns, 3) if self.samples == 3 else (self.rows, self.columns)

    @property
    def frame_bytes(self) -> int:
        """Of one frame, uncompressed; YBR_FULL_422 has two colour differences for two pixels."""
        samples = 2 if self.photometric == "YBR_FULL_422" else self.samples
        return self.rows * self.columns * samples * self.allocated // 8


def described(header: Any, path: Path) -> PixelDescription:
    """Image Pixel attributes of a data set.

    Parameters
    ----------
    header : pydicom.Dataset
    path : Path
        For messages.

    Raises
    ------
    ImageError
        Missing, contradicting each other, or of a kind that is not read.
    """
    rows, columns = (number(header, name, path) for name in ("Rows", "Columns"))
    if rows < 1 or columns < 1 or rows * columns > MAX_PIXELS:
        raise ImageError(
            f"{path}: {columns}x{rows} pixels; at least one and at most {MAX_PIXELS // 1_000_000} million are allowed"
        )
    frames = number(header, "NumberOfFrames", path) if header.get("NumberOfFrames") not in (None, "") else 1
    if frames < 1:
        raise ImageError(f"{path}: says that it has {frames} frames; one or more are allowed")
    if frames > MAX_FRAMES:
        raise ImageError(f"{path}: {frames} frames; at most {MAX_FRAMES} frames are allowed; split it first")
    photometric = str(header.get("PhotometricInterpretation", ""))
    if photometric not in PHOTOMETRIC:
        found = photometric if photometric in UNREAD_PHOTOMETRIC else "that is not known" if photometric else "missing"
        raise ImageError(f"{path}: photometric interpretation {found}; {', '.join(PHOTOMETRIC)} are allowed")
    samples = number(header, "SamplesPerPixel", path)
    if samples != PHOTOMETRIC[photometric]:
        raise ImageError(f"{path}: {samples} samples per pixel with {photometric}")
    by_plane = number(header, "PlanarConfiguration", path) if samples == 3 else 0
    if by_plane not in (0, 1):
        raise ImageError(f"{path}: planar configuration {by_plane}; 0 and 1 are allowed")
    allocated, stored, high_bit, signed = (
        number(header, name, path) for name in ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
    )
    allowed = allocated in (8, 16) and 8 <= stored <= allocated and stored - 1 <= high_bit < allocated
    if samples == 3:
        allowed &= allocated == 8
    if not allowed or signed not in ((0, 1) if photometric in GREY else (0,)):
        raise ImageError(
            f"{path}: {stored} of {allocated} bits, high bit {high_bit}, {'signed' if signed else 'unsigned'}, "
            f"{photometric}; grey of 8 to 16 bits, palettes of unsigned ones and colour of 8 unsigned bits are allowed"
        )
    return PixelDescription(
        rows,
        columns,
        frames,
        samples,
        photometric,
        allocated,
        stored,
        low_bit=high_bit - stored + 1,
        signed=bool(signed),
        by_plane=bool(by_plane),
        overlay_bits=_overlay_bits(header, allocated),
    )


def _overlay_bits(header: Any, allocated: int) -> int:
    """Mask of the bits of a pixel's word in which an overlay group without data of its own lies (C.9.2.1)."""
    mask = 0
    for group in OVERLAY_GROUPS:
        position = header.get((group, 0x0102))
        if position is not None and (group, 0x3000) not in header and isinstance(position.value, int):
            mask |= 1 << position.value if 0 <= position.value < allocated else 0
    return mask


def words_of(content: bytes, of: PixelDescription, *, little: bool = True) -> NDArray[Any]:
    """Words of one uncompressed frame (PS3.5, 8).

    Parameters
    ----------
    content : bytes
        `of.frame_bytes` of them.
    of : PixelDescription
    little : bool
        Byte order of the words.

    Returns
    -------
    ndarray, shape `of.shape`, uint8 or uint16
    """
    words = np.frombuffer(content, np.dtype(f"{'<' if little else '>'}u{of.allocated // 8}"))
    if of.photometric == "YBR_FULL_422":  # two luminances, then the differences that both share (C.7.6.3.1.2)
        pairs = words.reshape(of.rows, of.columns // 2, 4)
        expanded = np.empty((of.rows, of.columns // 2, 2, 3), words.dtype)
        expanded[..., 0] = pairs[..., :2]
        expanded[..., 1:] = pairs[..., None, 2:]
        return expanded.reshape(of.shape)
    words = words.astype(words.dtype.newbyteorder("="))
    if of.by_plane:
        words = words.reshape(3, of.rows, of.columns).transpose(1, 2, 0)
    return np.ascontiguousarray(words.reshape(of.shape))


@dataclass
class UnusedBits:
    """What was found in the bits of a frame's words that hold no value, as far as its rows were looked at."""

    any: bool = False
    no_sign: bool = False


def values_of(words: NDArray[Any], of: PixelDescription, path: Path, found: UnusedBits | None = None) -> NDArray[Any]:
    """Stored values that stand in words.

    Parameters
    ----------
    words : ndarray, shape `of.shape`, uint8 or uint16
    of : PixelDescription
    path : Path
        For messages.
    found : UnusedBits, optional
        Of the frame, where these are only some of its rows.

    Returns
    -------
    ndarray, shape `of.shape`, `of.dtype`

    Raises
    ------
    ImageError
        Bits outside the stored ones are used for something that the header does not declare.
    """
    unused = of.allocated - of.stored
    if not unused:
        return words.view(of.dtype)
    above = unused - of.low_bit
    values = (words << above).view(of.dtype) >> unused  # of a signed type this repeats the sign
    foreign = (values << of.low_bit).view(words.dtype) ^ words
    undeclared = ~np.array(of.overlay_bits, words.dtype)
    unused_bits = ~np.array(((1 << of.stored) - 1) << of.low_bit, words.dtype)
    # Some writers leave the unused bits of negative values at 0, in every word of a picture.
    found = found or UnusedBits()
    found.any |= bool((words & unused_bits & undeclared).any())
    found.no_sign |= bool((foreign & undeclared).any())
    if found.no_sign and (found.any or not of.signed):
        raise ImageError(
            f"{path}: values outside its {of.stored} stored bits, perhaps an overlay that its header does not "
            "declare; values within them are allowed"
        )
    return values


def number(dataset: Any, name: str, path: Path) -> int:
    """Value of an attribute that must be a single whole number.

    Raises
    ------
    ImageError
        It is missing, or something else; `path` is for the message.
    """
    value = dataset.get(name)
    if not isinstance(value, int):
        found = "missing" if value is None else "no single whole number"
        raise ImageError(f"{path}: its {name} is {found}; nothing was read from it")
    return int(value)
