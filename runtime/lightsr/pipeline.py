"""A picture's whole path: file, `Image`, `Upscaler`, file."""

import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lightsr
from lightsr import derive, files, folders, regions
from lightsr.bands import BICUBIC_REACH_PX, Tally
from lightsr.errors import ImageError, LightsrError, OutputError
from lightsr.image import Frames, Image, luminance
from lightsr.memory import peak_mib
from lightsr.options import DEFAULTS, DicomOptions
from lightsr.resample import interpolate
from lightsr.upscaler import IntensityMap, Upscaler

MAX_OUTPUT_SIDE_PX = 65_535
"""Largest side of a result: DICOM's Rows and Columns are 16 bits wide (PS3.3 C.7.6.3)."""

BAND_PX = 32
"""Rows that are interpolated at once outside an image's regions; it changes memory, not a bit of the result."""


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Parameters
    ----------
    source : Path
    target : Path
    status : str
        "done", "exists" (left alone on request) or "failed".
    size_in, size_out : (int, int)
        Rows and columns; zeros where it did not come to that.
    milliseconds : float
        Time to enlarge all frames, files not counted.
    peak_mib : float
        Peak resident set of the process so far, MiB.
    message : str
        Why it failed.
    frames : int
        Frames of a file that was enlarged.
    model : str
        The model that enlarged it: name, enlargement and precision.
    clipped : int
        Pixels, of all frames, whose value lay beyond what the type or the source allows, and was set
        to the nearest that it does; before padding and what lies outside regions are put back.
    """

    source: Path
    target: Path
    status: str
    size_in: tuple[int, int] = (0, 0)
    size_out: tuple[int, int] = (0, 0)
    milliseconds: float = 0.0
    peak_mib: float = 0.0
    message: str = ""
    frames: int = 0
    model: str = ""
    clipped: int = 0


def enlarge(
    image: Image, upscaler: Upscaler, *, intensity: IntensityMap | None = None, tally: Tally | None = None
) -> NDArray[Any]:
    """Enlarge an image's stored values.

    Grey goes through the network as it is stored, MONOCHROME1 inverted, as the network
    was trained on; padding keeps its value and its place. Of colour the network enlarges
    the luminance, and bicubic interpolation the two colour differences. What lies outside
    the regions of an image that has some is interpolated alone: the network is trained on
    patients, not on burned-in text and scale bars. It sees the whole picture all the same,
    so that no region has an edge of its own making.

    Parameters
    ----------
    image : Image
    upscaler : Upscaler
    intensity : IntensityMap, optional
        Of the stored values, of colour the luminance; by default the image's own. See
        `lightsr.upscaler.Upscaler`.
    tally : Tally, optional
        Counts the pixels that were clipped.

    Returns
    -------
    ndarray, shape (scale * h, scale * w[, 3]), dtype of the stored values
        Within the image's value range.

    Raises
    ------
    ImageError
        The result would be too large for its format.
    """
    scale = upscaler.scale
    if max(image.size) * scale > MAX_OUTPUT_SIDE_PX:
        raise ImageError(
            f"{image.source}: {image.size[0]}x{image.size[1]} would become larger than {MAX_OUTPUT_SIDE_PX} a side"
        )
    low, high = image.value_range
    if image.photometric == "RGB":
        coloured = upscaler(image.pixels, value_range=(low, high), intensity=intensity, tally=tally)
        _interpolate_outside(coloured, image.pixels, image, scale)
        return coloured
    pixels = image.filled()
    if image.photometric == "MONOCHROME1":
        mirrored = np.float32(low + high) - pixels.astype(np.float32)
        if intensity is not None:
            intensity = IntensityMap(low + high - intensity.offset - intensity.span, intensity.span)
        result = np.rint(np.float32(low + high) - upscaler(mirrored, intensity=intensity))
        if tally is not None:
            tally.clipped += int(np.count_nonzero((result < low) | (result > high)))
        enlarged: NDArray[Any] = np.clip(result, low, high).astype(pixels.dtype)
    else:
        enlarged = upscaler(pixels, value_range=(low, high), intensity=intensity, tally=tally)
    _interpolate_outside(enlarged, pixels, image, scale)
    if image.padding_range is not None:
        _restore_padding(enlarged, image, image.padding_range, scale)
    return enlarged


def _interpolate_outside(enlarged: NDArray[Any], pixels: NDArray[Any], image: Image, scale: int) -> None:
    """Put bicubic interpolation of `pixels` wherever no region of the image is (PS3.3 C.8.5.5)."""
    if not image.regions:
        return
    plain = regions.outside(image.regions, image.size, scale)
    low, high = image.value_range
    rows = image.size[0]
    planes = [np.index_exp[..., channel] for channel in range(3)] if pixels.ndim == 3 else [np.index_exp[...]]
    for plane, top in itertools.product(planes, range(0, rows, BAND_PX)):
        bottom, first = min(top + BAND_PX, rows), max(top - BICUBIC_REACH_PX, 0)
        chosen = plain[scale * top : scale * bottom]
        if chosen.any():
            wider = interpolate(pixels[plane][first : bottom + BICUBIC_REACH_PX], scale)
            band = wider[scale * (top - first) : scale * (bottom - first)][chosen]
            enlarged[plane][scale * top : scale * bottom][chosen] = np.clip(np.rint(band), low, high)


def _restore_padding(enlarged: NDArray[Any], image: Image, reserved: tuple[int, int], scale: int) -> None:
    """Put the padding back, and let no computed value look like padding (PS3.3 C.7.5.1.1.2)."""
    nearest = image.pixels.repeat(scale, 0).repeat(scale, 1)
    wrong = (enlarged >= reserved[0]) & (enlarged <= reserved[1])
    if image.padding is not None:
        wrong |= image.padding.repeat(scale, 0).repeat(scale, 1)
    enlarged[wrong] = nearest[wrong]


def enlarged_frames(
    frames: Frames, upscaler: Upscaler, *, tally: Tally | None = None
) -> Iterator[tuple[NDArray[Any], float]]:
    """Enlarge every frame of a file on one intensity scale and within one range: a still scene does not flicker.

    Of several frames both are worked out first, over all of them; so these are read, and
    compressed ones decoded, twice.

    Parameters
    ----------
    frames : Frames
    upscaler : Upscaler
    tally : Tally, optional
        Counts the pixels that were clipped.

    Yields
    ------
    pixels : ndarray
        As `enlarge` gives them.
    milliseconds : float
        That it took.

    Raises
    ------
    ImageError
        As `enlarge`, or a frame cannot be read.
    """
    value_range, intensity = common_scale(frames, upscaler) if frames.count > 1 else (None, None)
    for image in frames:
        started = time.perf_counter()
        if value_range is not None:
            image = replace(image, value_range=value_range)
        pixels = enlarge(image, upscaler, intensity=intensity, tally=tally)
        yield pixels, 1000 * (time.perf_counter() - started)


def common_scale(frames: Frames, upscaler: Upscaler) -> tuple[tuple[int, int], IntensityMap]:
    """Value range and intensity map of all frames together.

    Parameters
    ----------
    frames : Frames
    upscaler : Upscaler
        Its tiles need no map where its card says so; the map is then the identity.

    Returns
    -------
    value_range : (int, int)
    intensity : IntensityMap
        As `enlarge` takes it.
    """
    if frames.photometric == "RGB" and upscaler.card.intensity == "any":  # nothing depends on the pixels
        return frames[0].value_range, IntensityMap(0.0, 1.0)
    ranges: list[tuple[int, int]] = []

    def looked_at() -> Iterator[NDArray[Any]]:
        for image in frames:
            ranges.append(image.value_range)
            yield luminance(image.pixels) if image.photometric == "RGB" else image.filled()

    if upscaler.card.intensity == "any":
        intensity = IntensityMap(0.0, 1.0)
        ranges = [image.value_range for image in frames]
    else:
        intensity = IntensityMap.over(looked_at())
    return (min(low for low, _ in ranges), max(high for _, high in ranges)), intensity


def enlarge_file(
    source: Path,
    target: Path,
    upscaler: Upscaler,
    *,
    overwrite: bool = False,
    skip_existing: bool = False,
    options: DicomOptions = DEFAULTS,
) -> Outcome:
    """Enlarge one file into another of the same format, which appears whole or not at all.

    `options` are those of a DICOM result; PNG has none. Problems with this file come back in
    the `Outcome`; nothing is then written.
    """
    try:
        if skip_existing and target.is_file():
            return Outcome(source, target, "exists")
        return _enlarge_file(source, target, upscaler, overwrite, options)
    except LightsrError as error:
        message = str(error)
    except OSError as error:
        message = f"{error.filename or target}: {error.strerror or type(error).__name__}"
    except MemoryError:
        message = f"{source}: too large for this machine's memory"
    return Outcome(source, target, "failed", message=message)


def _enlarge_file(source: Path, target: Path, upscaler: Upscaler, overwrite: bool, options: DicomOptions) -> Outcome:
    kind = files.detect(source)
    if kind.write is None:
        raise ImageError(f"{source}: a {kind.name}, which would lose again what is gained; convert it to PNG first")
    if target.suffix.lower() != source.suffix.lower() and target.suffix.lower() in files.SUFFIXES - kind.suffixes:
        allowed = " or ".join(sorted(kind.suffixes))
        raise OutputError(f"{target}: {kind.name} in gives {kind.name} out; give it a name that ends in {allowed}")
    if target.exists() and target.samefile(source):
        raise OutputError(f"{target}: is the input itself; choose another output")
    if os.path.lexists(target) and not overwrite:
        raise OutputError(f"{target}: exists; --force overwrites it, --skip-existing leaves it")
    spent: list[float] = []
    size_out = (0, 0)
    tally = Tally()

    def timed(frames: Frames) -> Iterator[NDArray[Any]]:
        nonlocal size_out
        for pixels, milliseconds in enlarged_frames(frames, upscaler, tally=tally):
            spent.append(milliseconds)
            size_out = (pixels.shape[0], pixels.shape[1])
            yield pixels

    card = upscaler.card
    producer = derive.Producer(card.name, card.precision, upscaler.model.sha256, lightsr.__version__)
    with kind.opened(source) as frames:
        # A result is as private as its source: readable by nobody who could not read that.
        folders.make(target.parent.absolute(), source.parent.absolute())
        permissions = source.stat().st_mode & 0o666 | 0o200
        with files.new_file(target, overwrite=overwrite, permissions=permissions) as file:
            kind.write(frames, timed(frames), scale=upscaler.scale, producer=producer, options=options, file=file)
        return Outcome(
            source,
            target,
            "done",
            frames.size,
            size_out,
            sum(spent),
            peak_mib(),
            frames=frames.count,
            model=upscaler.model.name,
            clipped=tally.clipped,
        )
