import numpy as np
import pytest
from lightsr.resample import downsample
from lightsr_train.degradation import crop_to_multiple, degrade


@pytest.mark.parametrize("kind", ["bicubic", "area"])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16", "float32"])
def test_dtype_and_mean_are_kept(kind: str, dtype: str) -> None:
    high = np.random.default_rng(0).integers(0, 200, (24, 36)).astype(dtype)
    low = degrade(high, 2, kind)
    assert low.dtype == high.dtype
    assert low.shape == (12, 18)
    assert float(low.mean()) == pytest.approx(float(high.mean()), abs=1.5)


def test_integers_are_rounded_and_clipped() -> None:
    high = np.zeros((24, 24), np.uint8)
    high[6:18, 6:18] = 255
    low = degrade(high, 2)
    exact = downsample(high, 2)
    assert exact.min() < 0
    assert exact.max() > 255
    assert np.array_equal(low, np.clip(np.rint(exact), 0, 255))


def test_crop() -> None:
    assert crop_to_multiple(np.zeros((25, 50)), 24).shape == (24, 48)
