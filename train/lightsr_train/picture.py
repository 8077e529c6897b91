"""The picture's own path beside the trunk: the stem that reads it, the skip, the consistency step."""

import torch
import torch.nn.functional as F
from lightsr.resample import downsampling_start, downsampling_taps, interpolation_phases
from torch import Tensor, nn

from lightsr_train.dimensions import SKIP_KERNEL_PX, STEM_KERNEL_PX


class ZeroSumStem(nn.Module):
    """First convolution: edge-padded, strided by `unshuffle`, each filter summing to zero.

    A constant added to the picture leaves its output unchanged.
    """

    def __init__(self, channels: int, unshuffle: int) -> None:
        super().__init__()
        self.stride = unshuffle
        side = STEM_KERNEL_PX * unshuffle
        self.raw = nn.Parameter(torch.empty(channels, 1, side, side))
        nn.init.normal_(self.raw, std=(2.0 / side**2) ** 0.5)

    @property
    def weight(self) -> Tensor:
        """Filters that are used: (channels, 1, 3 * unshuffle, 3 * unshuffle), each summing to zero."""
        weight: Tensor = self.raw - self.raw.mean(dim=(1, 2, 3), keepdim=True)
        return weight

    def forward(self, lr: Tensor) -> Tensor:
        """(n, 1, h, w) -> (n, channels, h / stride, w / stride)."""
        return F.conv2d(F.pad(lr, (self.stride,) * 4, mode="replicate"), self.weight, stride=self.stride)


class FreeStem(nn.Module):
    """First convolution of a network that is not equivariant: edge-padded, strided by `unshuffle`, with biases."""

    def __init__(self, channels: int, unshuffle: int) -> None:
        super().__init__()
        self.stride = unshuffle
        side = STEM_KERNEL_PX * unshuffle
        self.convolution = nn.Conv2d(1, channels, side, stride=unshuffle)
        nn.init.normal_(self.convolution.weight, std=(2.0 / side**2) ** 0.5)

    def forward(self, lr: Tensor) -> Tensor:
        """(n, 1, h, w) -> (n, channels, h / stride, w / stride)."""
        features: Tensor = self.convolution(F.pad(lr, (self.stride,) * 4, mode="replicate"))
        return features


class PolyphaseSkip(nn.Module):
    """Input-to-output skip: a learned 5x5 upsampler that starts as bicubic interpolation.

    Each of the scale * scale phase filters sums to one, so intensities pass unchanged.
    """

    def __init__(self, scale: int, *, learned: bool = True) -> None:
        super().__init__()
        self.scale = scale
        self.raw = nn.Parameter(bicubic_phase_filters(scale), requires_grad=learned)

    @property
    def weight(self) -> Tensor:
        """Filters that are used: (scale * scale, 1, 5, 5), each summing to one."""
        total = self.raw.sum(dim=(1, 2, 3), keepdim=True)
        return self.raw + (1.0 - total) / SKIP_KERNEL_PX**2

    def forward(self, lr: Tensor) -> Tensor:
        """(n, 1, h, w) -> (n, 1, scale * h, scale * w)."""
        padded = F.pad(lr, (SKIP_KERNEL_PX // 2,) * 4, mode="replicate")
        return F.pixel_shuffle(F.conv2d(padded, self.weight), self.scale)


class ConsistencyStep(nn.Module):
    """Give back what the low-resolution picture says and the result lost.

    ``sr + weight * up(lr - down(sr))`` with `down` the antialiased bicubic reduction
    and `up` bicubic interpolation, which is the adjoint of `down` times scale**2.
    Beyond the picture's border nothing was measured, so there the residual is zero.

    References
    ----------
    M. Irani, S. Peleg, "Improving resolution by image registration", CVGIP 53(3),
    1991 (iterative back-projection; this is one step of it).
    """

    margin_px = SKIP_KERNEL_PX // 2
    """Low-resolution pixels beyond each side of the picture that `down` reads."""

    def __init__(self, scale: int, weight: float) -> None:
        super().__init__()
        self.scale = scale
        self.weight = weight
        taps = torch.from_numpy(downsampling_taps(scale)).float()
        self.taps: Tensor
        self.phases: Tensor
        self.register_buffer("taps", taps, persistent=False)
        self.register_buffer("phases", bicubic_phase_filters(scale), persistent=False)

    def down(self, sr: Tensor) -> Tensor:
        """(n, 1, scale * (h + 2 m), scale * (w + 2 m)) -> (n, 1, h, w) with m = `margin_px`."""
        before = self.margin_px * self.scale + downsampling_start(self.scale)
        after = self.margin_px * self.scale - (len(self.taps) - self.scale + downsampling_start(self.scale))
        inner = sr[..., before : sr.shape[-2] - after, before : sr.shape[-1] - after]
        return separable(inner, self.taps, self.scale)

    def forward(self, sr: Tensor, lr: Tensor) -> Tensor:
        """(n, 1, scale * (h + 2 m), scale * (w + 2 m)) and (n, 1, h, w) -> (n, 1, scale * h, scale * w)."""
        given_back = F.conv2d(lr - self.down(sr), self.weight * self.phases, padding=self.margin_px)
        beyond = self.margin_px * self.scale
        return sr[..., beyond:-beyond, beyond:-beyond] + F.pixel_shuffle(given_back, self.scale)


def in_whole_blocks(lr: Tensor, block: int) -> Tensor:
    """(n, 1, h, w), its sides filled up by the edge to multiples of `block`."""
    if block == 1:
        return lr
    rows, columns = lr.shape[-2:]
    return F.pad(lr, (0, -columns % block, 0, -rows % block), mode="replicate")


def separable(picture: Tensor, taps: Tensor, stride: int) -> Tensor:
    """(n, 1, h, w) under a filter with these taps, shape (k,), along both axes, at every `stride`-th position.

    Nothing is padded: the result is (n, 1, (h - k) // stride + 1, (w - k) // stride + 1).
    """
    rows = F.conv2d(picture, taps.view(1, 1, -1, 1), stride=(stride, 1))
    return F.conv2d(rows, taps.view(1, 1, 1, -1), stride=(1, stride))


def bicubic_phase_filters(scale: int) -> Tensor:
    """Bicubic interpolation as phase filters: (scale * scale, 1, 5, 5) float32, row-major phases."""
    phases = torch.from_numpy(interpolation_phases(scale))
    filters = torch.einsum("ak,bl->abkl", phases, phases)
    return filters.reshape(scale**2, 1, SKIP_KERNEL_PX, SKIP_KERNEL_PX).float()


def with_skip(detail: Tensor, lr: Tensor, skip: PolyphaseSkip | None, step: ConsistencyStep) -> Tensor:
    """The skip's picture and the detail, after the consistency step.

    Beyond its border the picture goes on by its edge, and the network adds nothing there.

    Parameters
    ----------
    detail : Tensor, shape (n, 1, scale * h, scale * w), float32
    lr : Tensor, shape (n, 1, h, w), float32
    skip : PolyphaseSkip or None
        None where `detail` is the picture itself.
    step : ConsistencyStep

    Returns
    -------
    Tensor, shape (n, 1, scale * h, scale * w), float32
    """
    if skip is None:  # an experiment: the network gives the picture itself
        beyond = step.margin_px * step.scale
        return step(F.pad(detail, (beyond,) * 4, mode="replicate"), lr) if step.weight else detail
    if not step.weight:
        plain: Tensor = skip(lr) + detail
        return plain
    beyond = step.margin_px
    upsampled = skip(F.pad(lr, (beyond,) * 4, mode="replicate"))
    upsampled = upsampled + F.pad(detail, (beyond * step.scale,) * 4)
    sr: Tensor = step(upsampled, lr)
    return sr
