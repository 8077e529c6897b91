"""Channels of a feature map brought to one range, exactly, before they share one scale.

An integer feature map has one scale for all its channels, so that a channel with a tenth
of the largest range gets a tenth of the levels. Multiplying a channel by a positive number
passes through ReLU, concatenation and addition unchanged, and the convolutions that read
it undo it: the float network computes what it did.

References
----------
M. Nagel, M. van Baalen, T. Blankevoort, M. Welling, "Data-free quantization through weight
equalization and bias correction", ICCV 2019 (here with measured ranges).
"""

from collections.abc import Iterable, Mapping

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import numpy_helper

from lightsr_export.ranges import Sets

LARGEST_RATIO = 16.0
"""Most that a channel is raised above the largest one: what hardly ever speaks may be noise."""

Factors = dict[str, NDArray[np.float64]]
"""For every feature map, what each of its channels is multiplied by."""


def factors(body: Iterable[onnx.NodeProto], stem: Iterable[str], peaks: Mapping[str, NDArray[np.float64]]) -> Factors:
    """What to multiply the channels of every feature map by.

    Parameters
    ----------
    body : iterable of NodeProto
        In the order of the graph.
    stem : iterable of str
        Feature maps that come into the body.
    peaks : dict of ndarray, shape (channels,)
        Largest magnitude of every channel of every feature map.

    Returns
    -------
    dict of ndarray, shape (channels,)
        They bring the peaks to 1. Feature maps that a ReLU or an addition joins have the same factors. The last of
        the body, and those whose channels are rearranged, keep their values.
    """
    body = list(body)
    group = Sets((*stem, *(name for node in body for name in node.output)))
    joined: set[str] = set()
    fixed = {body[-1].output[0]}
    for node in body:
        output = node.output[0]
        if node.op_type in ("Relu", "Add"):
            for name in node.input:
                group.unite(name, output)
        elif node.op_type == "Concat":
            joined.add(output)
        elif node.op_type != "Conv":
            fixed |= {node.input[0], output}
    # What meets a concatenation in a sum, or follows it, keeps its values, and so do its parts.
    kept = {group.find(name) for name in fixed} | {group.find(name) for name in joined if group.find(name) != name}
    for node in reversed(body):
        if node.op_type == "Concat" and group.find(node.output[0]) in kept:
            kept |= {group.find(name) for name in node.input}
    merged: dict[str, NDArray[np.float64]] = {}
    for name in group.parents.keys() & peaks.keys() - joined:
        root = group.find(name)
        merged[root] = np.maximum(merged.get(root, 0.0), peaks[name])
    result: Factors = {}
    for name in group.parents:
        root = group.find(name)
        if root in kept or root not in merged:
            continue
        peak = merged[root]
        result[name] = 1 / np.maximum(np.maximum(peak, peak.max() / LARGEST_RATIO), 1e-12)
    return result


def _channels(name: str, model: onnx.ModelProto, parts: Mapping[str, list[str]]) -> int:
    """Channels of a feature map."""
    if name in parts:
        return sum(_channels(part, model, parts) for part in parts[name])
    node = next(node for node in model.graph.node if name in node.output)
    if node.op_type != "Conv":
        return _channels(node.input[0], model, parts)
    return next(int(tensor.dims[0]) for tensor in model.graph.initializer if tensor.name == node.input[1])


def equalised(
    model: onnx.ModelProto, body: Iterable[onnx.NodeProto], peaks: Mapping[str, NDArray[np.float64]]
) -> onnx.ModelProto:
    """The model with the channels of its feature maps in one range.

    Parameters
    ----------
    model : ModelProto
        In float.
    body : iterable of NodeProto
        Its nodes between stem and tail.
    peaks : dict of ndarray, shape (channels,)
        Largest magnitude of every channel of every feature map that becomes integer.

    Returns
    -------
    ModelProto
        It computes the same up to float rounding.
    """
    body = list(body)
    made = {name for node in body for name in node.output}
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    stem = {name for node in body for name in node.input if name not in made and name not in weights}
    found = factors(body, stem, peaks)
    parts = {node.output[0]: list(node.input) for node in body if node.op_type == "Concat"}

    def of(name: str, channels: int) -> NDArray[np.float64]:
        if name in parts:
            widths = [_channels(part, model, parts) for part in parts[name]]
            return np.concatenate([of(part, width) for part, width in zip(parts[name], widths, strict=True)])
        return found.get(name, np.ones(channels))

    result = onnx.ModelProto()
    result.CopyFrom(model)
    tensors = {tensor.name: tensor for tensor in result.graph.initializer}
    inside = {node.name for node in body}
    for node in model.graph.node:
        if node.op_type != "Conv" or not (node.name in inside or node.output[0] in stem):
            continue
        weight = numpy_helper.to_array(weights[node.input[1]]).astype(np.float64)
        rows = of(node.output[0], weight.shape[0])
        columns = of(node.input[0], weight.shape[1]) if node.name in inside else np.ones(weight.shape[1])
        scaled = weight * rows[:, None, None, None] / columns[:, None, None]
        tensors[node.input[1]].CopyFrom(numpy_helper.from_array(scaled.astype(np.float32), node.input[1]))
        if len(node.input) == 3:
            bias = numpy_helper.to_array(weights[node.input[2]]) * rows
            tensors[node.input[2]].CopyFrom(numpy_helper.from_array(bias.astype(np.float32), node.input[2]))
    return result
