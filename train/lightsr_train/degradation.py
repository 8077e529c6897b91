"""How a low-resolution picture is made from a high-resolution one."""

import io
from typing import Any, Literal

import numpy as np
from lightsr.resample import decimate, downsample
from numpy.typing import NDArray

BICUBIC = "bicubic"
"""Name, in a model's card, of the degradation that training uses."""

Degradation = Literal["bicubic", "area", "gaussian", "kspace", "jpeg"]

GAUSSIAN_SIGMA = 0.5
"""Standard deviation of the Gaussian blur, in low-resolution pixels: our choice, mild aliasing and mild blur."""

JPEG_QUALITY = 75

DESCRIPTIONS: dict[Degradation, str] = {
    "bicubic": "antialiased bicubic reduction",
    "area": "the mean over each low-resolution pixel",
    "gaussian": f"Gaussian blur, sigma {GAUSSIAN_SIGMA:g} low-resolution pixels, and sampling",
    "kspace": "a crop of the Fourier transform of the mirrored picture",
    "jpeg": f"antialiased bicubic reduction and JPEG of quality {JPEG_QUALITY} (deeper pictures mapped to 8 bits)",
}
"""Each in a few words."""


def degrade(high: NDArray[Any], scale: int, kind: Degradation = "bicubic") -> NDArray[Any]:
    """Reduce a picture and round it to its integer type.

    Pixel centres are kept: the low-resolution picture is not shifted.

    Parameters
    ----------
    high : ndarray, shape (scale * h, scale * w), uint8, uint16, int16 or float32
    scale : int
    kind : {"bicubic", "area", "gaussian", "kspace", "jpeg"}
        Antialiased bicubic; the mean of scale * scale pixels, as a detector with larger
        elements would measure; a Gaussian blur; the centre of the spectrum alone, as a
        magnetic resonance scanner would measure less of it; or bicubic, then compressed
        as a baseline JPEG.

    Returns
    -------
    ndarray, shape (h, w), dtype of `high`

    Raises
    ------
    ValueError
        A side is not a multiple of `scale`, or the kind is unknown.

    >>> degrade(np.array([[0, 1], [4, 8]], dtype=np.uint8), 2, "area")
    array([[3]], dtype=uint8)
    """
    if kind not in DESCRIPTIONS:
        raise ValueError(f"degradation '{kind}': {', '.join(DESCRIPTIONS)} are known")
    low: NDArray[Any]
    if kind == "area":
        rows, columns = high.shape[0] // scale, high.shape[1] // scale
        low = high.astype(np.float64).reshape(rows, scale, columns, scale).mean(axis=(1, 3))
    elif kind == "gaussian":
        low = _gaussian(high, scale)
    elif kind == "kspace":
        low = band_limiter(high.shape[0], scale) @ high.astype(np.float64) @ band_limiter(high.shape[1], scale).T
    else:
        low = downsample(high, scale)
    if np.issubdtype(high.dtype, np.integer):
        limits = np.iinfo(high.dtype)
        low = np.clip(np.rint(low), limits.min, limits.max)
    low = low.astype(high.dtype)
    return compress(low) if kind == "jpeg" else low


def _gaussian(high: NDArray[Any], scale: int) -> NDArray[np.float64]:
    sigma = GAUSSIAN_SIGMA * scale
    reach = int(np.ceil(4 * sigma))
    centre = (scale - 1) / 2  # of a low-resolution pixel, among the high-resolution ones that it covers
    positions = np.arange(-reach, scale + reach)
    taps = np.exp(-0.5 * np.square((positions - centre) / sigma))
    return decimate(high, scale, taps / taps.sum(), -reach)


def band_limiter(size: int, scale: int) -> NDArray[np.float64]:
    """Matrix that keeps the lowest frequencies of a line and samples it more coarsely.

    The line is continued by reflection, so its spectrum is that of the cosine transform
    (DCT-II) and its ends do not ring into each other; the crop is ideal, so edges ring as
    they do in magnetic resonance images (Gibbs).

    Parameters
    ----------
    size : int
        Samples of the line, a multiple of `scale`.
    scale : int

    Returns
    -------
    ndarray, shape (size / scale, size), float64
        Rows sum to one.
    """
    count = size // scale
    frequencies = np.arange(count)
    coarse = np.cos(np.pi * np.outer(2 * np.arange(count) + 1, frequencies) / (2 * count))
    fine = np.cos(np.pi * np.outer(2 * np.arange(size) + 1, frequencies) / (2 * size))
    weights = np.where(frequencies == 0, 1.0, 2.0) / size
    return np.asarray((coarse * weights) @ fine.T)


def compress(low: NDArray[Any]) -> NDArray[Any]:
    """A picture after baseline JPEG at `JPEG_QUALITY`.

    JPEG holds eight bits: deeper pictures are mapped from their lowest and highest value
    to 0 and 255 and back, as a screenshot of everything in them would be.

    Parameters
    ----------
    low : ndarray, shape (h, w)

    Returns
    -------
    ndarray, shape (h, w), dtype of `low`
    """
    from PIL import Image as PillowImage

    offset, top = (0.0, 255.0) if low.dtype == np.uint8 else (float(low.min()), float(low.max()))
    span = top - offset or 1.0
    levels = np.rint(255 * (low.astype(np.float64) - offset) / span).astype(np.uint8)
    file = io.BytesIO()
    PillowImage.fromarray(levels).save(file, format="jpeg", quality=JPEG_QUALITY)
    with PillowImage.open(file) as picture:
        values = np.asarray(picture).astype(np.float64) * span / 255 + offset
    return (np.rint(values) if np.issubdtype(low.dtype, np.integer) else values).astype(low.dtype)


def crop_to_multiple(high: NDArray[Any], factor: int) -> NDArray[Any]:
    """Largest top left part whose sides are multiples of `factor`."""
    return high[: high.shape[0] // factor * factor, : high.shape[1] // factor * factor]
