"""How quality is measured: truth, data ranges, border, metrics.

The whole image, cropped to a multiple of 24, is the truth; the input is made from it
by a degradation and rounded to its integer type; results are rounded to it too, and
scale + 2 pixels are cropped at the border.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from lightsr import nifti, tiff
from lightsr.image import Image
from numpy.typing import NDArray

CROP_MULTIPLE = 24
"""Sides of the truth are multiples of it: it is divisible by every scale."""

CT_PNG_OFFSET_HU = 1024
"""A CT that comes as PNG stores Hounsfield units plus this, clipped at 0."""

SOFT_TISSUE_HU = (-160.0, 240.0)
LUNG_HU = (-1350.0, 150.0)
"""Data ranges of CT; truth and result are both clipped to them."""

MR_PERCENTILE = 99.9
"""Upper end of the data range of MR, as a percentile of the truth; the lower end is 0."""

SSIM_WINDOW_PX, SSIM_SIGMA_PX = 11, 1.5
"""Gaussian window of SSIM.

References
----------
Z. Wang et al., "Image quality assessment: from error visibility to structural
similarity", IEEE Trans. Image Processing 13(4), 2004.
"""


RANGES = (
    f"CT soft tissue {SOFT_TISSUE_HU[0]:g} to {SOFT_TISSUE_HU[1]:g} HU, CT lung {LUNG_HU[0]:g} to {LUNG_HU[1]:g} HU, "
    f"clipped to these; MR 0 to the {MR_PERCENTILE:g}th percentile of the image; others 0 to 255, "
    "those with larger values as MR"
)
"""The data ranges in words."""


@dataclass(frozen=True)
class Range:
    """A data range in which an image is judged.

    Parameters
    ----------
    name : str
        Row group it belongs to, such as "CT soft tissue".
    low, high : float
        In the unit that `to_unit` gives.
    clip : bool
        Whether truth and result are clipped to it.
    """

    name: str
    low: float
    high: float
    clip: bool


def ranges(modality: str, truth: NDArray[Any]) -> tuple[Range, ...]:
    """Data ranges for an image of a modality; `truth`, any shape and real dtype, in its unit."""
    if modality == "CT":
        return (Range("CT soft tissue", *SOFT_TISSUE_HU, clip=True), Range("CT lung", *LUNG_HU, clip=True))
    if modality == "MR":
        return (Range("MR", 0.0, float(np.percentile(truth, MR_PERCENTILE)), clip=False),)
    top = 255.0 if truth.max() <= 255 else float(np.percentile(truth, MR_PERCENTILE))
    return (Range(modality or "image", 0.0, top, clip=False),)


def to_unit(stored: NDArray[Any], image: Image, modality: str) -> NDArray[np.float64]:
    """Stored values, of any shape and real dtype, as Hounsfield units for CT, as they are for others.

    Rescale slope and intercept are those of PS3.3 C.11.1, in NIfTI scl_slope and scl_inter. NPY and
    TIFF cannot say; a CT in signed or floating-point values holds these units there.
    """
    values = stored.astype(np.float64)
    if modality != "CT":
        return values
    if isinstance(image.header, nifti.Header):
        slope, offset = image.header.scaling
        return values * slope + offset
    if image.pixels.dtype.kind != "u" and isinstance(image.header, np.dtype | tiff.Header):
        return values
    intercept = getattr(image.header, "RescaleIntercept", None)
    if intercept is None:
        return values - CT_PNG_OFFSET_HU
    return values * float(getattr(image.header, "RescaleSlope", 1.0)) + float(intercept)


def border_px(scale: int) -> int:
    """Width of the border that is not judged."""
    return scale + 2


def least_side_px(scale: int) -> int:
    """Least side of an image that can be judged.

    >>> least_side_px(2), least_side_px(8)
    (24, 48)
    """
    needed = SSIM_WINDOW_PX + 2 * border_px(scale)
    return -(-needed // CROP_MULTIPLE) * CROP_MULTIPLE


def crop_border(picture: NDArray[Any], scale: int) -> NDArray[Any]:
    """A picture, shape (h, w) and any dtype, without `border_px` on each side; a view."""
    margin = border_px(scale)
    return picture[margin:-margin, margin:-margin]


@dataclass(frozen=True)
class Score:
    """One picture beside the truth, in one data range.

    Parameters
    ----------
    range : str
        Such as "CT soft tissue".
    psnr_db, ssim : float
        `ssim` is NaN where it was not asked for.
    rmse : float
        Root-mean-square error in the range's unit (HU for CT).
    """

    range: str
    psnr_db: float
    ssim: float
    rmse: float


def score(
    truth: NDArray[np.float64], result: NDArray[np.float64], data_range: Range, scale: int, *, with_ssim: bool = True
) -> Score:
    """Compare a result with the truth as told above: without the border, clipped where the range says so.

    Parameters
    ----------
    truth, result : ndarray, the same shape (h, w), float64
        In the unit that `to_unit` gives, `least_side_px` a side and more.
    data_range : Range
    scale : int
        What the result was enlarged by, for the border.
    with_ssim : bool
        Which takes longer than the others together.
    """
    truth, result = (crop_border(picture, scale) for picture in (truth, result))
    if data_range.clip:
        truth, result = (np.clip(picture, data_range.low, data_range.high) for picture in (truth, result))
    span = data_range.high - data_range.low
    return Score(
        data_range.name,
        psnr_db(truth, result, data_range=span),
        ssim(truth, result, data_range=span) if with_ssim else math.nan,
        float(np.sqrt(np.mean(np.square(truth - result)))),
    )


def psnr_db(truth: NDArray[np.float64], result: NDArray[np.float64], *, data_range: float) -> float:
    """Peak signal-to-noise ratio, dB; 100 where nothing differs.

    Parameters
    ----------
    truth, result : ndarray, the same shape, float64
    data_range : float
        Highest less lowest value that counts, in their unit; above 0.

    >>> psnr_db(np.zeros((2, 2)), np.full((2, 2), 1.0), data_range=10.0)
    20.0
    """
    error = float(np.mean(np.square(truth - result)))
    return min(100.0, 10 * math.log10(data_range**2 / error)) if error else 100.0


def ssim(truth: NDArray[np.float64], result: NDArray[np.float64], *, data_range: float) -> float:
    """Structural similarity with a Gaussian window (see `SSIM_WINDOW_PX`).

    Parameters
    ----------
    truth, result : ndarray, the same shape (h, w), float64
        At least `SSIM_WINDOW_PX` a side.
    data_range : float
        Highest less lowest value that counts, in their unit; above 0.
    """
    from skimage.metrics import structural_similarity

    return float(
        structural_similarity(  # type: ignore[no-untyped-call]
            truth,
            result,
            data_range=data_range,
            gaussian_weights=True,
            sigma=SSIM_SIGMA_PX,
            win_size=SSIM_WINDOW_PX,
            use_sample_covariance=False,
        )
    )
