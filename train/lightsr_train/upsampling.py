"""From the trunk's features to the picture's detail: deconvolutions, in stages or in one."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class StagedDeconvolution(nn.Module):
    """Deconvolutions one after the other, ReLU between them, and a 1x1 convolution to the picture.

    The last deconvolution and the 1x1 convolution are linear, so they are one
    deconvolution with one output; that is what `forward` runs and what is exported.

    Parameters
    ----------
    inputs : int
        Channels of the trunk.
    channels : int
        Channels of every stage.
    strides : tuple of int
    taps : int
        Side of a kernel, as a multiple of its stride.
    bias : bool
    """

    def __init__(self, inputs: int, channels: int, strides: tuple[int, ...], taps: int, *, bias: bool = False) -> None:
        super().__init__()
        self.stages = nn.ModuleList()
        for stride in strides:
            self.stages.append(deconvolution(inputs, channels, stride, taps, bias=bias))
            inputs = channels
        self.picture = nn.Conv2d(channels, 1, 1, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, 1, s * h, s * w), with s the product of the strides."""
        return self.both(features)[0]

    def both(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The picture, and what the stage before the last gives (before its ReLU).

        Shapes: (n, inputs, h, w) -> (n, 1, s * h, s * w) and (n, channels, s / t * h, s / t * w), with s the
        product of the strides and t the last one; of one stage alone, `features` itself.
        """
        before = features
        for stage in self.stages[:-1]:
            before = stage(features)
            features = F.relu(before)
        weight, bias = self.last_weights()
        stride = self.last.stride[0]
        detail = F.conv_transpose2d(features, weight, bias, stride=stride, padding=int(self.last.padding[0]))
        return detail, before

    @property
    def last(self) -> nn.ConvTranspose2d:
        """The last stage."""
        stage = self.stages[-1]
        assert isinstance(stage, nn.ConvTranspose2d)
        return stage

    def last_weights(self) -> tuple[Tensor, Tensor | None]:
        """Of the last deconvolution and the 1x1 convolution in one: (inputs, 1, k, k), and a bias of one."""
        mix = self.picture.weight[:, :, 0, 0]
        bias = None
        if self.last.bias is not None and self.picture.bias is not None:
            bias = mix @ self.last.bias + self.picture.bias
        return torch.einsum("cmkl,om->cokl", self.last.weight, mix), bias

    def folded(self) -> nn.Sequential:
        """The same as plain deconvolutions and activations."""
        parts: list[nn.Module] = []
        for stage in self.stages[:-1]:
            parts += [stage, nn.ReLU()]
        weight, bias = self.last_weights()
        side, stride, padding = weight.shape[2], self.last.stride[0], int(self.last.padding[0])
        end = nn.ConvTranspose2d(weight.shape[0], 1, side, stride, padding, bias=bias is not None)
        end.weight = nn.Parameter(weight.detach())
        if bias is not None:
            end.bias = nn.Parameter(bias.detach())
        return nn.Sequential(*parts, end)


def deconvolution(inputs: int, outputs: int, stride: int, taps: int, *, bias: bool = False) -> nn.ConvTranspose2d:
    """Deconvolution whose kernel is `taps` strides wide, so that every phase sees as many pixels."""
    return nn.ConvTranspose2d(
        inputs, outputs, taps * stride, stride=stride, padding=(taps - 1) * stride // 2, bias=bias
    )


class Subpixel(nn.Module):
    """A 3x3 convolution to the phases of every pixel, and DepthToSpace."""

    def __init__(self, inputs: int, stride: int, *, bias: bool = False) -> None:
        super().__init__()
        self.stride = stride
        self.phases = nn.Conv2d(inputs, stride**2, 3, padding=1, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, 1, stride * h, stride * w)."""
        return F.pixel_shuffle(self.phases(features), self.stride)
