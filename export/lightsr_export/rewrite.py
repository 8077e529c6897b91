"""From the network that was trained to the one that a CPU runs best, exactly.

Every pass is one rewrite of a torch module; none changes what the network computes.
`rewritten` compares the network before and after each, and drops a pass that disagrees.
"""

import copy
import logging
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from lightsr_train.branches import BranchedConvolution
from lightsr_train.dense import LightDense
from lightsr_train.picture import PolyphaseSkip, ZeroSumStem, in_whole_blocks
from lightsr_train.upsampling import StagedDeconvolution
from torch import Tensor, nn

from lightsr_export.phases import FixedConvolution, PhaseConsistency, of_input, on_coarser_grid, packed

logger = logging.getLogger(__name__)

STEM, SKIP, CONSISTENCY = "stem", "skip", "consistency"
"""Parts of a network, and starts of their weights' names, that stay in float."""

FLOAT_PARTS = (STEM, SKIP, CONSISTENCY)

CHECK_SHAPES = ((1, 1, 17, 31), (3, 1, 33, 21))
"""Inputs on which networks are compared: odd sides, one and three pictures."""

AGREEMENT = 1e-5
"""Largest difference allowed between two forms of a network, as a share of the input's range."""


@dataclass(frozen=True)
class Pass:
    """One rewrite.

    Parameters
    ----------
    name : str
    apply : callable
        Takes a network that it may change, gives the rewritten one, or None where there is nothing to do.
    """

    name: str
    apply: Callable[[nn.Module], nn.Module | None]


def rewritten(network: nn.Module, passes: "Iterable[Pass] | None" = None) -> tuple[nn.Module, list[str]]:
    """The network after all passes that leave its result as it is.

    Parameters
    ----------
    network : Module
        In evaluation mode; it is not changed.
    passes : iterable of Pass, optional
        `PASSES` by default.

    Returns
    -------
    (Module, list of str)
        The rewritten network, and the names of the passes that changed it.
    """
    expected = [_output(network, shape) for shape in CHECK_SHAPES]
    current, applied = copy.deepcopy(network).eval(), []
    for step in PASSES if passes is None else passes:
        candidate = step.apply(copy.deepcopy(current))
        if candidate is None:
            continue
        difference = max(
            _difference(_output(candidate, shape), before) for shape, before in zip(CHECK_SHAPES, expected, strict=True)
        )
        if difference <= AGREEMENT:
            current = candidate.eval()
            applied.append(step.name)
        else:
            logger.warning("pass '%s' is left out: it changes the result by %.1e of the range", step.name, difference)
    return current, applied


def check_input(shape: tuple[int, ...]) -> Tensor:
    """A seeded input of this shape in [0, 1), float32."""
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


@torch.no_grad()
def _output(network: nn.Module, shape: tuple[int, ...]) -> Tensor:
    result: Tensor = network(check_input(shape))
    return result


def _difference(found: Tensor, expected: Tensor) -> float:
    if found.shape != expected.shape:
        return float("inf")
    difference = float((found - expected).abs().max())
    return difference if difference == difference else float("inf")


def _replaced(network: nn.Module, kind: type[nn.Module], form: Callable[..., nn.Module | None]) -> nn.Module | None:
    """`network` with every part of a kind in another form; None where there is none."""
    found = False
    for name, module in list(network.named_modules()):
        new = form(module) if isinstance(module, kind) else None
        if new is not None:
            parent, _, attribute = name.rpartition(".")
            setattr(network.get_submodule(parent), attribute, new)
            found = True
    return network if found else None


def without_branches(network: nn.Module) -> nn.Module | None:
    """Parallel branches that training had: one convolution each."""
    return _replaced(network, BranchedConvolution, lambda part: part.folded())


def with_plain_weights(network: nn.Module) -> nn.Module | None:
    """Weights that training computes from others, to keep them zero-sum or unit-sum: written out."""

    def stem(part: ZeroSumStem) -> nn.Module:
        return FixedConvolution(part.weight, edge=(part.stride, part.stride), stride=part.stride)

    return _replaced(network, ZeroSumStem, stem)


def with_plain_stages(network: nn.Module) -> nn.Module | None:
    """Stages of deconvolution, and the 1x1 convolution after them: deconvolutions and activations in a row."""

    def form(part: StagedDeconvolution) -> nn.Module:
        folded = part.folded()
        return folded if len(folded) > 1 else folded[0]

    return _replaced(network, StagedDeconvolution, form)


class SubpixelConvolution(nn.Module):
    """A transposed convolution as a convolution to the phases of each pixel, and DepthToSpace.

    Output pixel ``q * stride + r`` of the transposed convolution meets input pixel ``i``
    through tap ``(q - i) * stride + r + padding``; so every phase ``r`` is a convolution
    of its own, in which these taps appear in reverse order.
    """

    def __init__(self, deconvolution: nn.ConvTranspose2d) -> None:
        super().__init__()
        weight = deconvolution.weight.detach()
        channels, filters, side, _ = weight.shape
        self.stride = stride = deconvolution.stride[0]
        padding = int(deconvolution.padding[0])
        taps = [(phase, tap) for phase in range(stride) for tap in range(side) if (tap - phase - padding) % stride == 0]
        shifts = [(phase + padding - tap) // stride for phase, tap in taps]  # i - q
        reach = max(map(abs, shifts))
        phases = weight.new_zeros(filters, stride, stride, channels, 2 * reach + 1, 2 * reach + 1)
        for (row, i), top in zip(taps, shifts, strict=True):
            for (column, j), left in zip(taps, shifts, strict=True):
                phases[:, row, column, :, reach + top, reach + left] = weight[:, :, i, j].T
        bias = deconvolution.bias is not None
        count = filters * stride**2
        self.convolution = nn.Conv2d(channels, count, 2 * reach + 1, padding=reach, bias=bias)
        self.convolution.weight.data.copy_(phases.reshape(count, channels, 2 * reach + 1, 2 * reach + 1))
        if deconvolution.bias is not None and self.convolution.bias is not None:
            self.convolution.bias.data.copy_(deconvolution.bias.detach().repeat_interleave(stride**2))

    def forward(self, features: Tensor) -> Tensor:
        """(n, channels, h, w) -> (n, filters, stride * h, stride * w)."""
        return F.pixel_shuffle(self.convolution(features), self.stride)


def with_subpixels(network: nn.Module) -> nn.Module | None:
    """Transposed convolutions whose output has whole pixels for every input pixel: convolution and DepthToSpace."""

    def form(part: nn.ConvTranspose2d) -> nn.Module | None:
        if isinstance(part.padding, str):
            return None
        sizes = (part.stride, part.kernel_size, part.padding, part.output_padding)
        stride, side, padding, extra = (values[0] for values in sizes)
        square = all(len(set(values)) == 1 for values in sizes)
        whole = side - stride - 2 * padding + extra == 0
        plain = part.groups == 1 and set(part.dilation) == {1}
        return SubpixelConvolution(part) if square and whole and plain else None

    return _replaced(network, nn.ConvTranspose2d, form)


class PhaseNetwork(nn.Module):
    """A light dense network whose skip, sum and consistency step work on the grid of its blocks.

    The last of several deconvolutions reads the one before it without DepthToSpace between:
    on the grid that is coarser by that one's stride its input has as many more channels.
    A single one gives the phases of a whole block at once, with a stride of so many trunk pixels.

    Parameters
    ----------
    network : LightDense
    stem : FixedConvolution
        Its stem with the weights written out.
    stages : list of SubpixelConvolution
        What its deconvolutions became.
    skip : PolyphaseSkip
    """

    def __init__(
        self, network: LightDense, stem: FixedConvolution, stages: "list[SubpixelConvolution]", skip: PolyphaseSkip
    ) -> None:
        super().__init__()
        config = network.config
        self.scale, self.block_px = config.scale, config.block_px
        self.stem = stem
        self.blocks, self.fuse = network.blocks, network.fuse
        network.stem = network.deconvolution = nn.Identity()
        network.skip = None
        self.body = (network,)  # its blocks and fusion are parts of this module already
        self.strides = [stage.stride for stage in stages]
        self.stages = nn.ModuleList(stage.convolution for stage in stages[:-1])
        weight = stages[-1].convolution.weight.detach()
        if len(stages) > 1:
            weight = on_coarser_grid(weight, self.strides[-2])
        step = self.block_px // config.unshuffle
        reach = weight.shape[-1] // 2
        self.tail = FixedConvolution(packed(weight.double().numpy(), step), zeros=(reach, reach), stride=step)
        kernel = skip.weight.detach().double().numpy()
        self.skip = of_input(kernel, self.block_px)
        self.consistency = (
            PhaseConsistency(kernel, self.scale, self.block_px, config.consistency) if config.consistency else None
        )

    def forward(self, lr: Tensor) -> Tensor:
        """(n, 1, h, w) -> (n, 1, scale * h, scale * w)."""
        rows, columns = lr.shape[-2:]
        lr = in_whole_blocks(lr, self.block_px)
        detail = self.detail(self.body[0].detail(self.stem(lr))[0])
        sr = self.skip(lr) + detail
        if self.consistency is not None:
            sr = self.consistency(sr, detail, lr)
        sr = F.pixel_shuffle(sr, self.scale * self.block_px)
        if self.block_px > 1:
            sr = sr[..., : self.scale * rows, : self.scale * columns]
        return sr

    def detail(self, features: Tensor) -> Tensor:
        """The trunk's features -> the phases of every block.

        Shapes: (n, channels, h / unshuffle, w / unshuffle) -> (n, p * p, h / block, w / block), p = scale * block.
        """
        between = self.strides[:-2]  # after each of these stages the grid becomes finer
        for index, stage in enumerate(self.stages):
            features = F.relu(stage(features))
            if index < len(between):
                features = F.pixel_shuffle(features, between[index])
        detail: Tensor = self.tail(features)
        if between:  # its phases belong to a finer grid than the trunk's
            whole = F.pixel_shuffle(detail, math.prod(self.strides[-2:]))
            detail = F.pixel_unshuffle(whole, math.prod(self.strides))
        return detail


def on_phases(network: nn.Module) -> nn.Module | None:
    """Skip, sum and consistency step of a light dense network: on the grid of its blocks."""
    if not isinstance(network, LightDense) or not isinstance(network.skip, PolyphaseSkip):
        return None
    parts = list(network.deconvolution) if isinstance(network.deconvolution, nn.Sequential) else [network.deconvolution]
    stages = [part for part in parts if not isinstance(part, nn.ReLU)]
    stem = network.stem
    if not isinstance(stem, FixedConvolution) or not all(isinstance(part, SubpixelConvolution) for part in stages):
        return None
    return PhaseNetwork(network, stem, stages, network.skip)  # type: ignore[arg-type]


PASSES = (
    Pass("branches", without_branches),
    Pass("weights", with_plain_weights),
    Pass("stages", with_plain_stages),
    Pass("deconvolution", with_subpixels),
    Pass("phases", on_phases),
)
"""In the order in which they are tried; the last needs those before it."""
