"""Classic one-channel networks with random weights, for timing.

The published files of these networks take colour, or run in another engine; these are
the same architectures on equal terms with ours. Their pictures mean nothing.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
SEED = 0


class _Graph:
    """A chain of layers that is being written down.

    Parameters
    ----------
    scale : int
    """

    def __init__(self, scale: int) -> None:
        self.scale = scale
        self.value = "x"
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []
        self.random = np.random.default_rng(SEED)

    def constant(self, values: NDArray[np.float32]) -> str:
        """Name of a new constant."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(values, name))
        return name

    def add(self, kind: str, *constants: str, **attributes: Any) -> None:
        """Append a node that takes the latest value and constants."""
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, [self.value, *constants], [name], **attributes))
        self.value = name

    def weight(self, shape: tuple[int, ...], fan_in: int) -> str:
        """Name of a new random weight (He et al., ICCV 2015)."""
        return self.constant((self.random.standard_normal(shape) * np.sqrt(2 / fan_in)).astype(np.float32))

    def conv(self, channels_in: int, channels_out: int, side: int) -> None:
        """Append a convolution with bias that keeps the size."""
        weight = self.weight((channels_out, channels_in, side, side), channels_in * side * side)
        bias = self.constant(np.zeros(channels_out, np.float32))
        self.add("Conv", weight, bias, kernel_shape=[side, side], pads=[side // 2] * 4)

    def prelu(self, channels: int) -> None:
        """Append a PReLU with a slope per channel."""
        self.add("PRelu", self.constant(np.full((channels, 1, 1), 0.25, np.float32)))

    def model(self, name: str) -> onnx.ModelProto:
        """The finished model: input x [1, 1, h, w], output y [1, 1, scale * h, scale * w]."""
        self.nodes[-1].output[0] = "y"
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 1, "h", "w"])],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 1, "sh", "sw"])],
            self.weights,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=9)
        onnx.checker.check_model(model)
        return model


def fsrcnn(scale: int) -> onnx.ModelProto:
    """FSRCNN(56, 12, 4).

    References
    ----------
    C. Dong, C. C. Loy, X. Tang, "Accelerating the super-resolution convolutional neural
    network", ECCV 2016.
    """
    graph = _Graph(scale)
    for channels_in, channels_out, side in ((1, 56, 5), (56, 12, 1), *[(12, 12, 3)] * 4, (12, 56, 1)):
        graph.conv(channels_in, channels_out, side)
        graph.prelu(channels_out)
    side = 9
    weight = graph.weight((56, 1, side, side), 56 * side * side)
    bias = graph.constant(np.zeros(1, np.float32))
    extra = scale - 1  # so that the output is exactly scale times the input
    graph.add(
        "ConvTranspose",
        weight,
        bias,
        kernel_shape=[side, side],
        strides=[scale, scale],
        pads=[side // 2] * 4,
        output_padding=[extra, extra],
    )
    return graph.model("FSRCNN")


def espcn(scale: int) -> onnx.ModelProto:
    """ESPCN 5-3-3 with 64 and 32 channels.

    References
    ----------
    W. Shi et al., "Real-time single image and video super-resolution using an efficient
    sub-pixel convolutional neural network", CVPR 2016.
    """
    graph = _Graph(scale)
    graph.conv(1, 64, 5)
    graph.add("Tanh")
    graph.conv(64, 32, 3)
    graph.add("Tanh")
    graph.conv(32, scale * scale, 3)
    graph.add("DepthToSpace", blocksize=scale, mode="CRD")
    return graph.model("ESPCN")


def srcnn(scale: int) -> onnx.ModelProto:
    """SRCNN 9-1-5 behind bicubic interpolation.

    References
    ----------
    C. Dong, C. C. Loy, K. He, X. Tang, "Image super-resolution using deep convolutional
    networks", IEEE TPAMI 38(2), 2016.
    """
    graph = _Graph(scale)
    scales = graph.constant(np.array([1, 1, scale, scale], np.float32))
    graph.add("Resize", "", scales, mode="cubic", cubic_coeff_a=-0.5)
    graph.conv(1, 64, 9)
    graph.add("Relu")
    graph.conv(64, 32, 1)
    graph.add("Relu")
    graph.conv(32, 1, 5)
    return graph.model("SRCNN")


ARCHITECTURES: dict[str, Callable[[int], onnx.ModelProto]] = {"fsrcnn": fsrcnn, "espcn": espcn, "srcnn": srcnn}
"""Name on the command line and builder."""


def write(name: str, scale: int, folder: Path) -> Path:
    """Write an architecture with random weights to a file.

    Parameters
    ----------
    name : {"fsrcnn", "espcn", "srcnn"}
    scale : int
    folder : Path

    Returns
    -------
    Path
    """
    path = folder / f"{name.upper()}-1ch_x{scale}.onnx"
    onnx.save(ARCHITECTURES[name](scale), path)
    return path
