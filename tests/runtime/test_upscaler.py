import functools
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import lightsr
import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightsr.intensity import IntensityMap
from lightsr.model import Bound, BundledModel, Model, bundled_models
from lightsr.padding import filled
from lightsr.resample import interpolate
from lightsr.tiling import TilePlan

DTYPES = ("uint8", "int8", "uint16", "int16", "float32")


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


class Planned(lightsr.Upscaler):
    """Cuts a picture as it is told, and sees more around each tile than the network needs."""

    tiles, more = (16, 16), 0

    def plan(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> TilePlan:
        card = self.card
        halo = card.halo_px + self.more * card.alignment_px
        return TilePlan.for_picture((shape[0], shape[1]), tile=self.tiles, halo=halo, alignment=card.alignment_px)


@pytest.mark.parametrize("entry", [e for e in bundled_models() if e.precision == "fp32"], ids=lambda e: e.file_name)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_any_tile_and_any_larger_halo_give_the_whole(entry: BundledModel, data: st.DataObject) -> None:
    """Of every bundled model, to the last bit, whatever the shape of picture and tiles."""
    model = loaded(entry.file_name)
    rows, columns = data.draw(st.integers(1, 40)), data.draw(st.integers(1, 40))
    channels = data.draw(st.sampled_from([(), (), (3,)]))
    dtype = data.draw(st.sampled_from(DTYPES))
    image = np.random.default_rng(rows).integers(-128, 127, (rows, columns, *channels)).astype(dtype)
    planned = Planned(model)
    planned.tiles = (data.draw(st.integers(-(-rows // 3), 48)), data.draw(st.integers(-(-columns // 3), 48)))
    planned.more = data.draw(st.integers(0, 4))
    found = planned(image)
    assert np.array_equal(found, lightsr.Upscaler(model, tile=4096)(image))
    assert np.array_equal(np.concatenate(list(planned.bands(image))), found)


@functools.cache
def loaded(file_name: str) -> Model:
    """A bundled model, loaded once."""
    entry = next(entry for entry in bundled_models() if entry.file_name == file_name)
    return lightsr.load(entry.name, scale=entry.scale, precision=entry.precision, threads=1).model


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


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_flat_parts_keep_their_levels(precision: str, request: pytest.FixtureRequest) -> None:
    """Where the network sees no edge it adds nothing, and neither offset nor contrast changes."""
    upscaler: lightsr.Upscaler = request.getfixturevalue(precision)
    side = 2 * upscaler.card.halo_px
    edge = np.repeat(np.array([[-100, 40]], np.float32), side, axis=1).repeat(9, axis=0)
    result, seen = upscaler(edge), upscaler.scale * upscaler.card.halo_px
    assert result[:, :seen] == pytest.approx(-100, abs=1e-3)
    assert result[:, -seen:] == pytest.approx(40, abs=1e-3)


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


@pytest.mark.parametrize("dtype", DTYPES[:-1])
@pytest.mark.parametrize("channels", [(), (3,)])
def test_constant_integers_come_out_constant(
    dtype: str, channels: tuple[int, ...], fp32: lightsr.Upscaler, int8: lightsr.Upscaler
) -> None:
    limits = np.iinfo(dtype)
    for value in (limits.min, limits.min + 1, 0, 77, limits.max // 3, limits.max - 1, limits.max):
        for upscaler in (fp32, int8):
            assert np.unique(upscaler(np.full((9, 5, *channels), value, dtype))).tolist() == [value]


@pytest.mark.parametrize("entry", bundled_models(), ids=lambda entry: entry.file_name)
def test_every_bundled_model_keeps_constant_pictures(entry: BundledModel) -> None:
    upscaler = lightsr.load(entry.name, scale=entry.scale, precision=entry.precision, threads=1)
    for value, dtype in ((65_535, np.uint16), (-32_768, np.int16), (255, np.uint8)):
        assert np.unique(upscaler(np.full((7, 6), value, dtype))).tolist() == [value]


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 40),
    columns=st.integers(1, 40),
    dtype=st.sampled_from(DTYPES),
    precision=st.sampled_from(["fp32", "int8"]),
    tile=st.sampled_from([16, 23, 256]),
)
def test_grey_as_colour_is_the_grey_result(
    rows: int, columns: int, dtype: str, precision: str, tile: int, fp32: lightsr.Upscaler, int8: lightsr.Upscaler
) -> None:
    upscaler = lightsr.Upscaler((fp32 if precision == "fp32" else int8).model, tile=tile)
    grey = np.random.default_rng(rows).integers(-128, 255, (rows, columns)).astype(dtype)
    colour = upscaler(np.repeat(grey[..., None], 3, axis=-1))
    assert colour.dtype == grey.dtype
    for channel in range(3):
        assert np.array_equal(colour[..., channel], upscaler(grey))


@pytest.mark.parametrize("tile", [16, 23, 48])
def test_colour_in_tiles_equals_the_whole_to_the_last_bit(
    tile: int, picture: np.ndarray, fp32: lightsr.Upscaler
) -> None:
    colour = np.stack([picture, picture[::-1] // 2, picture[:, ::-1] // 3], axis=-1).astype(np.float32)
    whole = lightsr.Upscaler(fp32.model, tile=4096)(colour)
    assert np.array_equal(lightsr.Upscaler(fp32.model, tile=tile)(colour), whole)
    luminance = whole @ np.array([0.299, 0.587, 0.114], np.float32)
    alone = fp32((colour @ np.array([0.299, 0.587, 0.114])).astype(np.float32))
    assert np.abs(luminance - alone).max() < 0.05
    difference = interpolate(colour[..., 0] - colour[..., 2], 2)
    assert np.abs(whole[..., 0] - whole[..., 2] - difference).max() < 0.01


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("value", [-2000, 0, 32_767, np.nan])
def test_padding_is_kept_and_does_not_ring(value: float, precision: str, request: pytest.FixtureRequest) -> None:
    upscaler: lightsr.Upscaler = request.getfixturevalue(precision)
    rows, columns = np.mgrid[:60, :70]
    padding = (rows - 30) ** 2 + (columns - 35) ** 2 > 25**2
    real = (40 + 10 * np.sin(columns / 5)).astype(np.float32 if np.isnan(value) else np.int16)
    image = real.copy()
    image[padding] = value
    result = upscaler(image, padding=padding)
    outside = padding.repeat(2, 0).repeat(2, 1)
    assert np.array_equal(result[outside], np.full(outside.sum(), value, image.dtype), equal_nan=True)
    limits = real[~padding].min() - 10, real[~padding].max() + 10
    assert limits[0] <= result[~outside].min() <= result[~outside].max() <= limits[1]
    if abs(value) > 1000:  # without the mask it rings, or int8 loses the picture: the test can fail
        smeared = upscaler(image)[~outside]
        assert smeared.min() < limits[0] or smeared.max() > limits[1]


def test_padding_in_tiles_is_that_of_the_whole(picture: np.ndarray, fp32: lightsr.Upscaler) -> None:
    image = picture.astype(np.int16)
    padding = np.random.default_rng(0).random(image.shape) < 0.3
    whole, tiled = (lightsr.Upscaler(fp32.model, tile=tile)(image, padding=padding) for tile in (4096, 16))
    assert np.array_equal(tiled, whole)


def test_a_mask_that_is_false_everywhere_changes_nothing(picture: np.ndarray, int8: lightsr.Upscaler) -> None:
    assert np.array_equal(int8(picture, padding=np.zeros(picture.shape, bool)), int8(picture))


def test_clipped_pixels_are_counted(picture: np.ndarray, fp32: lightsr.Upscaler) -> None:
    free = fp32(picture.astype(np.float32))
    low, high = 120, 900
    expected = int(((np.rint(free) < low) | (np.rint(free) > high)).sum())
    assert 0 < expected < free.size
    for dtype in (np.uint16, np.int16):
        tally = lightsr.Tally()
        fp32(picture.astype(dtype), value_range=(low, high), tally=tally)
        assert tally.clipped == expected
        fp32(picture.astype(dtype), value_range=(low - 0.5, high + 0.5), tally=tally)
        assert tally.clipped == 2 * expected
    tally = lightsr.Tally()
    result = fp32(picture.astype(np.float32), value_range=(low, high), tally=tally)
    assert tally.clipped == int(((free < low) | (free > high)).sum())
    assert (result.min(), result.max()) == (low, high)
    tally = lightsr.Tally()
    fp32(picture + np.uint16(2000), tally=tally)
    assert tally.clipped == 0


def test_a_clipped_pixel_of_colour_counts_once(picture: np.ndarray, fp32: lightsr.Upscaler) -> None:
    grey = np.where(picture > 600, 255, 0).astype(np.uint8)
    first, second = lightsr.Tally(), lightsr.Tally()
    fp32(grey, tally=first)
    fp32(np.stack([grey] * 3, -1), tally=second)
    assert 0 < first.clipped == second.clipped


def test_clipped_pixels_of_padding_do_not_count(picture: np.ndarray, fp32: lightsr.Upscaler) -> None:
    """Those far from real values would: what the network sees there lies below the range."""
    padding = np.zeros(picture.shape, bool)
    padding[20:] = True
    low, high = int(picture[:20].min()) + 50, int(picture[:20].max())
    tally = lightsr.Tally()
    fp32(picture, padding=padding, value_range=(low, high), tally=tally)
    seen = filled(picture, padding, picture[:20].min())
    free = np.rint(fp32(seen.astype(np.float32)))[:40]
    assert tally.clipped == int(((free < low) | (free > high)).sum()) > 0


def test_a_model_that_gives_no_numbers_is_refused(
    picture: np.ndarray, fp32: lightsr.Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Bound.run
    for value in (np.nan, np.inf):

        def wrong(bound: Bound, value: float = value) -> None:
            run(bound)
            bound.sr[:, 40] = value

        monkeypatch.setattr(Bound, "run", wrong)
        for image in (picture, picture.astype(np.float32)):
            with pytest.raises(lightsr.ModelError, match="gave NaN or infinity"):
                fp32(image)


def in_threads(upscaler: lightsr.Upscaler, images: list[np.ndarray]) -> list[np.ndarray]:
    """Results of as many threads as images, all started at once, three times each."""
    barrier = threading.Barrier(len(images))

    def work(image: np.ndarray) -> np.ndarray:
        barrier.wait()
        results = [upscaler(image) for _ in range(3)]
        assert all(np.array_equal(result, results[0]) for result in results[1:])
        return results[0]

    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)  # threads take turns all the time, not every five milliseconds
    try:
        with ThreadPoolExecutor(len(images)) as pool:
            return list(pool.map(work, images))
    finally:
        sys.setswitchinterval(usual)


@pytest.fixture
def images() -> list[np.ndarray]:
    """Eight different pictures of one shape, several tiles each."""
    return [np.random.default_rng(i).integers(0, 4000, (80, 90), np.uint16) for i in range(8)]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_eight_threads_share_one_upscaler(precision: str, images: list[np.ndarray]) -> None:
    upscaler = lightsr.load("tiny", scale=2, precision=precision, threads=2, tile=32)  # type: ignore[arg-type]
    alone = [upscaler(image) for image in images]
    for found, expected in zip(in_threads(upscaler, images), alone, strict=True):
        assert np.array_equal(found, expected)


def test_a_shared_buffer_would_show(images: list[np.ndarray], monkeypatch: pytest.MonkeyPatch) -> None:
    """The test above can fail: tiles are read into one buffer here."""
    upscaler = lightsr.load("tiny", scale=2, precision="fp32", threads=1, tile=32)
    alone = [upscaler(image) for image in images]
    shared = Bound(upscaler.model, upscaler.plan((80, 90), np.dtype(np.uint16)).read_shape)
    run = shared.run

    def slowly() -> None:
        time.sleep(0.002)  # others come in between, as they do in any longer computation
        run()

    monkeypatch.setattr(shared, "run", slowly)
    monkeypatch.setattr("lightsr.upscaler.Bound", lambda model, shape: shared)
    try:
        found = in_threads(upscaler, images)
    except AssertionError:
        return
    assert not all(map(np.array_equal, found, alone))


def test_an_upscaler_tells_what_it_is(fp32: lightsr.Upscaler) -> None:
    assert repr(fp32) == "Upscaler(tiny x2 fp32, 1 thread)"
    with pytest.raises(ValueError, match="threads is 0"):
        lightsr.load("tiny", threads=0)
    with pytest.raises(ValueError, match="tile is 15"):
        lightsr.load("tiny", threads=1, tile=15)
