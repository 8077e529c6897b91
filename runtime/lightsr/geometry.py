"""Where the pixels of an enlarged DICOM image lie: spacing, position, regions, overlays.

Everything here changes a pydicom data set in place; `lightsr.derive` hands over a copy.
Pixel coordinates of the standard are pixel centres: the enlarged picture covers the same
ground, so its first centre lies (1 - 1/scale) / 2 source pixels before the source's.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from lightsr import overlays, regions
from lightsr.errors import ImageError

SPACINGS = (
    "PixelSpacing",
    "ImagerPixelSpacing",
    "NominalScannedPixelSpacing",
    "ObjectPixelSpacingInCenterOfBeam",
)
"""Row and column spacing in mm, which must stay consistent with each other (PS3.3 10.7.1.1)."""

ENLARGED_EDGES = {
    "ShutterLeftVerticalEdge": False,
    "ShutterRightVerticalEdge": True,
    "ShutterUpperHorizontalEdge": False,
    "ShutterLowerHorizontalEdge": True,
    "CollimatorLeftVerticalEdge": False,
    "CollimatorRightVerticalEdge": True,
    "CollimatorUpperHorizontalEdge": False,
    "CollimatorLowerHorizontalEdge": True,
}
"""Rows and columns of shutter (C.7.6.11) and collimator (C.8.7.3); True for the far edge, 1-based."""

ENLARGED_POINTS = (
    "CenterOfCircularShutter",
    "VerticesOfThePolygonalShutter",
    "CenterOfCircularCollimator",
    "VerticesOfThePolygonalCollimator",
)
"""Pairs of row and column, 1-based."""

ENLARGED_LENGTHS = ("RadiusOfCircularShutter", "RadiusOfCircularCollimator")
"""Lengths in pixels."""

REGION_DISPLACEMENTS = (
    *("DopplerSampleVolumeXPosition", "DopplerSampleVolumeYPosition"),
    *("TMLinePositionX0", "TMLinePositionY0", "TMLinePositionX1", "TMLinePositionY1"),
)
"""Displacements from an ultrasound region's reference pixel, in pixels (C.8.5.5.1.17 ff.)."""

OVERLAY_REFERENCES = ("ShutterOverlayGroup", "ActiveImageAreaOverlayGroup")
"""Attributes that name the group of an overlay plane (C.7.6.15, C.8.5.5), and go with it."""

REMOVED = (
    *("IconImageSequence", "SmallestImagePixelValue", "LargestImagePixelValue"),
    *("SmallestPixelValueInSeries", "LargestPixelValueInSeries", "HistogramSequence"),
    *("MaskSubtractionSequence", "MaskSubPixelShift", "PixelIntensityRelationshipLUTSequence"),
    *("ExposedArea", "LocalizingCursorPosition", "CalculatedTargetPosition"),
    "BiopsyTargetSequence",
    *("PixelDataProviderURL", "ExtendedOffsetTable", "ExtendedOffsetTableLengths"),
    *("GraphicAnnotationSequence", "DisplayedAreaSelectionSequence"),
    *("PixelSpacingSequence", "FiducialsPropertyCategoryCodeSequence", "ReferencedImageBoxSequence"),
)
"""Attributes that would state a wrong picture or pixel coordinate and are not worth recomputing."""


def enlarge(dataset: Any, scale: int) -> None:
    """Make the geometry of a data set that of the picture enlarged by `scale`.

    Raises
    ------
    ImageError
        A spacing, position or region that cannot be what the standard says; the caller
        knows the file.
    """
    # The position needs the old spacing, so it comes first.
    _move_position(dataset, scale)
    for name in SPACINGS:
        values = _floats(dataset, name, 2)
        if values is not None:
            _set_decimals(dataset, name, [value / scale for value in values])
    for name, far in ENLARGED_EDGES.items():
        if dataset.get(name) not in (None, ""):
            setattr(dataset, name, _edge(int(dataset.get(name)), scale, far=far))
    for name in ENLARGED_POINTS:
        if dataset.get(name) not in (None, ""):
            centre = [round((int(value) - 0.5) * scale + 0.5) for value in dataset.get(name)]
            setattr(dataset, name, centre)
    for name in ENLARGED_LENGTHS:
        if dataset.get(name) not in (None, ""):
            setattr(dataset, name, int(dataset.get(name)) * scale)
    for region in dataset.get("SequenceOfUltrasoundRegions") or []:
        _enlarge_region(region, scale, int(dataset.Rows), int(dataset.Columns))
    for name in REMOVED:
        if name in dataset:
            delattr(dataset, name)
    for tag in [tag for tag in dataset.keys() if 0x5000 <= tag.group <= 0x501E]:  # noqa: SIM118 (curves: PS3.3-2004, C.10.2)
        del dataset[tag]
    overlays.enlarge(dataset, scale)
    for item in (dataset, *(dataset.get("SequenceOfUltrasoundRegions") or [])):
        for name in OVERLAY_REFERENCES:
            if name in item and (int(item.get(name) or 0) << 16 | overlays.DATA) not in dataset:
                delattr(item, name)


def _move_position(dataset: Any, scale: int) -> None:
    """Image Position (Patient) is the centre of the first pixel (C.7.6.2.1.1): move it half a pixel less."""
    place = plane(dataset, dataset, dataset)
    if place is not None:
        move(dataset, place, scale)


@dataclass(frozen=True)
class Plane:
    """Where a picture lies in the patient (C.7.6.2.1.1).

    Parameters
    ----------
    first : (float, float, float)
        Centre of the first pixel, mm.
    orientation : tuple of 6 float
        Direction along a row, then along a column.
    spacing : (float, float)
        Between rows, then between columns, mm.
    """

    first: tuple[float, ...]
    orientation: tuple[float, ...]
    spacing: tuple[float, ...]

    def position(self, scale: int) -> list[float]:
        """Centre of the first pixel of the picture enlarged by `scale`, mm.

        >>> Plane((0, 0, 0), (1, 0, 0, 0, 1, 0), (2, 4)).position(2)
        [-1.0, -0.5, 0.0]
        """
        row_spacing, column_spacing = self.spacing
        along_row, along_column = np.array(self.orientation[:3]), np.array(self.orientation[3:])
        shift = (1 / scale - 1) / 2
        moved = np.array(self.first) + shift * (along_row * column_spacing + along_column * row_spacing)
        return [float(value) for value in moved]


def plane(position: Any, orientation: Any, measures: Any) -> Plane | None:
    """Plane that data sets state, each of which may be None; the same one where they are of a single image.

    Raises
    ------
    ImageError
        A position without the rest, or numbers that cannot be what the standard says; the
        caller knows the file.
    """
    first = _floats(position, "ImagePositionPatient", 3)
    directions = _floats(orientation, "ImageOrientationPatient", 6)
    spacing = _floats(measures, "PixelSpacing", 2)
    if first is None:
        return None
    if directions is None or spacing is None:
        raise ImageError("has a position without orientation or pixel spacing; all three or none are needed")
    return Plane(tuple(first), tuple(directions), tuple(spacing))


def move(item: Any, place: Plane, scale: int) -> None:
    """Put the position of the enlarged picture into a data set that states one."""
    _set_decimals(item, "ImagePositionPatient", place.position(scale))


def _edge(value: int, scale: int, *, far: bool) -> int:
    """A 1-based pixel as a near or far edge."""
    return (value - 1) * scale + (scale if far else 1)


def _enlarge_region(region: Any, scale: int, rows: int, columns: int) -> None:
    """One ultrasound region (C.8.5.5): 0-based corners, both included; deltas keep their sign."""
    found = regions.located(region, (rows // scale, columns // scale))
    left, top, right, bottom = (int(region.get(name)) for name in regions.CORNERS)
    if found is not None:  # else it stays outside
        right, bottom = found.left + found.columns - 1, found.top + found.rows - 1
    region.RegionLocationMinX0, region.RegionLocationMinY0 = scale * left, scale * top
    region.RegionLocationMaxX1, region.RegionLocationMaxY1 = scale * (right + 1) - 1, scale * (bottom + 1) - 1
    for name in ("PhysicalDeltaX", "PhysicalDeltaY"):
        if region.get(name) is not None:
            setattr(region, name, float(region.get(name)) / scale)
    for name in ("ReferencePixelX0", "ReferencePixelY0"):
        if region.get(name) is not None:
            setattr(region, name, round(scale * int(region.get(name)) + (scale - 1) / 2))
    for name in REGION_DISPLACEMENTS:
        for spelling in (name, f"{name}Retired"):
            if region.get(spelling) is not None:
                setattr(region, spelling, scale * int(region.get(spelling)))


def _floats(dataset: Any, name: str, count: int) -> list[float] | None:
    value = None if dataset is None else dataset.get(name)
    if value is None or value == "":
        return None
    try:
        numbers = [float(item) for item in value]
    except (TypeError, ValueError):
        numbers = []
    positive = name not in SPACINGS or all(number > 0 for number in numbers)
    if len(numbers) != count or not np.isfinite(numbers).all() or not positive:
        raise ImageError(f"its {name} is not {count} {'positive ' if name in SPACINGS else ''}numbers")
    return numbers


def _set_decimals(dataset: Any, name: str, values: list[float]) -> None:
    """Decimal strings hold 16 characters (PS3.5, 6.2); pydicom would write more."""
    from pydicom.valuerep import DSfloat

    setattr(dataset, name, [DSfloat(value, auto_format=True) for value in values])
