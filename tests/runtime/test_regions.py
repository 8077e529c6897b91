from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightsr import files, geometry, regions
from lightsr.errors import ImageError
from lightsr.regions import Region
from pydicom.dataset import Dataset

from .dicom_files import a_dataset, a_region

SIZE = (60, 80)


def stated(*items: Dataset) -> Dataset:
    return a_dataset(np.zeros(SIZE, np.uint8), SequenceOfUltrasoundRegions=list(items))


def test_corners_are_offsets_and_included() -> None:
    assert regions.of(stated(a_region(10, 20, 39, 49)), SIZE) == (Region(20, 10, 30, 30),)
    assert regions.of(stated(a_region(0, 0, 79, 59), a_region(7, 8, 7, 8)), SIZE) == (
        Region(0, 0, 60, 80),
        Region(8, 7, 1, 1),
    )
    assert regions.of(stated(), SIZE) == ()
    assert regions.of(a_dataset(), SIZE) == ()


def test_a_region_ends_with_its_picture() -> None:
    assert regions.of(stated(a_region(0, 0, 80, 60)), SIZE) == (Region(0, 0, 60, 80),)
    assert regions.of(stated(a_region(79, 59, 5000, 5000)), SIZE) == (Region(59, 79, 1, 1),)


@pytest.mark.parametrize(
    "corners", [(40, 0, 39, 9), (0, 10, 9, 9), (90, 0, 85, 9), (-1, 0, 9, 9), (0, -1, 9, 9), (-9, 0, -5, 9)]
)
def test_corners_that_cannot_be_are_refused(corners: tuple[int, int, int, int]) -> None:
    item = a_region(*corners)
    with pytest.raises(ImageError, match=f"from column {corners[0]} to {corners[2]} and row"):
        regions.located(item, SIZE)
    dataset = stated(item)
    dataset.Rows, dataset.Columns = 120, 160
    with pytest.raises(ImageError):
        geometry.enlarge(dataset, 2)


@pytest.mark.parametrize("corners", [(80, 0, 90, 9), (0, 60, 9, 70)])
def test_a_region_outside_the_picture_stays_there(corners: tuple[int, int, int, int]) -> None:
    """As the strip of an ECG that was cropped away; if all are, it is another picture that they are about."""
    dataset = stated(a_region(*corners), a_region(0, 0, 9, 9))
    assert regions.of(dataset, SIZE) == (Region(0, 0, 10, 10),)
    with pytest.raises(ImageError, match="none of its 1 ultrasound regions lies inside the picture of 80x60"):
        regions.of(stated(a_region(*corners)), SIZE)
    dataset.Rows, dataset.Columns = 120, 160
    geometry.enlarge(dataset, 2)
    assert regions.of(dataset, (120, 160)) == (Region(0, 0, 20, 20),)
    first = [dataset.SequenceOfUltrasoundRegions[0][name].value for name in regions.CORNERS]
    assert first == [2 * corners[0], 2 * corners[1], 2 * corners[2] + 1, 2 * corners[3] + 1]


def test_a_real_file_with_a_region_that_was_cropped_away(samples: Path) -> None:
    image = files.read(samples / "examples_palette.dcm")
    assert image.size == (350, 800)
    assert image.regions == (Region(60, 120, 290, 680),)


@pytest.mark.parametrize("value", [None, [1, 2], 3.5, "SECRET"])
@pytest.mark.parametrize("name", regions.CORNERS)
def test_corners_that_are_no_numbers_are_refused(name: str, value: Any) -> None:
    item: dict[str, Any] = dict.fromkeys(regions.CORNERS, 5) | {name: value}
    with pytest.raises(ImageError, match="without its corners") as caught:
        regions.located(item, SIZE)
    assert "SECRET" not in str(caught.value)


@given(st.integers(0, 79), st.integers(0, 59), st.integers(0, 99), st.integers(0, 99), st.sampled_from([2, 3, 4, 8]))
def test_the_enlarged_data_set_states_what_is_enlarged(
    left: int, top: int, width: int, height: int, scale: int
) -> None:
    """Where the network's result stands is where the result's own header has its region."""
    dataset = stated(a_region(left, top, left + width, top + height))
    before = regions.outside(regions.of(dataset, SIZE), SIZE, scale)
    dataset.Rows, dataset.Columns = scale * SIZE[0], scale * SIZE[1]
    geometry.enlarge(dataset, scale)
    size = (dataset.Rows, dataset.Columns)
    after = regions.outside(regions.of(dataset, size), size, 1)
    assert np.array_equal(before, after)
    assert dataset.SequenceOfUltrasoundRegions[0].RegionLocationMaxX1 < dataset.Columns


@given(
    st.tuples(*[st.floats(0, 1)] * 4),
    st.tuples(st.integers(-40, 90), st.integers(-40, 90)),
    st.sampled_from([2, 3, 4, 8]),
)
def test_what_is_measured_stays(places: tuple[float, ...], reference: tuple[int, int], scale: int) -> None:
    """Distances, and distances from the reference pixel, by the result's own calibration (C.8.5.5.1.16 and 17)."""
    item = a_region(10, 20, 39, 49, ReferencePixelX0=reference[0], ReferencePixelY0=reference[1])
    dataset = stated(item)
    first, second = (
        np.array(places[:2]) * 29,
        np.array(places[2:]) * 29,
    )  # x and y in the source, from the region's corner

    def physical(point: np.ndarray) -> np.ndarray:
        origin = np.array([item.ReferencePixelX0, item.ReferencePixelY0])
        return (point - origin) * np.array([item.PhysicalDeltaX, item.PhysicalDeltaY])

    before = [physical(first), physical(second)]
    dataset.Rows, dataset.Columns = scale * SIZE[0], scale * SIZE[1]
    geometry.enlarge(dataset, scale)
    after = [physical(scale * point + (scale - 1) / 2) for point in (first, second)]
    half = np.abs([item.PhysicalDeltaX, item.PhysicalDeltaY]) / 2 + 1e-9
    assert np.abs((after[0] - after[1]) - (before[0] - before[1])).max() < 1e-9
    for found, expected in zip(after, before, strict=True):
        assert (np.abs(found - expected) <= half).all()
