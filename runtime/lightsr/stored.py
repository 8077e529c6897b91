"""What the readers of TIFF, NIfTI and NPY share: values that lie in a file as they are, and what may be one."""

import contextlib
import warnings
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lightsr.arrays import DTYPES as DTYPES
from lightsr.arrays import MAX_FLOAT
from lightsr.errors import ImageError
from lightsr.image import MAX_PIXELS, Image, Photometric

MAX_INFLATION = 1032
"""How many times longer deflate can make its input at most: 258 bytes of 2 bits (RFC 1951, 3.2.5)."""


@dataclass(frozen=True)
class Plain:
    """Frames of uncompressed values, one after the other, each row by row.

    Parameters
    ----------
    path : Path
    dtype : numpy.dtype
        As stored, with its byte order.
    size : (int, int)
        Rows and columns of a frame.
    channels : int
        1 or 3, beside each other.
    offset : int
        Of the first frame, bytes from the stream's begin.
    """

    path: Path
    dtype: np.dtype[Any]
    size: tuple[int, int]
    channels: int
    offset: int

    @property
    def row_bytes(self) -> int:
        """Length of a row."""
        return self.size[1] * self.channels * self.dtype.itemsize

    @property
    def frame_bytes(self) -> int:
        """Length of a frame."""
        return self.size[0] * self.row_bytes

    def rows(self, stream: Any, frame: int, top: int, bottom: int) -> NDArray[Any]:
        """Rows [top, bottom) of a frame, shape (rows, columns[, 3]), `dtype` in native byte order.

        Raises
        ------
        ImageError
            The file ends before.
        """
        stream.seek(self.offset + frame * self.frame_bytes + top * self.row_bytes)
        wanted = (bottom - top) * self.row_bytes
        content = stream.read(wanted)
        if len(content) != wanted:
            raise ImageError(f"{self.path}: became shorter while it was read")
        shape = (bottom - top, self.size[1], self.channels)
        values = np.frombuffer(content, self.dtype).reshape(shape if self.channels > 1 else shape[:2])
        return native(values)


def native(values: NDArray[Any]) -> NDArray[Any]:
    """The same values, of any shape and dtype, in this machine's byte order."""
    return values.astype(native_type(values.dtype), copy=False)


def native_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The same type in this machine's byte order."""
    return dtype.newbyteorder("=")


def check_size(rows: int, columns: int, path: Path) -> None:
    """Refuse a picture or frame without pixels, or with more than are allowed."""
    if min(rows, columns) < 1:
        raise ImageError(f"{path}: {columns}x{rows} pixels; at least one is needed")
    if rows * columns > MAX_PIXELS:
        raise ImageError(f"{path}: {columns}x{rows} pixels; at most {MAX_PIXELS // 1_000_000} million are allowed")


def image(
    pixels: NDArray[Any], photometric: Photometric, path: Path, *, where: Callable[[int, int], str], header: Any
) -> Image:
    """`Image` of a frame; grey results stay within the values of their source.

    Parameters
    ----------
    pixels : ndarray, shape (h, w) of one of `DTYPES`, or (h, w, 3) uint8
    photometric : {"MONOCHROME1", "MONOCHROME2", "RGB"}
    path : Path
    where : callable
        Names a pixel by its row and column, as a user of the format would look for it.
    header : object
        See `lightsr.image.Image`.

    Raises
    ------
    ImageError
        A value is not finite or beyond `MAX_FLOAT`; its place is named.
    """
    if pixels.ndim == 3:
        return Image(pixels, (0, 255), photometric, path, header=header)
    low, high = finite(pixels, path, where=where)
    return Image(pixels, (low, high), photometric, path, header=header)


def finite(pixels: NDArray[Any], path: Path, *, where: Callable[[int, int], str], top: int = 0) -> tuple[float, float]:
    """Lowest and highest value of a grey picture, or of its rows from `top` on; zeros where there are none.

    Parameters
    ----------
    pixels : ndarray, shape (n, w), one of `DTYPES`
    path, where
        As of `image`.
    top : int
        Row of the picture that is the first of `pixels`.

    Raises
    ------
    ImageError
        A value is not finite or beyond `MAX_FLOAT`; its place is named.
    """
    if not pixels.size:
        return 0, 0
    low, high = pixels.min().item(), pixels.max().item()  # NaN where one value is
    if pixels.dtype.kind == "f" and not max(-low, high) <= float(np.float32(MAX_FLOAT)):
        row, column = np.argwhere(~(np.abs(pixels) <= MAX_FLOAT))[0].tolist()
        value = pixels[row, column]
        found = "NaN" if np.isnan(value) else "infinity" if np.isinf(value) else f"a value beyond {MAX_FLOAT:g}"
        raise ImageError(
            f"{path}: {found} at {where(top + row, column)}; "
            "finite values are allowed; replace what stands for missing ones first"
        )
    return low, high


def whole(bands: Iterable[NDArray[Any]], rows: int) -> Iterator[NDArray[Any]]:
    """Frames of shape (`rows`, w[, 3]), any dtype, from their bands, none of which lies in two frames.

    >>> [frame.shape for frame in whole([np.zeros((2, 5)), np.zeros((1, 5))] * 2, 3)]
    [(3, 5), (3, 5)]
    """
    frame, filled = np.empty(0), 0
    for band in bands:
        if not filled:
            if len(band) == rows:
                yield band
                continue
            frame = np.empty((rows, *band.shape[1:]), band.dtype)
        frame[filled : filled + len(band)] = band
        filled += len(band)
        if filled == rows:
            yield frame
            frame, filled = np.empty(0), 0


def place(frame: int, count: int) -> Callable[[int, int], str]:
    """How pixels of a frame of a file of `count` are named, all counted from 0."""
    behind = f" of frame {frame}" if count > 1 else ""
    return lambda row, column: f"row {row}, column {column}{behind}"


@contextlib.contextmanager
def told_as_image_errors(path: Path, name: str) -> Iterator[None]:
    """Turn whatever a damaged file makes a library raise into one line that quotes nothing of the file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except ImageError:
        raise
    except EOFError as error:
        raise ImageError(f"{path}: a {name} that ends early; nothing was read from it") from error
    except OSError as error:
        reason = error.strerror or f"damaged {name} ({type(error).__name__})"
        raise ImageError(f"{path}: cannot be read: {reason}") from error
    except MemoryError as error:
        raise ImageError(f"{path}: says that it is larger than this machine's memory") from error
    except Exception as error:  # texts of libraries may quote what they choked on
        raise ImageError(f"{path}: a damaged {name} ({type(error).__name__}); nothing was read from it") from error


def length_of(stream: BinaryIO) -> int:
    """Bytes of an open file."""
    return stream.seek(0, 2)
