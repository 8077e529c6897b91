from pathlib import Path

import lightsr
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightsr.errors import ImageError
from lightsr.resample import interpolate
from lightsr.upscaler import IntensityMap

DTYPES = ("uint8", "int8", "uint16", "int16", "float32")


@pytest.fixture(scope="module")
def fp32() -> lightsr.Upscaler:
    return lightsr.load("tiny", scale=2, precision="fp32", threads=1)


@pytest.fixture(scope="module")
def int8() -> lightsr.Upscaler:
    return lightsr.load("tiny", scale=2, precision="int8", threads=1)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_same_dtype_twice_the_size(
    dtype: str, precision: str, picture: np.ndarray, request: pytest.FixtureRequest
) -> None:
    upscaler = request.getfixturevalue(precision)
    image = (picture // 8).astype(dtype)
    result = upscaler(image)
    assert result.dtype == image.dtype
    assert result.shape == (90, 140)
    assert abs(float(result.mean()) - float(image.mean())) < 2
    assert np.abs(result[::2, ::2].astype(float) - image).mean() < 15


@pytest.mark.parametrize("tile", [16, 17, 30, 48, 1000])
def test_tiled_equals_whole_to_the_last_bit(tile: int, picture: np.ndarray, fp32: lightsr.Upscaler) -> None:
    image = picture.astype(np.float32)
    whole = lightsr.Upscaler(fp32.model, tile=4096)(image)
    assert np.array_equal(lightsr.Upscaler(fp32.model, tile=tile)(image), whole)


@settings(max_examples=12, deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.sampled_from([16, 22, 40]))
def test_tiled_equals_whole_for_any_size(fp32: lightsr.Upscaler, rows: int, columns: int, tile: int) -> None:
    image = np.random.default_rng(rows).normal(0, 900, (rows, columns)).astype(np.float32)
    whole = lightsr.Upscaler(fp32.model, tile=4096)(image)
    assert np.array_equal(lightsr.Upscaler(fp32.model, tile=tile)(image), whole)


def test_a_smaller_halo_shows(picture: np.ndarray, fp32: lightsr.Upscaler, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests above can fail: the card's halo is needed."""
    import dataclasses

    image = picture.astype(np.float32)
    whole = lightsr.Upscaler(fp32.model, tile=4096)(image)
    short = dataclasses.replace(fp32.card, halo_px=fp32.card.halo_px // 2 // 2 * 2)
    monkeypatch.setattr(fp32.model, "card", short)
    assert not np.array_equal(lightsr.Upscaler(fp32.model, tile=16)(image), whole)


@pytest.mark.parametrize(("factor", "offset"), [(0.1, -3.0), (1.0, 700.0), (9.0, -9000.0)])
def test_units_do_not_matter(factor: float, offset: float, picture: np.ndarray, fp32: lightsr.Upscaler) -> None:
    image = picture.astype(np.float32)
    expected = factor * fp32(image) + offset
    found = fp32((factor * image + offset).astype(np.float32))
    assert np.abs(found - expected).max() <= 1e-5 * max(factor * np.ptp(image), abs(offset))


def test_int8_maps_the_range_of_the_file_and_not_of_the_tile(picture: np.ndarray, int8: lightsr.Upscaler) -> None:
    image = picture.astype(np.float32)
    whole = lightsr.Upscaler(int8.model, tile=4096)(image)
    tiled = lightsr.Upscaler(int8.model, tile=16)(image)
    assert np.abs(tiled - whole).max() <= 0.01 * np.ptp(image)
    shifted = int8(image * np.float32(4) + np.float32(64))
    assert np.abs(shifted - (whole * 4 + 64)).max() <= 0.02 * np.ptp(image)


def test_one_map_for_a_cine(picture: np.ndarray, int8: lightsr.Upscaler) -> None:
    frame = picture.astype(np.float32)
    other = frame.copy()
    other[:4, :4] = 60_000
    fixed = IntensityMap(0.0, 60_000.0)
    far = (slice(60, None), slice(80, None))
    together = int8(frame, intensity=fixed)[far], int8(other, intensity=fixed)[far]
    assert np.array_equal(*together)
    assert not np.array_equal(int8(frame)[far], int8(other)[far])


def test_flat_pictures_stay_flat(fp32: lightsr.Upscaler, int8: lightsr.Upscaler) -> None:
    for upscaler in (fp32, int8):
        assert np.unique(upscaler(np.full((9, 5), 1234, np.uint16))).tolist() == [1234]


def test_results_are_clipped_to_the_dtype_or_narrower(fp32: lightsr.Upscaler) -> None:
    image = np.zeros((20, 20), np.uint8)
    image[8:12, 8:12] = 255
    assert fp32(image).max() == 255
    assert fp32(image.astype(np.int16)).max() > 255
    narrow = fp32(image.astype(np.int16), value_range=(0, 200))
    assert (narrow.min(), narrow.max()) == (0, 200)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((4, 4, 3), np.uint8), "shape"),
        (np.zeros((0, 4), np.uint8), "shape"),
        (np.zeros((4, 4), np.float64), "float64"),
        (np.zeros((4, 4), np.complex64), "complex64"),
        (np.full((4, 4), np.nan, np.float32), "NaN"),
        (np.full((4, 4), 2e30, np.float32), "beyond 1e\\+30"),
        (np.ma.masked_array(np.zeros((4, 4), np.uint8), np.eye(4)), "a masked array"),
        (np.full((4, 4), np.inf, np.float32), "infinity"),
    ],
)
def test_other_arrays_are_refused(image: np.ndarray, message: str, fp32: lightsr.Upscaler) -> None:
    with pytest.raises(ImageError, match=message):
        fp32(image)


def test_input_is_left_alone(picture: np.ndarray, int8: lightsr.Upscaler) -> None:
    before = picture.copy()
    int8(picture)
    int8(np.ascontiguousarray(picture[:, ::2]))
    assert np.array_equal(picture, before)


def test_int8_is_close_to_fp32(samples: Path, fp32: lightsr.Upscaler, int8: lightsr.Upscaler) -> None:
    image = pydicom.dcmread(samples / "examples_overlay.dcm").pixel_array.astype(np.float32)
    difference = fp32(image) - int8(image)
    assert 0 < np.sqrt(np.mean(difference**2)) < 0.002 * np.ptp(image)
    assert np.abs(difference).max() < 0.1 * np.ptp(image)


def test_int8_resolves_tissue_beside_a_wild_pixel_and_a_needle_in_the_dark(samples: Path) -> None:
    """What lies far out may be a defect, or what somebody looks for; neither may ruin the picture."""
    int8 = lightsr.load("tiny", scale=2, precision="int8", threads=1)
    fp32 = lightsr.load("tiny", scale=2, precision="fp32", threads=1)

    def lost(image: np.ndarray, part: tuple[slice, slice]) -> float:
        """Difference between int8 and fp32, as a share of what fp32 does beyond bicubic interpolation."""
        exact = fp32(image)[part].astype(float)
        error = int8(image)[part] - exact
        return float(np.sqrt(np.mean(error**2) / np.mean((interpolate(image, 2)[part] - exact) ** 2)))

    tissue = pydicom.dcmread(samples / "CT_small.dcm").pixel_array
    wild = tissue.copy()
    wild[5, 5] = 32_767
    far = np.s_[100:, 100:]  # farther from the pixel than the network sees
    assert lost(wild, far) < 1.2 * lost(tissue, far) < 0.4

    rows, columns = np.mgrid[:256, :256]
    dark = np.random.default_rng(0).integers(0, 2, (256, 256))
    needle = (rows - 128) ** 2 + (columns - 128) ** 2 < 36
    dark[needle] += (150 + 50 * np.sin(rows * 1.3) * np.cos(columns * 1.1))[needle].astype(int)
    assert lost(dark.astype(np.uint8), np.s_[234:280, 234:280]) < 0.55


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


@pytest.mark.parametrize("value_range", [(10, 5), (300, 400)])
def test_a_value_range_without_values_is_refused(value_range: tuple[int, int]) -> None:
    with pytest.raises(ImageError, match="value range"):
        lightsr.load("tiny", threads=1)(np.zeros((20, 20), np.uint8), value_range=value_range)
