import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from lightsr_export import graph
from lightsr_export.errors import ExportError
from lightsr_train.networks import LightDense

from .conftest import a_network


def test_onnxruntime_agrees_with_torch(model: onnx.ModelProto, network: LightDense) -> None:
    assert graph.checked(model, network) <= 1e-5
    assert all(side % 2 for shape in graph.CHECK_SHAPES for side in shape[2:])


@pytest.mark.parametrize("scale", [3, 4])
def test_other_scales(scale: int) -> None:
    network = a_network(scale=scale, unshuffle=1)
    graph.checked(graph.to_onnx(network), network)


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
    assert b"/" not in content.split(b"lightsr")[0]


def test_a_network_that_differs_is_not_exported(model: onnx.ModelProto, network: LightDense) -> None:
    other = a_network()
    with torch.no_grad():
        other.skip.raw[0, 0, 2, 2] += 0.01
    with pytest.raises(ExportError, match="differ by"):
        graph.checked(model, other)


def test_simplified_agrees(model: onnx.ModelProto, network: LightDense) -> None:
    simple = graph.simplified(model, network)
    assert graph.largest_difference(simple, network) <= 1e-5
    assert graph.dynamic_axes(simple) == graph.dynamic_axes(model)


def test_a_wrong_simplification_is_dropped(
    model: onnx.ModelProto, network: LightDense, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(original: onnx.ModelProto) -> tuple[onnx.ModelProto, bool]:
        changed = onnx.ModelProto()
        changed.CopyFrom(original)
        for tensor in changed.graph.initializer:
            if tensor.name == "tail.weight":
                values = onnx.numpy_helper.to_array(tensor) * np.float32(1.1)
                tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
        return changed, True

    monkeypatch.setattr(graph.onnxsim, "simplify", wrong)
    assert graph.simplified(model, network) is model
    assert "onnxsim" in caplog.text


def test_metadata(model: onnx.ModelProto) -> None:
    found = graph.with_metadata(model, {"a": "b"})
    meta = onnxruntime.InferenceSession(found.SerializeToString()).get_modelmeta()
    assert meta.custom_metadata_map == {"a": "b"}
    assert not model.metadata_props


def test_reach_of_the_exported_graph(model: onnx.ModelProto, network: LightDense) -> None:
    """The halo that the card will state bounds what the exported graph sees."""
    config = network.config
    side = 2 * config.halo_px + 8
    lr = np.random.default_rng(0).random((1, 1, side, side), dtype=np.float32)
    touched = lr.copy()
    touched[..., config.halo_px - 1 : config.halo_px + 1, :] += 5
    before, after = graph.run(model, lr), graph.run(model, touched)
    changed = np.nonzero((before != after).any(axis=(0, 1, 3)))[0]
    assert changed.max() < 2 * (2 * config.halo_px + 1)
