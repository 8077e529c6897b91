import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lightsr.resample import downsample, interpolate
from lightsr_train import data
from lightsr_train.oversampling import ZOOMS, oversampled, source_px
from lightsr_train.patches import PatchSampler
from numpy.typing import NDArray


@pytest.fixture(params=[np.uint8, np.uint16, np.int16, np.float32])
def texture(request: pytest.FixtureRequest) -> NDArray[np.generic]:
    """Noise of the picture's own pixels."""
    return np.random.default_rng(0).normal(100, 20, (80, 80)).astype(request.param)


def high_share(picture: NDArray[np.generic]) -> float:
    """Share of the energy beyond half the sampling rate's, the mean left out."""
    spectrum = np.abs(np.fft.fft2(picture - picture.mean(dtype=np.float64))) ** 2
    frequency = np.maximum(*np.meshgrid(*(np.abs(np.fft.fftfreq(n)) for n in picture.shape)))
    return float(spectrum[frequency > 0.25].sum() / spectrum.sum())


@pytest.mark.parametrize("zoom", ZOOMS)
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_a_patch_is_of_an_enlarged_picture_and_its_reduction(
    texture: NDArray[np.generic], scale: int, zoom: int
) -> None:
    side = source_px(8, scale, zoom)
    source = texture[:side, :side]
    assert source.shape == (side, side)
    for seed in range(4):
        low, high, error = oversampled(source, 8, scale, zoom, np.random.default_rng(seed))
        assert low.shape == (8, 8)
        assert high.shape == (8 * scale, 8 * scale)
        assert low.dtype == high.dtype == texture.dtype
        inner = slice(3, -3)
        assert downsample(high, scale)[inner, inner] == pytest.approx(low[inner, inner].astype(float), abs=0.51)
        assert error == pytest.approx(np.sqrt(np.mean((interpolate(low, scale) - high.astype(float)) ** 2)))


def test_nothing_moves_but_the_patch_is_smoother_than_the_picture(texture: NDArray[np.generic]) -> None:
    rows = np.arange(80)[:, None] + np.zeros(80)
    low, high, _ = oversampled(rows.astype(np.float32), 16, 2, 2, np.random.default_rng(0))
    first = 4 * 2 / 2  # of the high-resolution patch, in pixels of the source
    assert high[:, 5] == pytest.approx(first + (np.arange(32) + 0.5) / 2 - 0.5, abs=1e-4)
    assert low[:, 5] == pytest.approx(first + np.arange(16) + 0.5 - 0.5, abs=1e-4)
    _, high, _ = oversampled(texture, 40, 2, 2, np.random.default_rng(0))
    assert high_share(texture) > 0.6
    assert high_share(high) < 0.1


def test_only_pictures_of_eight_bits_go_through_jpeg(texture: NDArray[np.generic]) -> None:
    found = [oversampled(texture, 16, 2, 2, np.random.default_rng(seed)).high for seed in range(12)]
    different = {picture.tobytes() for picture in found}
    assert (len(different) > 3) == (texture.dtype == np.uint8)
    assert texture.dtype == np.uint8 or len(different) == 1


def test_the_sampler_draws_a_share_of_them(waves: Callable[[Path, tuple[int, int]], Path], tmp_path: Path) -> None:
    waves(tmp_path, (80, 90))
    pair, *_ = data.load([tmp_path], 2, min_side_px=16).pairs
    noise = np.random.default_rng(0).integers(0, 200, pair.high.shape).astype(pair.high.dtype)
    pair = dataclasses.replace(pair, high=noise, lows=(downsample(noise, 2).astype(noise.dtype),))

    def smooth(**settings: float) -> int:
        sampler = PatchSampler([pair], scale=2, patch_px=16, batch=100, seed=1, **settings)
        batch = sampler.draw(0)
        assert np.array_equal(sampler.draw(0).high, batch.high)
        assert np.array_equal(batch.weight, np.ones((100, 1, 1, 1)))
        return sum(high_share(high) < 0.3 for high in batch.high[:, 0])

    assert smooth() == 0
    assert 15 <= smooth(oversampled_share=0.3) <= 45
    assert smooth(oversampled_share=0.99) > 90
    sampler = PatchSampler([pair], scale=2, patch_px=16, batch=8, seed=1, oversampled_share=0.99, unit=True)
    assert sampler.draw(0).low.min() > -1
    assert sampler.draw(0).low.max() < 2


def test_a_smooth_patch_does_not_outweigh_its_picture(
    waves: Callable[[Path, tuple[int, int]], Path], tmp_path: Path
) -> None:
    waves(tmp_path, (80, 90))
    pair, *_ = data.load([tmp_path], 2, min_side_px=16).pairs
    ramp = np.linspace(0, 200, 90)[None, :].repeat(80, axis=0).astype(np.uint16)
    pair = dataclasses.replace(pair, high=ramp, lows=(downsample(ramp, 2).astype(np.uint16),))
    sampler = PatchSampler([pair], scale=2, patch_px=16, batch=32, seed=1, oversampled_share=0.99)
    batch = sampler.draw(0)
    # 0.2 % of the range is the unit: the ramp's slope is at most 2.3 levels a pixel.
    assert np.abs(batch.low).max() < 2.3 * 16 / (0.002 * 199)
