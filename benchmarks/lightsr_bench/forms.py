"""The forms in which a trained network can run: straight from torch, and as the exporter makes it."""

from dataclasses import dataclass, replace

import numpy as np
import onnx
from lightsr.card import golden_input
from lightsr_export import graph, quantise
from lightsr_export.errors import IntegerFormError
from lightsr_export.export import deployed
from lightsr_train.contract import Network
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.utils import Extractor

RANGE_INPUTS = 4
"""Made-up pictures on which the ranges of int8 are measured."""

RANGE_SHAPE_PX = (40, 44)
"""Of each."""


@dataclass(frozen=True)
class Head:
    """What comes after the learned convolutions, as a model of its own: skip, sums, consistency step, DepthToSpace.

    It reads the tail's output in the plain layout; within the whole graph onnxruntime may
    hand it over in blocks of channels.

    Parameters
    ----------
    model : ModelProto
        From the picture and the tail's output to the result.
    tail : str
        Name of the second input: what the last learned convolution gives.
    """

    model: onnx.ModelProto
    tail: str


@dataclass(frozen=True)
class Forms:
    """One network in all its forms.

    Parameters
    ----------
    naive : ModelProto
        The training network through torch.onnx: nothing of it is rewritten, and its
        deconvolutions stay. torch.onnx itself computes constants, such as the stem's
        zero-sum weights.
    fp32 : ModelProto
        As lightsr-export makes it.
    int8 : ModelProto or None
        `fp32` with its whole body in integers, for timing only: the ranges are those of
        made-up pictures, on which speed does not depend.
    refusal : str
        Why there is no `int8`; "" where there is.
    passes : tuple of str
        Rewrites that made `fp32`.
    difference : float
        Largest between torch and `fp32`, as a share of the input's range.
    heads : dict of Head
        Of "naive" and "fp32"; none of a network whose last learned convolution gives the result.
    """

    naive: onnx.ModelProto
    fp32: onnx.ModelProto
    int8: onnx.ModelProto | None
    refusal: str
    passes: tuple[str, ...]
    difference: float
    heads: dict[str, Head]

    @property
    def models(self) -> dict[str, onnx.ModelProto]:
        """Those that there are, by name."""
        found = {"naive": self.naive, "fp32": self.fp32}
        return found | ({"int8": self.int8} if self.int8 else {})


def of(network: Network) -> Forms:
    """All forms of a network.

    Parameters
    ----------
    network : Network
        In evaluation mode.

    Raises
    ------
    ExportError
        A form and torch disagree.
    """
    naive = graph.to_onnx(network)
    graph.checked(naive, network)
    fp32, passes, difference = deployed(network)
    plain = Forms(naive, fp32, None, "", tuple(passes), difference, {})
    try:
        tail = quantise.body_nodes(fp32)[-1].output[0]
    except IntegerFormError as error:
        return replace(plain, refusal=str(error))
    return replace(plain, int8=in_integers(fp32), heads=_heads(naive, fp32, tail))


def in_integers(fp32: onnx.ModelProto) -> onnx.ModelProto:
    """The model with its whole body in integers, with the ranges that made-up pictures have there.

    Raises
    ------
    IntegerFormError
        The body has operators without an integer form.
    """
    pictures = [golden_input(seed, RANGE_SHAPE_PX) for seed in range(1, RANGE_INPUTS + 1)]
    return quantise.quantised(fp32, quantise.ranges_of(fp32, quantise.spreads(fp32, pictures)))


def _heads(naive: onnx.ModelProto, fp32: onnx.ModelProto, tail: str) -> dict[str, Head]:
    """Heads of the two float forms, from the last deconvolution on and from what became of it."""
    deconvolutions = [node.output[0] for node in naive.graph.node if node.op_type == "ConvTranspose"]
    if not deconvolutions or tail == fp32.graph.output[0].name:
        return {}
    return {"naive": head(naive, deconvolutions[-1]), "fp32": head(fp32, tail)}


def head(model: onnx.ModelProto, tail: str) -> Head:
    """What a model does from the picture and from one of its values on.

    Parameters
    ----------
    model : ModelProto
    tail : str
        Name of the value.
    """
    inferred = onnx.shape_inference.infer_shapes(model)  # an input needs its number of channels
    return Head(Extractor(inferred).extract_model(["lr", tail], [model.graph.output[0].name]), tail)


def value(model: onnx.ModelProto, name: str, lr: NDArray[np.float32]) -> NDArray[np.float32]:
    """What a model computes on the way.

    Parameters
    ----------
    model : ModelProto
    name : str
        Of the value.
    lr : ndarray, shape (n, 1, h, w), float32
    """
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    probe.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    found: NDArray[np.float32] = graph.session(probe).run([name], {"lr": lr})[0]
    return found
