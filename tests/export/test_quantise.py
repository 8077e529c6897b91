import math
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from lightsr.card import golden_input
from lightsr_export import golden, graph, quantise
from lightsr_export.errors import IntegerFormError
from lightsr_export.ranges import Range

from .conftest import a_baseline, simplified


def images() -> list[np.ndarray]:
    return [golden_input(seed, (40, 44)) for seed in range(1, 9)]


def measured(model: onnx.ModelProto) -> dict[str, Range]:
    return quantise.ranges_of(model, quantise.spreads(model, images()))


@pytest.fixture(scope="module")
def int8(model: onnx.ModelProto) -> onnx.ModelProto:
    return quantise.quantised(model, measured(model))


def optimised(model: onnx.ModelProto, path: Path) -> onnx.GraphProto:
    """The graph after onnxruntime's own fusion."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return onnx.load(path).graph


def kinds(graph: onnx.GraphProto) -> Counter[str]:
    return Counter(node.op_type for node in graph.node)


def leaves_integers_at_the_end(graph: onnx.GraphProto) -> bool:
    """Whether nothing behind a DequantizeLinear becomes integer again."""
    behind: set[str] = set()
    for node in graph.node:
        if node.op_type == "DequantizeLinear" or behind.intersection(node.input):
            if node.op_type == "QuantizeLinear" or node.op_type.startswith("QLinear"):
                return False
            behind.update(node.output)
    return bool(behind)


def test_everything_between_stem_and_tail_is_integer(
    model: onnx.ModelProto, int8: onnx.ModelProto, tmp_path: Path
) -> None:
    found = optimised(int8, tmp_path / "o.onnx")
    operators = kinds(found)
    body = Counter(node.op_type for node in quantise.body_nodes(model))
    assert operators["QLinearConv"] == body["Conv"] + 1  # the copy with channels last
    assert operators["QLinearConcat"] == body["Concat"]
    # Into the integers, out of them once, and no way back between.
    assert operators["Transpose"] <= 2
    assert operators["QuantizeLinear"] == 1
    assert leaves_integers_at_the_end(found)
    # Stem and skip; of the consistency step what is expected of the input, two reductions, the enlargement.
    assert operators["Conv"] == 1 + 1 + 4
    assert "Relu" not in operators


def test_concatenations_of_the_optimised_graph_copy(int8: onnx.ModelProto, tmp_path: Path) -> None:
    """Every part has the scale and the zero point of the whole."""
    found = optimised(int8, tmp_path / "o.onnx")
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in found.initializer}
    concats = [node for node in found.node if node.op_type == "QLinearConcat"]
    assert concats
    for node in concats:
        scale, zero, *parts = node.input
        scales = {float(constants[name]) for name in (scale, *parts[1::3])}
        zeros = {int(constants[name]) for name in (zero, *parts[2::3])}
        assert len(scales) == len(zeros) == 1


@pytest.mark.parametrize("family", ["srcnn", "residual", "srdense"])
def test_bodies_of_baselines_are_integer_too(family: str, tmp_path: Path) -> None:
    floats = simplified(a_baseline(family))
    body = Counter(node.op_type for node in quantise.body_nodes(floats))
    after = optimised(quantise.quantised(floats, measured(floats)), tmp_path / "o.onnx")
    assert leaves_integers_at_the_end(after)
    found = kinds(after)
    assert found["QLinearConv"] == body["Conv"]
    assert found["QLinearAdd"] == body["Add"]
    assert found["QLinearConcat"] == body["Concat"]
    assert found["QuantizeLinear"] == 1
    assert found["Conv"] + found["FusedConv"] == 1 + (family == "srcnn")


@pytest.mark.parametrize(("family", "operator"), [("fsrcnn", "PRelu"), ("espcn", "Tanh")])
def test_what_has_no_integer_form_is_named(family: str, operator: str) -> None:
    with pytest.raises(IntegerFormError, match=f"{operator} between stem and tail"):
        quantise.body_nodes(simplified(a_baseline(family)))


def test_the_copy_of_the_stem_is_exact(int8: onnx.ModelProto) -> None:
    copies = [node for node in int8.graph.node if node.name.endswith(".copied")]
    assert len(copies) == 1
    probe = onnx.ModelProto()
    probe.CopyFrom(int8)
    names = [copies[0].input[0], f"{copies[0].output[0]}.dequantised"]
    probe.graph.output.extend(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names)
    before, after = graph.session(probe).run(names, {"lr": golden_input(4, (31, 45))})
    assert np.array_equal(before, after)


def test_a_layer_can_stay_in_float(model: onnx.ModelProto, int8: onnx.ModelProto, tmp_path: Path) -> None:
    body = quantise.body_nodes(model)
    tail = next(node for node in body if "tail.weight" in node.input)
    assert tail.output[0] not in quantise.activations(body, [tail.name])
    found = quantise.quantised(model, measured(model), [tail.name])
    operators = kinds(optimised(found, tmp_path / "o.onnx"))
    whole = kinds(optimised(int8, tmp_path / "p.onnx"))
    assert operators["QLinearConv"] == whole["QLinearConv"] - 1
    assert operators["Conv"] == whole["Conv"] + 1
    assert operators["QuantizeLinear"] == 1
    lr = golden_input(78, (31, 45))
    errors = [np.abs(graph.run(m, lr) - graph.run(model, lr)).mean() for m in (found, int8)]
    assert errors[0] < errors[1]


def test_only_standard_operators_and_valid(int8: onnx.ModelProto) -> None:
    onnx.checker.check_model(int8, full_check=True)
    assert {entry.domain for entry in int8.opset_import} == {""}


def test_weights_are_seven_bits_per_channel(int8: onnx.ModelProto) -> None:
    weights = [onnx.numpy_helper.to_array(t) for t in int8.graph.initializer if t.name.endswith("weight.quantised")]
    assert weights
    for weight in weights:
        assert weight.dtype == np.int8
        assert (np.abs(weight.astype(int)).max(axis=(1, 2, 3)) == quantise.WEIGHT_LIMIT).all()


def test_int8_is_close_to_fp32(model: onnx.ModelProto, int8: onnx.ModelProto) -> None:
    lr = golden_input(77, (31, 45))
    expected, found = graph.run(model, lr), graph.run(int8, lr)
    detail = expected - graph.run(without_trunk(model), lr)
    assert 0 < np.sqrt(np.mean((found - expected) ** 2)) < 0.1 * detail.std()


def without_trunk(model: onnx.ModelProto) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    for tensor in copy.graph.initializer:
        if tensor.name == "tail.weight":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.zeros(list(tensor.dims), np.float32), tensor.name))
    return copy


def test_a_graph_without_a_body_is_named() -> None:
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []))
    with pytest.raises(IntegerFormError, match="no body"):
        quantise.body_nodes(model)


def test_stem_sums_are_exact_in_any_order(int8: onnx.ModelProto) -> None:
    weight = next(onnx.numpy_helper.to_array(t) for t in int8.graph.initializer if t.name == "stem.weight")
    assert (weight.sum(axis=(1, 2, 3), dtype=np.float64) == 0).all()
    window = golden_input(5, weight.shape[2:])[0, 0]
    random = np.random.default_rng(0)
    for kernel in weight[:, 0]:
        products = (kernel * window).reshape(-1)
        exact = float(products.sum(dtype=np.float64))
        for _ in range(5):
            total = np.float32(0)
            for value in random.permutation(products):
                total += value
            assert float(total) == exact


def test_golden_self_tests_keep_clear_of_rounding(model: onnx.ModelProto, int8: onnx.ModelProto) -> None:
    test = golden.golden(int8, "int8", 2)
    output = graph.run(int8, test.input())
    assert test.agrees(output)
    random = np.random.default_rng(0)
    jitter = random.uniform(-0.9e-5, 0.9e-5, output.shape).astype(np.float32)
    assert test.agrees(output + jitter)
    assert not test.agrees(graph.run(model, test.input()))
    assert golden.golden(model, "fp32", 2).agrees(graph.run(model, golden_input(1, golden.SHAPES[2])))


def test_additions_round_alike_on_every_processor() -> None:
    """Ratios of scales are powers of two: fused and separate multiply-adds give the same sum."""
    floats = simplified(a_baseline("residual"))
    int8 = quantise.quantised(floats, measured(floats))
    constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in int8.graph.initializer}
    producers = {output: node for node in int8.graph.node for output in node.output}
    consumers = {name: node for node in int8.graph.node for name in node.input}
    found = 0
    for node in int8.graph.node:
        after = consumers.get(node.output[0])
        if node.op_type != "Add" or after is None or after.op_type != "QuantizeLinear":
            continue
        for name in node.input:
            ratio = float(constants[producers[name].input[1]] / constants[after.input[1]])
            assert math.frexp(ratio)[0] == 0.5
            found += 1
    assert found >= 6
