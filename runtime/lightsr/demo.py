"""The demonstration: real images that come inside the pydicom wheel, enlarged and shown."""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from lightsr import files, raster
from lightsr.card import Precision
from lightsr.errors import ImageError, LightsrError, OutputError
from lightsr.folders import unmade
from lightsr.image import Image
from lightsr.resample import interpolate

SAMPLES = {"ct": "CT_small.dcm", "mr": "examples_overlay.dcm", "us": "examples_rgb_color.dcm"}
"""Short name and file, in the folder of pydicom's test files."""

DETAIL_PX = 64
"""Side of the detail that is shown magnified, low-resolution pixels."""

MIN_PANEL_PX = 480
"""Least side at which a panel is shown, by whole-number repetition of pixels."""

GAP_PX, CAPTION_PX = 12, 26
"""Space between panels, and height of a caption."""


@dataclass(frozen=True)
class Row:
    """One line of the demonstration's table.

    Parameters
    ----------
    image : str
    model : str
    size_in, size_out : (int, int)
        Rows and columns.
    milliseconds : float
        Time to enlarge, files not counted.
    peak_mib : float
        Peak resident set of the process that did only this.
    target : Path
        The derived DICOM file.
    """

    image: str
    model: str
    size_in: tuple[int, int]
    size_out: tuple[int, int]
    milliseconds: float
    peak_mib: float
    target: Path


def run(folder: Path, *, threads: int | None = None, overwrite: bool = False) -> list[Row]:
    """Enlarge the samples with the default model in every precision and draw one PNG each.

    Every row is a process of its own, so that its memory is its own.

    Parameters
    ----------
    folder : Path
        Made where it is missing.
    threads : int, optional
    overwrite : bool

    Returns
    -------
    list of Row

    Raises
    ------
    LightsrError
        A sample is missing, or the folder holds results already.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {unmade(folder, error)}") from error
    import pydicom

    rows = []
    for name, file_name in SAMPLES.items():
        source = sample(file_name)
        for precision in get_args(Precision):
            target = folder / f"{name}-x2-{precision}.dcm"
            rows.append(_row(name, precision, source, target, threads, overwrite))
        enlarged = pydicom.dcmread(folder / f"{name}-x2-int8.dcm").pixel_array
        picture = comparison(files.read(source), enlarged)
        if np.all(picture == picture[..., :1]):  # a third of the bytes
            picture = picture[..., 0]
        with files.new_file(folder / f"{name}.png", overwrite=overwrite) as file:
            raster.write_png(picture, file)
    return rows


def sample(file_name: str) -> Path:
    """Path of one of pydicom's own test files, which its wheel holds.

    Raises
    ------
    ImageError
        This installation of pydicom lacks it.
    """
    import pydicom

    path = Path(pydicom.__file__).parent / "data" / "test_files" / file_name
    if not path.is_file():
        raise ImageError(f"{path}: not there; the demonstration needs the images of pydicom's wheel; reinstall it")
    return path


def _row(name: str, precision: str, source: Path, target: Path, threads: int | None, overwrite: bool) -> Row:
    command = [
        sys.executable,
        "-P",  # what lies in the current folder is not imported
        "-m",
        "lightsr.cli",
        str(source),
        str(target),
        "--precision",
        precision,
        "--json",
    ]
    command += ["--threads", str(threads)] if threads else []
    command += ["--force"] if overwrite else []
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    if finished.returncode:
        raise LightsrError(finished.stderr.strip().removeprefix("lightsr-infer: ") or f"{source}: failed")
    sys.stderr.write(finished.stderr)  # that another model had to be taken, say
    found = json.loads(finished.stdout)
    return Row(
        name,
        str(found["model"]).rpartition("-")[2],
        tuple(found["size_in"]),
        tuple(found["size_out"]),
        found["milliseconds"],
        found["peak_mib"],
        target,
    )


def comparison(image: Image, enlarged: NDArray[Any]) -> NDArray[np.uint8]:
    """Input, bicubic interpolation and result beside each other at one window, a detail below.

    Parameters
    ----------
    image : Image
        The source.
    enlarged : ndarray, shape (scale * h, scale * w[, 3]), any real dtype
        Its enlarged stored values.

    Returns
    -------
    ndarray, shape (rows, columns, 3), uint8
    """
    scale = enlarged.shape[0] // image.size[0]
    low, high = window(image)
    planes: dict[str, NDArray[Any]] = {
        "input": image.pixels.repeat(scale, 0).repeat(scale, 1),
        "bicubic": _bicubic(image, scale),
        f"lightsr x{scale}": enlarged,
    }
    inverted = image.photometric == "MONOCHROME1"
    shown = {name: shade(plane, low, high, inverted=inverted) for name, plane in planes.items()}
    top, left = (scale * start for start in busiest(image.plane(), DETAIL_PX))
    return side_by_side(shown, top, left, scale * DETAIL_PX)


def side_by_side(shown: Mapping[str, NDArray[np.uint8]], top: int, left: int, side: int) -> NDArray[np.uint8]:
    """Pictures of one size beside each other, and below them a detail of each, magnified.

    Parameters
    ----------
    shown : mapping of ndarray, shape (h, w, 3), uint8
        By caption. Large ones are shown reduced; their details are not.
    top, left, side : int
        The detail, pixels.

    Returns
    -------
    ndarray, shape (rows, columns, 3), uint8
    """
    whole = {name: _fit(picture) for name, picture in shown.items()}
    width = next(iter(whole.values())).shape[1]
    detail = {f"{name}, detail": picture[top : top + side, left : left + side] for name, picture in shown.items()}
    detail = {name: _magnify(picture, max(1, width // picture.shape[1])) for name, picture in detail.items()}
    return np.concatenate([_strip(whole, width), _strip(detail, width)])


def _fit(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Magnified to `MIN_PANEL_PX` or more, or, from twice that on, reduced by the mean of pixels."""
    side = min(picture.shape[:2])
    factor = side // MIN_PANEL_PX
    if factor < 2:
        return _magnify(picture, -(-MIN_PANEL_PX // side))
    rows, columns = (n // factor for n in picture.shape[:2])
    blocks = picture[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor, 3)
    reduced: NDArray[np.uint8] = np.rint(blocks.mean(axis=(1, 3))).astype(np.uint8)
    return reduced


def window(image: Image) -> tuple[float, float]:
    """Stored values shown black and white: the header's window (PS3.3 C.11.2.1.2), else the middle 99 % of them."""
    if image.photometric == "RGB":
        return 0.0, 255.0
    header = image.header
    centre, width = (_first(header, name) for name in ("WindowCenter", "WindowWidth"))
    if centre is not None and width is not None and width > 1:
        slope, intercept = _first(header, "RescaleSlope") or 1.0, _first(header, "RescaleIntercept") or 0.0
        return (centre - width / 2 - intercept) / slope, (centre + width / 2 - intercept) / slope
    low, high = np.percentile(image.plane(), (0.5, 99.5))
    return float(low), float(high)


def _first(header: Any, name: str) -> float | None:
    value = getattr(header, name, None)
    if value is None or value == "":
        return None
    return float(value[0]) if hasattr(value, "__len__") and not isinstance(value, str) else float(value)


def _bicubic(image: Image, scale: int) -> NDArray[Any]:
    if image.photometric != "RGB":
        return interpolate(image.filled(), scale)
    return np.stack([interpolate(image.pixels[..., channel], scale) for channel in range(3)], axis=-1)


def shade(plane: NDArray[Any], low: float, high: float, *, inverted: bool = False) -> NDArray[np.uint8]:
    """Map [low, high] to 0..255, or to 255..0 if `inverted`.

    Parameters
    ----------
    plane : ndarray, shape (h, w) or (h, w, 3), any real dtype
    low, high : float
    inverted : bool

    Returns
    -------
    ndarray, shape (h, w, 3), uint8
    """
    share = np.clip((plane.astype(np.float64) - low) / max(high - low, 1e-9), 0.0, 1.0)
    levels = np.rint(255 * (1 - share if inverted else share)).astype(np.uint8)
    return levels if levels.ndim == 3 else levels[..., None].repeat(3, -1)


def busiest(plane: NDArray[Any], side: int) -> tuple[int, int]:
    """Top left corner of the `side` x `side` part, away from the border, that holds the most structure.

    The plane has shape (h, w) and any real dtype; the corner is a row and a column. Steps count alike above
    a middling height, so that many fine ones win over a few bright letters; captions at the picture's
    border do not count at all.
    """
    steps = np.abs(np.diff(plane.astype(np.float64), axis=0))
    steps = np.minimum(steps, np.percentile(steps, 90))
    margins = [max(0, min(n // 5, (n - side) // 2)) for n in plane.shape]
    corners = [
        (steps[top : top + side, left : left + side].sum(), top, left)
        for top in range(margins[0], max(margins[0], plane.shape[0] - margins[0] - side) + 1, side // 8)
        for left in range(margins[1], max(margins[1], plane.shape[1] - margins[1] - side) + 1, side // 8)
    ]
    _, top, left = max(corners)
    return top, left


def _magnify(picture: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    return picture.repeat(factor, 0).repeat(factor, 1)


def _strip(panels: dict[str, NDArray[np.uint8]], width: int) -> NDArray[np.uint8]:
    """Panels in columns of `width` pixels, each under its caption."""
    from PIL import Image as PillowImage
    from PIL import ImageDraw

    height = max(panel.shape[0] for panel in panels.values())
    strip = PillowImage.new("RGB", (len(panels) * (width + GAP_PX) + GAP_PX, CAPTION_PX + height + GAP_PX), "black")
    draw = ImageDraw.Draw(strip)
    for column, (name, panel) in enumerate(panels.items()):
        left = GAP_PX + column * (width + GAP_PX)
        draw.text((left, 5), name, fill="white", font_size=16)
        strip.paste(PillowImage.fromarray(panel), (left, CAPTION_PX))
    return np.asarray(strip)
