"""Quantisation-aware fine-tuning of the graph that a device will run.

The float graph, as it stands after all rewrites, becomes a torch module again. Its body's
weights and activations are rounded in the forward pass to what int8 holds, and the gradient
passes through the rounding; the width of a level is learned with the weights, and how much
of its range each channel of the stem uses. Skip and consistency step stay as they are.

References
----------
S. K. Esser et al., "Learned step size quantization", ICLR 2020 (the gradient of a scale).
"""

import copy
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F
from lightsr_train.objective import penalty, without_border
from lightsr_train.patches import PatchSampler
from onnx import helper, numpy_helper
from torch import Tensor, nn

from lightsr_export.errors import ExportError
from lightsr_export.quantise import stem_nodes
from lightsr_export.ranges import LEVELS, WEIGHT_LIMIT, Range

CLIP = 1.0
"""Largest norm of a step's gradient."""

TOLD_EVERY = 100
"""Steps between two reports of the loss."""


@dataclass(frozen=True)
class Tuning:
    """How fine-tuning is done.

    Parameters
    ----------
    steps : int
    learning_rate : float
        Of the weights at the start; it falls to 0 along a cosine.
    range_rate : float
        The same of the logarithms of levels' widths and of the stem's gains.
    margin_px : int
        Low-resolution pixels at the border of a patch that do not count.
    average : float
        Weight of the past in the average of weights and ranges that is the result.
    """

    steps: int = 4000
    learning_rate: float = 6e-4
    range_rate: float = 4e-3
    margin_px: int = 4
    average: float = 0.998


class _Rounded(torch.autograd.Function):
    """Values rounded to levels; gradients pass, and tell the width of a level where it pays to grow."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, width: Tensor, zero: float) -> Tensor:
        steps = values / width
        kept = steps.clamp(-zero, LEVELS - zero)
        levels = (kept + zero).round() - zero  # a tie falls as in onnxruntime's addition
        ctx.save_for_backward(steps == kept, levels - kept * (steps == kept))
        result: Tensor = levels * width
        return result

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None]:
        inside, slope = ctx.saved_tensors
        return gradient * inside, (gradient * slope).sum(), None


def rounded_weight(weight: Tensor) -> Tensor:
    """Weights on the grid that int8 stores, one scale per output channel; gradients pass unchanged.

    Parameters
    ----------
    weight : Tensor, shape (outputs, inputs, k, k)

    Returns
    -------
    Tensor, the same shape

    References
    ----------
    Y. Bengio, N. Léonard, A. Courville, "Estimating or propagating gradients through stochastic neurons
    for conditional computation", arXiv:1308.3432 (the gradient passes as if nothing were rounded).
    """
    width = weight.detach().abs().amax(dim=(1, 2, 3), keepdim=True).clamp_min(1e-12) / WEIGHT_LIMIT
    levels = (weight.detach() / width).round()
    return weight + (levels * width - weight.detach())


class QuantisedGraph(nn.Module):
    """An ONNX graph in torch, with what int8 would do to its body.

    Parameters
    ----------
    model : ModelProto
        In float.
    layers : iterable of str
        Names of the convolutions whose weights become integers.
    ranges : dict of Range
        Of the feature maps that become integers; those of one object share their scale.
    """

    def __init__(self, model: onnx.ModelProto, layers: Iterable[str], ranges: Mapping[str, Range]) -> None:
        super().__init__()
        self.nodes = list(model.graph.node)
        self.layers = frozenset(layers)
        self.stems = {node.input[1] for node in stem_nodes(model)}
        learned = {name for node in self.nodes if node.name in self.layers for name in node.input[1:]}
        self.weights = nn.ParameterDict()
        self.gains = nn.ParameterDict()
        self.constants: dict[str, Tensor] = {}
        for tensor in model.graph.initializer:
            values = torch.from_numpy(np.array(numpy_helper.to_array(tensor)))
            if tensor.name in learned:
                self.weights[_key(tensor.name)] = nn.Parameter(values)
            else:
                self.constants[tensor.name] = values
            if tensor.name in self.stems:
                self.gains[_key(tensor.name)] = nn.Parameter(torch.zeros(len(values), 1, 1, 1))
        self.widths = nn.ParameterDict()
        self.zeros: dict[str, float] = {}
        self.width_of: dict[str, str] = {}
        keys: dict[int, str] = {}
        for name, found in ranges.items():
            key = keys.setdefault(id(found), _key(name))
            self.width_of[name] = key
            if key not in self.widths:
                scale, zero = found.parameters()
                self.widths[key] = nn.Parameter(torch.tensor(math.log(float(scale))))
                self.zeros[key] = float(zero)

    def forward(self, lr: Tensor) -> Tensor:
        """(n, 1, h, w) -> (n, 1, scale * h, scale * w), for sides of whole blocks."""
        known: dict[str, Tensor] = {"lr": lr}
        for node in self.nodes:
            operator = _OPERATORS.get(node.op_type)
            if operator is None or not node.input or node.input[0] not in known:
                continue  # shapes
            inputs = [known[name] if name in known else self._constant(name, node) for name in node.input]
            value = operator(node, inputs)
            name = node.output[0]
            if name in self.width_of and node.op_type != "Concat":  # its parts have its scale
                key = self.width_of[name]
                value = _Rounded.apply(value, self.widths[key].exp(), self.zeros[key])  # type: ignore[no-untyped-call]
            known[name] = value
        return known[self.nodes[-1].output[0]]

    def _constant(self, name: str, node: onnx.NodeProto) -> Tensor:
        if name in self.stems:
            return self._stem(name)
        if _key(name) not in self.weights:
            return self.constants.get(name, torch.empty(0))
        weight: Tensor = self.weights[_key(name)]
        return rounded_weight(weight) if weight.ndim == 4 else weight

    def _stem(self, name: str) -> Tensor:
        """Filters that still sum to zero, if they did: each is multiplied by a number."""
        gain: Tensor = self.gains[_key(name)].exp()
        return self.constants[name] * gain

    def result(self, model: onnx.ModelProto, ranges: Mapping[str, Range]) -> tuple[onnx.ModelProto, dict[str, Range]]:
        """The float model with the learned weights, and the learned ranges."""
        tuned = onnx.ModelProto()
        tuned.CopyFrom(model)
        for tensor in tuned.graph.initializer:
            if _key(tensor.name) in self.weights:
                values = self.weights[_key(tensor.name)].detach()
            elif tensor.name in self.stems:
                values = self._stem(tensor.name).detach()
            else:
                continue
            tensor.CopyFrom(numpy_helper.from_array(values.numpy(), tensor.name))
        found = {}
        for name in ranges:
            key = self.width_of[name]
            width = math.exp(float(self.widths[key].detach()))
            found[name] = Range(-self.zeros[key] * width, (LEVELS - self.zeros[key]) * width)
        return tuned, found


def _key(name: str) -> str:
    return name.replace(".", "/")


def _attributes(node: onnx.NodeProto) -> dict[str, Any]:
    return {attribute.name: helper.get_attribute_value(attribute) for attribute in node.attribute}


def _convolution(node: onnx.NodeProto, inputs: list[Tensor]) -> Tensor:
    attributes = _attributes(node)
    top, left, bottom, right = attributes.get("pads", [0, 0, 0, 0])
    value, weight = inputs[0], inputs[1]
    if (top, left) != (bottom, right):
        value, top, left = F.pad(value, (left, right, top, bottom)), 0, 0
    bias = inputs[2] if len(inputs) == 3 else None
    return F.conv2d(value, weight, bias, stride=attributes.get("strides", [1, 1])[0], padding=(top, left))


def _pad(node: onnx.NodeProto, inputs: list[Tensor]) -> Tensor:
    if not inputs[1].numel():  # it fills up an odd side
        return inputs[0]
    _, _, top, left, _, _, bottom, right = inputs[1].tolist()
    mode = _attributes(node).get("mode", b"constant").decode()
    return F.pad(inputs[0], (left, right, top, bottom), mode="replicate" if mode == "edge" else mode)


def _depth_to_space(node: onnx.NodeProto, inputs: list[Tensor]) -> Tensor:
    attributes = _attributes(node)
    if attributes.get("mode", b"DCR") != b"CRD" and inputs[0].shape[1] != attributes["blocksize"] ** 2:
        raise ExportError("DepthToSpace has another order of channels than torch's; not fine-tuned")
    return F.pixel_shuffle(inputs[0], attributes["blocksize"])


_OPERATORS: dict[str, Callable[[onnx.NodeProto, list[Tensor]], Tensor]] = {
    "Conv": _convolution,
    "Relu": lambda node, inputs: F.relu(inputs[0]),
    "Add": lambda node, inputs: inputs[0] + inputs[1],
    "Concat": lambda node, inputs: torch.cat(inputs, dim=1),
    "DepthToSpace": _depth_to_space,
    "Pad": _pad,
    "Slice": lambda node, inputs: inputs[0],  # cuts off what fills up an odd side
}


def finetuned(
    model: onnx.ModelProto,
    layers: Iterable[str],
    ranges: Mapping[str, Range],
    sampler: PatchSampler,
    tuning: Tuning,
    *,
    tell: Callable[[int, float], None] = lambda step, loss: None,
) -> tuple[onnx.ModelProto, dict[str, Range]]:
    """Weights and ranges that suit int8 better.

    Parameters
    ----------
    model : ModelProto
        In float, with the stem's weights as int8 has them.
    layers : iterable of str
        Names of the convolutions that become integers.
    ranges : dict of Range
        Of the feature maps that become integers.
    sampler : PatchSampler
        Of training images, mapped as the runtime maps a file.
    tuning : Tuning
    tell : callable
        Told the step and the mean loss of the last ones.

    Returns
    -------
    (ModelProto, dict of Range)
    """
    graph = QuantisedGraph(model, layers, ranges)
    optimiser = torch.optim.Adam(
        [
            {"params": list(graph.weights.parameters()), "lr": tuning.learning_rate},
            {"params": [*graph.widths.parameters(), *graph.gains.parameters()], "lr": tuning.range_rate},
        ],
        betas=(0.9, 0.99),
    )
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, tuning.steps)
    averaged = copy.deepcopy(graph)
    losses = []
    for step in range(tuning.steps):
        batch = sampler.draw(step)
        low, high, weight = (torch.from_numpy(values) for values in batch)
        sr = graph(low)
        margin = tuning.margin_px * sampler.scale
        loss = penalty(weight * (without_border(sr, margin) - without_border(high, margin)), "squared")
        optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(graph.parameters(), CLIP)
        optimiser.step()
        schedule.step()
        with torch.no_grad():
            for mean, value in zip(averaged.parameters(), graph.parameters(), strict=True):
                mean.lerp_(value, 1 - tuning.average)
        losses.append(float(loss.detach()))
        if (step + 1) % TOLD_EVERY == 0:
            tell(step + 1, float(np.mean(losses[-TOLD_EVERY:])))
    return averaged.result(model, ranges)
