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
        As `located`; the caller knows the file.
    """
    return tuple(located(item, size) for item in header.get("SequenceOfUltrasoundRegions") or [])


def located(item: Any, size: tuple[int, int]) -> Region:
    """One item of Sequence of Ultrasound Regions, cut at the picture's last row and column.

    Some scanners write the count of columns for the last one; a region may therefore end
    behind the picture. It may not begin there.

    Parameters
    ----------
    item : pydicom.Dataset
    size : (int, int)
        Rows and columns of the picture.

    Returns
    -------
    Region

    Raises
    ------
    ImageError
        A corner is missing or negative, the corners are in the wrong order, or nothing
        of the region lies inside the picture; the caller knows the file.
    """
    corners = [item.get(name) for name in CORNERS]
    if not all(isinstance(corner, int) for corner in corners):
        raise ImageError("has an ultrasound region without its corners; four whole numbers are needed; mend it first")
    left, top, right, bottom = corners
    rows, columns = size
    if not (0 <= left <= right and 0 <= top <= bottom and left < columns and top < rows):
        raise ImageError(
            f"has an ultrasound region from column {left} to {right} and row {top} to {bottom} of a picture of "
            f"{columns}x{rows}; one that begins inside it and ends no earlier is allowed; mend it first"
        )
    return Region(top, left, min(bottom, rows - 1) - top + 1, min(right, columns - 1) - left + 1)


def outside(regions: tuple[Region, ...], size: tuple[int, int], scale: int) -> NDArray[np.bool_]:
    """Which pixels of an enlarged picture lie in none of its regions.

    Parameters
    ----------
    regions : tuple of Region
        In pixels of the picture as it was.
    size : (int, int)
        Rows and columns of the picture as it was.
    scale : int

    Returns
    -------
    ndarray of bool, shape (scale * rows, scale * columns)

    >>> outside((Region(0, 1, 1, 2),), (2, 3), 1)
    array([[ True, False, False],
           [ True,  True,  True]])
    """
    mask = np.ones((scale * size[0], scale * size[1]), dtype=np.bool_)
    for region in regions:
        rows = slice(scale * region.top, scale * (region.top + region.rows))
        mask[rows, scale * region.left : scale * (region.left + region.columns)] = False
    return mask
