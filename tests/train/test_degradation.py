from typing import get_args

import numpy as np
import pytest
from lightsr.resample import downsample
from lightsr_train.degradation import DESCRIPTIONS, EFFECTS, Degradation, crop_to_multiple, degrade, parse


@pytest.mark.parametrize("kind", get_args(Degradation))
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


KINDS = get_args(Degradation)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("kind", KINDS)
def test_a_flat_picture_stays_flat(kind: Degradation, scale: int) -> None:
    for dtype, value in ((np.uint8, 200), (np.uint16, 40_000), (np.float32, 1.5)):
        high = np.full((24, 36), value, dtype)
        np.testing.assert_allclose(degrade(high, scale, kind), high[::scale, ::scale], rtol=1e-6)


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "jpeg"])
def test_a_picture_is_not_shifted(kind: Degradation, scale: int) -> None:
    """A smooth wave, sampled at the centres of the low-resolution pixels, comes out a little lower at most."""
    size = 96
    centres = (np.arange(size // scale) + 0.5) * scale - 0.5

    def wave(positions: np.ndarray) -> np.ndarray:
        return np.cos(np.pi * 2 * (positions + 0.5) / size)

    high = np.outer(wave(np.arange(size)), np.ones(size)).astype(np.float32)
    for picture in (high, high.T):
        low = degrade(picture, scale, kind)
        line = low.mean(axis=1 if picture is high else 0)
        middle = slice(4, -4)
        slope = np.polyfit(wave(centres)[middle], line[middle], 1)[0]
        assert 0.97 < slope <= 1.001
        np.testing.assert_allclose(line[middle], slope * wave(centres)[middle], atol=2e-3)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("kind", KINDS)
def test_a_ramp_keeps_its_values_at_pixel_centres(kind: Degradation, scale: int) -> None:
    """Half a high-resolution pixel of shift in both axes would show as a mean error of 20."""
    rows, columns = np.mgrid[:192, :240].astype(np.float32)
    slopes = 30, -70
    low = degrade(slopes[0] * rows + slopes[1] * columns, scale, kind)
    centres = [(np.arange(n // scale) + 0.5) * scale - 0.5 for n in rows.shape]
    exact = slopes[0] * centres[0][:, None] + slopes[1] * centres[1]
    margin = 48 // scale
    error = (low - exact)[margin:-margin, margin:-margin]
    assert error.size >= 100
    assert abs(error.mean()) < (5 if kind == "jpeg" else 0.5)
    # JPEG keeps 8 bits of a range of some 22,000; a mirrored ramp has kinks, whose ripples die away
    allowed = {"jpeg": 4 * np.ptp(exact) / 255, "kspace": 0.02 * 70 * scale}.get(kind, 0.01)
    assert np.abs(error).max() < allowed


def test_an_unknown_kind_is_refused() -> None:
    assert set(DESCRIPTIONS) == set(KINDS)
    with pytest.raises(ValueError, match="degradation 'cubic': 'cubic' is not one of bicubic, area, gaussian, kspace"):
        degrade(np.zeros((4, 4)), 2, "cubic")


@pytest.mark.parametrize("scale", [2, 3])
def test_kspace_keeps_low_frequencies_exactly_and_nothing_else(scale: int) -> None:
    size, count = 36, 36 // scale
    fine, coarse = (np.arange(size) + 0.5) / size, (np.arange(count) + 0.5) / count
    for frequency in range(size):
        high = np.outer(np.cos(np.pi * frequency * fine), np.ones(size)).astype(np.float32)
        expected = np.cos(np.pi * frequency * coarse) if frequency < count else np.zeros(count)
        np.testing.assert_allclose(degrade(high, scale, "kspace")[:, 0], expected, atol=1e-5)


def test_gaussian_has_the_width_that_it_states() -> None:
    high = np.zeros((96, 96), np.float32)
    high[48:50, :] = 1000
    line = degrade(high, 2, "gaussian")[:, 10]
    positions = np.arange(48)
    mean = np.average(positions, weights=line)
    assert mean == pytest.approx(24, abs=1e-3)
    # a pixel of the source spreads it too: two high-resolution pixels have a variance of 1/16 low ones
    assert np.average((positions - mean) ** 2, weights=line) == pytest.approx(0.5**2 + 1 / 16, abs=0.02)


def test_jpeg_loses_a_little() -> None:
    random = np.random.default_rng(0)
    for dtype, top in ((np.uint8, 255), (np.uint16, 4000), (np.int16, 3000)):
        ramp = np.linspace(0, top * 0.9, 96)[None, :].repeat(96, 0)
        high = (ramp + random.normal(0, top / 50, (96, 96))).clip(0, top).astype(dtype)
        plain, lossy = degrade(high, 2), degrade(high, 2, "jpeg")
        difference = np.abs(plain.astype(float) - lossy.astype(float))
        assert 0 < difference.mean() < top / 50
        assert difference.max() < top / 5


def test_a_chain_is_read() -> None:
    chain = parse("gaussian:0.7+jpeg:50+poisson-noise+jpeg")
    assert (chain.reduction, chain.strength) == ("gaussian", 0.7)
    assert chain.fixed.effects == (("jpeg", 50.0),)
    assert [name for name, _ in chain.varying] == ["poisson-noise", "jpeg"]
    assert parse("jpeg") == parse("bicubic+jpeg")
    assert parse("rician-noise:0.02").reduction == "bicubic"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("area:2", "area takes no number"),
        ("bicubic+area", "'area' is not one of jpeg, gaussian-noise"),
        ("gaussian:x", "'x' is no number"),
        ("gaussian:9", "gaussian takes 0.1 to 3"),
        ("jpeg:0", "jpeg takes 1 to 95"),
        ("", "'' is not one of bicubic"),
        ("bicubic+", "'' is not one of jpeg"),
    ],
)
def test_wrong_chains_are_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse(text)


@pytest.mark.parametrize("kind", sorted(EFFECTS))
@pytest.mark.parametrize("scale", [2, 4])
def test_no_effect_moves_the_picture(kind: str, scale: int) -> None:
    """The mean of many noisy pictures, or one JPEG, lies where the picture without the effect lies."""
    rows, columns = np.mgrid[:96, :96]
    blob = 8000 + 20_000 * np.exp(-((rows - 47.5) ** 2 + (columns - 47.5) ** 2) / 300)
    high = blob.astype(np.uint16)
    plain = degrade(high, scale).astype(float)
    changed = np.mean([degrade(high, scale, kind, seed=seed) for seed in range(20)], axis=0)
    positions = np.arange(96 // scale)
    for picture in (plain, changed):
        weights = np.clip(picture - 12_000, 0, None)
        for axis in (0, 1):
            centre = np.average(positions, weights=weights.sum(axis=axis))
            assert centre == pytest.approx((96 // scale - 1) / 2, abs=0.02)


def test_noise_has_the_strength_that_it_states() -> None:
    high = np.full((400, 400), 5000, np.uint16)
    high[0, :] = 10_000  # the range of signal is 0 to 10,000
    high[1:8, :] = 10_000
    middle = (slice(20, None), slice(None))
    for kind, expected in (("gaussian-noise:0.02", 200), ("rician-noise:0.02", 200), ("poisson-noise:2500", 141.4)):
        noisy = degrade(high, 2, kind)[middle].astype(float)
        assert noisy.std() == pytest.approx(expected, rel=0.03)
        assert noisy.mean() == pytest.approx(5000, abs=10)
    dark = degrade(np.where(np.arange(400)[:, None] < 8, high, 0).astype(np.uint16), 2, "rician-noise:0.02")[middle]
    # Rayleigh's: a magnitude is never zero in the mean
    assert dark.mean() == pytest.approx(200 * (np.pi / 2) ** 0.5, rel=0.03)


def test_the_seed_makes_the_noise() -> None:
    high = np.random.default_rng(0).integers(0, 255, (24, 24)).astype(np.uint8)
    first, again, other = (degrade(high, 2, "gaussian-noise:0.1", seed=seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.dtype == np.uint8
