"""Published networks to measure against, trained by the same loop on the same data.

Unlike the light dense network they have biases, so they see pictures mapped to [0, 1].
Layers and widths of SRCNN, FSRCNN and ESPCN are the published ones; those of `Residual`
and `SRDense` are our own, small enough to train on a CPU. All convolutions are padded
by zeros so that the output is whole.
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from lightsr.card import Intensity
from torch import Tensor, nn

from lightsr_train.contract import Network, ScaleConfig, stages
from lightsr_train.dimensions import SKIP_KERNEL_PX
from lightsr_train.picture import bicubic_phase_filters

HEAD_KERNEL_PX = 5
"""Side of the first convolution of FSRCNN and ESPCN, low-resolution pixels."""

SRCNN_KERNELS_PX = (9, 1, 5)
"""Sides of SRCNN's convolutions, high-resolution pixels."""

FSRCNN_KERNEL_PX = 9
"""Side of FSRCNN's deconvolution, high-resolution pixels."""


def coarser(reach_px: int, factor: int) -> int:
    """A reach in pixels of a grid, in whole pixels of the grid that is coarser by `factor`.

    From any of the `factor` fine pixels that a coarse one covers.

    >>> coarser(6, 4), coarser(1, 2), coarser(0, 8)
    (2, 1, 0)
    """
    return -(-reach_px // factor)


def deconvolution(inputs: int, outputs: int, side: int, stride: int) -> nn.ConvTranspose2d:
    """Deconvolution with exactly `stride` output pixels for every input pixel.

    The padding puts the middle of an odd kernel on the middle of the input pixel: exactly
    where the stride is odd, half an output pixel before it where it is even.
    """
    padding = (side - stride + 1) // 2
    return nn.ConvTranspose2d(
        inputs, outputs, side, stride=stride, padding=padding, output_padding=2 * padding - side + stride
    )


def deconvolution_reach(part: nn.ConvTranspose2d) -> int:
    """Input pixels on each side that an output pixel of a `deconvolution` depends on.

    Output pixel ``q * stride + r`` meets input pixel ``i`` in tap ``(q - i) * stride + r + padding``.
    """
    side, stride, padding = part.kernel_size[0], part.stride[0], int(part.padding[0])
    return max((side - 1 - padding) // stride, (stride - 1 + padding) // stride)


class Baseline(Network):
    """A network with biases: it takes pictures mapped to [0, 1]."""

    intensity: Intensity = "unit"


class SRCNN(Baseline):
    """Three convolutions, 9-1-5, on a bicubic enlargement, which is the first step of the network here.

    References
    ----------
    C. Dong, C. C. Loy, K. He, X. Tang, "Learning a deep convolutional network for image
    super-resolution", ECCV 2014.
    """

    config_class: ClassVar[type[ScaleConfig]] = ScaleConfig

    def __init__(self, config: ScaleConfig) -> None:
        super().__init__(config)
        first, second, third = SRCNN_KERNELS_PX
        self.skip: Tensor
        self.register_buffer("skip", bicubic_phase_filters(config.scale), persistent=False)
        self.extract = nn.Conv2d(1, 64, first, padding=first // 2)
        self.map = nn.Conv2d(64, 32, second, padding=second // 2)
        self.reconstruct = nn.Conv2d(32, 1, third, padding=third // 2)

    @property
    def reach_px(self) -> int:
        """On the enlargement, and that of the enlargement itself."""
        return coarser(sum(side // 2 for side in SRCNN_KERNELS_PX), self.config.scale) + SKIP_KERNEL_PX // 2

    def forward(self, lr: Tensor) -> Tensor:
        """(n, 1, h, w) -> (n, 1, scale * h, scale * w)."""
        padded = F.pad(lr, (SKIP_KERNEL_PX // 2,) * 4, mode="replicate")
        enlarged = F.pixel_shuffle(F.conv2d(padded, self.skip), self.config.scale)
        sr: Tensor = self.reconstruct(F.relu(self.map(F.relu(self.extract(enlarged)))))
        return sr


@dataclass(frozen=True)
class FSRCNNConfig(ScaleConfig):
    """Dimensions of an FSRCNN.

    Parameters
    ----------
    scale : int
    features : int
        Channels that the first convolution finds and the deconvolution reads (d).
    shrunk : int
        Channels of the mapping convolutions (s).
    mappings : int
        Mapping convolutions (m).
    """

    features: int = 56
    shrunk: int = 12
    mappings: int = 4

    def __post_init__(self) -> None:
        super().__post_init__()
        self.need_at_least_one("features", "shrunk", "mappings")


class FSRCNN(Baseline):
    """An hourglass at low resolution, then one deconvolution.

    References
    ----------
    C. Dong, C. C. Loy, X. Tang, "Accelerating the super-resolution convolutional neural
    network", ECCV 2016.
    """

    config_class: ClassVar[type[ScaleConfig]] = FSRCNNConfig
    config: FSRCNNConfig

    def __init__(self, config: FSRCNNConfig) -> None:
        super().__init__(config)
        features, shrunk = config.features, config.shrunk
        convolutions = [
            nn.Conv2d(1, features, HEAD_KERNEL_PX, padding=HEAD_KERNEL_PX // 2),
            nn.Conv2d(features, shrunk, 1),
            *(nn.Conv2d(shrunk, shrunk, 3, padding=1) for _ in range(config.mappings)),
            nn.Conv2d(shrunk, features, 1),
        ]
        self.body = nn.Sequential()
        for convolution in convolutions:
            self.body.append(convolution)
            self.body.append(nn.PReLU(convolution.out_channels))
        self.deconvolution = deconvolution(features, 1, FSRCNN_KERNEL_PX, config.scale)
        self._initialise(convolutions)

    def _initialise(self, convolutions: list[nn.Conv2d]) -> None:
        """As published: He's for the convolutions, nearly zero for the deconvolution."""
        for convolution in convolutions:
            nn.init.kaiming_normal_(convolution.weight, a=0.25, nonlinearity="leaky_relu")
            if convolution.bias is not None:
                nn.init.zeros_(convolution.bias)
        nn.init.normal_(self.deconvolution.weight, std=1e-3)
        if self.deconvolution.bias is not None:
            nn.init.zeros_(self.deconvolution.bias)

    @property
    def reach_px(self) -> int:
        """Of the first convolution, the mapping and the deconvolution."""
        return HEAD_KERNEL_PX // 2 + self.config.mappings + deconvolution_reach(self.deconvolution)

    def forward(self, lr: Tensor) -> Tensor:
        """(n, 1, h, w) -> (n, 1, scale * h, scale * w)."""
        sr: Tensor = self.deconvolution(self.body(lr))
        return sr


class ESPCN(Baseline):
    """Three convolutions, 5-3-3, at low resolution; the last gives the phases of each pixel.

    References
    ----------
    W. Shi et al., "Real-time single image and video super-resolution using an efficient
    sub-pixel convolutional neural network", CVPR 2016.
    """

    config_class: ClassVar[type[ScaleConfig]] = ScaleConfig

    def __init__(self, config: ScaleConfig) -> None:
        super().__init__(config)
        self.extract = nn.Conv2d(1, 64, HEAD_KERNEL_PX, padding=HEAD_KERNEL_PX // 2)
        self.map = nn.Conv2d(64, 32, 3, padding=1)
        self.reconstruct = nn.Conv2d(32, config.scale**2, 3, padding=1)

    @property
    def reach_px(self) -> int:
        """Of the three convolutions."""
        return sum(part.kernel_size[0] // 2 for part in (self.extract, self.map, self.reconstruct))

    def forward(self, lr: Tensor) -> Tensor:
        """(n, 1, h, w) -> (n, 1, scale * h, scale * w)."""
        phases = self.reconstruct(torch.tanh(self.map(torch.tanh(self.extract(lr)))))
        return F.pixel_shuffle(phases, self.config.scale)


@dataclass(frozen=True)
class ResidualConfig(ScaleConfig):
    """Dimensions of a `Residual`; the defaults are ours.

    Parameters
    ----------
    scale : int
    channels : int
    blocks : int
        Residual blocks.
    residual_share : float
        What a block finds is multiplied by it before it is added; above 0, up to 1.

    Raises
    ------
    ValueError
        A number is out of range.
    """

    channels: int = 32
    blocks: int = 16
    residual_share: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        self.need_at_least_one("channels", "blocks")
        if not 0.0 < self.residual_share <= 1.0:
            raise ValueError(f"residual_share is {self.residual_share}; above 0, up to 1 is allowed")


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, added to what came in."""

    def __init__(self, channels: int, share: float) -> None:
        super().__init__()
        self.share = share
        self.first = nn.Conv2d(channels, channels, 3, padding=1)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, features: Tensor) -> Tensor:
        """(n, channels, h, w) -> the same shape."""
        found: Tensor = self.second(F.relu(self.first(features)))
        return features + (found if self.share == 1.0 else self.share * found)


class Residual(Baseline):
    """Residual blocks without normalisation at low resolution, a long skip, sub-pixel upsampling.

    References
    ----------
    B. Lim, S. Son, H. Kim, S. Nah, K. M. Lee, "Enhanced deep residual networks for single
    image super-resolution" (EDSR), CVPR workshops 2017.
    """

    config_class: ClassVar[type[ScaleConfig]] = ResidualConfig
    config: ResidualConfig

    def __init__(self, config: ResidualConfig) -> None:
        super().__init__(config)
        width = config.channels
        self.head = nn.Conv2d(1, width, 3, padding=1)
        self.blocks = nn.Sequential(*(ResidualBlock(width, config.residual_share) for _ in range(config.blocks)))
        self.join = nn.Conv2d(width, width, 3, padding=1)
        self.upsampling = nn.Sequential()
        for factor in stages(config.scale):
            self.upsampling.append(nn.Conv2d(width, width * factor**2, 3, padding=1))
            self.upsampling.append(nn.PixelShuffle(factor))
        self.tail = nn.Conv2d(width, 1, 3, padding=1)

    @property
    def reach_px(self) -> int:
        """One pixel for each convolution, on its own grid."""
        reach = 1
        for factor in reversed(stages(self.config.scale)):
            reach = coarser(reach, factor) + 1
        return reach + 1 + 2 * self.config.blocks + 1

    def forward(self, lr: Tensor) -> Tensor:
        """(n, 1, h, w) -> (n, 1, scale * h, scale * w)."""
        shallow = self.head(lr)
        deep = shallow + self.join(self.blocks(shallow))
        sr: Tensor = self.tail(self.upsampling(deep))
        return sr


@dataclass(frozen=True)
class SRDenseConfig(ScaleConfig):
    """Dimensions of an `SRDense`; all but the growth are ours (published: 8 blocks of 8 layers, bottleneck 256).

    Parameters
    ----------
    scale : int
    growth : int
        Channels that each layer adds; a block adds ``growth * layers``.
    layers : int
        Layers in a block.
    blocks : int
        Dense blocks.
    bottleneck : int
        Channels of the upsampling.
    """

    growth: int = 16
    layers: int = 4
    blocks: int = 4
    bottleneck: int = 64

    def __post_init__(self) -> None:
        super().__post_init__()
        self.need_at_least_one("growth", "layers", "blocks", "bottleneck")


class PublishedDenseBlock(nn.Module):
    """Layers of which the first reads what comes in, and the others what the block has found so far."""

    def __init__(self, inputs: int, growth: int, layers: int) -> None:
        super().__init__()
        widths = [inputs, *(growth * count for count in range(1, layers))]
        self.layers = nn.ModuleList(nn.Conv2d(width, growth, 3, padding=1) for width in widths)

    def forward(self, features: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, growth * layers, h, w)."""
        first, *others = self.layers
        found = F.relu(first(features))
        for layer in others:
            found = torch.cat((found, F.relu(layer(found))), dim=1)
        return found


class SRDense(Baseline):
    """Dense blocks that each read the outputs of all before, a bottleneck, deconvolutions.

    References
    ----------
    T. Tong, G. Li, X. Liu, Q. Gao, "Image super-resolution using dense skip connections"
    (SRDenseNet), ICCV 2017.
    """

    config_class: ClassVar[type[ScaleConfig]] = SRDenseConfig
    config: SRDenseConfig

    def __init__(self, config: SRDenseConfig) -> None:
        super().__init__(config)
        width = config.growth * config.layers
        self.head = nn.Conv2d(1, width, 3, padding=1)
        self.blocks = nn.ModuleList(
            PublishedDenseBlock(width * count, config.growth, config.layers) for count in range(1, config.blocks + 1)
        )
        self.bottleneck = nn.Conv2d(width * (config.blocks + 1), config.bottleneck, 1)
        # Twice the stride less one: 3 for a stride of 2, as published, and as much overlap for 3.
        self.deconvolutions = nn.ModuleList(
            deconvolution(config.bottleneck, config.bottleneck, 2 * factor - 1, factor)
            for factor in stages(config.scale)
        )
        self.tail = nn.Conv2d(config.bottleneck, 1, 3, padding=1)

    @property
    def reach_px(self) -> int:
        """Of every convolution and deconvolution, on its own grid."""
        reach = 1
        for part in reversed(self.deconvolutions):
            assert isinstance(part, nn.ConvTranspose2d)
            reach = coarser(reach, part.stride[0]) + deconvolution_reach(part)
        return reach + self.config.blocks * self.config.layers + 1

    def forward(self, lr: Tensor) -> Tensor:
        """(n, 1, h, w) -> (n, 1, scale * h, scale * w)."""
        features = F.relu(self.head(lr))
        for block in self.blocks:
            features = torch.cat((features, block(features)), dim=1)
        features = F.relu(self.bottleneck(features))
        for part in self.deconvolutions:
            features = F.relu(part(features))
        sr: Tensor = self.tail(features)
        return sr
