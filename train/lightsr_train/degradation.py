"""How a low-resolution picture is made from a high-resolution one.

A degradation is a reduction and any number of effects after it, written in one line:
``"bicubic"``, ``"kspace+rician-noise"``, ``"gaussian:0.7+jpeg:50"``; the number is the
part's strength. None of them moves the picture.
"""

import io
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from lightsr.resample import decimate, downsample
from numpy.typing import NDArray

BICUBIC = "bicubic"
"""The reduction that quality is reported with unless something else is said."""

Degradation = Literal["bicubic", "area", "gaussian", "kspace", "jpeg"]
"""Degradations that quality is reported with; ``"jpeg"`` alone is ``"bicubic+jpeg"``."""

GAUSSIAN_SIGMA = 0.5
"""Standard deviation of the Gaussian blur, in low-resolution pixels: our choice, mild aliasing and mild blur."""

JPEG_QUALITY = 75

NOISE_SHARE = 0.01
"""Standard deviation of Gaussian and Rician noise as a share of the picture's range: our choice."""

PHOTONS = 10_000
"""Quanta that the top of the picture's range stands for under Poisson noise (1 % there): our choice."""

RANGE_PERCENTILES = (0.1, 99.9)
"""Of a picture, between which noise takes its range."""

DESCRIPTIONS: dict[Degradation, str] = {
    "bicubic": "antialiased bicubic reduction",
    "area": "the mean over each low-resolution pixel",
    "gaussian": f"Gaussian blur, sigma {GAUSSIAN_SIGMA:g} low-resolution pixels, and sampling",
    "kspace": "a crop of the Fourier transform of the mirrored picture",
    "jpeg": f"antialiased bicubic reduction and JPEG of quality {JPEG_QUALITY} (deeper pictures mapped to 8 bits)",
}
"""Each in a few words."""

REDUCTIONS: dict[str, tuple[float, float, float] | None] = {
    "bicubic": None,
    "area": None,
    "gaussian": (GAUSSIAN_SIGMA, 0.1, 3.0),
    "kspace": None,
}
"""First parts: default, least and largest strength (sigma, low-resolution pixels), or None where there is none."""

EFFECTS: dict[str, tuple[float, float, float]] = {
    "jpeg": (JPEG_QUALITY, 1, 95),
    "gaussian-noise": (NOISE_SHARE, 0.0, 0.5),
    "rician-noise": (NOISE_SHARE, 0.0, 0.5),
    "poisson-noise": (PHOTONS, 1, 1e9),
}
"""Later parts: default, least and largest strength (quality, share of the range, quanta at its top)."""

NOISE = frozenset({"gaussian-noise", "rician-noise", "poisson-noise"})
"""Effects that differ every time."""


@dataclass(frozen=True)
class Chain:
    """A reduction and its effects, each with its strength.

    Parameters
    ----------
    reduction : str
        Key of `REDUCTIONS`.
    strength : float
        Of the reduction; 0 where it has none.
    effects : tuple of (str, float)
        Keys of `EFFECTS` and strengths, in their order.
    """

    reduction: str
    strength: float
    effects: tuple[tuple[str, float], ...] = ()

    @property
    def fixed(self) -> "Chain":
        """What is done once for an image: everything before the first noise."""
        return Chain(self.reduction, self.strength, self.effects[: self._first_noise()])

    @property
    def varying(self) -> tuple[tuple[str, float], ...]:
        """What is done anew every time: the first noise and everything after it."""
        return self.effects[self._first_noise() :]

    def _first_noise(self) -> int:
        return next((i for i, (name, _) in enumerate(self.effects) if name in NOISE), len(self.effects))


def parse(text: str) -> Chain:
    """A degradation from its line.

    Raises
    ------
    ValueError
        An unknown part, a strength out of range, or a part in the wrong place.

    >>> parse("kspace+rician-noise:0.02").effects
    (('rician-noise', 0.02),)
    """
    first, *others = text.split("+")
    if first.partition(":")[0] in EFFECTS:  # on its own it follows the usual reduction
        first, others = BICUBIC, [first, *others]
    name, strength = _part(first, REDUCTIONS, text)
    return Chain(name, strength, tuple(_part(part, EFFECTS, text) for part in others))


def _part(part: str, known: Any, text: str) -> tuple[str, float]:
    name, colon, number = part.strip().partition(":")
    if name not in known:
        raise ValueError(f"degradation '{text}': '{name}' is not one of {', '.join(known)} there")
    limits = known[name]
    if limits is None:
        if colon:
            raise ValueError(f"degradation '{text}': {name} takes no number")
        return name, 0.0
    default, least, most = limits
    try:
        strength = float(number) if colon else default
    except ValueError:
        raise ValueError(f"degradation '{text}': '{number}' is no number") from None
    if not least <= strength <= most:
        raise ValueError(f"degradation '{text}': {name} takes {least:g} to {most:g}")
    return name, strength


def degrade(high: NDArray[Any], scale: int, kind: str | Chain = BICUBIC, *, seed: int = 0) -> NDArray[Any]:
    """Reduce a picture, apply the effects, and round it to its integer type.

    Pixel centres are kept: the low-resolution picture is not shifted.

    Parameters
    ----------
    high : ndarray, shape (scale * h, scale * w), uint8, uint16, int16 or float32
    scale : int
    kind : str or Chain
        Antialiased ``bicubic``; ``area``, the mean of scale * scale pixels, as a detector
        with larger elements would measure; ``gaussian``, a blur; ``kspace``, the centre of
        the spectrum alone, as a magnetic resonance scanner would measure less of it. Then
        ``jpeg``, ``gaussian-noise``, ``rician-noise`` or ``poisson-noise``.
    seed : int
        Of the noise.

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
    chain = parse(kind) if isinstance(kind, str) else kind
    low: NDArray[Any]
    if chain.reduction == "area":
        rows, columns = high.shape[0] // scale, high.shape[1] // scale
        low = high.astype(np.float64).reshape(rows, scale, columns, scale).mean(axis=(1, 3))
    elif chain.reduction == "gaussian":
        low = _gaussian(high, scale, chain.strength)
    elif chain.reduction == "kspace":
        low = band_limiter(high.shape[0], scale) @ high.astype(np.float64) @ band_limiter(high.shape[1], scale).T
    else:
        low = downsample(high, scale)
    low = rounded(low, high.dtype)
    return affected(low, chain.effects, np.random.default_rng(seed)) if chain.effects else low


def rounded(values: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Values of any shape in a type: rounded and clipped where it is one of integers."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        values = np.clip(np.rint(values), limits.min, limits.max)
    return values.astype(dtype)


@dataclass(frozen=True)
class Signal:
    """What effects need to know of a whole low-resolution picture.

    Parameters
    ----------
    start, span : float
        Where its signal begins, and its range: what noise is measured by. A picture
        without negative values begins at 0, as counts and magnitudes do.
    least, most : float
        Its extreme values, which JPEG maps to 0 and 255.
    """

    start: float
    span: float
    least: float
    most: float


def signal_of(low: NDArray[Any]) -> Signal:
    """The `Signal` of a picture, shape (h, w), any real dtype."""
    bottom, top = (float(value) for value in np.percentile(low, RANGE_PERCENTILES))
    least, most = float(low.min()), float(low.max())
    start = 0.0 if least >= 0 else bottom
    return Signal(start, max(top - start, 1e-30), least, most)


def affected(
    low: NDArray[Any],
    effects: tuple[tuple[str, float], ...],
    random: np.random.Generator,
    signal: Signal | None = None,
) -> NDArray[Any]:
    """A low-resolution picture, or a part of one, after effects; rounded to its type after each.

    Parameters
    ----------
    low : ndarray, shape (h, w), uint8, uint16, int16 or float32
    effects : tuple of (str, float)
        As of a `Chain`.
    random : Generator
    signal : Signal, optional
        Of the whole picture; that of `low` by default.

    Returns
    -------
    ndarray, shape (h, w), dtype of `low`

    References
    ----------
    H. Gudbjartsson, S. Patz, "The Rician distribution of noisy MRI data", Magnetic Resonance in
    Medicine 34(6), 1995 (Rician noise: the magnitude of a complex signal with Gaussian noise).
    """
    signal = signal or signal_of(low)
    start, span = signal.start, signal.span
    for name, strength in effects:
        if name == "jpeg":
            low = compress(low, int(strength), (signal.least, signal.most))
            continue
        values: NDArray[Any] = low.astype(np.float64)
        if name == "poisson-noise":
            counts = np.maximum(values - start, 0.0) * (strength / span)
            values = start + random.poisson(counts) * (span / strength)
        elif name == "rician-noise":
            sigma = strength * span
            values = start + np.hypot(
                values - start + random.normal(0.0, sigma, low.shape), random.normal(0.0, sigma, low.shape)
            )
        else:
            values = values + random.normal(0.0, strength * span, low.shape)
        low = rounded(values, low.dtype)
    return low


def _gaussian(high: NDArray[Any], scale: int, sigma_px: float) -> NDArray[np.float64]:
    sigma = sigma_px * scale
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


def compress(low: NDArray[Any], quality: int = JPEG_QUALITY, limits: tuple[float, float] | None = None) -> NDArray[Any]:
    """A picture after baseline JPEG.

    JPEG holds eight bits: deeper pictures are mapped from their lowest and highest value
    to 0 and 255 and back, as a screenshot of everything in them would be.

    Parameters
    ----------
    low : ndarray, shape (h, w), uint8, uint16, int16 or float32
    quality : int
        1 to 95.
    limits : tuple of float, optional
        Values that become 0 and 255; those of `low` itself by default.

    Returns
    -------
    ndarray, shape (h, w), dtype of `low`
    """
    from PIL import Image as PillowImage

    offset, top = (0.0, 255.0) if low.dtype == np.uint8 else limits or (float(low.min()), float(low.max()))
    span = top - offset or 1.0
    levels = np.clip(np.rint(255 * (low.astype(np.float64) - offset) / span), 0, 255).astype(np.uint8)
    file = io.BytesIO()
    PillowImage.fromarray(levels).save(file, format="jpeg", quality=quality)
    with PillowImage.open(file) as picture:
        values = np.asarray(picture).astype(np.float64) * span / 255 + offset
    return (np.rint(values) if np.issubdtype(low.dtype, np.integer) else values).astype(low.dtype)


def crop_to_multiple(high: NDArray[Any], factor: int) -> NDArray[Any]:
    """Largest top left part of a picture, shape (h, w), any dtype, whose sides are multiples of `factor`; a view."""
    return high[: high.shape[0] // factor * factor, : high.shape[1] // factor * factor]
