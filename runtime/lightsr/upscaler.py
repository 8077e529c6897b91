"""Arrays in, larger arrays out."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightsr.card import ModelCard, Precision
from lightsr.errors import ImageError, ModelError
from lightsr.model import Model, find
from lightsr.tiling import TilePlan

TILE_PX = 256
"""Default side of a tile's core, low-resolution pixels."""

ASIDE_PX = 4
"""Pixels at either end of a picture's range that `IntensityMap` leaves aside."""

MAX_FLOAT = 1e30
"""Largest value of a float picture; beyond it, sums inside a network could overflow."""

DTYPES = ("uint8", "int8", "uint16", "int16", "float32")
"""Types that an `Upscaler` takes and returns."""


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

        >>> IntensityMap.over(np.full((3, 3), level) for level in (5, 2, 9))
        IntensityMap(offset=2.0, span=7.0)
        """
        kept = ASIDE_PX + 1
        lowest = highest = np.empty(0)
        count = 0
        for picture in pictures:
            count += picture.size
            few = min(kept, picture.size)
            ordered = np.partition(picture, (few - 1, picture.size - few), axis=None)
            lowest = np.sort(np.concatenate((lowest, ordered[:few])))[:kept]
            highest = np.sort(np.concatenate((highest, ordered[-few:])))[-kept:]
        aside = ASIDE_PX if count > 2 * ASIDE_PX else 0
        low, high = float(lowest[aside]), float(highest[-1 - aside])
        if low == high:
            low, high = float(lowest[0]), float(highest[-1])
        return cls(low, high - low or 1.0)


def load(
    model: str | os.PathLike[str] | None = None,
    *,
    scale: int | None = None,
    precision: Precision | None = None,
    threads: int | None = None,
    tile: int = TILE_PX,
) -> "Upscaler":
    """Load a bundled model or a model file.

    Parameters
    ----------
    model : str or path, optional
        Name of a bundled model ("tiny"), or path of an ``.onnx`` file of
        lightsr-export. By default the best bundled one at the scale.
    scale : int, optional
        Enlargement: chooses among bundled models (2 by default), must be that of a file.
    precision : {"int8", "fp32"}, optional
        Chooses among bundled models (int8 by default), must be that of a file.
    threads : int, optional
        CPU threads, all by default. On a machine that others use, 1 is often faster.
    tile : int
        Side of a tile, low-resolution pixels. It changes memory and speed; with fp32
        not a bit of the result.

    Returns
    -------
    Upscaler

    Raises
    ------
    lightsr.ModelError
        Unknown, unsafe, damaged, of another scale or precision than asked for, or failing
        its self-test on this machine.
    """
    opened = Model.open(find(model, scale=scale, precision=precision), threads=threads)
    if scale not in (None, opened.card.scale):
        raise ModelError(f"{opened.label}: enlarges by {opened.card.scale}; {scale} was asked for")
    if precision not in (None, opened.card.precision):
        raise ModelError(f"{opened.label}: is {opened.card.precision}; {precision} was asked for")
    return Upscaler(opened, tile=tile)


class Upscaler:
    """Enlarges two-dimensional arrays with one model.

    Parameters
    ----------
    model : Model
    tile : int
        Side of a tile's core, low-resolution pixels, at least 16.
    """

    def __init__(self, model: Model, *, tile: int = TILE_PX) -> None:
        if tile < 16:
            raise ValueError(f"tile is {tile}; at least 16 is needed")
        self.model = model
        self.tile = tile

    @property
    def card(self) -> ModelCard:
        """The model's card."""
        return self.model.card

    @property
    def scale(self) -> int:
        """Enlargement."""
        return self.model.card.scale

    def __call__(
        self,
        image: NDArray[Any],
        *,
        value_range: tuple[float, float] | None = None,
        intensity: IntensityMap | None = None,
    ) -> NDArray[Any]:
        """Enlarge a picture.

        Parameters
        ----------
        image : ndarray, shape (h, w), uint8, int8, uint16, int16 or float32
            Any unit; float values must be finite.
        value_range : (float, float), optional
            Lowest and highest value of the result; for integers by default what the
            dtype holds, for float no limit.
        intensity : IntensityMap, optional
            For a model with fixed ranges (int8): one map for all frames of a cine. By
            default the picture's own. Other models do without.

        Returns
        -------
        ndarray, shape (scale * h, scale * w), dtype of `image`
            In the same unit; integers are rounded to the nearest and clipped.

        Raises
        ------
        lightsr.ImageError
            Wrong shape or dtype, masked, empty, not finite, or a range without values.
        """
        if isinstance(image, np.ma.MaskedArray):
            raise ImageError("a masked array; fill what is masked first, and put it back afterwards")
        image = np.asarray(image)
        if image.ndim != 2 or 0 in image.shape:
            raise ImageError(f"array of shape {image.shape}; (rows, columns), neither 0, is allowed")
        if image.dtype.name not in DTYPES:
            raise ImageError(f"array of {image.dtype.name}; {', '.join(DTYPES)} are allowed")
        integer = image.dtype.kind in "iu"
        if not integer and not (np.abs(image) <= MAX_FLOAT).all():
            raise ImageError(
                f"array holds NaN, infinity or values beyond {MAX_FLOAT:g}; smaller ones are allowed; mask these first"
            )
        if integer:
            limits = np.iinfo(image.dtype)
            low, high = value_range or (limits.min, limits.max)
            low, high = max(low, limits.min), min(high, limits.max)
        else:
            low, high = value_range or (-np.inf, np.inf)
        if not low <= high:
            raise ImageError(f"value range {value_range} with {image.dtype}; the lowest value first, within the type")
        if self.card.intensity == "any":
            mapping = IntensityMap(0.0, 1.0)
        else:
            mapping = intensity or IntensityMap.of(image)
        result = np.empty((image.shape[0] * self.scale, image.shape[1] * self.scale), dtype=image.dtype)
        for place, values in self._tiles(image, mapping):
            np.clip(values, low, high, out=values)
            result[place] = np.rint(values, out=values) if integer else values
        return result

    def _tiles(self, image: NDArray[Any], mapping: IntensityMap) -> Any:
        """Yield where each enlarged tile belongs and its values, float32, in the image's unit."""
        plan = TilePlan.for_picture(
            (image.shape[0], image.shape[1]),
            tile=self.tile,
            halo=self.card.halo_px,
            alignment=self.card.alignment_px,
        )
        for tile in plan:
            values = plan.read(image, tile)
            if self.card.intensity == "unit":
                values = (values - np.float32(mapping.offset)) / np.float32(mapping.span)
            enlarged = plan.core(self.model.run(values[None, None])[0, 0], tile, self.scale)
            if self.card.intensity == "unit":
                enlarged = enlarged * np.float32(mapping.span) + np.float32(mapping.offset)
            rows = slice(tile.top * self.scale, (tile.top + tile.rows) * self.scale)
            columns = slice(tile.left * self.scale, (tile.left + tile.columns) * self.scale)
            yield (rows, columns), enlarged
