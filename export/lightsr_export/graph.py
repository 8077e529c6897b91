"""ONNX graphs: made from a network, simplified, given a card."""

import logging
import math
from collections.abc import Callable, Mapping

import numpy as np
import onnx
import onnxruntime
import onnxsim
import torch
from numpy.typing import NDArray
from torch import nn

from lightsr_export.errors import ExportError
from lightsr_export.linear import multiplied_out
from lightsr_export.rewrite import AGREEMENT, CHECK_SHAPES, check_input

logger = logging.getLogger(__name__)

OPSET = 18
"""Version of the standard operators: the newest that every target reads."""


def to_onnx(network: nn.Module) -> onnx.ModelProto:
    """A network as an ONNX model with dynamic n, h and w.

    Raises
    ------
    ExportError
        torch.onnx makes no program of it.
    """
    sizes = {0: torch.export.Dim("n"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
    program = torch.onnx.export(
        network.eval(),
        (torch.zeros(2, 1, 20, 24),),
        dynamo=True,
        opset_version=OPSET,
        input_names=["lr"],
        output_names=["sr"],
        dynamic_shapes=(sizes,),
        external_data=False,
        verbose=False,
    )
    if program is None:
        raise ExportError("torch.onnx made no program of this network")
    return without_traces(program.model_proto)


def without_traces(model: onnx.ModelProto) -> onnx.ModelProto:
    """The model without what the exporter noted in it: source paths, stack traces, names of classes."""
    clean = onnx.ModelProto()
    clean.CopyFrom(model)
    clean.ClearField("metadata_props")
    clean.ClearField("functions")
    clean.producer_name, clean.producer_version, clean.doc_string = "lightsr-export", "", ""
    graph = clean.graph
    graph.name, graph.doc_string = "lightsr", ""
    graph.ClearField("metadata_props")
    graph.ClearField("value_info")
    for item in (*graph.node, *graph.initializer, *graph.input, *graph.output):
        item.ClearField("metadata_props")
        item.doc_string = ""
    del clean.opset_import[:]
    clean.opset_import.append(onnx.helper.make_opsetid("", OPSET))
    return clean


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """The model in onnxruntime, one thread."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def run(model: onnx.ModelProto, lr: NDArray[np.float32]) -> NDArray[np.float32]:
    """Output of the model for (n, 1, h, w) float32."""
    result: NDArray[np.float32] = session(model).run(None, {"lr": lr})[0]
    return result


def largest_difference(model: onnx.ModelProto, network: nn.Module) -> float:
    """Largest difference between onnxruntime and torch over `CHECK_SHAPES`; infinite where they cannot be compared."""
    worst = 0.0
    for shape in CHECK_SHAPES:
        lr = check_input(shape)
        with torch.no_grad():
            expected = network(lr).numpy()
        found = run(model, lr.numpy())
        if found.shape != expected.shape or not np.isfinite(found).all():
            return math.inf
        worst = max(worst, float(np.abs(found - expected).max()))
    return worst


def checked(model: onnx.ModelProto, network: nn.Module) -> float:
    """Largest difference from the network, once it is known to be small enough.

    Raises
    ------
    ExportError
        onnxruntime and torch disagree by more than `AGREEMENT`.
    """
    onnx.checker.check_model(model, full_check=True)
    difference = largest_difference(model, network)
    if difference > AGREEMENT:
        raise ExportError(f"onnxruntime and torch differ by {difference:.1e}; {AGREEMENT:.0e} is allowed; not exported")
    return difference


def _onnxsim(model: onnx.ModelProto) -> onnx.ModelProto | None:
    candidate, agrees = onnxsim.simplify(model)
    if not agrees or dynamic_axes(candidate) != dynamic_axes(model):
        raise ExportError("it changed the result or fixed a size")
    return without_traces(candidate)


def relus_first(model: onnx.ModelProto) -> onnx.ModelProto | None:
    """ReLU before DepthToSpace instead of behind it: right after the convolution, which takes it in."""
    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    readers: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    changed = False
    for node in graph.node:
        after = readers.get(node.output[0], [])
        if node.op_type == "DepthToSpace" and [reader.op_type for reader in after] == ["Relu"]:
            relu = after[0]
            before, between, behind = node.input[0], node.output[0], relu.output[0]
            rearranged = onnx.NodeProto()
            rearranged.CopyFrom(node)
            node.CopyFrom(onnx.helper.make_node("Relu", [before], [between], name=relu.name))
            rearranged.input[0], rearranged.output[0] = between, behind
            relu.CopyFrom(rearranged)
            changed = True
    return result if changed else None


PASSES: tuple[tuple[str, Callable[[onnx.ModelProto], onnx.ModelProto | None]], ...] = (
    ("onnxsim", _onnxsim),
    ("linear", multiplied_out),
    ("relus", relus_first),
)
"""Rewrites of the ONNX graph by name; each gives None where there is nothing to do."""


def simplified(model: onnx.ModelProto, network: nn.Module) -> tuple[onnx.ModelProto, list[str]]:
    """The model after all `PASSES` that leave its result as it is, and their names."""
    applied = []
    for name, apply in PASSES:
        try:
            candidate = apply(model)
            if candidate is None:
                continue
            checked(candidate, network)
        except Exception as error:  # onnxsim raises what its passes raise
            reason = str(error) if isinstance(error, ExportError) else f"it failed with {type(error).__name__}"
            logger.warning("pass '%s' is left out: %s", name, reason)
        else:
            model = candidate
            applied.append(name)
    return model, applied


def dynamic_axes(model: onnx.ModelProto) -> list[tuple[int, ...]]:
    """Axes without a fixed size, for every input and output."""
    return [
        tuple(axis for axis, size in enumerate(value.type.tensor_type.shape.dim) if not size.HasField("dim_value"))
        for value in (*model.graph.input, *model.graph.output)
    ]


def with_metadata(model: onnx.ModelProto, metadata: Mapping[str, str]) -> onnx.ModelProto:
    """A copy of the model with these ``metadata_props``."""
    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    onnx.helper.set_model_props(copy, dict(metadata))
    return copy
