from pathlib import Path

import numpy as np
import onnx
import pytest
from lightsr.model import bundled_models
from lightsr_bench import architectures, costs, networks
from lightsr_bench.networks import NetworkError
from onnx import TensorProto, helper


def enlarger(path: Path, *, channels: int = 3, scale: int = 2, name: str = "x") -> Path:
    """A network of no weights that repeats every pixel."""
    nodes = [
        helper.make_node("Concat", [name] * scale * scale, ["wide"], axis=1),
        helper.make_node("DepthToSpace", ["wide"], ["y"], blocksize=scale, mode="DCR"),
    ]
    value = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "enlarger",
        [value(name, TensorProto.FLOAT, [1, channels, "h", "w"])],
        [value("y", TensorProto.FLOAT, [1, channels, "sh", "sw"])],
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


def test_names_files_and_folders(tmp_path: Path) -> None:
    one = enlarger(tmp_path / "a" / "NET_x2.onnx")
    enlarger(tmp_path / "b" / "NET_x2.onnx")
    (tmp_path / "b" / "NET_x2.pb").write_bytes(b"")
    (tmp_path / "b" / "LICENSE.txt").write_text("free")
    found = networks.find([str(tmp_path)])
    assert [network.name for network in found] == ["a/NET_x2", "b/NET_x2", "NET_x2 (OpenCV)"]
    assert [network.engine for network in found] == ["onnxruntime", "onnxruntime", "opencv"]
    assert [network.name for network in networks.find([str(one), str(one)])] == ["NET_x2"]


def test_bundled_models_are_found_by_name_and_by_default() -> None:
    every = networks.find([])
    assert {network.path.name for network in every} == {model.file_name for model in bundled_models()}
    assert {network.engine for network in every} == {"lightsr"}
    assert networks.find(["tiny"], scale=2)
    with pytest.raises(NetworkError, match="'tiny' x8: not bundled; there are "):
        networks.find(["tiny"], scale=8)
    with pytest.raises(NetworkError, match="'tiyn': not bundled"):
        networks.find(["tiyn"])


def test_what_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(NetworkError, match=r"no \.onnx or \.pb file in it"):
        networks.find([str(tmp_path)])
    with pytest.raises(NetworkError, match=r"none\.onnx: no such file"):
        networks.find([str(tmp_path / "none.onnx")])


@pytest.mark.parametrize(("channels", "scale"), [(1, 2), (3, 3)])
def test_a_foreign_network_tells_its_scale_and_channels(tmp_path: Path, channels: int, scale: int) -> None:
    path = enlarger(tmp_path / "n.onnx", channels=channels, scale=scale, name="anything")
    runner = networks.load(path, "onnxruntime", threads=1)
    assert (runner.scale, runner.channels) == (scale, channels)
    picture = np.random.default_rng(0).random((channels, 5, 7), dtype=np.float32)
    np.testing.assert_array_equal(runner.run(picture), picture.repeat(scale, 1).repeat(scale, 2))


def test_what_cannot_be_run_says_why(tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a network")
    with pytest.raises(NetworkError, match=r"broken\.onnx: onnxruntime cannot load it: "):
        networks.load(broken, "onnxruntime", threads=1)
    with pytest.raises(NetworkError, match=r"takes tensor.*; one tensor\(float\) \[n, 1 or 3, h, w\] is needed"):
        networks.load(enlarger(tmp_path / "four.onnx", channels=4), "onnxruntime", threads=1)
    graph = tmp_path / "broken.pb"
    graph.write_bytes(b"not a network")
    with pytest.raises(NetworkError, match=r"broken\.pb: OpenCV cannot load it"):
        networks.load(graph, "opencv", threads=1)


@pytest.mark.parametrize("name", architectures.ARCHITECTURES)
@pytest.mark.parametrize("scale", [2, 3, 4])
def test_architectures_enlarge_one_channel(name: str, scale: int, tmp_path: Path) -> None:
    runner = networks.load(architectures.write(name, scale, tmp_path), "onnxruntime", threads=1)
    assert (runner.scale, runner.channels) == (scale, 1)
    result = runner.run(np.random.default_rng(0).random((1, 9, 13), dtype=np.float32))
    assert result.shape == (1, 9 * scale, 13 * scale)
    assert np.isfinite(result).all()


def test_costs_are_those_of_the_papers(tmp_path: Path) -> None:
    found = {
        name: costs.of(networks.Network(name, architectures.write(name, 2, tmp_path), "onnxruntime"))
        for name in architectures.ARCHITECTURES
    }
    # weights as in the papers, then a bias a channel and FSRCNN's slopes
    weights = {"fsrcnn": 25 * 56 + 56 * 12 + 4 * 9 * 144 + 12 * 56 + 81 * 56, "espcn": 1600 + 18432 + 9 * 32 * 4}
    weights["srcnn"] = 81 * 64 + 64 * 32 + 25 * 32
    extra = {"fsrcnn": 2 * (56 + 12 + 4 * 12 + 56) + 1, "espcn": 64 + 32 + 4, "srcnn": 64 + 32 + 1 + 4}
    assert {name: entry.parameters for name, entry in found.items()} == {
        name: weights[name] + extra[name] for name in found
    }
    # the deconvolution of FSRCNN and everything else of it works on the small picture, SRCNN on the large one
    assert {name: entry.macs_per_px for name, entry in found.items()} == {
        "fsrcnn": weights["fsrcnn"] / 4,
        "espcn": weights["espcn"] / 4,
        "srcnn": weights["srcnn"],
    }


def test_costs_of_the_bundled_models_agree_between_precisions() -> None:
    fp32, int8 = (costs.of(network) for network in networks.find(["base"], scale=2))
    assert int8.parameters == fp32.parameters
    assert int8.macs_per_px == fp32.macs_per_px
    assert int8.file_kib < 0.5 * fp32.file_kib  # its tail is in float
    assert any("QLinearConv" in name for name in int8.operators)


def test_opencv_runs_its_own_graphs(peers: Path) -> None:
    path = peers / "opencv" / "fsrcnn-opencv" / "FSRCNN_x2.pb"
    network = networks.Network("FSRCNN", path, "opencv")
    entry = costs.of(network)
    assert (entry.scale, entry.channels, entry.operators) == (2, 1, {})
    # FSRCNN with a sub-pixel tail: the last layer gives 4 channels at the small size
    weights = 25 * 56 + 56 * 12 + 4 * 9 * 144 + 12 * 56 + 56 * 4
    assert entry.macs_per_px == weights / 4
    runner = networks.load(path, "opencv", threads=1)
    picture = np.tile(np.linspace(0.2, 0.8, 40, dtype=np.float32), (40, 1))[None]
    expected = np.tile(np.interp((np.arange(80) - 0.5) / 2, np.arange(40), picture[0, 0]), (80, 1))
    np.testing.assert_allclose(runner.run(picture)[0, 8:-8, 8:-8], expected[8:-8, 8:-8], atol=0.02)


def test_foreign_messages_name_no_folders(tmp_path: Path) -> None:
    """onnxruntime puts the whole path into its text, which goes into published results."""
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(b"not a network")
    with pytest.raises(NetworkError) as caught:
        networks.load(broken, "onnxruntime", threads=1)
    assert str(caught.value).count(str(tmp_path)) == 1  # ours, which the result file names by its variable
