import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from lightsr_export import graph, rewrite
from lightsr_export.errors import ExportError
from lightsr_train.dense import LightDense

from .conftest import BASELINES, a_baseline, a_network, simplified


def test_onnxruntime_agrees_with_torch(model: onnx.ModelProto, network: LightDense) -> None:
    assert graph.checked(model, network) <= 1e-5
    assert all(side % 2 for shape in graph.CHECK_SHAPES for side in shape[2:])


@pytest.mark.parametrize(("scale", "unshuffle"), [(2, 2), (3, 2), (4, 1), (8, 2)])
def test_the_graph_that_devices_run_agrees(scale: int, unshuffle: int) -> None:
    """Those of scales 3, 4 and 8 are the ones that `test_other_scales` exports."""
    network = a_network(scale=scale, unshuffle=unshuffle, branches=True)
    graph.checked(simplified(network), network)


@pytest.mark.parametrize(("family", "scale"), [*((family, 2) for family in BASELINES), ("fsrcnn", 3), ("espcn", 3)])
def test_baselines_agree(family: str, scale: int) -> None:
    network = a_baseline(family, scale)
    found = simplified(network)
    graph.checked(found, network)
    assert "ConvTranspose" not in {node.op_type for node in found.graph.node}


def test_inputs_outputs_and_operators(model: onnx.ModelProto) -> None:
    assert [value.name for value in model.graph.input] == ["lr"]
    assert [value.name for value in model.graph.output] == ["sr"]
    assert graph.dynamic_axes(model) == [(0, 2, 3), (0, 2, 3)]
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [("", graph.OPSET)]
    operators = {node.op_type for node in model.graph.node}
    assert not operators & {"ConvTranspose", "Resize"}
    assert {"Conv", "DepthToSpace", "Concat"} <= operators


def test_nothing_of_the_machine_is_kept(model: onnx.ModelProto) -> None:
    content = model.SerializeToString()
    assert b".py" not in content
    assert b"/usr" not in content
    assert b"site-packages" not in content


def test_a_network_that_differs_is_not_exported(model: onnx.ModelProto, network: LightDense) -> None:
    other = a_network()
    with torch.no_grad():
        other.skip.raw[0, 0, 2, 2] += 0.01
    with pytest.raises(ExportError, match="differ by"):
        graph.checked(model, other)


def test_each_pass_agrees_and_keeps_sizes_dynamic(network: LightDense) -> None:
    model = graph.to_onnx(rewrite.rewritten(network)[0])
    current, applied = graph.simplified(model, network)
    assert applied == ["onnxsim", "linear"]
    for name, apply in graph.PASSES[:2]:
        after = apply(model)
        assert after is not None, name
        assert graph.largest_difference(after, network) <= 1e-5
        assert graph.dynamic_axes(after) == graph.dynamic_axes(model)
        model = after
    assert graph.largest_difference(current, network) <= 1e-5


def test_relus_go_before_depth_to_space() -> None:
    network = a_baseline("srdense")
    model = graph.to_onnx(rewrite.rewritten(network)[0])
    after = graph.relus_first(model)
    assert after is not None
    graph.checked(after, network)
    makers = {name: node for node in after.graph.node for name in node.output}
    shuffles = [node for node in after.graph.node if node.op_type == "DepthToSpace"]
    assert shuffles
    assert all(makers[node.input[0]].op_type == "Relu" for node in shuffles)
    assert graph.relus_first(after) is None


def test_a_wrong_pass_is_dropped(
    network: LightDense, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(original: onnx.ModelProto) -> onnx.ModelProto:
        changed = onnx.ModelProto()
        changed.CopyFrom(original)
        for tensor in changed.graph.initializer:
            if tensor.name == "tail.weight":
                values = onnx.numpy_helper.to_array(tensor) * np.float32(1.1)
                tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        return changed

    def failing(original: onnx.ModelProto) -> onnx.ModelProto:
        raise RuntimeError("out of memory at 0x1234")

    model = graph.to_onnx(rewrite.rewritten(network)[0])
    monkeypatch.setattr(graph, "PASSES", (("wrong", wrong), ("failing", failing)))
    found, applied = graph.simplified(model, network)
    assert found is model
    assert applied == []
    assert "'wrong'" in caplog.text
    assert "'failing' is left out: it failed with RuntimeError" in caplog.text


def test_metadata(model: onnx.ModelProto) -> None:
    found = graph.with_metadata(model, {"a": "b"})
    meta = onnxruntime.InferenceSession(found.SerializeToString()).get_modelmeta()
    assert meta.custom_metadata_map == {"a": "b"}
    assert not model.metadata_props


def test_reach_of_the_exported_graph(model: onnx.ModelProto, network: LightDense) -> None:
    """The halo that the card will state bounds what the exported graph sees."""
    side = 2 * network.halo_px + 8
    lr = np.random.default_rng(0).random((1, 1, side, side), dtype=np.float32)
    touched = lr.copy()
    touched[..., network.halo_px - 1 : network.halo_px + 1, :] += 5
    before, after = graph.run(model, lr), graph.run(model, touched)
    changed = np.nonzero((before != after).any(axis=(0, 1, 3)))[0]
    assert changed.max() < 2 * (2 * network.halo_px + 1)
