"""What a network costs whatever the machine: parameters, multiply-adds, operators, bytes."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from lightsr_bench.networks import Network, OpenCvRunner, load

PROBE_PX = 64
"""Side of the picture in which multiply-adds are counted."""


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
        from lightsr_export import profile

        picture = np.zeros((1, runner.channels, PROBE_PX, PROBE_PX), np.float32)
        macs = sum(profile.multiply_adds(network.path, picture).values())
        parameters = profile.parameters(network.path)
        operators = profile.optimised_operators(network.path)
    return Costs(
        runner.channels,
        runner.scale,
        parameters,
        macs / (PROBE_PX * runner.scale) ** 2,
        len(content) / 1024,
        hashlib.sha256(content).hexdigest(),
        operators,
    )


def _of_opencv(runner: OpenCvRunner) -> tuple[int, int]:
    """Parameters, and multiply-adds for the probe picture, from a real run."""
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
    return parameters, macs
