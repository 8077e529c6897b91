"""Resampling by whole factors, with pixel centres kept and edges replicated.

Every filter here is separable and symmetric about the pixel centre, so that a
picture that goes down and up again does not move: the high-resolution pixel
``i`` has its centre at ``(i + 0.5) / scale - 0.5`` low-resolution pixels.
"""

from collections.abc import Callable
from typing import Literal

import numpy as np
from numpy.typing import NDArray

KEYS_A = -0.5
"""Parameter of the cubic convolution kernel.

References
----------
R. Keys, "Cubic convolution interpolation for digital image processing", IEEE
Trans. ASSP 29(6), 1981: -0.5 is the value with third-order accuracy.
"""

Interpolation = Literal["nearest", "bilinear", "bicubic"]


def cubic(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cubic convolution kernel at `distance`, any shape, in pixels; support 2.

    >>> cubic(np.array([0.0, 0.5, 1.0, 2.0])).tolist()
    [1.0, 0.5625, 0.0, 0.0]
    """
    d = np.abs(distance)
    near = (KEYS_A + 2) * d**3 - (KEYS_A + 3) * d**2 + 1
    far = KEYS_A * d**3 - 5 * KEYS_A * d**2 + 8 * KEYS_A * d - 4 * KEYS_A
    return np.where(d <= 1, near, np.where(d < 2, far, 0.0))


def linear(distance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Triangle kernel at `distance`, any shape, in pixels; support 1."""
    return np.maximum(0.0, 1.0 - np.abs(distance))


_KERNELS: dict[str, Callable[[NDArray[np.float64]], NDArray[np.float64]]] = {
    "bilinear": linear,
    "bicubic": cubic,
}


def downsampling_taps(scale: int) -> NDArray[np.float64]:
    """One-dimensional antialiased bicubic filter for a reduction by `scale`.

    Parameters
    ----------
    scale : int
        Reduction, at least 2.

    Returns
    -------
    ndarray, shape (4 * scale,), float64
        Taps that sum to one. Low pixel ``i`` is the taps' product with the high
        pixels from ``scale * i - (3 * scale) // 2`` on for even scales, from
        ``scale * i - (3 * scale - 1) // 2`` on for odd ones (`downsampling_start`).
        For odd scales the last tap is zero.

    >>> downsampling_taps(2).round(4).tolist()
    [-0.0117, -0.0352, 0.1133, 0.4336, 0.4336, 0.1133, -0.0352, -0.0117]
    """
    centre = (scale - 1) / 2
    positions = downsampling_start(scale) + np.arange(4 * scale)
    taps = cubic((positions - centre) / scale)
    return np.asarray(taps / taps.sum())


def downsampling_start(scale: int) -> int:
    """Offset of the first tap of `downsampling_taps` from high pixel ``scale * i``; at most 0."""
    return -((3 * scale) // 2) if scale % 2 == 0 else -((3 * scale - 1) // 2)


def interpolation_phases(scale: int, kind: Literal["bilinear", "bicubic"] = "bicubic") -> NDArray[np.float64]:
    """Polyphase filters that enlarge by `scale`.

    Returns
    -------
    ndarray, shape (scale, 5), float64
        Row ``p`` gives high pixel ``scale * i + p`` from the low pixels
        ``i - 2 .. i + 2``; every row sums to one.

    >>> interpolation_phases(2, "bilinear").tolist()
    [[0.0, 0.25, 0.75, 0.0, 0.0], [0.0, 0.0, 0.75, 0.25, 0.0]]
    """
    offsets = (np.arange(scale) + 0.5) / scale - 0.5
    weights = _KERNELS[kind](offsets[:, None] - np.arange(-2, 3)[None, :])
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def downsample(image: NDArray[np.generic], scale: int) -> NDArray[np.float64]:
    """Reduce a picture by the antialiased bicubic filter (the toolkit's own degradation).

    Parameters
    ----------
    image : ndarray, shape (h, w), any real dtype
        `h` and `w` must be multiples of `scale`.
    scale : int
        Reduction, at least 2.

    Returns
    -------
    ndarray, shape (h / scale, w / scale), float64
        In the units of `image`, not rounded.

    Raises
    ------
    ValueError
        A side is not a multiple of `scale`.

    >>> downsample(np.full((4, 8), 7), 2).round(9)
    array([[7., 7., 7., 7.],
           [7., 7., 7., 7.]])
    """
    if image.ndim != 2 or image.shape[0] % scale or image.shape[1] % scale:
        raise ValueError(f"shape {image.shape}: two axes, each a multiple of {scale}, are needed")
    return decimate(image, scale, downsampling_taps(scale), downsampling_start(scale))


def decimate(image: NDArray[np.generic], scale: int, taps: NDArray[np.float64], start: int) -> NDArray[np.float64]:
    """Filter rows and columns and keep every `scale`-th pixel; the picture is extended by its edge.

    Parameters
    ----------
    image : ndarray, shape (h, w), any real dtype
        `h` and `w` must be multiples of `scale`.
    scale : int
    taps : ndarray, shape (n,), float64
    start : int
        Offset of the first tap from pixel ``scale * i``; at most 0, and ``start + n`` at least 0.

    Returns
    -------
    ndarray, shape (h / scale, w / scale), float64
    """
    result = np.asarray(image, dtype=np.float64)
    for _ in range(2):
        result = _decimate_rows(result, scale, taps, start).T
    return np.ascontiguousarray(result)


def _decimate_rows(
    image: NDArray[np.float64], scale: int, taps: NDArray[np.float64], start: int
) -> NDArray[np.float64]:
    count = image.shape[0] // scale
    padded = np.pad(image, ((-start, len(taps) + start), (0, 0)), mode="edge")
    return np.asarray(sum(tap * padded[k : k + scale * (count - 1) + 1 : scale] for k, tap in enumerate(taps) if tap))


def interpolate(image: NDArray[np.generic], scale: int, kind: Interpolation = "bicubic") -> NDArray[np.float32]:
    """Enlarge a picture by a classical interpolation.

    Parameters
    ----------
    image : ndarray, shape (h, w), any real dtype
    scale : int
        Enlargement, at least 2.
    kind : {"nearest", "bilinear", "bicubic"}

    Returns
    -------
    ndarray, shape (scale * h, scale * w), float32
        In the units of `image`, neither rounded nor clipped.

    Raises
    ------
    ValueError
        `image` has more or fewer than two axes.

    >>> interpolate(np.array([[0, 4]], dtype=np.uint8), 2, "bilinear")
    array([[0., 1., 3., 4.],
           [0., 1., 3., 4.]], dtype=float32)
    """
    if image.ndim != 2:
        raise ValueError(f"shape {image.shape}: two axes are needed")
    if kind == "nearest":
        return np.asarray(image, dtype=np.float32).repeat(scale, 0).repeat(scale, 1)
    result = np.asarray(image, dtype=np.float32)
    phases = interpolation_phases(scale, kind).astype(np.float32)
    for _ in range(2):
        result = _interpolate_rows(result, phases).T
    return np.ascontiguousarray(result)


def _interpolate_rows(image: NDArray[np.float32], phases: NDArray[np.float32]) -> NDArray[np.float32]:
    rows, columns = image.shape
    padded = np.pad(image, ((2, 2), (0, 0)), mode="edge")
    result = np.empty((rows, len(phases), columns), dtype=np.float32)
    for p, taps in enumerate(phases):
        result[:, p] = sum(tap * padded[k : k + rows] for k, tap in enumerate(taps) if tap)
    return result.reshape(rows * len(phases), columns)
