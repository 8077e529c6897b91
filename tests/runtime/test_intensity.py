import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from lightsr.errors import ImageError
from lightsr.intensity import IntensityMap


@pytest.mark.parametrize("size", [(1, 1), (2, 4), (3, 3), (40, 50)])
def test_intensity_maps_leave_few_pixels_aside(size: tuple[int, int]) -> None:
    picture = np.arange(size[0] * size[1], dtype=np.int16).reshape(size)[::-1]
    mapping = IntensityMap.of(picture)
    aside = 4 if picture.size > 8 else 0
    top = picture.size - 1
    expected = (float(aside), float(top - 2 * aside)) if top > 2 * aside else (0.0, float(top or 1))
    assert (mapping.offset, mapping.span) == expected


def test_intensity_maps_are_never_degenerate() -> None:
    assert IntensityMap.of(np.full((9, 9), 7, np.uint8)) == IntensityMap(7.0, 1.0)
    single = np.zeros((40, 40), np.int16)
    single[3, 3] = 1000  # all that there is to see
    assert IntensityMap.of(single) == IntensityMap(0.0, 1000.0)


@given(
    levels=st.lists(st.integers(0, 9), min_size=2, max_size=30),
    cut=st.integers(1, 29),
)
def test_one_map_for_several_pictures_is_that_of_all_their_pixels(levels: list[int], cut: int) -> None:
    pixels = np.array([levels], np.int16)
    cut = min(cut, pixels.size - 1)
    assert IntensityMap.over([pixels[:, :cut], pixels[:, cut:]]) == IntensityMap.of(pixels)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_refused(value: float) -> None:
    picture = np.zeros((40, 40), np.float32)
    picture[30, 5] = value
    with pytest.raises(ImageError, match="NaN or infinity"):
        IntensityMap.over(picture[row : row + 7] for row in range(0, 40, 7))


def test_no_pixels_are_refused() -> None:
    with pytest.raises(ImageError, match="no pixels"):
        IntensityMap.over([np.empty((0, 9), np.uint8)])


@pytest.mark.parametrize("values", [(0.0, 0.0), (0.0, -1.0), (np.nan, 1.0), (0.0, np.inf)])
def test_a_map_without_range_is_refused(values: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="span above 0"):
        IntensityMap(*values)
