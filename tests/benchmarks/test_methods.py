import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from lightsr.model import bundled_models
from lightsr_bench import methods, networks
from lightsr_bench.methods import Failure
from lightsr_bench.networks import LightsrRunner, NetworkError
from onnx import TensorProto, helper


def network(path: Path, *nodes: Any, channels: int = 3, scale: int = 2, **constants: Any) -> Path:
    """A network that repeats every pixel of "a", which `nodes` make of "x" (by default, the same)."""
    nodes = nodes or (helper.make_node("Identity", ["x"], ["a"]),)
    tail = [
        helper.make_node("Concat", ["a"] * scale * scale, ["wide"], axis=1),
        helper.make_node("DepthToSpace", ["wide"], ["y"], blocksize=scale, mode="DCR"),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        [*nodes, *tail],
        "test",
        [value("x", TensorProto.FLOAT, [1, channels, "h", "w"])],
        [value("y", TensorProto.FLOAT, [1, channels, "sh", "sw"])],
        [onnx.numpy_helper.from_array(np.asarray(array, np.float32), name) for name, array in constants.items()],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def not_a_number_below(path: Path, level: float) -> Path:
    """A network whose results are not finite where its input is below a level."""
    nodes = [
        helper.make_node("Sub", ["x", "level"], ["difference"]),
        helper.make_node("Sqrt", ["difference"], ["a"]),
    ]
    return network(path, *nodes, level=level)


def loaded(path: Path) -> methods.Method:
    return methods.network_method(networks.load(path, "onnxruntime", threads=1))


@pytest.mark.parametrize("scale", [2, 3, 4])
def test_interpolations_do_not_shift(scale: int) -> None:
    found = methods.interpolations(scale)
    assert list(found) == ["nearest", "bilinear", "bicubic", "lanczos"]
    rows, columns = np.mgrid[:24, :30]
    low = (1000 * rows + 300 * columns + 500).astype(np.uint16)
    rows, columns = ((np.arange(scale * n) + 0.5) / scale - 0.5 for n in low.shape)
    exact = 1000 * rows[:, None] + 300 * columns + 500
    inner = np.s_[5 * scale : -5 * scale, 5 * scale : -5 * scale]
    for name, enlarge in found.items():
        result = enlarge(low)
        assert result.dtype == low.dtype
        assert result.shape == exact.shape
        error = (result - exact)[inner]
        assert abs(error.mean()) < 1  # a quarter of a low-resolution pixel would be 325
        assert np.abs(error).max() < {"nearest": 651, "lanczos": 25}.get(name, 1)
        assert (enlarge(np.full((9, 11), 77, np.uint8)) == 77).all()


def test_overshoot_is_clipped() -> None:
    low = np.zeros((12, 12), np.uint8)
    low[:, 6:] = 255
    for name, enlarge in methods.interpolations(2).items():
        result = enlarge(low)
        assert (result.min(), result.max()) == (0, 255), name
        assert (np.diff(result[12].astype(int)) >= 0).all() or name in ("bicubic", "lanczos")


def test_a_network_gets_grey_in_every_channel_and_gives_the_mean(tmp_path: Path) -> None:
    node = helper.make_node("Mul", ["x", "weights"], ["a"])
    weights = np.reshape([0.5, 0.9, 1.6], (1, 3, 1, 1))
    low = np.arange(40, dtype=np.uint16).reshape(5, 8) * 100
    result = loaded(network(tmp_path / "a.onnx", node, weights=weights))(low)
    np.testing.assert_array_equal(result, low.repeat(2, 0).repeat(2, 1))
    assert result.dtype == np.uint16


@pytest.mark.parametrize(
    ("low", "offset", "span"),
    [
        (np.array([[0, 50], [100, 200]], np.uint8), 0, 255),
        (np.array([[5, 500], [1000, 4000]], np.uint16), 0, 4000),
        (np.array([[-1000, 50], [104, 3000]], np.int16), -1000, 4000),
        (np.zeros((2, 2), np.uint16), 0, 1),
    ],
)
def test_a_network_gets_values_from_0_to_1(tmp_path: Path, low: np.ndarray, offset: float, span: float) -> None:
    square = loaded(network(tmp_path / "square.onnx", helper.make_node("Mul", ["x", "x"], ["a"])))
    expected = np.rint(np.square((low - float(offset)) / span) * span + offset)
    np.testing.assert_array_equal(square(low)[::2, ::2], expected)


def test_results_are_clipped_to_the_type(tmp_path: Path) -> None:
    node = helper.make_node("Mul", ["x", "gain"], ["a"])
    low = np.array([[0, 255]], np.uint8)
    assert loaded(network(tmp_path / "a.onnx", node, gain=2.0))(low).max() == 255
    assert loaded(network(tmp_path / "b.onnx", node, gain=-2.0))(low).max() == 0


def test_float_pictures_stay_float_and_are_not_rounded(tmp_path: Path) -> None:
    low = np.linspace(-0.7, 2.2, 144, dtype=np.float32).reshape(12, 12)
    every = methods.interpolations(2) | {"network": loaded(network(tmp_path / "a.onnx"))}
    for name, enlarge in every.items():
        result = enlarge(low)
        assert result.dtype == np.float32, name
        assert np.abs(result - low.repeat(2, 0).repeat(2, 1)).max() < 0.3, name


def test_results_that_are_not_finite_are_failures(tmp_path: Path) -> None:
    enlarge = loaded(not_a_number_below(tmp_path / "nan.onnx", 0.5))
    assert enlarge(np.full((4, 4), 200, np.uint8)).shape == (8, 8)
    with pytest.raises(NetworkError, match="not finite"):
        enlarge(np.full((4, 4), 100, np.uint8))
    runner = object.__new__(LightsrRunner)
    runner.upscaler = lambda low: np.full((2, 2), np.nan, np.float32).astype(low.dtype)  # type: ignore[assignment]
    with pytest.raises(NetworkError, match="not finite"):
        methods.network_method(runner)(np.zeros((1, 1), np.uint8))


def test_a_result_of_another_shape_is_a_failure() -> None:
    class Runner:
        scale, channels = 2, 1

        def run(self, picture: np.ndarray) -> np.ndarray:
            return picture

    with pytest.raises(NetworkError, match=r"gives shape \(1, 3, 4\) for \(1, 3, 4\)"):
        methods.network_method(Runner())(np.zeros((3, 4), np.uint8))


def test_selection(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    network(tmp_path / "nets" / "good.onnx")
    network(tmp_path / "nets" / "other.onnx", scale=3)
    named = network(tmp_path / "named.onnx", scale=3)
    clash = network(tmp_path / "bicubic.onnx")
    (tmp_path / "nets" / "broken.onnx").write_bytes(b"not a network")
    with caplog.at_level(logging.WARNING):
        found = methods.select(["tiny", str(tmp_path / "nets"), str(named), str(clash)], scale=2, threads=1)
    names = ["tiny-x2-fp32", "tiny-x2-int8", "good", "bicubic (network)"]
    assert list(found.methods) == ["nearest", "bilinear", "bicubic", "lanczos", *names]
    assert [entry.name for entry in found.networks] == names
    broken, wrong = found.failures
    assert (broken.method, broken.path) == ("broken", "")
    assert broken.reason.startswith("onnxruntime cannot load it")
    assert str(tmp_path / "nets" / "broken.onnx") not in broken.reason
    assert wrong == Failure("named", "", "enlarges by 3; --scale 2 was asked for")
    assert "left out, not x2: other" in caplog.text
    assert "broken: onnxruntime cannot load it" in caplog.text
    low = np.arange(48, dtype=np.uint8).reshape(6, 8)
    np.testing.assert_array_equal(found.methods["good"](low), found.methods["nearest"](low))


def test_all_bundled_networks_of_a_scale_are_the_default() -> None:
    found = methods.select([], scale=2, threads=1)
    assert {entry.path.name for entry in found.networks} == {m.file_name for m in bundled_models() if m.scale == 2}
    with pytest.raises(NetworkError, match="no model is bundled at x5; there are some at "):
        methods.select([], scale=5, threads=1)
    with pytest.raises(NetworkError, match="'tiyn' x2: not bundled"):
        methods.select(["tiyn"], scale=2, threads=1)


def test_failures_are_told_once_a_method() -> None:
    failures = [
        Failure("b", "", "no"),
        Failure("a", "1.png", "big"),
        Failure("", "x", "bad"),
        Failure("a", "2.png", "?"),
    ]
    assert methods.by_method(failures) == {"b": "no", "a": "1.png: big; and 1 more"}
    assert [str(failure) for failure in failures[:3]] == ["b: no", "a: 1.png: big", "x: bad"]
