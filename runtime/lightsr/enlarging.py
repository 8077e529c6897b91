"""Frames to larger frames, band by band, with all that their format says about their pixels."""

import contextlib
import threading
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightsr import levels, padding, regions
from lightsr.ahead import ahead
from lightsr.bands import BICUBIC_REACH_PX, Tally, Work
from lightsr.budget import WINDOWS, shown
from lightsr.errors import ImageError, MemoryLimitError
from lightsr.image import Frames, Image
from lightsr.intensity import IntensityMap
from lightsr.levels import FrameRows, Levels
from lightsr.memory import PARENT_BYTES
from lightsr.model import Bound
from lightsr.resample import interpolate
from lightsr.tiling import TilePlan
from lightsr.upscaler import Upscaler

MAX_OUTPUT_SIDE_PX = 65_535
"""Largest side of a result: DICOM's Rows and Columns are 16 bits wide (PS3.3 C.7.6.3)."""

BLOCK_PX = 32
"""Rows that are interpolated, inverted or padded again at once; it changes memory, not a bit of the result."""


@dataclass(frozen=True)
class Band:
    """Some rows of an enlarged frame.

    Parameters
    ----------
    pixels : ndarray, shape (n, scale * columns[, 3]), dtype of the stored values
    milliseconds : float
        That it took to enlarge them, files not counted.
    """

    pixels: NDArray[Any]
    milliseconds: float


@dataclass(frozen=True)
class _Window:
    """Rows that a band depends on."""

    levels: Levels
    top: int
    bottom: int
    first: int
    pixels: NDArray[Any]
    padding: NDArray[np.bool_] | None

    @property
    def core(self) -> slice:
        """Its rows that become the band."""
        return slice(self.top - self.first, self.bottom - self.first)


def enlarged_bands(
    frames: Frames, upscaler: Upscaler, *, beside: int = 0, tally: Tally | None = None
) -> Generator[Band, None, None]:
    """Enlarge every frame of a file, top to bottom, on one intensity scale and within one range.

    Grey goes through the network as it is stored, MONOCHROME1 inverted, as the network
    was trained on; padding keeps its value and its place. Of colour the network enlarges
    the luminance, and bicubic interpolation the two colour differences. What lies outside
    the regions of an image that has some is interpolated alone: the network is trained on
    patients, not on burned-in text and scale bars. It sees the whole picture all the same,
    so that no region has an edge of its own making. A frame of nothing but padding among others
    (before a contrast agent arrives, say) stays what it is.

    The next rows are read, and the next band is enlarged, while the last one is used.

    Parameters
    ----------
    frames : Frames
    upscaler : Upscaler
    beside : int
        Bytes that a limit of memory must leave for others.
    tally : Tally, optional
        Counts the pixels that were clipped.

    Yields
    ------
    Band
        Those of the first frame, then those of the next.

    Raises
    ------
    ImageError
        A frame cannot be read, or would become too large for its format or for the limit of memory.
    """
    if max(frames.size) * upscaler.scale > MAX_OUTPUT_SIDE_PX:
        raise ImageError(
            f"{frames.source}: {frames.size[1]}x{frames.size[0]} would become larger than {MAX_OUTPUT_SIDE_PX} a side"
        )
    plan = planned(frames, upscaler, beside=beside)
    cancel = threading.Event()
    found = levels.of_frames(frames, unit=upscaler.card.intensity == "unit", cancel=cancel)
    windows = ahead(_windows(frames, found, plan), cancel)
    return ahead(_enlarged(windows, frames, upscaler, plan, tally, cancel), cancel)


def planned(frames: Frames, upscaler: Upscaler, *, beside: int = 0) -> TilePlan:
    """Tiles of every frame of a file; `beside` as in `Upscaler.plan`.

    Raises
    ------
    MemoryLimitError
        No tiles fit into the limit of memory.
    """
    mask_bytes = 0
    if frames.padding_range is not None:
        mask_bytes = 1
        more_rows = 2 * padding.FILL_PX * WINDOWS + 2 * padding.BLOCK_PX
        beside += more_rows * frames.size[1] * (frames.dtype.itemsize + mask_bytes)
    try:
        return upscaler.plan(frames.shape, frames.dtype, beside=beside, mask_bytes=mask_bytes)
    except MemoryLimitError as error:
        allowed, needed = shown(error.allowed), shown(error.needed)
        whole = "" if frames.band is not None else ", which are decoded as a whole,"
        raise MemoryLimitError(
            f"{frames.source}: {frames.size[1]}x{frames.size[0]} pixels{whole} need {needed} of memory; {allowed} are "
            f"allowed; give --max-memory {needed} or more, with --jobs {shown(PARENT_BYTES)} more",
            allowed=error.allowed,
            needed=error.needed,
        ) from error


def enlarge(
    image: Image, upscaler: Upscaler, *, levels: Levels | None = None, tally: Tally | None = None
) -> NDArray[Any]:
    """Enlarge one image; see `enlarged_bands`.

    Parameters
    ----------
    image : Image
    upscaler : Upscaler
    levels : Levels, optional
        Those that it shares with others; by default its own.
    tally : Tally, optional

    Returns
    -------
    ndarray, shape (scale * h, scale * w[, 3]), dtype of the stored values
        Within the image's value range.
    """
    frames = Frames.of(image)
    if levels is None:
        return np.concatenate([band.pixels for band in enlarged_bands(frames, upscaler, tally=tally)])
    plan = upscaler.plan(frames.shape, frames.dtype)
    windows = _windows(frames, iter([(FrameRows(frames, 0), levels)]), plan)
    bands = _enlarged(windows, frames, upscaler, plan, tally, threading.Event())
    return np.concatenate([band.pixels for band in bands])


def _fill_px(frames: Frames) -> int:
    """Rows further than the network's reach on which a band depends: of pictures that may have padding."""
    return 0 if frames.padding_range is None and frames.band is not None else padding.FILL_PX


def _windows(
    frames: Frames, found: Iterable[tuple[FrameRows, Levels]], plan: TilePlan
) -> Generator[_Window, None, None]:
    """Rows of every band, with those around it that it depends on."""
    reach, rows = max(plan.halo, BICUBIC_REACH_PX) + _fill_px(frames), frames.size[0]
    for source, level in found:
        for top in range(0, rows, plan.core_rows):
            bottom, first = min(top + plan.core_rows, rows), max(top - reach, 0)
            pixels, mask = source.read(first, min(bottom + reach, rows))
            yield _Window(level, top, bottom, first, pixels, mask)
            del pixels, mask
        del source  # before the next frame is decoded


def _enlarged(
    windows: Generator[_Window, None, None],
    frames: Frames,
    upscaler: Upscaler,
    plan: TilePlan,
    tally: Tally | None,
    cancel: threading.Event,
) -> Generator[Band, None, None]:
    scale, bound = upscaler.scale, Bound(upscaler.model, plan.read_shape)
    with contextlib.closing(windows):
        for window in windows:
            started = time.perf_counter()
            if window.levels.blank:
                pixels = _repeated(window.pixels[window.core], scale)
            else:
                pixels = _band(window, frames, bound, plan, tally, cancel)
            yield Band(pixels, 1000 * (time.perf_counter() - started))


def _band(
    window: _Window, frames: Frames, bound: Bound, plan: TilePlan, tally: Tally | None, cancel: threading.Event
) -> NDArray[Any]:
    level, scale, seen = window.levels, bound.model.card.scale, window.pixels
    if window.padding is not None:
        seen = padding.filled(seen, window.padding, level.lowest)
    filled, intensity = seen, level.intensity
    inverted = frames.photometric == "MONOCHROME1"
    if inverted:  # the network was trained on pictures in which more is brighter
        seen = np.empty_like(filled)
        _mirror(filled, level, seen)
        intensity = IntensityMap(level.low + level.high - intensity.offset - intensity.span, intensity.span)
    core = window.core
    result = np.empty((scale * (core.stop - core.start), scale * seen.shape[1], *seen.shape[2:]), seen.dtype)
    work = Work(bound, plan, intensity, level.low, level.high, cancel)
    work.band(seen, window.top, result, first=window.first, tally=tally)
    if inverted:
        _mirror(result, level, result)
    if frames.regions:
        _interpolate_outside(result, filled, window, frames, level, scale)
    if frames.padding_range is not None or window.padding is not None:
        _restore_padding(result, window, frames.padding_range, scale)
    return result


def _mirror(values: NDArray[Any], level: Levels, out: NDArray[Any]) -> None:
    """What is low made high within the same range, which whole numbers do not leave; `out` may be `values`."""
    total = int(level.low) + int(level.high)
    for top in range(0, len(values), BLOCK_PX):
        part = slice(top, top + BLOCK_PX)
        out[part] = total - values[part].astype(np.int32)


def _repeated(values: NDArray[Any], scale: int) -> NDArray[Any]:
    return values.repeat(scale, 0).repeat(scale, 1)


def _interpolate_outside(
    result: NDArray[Any], pixels: NDArray[Any], window: _Window, frames: Frames, level: Levels, scale: int
) -> None:
    """Put bicubic interpolation of `pixels` wherever no region of the image is (PS3.3 C.8.5.5)."""
    core, columns = window.core, pixels.shape[1]
    planes = [np.index_exp[..., channel] for channel in range(3)] if pixels.ndim == 3 else [np.index_exp[...]]
    for top in range(core.start, core.stop, BLOCK_PX):
        bottom, first = min(top + BLOCK_PX, core.stop), max(top - BICUBIC_REACH_PX, 0)
        plain = regions.outside(frames.regions, (bottom - top, columns), scale, top=window.first + top)
        if not plain.any():
            continue
        rows = slice(scale * (top - core.start), scale * (bottom - core.start))
        for plane in planes:
            wider = interpolate(pixels[plane][first : bottom + BICUBIC_REACH_PX], scale)
            chosen = wider[scale * (top - first) : scale * (bottom - first)][plain]
            result[plane][rows][plain] = np.clip(np.rint(chosen), level.low, level.high)


def _restore_padding(result: NDArray[Any], window: _Window, reserved: tuple[int, int] | None, scale: int) -> None:
    """Put the padding back, and let no computed value look like padding (PS3.3 C.7.5.1.1.2)."""
    core = window.core
    for top in range(core.start, core.stop, BLOCK_PX):
        bottom = min(top + BLOCK_PX, core.stop)
        part = result[scale * (top - core.start) : scale * (bottom - core.start)]
        wrong = np.zeros(part.shape, np.bool_)
        if reserved is not None:
            wrong |= (part >= reserved[0]) & (part <= reserved[1])
        if window.padding is not None:
            wrong |= _repeated(window.padding[top:bottom], scale)
        if wrong.any():
            part[wrong] = _repeated(window.pixels[top:bottom], scale)[wrong]
