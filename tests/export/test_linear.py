"""Linear maps are multiplied out: fewer operators, the same result."""

from collections import Counter

import numpy as np
import onnx
import pytest
from lightsr_export import graph, rewrite
from lightsr_export.linear import multiplied_out, prune
from onnx import helper, numpy_helper

from .conftest import a_network


def model_of(nodes: list[onnx.NodeProto], weights: dict[str, np.ndarray], output: str) -> onnx.ModelProto:
    value = [helper.make_tensor_value_info(name, 1, [1, None, None, None]) for name in ("lr", output)]
    tensors = [numpy_helper.from_array(weight.astype(np.float32), name) for name, weight in weights.items()]
    made = helper.make_graph(nodes, "g", value[:1], value[1:], tensors)
    return helper.make_model(made, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def pointwise(outputs: int, inputs: int, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(outputs, inputs, 1, 1))


def node(kind: str, inputs: list[str], output: str) -> onnx.NodeProto:
    axis = {"axis": 1} if kind == "Concat" else {}
    return helper.make_node(kind, inputs, [output], name=output, **axis)


def kinds(model: onnx.ModelProto) -> Counter[str]:
    return Counter(item.op_type for item in model.graph.node)


def same(first: onnx.ModelProto, second: onnx.ModelProto) -> bool:
    lr = np.random.default_rng(0).random((1, 3, 5, 7), dtype=np.float32)
    return bool(np.allclose(graph.run(first, lr), graph.run(second, lr), atol=1e-5))


def test_a_fusion_and_its_residual_become_one_convolution() -> None:
    model = model_of(
        [
            node("Conv", ["lr", "a"], "x"),
            node("Conv", ["x", "b"], "y"),
            node("Relu", ["y"], "z"),
            node("Concat", ["x", "z"], "joined"),
            node("Conv", ["joined", "fuse"], "fused"),
            node("Add", ["x", "fused"], "sr"),
        ],
        {"a": pointwise(4, 3, 0), "b": pointwise(4, 4, 1), "fuse": pointwise(4, 8, 2)},
        "sr",
    )
    found = multiplied_out(model)
    assert found is not None
    assert kinds(found) == {"Conv": 3, "Relu": 1, "Concat": 1}
    assert same(found, model)


def test_what_costs_more_multiplied_out_stays() -> None:
    """A bottleneck of one channel between sixteen is cheaper as two convolutions."""
    model = model_of(
        [
            node("Conv", ["lr", "a"], "x"),
            node("Relu", ["x"], "y"),
            node("Conv", ["y", "narrow"], "z"),
            node("Conv", ["z", "wide"], "sr"),
        ],
        {"a": pointwise(16, 3, 0), "narrow": pointwise(1, 16, 1), "wide": pointwise(16, 1, 2)},
        "sr",
    )
    assert multiplied_out(model) is None


def test_a_sum_needs_a_concatenation_that_is_there() -> None:
    """Making one for it would cost more than the sum."""
    model = model_of(
        [
            node("Conv", ["lr", "a"], "x"),
            node("Conv", ["x", "b"], "y"),
            node("Relu", ["x"], "z"),
            node("Add", ["y", "z"], "sr"),
        ],
        {"a": pointwise(4, 3, 0), "b": pointwise(4, 4, 1)},
        "sr",
    )
    assert multiplied_out(model) is None


def test_a_concatenation_that_comes_later_does_not_help() -> None:
    model = model_of(
        [
            node("Conv", ["lr", "a"], "x"),
            node("Relu", ["x"], "z"),
            node("Conv", ["x", "b"], "y"),
            node("Add", ["y", "z"], "sum"),
            node("Relu", ["sum"], "rectified"),
            node("Concat", ["x", "z", "rectified"], "joined"),
            node("Conv", ["joined", "c"], "sr"),
        ],
        {"a": pointwise(4, 3, 0), "b": pointwise(4, 4, 1), "c": pointwise(4, 12, 2)},
        "sr",
    )
    found = multiplied_out(model)
    assert found is None or same(found, model)


@pytest.mark.parametrize("blocks", [1, 2, 3])
def test_a_dense_network_loses_its_additions_and_a_fusion(blocks: int) -> None:
    network = a_network(blocks=blocks)
    model = graph.to_onnx(rewrite.rewritten(network)[0])
    found = multiplied_out(model)
    assert found is not None
    graph.checked(found, network)
    before, after = kinds(model), kinds(found)
    assert before["Add"] - after["Add"] == blocks
    # From three blocks on, one fusion of everything would cost more than the two.
    assert before["Conv"] - after["Conv"] == (1 if blocks < 3 else 0)
    size = {m: sum(int(np.prod(t.dims)) for t in g.graph.initializer) for m, g in (("a", model), ("b", found))}
    assert size["b"] <= size["a"]


def test_prune_drops_what_nobody_reads() -> None:
    model = model_of(
        [node("Conv", ["lr", "a"], "x"), node("Conv", ["x", "b"], "idle"), node("Relu", ["x"], "sr")],
        {"a": pointwise(4, 3, 0), "b": pointwise(4, 4, 1)},
        "sr",
    )
    prune(model)
    assert kinds(model) == {"Conv": 1, "Relu": 1}
    assert [tensor.name for tensor in model.graph.initializer] == ["a"]
