"""Pictures that hold less than their pixels could.

Scan-converted ultrasound, zero-filled magnetic resonance images, zoomed reconstructions and
figures of a publication were enlarged once already: at the scale of their pixels there is
nothing but rounding and compression. A network that has never seen one sharpens those.
"""

from typing import Any, NamedTuple

import numpy as np
from lightsr.resample import interpolate
from numpy.typing import NDArray

from lightsr_train.degradation import BICUBIC, compress, degrade, rounded

ZOOMS = (2, 3, 4)
"""How far pictures are enlarged, each as often: our choice."""

JPEG_SHARE = 0.5
"""Share of the 8-bit ones that were JPEG files before they were reduced: our choice."""

JPEG_QUALITIES = (60, 95)
"""Lowest and highest quality of those files."""

CONTEXT_PX = 4
"""Low-resolution pixels around a patch that filters look at, and are cut away."""


class Oversampled(NamedTuple):
    """A patch of an enlarged picture.

    Parameters
    ----------
    low : ndarray, shape (h, w), dtype of the picture
    high : ndarray, shape (scale * h, scale * w), dtype of the picture
    error : float
        Root-mean-square error of bicubic interpolation, stored values.
    """

    low: NDArray[Any]
    high: NDArray[Any]
    error: float


def source_px(patch_px: int, scale: int, zoom: int) -> int:
    """Side of the part of a picture that a patch of its enlargement is made from, pixels."""
    return -(-scale * (patch_px + 2 * CONTEXT_PX) // zoom)


def oversampled(source: NDArray[Any], patch_px: int, scale: int, zoom: int, random: np.random.Generator) -> Oversampled:
    """Enlarge part of a picture, keep it in its type, and reduce that again.

    Parameters
    ----------
    source : ndarray, shape (`source_px`, `source_px`), uint8, uint16, int16 or float32
    patch_px : int
        Side of the low-resolution patch.
    scale, zoom : int
    random : Generator
        Decides about JPEG, which only 8-bit pictures go through.
    """
    side = scale * (patch_px + 2 * CONTEXT_PX)
    high = rounded(interpolate(source, zoom)[:side, :side], source.dtype)
    if source.dtype == np.uint8 and random.random() < JPEG_SHARE:
        high = compress(high, int(random.integers(*JPEG_QUALITIES, endpoint=True)))
    low = degrade(high, scale, BICUBIC)[CONTEXT_PX:-CONTEXT_PX, CONTEXT_PX:-CONTEXT_PX]
    high = high[scale * CONTEXT_PX : -scale * CONTEXT_PX, scale * CONTEXT_PX : -scale * CONTEXT_PX]
    error = float(np.sqrt(np.mean(np.square(interpolate(low, scale) - high, dtype=np.float64))))
    return Oversampled(low, high, error)
