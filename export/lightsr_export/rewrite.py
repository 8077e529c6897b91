"""From the network that was trained to the one that a CPU runs best, exactly.

Each function here is one rewrite; none changes what the network computes.
"""

import torch
import torch.nn.functional as F
from lightsr_train.networks import (
    SKIP_KERNEL_PX,
    ConsistencyStep,
    DenseBlock,
    LightDense,
    PolyphaseSkip,
    ZeroSumStem,
)
from torch import Tensor, nn

STEM, SKIP, CONSISTENCY = "stem", "skip", "consistency"
"""Parts of a `DeployedNetwork`, and starts of their weights' names, that stay in float."""

FLOAT_PARTS = (STEM, SKIP, CONSISTENCY)


def convolution_of_deconvolution(weight: Tensor, stride: int) -> Tensor:
    """Convolution that, followed by DepthToSpace, equals a transposed convolution.

    Output pixel ``q * stride + p`` of the transposed convolution meets input pixel
    ``i`` through tap ``(q - i + 1) * stride + p``; so phase ``p`` is a convolution
    of its own, and its three taps per axis appear in reverse order.

    Parameters
    ----------
    weight : Tensor, shape (channels, 1, 3 * stride, 3 * stride)
        Of a transposed convolution with padding `stride`.
    stride : int

    Returns
    -------
    Tensor, shape (stride * stride, channels, 3, 3)
        For a convolution with padding 1; phases in row-major order.
    """
    channels = weight.shape[0]
    split = weight.reshape(channels, 3, stride, 3, stride).flip(1, 3)
    # axes: channel, tap row, phase row, tap column, phase column
    return split.permute(2, 4, 0, 1, 3).reshape(stride * stride, channels, 3, 3).contiguous()


class EdgePaddedConvolution(nn.Module):
    """A convolution with fixed weights over an edge-padded picture."""

    def __init__(
        self,
        weight: Tensor,
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
        stride: tuple[int, int] = (1, 1),
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight.detach().clone(), requires_grad=False)
        self.padding = padding
        self.stride = stride

    def forward(self, x: Tensor) -> Tensor:
        """(n, c, h, w) -> (n, filters, h', w')."""
        if any(self.padding):
            x = F.pad(x, self.padding, mode="replicate")
        return F.conv2d(x, self.weight, stride=self.stride)


def deployed_stem(stem: ZeroSumStem) -> EdgePaddedConvolution:
    """The stem with its zero-sum weights written out."""
    return EdgePaddedConvolution(stem.weight, stem.padding * 2, (stem.stride, stem.stride))


def deployed_skip(skip: PolyphaseSkip) -> EdgePaddedConvolution:
    """The polyphase skip with its unit-sum weights written out; DepthToSpace follows."""
    return EdgePaddedConvolution(skip.weight, (SKIP_KERNEL_PX // 2,) * 4)


class DeployedConsistency(nn.Module):
    """The consistency step as three convolutions and a DepthToSpace.

    Its weight lambda is multiplied into the last one.
    """

    def __init__(self, step: ConsistencyStep) -> None:
        super().__init__()
        self.scale = step.scale
        before, after = step.padding
        taps = step.taps
        rows = taps.reshape(1, 1, -1, 1)
        self.down_rows = EdgePaddedConvolution(rows, (0, 0, before, after), (step.scale, 1))
        self.down_columns = EdgePaddedConvolution(rows.mT, (before, after, 0, 0), (1, step.scale))
        self.up = EdgePaddedConvolution(step.weight * step.phases, (SKIP_KERNEL_PX // 2,) * 4)

    def forward(self, sr: Tensor, lr: Tensor) -> Tensor:
        """(n, 1, s * h, s * w) and (n, 1, h, w) -> (n, 1, s * h, s * w)."""
        residual = lr - self.down_columns(self.down_rows(sr))
        return sr + F.pixel_shuffle(self.up(residual), self.scale)


class DeployedNetwork(nn.Module):
    """A light dense network as the device runs it.

    The weights of the parts that stay in float are named after `FLOAT_PARTS`.

    Parameters
    ----------
    network : LightDense
        In evaluation mode.
    """

    def __init__(self, network: LightDense) -> None:
        super().__init__()
        config = network.config
        self.scale = config.scale
        self.stride = config.scale * config.unshuffle
        self.stem = deployed_stem(network.stem)
        self.blocks: nn.ModuleList = network.blocks
        self.fuse = network.fuse
        self.tail = nn.Conv2d(config.channels, self.stride**2, 3, padding=1, bias=False)
        self.tail.weight.data.copy_(convolution_of_deconvolution(network.deconvolution.weight, self.stride))
        self.skip = deployed_skip(network.skip)
        self.consistency = DeployedConsistency(network.consistency) if config.consistency else None

    def forward(self, lr: Tensor) -> Tensor:
        """(n, 1, h, w) -> (n, 1, scale * h, scale * w)."""
        features = self.stem(lr)
        outputs = []
        for block in self.blocks:
            assert isinstance(block, DenseBlock)
            features = block(features)
            outputs.append(features)
        fused = F.relu(self.fuse(torch.cat(outputs, dim=1) if len(outputs) > 1 else features))
        detail = F.pixel_shuffle(self.tail(fused), self.stride)
        if self.stride != self.scale:  # an odd side was filled up to whole trunk pixels
            detail = detail[..., : self.scale * lr.shape[2], : self.scale * lr.shape[3]]
        sr = F.pixel_shuffle(self.skip(lr), self.scale) + detail
        return sr if self.consistency is None else self.consistency(sr, lr)
