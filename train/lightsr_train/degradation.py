"""How a low-resolution picture is made from a high-resolution one."""

from typing import Any, Literal

import numpy as np
from lightsr.resample import downsample
from numpy.typing import NDArray

BICUBIC = "bicubic"
"""Name, in a model's card, of the degradation that training uses."""

Degradation = Literal["bicubic", "area"]


def degrade(high: NDArray[Any], scale: int, kind: Degradation = "bicubic") -> NDArray[Any]:
    """Reduce a picture and round it to its integer type.

    Pixel centres are kept: the low-resolution picture is not shifted.

    Parameters
    ----------
    high : ndarray, shape (scale * h, scale * w), uint8, uint16, int16 or float32
    scale : int
    kind : {"bicubic", "area"}
        Antialiased bicubic, or the mean of scale * scale pixels, as a detector with
        larger elements would measure.

    Returns
    -------
    ndarray, shape (h, w), dtype of `high`

    >>> degrade(np.array([[0, 1], [4, 8]], dtype=np.uint8), 2, "area")
    array([[3]], dtype=uint8)
    """
    low: NDArray[Any]
    if kind == "area":
        rows, columns = high.shape[0] // scale, high.shape[1] // scale
        low = high.astype(np.float64).reshape(rows, scale, columns, scale).mean(axis=(1, 3))
    else:
        low = downsample(high, scale)
    if np.issubdtype(high.dtype, np.integer):
        limits = np.iinfo(high.dtype)
        low = np.clip(np.rint(low), limits.min, limits.max)
    return low.astype(high.dtype)


def crop_to_multiple(high: NDArray[Any], factor: int) -> NDArray[Any]:
    """Largest top left part whose sides are multiples of `factor`."""
    return high[: high.shape[0] // factor * factor, : high.shape[1] // factor * factor]
