"""A picture's whole path: file, `Image`, `Upscaler`, file."""

import hashlib
import itertools
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

import lightsr
from lightsr import derive, files, folders, regions
from lightsr.bands import BICUBIC_REACH_PX, Tally
from lightsr.errors import ImageError, LightsrError, OutputError, PackageError
from lightsr.image import Frames, Image, luminance
from lightsr.memory import peak_mib
from lightsr.options import DEFAULTS, DicomOptions
from lightsr.resample import interpolate
from lightsr.upscaler import IntensityMap, Upscaler

MAX_OUTPUT_SIDE_PX = 65_535
"""Largest side of a result: DICOM's Rows and Columns are 16 bits wide (PS3.3 C.7.6.3)."""

BAND_PX = 32
"""Rows that are interpolated at once outside an image's regions; it changes memory, not a bit of the result."""

Status = Literal["done", "skipped", "refused", "failed"]

REASONS = {
    "image": "the input cannot be read, or is refused because its meaning would be lost",
    "exists": "a result is there already",
    "output": "the result cannot be written",
    "system": "the system reported an error",
    "memory": "too little memory",
    "package": "an optional package is not installed",
    "model": "the model failed",
    "folder": "a folder that cannot be searched, or a link to one, which is not followed",
    "worker": "the process that worked on it ended early",
    "unexpected": "an error that lightsr does not know",
}
"""Why a file was refused or failed, in a word that stays when the message is worded anew."""


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Parameters
    ----------
    source : Path
    target : Path
    status : Status
        "done"; "skipped": a result was there, and left alone on request; "refused": the input
        is why, and would be again; "failed": something else, which may be gone the next time.
    size_in, size_out : (int, int)
        Rows and columns; zeros where it did not come to that.
    milliseconds : float
        Time to enlarge all frames, files not counted.
    peak_mib : float
        Peak resident set of the process so far, MiB.
    message : str
        Why it was refused or failed.
    frames : int
        Frames of a file that was enlarged.
    reason : str
        Word for `message`, one of `REASONS`.
    source_sha256, target_sha256 : str
        Of the files that were read and written, where they were asked for.
    clipped : int
        Pixels, of all frames, whose value lay beyond what the type or the source allows, and was set
        to the nearest that it does; before padding and what lies outside regions are put back.
    """

    source: Path
    target: Path
    status: Status
    size_in: tuple[int, int] = (0, 0)
    size_out: tuple[int, int] = (0, 0)
    milliseconds: float = 0.0
    peak_mib: float = 0.0
    message: str = ""
    frames: int = 0
    reason: str = ""
    source_sha256: str = ""
    target_sha256: str = ""
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
            f"{image.source}: {image.size[1]}x{image.size[0]} would become larger than {MAX_OUTPUT_SIDE_PX} a side"
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
    compressed ones decoded, twice. Where equal values do not mean the same in all frames,
    there is no such scale, and each frame has its own, as the slices of a series have.

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
    together = frames.count > 1 and frames.one_scale
    value_range, intensity = common_scale(frames, upscaler) if together else (None, None)
    blank = 0
    for image in frames:
        started = time.perf_counter()
        if value_range is not None:
            image = replace(image, value_range=value_range)
        if image.blank and frames.count > 1:  # before a contrast agent arrives, say: it stays what it is
            blank += 1
            pixels = image.pixels.repeat(upscaler.scale, 0).repeat(upscaler.scale, 1)
        else:
            pixels = enlarge(image, upscaler, intensity=intensity, tally=tally)
        yield pixels, 1000 * (time.perf_counter() - started)
    if blank == frames.count:
        raise _all_padding(frames)


def _all_padding(frames: Frames) -> ImageError:
    return ImageError(f"{frames.source}: every pixel is padding, in every frame; nothing can be enlarged")


def common_scale(frames: Frames, upscaler: Upscaler) -> tuple[tuple[float, float], IntensityMap]:
    """Value range and intensity map of all frames together.

    Parameters
    ----------
    frames : Frames
    upscaler : Upscaler
        Its tiles need no map where its card says so; the map is then the identity. Frames of nothing but
        padding do not count.

    Returns
    -------
    value_range : (int or float, int or float)
    intensity : IntensityMap
        As `enlarge` takes it.
    """
    if frames.photometric == "RGB" and upscaler.card.intensity == "any":  # nothing depends on the pixels
        return frames[0].value_range, IntensityMap(0.0, 1.0)
    ranges: list[tuple[float, float]] = []
    real = (image for image in frames if not image.blank)

    def looked_at() -> Iterator[NDArray[Any]]:
        for image in real:
            ranges.append(image.value_range)
            yield luminance(image.pixels) if image.photometric == "RGB" else image.filled()

    if upscaler.card.intensity == "any":
        intensity = IntensityMap(0.0, 1.0)
        ranges = [image.value_range for image in real]
    else:
        looked = looked_at()
        first = list(itertools.islice(looked, 1))
        intensity = IntensityMap.over(itertools.chain(first, looked)) if first else IntensityMap(0.0, 1.0)
    if not ranges:
        raise _all_padding(frames)
    return (min(low for low, _ in ranges), max(high for _, high in ranges)), intensity


def enlarge_file(
    source: Path,
    target: Path,
    upscaler: Upscaler,
    *,
    overwrite: bool = False,
    skip_existing: bool = False,
    options: DicomOptions = DEFAULTS,
    digests: bool = False,
) -> Outcome:
    """Enlarge one file into another of the same format (of a JPEG, a PNG), which appears whole or not at all.

    `options` are those of DICOM files; other formats have none. With `digests` both files are read
    once more for their SHA-256. Problems with this file come back in the `Outcome`; nothing is
    then written.
    """
    source_sha256 = target_sha256 = ""
    try:
        if skip_existing:
            if not target.is_file() or files.promises_another(target):
                target = files.expected_result(source, target)
            if target.is_file() and not files.promises_another(target):
                return Outcome(source, target, "skipped")
        if digests and source.is_file():
            source_sha256 = sha256(source)
        kind = files.detect(source, options)
        target = files.result_path(kind, source, target)
        outcome = _enlarge_file(kind, source, target, upscaler, overwrite, options)
        if digests and outcome.status == "done":
            target_sha256 = sha256(outcome.target)
    except LightsrError as error:
        # What the system said about a file that may be a good one is no refusal.
        of_system = isinstance(error.__cause__, OSError) and error.__cause__.errno is not None
        at_fault = isinstance(error, ImageError) and not isinstance(error, PackageError)
        status: Status = "refused" if at_fault and not of_system else "failed"
        outcome = Outcome(source, target, status, message=str(error), reason=error.reason)
    except OSError as error:
        message = f"{error.filename or target}: {error.strerror or type(error).__name__}"
        outcome = Outcome(source, target, "failed", message=message, reason="system")
    except MemoryError:
        message = f"{source}: too large for this machine's memory"
        outcome = Outcome(source, target, "failed", message=message, reason="memory")
    return replace(outcome, source_sha256=source_sha256, target_sha256=target_sha256)


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _enlarge_file(
    kind: files.Format, source: Path, target: Path, upscaler: Upscaler, overwrite: bool, options: DicomOptions
) -> Outcome:
    if target.exists() and target.samefile(source):
        raise OutputError(f"{target}: is the input itself; choose another output")
    if target.exists() and not target.is_file():  # --force would put a file in the place of a device
        raise OutputError(f"{target}: is there, and not a regular file; choose another output")
    if os.path.lexists(target) and not overwrite:
        raise OutputError(f"{target}: exists; --force overwrites it, --skip-existing leaves it", reason="exists")
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
    with kind.opened(source, options=options) as frames:
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
            clipped=tally.clipped,
        )
