from collections.abc import Iterator
from typing import Any

import lightsr
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightsr import bands
from lightsr.errors import ImageError
from lightsr.image import luminance
from lightsr.intensity import IntensityMap

MODELS = {
    "fp32": lightsr.load("tiny", scale=2, precision="fp32", threads=1).model,
    "int8": lightsr.load("tiny", scale=2, precision="int8", threads=1).model,
    "x4": lightsr.load("tiny", scale=4, precision="int8", threads=1).model,
}


def in_pieces(image: np.ndarray, sizes: list[int]) -> Iterator[np.ndarray]:
    """Rows of an image, as many at a time as `sizes` says in turn, some none at all."""
    top = i = 0
    while top < len(image):
        yield image[top : top + sizes[i % len(sizes)]]
        top += sizes[i % len(sizes)]
        i += 1


@st.composite
def images(draw: st.DrawFn) -> np.ndarray:
    rows, columns = draw(st.integers(1, 130)), draw(st.integers(1, 50))
    shape = (rows, columns, 3) if draw(st.booleans()) else (rows, columns)
    dtype = np.dtype(draw(st.sampled_from(["u1", "i1", "<u2", ">i2", "<f4"])))
    return np.random.default_rng(rows).integers(-100, 120, shape).astype(dtype)


@settings(max_examples=60, deadline=None)
@given(
    image=images(),
    model=st.sampled_from(sorted(MODELS)),
    tile=st.integers(16, 70),
    sizes=st.lists(st.integers(0, 90), min_size=1, max_size=5).filter(any),
)
def test_bands_are_the_whole_picture(image: np.ndarray, model: str, tile: int, sizes: list[int]) -> None:
    """In every way to hand over rows, to the last bit, and with the same number of clipped pixels."""
    upscaler = lightsr.Upscaler(MODELS[model], tile=tile)
    whole_tally, tally, other = lightsr.Tally(), lightsr.Tally(), lightsr.Tally()
    whole = upscaler(image, value_range=(-90, 100), tally=whole_tally)
    given_rows = list(upscaler.bands(image, value_range=(-90, 100), tally=tally))
    assert np.array_equal(np.concatenate(given_rows), whole)
    grey = luminance(image) if image.ndim == 3 else image
    found = list(
        upscaler.bands(
            in_pieces(image, sizes),
            rows=len(image),
            value_range=(-90, 100),
            intensity=IntensityMap.of(grey),
            tally=other,
        )
    )
    assert np.array_equal(np.concatenate(found), whole)
    assert found[0].dtype == image.dtype
    assert whole_tally == tally == other
    plan = upscaler.plan(image.shape, image.dtype)
    assert [len(band) for band in found[:-1]] == [upscaler.scale * plan.core_rows] * (len(found) - 1)


@settings(max_examples=30, deadline=None)
@given(rows=st.integers(1, 130), tile=st.integers(16, 50), step=st.integers(1, 60))
def test_fp32_needs_no_number_of_rows(rows: int, tile: int, step: int) -> None:
    upscaler = lightsr.Upscaler(MODELS["fp32"], tile=tile)
    image = np.random.default_rng(rows).integers(0, 4000, (rows, 33), np.uint16)
    found = np.concatenate(list(upscaler.bands(in_pieces(image, [step]))))
    assert np.array_equal(found, upscaler(image))


def test_a_halo_too_small_would_show(monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests above can fail: as many rows must wait as the card says."""
    image = np.random.default_rng(0).integers(0, 4000, (90, 33), np.uint16)
    upscaler = lightsr.Upscaler(MODELS["fp32"], tile=30)
    whole = upscaler(image)
    work = upscaler.plan
    monkeypatch.setattr(upscaler, "plan", lambda *a: bands.replace(work(*a), halo=4))
    assert not np.array_equal(np.concatenate(list(upscaler.bands(image))), whole)


def test_rows_come_as_soon_as_their_context_is_there() -> None:
    upscaler = lightsr.Upscaler(MODELS["fp32"], tile=32)
    taken = 0

    def source() -> Iterator[np.ndarray]:
        nonlocal taken
        for _ in range(128):
            taken += 1
            yield np.zeros((1, 20), np.uint8)

    halo = upscaler.card.halo_px
    seen = []
    for band in upscaler.bands(source(), rows=128):
        seen.append((taken, len(band)))
    assert seen == [(32 + halo, 64), (64 + halo, 64), (96 + halo, 64), (128, 64)]


class Stored:
    """What h5py and zarr give: shape, dtype and slices, no array."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        self.shape, self.dtype = values.shape, values.dtype
        self.most = 0

    def __getitem__(self, rows: slice) -> np.ndarray:
        part: np.ndarray = self.values[rows]
        self.most = max(self.most, len(part))
        return part


@pytest.mark.parametrize("model", ["fp32", "int8"])
def test_what_can_be_sliced_is_read_a_few_rows_at_a_time(model: str) -> None:
    upscaler = lightsr.Upscaler(MODELS[model], tile=32)
    image = np.random.default_rng(0).integers(0, 4000, (200, 40), np.uint16)
    stored = Stored(image)
    assert np.array_equal(np.concatenate(list(upscaler.bands(stored))), upscaler(image))
    assert 0 < stored.most <= 32


def test_int8_needs_the_range_first() -> None:
    upscaler = lightsr.Upscaler(MODELS["int8"])
    with pytest.raises(ImageError, match=r"tiny x2 int8 needs the range.*intensity=lightsr\.IntensityMap\.over"):
        upscaler.bands(iter([np.zeros((4, 4), np.uint8)]))


ROW = np.zeros((1, 4), np.uint8)


@pytest.mark.parametrize(
    ("rows_in", "options", "message"),
    [
        ([], {}, "no rows"),
        ([np.empty((0, 4), np.uint8)], {}, "no rows"),
        (np.empty((0, 4), np.uint8), {}, "at least one row"),
        (np.zeros((4, 0), np.uint8), {}, "one column are needed"),
        ([np.zeros((4, 0), np.uint8)], {}, "at least one column"),
        (np.zeros((4, 4)), {}, "float64"),
        (np.zeros((2, 4, 4), np.uint8), {}, "four channels"),
        ([ROW[0]], {}, r"shape \(4,\)"),
        ([ROW, ROW.astype(np.uint16)], {}, "rows change from 4 columns of uint8 to 4 columns of uint16"),
        ([ROW, np.zeros((1, 5), np.uint8)], {}, "rows change from 4 columns of uint8 to 5 columns"),
        ([ROW, np.zeros((1, 4, 3), np.uint8)], {}, "to 4 columns of RGB uint8"),
        ([ROW, np.ma.masked_array(ROW, ROW == 0)], {}, "masked array"),
        (np.ma.masked_array(ROW, ROW == 0), {}, "masked array"),
        ([[[1, 2], [3]]], {}, "rows are not arrays of numbers"),
        ([ROW] * 3, {"rows": 2}, "more than the 2 rows that were announced"),
        ([ROW] * 3, {"rows": 4}, "3 rows; 4 were announced"),
        ([ROW] * 3, {"rows": 0}, "0 rows; at least one"),
        (np.zeros((3, 4), np.uint8), {"rows": 4}, "3 rows; 4 were announced"),
        ([ROW], {"value_range": (9, 3)}, "value range"),
    ],
)
def test_other_rows_are_refused(rows_in: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ImageError, match=message) as caught:
        list(lightsr.Upscaler(MODELS["fp32"]).bands(rows_in, **options))
    assert "\n" not in str(caught.value)


def test_what_the_first_rows_show_is_refused_at_once() -> None:
    with pytest.raises(ImageError, match="float64"):
        lightsr.Upscaler(MODELS["fp32"]).bands(iter([np.zeros((1, 4))]))


@pytest.mark.parametrize("model", ["fp32", "int8"])
def test_the_row_of_what_is_not_finite_is_that_of_the_picture(model: str) -> None:
    image = np.zeros((120, 30), np.float32)
    image[71, 5] = np.nan
    upscaler = lightsr.Upscaler(MODELS[model], tile=16)
    rows = upscaler.bands(in_pieces(image, [7]), rows=120, intensity=IntensityMap(0.0, 1.0))
    with pytest.raises(ImageError, match="NaN at row 71, column 5"):
        list(rows)
    with pytest.raises(ImageError, match="NaN at row 71, column 5"):
        list(upscaler.bands(image))


def test_bands_are_the_callers_own() -> None:
    """Changing a band changes no other, and not the picture."""
    upscaler = lightsr.Upscaler(MODELS["fp32"], tile=16)
    image = np.random.default_rng(0).integers(0, 4000, (60, 20), np.uint16)
    whole, before = upscaler(image), image.copy()
    found = []
    for band in upscaler.bands(image):
        found.append(band.copy())
        band[:] = 0
    assert np.array_equal(np.concatenate(found), whole)
    assert np.array_equal(image, before)


def test_two_pictures_at_once() -> None:
    upscaler = lightsr.Upscaler(MODELS["fp32"], tile=16)
    first, second = (np.random.default_rng(i).integers(0, 4000, (60, 20), np.uint16) for i in range(2))
    pairs = list(zip(upscaler.bands(first), upscaler.bands(second), strict=True))
    assert np.array_equal(np.concatenate([one for one, _ in pairs]), upscaler(first))
    assert np.array_equal(np.concatenate([two for _, two in pairs]), upscaler(second))
