"""Which arrays an `Upscaler` takes, and what it says about the others."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightsr.errors import ImageError

DTYPES = ("uint8", "int8", "uint16", "int16", "float32")
"""Types that an `Upscaler` takes and returns, in either byte order."""

MAX_FLOAT = 1e30
"""Largest value of a float picture; beyond it, sums inside a network could overflow."""

CHUNK_PX = 2**20
"""Pixels that are looked at together: whole pictures are never copied to be checked."""

REMEDIES = {
    "bool": "a mask is no picture; enlarge it by repeating its pixels",
    "float16": "astype(np.float32) loses nothing",
    "float64": "astype(np.float32) keeps seven digits, if they are enough",
    "int32": "astype(np.int16), np.uint16 or np.float32, once it is certain that every value fits",
    "int64": "astype(np.int16), np.uint16 or np.float32, once it is certain that every value fits",
    "uint32": "astype(np.uint16) or np.float32, once it is certain that every value fits",
    "uint64": "astype(np.uint16) or np.float32, once it is certain that every value fits",
}
"""What to do about the commonest other types. Values beyond 2**24 have no exact float32."""


def checked(image: Any) -> NDArray[Any]:
    """An array whose shape and type can be enlarged; its values are not looked at.

    Parameters
    ----------
    image : array_like

    Returns
    -------
    ndarray, shape (h, w) or (h, w, 3), one of `DTYPES`
        `image` itself where it is an ndarray; never a copy with other values.

    Raises
    ------
    ImageError
        Masked, of another shape or type, or without pixels.
    """
    if isinstance(image, np.ma.MaskedArray):
        raise ImageError("a masked array; give its data, and where it is masked as padding=")
    try:
        array = np.asarray(image)
    except (TypeError, ValueError) as error:
        raise ImageError("not an array: rows of different lengths, or no numbers") from error
    check_kind(array.shape, array.dtype)
    check_not_empty(array.shape)
    return array


def check_not_empty(shape: tuple[int, ...]) -> None:
    """Refuse a shape without pixels."""
    if 0 in shape:
        raise ImageError(f"array of shape {shape}; at least one row and one column are needed")


def check_kind(shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
    """Refuse a shape other than (rows, columns) or (rows, columns, 3), and a type not in `DTYPES`.

    >>> check_kind((4, 4), np.dtype(np.int32))
    Traceback (most recent call last):
    ...
    lightsr.errors.ImageError: array of int32; uint8, int8, uint16, int16, float32 are allowed;
    astype(np.int16), np.uint16 or np.float32, once it is certain that every value fits
    """
    if len(shape) == 3 and shape[2] == 4:
        raise ImageError(f"array of shape {shape}: four channels; (rows, columns, 3) is allowed; drop the transparency")
    if not (len(shape) == 2 or (len(shape) == 3 and shape[2] == 3)):
        raise ImageError(f"array of shape {shape}; (rows, columns) or (rows, columns, 3) is allowed")
    if dtype.name not in DTYPES:
        remedy = REMEDIES.get(dtype.name)
        raise ImageError(f"array of {dtype.name}; {', '.join(DTYPES)} are allowed{f'; {remedy}' if remedy else ''}")


def chunks(rows: int, columns: int) -> Iterator[slice]:
    """Slices of rows that hold about `CHUNK_PX` pixels each.

    >>> list(chunks(3, CHUNK_PX // 2))
    [slice(0, 2, None), slice(2, 4, None)]
    """
    step = max(1, CHUNK_PX // max(1, columns))
    return (slice(top, top + step) for top in range(0, rows, step))


def refuse_not_finite(parts: Iterable[tuple[int, NDArray[Any]]]) -> None:
    """Refuse NaN, the infinities and values beyond `MAX_FLOAT`, and say where the first one is.

    Parameters
    ----------
    parts : iterable of (int, ndarray)
        The picture's row that is the part's first, and the part, shape (n, w) or (n, w, 3) of any real
        dtype, from top to bottom. Integers are left alone.

    Raises
    ------
    ImageError

    >>> refuse_not_finite([(0, np.array([[0, 1], [np.inf, np.nan]], np.float32))])
    Traceback (most recent call last):
    ...
    lightsr.errors.ImageError: array holds infinity at row 1, column 0 (2 such values in all); finite ones up to
    1e+30 are allowed; replace these, or mask them by padding= in a call
    """
    first = ""
    count = 0
    for top, part in parts:
        if part.dtype.kind != "f":
            return
        wrong = ~(np.abs(part) <= MAX_FLOAT)
        found = int(np.count_nonzero(wrong))
        if found and not count:
            row, column, *channel = (int(i) for i in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
            value = part[(row, column, *channel)]
            what = "NaN" if np.isnan(value) else "infinity" if np.isinf(value) else f"a value beyond {MAX_FLOAT:g}"
            first = f"{what} at row {top + row}, column {column}"
            first += f", channel {channel[0]}" if channel else ""
        count += found
    if count:
        total = f" ({count} such values in all)" if count > 1 else ""
        raise ImageError(
            f"array holds {first}{total}; finite ones up to {MAX_FLOAT:g} are allowed; "
            "replace these, or mask them by padding= in a call"
        )


def limits(dtype: np.dtype[Any], value_range: tuple[float, float] | None) -> tuple[float, float]:
    """Lowest and highest value of a result, whole numbers for a type of whole numbers.

    Parameters
    ----------
    dtype : dtype
    value_range : (float, float), optional
        Narrows what the type holds.

    Returns
    -------
    low, high : float

    Raises
    ------
    ImageError
        There is no value between them.

    >>> limits(np.dtype(np.uint8), (-5.5, 99.5))
    (0, 99)
    """
    low, high = (-np.inf, np.inf) if value_range is None else value_range
    if dtype.kind == "f":
        most = float(np.finfo(dtype).max)
        low, high = max(low, -most), min(high, most)
    else:
        info = np.iinfo(dtype)
        low, high = max(np.ceil(low), info.min), min(np.floor(high), info.max)
        low, high = (int(low), int(high)) if low <= high else (low, high)
    if not low <= high:
        raise ImageError(f"value range {value_range} with {dtype}; the lowest value first, within the type")
    return low, high


def checked_padding(padding: Any, image: NDArray[Any]) -> NDArray[np.bool_] | None:
    """A mask of pixels without data, None where there is no such pixel.

    Parameters
    ----------
    padding : array_like of bool, shape (h, w), or None
    image : ndarray, shape (h, w), one of `DTYPES`

    Raises
    ------
    ImageError
        Of another shape or type, true everywhere, or given with colour.
    """
    if padding is None:
        return None
    mask = np.asarray(padding)
    if image.ndim != 2:
        raise ImageError("padding goes with a grey picture, (rows, columns); a colour picture has none")
    if mask.dtype != np.bool_ or mask.shape != image.shape:
        raise ImageError(f"padding is {mask.dtype} of shape {mask.shape}; bool of shape {image.shape} is needed")
    if mask.all():
        raise ImageError("every pixel is padding; nothing can be enlarged")
    return mask if mask.any() else None


def lowest_real(image: NDArray[Any], mask: NDArray[np.bool_]) -> Any:
    """Lowest value of a picture, shape (h, w), where `mask` of that shape is false; in the picture's dtype."""
    parts = ((image[part], ~mask[part]) for part in chunks(*image.shape))
    return min(values[real].min() for values, real in parts if real.any())
