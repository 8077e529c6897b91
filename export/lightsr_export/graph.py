"""ONNX graphs: made from a network, simplified, given a card."""

import logging
import math
from collections.abc import Mapping

import numpy as np
import onnx
import onnxruntime
import onnxsim
import torch
from lightsr_train.networks import LightDense
from numpy.typing import NDArray

from lightsr_export.errors import ExportError
from lightsr_export.rewrite import DeployedNetwork

logger = logging.getLogger(__name__)

OPSET = 18
"""Version of the standard operators: the newest that every target reads."""

CHECK_SHAPES = ((1, 1, 17, 31), (3, 1, 33, 21))
"""Inputs on which torch and onnxruntime are compared: odd sides, one and three pictures."""

AGREEMENT = 1e-5
"""Largest difference allowed between torch and onnxruntime, as a share of the input's range."""


def to_onnx(network: LightDense) -> onnx.ModelProto:
    """The deployed form of a network as an ONNX model with dynamic n, h and w."""
    deployed = DeployedNetwork(network).eval()
    sizes = {0: torch.export.Dim("n"), 2: torch.export.Dim("h"), 3: torch.export.Dim("w")}
    program = torch.onnx.export(
        deployed,
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


def largest_difference(model: onnx.ModelProto, network: LightDense) -> float:
    """Largest difference between onnxruntime and torch over `CHECK_SHAPES`; infinite where they cannot be compared."""
    random = np.random.default_rng(0)
    worst = 0.0
    for shape in CHECK_SHAPES:
        lr = random.random(shape, dtype=np.float32)
        with torch.no_grad():
            expected = network(torch.from_numpy(lr)).numpy()
        found = run(model, lr)
        if found.shape != expected.shape or not np.isfinite(found).all():
            return math.inf
        worst = max(worst, float(np.abs(found - expected).max()))
    return worst


def checked(model: onnx.ModelProto, network: LightDense) -> float:
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


def simplified(model: onnx.ModelProto, network: LightDense) -> onnx.ModelProto:
    """What onnxsim makes of the model, or the model itself where that does not agree any more."""
    try:
        candidate, agrees = onnxsim.simplify(model)
        if agrees and dynamic_axes(candidate) == dynamic_axes(model):
            candidate = without_traces(candidate)
            checked(candidate, network)
            return candidate
        reason = "it changed the result or fixed a size"
    except Exception as error:  # onnxsim raises what its passes raise
        reason = f"it failed with {type(error).__name__}"
    logger.warning("onnxsim's result is not used: %s", reason)
    return model


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
