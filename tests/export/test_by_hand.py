"""Integers, ranges and factors of a graph of a few numbers, worked out by hand."""

import math

import numpy as np
import onnx
import pytest
from lightsr_export import graph, quantise, ranges
from lightsr_export.equalise import LARGEST_RATIO, equalised, factors
from lightsr_export.ranges import LEVELS, WEIGHT_LIMIT, Range
from onnx import helper, numpy_helper

EDGE = np.array([[0, 0, 0], [-1, 1, 0], [0, 0, 0]])
"""Difference from the pixel on the left."""

WEIGHTS = {
    "stem.weight": np.array([[EDGE], [EDGE * -0.3]]),
    "body.weight": np.array([[1.0, -0.6], [0.01, 0.004]])[:, :, None, None],
    "body.bias": np.array([0.25, 0.0]),
    "tail.weight": np.array([[0.5, 0.5, -0.9, 2.0]])[:, :, None, None],
    "skip.weight": np.ones((1, 1, 1, 1)),
}


def convolution(inputs: list[str], output: str, side: int = 1) -> onnx.NodeProto:
    return helper.make_node("Conv", inputs, [output], name=output, kernel_shape=[side, side], pads=[side // 2] * 4)


@pytest.fixture(scope="module")
def small() -> onnx.ModelProto:
    """Stem, one layer, their concatenation, tail, and the picture itself."""
    nodes = [
        convolution(["lr", "skip.weight"], "skipped"),
        convolution(["lr", "stem.weight"], "stem", 3),
        helper.make_node("Relu", ["stem"], ["edges"], name="edges"),
        convolution(["edges", "body.weight", "body.bias"], "layer"),
        helper.make_node("Relu", ["layer"], ["lit"], name="lit"),
        helper.make_node("Concat", ["edges", "lit"], ["joined"], name="joined", axis=1),
        convolution(["joined", "tail.weight"], "detail"),
        helper.make_node("Add", ["skipped", "detail"], ["sr"], name="sr"),
    ]
    values = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 1, None, None]) for name in ("lr", "sr")]
    tensors = [numpy_helper.from_array(weight.astype(np.float32), name) for name, weight in WEIGHTS.items()]
    made = helper.make_graph(nodes, "small", values[:1], values[1:], tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", graph.OPSET)], ir_version=9)


def pictures() -> list[np.ndarray]:
    """The second has the larger steps upwards, the first the larger ones downwards."""
    first, second = ([[0.0, 0.9, 0.0, 0.1]], [[0.0, 1.0, 0.9, 0.8]])
    return [np.array([[rows]], np.float32) for rows in (first, second)]


def stored(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}


def test_levels_fit_into_what_processors_add_up() -> None:
    """Two products of a level and a weight in 16 bits, as x86 without VNNI adds them."""
    assert np.iinfo(np.uint8).max == LEVELS
    assert 2 * LEVELS * WEIGHT_LIMIT < 2**15 <= 2 * LEVELS * (WEIGHT_LIMIT + 2)


def test_weights_are_rounded_by_the_largest_of_their_own_channel(small: onnx.ModelProto) -> None:
    result = quantise.quantised(small, quantise.ranges_of(small, quantise.spreads(small, pictures())))
    found = stored(result)
    assert found["body.weight.quantised"][:, :, 0, 0].tolist() == [[63, -38], [63, 25]]
    assert found["body.weight.scale"] == pytest.approx([1 / 63, 0.01 / 63])
    assert found["tail.weight.quantised"].ravel().tolist() == [16, 16, -28, 63]
    axes = [a.i for n in result.graph.node if n.name.endswith("weight.DequantizeLinear") for a in n.attribute]
    assert axes == [0, 0]


def test_what_stays_in_float_keeps_its_weights(small: onnx.ModelProto) -> None:
    found = quantise.ranges_of(small, quantise.spreads(small, pictures()))
    kept = stored(quantise.quantised(small, found, ["detail"]))
    assert "tail.weight" in kept
    assert "tail.weight.quantised" not in kept
    assert "body.weight.quantised" in kept


@pytest.mark.parametrize("largest", [0.75, 1.0, 3.1])
def test_the_stem_lies_on_a_grid_of_a_power_of_two_and_sums_to_zero(largest: float) -> None:
    random = np.random.default_rng(1)
    kernel = random.normal(size=(1, 1, 3, 3))
    kernel -= kernel.mean()
    kernel *= largest / np.abs(kernel).max()
    rounded = quantise.exact_stem(kernel.astype(np.float32)).astype(np.float64)
    steps = rounded / (2.0**-10 * 2.0 ** math.ceil(math.log2(largest)))
    assert np.array_equal(steps, np.rint(steps))
    assert steps.sum() == 0
    assert np.abs(rounded - kernel).max() < 9 * 2.0**-10 * largest


def test_ranges_by_hand() -> None:
    assert Range(-1.0, 3.0).parameters() == (np.float32(4 / 255), 64)
    assert Range(-1.0, 3.0).with_scale(0.1) == Range(-1.0, 24.5)
    assert Range(-1.0, 2.0).union(Range(-3.0, 1.0)) == Range(-3.0, 2.0)


def test_the_widest_of_all_pictures_counts(small: onnx.ModelProto) -> None:
    found = quantise.spreads(small, pictures())
    assert found["edges"].range(100).high == pytest.approx(1.0)
    detail = [graph.run(small, lr) - lr for lr in pictures()]
    assert found["detail"].low == pytest.approx(min(float(values.min()) for values in detail), abs=1e-6)
    assert found["detail"].high == pytest.approx(max(float(values.max()) for values in detail), abs=1e-6)
    again = quantise.spreads(small, pictures()[::-1])
    assert {name: spread.range(100) for name, spread in again.items()} == {
        name: spread.range(100) for name, spread in found.items()
    }


def test_peaks_are_of_either_sign(small: onnx.ModelProto) -> None:
    found = ranges.peaks(small, ["stem", "edges"], pictures())
    assert found["stem"] == pytest.approx([1.0, 0.3])
    assert found["edges"] == pytest.approx([1.0, 0.27])


def test_joined_maps_share_the_union_and_sums_have_steps_of_powers_of_two() -> None:
    body = [
        helper.make_node("Concat", ["a", "b"], ["joined"]),
        helper.make_node("Add", ["joined", "c"], ["sum"]),
    ]
    given = {"a": Range(-2.0, 1.0), "b": Range(-1.0, 4.0), "c": Range(0.0, 10.0), "sum": Range(-3.0, 11.0)}
    found = ranges.shared_ranges(body, given)
    assert found["a"] == found["b"] == found["joined"] == Range(-2.0, 4.0)
    for name in ("c", "sum"):
        assert math.frexp(found[name].scale / found["a"].scale)[0] == pytest.approx(0.5)
        assert found[name].low == given[name].low
        assert given[name].high <= found[name].high < 2 * (given[name].high + 4)
    measured_again = {name: Range(one.low * (1 + 1e-6), one.high * (1 + 1e-6)) for name, one in found.items()}
    for name, one in ranges.shared_ranges(body, measured_again).items():
        assert one.scale == pytest.approx(found[name].scale, rel=1e-4)


def test_factors_bring_channels_to_one_range_and_spare_the_silent() -> None:
    body = [
        helper.make_node("Conv", ["stem", "w"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("Conv", ["b", "v"], ["last"]),
    ]
    peaks = {"a": np.array([4.0, 1.0, 0.001]), "b": np.array([2.0, 2.0, 0.001]), "last": np.array([5.0])}
    found = factors(body, ["stem"], peaks)
    assert found["a"] == pytest.approx([1 / 4, 1 / 2, LARGEST_RATIO / 4])
    assert found["b"] == pytest.approx(found["a"])
    assert "last" not in found


def test_what_is_concatenated_and_then_added_to_keeps_its_values() -> None:
    """A sum needs its inputs as they are, and a concatenation has no factors but those of its parts."""
    body = [
        helper.make_node("Conv", ["stem", "w"], ["a"]),
        helper.make_node("Conv", ["a", "v"], ["b"]),
        helper.make_node("Concat", ["a", "b"], ["joined"]),
        helper.make_node("Conv", ["joined", "u"], ["c"]),
        helper.make_node("Add", ["joined", "c"], ["sum"]),
        helper.make_node("Conv", ["sum", "t"], ["last"]),
    ]
    maps = ("stem", "a", "b", "c", "sum", "last")
    assert set(factors(body, ["stem"], {name: np.array([1.0, 0.5]) for name in maps})) == {"stem"}


def test_equalising_changes_weights_and_not_the_result(small: onnx.ModelProto) -> None:
    body = quantise.body_nodes(small)
    peaks = ranges.peaks(small, quantise.activations(body), pictures())
    after = equalised(small, body, peaks)
    for lr in pictures():
        assert graph.run(after, lr) == pytest.approx(graph.run(small, lr), abs=1e-6)
    assert ranges.peaks(after, ["edges"], pictures())["edges"] == pytest.approx([1.0, 1.0])
    assert not np.allclose(stored(after)["body.bias"], stored(small)["body.bias"])
