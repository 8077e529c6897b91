"""A picture enlarged band by band: one row of tiles after the other, in the memory of one."""

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightsr.ahead import CancelledError
from lightsr.arrays import check_kind, refuse_not_finite
from lightsr.card import ModelCard
from lightsr.errors import ImageError, ModelError
from lightsr.image import luminance
from lightsr.intensity import IntensityMap
from lightsr.model import Bound
from lightsr.resample import interpolate
from lightsr.tiling import Tile, TilePlan

BICUBIC_REACH_PX = 2
"""Pixels on every side that bicubic interpolation looks at."""

ENDLESS = 2**62
"""Rows of a picture whose last one has not come yet."""


@dataclass
class Tally:
    """Counts what happened to pixels; one may go with several pictures, but with one thread.

    Parameters
    ----------
    clipped : int
        Pixels of the result whose value, rounded, lay outside the range allowed and was set to its
        end. A colour pixel counts once.
    """

    clipped: int = 0


@dataclass(frozen=True)
class Work:
    """What is done to every tile of one picture; for one thread.

    Parameters
    ----------
    bound : Bound
        Of tiles of the plan's `read_shape`.
    plan : TilePlan
    mapping : IntensityMap
        For a model with fixed ranges; others do without.
    low, high : float
        Lowest and highest value of the result.
    cancel : threading.Event, optional
        Set by whoever does not want the rest any more: no further tile is begun.
    """

    bound: Bound
    plan: TilePlan
    mapping: IntensityMap
    low: float
    high: float
    cancel: threading.Event | None = None

    def band(
        self,
        window: NDArray[Any],
        top: int,
        out: NDArray[Any],
        *,
        first: int = 0,
        padding: tuple[NDArray[np.bool_], NDArray[Any]] | None = None,
        tally: Tally | None = None,
    ) -> None:
        """Enlarge one row of tiles.

        Parameters
        ----------
        window : ndarray, shape (n, columns) or (n, columns, 3), one of `lightsr.arrays.DTYPES`
            The picture, or those of its rows that the band and its halo touch.
        top : int
            First row of the band.
        out : ndarray, shape (scale * rows of the band, scale * columns) or the same with 3, dtype of `window`
            Written, every pixel.
        first : int
            Row of the picture that is the window's first.
        padding : (ndarray of bool, ndarray), optional
            Where the window has no data, and what is repeated there, both of its shape; the network sees the window.
        tally : Tally, optional

        Raises
        ------
        lightsr.ahead.CancelledError
            `cancel` was set.
        ModelError
            onnxruntime failed, or the model gave NaN or infinity.
        """
        scale = self.card.scale
        for tile in self.plan.across(top):
            if self.cancel is not None and self.cancel.is_set():
                raise CancelledError
            columns = slice(tile.left * scale, (tile.left + tile.columns) * scale)
            if window.ndim == 3:
                values = self._colour(window, tile, first)
            else:
                values = self._grey(self.plan.pick(window, tile, first=first), tile)
            kept = None if padding is None else _repeated(padding[0], tile, first, scale)
            self._finish(values, kept, out.dtype, tally)
            out[:, columns] = values
            if padding is not None and kept is not None:
                out[:, columns][kept] = _repeated(padding[1], tile, first, scale)[kept]

    @property
    def card(self) -> ModelCard:
        """The model's."""
        return self.bound.model.card

    def _grey(self, values: NDArray[Any], tile: Tile) -> NDArray[np.float32]:
        """What the network makes of a tile, in the picture's unit, until the next tile."""
        unit, lr = self.card.intensity == "unit", self.bound.lr
        np.copyto(lr, values, casting="unsafe")
        if unit:
            lr -= np.float32(self.mapping.offset)
            lr /= np.float32(self.mapping.span)
        self.bound.run()
        enlarged = self.plan.core(self.bound.sr, tile, self.card.scale)
        if unit:
            enlarged *= np.float32(self.mapping.span)
            enlarged += np.float32(self.mapping.offset)
        return enlarged

    def _colour(self, window: NDArray[Any], tile: Tile, first: int) -> NDArray[np.float32]:
        """The network's luminance with interpolated colour; a grey pixel has no colour to the last bit."""
        scale = self.card.scale
        sharp = self._grey(luminance(self.plan.pick(window, tile, first=first)), tile)
        near = replace(self.plan, halo=BICUBIC_REACH_PX)
        pixels = near.pick(window, tile, first=first)
        grey = luminance(pixels)
        result = np.empty((*sharp.shape, 3), np.float32)
        for channel in range(3):
            difference = interpolate(pixels[..., channel].astype(np.float32) - grey, scale)
            result[..., channel] = sharp + near.core(difference, tile, scale)
        return result

    def _finish(
        self, values: NDArray[np.float32], kept: NDArray[np.bool_] | None, dtype: np.dtype[Any], tally: Tally | None
    ) -> None:
        """Round, clip and count in place."""
        if dtype.kind != "f":
            np.rint(values, out=values)
        wrong = ~((values >= self.low) & (values <= self.high))
        if not wrong.any():
            return
        if not np.isfinite(values).all():
            raise ModelError(f"{self.bound.model.label}: gave NaN or infinity for finite values; it cannot be used")
        np.clip(values, self.low, self.high, out=values)
        if tally is not None:
            pixels = wrong.any(axis=-1) if wrong.ndim == 3 else wrong
            tally.clipped += int(np.count_nonzero(pixels if kept is None else pixels & ~kept))


def _repeated(window: NDArray[Any], tile: Tile, first: int, scale: int) -> NDArray[Any]:
    """Core of a tile, every pixel repeated."""
    top = tile.top - first
    core = window[top : top + tile.rows, tile.left : tile.left + tile.columns]
    return core.repeat(scale, 0).repeat(scale, 1)


@dataclass(frozen=True)
class Rows:
    """What is known of the rows of a picture that come one after the other.

    Parameters
    ----------
    columns : int
    dtype : dtype
    samples : tuple of int
        () for grey, (3,) for colour.
    """

    columns: int
    dtype: np.dtype[Any]
    samples: tuple[int, ...]

    @classmethod
    def of(cls, chunk: NDArray[Any]) -> "Rows":
        """Kind of a chunk, shape (n, columns) or (n, columns, 3), one of `lightsr.arrays.DTYPES`.

        Raises
        ------
        ImageError
            Masked, of another shape or type, or without columns.
        """
        if isinstance(chunk, np.ma.MaskedArray):
            raise ImageError("rows are a masked array; fill what is masked first, and put it back afterwards")
        check_kind(chunk.shape, chunk.dtype)
        if chunk.shape[1] == 0:
            raise ImageError(f"rows of shape {chunk.shape}; at least one column is needed")
        return cls(chunk.shape[1], chunk.dtype, chunk.shape[2:])

    def check(self, chunk: NDArray[Any]) -> None:
        """Refuse a chunk, shape (n, columns) or (n, columns, 3), whose columns, dtype or samples are others."""
        if (found := Rows.of(chunk)) != self:
            raise ImageError(f"rows change from {self._shown()} to {found._shown()}; all of one picture are alike")

    def _shown(self) -> str:
        return f"{self.columns} columns of {'RGB ' if self.samples else ''}{self.dtype}"


def enlarged(work: Work, chunks: Iterable[NDArray[Any]], rows: Rows, tally: Tally | None) -> Iterator[NDArray[Any]]:
    """Bands of a result, top to bottom, each as soon as the rows that it depends on are there.

    Parameters
    ----------
    work : Work
        With a plan for the picture; its rows are `ENDLESS` where nobody knows them yet.
    chunks : iterable of ndarray, shape (n, columns) or (n, columns, 3), dtype of `rows`
        Rows of the picture, any number at a time.
    rows : Rows
        Of every chunk.
    tally : Tally, optional

    Yields
    ------
    ndarray, shape (scale * core rows, scale * columns) or the same with 3, dtype of `rows`
        The last one may have fewer rows.

    Raises
    ------
    ImageError
        The rows are not those of one picture, or not as many as were announced.
    """
    plan, scale = work.plan, work.card.scale
    reach = max(plan.halo, BICUBIC_REACH_PX)
    waiting = np.empty((plan.core_rows + 2 * reach, rows.columns, *rows.samples), rows.dtype)
    first, held, top = 0, 0, 0  # the picture's row that is the buffer's first, rows in it, next band's first row

    def band() -> NDArray[Any]:
        count = min(plan.core_rows, plan.rows - top)
        out = np.empty((scale * count, scale * rows.columns, *rows.samples), rows.dtype)
        replace(work, plan=plan).band(waiting[:held], top, out, first=first, tally=tally)
        return out

    for chunk in chunks:
        rows.check(chunk)
        refuse_not_finite([(first + held, chunk)])
        if first + held + len(chunk) > plan.rows:
            raise ImageError(f"more than the {plan.rows} rows that were announced")
        taken = 0
        while taken < len(chunk):
            count = min(len(chunk) - taken, len(waiting) - held)
            waiting[held : held + count] = chunk[taken : taken + count]
            held, taken = held + count, taken + count
            while first + held >= top + plan.core_rows + reach:
                yield band()
                top += plan.core_rows
                gone = max(0, top - reach - first)
                waiting[: held - gone] = waiting[gone:held]
                first, held = first + gone, held - gone
    last = first + held
    if plan.rows not in (ENDLESS, last):
        raise ImageError(f"{last} rows; {plan.rows} were announced")
    plan = replace(plan, rows=last)
    while top < last:
        yield band()
        top += plan.core_rows
