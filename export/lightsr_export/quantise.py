"""Static quantisation of the part of a network that is safe to quantise.

The stem, the skip, the final additions and the consistency step stay in float; what
lies between becomes unsigned 8-bit activations and signed per-channel weights, written
as QuantizeLinear/DequantizeLinear pairs that onnxruntime fuses into integer operators.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from lightsr_export.errors import ExportError
from lightsr_export.graph import session
from lightsr_export.rewrite import FLOAT_PARTS, STEM

LEVELS = 255
"""Steps of an unsigned 8-bit activation."""

WEIGHT_LIMIT = 63
"""Largest weight magnitude: seven bits.

x86 processors without VNNI add pairs of products in 16 bits; 2 * 255 * 63 fits, so that
they compute what all others compute, to the last bit. With eight bits they would clip.
"""

STEM_GRID = 2.0**-10
"""Steps of the stem's weights, relative to their power of two; see `exact_stem`."""

RATIO_BITS = 11
"""Significant bits of the ratio of two scales that meet in an addition; see `short`."""

PERCENTILE = 99.999
"""Share of the calibration values that an activation's range holds at each end."""

BODY_OPERATORS = frozenset({"Conv", "Relu", "Concat", "Add"})
"""Operators between the stem and the tail."""


@dataclass(frozen=True)
class Range:
    """Values that a tensor takes.

    Parameters
    ----------
    low, high : float
        `low` at most 0, `high` at least 0, so that zero is a level.
    """

    low: float
    high: float

    def union(self, other: "Range") -> "Range":
        """Smallest range that holds both."""
        return Range(min(self.low, other.low), max(self.high, other.high))

    @property
    def scale(self) -> float:
        """Width of a level."""
        return max(self.high - self.low, 1e-12) / LEVELS

    def with_scale(self, scale: float) -> "Range":
        """The range from the same lowest value on with levels of another width."""
        return Range(self.low, self.low + LEVELS * scale)

    def parameters(self) -> tuple[np.float32, np.uint8]:
        """Scale and zero point."""
        return np.float32(self.scale), np.uint8(np.clip(np.rint(-self.low / self.scale), 0, LEVELS))


def body_nodes(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    """Nodes from behind the stem to the tail: everything that becomes integer.

    Raises
    ------
    ExportError
        The graph has no such body, or one with other operators.
    """
    weights = {tensor.name for tensor in model.graph.initializer}
    after_stem: set[str] = set()
    body: list[onnx.NodeProto] = []
    for node in model.graph.node:
        part = next((name for name in node.input if name in weights), "").split(".")[0]
        if node.op_type == "Conv" and part == STEM:
            after_stem.update(node.output)
        elif node.op_type in BODY_OPERATORS and part not in FLOAT_PARTS:
            inputs = [name for name in node.input if name not in weights]
            if inputs and all(name in after_stem for name in inputs):
                after_stem.update(node.output)
                body.append(node)
    if not body or body[-1].op_type != "Conv":
        raise ExportError("the graph has no body between stem and tail that could be quantised")
    return body


def activations(body: Iterable[onnx.NodeProto]) -> list[str]:
    """Tensors that need a range: inputs and outputs of the body, but not those that a ReLU follows."""
    body = list(body)
    rectified = {node.input[0] for node in body if node.op_type == "Relu"}
    names: dict[str, None] = {}
    for node in body:
        inputs = node.input[:1] if node.op_type == "Conv" else node.input
        for name in (*inputs, *node.output):
            if name not in rectified:
                names[name] = None
    return list(names)


def calibrate(
    model: onnx.ModelProto, inputs: Iterable[NDArray[np.float32]], *, percentile: float = PERCENTILE
) -> dict[str, Range]:
    """Ranges of the body's activations.

    Parameters
    ----------
    model : ModelProto
        In float.
    inputs : iterable of ndarray, shape (1, 1, h, w), float32
        Pictures in [0, 1].
    percentile : float
        Share, in percent, of the values below the upper end and above the lower end.

    Returns
    -------
    dict of Range

    Raises
    ------
    ExportError
        No inputs.
    """
    names = activations(body_nodes(model))
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    present = {value.name for value in probe.graph.output}
    probe.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names if name not in present
    )
    run = session(probe)
    samples: dict[str, list[NDArray[np.float32]]] = {name: [] for name in names}
    for lr in inputs:
        for name, values in zip(names, run.run(names, {"lr": lr}), strict=True):
            samples[name].append(values.reshape(-1))
    if not samples[names[0]]:
        raise ExportError("no calibration images")
    ranges = {}
    for name, parts in samples.items():
        low, high = np.percentile(np.concatenate(parts), (100 - percentile, percentile))
        ranges[name] = Range(min(float(low), 0.0), max(float(high), 0.0))
    return shared_ranges(body_nodes(model), ranges)


def shared_ranges(body: Iterable[onnx.NodeProto], ranges: Mapping[str, Range]) -> dict[str, Range]:
    """Ranges with one range for all tensors of a chain of concatenations, and short ratios in additions.

    A concatenation of tensors with one scale is a copy; otherwise every part would be
    rescaled. Dense wiring joins all that it concatenates into one group.
    """
    body = list(body)
    group = {name: name for name in ranges}

    def find(name: str) -> str:
        while group[name] != name:
            name = group[name]
        return name

    for node in body:
        if node.op_type == "Concat":
            for name in node.input:
                group[find(name)] = find(node.output[0])
    merged: dict[str, Range] = {}
    for name, found in ranges.items():
        root = find(name)
        merged[root] = merged[root].union(found) if root in merged else found
    settled: dict[str, float] = {}
    for node in body:
        if node.op_type == "Add":
            output = find(node.output[0])
            settled.setdefault(output, short(merged[output].scale, 1.0))
            for root in {find(name) for name in node.input} - settled.keys():
                settled[root] = short(merged[root].scale, settled[output])
    merged |= {root: merged[root].with_scale(scale) for root, scale in settled.items()}
    return {name: merged[find(name)] for name in ranges}


def short(scale: float, unit: float) -> float:
    """Next larger scale whose ratio to `unit` has `RATIO_BITS` significant bits.

    An integer addition multiplies both inputs by the ratio of their scale to the output's
    and adds, in float32, fused on some processors and not on others. With short ratios
    all of it is exact, and the sum rounds to the same level everywhere.

    >>> short(0.3, 1.0) * 4096 == 1229
    True
    """
    step = 2.0 ** (math.floor(math.log2(scale / unit)) + 1 - RATIO_BITS)
    return math.ceil(scale / unit / step) * step * unit


def quantised(model: onnx.ModelProto, ranges: Mapping[str, Range]) -> onnx.ModelProto:
    """The model with its body in integers.

    Parameters
    ----------
    model : ModelProto
        In float.
    ranges : dict of Range
        Of `calibrate`.

    Returns
    -------
    ModelProto
        Standard operators only; weights stored as int8.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    body = {node.name for node in body_nodes(result)}
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes: list[onnx.NodeProto] = []
    constants: list[onnx.TensorProto] = []
    replaced: dict[str, str] = {}
    spent: set[str] = set()

    for node in graph.node:
        inside = node.name in body
        for position, name in enumerate(node.input):
            if inside and node.op_type == "Conv" and position == 1:
                node.input[position] = _quantised_weight(weights[name], nodes, constants)
                spent.add(name)
            elif name in replaced:
                node.input[position] = replaced[name]
        nodes.append(node)
        for name in node.output:
            if name in ranges:
                replaced[name] = _pair(name, ranges[name], nodes, constants)
    kept = [tensor for name, tensor in weights.items() if name not in spent]
    kept = [_exact_stem(tensor) if tensor.name.startswith(f"{STEM}.") else tensor for tensor in kept]
    ordered = [_copy(node) for node in nodes]
    del graph.node[:]
    graph.node.extend(ordered)
    del graph.initializer[:]
    graph.initializer.extend([*kept, *constants])
    return result


def _copy(node: onnx.NodeProto) -> onnx.NodeProto:
    copy = onnx.NodeProto()
    copy.CopyFrom(node)
    return copy


def _pair(name: str, found: Range, nodes: list[onnx.NodeProto], constants: list[onnx.TensorProto]) -> str:
    """Append a QuantizeLinear/DequantizeLinear pair behind tensor `name`; returns what to read instead."""
    scale, zero = found.parameters()
    constants.append(numpy_helper.from_array(np.asarray(scale), f"{name}.scale"))
    constants.append(numpy_helper.from_array(np.asarray(zero), f"{name}.zero"))
    quantised_name, result = f"{name}.quantised", f"{name}.dequantised"
    parameters = [f"{name}.scale", f"{name}.zero"]
    nodes.append(
        helper.make_node("QuantizeLinear", [name, *parameters], [quantised_name], name=f"{name}.QuantizeLinear")
    )
    nodes.append(
        helper.make_node("DequantizeLinear", [quantised_name, *parameters], [result], name=f"{name}.DequantizeLinear")
    )
    return result


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


def _exact_stem(tensor: onnx.TensorProto) -> onnx.TensorProto:
    return numpy_helper.from_array(exact_stem(numpy_helper.to_array(tensor)), tensor.name)


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
