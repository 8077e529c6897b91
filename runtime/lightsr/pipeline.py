"""A picture's whole path: file, `Image`, `Upscaler`, file."""

import fnmatch
import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lightsr
from lightsr import derive, files
from lightsr.errors import ImageError, LightsrError, OutputError
from lightsr.image import LUMA, Image
from lightsr.memory import peak_mib
from lightsr.resample import interpolate
from lightsr.upscaler import Upscaler

MAX_OUTPUT_SIDE_PX = 65_535
"""Largest side of a result: DICOM's Rows and Columns are 16 bits wide (PS3.3 C.7.6.3)."""


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
        Time to enlarge, files not counted.
    peak_mib : float
        Peak resident set of the process so far, MiB.
    message : str
        Why it failed.
    """

    source: Path
    target: Path
    status: str
    size_in: tuple[int, int] = (0, 0)
    size_out: tuple[int, int] = (0, 0)
    milliseconds: float = 0.0
    peak_mib: float = 0.0
    message: str = ""


def enlarge(image: Image, upscaler: Upscaler) -> NDArray[Any]:
    """Enlarge an image's stored values.

    Grey goes through the network as it is stored, MONOCHROME1 inverted, as the network
    was trained on; padding keeps its value and its place. Of colour the network enlarges
    the luminance, and bicubic interpolation the two colour differences.

    Parameters
    ----------
    image : Image
    upscaler : Upscaler

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
    if image.photometric == "RGB":
        return _enlarge_colour(image, upscaler)
    low, high = image.value_range
    pixels = image.filled()
    if image.photometric == "MONOCHROME1":
        mirrored = np.float32(low + high) - pixels.astype(np.float32)
        result = np.float32(low + high) - upscaler(mirrored, value_range=(low, high))
        enlarged: NDArray[Any] = np.rint(result).astype(pixels.dtype)
    else:
        enlarged = upscaler(pixels, value_range=(low, high))
    if image.padding is not None and image.padding.any():
        _restore_padding(enlarged, image, scale)
    return enlarged


def _restore_padding(enlarged: NDArray[Any], image: Image, scale: int) -> None:
    """Put the padding back, and let no computed value look like padding (PS3.3 C.7.5.1.1.2)."""
    assert image.padding is not None
    nearest = image.pixels.repeat(scale, 0).repeat(scale, 1)
    mask = image.padding.repeat(scale, 0).repeat(scale, 1)
    reserved = np.unique(image.pixels[image.padding])
    wrong = mask | np.isin(enlarged, reserved)
    enlarged[wrong] = nearest[wrong]


def _enlarge_colour(image: Image, upscaler: Upscaler) -> NDArray[Any]:
    scale = upscaler.scale
    colour = image.pixels.astype(np.float32)
    luminance = colour @ np.asarray(LUMA, dtype=np.float32)
    sharp = upscaler(luminance)
    low, high = image.value_range
    result = np.empty((*sharp.shape, 3), dtype=image.pixels.dtype)
    for channel in range(3):
        # A grey pixel has no difference, so that it stays grey to the last bit.
        difference = interpolate(colour[..., channel] - luminance, scale)
        result[..., channel] = np.clip(np.rint(sharp + difference), low, high)
    return result


def enlarge_file(
    source: Path, target: Path, upscaler: Upscaler, *, overwrite: bool = False, skip_existing: bool = False
) -> Outcome:
    """Enlarge one file into another of the same format, which appears whole or not at all.

    Problems with this file come back in the `Outcome`; nothing is then written.
    """
    if skip_existing and target.exists():
        return Outcome(source, target, "exists")
    try:
        return _enlarge_file(source, target, upscaler, overwrite)
    except LightsrError as error:
        message = str(error)
    except OSError as error:
        message = f"{target}: cannot be written: {error.strerror}"
    except MemoryError:
        message = f"{source}: too large for this machine's memory"
    return Outcome(source, target, "failed", message=message)


def _enlarge_file(source: Path, target: Path, upscaler: Upscaler, overwrite: bool) -> Outcome:
    kind = files.detect(source)
    if kind.write is None:
        raise ImageError(f"{source}: a {kind.name}, which would lose again what is gained; convert it to PNG first")
    if target.exists() and target.samefile(source):
        raise OutputError(f"{target}: is the input itself; choose another output")
    if os.path.lexists(target) and not overwrite:
        raise OutputError(f"{target}: exists; --force overwrites it, --skip-existing leaves it")
    image = kind.read(source)
    started = time.perf_counter()
    pixels = enlarge(image, upscaler)
    milliseconds = 1000 * (time.perf_counter() - started)
    card = upscaler.card
    producer = derive.Producer(card.name, card.precision, upscaler.model.sha256, lightsr.__version__)
    target.parent.mkdir(parents=True, exist_ok=True)
    # A result is as private as its source: readable by nobody who could not read that.
    permissions = source.stat().st_mode & 0o666 | 0o200
    with files.new_file(target, overwrite=overwrite, permissions=permissions) as file:
        kind.write(image, pixels, scale=upscaler.scale, producer=producer, file=file)
    size_out = (pixels.shape[0], pixels.shape[1])
    return Outcome(source, target, "done", image.size, size_out, milliseconds, peak_mib())


def mirrored(source: Path, target: Path, pattern: str) -> Iterator[tuple[Path, Path]]:
    """Files to enlarge with where they go.

    Parameters
    ----------
    source : Path
        A file, or a folder that is searched deeply; hidden files are left out.
    target : Path
        A file, or a folder in which the source folder is mirrored. A file whose target
        is an existing folder goes into it.
    pattern : str
        Shell pattern that a file's name must match, in a folder.

    Raises
    ------
    ImageError
        `source` is missing, or a folder without such files.
    OutputError
        A folder would be mirrored into a file, or into itself.
    """
    if source.is_file():
        yield source, target / source.name if target.is_dir() else target
        return
    if not source.is_dir():
        raise ImageError(f"{source}: no such file or folder")
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target}: a file; a folder of images needs a folder to go to")
    if target.exists() and target.samefile(source):
        raise OutputError(f"{target}: is the input folder itself; choose another output")
    inside = target.resolve()
    found = False
    for root, folders, names in os.walk(source):
        folders[:] = sorted(f for f in folders if not f.startswith(".") and Path(root, f).resolve() != inside)
        for name in sorted(names):
            if not name.startswith(".") and fnmatch.fnmatch(name, pattern):
                found = True
                path = Path(root, name)
                yield path, target / path.relative_to(source)
    if not found:
        raise ImageError(f"{source}: no file that matches {pattern}")
