import os
import subprocess
import sys
from collections import Counter
from importlib import resources
from pathlib import Path

import numpy as np
import onnx
import pytest
from lightsr_export import profile
from lightsr_export.errors import ExportError
from lightsr_export.profile import Kernel, Paired
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

LR = np.random.default_rng(0).random((1, 1, 24, 20), dtype=np.float32)


def bundled(precision: str) -> bytes:
    return (resources.files("lightsr") / "models" / f"tiny-x2-{precision}.onnx").read_bytes()


def convolutions(*shapes: tuple[int, int, int], residual: bool = False, name: str = "convolution{}") -> onnx.ModelProto:
    """Convolutions of (in, out, kernel), a ReLU after each, then the sum with the first of them."""
    nodes, weights, value = [], [], "lr"
    for number, (channels, features, side) in enumerate(shapes):
        weight = np.random.default_rng(number).standard_normal((features, channels, side, side), dtype=np.float32)
        weights.append(numpy_helper.from_array(weight, f"w{number}"))
        pads = [side // 2] * 4
        nodes.append(helper.make_node("Conv", [value, f"w{number}"], [f"c{number}"], name.format(number), pads=pads))
        value = f"r{number}"
        nodes.append(helper.make_node("Relu", [f"c{number}"], [value]))
    if residual:
        nodes.append(helper.make_node("Add", [value, "r0"], ["sum"]))
        value = "sum"
    nodes.append(helper.make_node("Neg", [value], ["sr"]))
    information = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "convolutions",
        [information("lr", TensorProto.FLOAT, [1, shapes[0][0], "h", "w"])],
        [information("sr", TensorProto.FLOAT, [1, shapes[-1][1], "h", "w"])],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def test_multiply_adds_and_parameters_of_a_graph() -> None:
    model = convolutions((1, 16, 5), (16, 6, 3))
    pixels = LR.shape[2] * LR.shape[3]
    assert profile.multiply_adds(model, LR) == {"c0": pixels * 25 * 16, "c1": pixels * 9 * 16 * 6}
    assert profile.parameters(model) == 25 * 16 + 9 * 16 * 6
    assert model.graph.node[0].name == "convolution0"


def test_matrix_products_count() -> None:
    node = helper.make_node("Gemm", ["a", "w"], ["b"], transA=1)
    assert profile._products(node, (5, 6), (5, 4), (6, 4)) == 6 * 4 * 5


def test_deconvolutions_count_at_their_input() -> None:
    node = helper.make_node("ConvTranspose", ["a", "w"], ["b"], strides=[2, 2])
    assert profile._products(node, (1, 8, 5, 5), (8, 3, 4, 4), (1, 3, 12, 12)) == 25 * 8 * 3 * 16


def test_a_model_is_given_in_any_form(tmp_path: Path) -> None:
    model = convolutions((1, 16, 3))
    path = tmp_path / "model.onnx"
    onnx.save(model, path)
    forms = (model, model.SerializeToString(), path, str(path))
    assert len({str(profile.optimised_operators(form)) for form in forms}) == 1
    assert len({str(profile.multiply_adds(form, LR)) for form in forms}) == 1
    assert {profile.parameters(form) for form in forms} == {9 * 16}


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_every_kernel_of_the_graph_is_timed(precision: str) -> None:
    content = bundled(precision)
    found = profile.kernels(content, LR, runs=3)
    expected: Counter[str] = Counter()
    for operator, count in profile.optimised_operators(content).items():
        expected[operator.split(":")[-1]] += count
    assert Counter(kernel.operator for kernel in found) == expected
    assert {kernel.count for kernel in found} == {3}
    assert sum(kernel.share for kernel in found) == pytest.approx(1)
    assert [kernel.share for kernel in found] == sorted((kernel.share for kernel in found), reverse=True)
    total = sum(kernel.mean_ms for kernel in found)
    assert found[0].share == pytest.approx(found[0].mean_ms / total)


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_kernels_do_the_work_of_the_graph(precision: str) -> None:
    content = bundled(precision)
    found = profile.kernels(content, LR, runs=1)
    counted = sorted(profile.multiply_adds(content, LR).values())
    assert sorted(kernel.macs for kernel in found if kernel.macs) == counted
    floats = sum(kernel.operator in profile.FLOAT_CONVOLUTIONS for kernel in found if kernel.macs)
    assert floats == (len(counted) if precision == "fp32" else 7)


@pytest.mark.parametrize("channels", [16, 17])  # one that is blocked, and one that cannot be
@pytest.mark.parametrize("name", ["convolution{}", "same", ""])
def test_work_is_told_through_fusions_and_without_names(channels: int, name: str) -> None:
    shapes = (1, 16, 3), (16, channels, 1), (channels, channels, 3), (channels, 16, 5)
    model = convolutions(*shapes, residual=True, name=name)
    found = profile.kernels(model, LR, runs=1)
    weighed = [kernel for kernel in found if kernel.operator in profile.FLOAT_CONVOLUTIONS]
    assert sorted(kernel.macs for kernel in weighed) == sorted(profile.multiply_adds(model, LR).values())


def test_work_is_told_through_a_fused_matrix_product() -> None:
    nodes = [
        helper.make_node("MatMul", ["lr", "w"], ["m"], "product"),
        helper.make_node("Add", ["m", "b"], ["s"], "plus"),
        helper.make_node("Relu", ["s"], ["sr"]),
    ]
    graph = helper.make_graph(
        nodes,
        "dense",
        [helper.make_tensor_value_info("lr", TensorProto.FLOAT, [24, 20])],
        [helper.make_tensor_value_info("sr", TensorProto.FLOAT, [24, 8])],
        [numpy_helper.from_array(np.ones(shape, np.float32), name) for name, shape in (("w", (20, 8)), ("b", (8,)))],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    assert [kernel.macs for kernel in profile.kernels(model, LR[0, 0], runs=1) if kernel.macs] == [24 * 20 * 8]


def test_padded_channels_are_no_work() -> None:
    (kernel,) = (k for k in profile.kernels(convolutions((16, 4, 3)), LR.repeat(16, 1), runs=1) if k.macs)
    assert kernel.macs == LR.size * 9 * 16 * 4


def test_published_networks(peers: Path) -> None:
    for path in sorted(peers.glob("*/*_x4.onnx")):
        model = onnx.load(path)
        shape = [dim.dim_value or 16 for dim in model.graph.input[0].type.tensor_type.shape.dim]
        lr = np.zeros((1, *shape[1:]), np.float32)
        total = sum(kernel.macs for kernel in profile.kernels(model, lr, runs=1))
        assert total == sum(profile.multiply_adds(model, lr).values()), path.name


def test_rate_of_convolutions() -> None:
    found = [
        Kernel("Conv", "a", 10, 2.0, 0.4, 6_000_000),
        Kernel("FusedConv", "b", 10, 1.0, 0.2, 3_000_000),
        Kernel("Conv", "unknown", 10, 9.0, 0.1, 0),
        Kernel("QLinearConv", "c", 10, 1.0, 0.2, 8_000_000),
        Kernel("Concat", "d", 10, 1.0, 0.1, 0),
    ]
    assert profile.convolution_rate(found) == pytest.approx(3e9)
    assert profile.convolution_rate(found, operators=frozenset({"QLinearConv"})) == pytest.approx(8e9)
    with pytest.raises(ExportError, match="no Conv or FusedConv or .* among the kernels"):
        profile.convolution_rate(found[3:])


def test_a_heavy_model_is_slower_than_a_light_one() -> None:
    models = {"light": convolutions((1, 4, 1)), "heavy": convolutions((1, 64, 3), (64, 64, 3), (64, 64, 3))}
    lr = np.zeros((1, 1, 96, 96), np.float32)
    found = profile.paired_latency(models, lr, rounds=5, warm_up=1)
    assert {name: len(runs) for name, runs in found.rounds_ms.items()} == {"light": 5, "heavy": 5}
    assert found.ratio("heavy", "light") > 5
    assert found.minimum_ms["heavy"] > 5 * found.minimum_ms["light"]
    by_model = {name: profile.kernels(model, lr, runs=3) for name, model in models.items()}
    times = {name: sum(kernel.mean_ms for kernel in kernels) for name, kernels in by_model.items()}
    assert times["heavy"] > 5 * times["light"]


def test_models_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []

    class Input:
        name = "lr"

    class Session:
        def __init__(self, model: bytes) -> None:
            self.model = model.decode()

        def get_inputs(self) -> list[type[Input]]:
            return [Input]

        def run(self, outputs: None, feed: dict[str, NDArray[np.float32]]) -> None:
            order.append(self.model)

    monkeypatch.setattr(profile, "_session", Session)
    found = profile.paired_latency({"x": b"a", "y": b"b", "z": b"c"}, LR, rounds=3, warm_up=2)
    assert "".join(order) == "abc" * 5
    assert {name: len(runs) for name, runs in found.rounds_ms.items()} == {"x": 3, "y": 3, "z": 3}


def test_figures_of_a_pair() -> None:
    found = Paired({"a": (4.0, 2.0, 12.0), "b": (1.0, 2.0, 4.0)})
    assert found.minimum_ms == {"a": 2.0, "b": 1.0}
    assert found.median_ms == {"a": 4.0, "b": 2.0}
    assert found.ratio("a", "b") == 3.0  # of 4, 1 and 3; the ratio of the medians would be 2


def test_peak_is_the_products_of_the_fastest_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert 1e8 < profile.gemm_peak(side=256, runs=2) < 1e13
    monkeypatch.setattr(profile, "paired_latency", lambda models, lr, rounds: Paired({"product": (4.0, 2.0)}))
    assert profile.gemm_peak(side=100) == pytest.approx(100**3 / 0.002)


def test_no_torch_and_nothing_left_behind(tmp_path: Path) -> None:
    """Neither onnxruntime's identifier in the home folder nor a profile in the current one."""
    script = (
        "import sys\n"
        "from lightsr_export import profile\n"
        "assert 'torch' not in sys.modules\n"
        "profile.gemm_peak(side=8, runs=1)\n"
        "assert 'torch' not in sys.modules\n"
    )
    ours = ["CI", "GITHUB_ACTIONS", "TF_BUILD", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"]
    environment = {name: value for name, value in os.environ.items() if name not in ours}
    environment |= {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", script], env=environment, cwd=tmp_path, check=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
