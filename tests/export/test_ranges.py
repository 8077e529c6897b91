import numpy as np
import onnx
import pytest
from lightsr.card import golden_input
from lightsr_export import quantise, ranges
from lightsr_export.errors import ExportError
from lightsr_export.ranges import Range, Spread

from .conftest import a_baseline, simplified


def test_ranges_hold_zero() -> None:
    scale, zero = Range(-1.0, 3.0).parameters()
    assert zero == 64
    assert (0 - float(zero)) * scale == pytest.approx(-1.0, abs=0.01)
    assert Range(0.0, 0.0).parameters()[1] == 0


def test_percentiles_of_a_spread_are_those_of_the_values() -> None:
    values = np.random.default_rng(0).normal(size=(4, 50_000)).astype(np.float32)
    low, high = float(values.min()), float(values.max())
    spread = Spread.empty(low, high)
    for part in np.array_split(values, 3, axis=1):
        spread = spread.with_values(part)
    assert spread.count == values.size
    assert spread.range(100) == Range(low, high)
    for percentile in (99.9, 99.99, 99.999):
        found = spread.range(percentile)
        expected = np.percentile(values, (100 - percentile, percentile))
        assert found.low == pytest.approx(expected[0], rel=0.02)
        assert found.high == pytest.approx(expected[1], rel=0.02)
        outside = np.mean(values > found.high)
        assert outside <= (1 - percentile / 100) * 1.0001


def test_no_percentile_narrows_a_range_to_nothing() -> None:
    values = np.zeros((1, 10_000), np.float32)
    values[0, 0] = 8.0
    spread = Spread.empty(0.0, 8.0).with_values(values)
    assert spread.range(99.0) == Range(0.0, 8.0 * ranges.LEAST_SHARE)
    assert spread.range(100) == Range(0.0, 8.0)


def test_peaks_are_those_of_every_channel(model: onnx.ModelProto) -> None:
    names = quantise.activations(quantise.body_nodes(model))
    inputs = [golden_input(seed, (24, 28)) for seed in (1, 2)]
    found = ranges.peaks(model, names, inputs)
    for values in ranges.values(model, names, inputs):
        for name, value in values.items():
            assert found[name].shape == value.shape[:1]
            assert (np.abs(value).max(axis=1) <= found[name]).all()


def test_without_images_there_is_no_calibration(model: onnx.ModelProto) -> None:
    with pytest.raises(ExportError, match="no calibration images"):
        ranges.peaks(model, quantise.activations(quantise.body_nodes(model)), [])


def test_maps_that_are_joined_share_one_range_object(model: onnx.ModelProto) -> None:
    body = quantise.body_nodes(model)
    names = quantise.activations(body)
    found = ranges.shared_ranges(body, {name: Range(-1.0, 1.0 + i) for i, name in enumerate(names)})
    for node in body:
        if node.op_type == "Concat":
            assert len({id(found[name]) for name in (*node.input, *node.output)}) == 1
    separate = {id(found[name]) for name in names}
    assert len(separate) > 3


def test_scales_that_are_powers_of_two_apart_stay_so() -> None:
    """Sharing again, after fine-tuning, changes nothing."""
    network = simplified(a_baseline("residual"))
    body = quantise.body_nodes(network)
    names = quantise.activations(body)
    random = np.random.default_rng(0)
    first = ranges.shared_ranges(body, {name: Range(-float(random.random()), float(random.random())) for name in names})
    again = ranges.shared_ranges(
        body, {name: Range(v.low * (1 + 1e-7), v.high * (1 + 1e-7)) for name, v in first.items()}
    )
    assert all(again[name].scale == pytest.approx(first[name].scale, rel=1e-5) for name in first)
