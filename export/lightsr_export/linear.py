"""Adjacent linear maps multiplied out, in an ONNX graph.

Concatenations, sums and 1x1 convolutions without an activation between them are one
1x1 convolution of what goes in. Dense networks are full of them: a block's fusion and its
residual, the last block's fusion and the fusion of all blocks.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

Terms = dict[str, NDArray[np.float64]]
"""A linear map: for every tensor that goes in, a matrix (channels out, its channels)."""


@dataclass
class _Graph:
    """Who makes and who reads each tensor of a model."""

    model: onnx.ModelProto

    def __post_init__(self) -> None:
        graph = self.model.graph
        self.weights = {tensor.name: tensor for tensor in graph.initializer}
        self.makers = {name: node for node in graph.node for name in node.output}
        self.readers = Counter(name for node in graph.node for name in node.input)
        self.readers.update(value.name for value in graph.output)

    def matrix(self, node: onnx.NodeProto) -> NDArray[np.float64] | None:
        """Weights of a 1x1 convolution that is nothing but a matrix; None for every other node."""
        if node.op_type != "Conv" or len(node.input) != 2 or node.input[1] not in self.weights:
            return None
        weight = numpy_helper.to_array(self.weights[node.input[1]])
        attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
        plain = (
            weight.shape[2:] == (1, 1)
            and attributes.get("group", 1) == 1
            and set(attributes.get("strides", [1])) == {1}
            and set(attributes.get("pads", [0])) == {0}
        )
        return weight[:, :, 0, 0].astype(np.float64) if plain else None

    def channels(self, name: str) -> int | None:
        """Channels of a tensor, where its maker tells."""
        node = self.makers.get(name)
        if node is None:
            return None
        if node.op_type == "Conv" and node.input[1] in self.weights:
            return int(self.weights[node.input[1]].dims[0])
        if node.op_type == "Concat":
            parts = [self.channels(part) for part in node.input]
            return None if None in parts else sum(part for part in parts if part is not None)
        if node.op_type in ("Relu", "Add"):
            return self.channels(node.input[0])
        return None

    def is_sum(self, node: onnx.NodeProto) -> bool:
        """Whether a node adds two feature maps of one width."""
        widths = {self.channels(name) for name in node.input}
        return node.op_type == "Add" and len(widths) == 1 and None not in widths

    def is_join(self, node: onnx.NodeProto) -> bool:
        """Whether a node concatenates channels."""
        axes = [a.i for a in node.attribute if a.name == "axis"]
        return node.op_type == "Concat" and axes == [1] and self.channels(node.output[0]) is not None

    def terms(
        self, name: str, spent: list[onnx.NodeProto], *, root: bool = False, through: bool = True
    ) -> Terms | None:
        """A tensor as a linear map of others; nodes that nobody else needs then go to `spent`.

        A tensor that others read too stays as it is, except a concatenation, which is looked
        through, but nothing behind it (`through`) other than concatenations.
        """
        node, width = self.makers.get(name), self.channels(name)
        if width is None:
            return None
        alone = through and (root or self.readers[name] == 1)
        if node is not None and self.is_join(node):
            total: Terms = {}
            start = 0
            for part in node.input:
                inner = self.terms(part, spent, through=alone)
                if inner is None:
                    return None
                size = next(iter(inner.values())).shape[0]
                rows = np.zeros((width, size))
                rows[start : start + size] = np.eye(size)
                total = _sum(total, {leaf: rows @ matrix for leaf, matrix in inner.items()})
                start += size
            return total
        if node is not None and alone and self.is_sum(node):
            spent.append(node)
            first, second = (self.terms(part, spent) for part in node.input)
            return None if first is None or second is None else _sum(first, second)
        if node is not None and alone and (matrix := self.matrix(node)) is not None:
            spent.append(node)
            inner = self.terms(node.input[0], spent)
            return None if inner is None else {leaf: matrix @ part for leaf, part in inner.items()}
        return {name: np.eye(width)}

    def parts(self, name: str) -> list[str]:
        """What a tensor concatenates, down to tensors that are no concatenations."""
        node = self.makers.get(name)
        if node is None or not self.is_join(node):
            return [name]
        return [part for inner in node.input for part in self.parts(inner)]


def _sum(first: Terms, second: Terms) -> Terms:
    result = dict(first)
    for leaf, matrix in second.items():
        result[leaf] = result[leaf] + matrix if leaf in result else matrix
    return result


def multiplied_out(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """The model with linear maps multiplied out wherever that saves work.

    A 1x1 convolution or a sum of feature maps becomes one 1x1 convolution of a
    concatenation that the graph has anyway.

    Returns
    -------
    ModelProto or None
        None where nothing is saved.
    """
    result = onnx.ModelProto()
    result.CopyFrom(model)
    changed = False
    while _one(result):
        changed = True
    return result if changed else None


def _one(model: onnx.ModelProto) -> bool:
    """Multiply out one place, from the graph's end; whether there was one."""
    known = _Graph(model)
    for node in reversed(model.graph.node):
        if known.matrix(node) is None and not known.is_sum(node):
            continue
        spent: list[onnx.NodeProto] = []
        terms = known.terms(node.output[0], spent, root=True)
        if terms is None or len(spent) < 2:
            continue
        joined = _joined(known, terms, spent, node)
        before = sum(m.size for n in spent if (m := known.matrix(n)) is not None)
        weight = None if joined is None else np.concatenate([terms[part] for part in known.parts(joined)], axis=1)
        if joined is None or weight is None or weight.size > before:
            continue
        _replace(model, node, joined, weight)
        return True
    return False


def _joined(known: _Graph, terms: Terms, spent: list[onnx.NodeProto], place: onnx.NodeProto) -> str | None:
    """A tensor that holds all that goes in, each once, and that is there before `place` anyway."""
    if len(terms) == 1:
        return next(iter(terms))
    gone = {name for node in spent for name in node.output}
    for node in known.model.graph.node:
        if node.output[0] == place.output[0]:
            break  # what comes later is not there yet
        parts = known.parts(node.output[0]) if known.is_join(node) else []
        if sorted(parts) == sorted(terms) and not gone & set(node.input):
            return str(node.output[0])
    return None


def _replace(model: onnx.ModelProto, node: onnx.NodeProto, joined: str, weight: NDArray[np.float64]) -> None:
    """Make `node`'s output by one 1x1 convolution of `joined`, and drop what nobody reads any more."""
    graph = model.graph
    index = list(graph.node).index(node)
    own = [name for name in node.input if any(tensor.name == name for tensor in graph.initializer)]
    name = own[0] if own else f"{node.output[0]}.weight"
    tensor = numpy_helper.from_array(weight.astype(np.float32)[:, :, None, None], f"{name}.multiplied")
    graph.initializer.append(tensor)
    new = helper.make_node("Conv", [joined, tensor.name], [node.output[0]], name=node.name, kernel_shape=[1, 1])
    graph.node.remove(node)
    graph.node.insert(index, new)
    prune(model)


def prune(model: onnx.ModelProto) -> None:
    """Drop nodes and weights that nothing reads."""
    graph = model.graph
    while True:
        read = {name for node in graph.node for name in node.input} | {value.name for value in graph.output}
        idle = [node for node in graph.node if not read & set(node.output)]
        if not idle:
            break
        for node in idle:
            graph.node.remove(node)
    for tensor in [tensor for tensor in graph.initializer if tensor.name not in read]:
        graph.initializer.remove(tensor)
