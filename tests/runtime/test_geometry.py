from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightsr import geometry
from lightsr.errors import ImageError
from pydicom.dataset import Dataset

from .dicom_files import a_dataset

angles = st.floats(-np.pi, np.pi)
lengths = st.floats(0.05, 5)


def rotation(a: float, b: float, c: float) -> np.ndarray:
    def about(axis: int, angle: float) -> np.ndarray:
        turned = np.eye(3)
        i, j = [k for k in range(3) if k != axis]
        turned[i, i] = turned[j, j] = np.cos(angle)
        turned[i, j], turned[j, i] = -np.sin(angle), np.sin(angle)
        return turned

    return about(0, a) @ about(1, b) @ about(2, c)


def corners(dataset: Any) -> np.ndarray:
    """Outer corners of the field of view in patient coordinates, by PS3.3 C.7.6.2.1.1."""
    position = np.array(dataset.ImagePositionPatient, float)
    along_row, along_column = np.array(dataset.ImageOrientationPatient, float).reshape(2, 3)
    between_rows, between_columns = map(float, dataset.PixelSpacing)
    return np.array(
        [
            position + along_row * between_columns * column + along_column * between_rows * row
            for row in (-0.5, dataset.Rows - 0.5)
            for column in (-0.5, dataset.Columns - 0.5)
        ]
    )


@settings(max_examples=60, deadline=None)
@given(angles, angles, angles, lengths, lengths, st.tuples(*[st.floats(-900, 900)] * 3), st.sampled_from([2, 3, 4, 8]))
def test_the_field_of_view_stays_where_it_is(
    a: float, b: float, c: float, rows: float, columns: float, position: tuple[float, ...], scale: int
) -> None:
    axes = rotation(a, b, c)
    dataset = a_dataset(
        ImagePositionPatient=[f"{v:.10g}"[:16] for v in position],
        ImageOrientationPatient=[f"{v:.8f}" for v in (*axes[:, 0], *axes[:, 1])],
        PixelSpacing=[f"{rows:.8g}", f"{columns:.8g}"],
    )
    before = corners(dataset)
    dataset.Rows, dataset.Columns = scale * dataset.Rows, scale * dataset.Columns
    geometry.enlarge(dataset, scale)
    # A decimal string of 16 characters holds a coordinate below 1000 mm to 1e-9 and a spacing to 1e-10.
    assert corners(dataset) == pytest.approx(before, abs=1e-6)
    for name in ("ImagePositionPatient", "PixelSpacing"):
        assert all(len(str(value)) <= 16 for value in dataset[name].value)


def test_known_position() -> None:
    dataset = a_dataset()
    geometry.enlarge(dataset, 2)
    assert list(map(float, dataset.PixelSpacing)) == [0.4, 0.55]
    assert list(map(float, dataset.ImagePositionPatient)) == pytest.approx([10 - 1.1 / 4, 20 - 0.8 / 4, 30])
    assert float(dataset.SliceThickness) == 5


def test_every_spacing_that_is_there_is_divided_and_none_is_added() -> None:
    dataset = a_dataset(ImagerPixelSpacing=[0.2, 0.3], NominalScannedPixelSpacing=[0.6, 0.9])
    geometry.enlarge(dataset, 3)
    assert list(map(float, dataset.ImagerPixelSpacing)) == pytest.approx([0.2 / 3, 0.1])
    assert list(map(float, dataset.NominalScannedPixelSpacing)) == pytest.approx([0.2, 0.3])
    bare = a_dataset(PixelSpacing=None, ImagePositionPatient=None, ImageOrientationPatient=None)
    geometry.enlarge(bare, 2)
    assert not {"PixelSpacing", "ImagePositionPatient", "ImagerPixelSpacing"} & set(bare.dir())


@pytest.mark.parametrize(
    "changes",
    [
        {"PixelSpacing": [0.8]},
        {"PixelSpacing": [0.8, 0]},
        {"PixelSpacing": [0.8, -1]},
        {"PixelSpacing": None},
        {"ImageOrientationPatient": None},
        {"ImageOrientationPatient": [1, 0, 0]},
        {"ImagePositionPatient": [1, 2]},
    ],
)
def test_geometry_that_cannot_be_is_refused(changes: dict[str, Any]) -> None:
    with pytest.raises(ImageError):
        geometry.enlarge(a_dataset(**changes), 2)


def region(**values: int | float) -> Dataset:
    item = Dataset()
    item.RegionLocationMinX0, item.RegionLocationMinY0 = 10, 20
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = 39, 49
    item.PhysicalDeltaX, item.PhysicalDeltaY = 0.01, -0.02
    item.ReferencePixelX0, item.ReferencePixelY0 = 5, -3
    for name, value in values.items():
        setattr(item, name, value)
    return item


def test_ultrasound_regions_keep_their_place_and_their_distances() -> None:
    dataset = a_dataset(
        np.zeros((60, 80), np.uint8), SequenceOfUltrasoundRegions=[region(DopplerSampleVolumeXPosition=4)]
    )
    dataset.Rows, dataset.Columns = 120, 160
    geometry.enlarge(dataset, 2)
    (found,) = dataset.SequenceOfUltrasoundRegions
    assert (found.RegionLocationMinX0, found.RegionLocationMinY0) == (20, 40)
    assert (found.RegionLocationMaxX1, found.RegionLocationMaxY1) == (79, 99)
    assert (found.PhysicalDeltaX, found.PhysicalDeltaY) == (0.005, -0.01)
    width_before, width_after = (39 - 10 + 1) * 0.01, (79 - 20 + 1) * found.PhysicalDeltaX
    assert width_after == pytest.approx(width_before)
    assert abs(found.ReferencePixelX0 - (2 * 5 + 0.5)) <= 0.5
    assert found.DopplerSampleVolumeXPosition == 8


def test_a_region_that_counts_its_last_column_stays_inside() -> None:
    dataset = a_dataset(np.zeros((60, 80), np.uint8), SequenceOfUltrasoundRegions=[region(RegionLocationMaxX1=80)])
    dataset.Rows, dataset.Columns = 120, 160
    geometry.enlarge(dataset, 2)
    assert dataset.SequenceOfUltrasoundRegions[0].RegionLocationMaxX1 == 159
    del dataset.SequenceOfUltrasoundRegions[0].RegionLocationMaxX1
    with pytest.raises(ImageError, match="corners"):
        geometry.enlarge(dataset, 2)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_shutters_cover_the_same_ground(scale: int) -> None:
    edges = {"Left": (3, False), "Right": (6, True), "Upper": (1, False), "Lower": (4, True)}
    names = {edge: f"Shutter{edge}{'Vertical' if edge in ('Left', 'Right') else 'Horizontal'}Edge" for edge in edges}
    points = {"CenterOfCircularShutter": [2, 3], "VerticesOfThePolygonalShutter": [1, 1, 1, 6, 4, 3]}
    stated = {names[edge]: value for edge, (value, _) in edges.items()}
    dataset = a_dataset(ShutterShape="RECTANGULAR", RadiusOfCircularShutter=2, **stated, **points)
    geometry.enlarge(dataset, scale)
    for edge, (
        value,
        far,
    ) in edges.items():  # 1-based pixels: a near edge begins with its pixel, a far one ends with it
        assert dataset[names[edge]].value == (scale * value if far else scale * (value - 1) + 1)
    assert dataset.RadiusOfCircularShutter == 2 * scale
    for name, before in points.items():
        for found, source in zip(dataset[name].value, before, strict=True):
            assert abs((found - 0.5) / scale - (source - 0.5)) <= 0.5 / scale


def test_curves_icons_and_extremes_go(samples: Path) -> None:
    dataset = pydicom.dcmread(samples / "examples_overlay.dcm")
    dataset.add_new(0x50000005, "US", 2)
    dataset.SmallestImagePixelValue = 3
    dataset.IconImageSequence = [Dataset()]
    geometry.enlarge(dataset, 2)
    assert not any(element.tag.group == 0x5000 for element in dataset)
    assert "SmallestImagePixelValue" not in dataset
    assert "IconImageSequence" not in dataset
