"""What the network sees where a picture has no data.

A value far from those beside it rings into them, and the lowest one is far from tissue:
docs/decisions.md has the figures.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

FILL_PX = 4
"""How far real values are carried on into padding; what lies further off changes hardly a pixel beside it."""

BLOCK_PX = 32
"""Rows that are filled at once; it changes memory, not a value."""


def filled(pixels: NDArray[Any], padding: NDArray[np.bool_], lowest: Any) -> NDArray[Any]:
    """A picture, or rows of one, whose padding goes on with the real values beside it.

    Up to `FILL_PX` from a real pixel of its row it takes the value of the nearest one; then, of its column, that of the
    nearest that is real or was filled so; else `lowest`. Every value is one of the picture's.

    Parameters
    ----------
    pixels : ndarray, shape (h, w), any dtype
        Of any unit; what stands in padding does not matter.
    padding : ndarray of bool, shape (h, w)
    lowest : number
        What is seen further away, the lowest real value.

    Returns
    -------
    ndarray, shape (h, w), dtype of `pixels`
        Of rows of a picture, the first and last `FILL_PX` may be other than in the picture.

    >>> filled(np.array([[9, 9, 7, 8, 9, 9]]), np.array([[True, True, False, False, True, True]]), 0).tolist()
    [[7, 7, 7, 8, 8, 8]]
    """
    out = pixels.copy()
    for top in range(0, len(pixels), BLOCK_PX):
        bottom = min(top + BLOCK_PX, len(pixels))
        if padding[top:bottom].any():
            first, last = max(top - FILL_PX, 0), bottom + FILL_PX
            block = _block(pixels[first:last], padding[first:last], lowest)
            out[top:bottom] = block[top - first : bottom - first]
    return out


def _block(pixels: NDArray[Any], padding: NDArray[np.bool_], lowest: Any) -> NDArray[Any]:
    out = np.where(padding, np.asarray(lowest, pixels.dtype), pixels)
    known = ~padding
    _carry_on(out.T, known.T)
    _carry_on(out, known)
    return out


def _carry_on(values: NDArray[Any], known: NDArray[np.bool_]) -> None:
    """Along the first axis, in place: to each value that is not known the nearest that is, the one before it first."""
    source = known.copy()
    for distance in range(1, min(FILL_PX, len(values) - 1) + 1):
        before, behind = slice(None, -distance), slice(distance, None)
        for there, here in ((before, behind), (behind, before)):
            taken = source[there] & ~known[here]
            values[here][taken] = values[there][taken]
            known[here] |= taken
