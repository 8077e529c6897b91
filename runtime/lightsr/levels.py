"""What the values of frames are like: found out by looking at every row before the first one is enlarged."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightsr import arrays
from lightsr.ahead import CancelledError
from lightsr.errors import ImageError
from lightsr.image import Frames, Image, Photometric, luminance
from lightsr.intensity import Extremes, IntensityMap

PIECE_PX = 2**18
"""Pixels that are read at a time: what reading makes of them meanwhile is a few times as large."""


class FrameRows:
    """Rows of one frame, read when they are asked for where the file lets them; for one thread.

    Parameters
    ----------
    frames : Frames
    index : int
    cancel : threading.Event, optional
        Set by whoever does not want the rest any more: nothing more is read.
    """

    def __init__(self, frames: Frames, index: int, cancel: threading.Event | None = None) -> None:
        self.frames, self.index, self._cancel = frames, index, cancel
        self._go_on()
        self.image: Image | None = None if frames.band is not None else frames[index]
        self._last: tuple[int, NDArray[Any]] | None = None

    def _go_on(self) -> None:
        if self._cancel is not None and self._cancel.is_set():
            raise CancelledError

    @property
    def photometric(self) -> Photometric:
        """See `Image`."""
        return self.frames.photometric

    def read(self, top: int, bottom: int) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        """Stored values of the rows [top, bottom), and which of them are padding.

        Rows that the last call gave are not read again.

        Returns
        -------
        pixels : ndarray, shape (bottom - top, columns[, 3]), dtype of the frames
        mask : ndarray of bool, shape (bottom - top, columns), or None
            None where no pixel is padding.

        Raises
        ------
        ImageError
            The file is damaged, or became shorter.
        """
        if self.image is not None:
            padding = self.image.padding
            return self.image.pixels[top:bottom], _some(None if padding is None else padding[top:bottom])
        frames = self.frames
        assert frames.band is not None
        pixels = np.empty((bottom - top, *frames.shape[1:]), frames.dtype)
        begin = top
        if self._last is not None:
            held_top, held = self._last
            begin = min(max(held_top + len(held), top), bottom) if held_top <= top else top
            pixels[: begin - top] = held[top - held_top :][: begin - top]
        self._last = top, pixels
        step = max(frames.piece_rows, PIECE_PX // frames.size[1], 1)
        for first in range(begin, bottom, step):
            self._go_on()
            last = min(first + step, bottom)
            pixels[first - top : last - top] = frames.band(self.index, first, last)
        if frames.padding_range is None:
            return pixels, None
        mask: NDArray[np.bool_] = pixels >= frames.padding_range[0]
        mask &= pixels <= frames.padding_range[1]
        return pixels, _some(mask)


def _some(mask: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
    return mask if mask is not None and mask.any() else None


@dataclass(frozen=True)
class Levels:
    """What is known of a frame's values before it is enlarged.

    Parameters
    ----------
    low, high : int or float
        Lowest and highest value that the result may hold.
    lowest : int or float
        Of this frame's real values; the network sees it in the place of padding.
    intensity : IntensityMap
        Of the stored values, of colour the luminance; the identity for a model that takes any unit.
    blank : bool
        Every pixel is padding; the others then mean nothing.
    """

    low: float
    high: float
    lowest: float
    intensity: IntensityMap
    blank: bool = False


def of_frames(
    frames: Frames, *, unit: bool, cancel: threading.Event | None = None
) -> Iterator[tuple[FrameRows, Levels]]:
    """Every frame with its levels: one scale and one range for all, so that a still scene does not flicker.

    Of several frames all are looked at first; so these are read, and compressed ones decoded,
    twice. Where equal values do not mean the same in all frames, there is no such scale, and each
    frame has its own, as the slices of a series have.

    Parameters
    ----------
    frames : Frames
    unit : bool
        The network has fixed ranges, and needs an intensity map.
    cancel : threading.Event, optional
        See `FrameRows`.

    Raises
    ------
    ImageError
        A frame cannot be read, or every pixel is padding, in every frame.
    """
    if frames.count > 1 and frames.one_scale:
        (low, high), intensity, lowest = together(frames, unit=unit, cancel=cancel)
        for index, level in enumerate(lowest):
            blank = level is None
            yield FrameRows(frames, index, cancel), Levels(low, high, 0 if level is None else level, intensity, blank)
        return
    blanks = 0
    for index in range(frames.count):
        rows, extremes = FrameRows(frames, index, cancel), Extremes() if unit else None
        seen = _look(rows, extremes)
        if seen is None:
            blanks += 1
            if blanks == frames.count:
                raise _all_padding(frames)
            yield rows, Levels(0, 0, 0, IntensityMap(0.0, 1.0), blank=True)
        else:
            (low, high), level = seen
            yield rows, Levels(low, high, level, extremes.intensity() if extremes else IntensityMap(0.0, 1.0))
        del rows  # before the next frame is decoded


def together(
    frames: Frames, *, unit: bool, cancel: threading.Event | None = None
) -> tuple[tuple[float, float], IntensityMap, tuple[float | None, ...]]:
    """Value range and intensity map of all frames as one, and the lowest real value of each.

    Frames of nothing but padding do not count, and have no lowest value.

    Raises
    ------
    ImageError
        A frame cannot be read, or every pixel is padding, in every frame.
    """
    extremes = Extremes() if unit else None
    seen = [_look(FrameRows(frames, index, cancel), extremes) for index in range(frames.count)]
    real = [found for found in seen if found is not None]
    if not real:
        raise _all_padding(frames)
    value_range = min(low for (low, _), _ in real), max(high for (_, high), _ in real)
    intensity = extremes.intensity() if extremes else IntensityMap(0.0, 1.0)
    return value_range, intensity, tuple(None if found is None else found[1] for found in seen)


def _look(rows: FrameRows, extremes: Extremes | None) -> tuple[tuple[float, float], float] | None:
    """A frame's value range and lowest real value, None where every pixel is padding; all count for `extremes`."""
    image, colour = rows.image, rows.photometric == "RGB"
    if extremes is None and (colour or (image is not None and image.padding is None)):
        return ((0, 255) if image is None else image.value_range), 0  # neither depends on a pixel
    low, high, padded = np.inf, -np.inf, 0
    height, width = rows.frames.size
    # Luminance is float32, and colours are taken apart for it: fewer pixels at a time.
    for part in arrays.chunks(height, 8 * width if colour else width):
        pixels, mask = rows.read(part.start, min(part.stop, height))
        real = luminance(pixels) if colour else pixels if mask is None else pixels[~mask]
        if real.size:
            low, high = min(low, real.min().item()), max(high, real.max().item())
        padded += 0 if mask is None else int(np.count_nonzero(mask))
        if extremes is not None:
            extremes.add(real)
    if low > high:
        return None
    if extremes is not None and padded:
        extremes.repeat(low, padded)
    value_range = image.value_range if image is not None else (0, 255) if colour else (low, high)
    return value_range, low


def _all_padding(frames: Frames) -> ImageError:
    where = ", in every frame" if frames.count > 1 else ""
    return ImageError(f"{frames.source}: every pixel is padding{where}; nothing can be enlarged")
