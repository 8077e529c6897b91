import numpy as np
import pytest
from lightsr.resample import (
    Interpolation,
    cubic,
    downsample,
    downsampling_start,
    downsampling_taps,
    interpolate,
    interpolation_phases,
)

SCALES = (2, 3, 4, 8)


@pytest.mark.parametrize("scale", SCALES)
def test_filters_keep_the_mean(scale: int) -> None:
    assert downsampling_taps(scale).sum() == pytest.approx(1, abs=1e-12)
    for kind in ("bilinear", "bicubic"):
        assert interpolation_phases(scale, kind).sum(axis=1) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize("scale", SCALES)
@pytest.mark.parametrize("kind", ["nearest", "bilinear", "bicubic"])
def test_a_constant_stays_what_it_is_up_to_the_edge(scale: int, kind: Interpolation) -> None:
    assert interpolate(np.full((3, 4), 7), scale, kind) == pytest.approx(7, abs=1e-5)
    assert downsample(np.full((scale, 2 * scale), 7), scale) == pytest.approx(7, abs=1e-9)


@pytest.mark.parametrize("scale", SCALES)
def test_taps_cover_the_whole_kernel(scale: int) -> None:
    positions = downsampling_start(scale) + np.arange(-2, 4 * scale + 2)
    distances = np.abs(positions - (scale - 1) / 2) / scale
    inside = (np.arange(len(positions)) >= 2) & (np.arange(len(positions)) < 4 * scale + 2)
    assert not np.any((cubic(distances) != 0) & ~inside)


@pytest.mark.parametrize("scale", SCALES)
def test_down_and_up_does_not_shift(scale: int) -> None:
    rows, columns = np.mgrid[: 16 * scale, : 20 * scale]
    blob = np.exp(-((rows - 7.3 * scale) ** 2 + (columns - 9.6 * scale) ** 2) / (2 * (1.5 * scale) ** 2))
    back = interpolate(downsample(blob, scale), scale).astype(np.float64)

    def centroid(values: np.ndarray) -> np.ndarray:
        return np.array([(values * rows).sum(), (values * columns).sum()]) / values.sum()

    assert centroid(back) == pytest.approx(centroid(blob), abs=0.01)


def test_striding_would_shift() -> None:
    """The test above can fail: taking every second pixel moves the picture by half a pixel."""
    rows, _ = np.mgrid[:32, :32]
    blob = np.exp(-((rows - 15.0) ** 2) / 18)
    back = interpolate(blob[::2, ::2], 2)
    assert abs((back * rows).sum() / back.sum() - (blob * rows).sum() / blob.sum()) > 0.4


def test_up_is_the_scaled_adjoint_of_down() -> None:
    random = np.random.default_rng(0)
    low, high = np.zeros((12, 12)), np.zeros((24, 24))
    low[4:8, 4:8], high[8:16, 8:16] = random.random((4, 4)), random.random((8, 8))
    assert (interpolate(low, 2) * high).sum() == pytest.approx(4 * (low * downsample(high, 2)).sum(), rel=1e-6)


def test_agrees_with_pillow_away_from_the_border() -> None:
    from PIL import Image

    picture = np.random.default_rng(1).random((48, 72), dtype=np.float32)
    low = np.asarray(Image.fromarray(picture).resize((36, 24), Image.Resampling.BICUBIC))
    up = np.asarray(Image.fromarray(picture).resize((144, 96), Image.Resampling.BICUBIC))
    assert downsample(picture, 2)[4:-4, 4:-4] == pytest.approx(low[4:-4, 4:-4], abs=1e-6)
    assert interpolate(picture, 2)[8:-8, 8:-8] == pytest.approx(up[8:-8, 8:-8], abs=1e-5)


def test_wrong_shapes_are_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 2"):
        downsample(np.zeros((5, 4)), 2)
    with pytest.raises(ValueError, match="two axes"):
        interpolate(np.zeros(5), 2)
