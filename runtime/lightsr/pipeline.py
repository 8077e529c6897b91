"""A picture's whole path: file, `Image`, `Upscaler`, file."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

import lightsr
from lightsr import derive, files, folders
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
    if image.padding_range is not None:
        _restore_padding(enlarged, image, image.padding_range, scale)
    return enlarged


def _restore_padding(enlarged: NDArray[Any], image: Image, reserved: tuple[int, int], scale: int) -> None:
    """Put the padding back, and let no computed value look like padding (PS3.3 C.7.5.1.1.2)."""
    nearest = image.pixels.repeat(scale, 0).repeat(scale, 1)
    wrong = (enlarged >= reserved[0]) & (enlarged <= reserved[1])
    if image.padding is not None:
        wrong |= image.padding.repeat(scale, 0).repeat(scale, 1)
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
    try:
        if skip_existing and target.is_file():
            return Outcome(source, target, "exists")
        return _enlarge_file(source, target, upscaler, overwrite)
    except LightsrError as error:
        message = str(error)
    except OSError as error:
        message = f"{error.filename or target}: {error.strerror or type(error).__name__}"
    except MemoryError:
        message = f"{source}: too large for this machine's memory"
    return Outcome(source, target, "failed", message=message)


def _enlarge_file(source: Path, target: Path, upscaler: Upscaler, overwrite: bool) -> Outcome:
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
    image = kind.read(source)
    started = time.perf_counter()
    pixels = enlarge(image, upscaler)
    milliseconds = 1000 * (time.perf_counter() - started)
    card = upscaler.card
    producer = derive.Producer(card.name, card.precision, upscaler.model.sha256, lightsr.__version__)
    # A result is as private as its source: readable by nobody who could not read that.
    folders.make(target.parent.absolute(), source.parent.absolute())
    permissions = source.stat().st_mode & 0o666 | 0o200
    with files.new_file(target, overwrite=overwrite, permissions=permissions) as file:
        kind.write(image, pixels, scale=upscaler.scale, producer=producer, file=file)
    size_out = (pixels.shape[0], pixels.shape[1])
    return Outcome(source, target, "done", image.size, size_out, milliseconds, peak_mib())
