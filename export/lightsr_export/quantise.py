"""Static quantisation of the part of a network that is safe to quantise.

The stem, the skip, the final additions and the consistency step stay in float; what
lies between becomes unsigned 8-bit activations and signed per-channel weights, written
as QuantizeLinear/DequantizeLinear pairs that onnxruntime fuses into integer operators.
"""

from collections.abc import Collection, Iterable, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from lightsr_export.errors import IntegerFormError
from lightsr_export.ranges import JOINING, WEIGHT_LIMIT, Range, Spread, shared_ranges, spread_values
from lightsr_export.rewrite import CONSISTENCY, SKIP

STEM_GRID = 2.0**-10
"""Steps of the stem's weights, relative to their power of two; see `exact_stem`."""

BODY_OPERATORS = frozenset({"Conv", "Relu", "Concat", "Add", "DepthToSpace"})
"""Operators that onnxruntime has for integers, or removes."""


def stem_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Convolutions that make feature maps of the picture: before them is none but skip and consistency step."""
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    found: list[onnx.NodeProto] = []
    behind: set[str] = set()
    for node in model.graph.node:
        if behind.intersection(node.input):
            behind.update(node.output)
        elif (
            node.op_type == "Conv"
            and weights[node.input[1]].dims[1] == 1
            and node.input[1].split(".")[0] not in (SKIP, CONSISTENCY)
        ):
            found.append(node)
            behind.update(node.output)
    return found


def body_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Nodes from behind the stem to the tail, the last learned convolution: everything that becomes integer.

    Raises
    ------
    IntegerFormError
        The graph has no such body, or one with operators that have no integer form.
    """
    after_stem = {name for node in stem_nodes(model) for name in node.output}
    followers: list[onnx.NodeProto] = []
    last = 0
    for node in model.graph.node:
        if after_stem.intersection(node.input):
            after_stem.update(node.output)
            followers.append(node)
            if node.op_type == "Conv" and node.input[1].split(".")[0] not in (SKIP, CONSISTENCY):
                last = len(followers)
    body = followers[:last]
    foreign = sorted({node.op_type for node in body} - BODY_OPERATORS)
    if foreign:
        raise IntegerFormError(f"{', '.join(foreign)} between stem and tail has no integer form; only fp32 is possible")
    if not body:
        raise IntegerFormError("the graph has no body between stem and tail that could be quantised")
    return body


def activations(body: Collection[onnx.NodeProto], keep: Collection[str] = ()) -> list[str]:
    """Feature maps that become integer: what integer operators read and give.

    A convolution's map that only a ReLU reads is none of them: onnxruntime makes one operator of both.

    Parameters
    ----------
    body : collection of NodeProto
    keep : collection of str
        Names of the convolutions that stay in float.
    """
    readers: dict[str, list[str]] = {}
    for node in body:
        for name in node.input:
            readers.setdefault(name, []).append(node.op_type)
    makers = {node.output[0]: node for node in body}
    rectified = {
        name
        for name, kinds in readers.items()
        if set(kinds) == {"Relu"} and (name not in makers or makers[name].op_type == "Conv")
    }
    names: dict[str, None] = {}
    for node in body:
        maker = node
        while maker.op_type == "Relu" and maker.input[0] in makers:
            maker = makers[maker.input[0]]
        inputs = node.input[:1] if node.op_type == "Conv" else node.input
        reads = () if node.name in keep or node.op_type == "Relu" else inputs
        gives = () if maker.name in keep or maker.op_type == "Relu" else node.output
        names |= dict.fromkeys(name for name in (*reads, *gives) if name not in rectified)
    return list(names)


def spreads(model: onnx.ModelProto, inputs: Iterable[NDArray[np.float32]]) -> dict[str, Spread]:
    """How the values of all maps that become integer are spread; those of joined maps are their parts'.

    Parameters
    ----------
    model : ModelProto
        In float.
    inputs : iterable of ndarray, shape (1, 1, h, w), float32
    """
    body = body_nodes(model)
    joined = {name for node in body if node.op_type in JOINING for name in node.output}
    return spread_values(model, [name for name in activations(body) if name not in joined], inputs)


def ranges_of(model: onnx.ModelProto, found: Mapping[str, Spread], percentile: float = 100.0) -> dict[str, Range]:
    """Ranges that hold so many percent of the values, shared as `shared_ranges` tells."""
    return shared_ranges(body_nodes(model), {name: spread.range(percentile) for name, spread in found.items()})


def quantised(model: onnx.ModelProto, ranges: Mapping[str, Range], keep: Collection[str] = ()) -> onnx.ModelProto:
    """The model with its body in integers.

    Parameters
    ----------
    model : ModelProto
        In float.
    ranges : dict of Range
        Of `activations`; others are not used.
    keep : collection of str
        Names of the convolutions that stay in float.

    Returns
    -------
    ModelProto
        Standard operators only; weights stored as int8.
    """
    result = with_exact_stem(model)
    graph = result.graph
    body = body_nodes(result)
    integer = {node.name for node in body} - set(keep)
    maps = set(activations(body, keep))
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    replaced: dict[str, str] = {}
    spent: set[str] = set()
    outputs = {value.name for value in graph.output}
    filters = {node.output[0]: int(weights[node.input[1]].dims[0]) for node in stem_nodes(result)}
    joined = {name for node in body if node.op_type == "Concat" for name in node.input}

    for node in graph.node:
        for position, name in enumerate(node.input):
            if node.op_type == "Conv" and node.name in integer and position == 1:
                node.input[position] = _quantised_weight(weights[name], nodes, constants)
                spent.add(name)
            elif name in replaced:
                node.input[position] = replaced[name]
        nodes.append(node)
        for name in maps.intersection(node.output):
            if name in outputs:  # the pair gives what the graph gives
                node.output[0] = f"{name}.float"
                _pair(node.output[0], ranges[name], nodes, constants, result=name)
            else:
                replaced[name] = _pair(name, ranges[name], nodes, constants)
                if name in filters.keys() & joined:
                    replaced[name] = _channels_last(name, replaced[name], ranges[name], filters[name], nodes, constants)
    kept = [tensor for name, tensor in weights.items() if name not in spent]
    ordered = [_copy(node) for node in nodes]
    del graph.node[:]
    graph.node.extend(ordered)
    del graph.initializer[:]
    graph.initializer.extend([*kept, *constants])
    return result


def with_exact_stem(model: onnx.ModelProto) -> onnx.ModelProto:
    """A copy of the model, its stem's weights on the grid of `exact_stem` where each filter sums to zero."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    if has_exact_stem(model):
        names = {node.input[1] for node in stem_nodes(model)}
        for tensor in result.graph.initializer:
            if tensor.name in names:
                tensor.CopyFrom(numpy_helper.from_array(exact_stem(numpy_helper.to_array(tensor)), tensor.name))
    return result


def has_exact_stem(model: onnx.ModelProto) -> bool:
    """Whether the stem reads the picture itself, without a bias and with filters that sum to zero."""
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    stems = [weights[node.input[1]] for node in stem_nodes(model) if len(node.input) == 2]
    return len(stems) == len(stem_nodes(model)) and all(
        np.abs(weight.sum(axis=(1, 2, 3))).max() < 1e-5 * np.abs(weight).max() for weight in stems
    )


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


def _pair(
    name: str, found: Range, nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto], *, result: str = ""
) -> str:
    """Append a QuantizeLinear/DequantizeLinear pair behind tensor `name`; returns what to read instead."""
    scale, zero = found.parameters()
    constants.append(numpy_helper.from_array(np.asarray(scale), f"{name}.scale"))
    constants.append(numpy_helper.from_array(np.asarray(zero), f"{name}.zero"))
    quantised_name, result = f"{name}.quantised", result or f"{name}.dequantised"
    parameters = [f"{name}.scale", f"{name}.zero"]
    nodes.append(
        helper.make_node("QuantizeLinear", [name, *parameters], [quantised_name], name=f"{name}.QuantizeLinear")
    )
    nodes.append(
        helper.make_node("DequantizeLinear", [quantised_name, *parameters], [result], name=f"{name}.DequantizeLinear")
    )
    return result


def _channels_last(
    name: str,
    value: str,
    found: Range,
    channels: int,
    nodes: list[onnx.NodeProto],
    constants: list[onnx.TensorProto],
) -> str:
    """Append a 1x1 convolution that copies the stem's map; returns what to read instead.

    onnxruntime's integer convolutions keep channels last. The stem's map comes from a float
    convolution with channels first, and what it is concatenated with is then brought back to
    that, and to channels last again for every convolution that reads it: a seventh of the
    time of `tiny`. Behind an integer convolution everything stays as it is. The copy is exact.
    """
    identity = numpy_helper.from_array(np.eye(channels, dtype=np.float32)[:, :, None, None], f"{name}.copy")
    weight = _quantised_weight(identity, nodes, constants)
    copy = f"{name}.copied"
    nodes.append(helper.make_node("Conv", [value, weight], [copy], name=copy, kernel_shape=[1, 1]))
    return _pair(copy, found, nodes, constants)


def _quantised_weight(tensor: onnx.TensorProto, nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]) -> str:
    """Append the int8 form of a convolution's weights, one scale per output channel."""
    name = tensor.name
    weight = numpy_helper.to_array(tensor)
    largest = np.abs(weight).max(axis=(1, 2, 3))
    scale = (np.maximum(largest, 1e-12) / WEIGHT_LIMIT).astype(np.float32)
    integers = np.clip(np.rint(weight / scale[:, None, None, None]), -WEIGHT_LIMIT, WEIGHT_LIMIT).astype(np.int8)
    constants.append(numpy_helper.from_array(integers, f"{name}.quantised"))
    constants.append(numpy_helper.from_array(scale, f"{name}.scale"))
    constants.append(numpy_helper.from_array(np.zeros(len(scale), np.int8), f"{name}.zero"))
    result = f"{name}.dequantised"
    nodes.append(
        helper.make_node(
            "DequantizeLinear",
            [f"{name}.quantised", f"{name}.scale", f"{name}.zero"],
            [result],
            name=f"{name}.DequantizeLinear",
            axis=0,
        )
    )
    return result


def exact_stem(weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """The stem's weights on a grid so coarse that sums over 8-bit inputs are exact in float32.

    Rounding then never depends on the order of a sum, which differs between processors,
    and no activation falls to another level there: what lets an int8 model demand equality
    in its self-test. Each filter's weights also sum to zero exactly.

    Parameters
    ----------
    weight : ndarray, shape (filters, 1, k, k), float32
        Each filter summing to zero.

    Returns
    -------
    ndarray, the same shape, float32
    """
    rounded = np.empty_like(weight)
    for i, kernel in enumerate(weight):
        grid = STEM_GRID * 2.0 ** np.ceil(np.log2(max(float(np.abs(kernel).max()), 1e-12)))
        steps = np.rint(kernel / grid)
        middle = tuple(n // 2 for n in steps.shape)
        steps[middle] -= steps.sum()
        rounded[i] = steps * grid
    return rounded
