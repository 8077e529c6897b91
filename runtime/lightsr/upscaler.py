"""Arrays in, larger arrays out."""

import itertools
import os
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightsr import arrays
from lightsr.arrays import DTYPES as DTYPES
from lightsr.bands import ENDLESS, Rows, Tally, Work, enlarged
from lightsr.budget import Budget, parse_size
from lightsr.card import ModelCard, Precision
from lightsr.errors import ImageError, ModelError
from lightsr.image import luminance
from lightsr.intensity import IntensityMap as IntensityMap
from lightsr.model import Bound, Model, find, label_of, open_trusted
from lightsr.padding import FILL_PX, filled
from lightsr.tiling import TilePlan

TILE_PX = 256
"""Default side of a tile's core, low-resolution pixels, and the largest that a memory budget chooses."""


def load(
    model: str | os.PathLike[str] | None = None,
    *,
    scale: int | None = None,
    precision: Precision | None = None,
    threads: int | None = None,
    tile: int | None = None,
    max_memory: str | int | None = None,
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
    tile : int, optional
        Side of a tile, low-resolution pixels, 256 by default. It changes memory and speed;
        with fp32 not a bit of the result.
    max_memory : str or int, optional
        Peak memory of a process that does only this ("256M", or bytes), instead of `tile`;
        see `lightsr.budget.Budget` for what it covers.

    Returns
    -------
    Upscaler
        Where an int8 model fails its self-test on this machine, with its fp32 form; this is
        logged in one line, and `Upscaler.card` tells.

    Raises
    ------
    lightsr.SelfTestError
        The model does not give on this machine what it gave at export.
    lightsr.ModelError
        Unknown, unsafe, damaged, or of another scale or precision than asked for.
    ValueError
        `tile` or `max_memory` is not allowed, or both are given.

    >>> load("tiny", scale=4, precision="fp32", threads=1, max_memory="128M")
    Upscaler(tiny x4 fp32, 1 thread)
    """
    if tile is not None and max_memory is not None:
        raise ValueError("tile and max_memory exclude each other")
    if threads is not None and threads < 1:
        raise ValueError(f"threads is {threads}; at least 1 is needed")
    limit = None if max_memory is None else parse_size(max_memory)
    found = find(model, scale=scale, precision=precision)
    opened = open_trusted(found, threads=threads)
    if scale not in (None, opened.card.scale):
        raise ModelError(f"{opened.label}: enlarges by {opened.card.scale}; {scale} was asked for")
    fell_back = opened.label != label_of(found)
    if precision not in (None, opened.card.precision) and not fell_back:
        raise ModelError(f"{opened.label}: is {opened.card.precision}; {precision} was asked for")
    return Upscaler(opened, tile=TILE_PX if tile is None else tile, max_memory=limit)


class Upscaler:
    """Enlarges arrays with one model.

    One upscaler may be used from several threads at once: it holds nothing that a call changes.

    Parameters
    ----------
    model : Model
    tile : int
        Side of a tile's core, low-resolution pixels, at least 16.
    max_memory : int, optional
        Bytes; chooses the tile, up to `tile`, for every picture.

    Raises
    ------
    ValueError
        `tile` is too small, or `max_memory` for this model.
    """

    def __init__(self, model: Model, *, tile: int = TILE_PX, max_memory: int | None = None) -> None:
        if tile < 16:
            raise ValueError(f"tile is {tile}; at least 16 is needed")
        self.model = model
        self.tile = tile
        self.budget: Budget | None = None
        if max_memory is not None:
            card = model.card
            self.budget = Budget(max_memory, card.scale, card.halo_px, model.summary.channels, card.precision)

    def __repr__(self) -> str:
        threads = f"{self.model.threads} thread{'s' if self.model.threads > 1 else ''}"
        return f"Upscaler({self.model.name}, {threads})"

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
        image: Any,
        *,
        value_range: tuple[float, float] | None = None,
        intensity: IntensityMap | None = None,
        padding: NDArray[np.bool_] | None = None,
        tally: Tally | None = None,
    ) -> NDArray[Any]:
        """Enlarge a picture.

        Of RGB the network enlarges the luminance, and bicubic interpolation the colour; where red,
        green and blue are equal the result is that of the grey picture.

        Parameters
        ----------
        image : ndarray, shape (h, w) or (h, w, 3), uint8, int8, uint16, int16 or float32
            Any unit; float values must be finite, and within 1e30.
        value_range : (float, float), optional
            Lowest and highest value of the result, such as those that the source allows; for
            integers by default what the dtype holds, for float no limit.
        intensity : IntensityMap, optional
            For a model with fixed ranges (int8): one map for all frames of a cine. By
            default the picture's own. Other models do without.
        padding : ndarray of bool, shape (h, w), optional
            True where a grey picture has no data. These pixels are repeated as they are, whatever they
            hold, and do not ring into the others: the network sees the values beside them go on there.
        tally : Tally, optional
            Counts the pixels that were clipped.

        Returns
        -------
        ndarray, shape (scale * h, scale * w) or the same with 3, dtype of `image`
            In the same unit; integers are rounded to the nearest, and all values clipped to the
            range.

        Raises
        ------
        lightsr.ImageError
            Wrong shape or dtype, masked, empty, not finite, padding alone, a range without values, or too
            wide for `max_memory`.

        >>> import numpy as np
        >>> upscaler, tally = load("tiny", threads=1), Tally()
        >>> edge = np.repeat(np.array([[0, 250]], np.uint8), [4, 4], axis=1)
        >>> upscaler(edge, value_range=(0, 250), tally=tally).shape
        (2, 16)
        """
        image = arrays.checked(image)
        low, high = arrays.limits(image.dtype, value_range)
        mask = arrays.checked_padding(padding, image)
        filling = None if mask is None else (mask, arrays.lowest_real(image, mask))
        arrays.refuse_not_finite(_parts(image, filling))
        mapping = self._mapping(intensity, (part for _, part in _parts(image, filling)))
        plan = self.plan(image.shape, image.dtype)
        work = Work(Bound(self.model, plan.read_shape), plan, mapping, low, high)
        s = self.scale
        result = np.empty((s * image.shape[0], s * image.shape[1], *image.shape[2:]), image.dtype)
        for top in range(0, plan.rows, plan.core_rows):
            out = result[s * top : s * (top + plan.core_rows)]
            if filling is None:
                work.band(image, top, out, tally=tally)
                continue
            first, last = max(top - plan.halo - FILL_PX, 0), top + plan.core_rows + plan.halo + FILL_PX
            hidden, part = filling[0][first:last], image[first:last]
            seen = filled(part, hidden, filling[1])
            work.band(seen, top, out, first=first, padding=(hidden, part), tally=tally)
        return result

    def bands(
        self,
        rows_in: Any,
        *,
        rows: int | None = None,
        value_range: tuple[float, float] | None = None,
        intensity: IntensityMap | None = None,
        tally: Tally | None = None,
    ) -> Iterator[NDArray[Any]]:
        """Enlarge a picture that need not fit into memory, from top to bottom.

        What comes out, put together, equals the whole picture's result to the last bit: with fp32
        always, with int8 for the same tiles, that is if `rows` is known.

        Parameters
        ----------
        rows_in : array_like or iterable of ndarray
            An array, or anything with its shape, dtype and slices of rows (h5py, zarr), which is read a
            few rows at a time; or arrays of shape (n, w) or (n, w, 3), any n, such as a generator
            gives. Types as in a call.
        rows : int, optional
            Rows in all. An array tells it; of an iterable, the tiles are then those of a call.
        value_range : (float, float), optional
            As in a call.
        intensity : IntensityMap, optional
            For a model with fixed ranges (int8), of the whole picture. It is needed with an
            iterable, whose rows come once (`IntensityMap.over` takes such rows); by default an
            array is read twice.
        tally : Tally, optional
            Counts the pixels that were clipped, as far as the bands have come.

        Yields
        ------
        ndarray, shape (n, scale * w) or (n, scale * w, 3), dtype of the rows
            The next rows of the result, as soon as those that they depend on are there.

        Raises
        ------
        lightsr.ImageError
            As a call, or the rows are not alike, or not as many as announced. What
            the first rows show is raised at once, the rest when it is met.

        >>> import numpy as np
        >>> upscaler = load("tiny", precision="fp32", threads=1, tile=16)
        >>> picture = np.arange(40 * 8, dtype=np.uint16).reshape(40, 8)
        >>> bands = list(upscaler.bands((picture[i : i + 1] for i in range(40)), rows=40))
        >>> [band.shape for band in bands]
        [(28, 16), (28, 16), (24, 16)]
        >>> bool((np.concatenate(bands) == upscaler(picture)).all())
        True
        """
        if hasattr(rows_in, "shape") and hasattr(rows_in, "dtype"):
            rows, rows_in, intensity = self._sliced(rows_in, rows, intensity)
        if rows is not None and rows < 1:
            raise ImageError(f"{rows} rows; at least one is needed")
        if intensity is None and self.card.intensity == "unit":
            raise ImageError(
                f"{self.model.name} needs the range of the whole picture before its first row: "
                "give intensity=lightsr.IntensityMap.over(rows), or take the fp32 model"
            )
        chunks = (chunk for chunk in map(_as_rows, rows_in) if len(chunk))
        first = next(chunks, None)
        if first is None:
            raise ImageError("no rows; at least one is needed")
        kind = Rows.of(first)
        low, high = arrays.limits(kind.dtype, value_range)
        count = ENDLESS if rows is None else rows
        plan = self.plan((count, kind.columns, *kind.samples), kind.dtype)
        bound = Bound(self.model, plan.read_shape)
        work = Work(bound, plan, intensity or IntensityMap(0.0, 1.0), low, high)
        return enlarged(work, itertools.chain([first], chunks), kind, tally)

    def _sliced(
        self, source: Any, rows: int | None, intensity: IntensityMap | None
    ) -> tuple[int, Iterator[NDArray[Any]], IntensityMap]:
        """Number of rows, slices and map of something that can be sliced, and so be read twice."""
        shape, dtype = tuple(source.shape), np.dtype(source.dtype)
        arrays.check_kind(shape, dtype)
        arrays.check_not_empty(shape)
        if rows not in (None, shape[0]):
            raise ImageError(f"{shape[0]} rows; {rows} were announced")
        step = self.plan(shape, dtype).core_rows
        mapping = intensity or self._mapping(None, _finite(_slices(source, step), step))
        return shape[0], _slices(source, step), mapping

    def plan(self, shape: tuple[int, ...], dtype: np.dtype[Any], *, beside: int = 0, mask_bytes: int = 0) -> TilePlan:
        """Tiles of a picture.

        Parameters
        ----------
        shape : (int, int) or (int, int, 3)
        dtype : dtype
            It counts where there is a limit of memory.
        beside : int
            Bytes of that limit that others need.
        mask_bytes : int
            See `lightsr.budget.Budget.tile`.

        Raises
        ------
        lightsr.errors.MemoryLimitError
            Too wide for the limit of memory.
        """
        tile: int | tuple[int, int] = self.tile
        if self.budget is not None:
            samples = shape[2] if len(shape) > 2 else 1
            tile = self.budget.tile(
                shape[1],
                samples=samples,
                item_bytes=dtype.itemsize,
                most=self.tile,
                beside=beside,
                mask_bytes=mask_bytes,
            )
        return TilePlan.for_picture(
            (shape[0], shape[1]), tile=tile, halo=self.card.halo_px, alignment=self.card.alignment_px
        )

    def _mapping(self, intensity: IntensityMap | None, parts: Iterable[NDArray[Any]]) -> IntensityMap:
        """The map given, or that of all `parts`; none is looked at by a model that takes any unit."""
        if self.card.intensity == "any":
            return IntensityMap(0.0, 1.0)
        return intensity or IntensityMap.over(luminance(part) if part.ndim == 3 else part for part in parts)


def _parts(image: NDArray[Any], filling: tuple[NDArray[np.bool_], Any] | None) -> Iterator[tuple[int, NDArray[Any]]]:
    """First row and values of some rows at a time, padding filled."""
    for rows in arrays.chunks(image.shape[0], image.shape[1]):
        part = image[rows]
        yield rows.start, part if filling is None else np.where(filling[0][rows], filling[1], part)


def _slices(source: Any, step: int) -> Iterator[NDArray[Any]]:
    return (_as_rows(source[top : top + step]) for top in range(0, source.shape[0], step))


def _finite(slices: Iterable[NDArray[Any]], step: int) -> Iterator[NDArray[Any]]:
    """The slices, each checked before its range counts."""
    for top, part in zip(itertools.count(0, step), slices, strict=False):
        arrays.refuse_not_finite([(top, part)])
        yield part


def _as_rows(chunk: Any) -> NDArray[Any]:
    """An array of rows; a masked one stays masked, so that it is refused."""
    if isinstance(chunk, np.ma.MaskedArray):
        return chunk
    try:
        return np.asarray(chunk)
    except (TypeError, ValueError) as error:
        raise ImageError("rows are not arrays of numbers") from error
