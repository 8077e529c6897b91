"""What a network costs whatever the machine: parameters, multiply-adds, operators, bytes."""

import hashlib
import tempfile
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from lightsr.errors import LightsrError
from numpy.typing import NDArray

from lightsr_bench.networks import Network, OpenCvRunner, load

PROBE_PX = 64
"""Side of the picture in which multiply-adds are counted."""

WEIGHED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators whose multiply-adds are counted; the others have hardly any."""

QUANTISATION = frozenset({"QuantizeLinear", "DequantizeLinear"})


@dataclass(frozen=True)
class Costs:
    """What a network file costs.

    Parameters
    ----------
    channels : int
        Of its input.
    scale : int
    parameters : int
        Numbers in its weights, biases and slopes; not scales, zero points and shapes.
    macs_per_px : float
        Multiply-adds of convolutions and matrix products for one output pixel.
    file_kib : float
    sha256 : str
    operators : dict of int
        Operators of the graph that onnxruntime made of it on this machine; empty for
        another engine.
    """

    channels: int
    scale: int
    parameters: int
    macs_per_px: float
    file_kib: float
    sha256: str
    operators: dict[str, int]


def of(network: Network) -> Costs:
    """Costs of a network.

    Raises
    ------
    lightsr.LightsrError
        It does not load or run.
    """
    content = network.path.read_bytes()
    runner = load(network.path, "opencv" if network.engine == "opencv" else "onnxruntime", threads=1)
    if isinstance(runner, OpenCvRunner):
        parameters, macs = _of_opencv(runner)
        operators: dict[str, int] = {}
    else:
        parameters, macs = _of_onnx(network.path, runner.channels, runner.scale)
        operators = optimised_operators(network.path)
    return Costs(
        runner.channels,
        runner.scale,
        parameters,
        macs,
        len(content) / 1024,
        hashlib.sha256(content).hexdigest(),
        operators,
    )


def optimised_operators(path: Path) -> dict[str, int]:
    """Operators of the graph that onnxruntime runs here, by falling number."""
    import onnx
    import onnxruntime

    with tempfile.TemporaryDirectory() as folder:
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.optimized_model_filepath = str(Path(folder, "optimised.onnx"))
        onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        graph = onnx.load(options.optimized_model_filepath).graph
    counts = Counter(f"{node.domain}:{node.op_type}" if node.domain else node.op_type for node in graph.node)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _of_opencv(runner: OpenCvRunner) -> tuple[int, float]:
    """Parameters, and multiply-adds for one output pixel, from a real run."""
    import cv2

    # Version 5's new engine gives the last layer's values whatever layer is asked for.
    classic: dict[str, Any] = {"engine": cv2.dnn.ENGINE_CLASSIC} if hasattr(cv2.dnn, "ENGINE_CLASSIC") else {}
    net = cv2.dnn.readNetFromTensorflow(str(runner.path), **classic)
    layers = {name: net.getLayer(name) for name in net.getLayerNames()}
    convolutions = [name for name, layer in layers.items() if layer.type == "Convolution"]
    net.setInput(np.zeros((1, 1, PROBE_PX, PROBE_PX), np.float32))
    values = net.forward(convolutions)
    macs = sum(
        value.size * int(np.prod(layers[name].blobs[0].shape[1:]))
        for name, value in zip(convolutions, values, strict=True)
    )
    parameters = sum(blob.size for layer in layers.values() for blob in layer.blobs)
    return parameters, macs / (PROBE_PX * runner.scale) ** 2


def _of_onnx(path: Path, channels: int, scale: int) -> tuple[int, float]:
    """Parameters, and multiply-adds for one output pixel.

    The shapes are those of a real run in which every weighed operator's values are
    outputs: shape inference gives up on some published graphs.
    """
    import onnx
    import onnxruntime

    model = onnx.load(path)
    constants = _constants(model.graph)
    weighed = [node for node in model.graph.node if node.op_type in WEIGHED]
    produced = {output for node in model.graph.node for output in node.output}
    known = {output.name for output in model.graph.output}
    wanted = {name for node in weighed for name in (*node.input, *node.output) if name in produced} - known
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in sorted(wanted))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    picture = np.zeros((1, channels, PROBE_PX, PROBE_PX), np.float32)
    names = [output.name for output in session.get_outputs()]
    values = session.run(names, {session.get_inputs()[0].name: picture})
    shapes = {name: value.shape for name, value in zip(names, values, strict=True)}
    shapes |= {name: value.shape for name, value in constants.items()}
    shapes[session.get_inputs()[0].name] = picture.shape
    macs = sum(_multiply_adds(node, shapes) for node in weighed)
    return _parameters(model.graph, constants), macs / (PROBE_PX * scale) ** 2


def _constants(graph: Any) -> dict[str, NDArray[Any]]:
    from onnx import numpy_helper

    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    return constants


def _parameters(graph: Any, constants: dict[str, NDArray[Any]]) -> int:
    """Numbers in constants that something computes with: no shapes, no scales or zero points."""
    of_quantisation = {name for node in graph.node if node.op_type in QUANTISATION for name in node.input[1:]}
    used = {name for node in graph.node for name in node.input} - of_quantisation
    return sum(
        value.size for name, value in constants.items() if name in used and value.ndim and value.dtype != np.int64
    )


def _multiply_adds(node: Any, shapes: dict[str, tuple[int, ...]]) -> int:
    first, second, result = (shapes[name] for name in (node.input[0], node.input[1], node.output[0]))
    if node.op_type == "Conv":  # weight: out, in / groups, kernel
        return int(np.prod(result) * np.prod(second[1:]))
    if node.op_type == "ConvTranspose":  # weight: in, out / groups, kernel
        return int(np.prod(first) * np.prod(second[1:]))
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return int(np.prod(result) * first[-2 if transposed else -1])


def try_of(network: Network) -> Costs | LightsrError:
    """Costs, or the reason why there are none."""
    try:
        return of(network)
    except LightsrError as error:
        return error
