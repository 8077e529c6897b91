import math
from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from lightsr.card import golden_input
from lightsr_export import golden, graph, quantise
from lightsr_export.errors import ExportError
from lightsr_export.quantise import Range


def images() -> list[np.ndarray]:
    return [golden_input(seed, (40, 44)) for seed in range(1, 9)]


@pytest.fixture(scope="module")
def int8(model: onnx.ModelProto) -> onnx.ModelProto:
    return quantise.quantised(model, quantise.calibrate(model, images(), percentile=100))


def optimised(model: onnx.ModelProto, path: Path) -> Counter[str]:
    """Operators, with their parts' names, after onnxruntime's own fusion."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(path)
    options.log_severity_level = 3
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(path).graph.node)


def test_everything_between_stem_and_tail_is_integer(
    model: onnx.ModelProto, int8: onnx.ModelProto, tmp_path: Path
) -> None:
    operators = optimised(int8, tmp_path / "o.onnx")
    body = Counter(node.op_type for node in quantise.body_nodes(model))
    assert operators["QLinearConv"] == body["Conv"]
    assert operators["QLinearConcat"] == body["Concat"]
    assert operators["QLinearAdd"] == body["Add"]
    assert operators["QuantizeLinear"] == 1
    assert operators["DequantizeLinear"] == 1
    floats = {"stem": 1, "skip": 1, "consistency": 3}
    assert operators["Conv"] == sum(floats.values())


def test_only_standard_operators_and_valid(int8: onnx.ModelProto) -> None:
    onnx.checker.check_model(int8, full_check=True)
    assert {entry.domain for entry in int8.opset_import} == {""}


def test_concatenations_share_one_scale(int8: onnx.ModelProto) -> None:
    scales = {t.name: float(onnx.numpy_helper.to_array(t)) for t in int8.graph.initializer if t.dims == []}
    concats = [node for node in int8.graph.node if node.op_type == "Concat"]
    assert concats
    for node in concats:
        names = [name.removesuffix(".dequantised") for name in node.input] + list(node.output)
        assert len({scales[f"{name}.scale"] for name in names}) == 1


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


def test_ranges_hold_zero() -> None:
    scale, zero = Range(-1.0, 3.0).parameters()
    assert zero == 64
    assert (0 - float(zero)) * scale == pytest.approx(-1.0, abs=0.01)
    assert Range(0.0, 0.0).parameters()[1] == 0


def test_without_images_there_is_no_calibration(model: onnx.ModelProto) -> None:
    with pytest.raises(ExportError, match="no calibration images"):
        quantise.calibrate(model, [])


def test_a_graph_without_a_body_is_named() -> None:
    model = onnx.helper.make_model(onnx.helper.make_graph([], "g", [], []))
    with pytest.raises(ExportError, match="no body"):
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
    test = golden.golden(int8, "int8")
    output = graph.run(int8, test.input())
    assert test.agrees(output)
    random = np.random.default_rng(0)
    jitter = random.uniform(-0.9e-5, 0.9e-5, output.shape).astype(np.float32)
    assert test.agrees(output + jitter)
    assert not test.agrees(graph.run(model, test.input()))
    assert golden.golden(model, "fp32").agrees(graph.run(model, golden_input(1, golden.SHAPE)))


def test_additions_round_alike_on_every_processor(int8: onnx.ModelProto) -> None:
    """Ratios of scales have so few bits that fused and separate multiply-adds give the same sum."""
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
            mantissa = math.frexp(ratio)[0] * 2**quantise.RATIO_BITS
            assert mantissa == int(mantissa)
            found += 1
    assert found >= 2
