"""Mean Hounsfield units of regions, as a physicist measures them."""

import itertools
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from lightsr.syntaxes import JPEG_EXTENDED, TRANSFER_SYNTAXES
from scipy import ndimage

from . import tools
from .enhanced import group

CT_IMAGES = frozenset(
    {"1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.2.1", "1.2.840.10008.5.1.4.1.1.2.2"}  # enhanced ones, too
)

TOLERANCE_HU = 0.5

GRID = 8
"""Regions are the blocks of a grid of so many rows and columns, or of fewer where they would become too small."""

MIN_REGION_PX = 32
"""Side of the smallest region.

Super-resolution moves intensity by a pixel or two across an edge. A region gains or
loses what crosses its border, and its mean changes by that in proportion to its
border's length over its area: by several HU in a region of 2 pixels, of which the
thumbnails among the files consist.
"""

MARGIN_PX = 8
"""Distance that a region keeps from padding and from either end of the range of values.

At an end the source itself is cut off (at the scanner's -1024 HU, or at a value that fills
the corners and that no attribute declares as padding), and so is the result: it has the
overshoot on one side of an edge without the undershoot on the other.
"""

LOSSY_ERROR = 8
"""Stored values by which lossy compression may have moved what stood at an end.

A corner filled with -2000 is then -2003 to -1997 and cut off all the same.
"""


@dataclass(frozen=True)
class Shifts:
    """Change of mean HU from source to result.

    Parameters
    ----------
    regions : ndarray, shape (n,)
        Of the blocks that are far enough from padding and the ends of the range.
    all_far : float or None
        Of all pixels that are far enough; None where there is none.
    everywhere : float
        Of all pixels but padding; for the report.
    """

    regions: np.ndarray
    all_far: float | None
    everywhere: float

    @property
    def largest(self) -> float:
        """Largest change among those that are judged, HU."""
        return max((abs(float(shift)) for shift in (*self.regions, self.all_far or 0.0)), default=0.0)


def is_ct(path: Path) -> bool:
    """Whether a file is a CT image."""
    return str(pydicom.dcmread(path, specific_tags=["SOPClassUID"], force=True).SOPClassUID) in CT_IMAGES


def shifts(source: Path, result: Path, scale: int) -> Shifts:
    """Compare a CT image with its result, both as pydicom reads them; regions are those of every frame."""
    before, after = _decodable(source), pydicom.dcmread(result)
    low, high = _hounsfield(before), _hounsfield(after)
    padding = _padding(before)
    lossy = _is_lossy(pydicom.dcmread(source, stop_before_pixels=True, force=True))
    reach = LOSSY_ERROR * abs(float(before.get("RescaleSlope", 1))) if lossy else 0.0
    cut = padding | (low <= low[~padding].min() + reach) | (low >= low[~padding].max() - reach)
    far = ~ndimage.binary_dilation(cut, np.ones((1, 2 * MARGIN_PX + 1, 2 * MARGIN_PX + 1)))

    def shift(where: np.ndarray, frame: slice | int = slice(None)) -> float:
        return float(high[frame][where.repeat(scale, -2).repeat(scale, -1)].mean() - low[frame][where].mean())

    frames, rows, columns = low.shape
    height, width = (max(size // GRID, MIN_REGION_PX) for size in (rows, columns))
    found = []
    for frame, row, column in itertools.product(range(frames), range(rows // height), range(columns // width)):
        block = np.zeros((rows, columns), dtype=bool)
        block[row * height : (row + 1) * height, column * width : (column + 1) * width] = True
        if far[frame][block].all():
            found.append(shift(block, frame))
    judged = bool(found) and far.any()
    return Shifts(np.array(found), shift(far) if judged else None, shift(~padding))


def _decodable(path: Path) -> Any:
    """A source, decoded by DCMTK where pydicom has no decoder: JPEG of 12 bits."""
    dataset = pydicom.dcmread(path, force=True)
    if dataset.file_meta.get("TransferSyntaxUID") != JPEG_EXTENDED or dataset.BitsStored == 8:
        return dataset
    with tempfile.TemporaryDirectory() as scratch:
        decoded = Path(scratch) / "decoded.dcm"
        status, said = tools.run("dcmdjpeg", path, decoded)
        assert status == 0, said
        return pydicom.dcmread(decoded)


def _is_lossy(dataset: Any) -> bool:
    """Whether a file's pixels were compressed with losses, now or ever (PS3.3 C.7.6.1.1.5)."""
    syntax = TRANSFER_SYNTAXES[str(dataset.file_meta.TransferSyntaxUID)]
    return bool(syntax.lossy) or str(dataset.get("LossyImageCompression", "")) == "01"


def _pixels(dataset: Any) -> np.ndarray:
    """Stored values: (frames, rows, columns)."""
    return dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)


def _hounsfield(dataset: Any) -> np.ndarray:
    values = _pixels(dataset).astype(np.float64)
    for index, frame in enumerate(values):  # of an enhanced image each frame may have its own (C.7.6.16.2.9)
        rescale = group(dataset, index, "PixelValueTransformationSequence") or dataset
        frame *= float(rescale.get("RescaleSlope", 1))
        frame += float(rescale.get("RescaleIntercept", 0))
    return values


def _padding(dataset: Any) -> np.ndarray:
    """Pixels between Pixel Padding Value and Pixel Padding Range Limit (PS3.3 C.7.5.1.1.2)."""
    pixels = _pixels(dataset)
    if dataset.get("PixelPaddingValue") is None:
        return np.zeros(pixels.shape, dtype=bool)
    ends = [int(dataset.get(name)) for name in ("PixelPaddingValue", "PixelPaddingRangeLimit") if name in dataset]
    # Some writers give them the other sign than the pixels.
    ends = [int(np.array(end & 0xFFFF, dtype=np.uint16).astype(pixels.dtype)) for end in ends]
    return (pixels >= min(ends)) & (pixels <= max(ends))
