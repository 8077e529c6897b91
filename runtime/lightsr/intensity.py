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
        """
        return cls.over((picture,))

    @classmethod
    def over(cls, pictures: Iterable[NDArray[Any]]) -> "IntensityMap":
        """Map of the pixels of all `pictures` together; only one of these is needed at a time.

        Raises
        ------
        lightsr.ImageError
            No pixels, or NaN or infinity among them.

        >>> IntensityMap.over(np.full((3, 3), level) for level in (5, 2, 9))
        IntensityMap(offset=2.0, span=7.0)
        """
        kept = ASIDE_PX + 1
        lowest = highest = np.empty(0)
        count = 0
        for picture in pictures:
            if not picture.size:
                continue
            count += picture.size
            few = min(kept, picture.size)
            ordered = np.partition(picture, (few - 1, picture.size - few), axis=None)
            lowest = np.sort(np.concatenate((lowest, ordered[:few])))[:kept]
            highest = np.sort(np.concatenate((highest, ordered[-few:])))[-kept:]
        if not count:
            raise ImageError("no pixels; at least one is needed for an intensity map")
        if not (np.isfinite(lowest).all() and np.isfinite(highest).all()):
            raise ImageError("NaN or infinity among the pixels; leave these out, or replace them first")
        aside = ASIDE_PX if count > 2 * ASIDE_PX else 0
        low, high = float(lowest[aside]), float(highest[-1 - aside])
        if low == high:
            low, high = float(lowest[0]), float(highest[-1])
        return cls(low, high - low or 1.0)
