"""Regions of an ultrasound picture: where it shows the patient and not the scanner's own texts and scales.

Clauses are of PS3.3 of the DICOM standard.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightsr.errors import ImageError

CORNERS = ("RegionLocationMinX0", "RegionLocationMinY0", "RegionLocationMaxX1", "RegionLocationMaxY1")
"""Left, top, right and bottom of a region: offsets from 0, both ends included (C.8.5.5.1.14)."""


MAX_REGIONS = 256
"""Regions above which a file is refused: scanners state a handful, and each is drawn in every frame."""


@dataclass(frozen=True)
class Region:
    """A rectangle of a picture, which lies inside it.

    Parameters
    ----------
    top, left : int
        First row and column, counted from 0, in pixels.
    rows, columns : int
        Size in pixels, at least 1.
    """

    top: int
    left: int
    rows: int
    columns: int


def of(header: Any, size: tuple[int, int]) -> tuple[Region, ...]:
    """Regions that a data set states (C.8.5.5).

    Parameters
    ----------
    header : pydicom.Dataset
    size : (int, int)
        Rows and columns of the picture.

    Returns
    -------
    tuple of Region
        Empty where none is stated.

    Raises
    ------
    ImageError
        As `located`, or none of those that are stated lies inside the picture; the caller
        knows the file.
    """
    items = header.get("SequenceOfUltrasoundRegions") or []
    if len(items) > MAX_REGIONS:
        raise ImageError(
            f"{len(items)} ultrasound regions; at most {MAX_REGIONS} regions are allowed; remove them first"
        )
    found = [located(item, size) for item in items]
    inside = tuple(region for region in found if region is not None)
    if found and not inside:
        raise ImageError(
            f"none of its {len(found)} ultrasound regions lies inside the picture of {size[1]}x{size[0]}; at least one "
            "must; mend or remove them first"
        )
    return inside


def located(item: Any, size: tuple[int, int]) -> Region | None:
    """One item of Sequence of Ultrasound Regions, cut at the picture's last row and column.

    Some scanners write the count of columns for the last one, and cropped pictures still
    state the regions of the whole screen.

    Parameters
    ----------
    item : pydicom.Dataset
    size : (int, int)
        Rows and columns of the picture.

    Returns
    -------
    Region or None
        None where nothing of it lies inside the picture.

    Raises
    ------
    ImageError
        A corner is missing or negative, or they are in the wrong order; the caller knows
        the file.
    """
    corners = [item.get(name) for name in CORNERS]
    if not all(isinstance(corner, int) for corner in corners):
        raise ImageError("has an ultrasound region without its corners; four whole numbers are needed; mend it first")
    left, top, right, bottom = corners
    rows, columns = size
    if not (0 <= left <= right and 0 <= top <= bottom):
        raise ImageError(
            f"has an ultrasound region from column {left} to {right} and row {top} to {bottom}; the first from 0 on, "
            "the last no less is allowed; mend it first"
        )
    if left >= columns or top >= rows:
        return None
    return Region(top, left, min(bottom, rows - 1) - top + 1, min(right, columns - 1) - left + 1)


def outside(regions: tuple[Region, ...], size: tuple[int, int], scale: int, *, top: int = 0) -> NDArray[np.bool_]:
    """Which pixels of an enlarged picture, or of some of its rows, lie in none of its regions.

    Parameters
    ----------
    regions : tuple of Region
        In pixels of the picture as it was.
    size : (int, int)
        Rows and columns of the picture as it was, or of the part.
    scale : int
    top : int
        Row of the picture that is the part's first.

    Returns
    -------
    ndarray of bool, shape (scale * rows, scale * columns)

    >>> outside((Region(0, 1, 1, 2),), (2, 3), 1)
    array([[ True, False, False],
           [ True,  True,  True]])
    """
    mask = np.ones((scale * size[0], scale * size[1]), dtype=np.bool_)
    for region in regions:
        first, last = region.top - top, region.top + region.rows - top
        rows = slice(scale * max(first, 0), scale * max(last, 0))
        mask[rows, scale * region.left : scale * (region.left + region.columns)] = False
    return mask
