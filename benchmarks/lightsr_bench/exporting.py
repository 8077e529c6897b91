"""What exporting gains: a network straight from torch beside what lightsr-export makes of it.

One thread of one process; all forms of a network take turns, so that what slows the
machine down for a while slows all of them, and the ratios stay.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx
import torch
from lightsr.card import golden_input
from lightsr_export import profile, quantise
from lightsr_export.errors import IntegerFormError
from lightsr_export.profile import Kernel
from lightsr_train import checkpoint, settings
from lightsr_train.contract import Network
from lightsr_train.networks import NETWORKS

from lightsr_bench import forms

SEED = 0
"""Of random weights and of the picture."""

DEFAULTS = (("tiny", 2), ("base", 2), ("tiny", 4))
"""Networks and scales that are measured where none is named."""

PAIRS = (("naive", "fp32"), ("fp32", "int8"), ("naive head", "fp32 head"))
"""What is divided by what."""

INTEGER_CONVOLUTIONS = frozenset({"QLinearConv"})


@dataclass(frozen=True)
class Subject:
    """A network to measure.

    Parameters
    ----------
    name : str
        How tables call it; no two in a run are equal.
    network : Network
        In evaluation mode.
    sha256 : str
        Of its checkpoint; "" for random weights.
    """

    name: str
    network: Network
    sha256: str = ""


@dataclass(frozen=True)
class Latency:
    """Times of one form over all rounds.

    Parameters
    ----------
    minimum_ms, median_ms : float
    """

    minimum_ms: float
    median_ms: float


@dataclass(frozen=True)
class Rate:
    """How fast convolutions go.

    Parameters
    ----------
    macs_per_s : float
        Multiply-adds.
    share : float
        Of the float32 matrix product's rate.
    """

    macs_per_s: float
    share: float


@dataclass(frozen=True)
class Measurement:
    """One network in all its forms.

    Parameters
    ----------
    name : str
    scale : int
    sha256 : str
        Of its checkpoint; "" for random weights.
    passes : tuple of str
        Rewrites that made fp32.
    difference : float
        Largest between torch and fp32, as a share of the input's range.
    refusal : str
        Why there is no int8; "" where there is.
    macs_per_px : dict of float
        Multiply-adds for one output pixel by form: "naive", "fp32", "int8".
    latencies : dict of Latency
        By form, and of "naive head" and "fp32 head" where the network has one.
    ratios : dict of float
        "naive/fp32", "fp32/int8" and "naive head/fp32 head": medians over the rounds.
    peak_macs_per_s : float
        Of a float32 matrix product, measured right before the kernels.
    rates : dict of Rate
        Of all float convolutions of fp32 ("fp32"), of those of its body ("fp32 body"), and
        of all integer ones of int8 ("int8"). One that cannot be told is missing.
    kernels : dict of tuple of Kernel
        Of fp32 and int8, the slowest first.
    """

    name: str
    scale: int
    sha256: str
    passes: tuple[str, ...]
    difference: float
    refusal: str
    macs_per_px: dict[str, float]
    latencies: dict[str, Latency]
    ratios: dict[str, float]
    peak_macs_per_s: float
    rates: dict[str, Rate]
    kernels: dict[str, tuple[Kernel, ...]]


def subjects(checkpoints: Iterable[Path], networks: Iterable[tuple[str, int]]) -> list[Subject]:
    """Networks of checkpoints, then named ones as training starts them; with none at all, `DEFAULTS`.

    Parameters
    ----------
    checkpoints : iterable of Path
        Checkpoints and run folders of lightsr-train.
    networks : iterable of (str, int)
        Names that lightsr-train knows, and scales. Their weights are random; none is zero.

    Raises
    ------
    lightsr.LightsrError
        A checkpoint cannot be read, or a name is unknown.
    """
    found = []
    for path in checkpoints:
        trained = checkpoint.load(path)
        network = trained.network()
        found.append(Subject(f"{trained.name}-x{network.config.scale}", network, checkpoint.sha256(path)))
    found += [_untrained(*entry) for entry in networks]
    found = found or [_untrained(*entry) for entry in DEFAULTS]
    named: dict[str, Subject] = {}
    for subject in found:
        name = subject.name
        while name in named:
            name += "'"
        named[name] = replace(subject, name=name)
    return list(named.values())


def _untrained(name: str, scale: int) -> Subject:
    config = settings.from_preset(name, scale)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = NETWORKS[config.family](config.last.network).eval()
    return Subject(f"{name}-x{scale}", network)


def measure(subject: Subject, *, side_px: int, rounds: int) -> Measurement:
    """Bring a network into all its forms and time them in turns.

    Parameters
    ----------
    subject : Subject
    side_px : int
        Of the square picture, low-resolution pixels.
    rounds : int
        Timed runs of each form, and of each kernel.

    Raises
    ------
    ExportError
        A form and torch disagree.
    """
    lr = golden_input(SEED, (side_px, side_px))
    scale = subject.network.config.scale
    found = forms.of(subject.network)
    macs = {name: profile.multiply_adds(model, lr) for name, model in found.models.items()}
    paired = profile.paired_latency(
        found.models | {f"{name} head": head.model for name, head in found.heads.items()},
        lr,
        more={
            f"{name} head": {head.tail: forms.value(found.models[name], head.tail, lr)}
            for name, head in found.heads.items()
        },
        rounds=rounds,
    )
    peak = profile.gemm_peak()
    kernels = {
        name: tuple(profile.kernels(model, lr, runs=rounds)) for name, model in found.models.items() if name != "naive"
    }
    rates = {"fp32": profile.convolution_rate(kernels["fp32"])}
    if body := of_body(found.fp32, kernels["fp32"], macs["fp32"]):
        rates["fp32 body"] = profile.convolution_rate(body)
    if "int8" in kernels:
        rates["int8"] = profile.convolution_rate(kernels["int8"], operators=INTEGER_CONVOLUTIONS)
    return Measurement(
        name=subject.name,
        scale=scale,
        sha256=subject.sha256,
        passes=found.passes,
        difference=found.difference,
        refusal=found.refusal,
        macs_per_px={name: sum(work.values()) / (scale * side_px) ** 2 for name, work in macs.items()},
        latencies={name: Latency(paired.minimum_ms[name], paired.median_ms[name]) for name in paired.rounds_ms},
        ratios={
            f"{first}/{second}": paired.ratio(first, second)
            for first, second in PAIRS
            if {first, second} <= paired.rounds_ms.keys()
        },
        peak_macs_per_s=peak,
        rates={name: Rate(rate, rate / peak) for name, rate in rates.items()},
        kernels=kernels,
    )


def of_body(fp32: onnx.ModelProto, kernels: Sequence[Kernel], macs: Mapping[str, int]) -> list[Kernel]:
    """Float convolutions between stem and tail, the tail among them: what int8 computes in integers.

    Stem, skip and consistency step are left out: they read or give so few channels that no
    convolution comes near the peak there. A kernel is told by its name, which onnxruntime
    makes of the node's own or, where it blocks channels, of the value's that it gives.

    Parameters
    ----------
    fp32 : ModelProto
        The graph as lightsr-export makes it.
    kernels : sequence of Kernel
        Of that graph.
    macs : mapping of int
        Multiply-adds of that graph by value, for the same picture.

    Returns
    -------
    list of Kernel
        Empty where the graph has no body with an integer form, or where onnxruntime fused
        operators so that these kernels do another work than the body.
    """
    try:
        body = quantise.body_nodes(fp32)
    except IntegerFormError:
        return []
    names: set[str] = set()
    for node in body:  # what follows the stem only, such as its ReLU, is fused into the stem
        if node.op_type == "Conv" or names.intersection(node.input):
            names.update((node.name, *node.output))
    chosen = [
        kernel
        for kernel in kernels
        if kernel.operator in profile.FLOAT_CONVOLUTIONS and _plain_name(kernel.name) in names
    ]
    expected = sum(macs[node.output[0]] for node in body if node.op_type == "Conv")
    return chosen if sum(kernel.macs for kernel in chosen) == expected else []


def _plain_name(kernel: str) -> str:
    """Name of the node or value that a kernel's name was made of.

    >>> _plain_name("conv2d_16_nchwc"), _plain_name("fused node_Conv_3_token_12")
    ('conv2d_16', 'node_Conv_3')
    """
    return re.sub(r"^fused |(_nchwc|_token_\d+)+$", "", kernel)
