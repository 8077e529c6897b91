"""The range of a picture, for models that work on a fixed one."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightsr.errors import ImageError

ASIDE_PX = 4
"""Pixels at either end of a picture's range that `IntensityMap` leaves aside."""


@dataclass(frozen=True)
class IntensityMap:
    """Offset and range that carry a picture to about [0, 1] and back, one pair per file or cine.

    Parameters
    ----------
    offset : float
    span : float
        Above 0.

    Raises
    ------
    ValueError
        One is not finite, or `span` not above 0.
    """

    offset: float
    span: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.offset) and math.isfinite(self.span) and self.span > 0):
            raise ValueError(f"intensity map of {self.offset:g} and {self.span:g}; finite, span above 0, is needed")

    @classmethod
    def of(cls, picture: NDArray[Any]) -> "IntensityMap":
        """Map of the lowest value to 0 and of the highest to 1, a few pixels at both ends left aside.

        A defective pixel far out then does not take the integers from all the others, and
        what is larger, be it a needle in a dark picture, still counts.

        Parameters
        ----------
        picture : ndarray, any shape, any real dtype

        Raises
        ------
        lightsr.ImageError
            No pixels, or NaN or infinity among them.
        """
        return cls.over((picture,))

    @classmethod
    def over(cls, pictures: Iterable[NDArray[Any]]) -> "IntensityMap":
        """Map of the pixels of all `pictures`, of any shape and real dtype; only one is needed at a time.

        Raises
        ------
        lightsr.ImageError
            No pixels, or NaN or infinity among them.

        >>> IntensityMap.over(np.full((3, 3), level) for level in (5, 2, 9))
        IntensityMap(offset=2.0, span=7.0)
        """
        extremes = Extremes()
        for picture in pictures:
            extremes.add(picture)
        return extremes.intensity()


class Extremes:
    """Lowest and highest values of pixels that come part by part: what an `IntensityMap` follows from."""

    def __init__(self) -> None:
        self._lowest = self._highest = np.empty(0)
        self._count = 0

    def add(self, pixels: NDArray[Any]) -> None:
        """Count these pixels, of any shape and real dtype."""
        if not pixels.size:
            return
        few = min(ASIDE_PX + 1, pixels.size)
        ordered = np.partition(pixels, (few - 1, pixels.size - few), axis=None)
        self._keep(ordered[:few], ordered[-few:], pixels.size)

    def repeat(self, value: float, count: int) -> None:
        """Count one value several times, as where it is put in the place of padding."""
        same = np.full(min(ASIDE_PX + 1, count), value)
        self._keep(same, same, count)

    def _keep(self, low: NDArray[Any], high: NDArray[Any], count: int) -> None:
        kept = ASIDE_PX + 1
        self._lowest = np.sort(np.concatenate((self._lowest, low)))[:kept]
        self._highest = np.sort(np.concatenate((self._highest, high)))[-kept:]
        self._count += count

    def intensity(self) -> IntensityMap:
        """Map of what was counted.

        Raises
        ------
        lightsr.ImageError
            No pixels, or NaN or infinity among them.
        """
        if not self._count:
            raise ImageError("no pixels; at least one is needed for an intensity map")
        lowest, highest = self._lowest, self._highest
        if not (np.isfinite(lowest).all() and np.isfinite(highest).all()):
            raise ImageError("NaN or infinity among the pixels; leave these out, or replace them first")
        aside = ASIDE_PX if self._count > 2 * ASIDE_PX else 0
        low, high = float(lowest[aside]), float(highest[-1 - aside])
        if low == high:
            low, high = float(lowest[0]), float(highest[-1])
        return IntensityMap(low, high - low or 1.0)
