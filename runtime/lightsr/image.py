"""A picture as it travels: stored values and what they mean."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from lightsr.errors import ImageError
from lightsr.regions import Region

MAX_PIXELS = 128_000_000
"""Pixels of one picture or frame above which a file is refused, before it is decoded."""

Photometric = Literal["MONOCHROME1", "MONOCHROME2", "RGB"]

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in luminance (ITU-R BT.601, as JPEG and DICOM YBR_FULL use them)."""


def luminance(colour: NDArray[Any]) -> NDArray[np.float32]:
    """Luminance of RGB pixels, exactly the grey level where red, green and blue are equal.

    Parameters
    ----------
    colour : ndarray, shape (..., 3), any real dtype

    Returns
    -------
    ndarray, shape (...), float32
        In the unit of `colour`.

    >>> luminance(np.array([[7, 7, 7], [255, 0, 0]], np.uint8)).tolist()[0]
    7.0
    """
    red, green, blue = (colour[..., channel].astype(np.float32) for channel in range(3))
    grey: NDArray[np.float32] = green + np.float32(LUMA[0]) * (red - green) + np.float32(LUMA[2]) * (blue - green)
    return grey


@dataclass(frozen=True)
class Image:
    """Stored values of one frame and what they mean.

    Parameters
    ----------
    pixels : ndarray, shape (h, w) or (h, w, 3)
        Stored values in their own dtype: uint8, int8, uint16, int16 or float32; colour is uint8 RGB.
    value_range : (int or float, int or float)
        Lowest and highest value that a derived picture may hold, both included.
    photometric : {"MONOCHROME1", "MONOCHROME2", "RGB"}
        MONOCHROME1 shows low values bright.
    padding : ndarray of bool, shape (h, w), or None
        True where the scanner stored "no data" (DICOM PS3.3 C.7.5.1.1.2).
    padding_range : (int, int) or None
        Lowest and highest value that say "no data", whether a pixel has one or not.
    regions : tuple of Region
        Where an ultrasound picture shows the patient (DICOM PS3.3 C.8.5.5); texts and scales
        stand outside. Empty where the file does not say: the whole picture then counts.
    modality : str
        DICOM modality, or "" where the file does not say.
    subject : str
        Digest that tells patients apart without naming them, or "".
    source : Path
        File that was read.
    header : object
        What the writer of the same format needs; opaque to everybody else.

    Raises
    ------
    ImageError
        `pixels` of another shape, or of one that does not go with `photometric`.
    """

    pixels: NDArray[Any]
    value_range: tuple[float, float]
    photometric: Photometric
    source: Path
    padding: NDArray[np.bool_] | None = None
    padding_range: tuple[int, int] | None = None
    regions: tuple[Region, ...] = ()
    modality: str = ""
    subject: str = ""
    header: Any = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        shape = self.pixels.shape
        if not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)) or 0 in shape:
            raise ImageError(f"{self.source}: pixels of shape {shape}; (h, w) or (h, w, 3) is allowed")
        if (len(shape) == 3) != (self.photometric == "RGB"):
            raise ImageError(f"{self.source}: {self.photometric} with pixels of shape {shape}")

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def blank(self) -> bool:
        """Whether every pixel is padding; the value range then means nothing."""
        return self.padding is not None and bool(self.padding.all())

    def plane(self) -> NDArray[Any]:
        """Grey plane for measuring and training: (h, w), padding filled, colour as luminance.

        Grey pictures keep their dtype, but int8 becomes int16; colour gives rounded uint8 luminance.

        Raises
        ------
        ImageError
            Every pixel is padding.
        """
        if self.photometric == "RGB":
            luminance: NDArray[np.uint8] = np.rint(self.pixels @ np.asarray(LUMA)).astype(np.uint8)
            return luminance
        filled = self.filled()
        return filled.astype(np.int16) if filled.dtype == np.int8 else filled

    def filled(self) -> NDArray[Any]:
        """Grey stored values, shape (h, w) in their own dtype, with the padding replaced by the lowest real value.

        A padding value far outside the picture would ring into it at every edge.

        Raises
        ------
        ImageError
            Every pixel is padding.
        """
        if self.padding is None or not self.padding.any():
            return self.pixels
        if self.blank:
            raise ImageError(f"{self.source}: every pixel is padding; nothing can be enlarged")
        filled = self.pixels.copy()
        filled[self.padding] = self.pixels[~self.padding].min()
        return filled


@dataclass(frozen=True)
class Frames:
    """Frames of one opened file, each read when it is asked for.

    Parameters
    ----------
    source : Path
        File that was opened.
    count : int
        Frames, at least 1.
    size : (int, int)
        Rows and columns of every frame.
    photometric : {"MONOCHROME1", "MONOCHROME2", "RGB"}
        Of every frame.
    make : callable
        Gives the `Image` of a frame, counted from 0, as long as the file is open.
    header : object
        What the writer of the same format needs; opaque to everybody else.
    lossy_ratio : float or None
        How many times smaller lossy compression has made what was read.
    groups : object
        What the writer of the same format needs of every frame; opaque to everybody else.
    one_scale : bool
        Equal stored values mean the same in all frames.
    band : callable or None
        Gives stored values of the rows [top, bottom) of a frame, by (frame, top, bottom), shape
        (bottom - top, columns[, 3]) in `dtype`, checked as those of its `Image`, where a file lets them be
        read without the rest of the frame.
    dtype : dtype
        Of the stored values, of colour uint8.
    padding_range, regions
        Of every frame; see `Image`.
    held_bytes : int
        Memory that reading takes at its peak beside the rows that are asked for: libraries, what is
        decoded as a whole, a child process.
    piece_rows : int
        Rows below which asking for fewer at a time saves nothing.
    """

    source: Path
    count: int
    size: tuple[int, int]
    photometric: Photometric
    make: Callable[[int], Image] = field(repr=False, compare=False)
    header: Any = field(default=None, repr=False, compare=False)
    lossy_ratio: float | None = None
    groups: Any = field(default=None, repr=False, compare=False)
    one_scale: bool = True
    band: Callable[[int, int, int], NDArray[Any]] | None = field(default=None, repr=False, compare=False)
    dtype: np.dtype[Any] = field(default=np.dtype(np.uint8), kw_only=True)
    padding_range: tuple[int, int] | None = field(default=None, kw_only=True)
    regions: tuple[Region, ...] = field(default=(), kw_only=True)
    held_bytes: int = field(default=0, kw_only=True)
    piece_rows: int = field(default=1, kw_only=True)

    @classmethod
    def of(cls, image: Image) -> "Frames":
        """One picture as a file of one frame."""
        return cls(
            image.source,
            1,
            image.size,
            image.photometric,
            lambda _: image,
            header=image.header,
            dtype=image.pixels.dtype,
            padding_range=image.padding_range,
            regions=image.regions,
        )

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of a frame's pixels: (rows, columns) or (rows, columns, 3)."""
        return (*self.size, 3) if self.photometric == "RGB" else self.size

    @property
    def frame_bytes(self) -> int:
        """Bytes of a frame's pixels."""
        return math.prod(self.shape) * self.dtype.itemsize

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> Image:
        if not 0 <= index < self.count:
            raise IndexError(f"frame {index} of {self.count}")
        return self.make(index)

    def __iter__(self) -> Iterator[Image]:
        return (self.make(index) for index in range(self.count))

    def only(self) -> Image:
        """Image of a file of one frame.

        Raises
        ------
        ImageError
            There are several.
        """
        if self.count != 1:
            raise ImageError(f"{self.source}: {self.count} frames; one frame is allowed here")
        return self.make(0)
