"""The light dense network.

Read from the abstract of Wang et al. (2022): dense blocks, skip layers inside a
block and from input to output, a wide activation, deconvolution at the end. The
widths, depths and constants are our own; docs/method.md explains them.

Every network here is intensity-equivariant: SR(a*x + b) = a*SR(x) + b for a > 0.
No convolution has a bias, the only activation is ReLU, the first convolution has
weights that sum to zero, and every phase of the skip has weights that sum to one.

References
----------
M. Wang, J. Zhao, P. Qin, L. Hu, Y. Zong, "Super-resolution reconstruction
algorithm of medical image based on lightweight dense neural network", Journal of
Computer Applications 42(8), 2022, DOI 10.11772/j.issn.1001-9081.2021061093.
J. Yu et al., "Wide activation for efficient and accurate image
super-resolution", arXiv:1808.08718 (the wide activation).
"""

from dataclasses import dataclass
from typing import ClassVar

import torch
import torch.nn.functional as F
from lightsr.card import Intensity
from lightsr.resample import downsampling_start, downsampling_taps, interpolation_phases
from torch import Tensor, nn

from lightsr_train.branches import BranchedConvolution
from lightsr_train.contract import Network, ScaleConfig

SKIP_KERNEL_PX = 5
"""Side of the learned polyphase skip, low-resolution pixels; `interpolation_phases` fills it."""

STEM_KERNEL_PX = 3
"""Side of the stem and of every spatial convolution, in pixels of the trunk's grid."""


@dataclass(frozen=True)
class NetworkConfig(ScaleConfig):
    """Dimensions of a light dense network.

    Parameters
    ----------
    scale : int
        Enlargement, 2, 3, 4 or 8.
    channels : int
        Width of the trunk, a multiple of 16 (onnxruntime's blocked layouts).
    growth : int
        Channels that each dense layer adds, a multiple of 16.
    expansion : int
        Wide activation: a dense layer activates ``expansion * growth`` channels.
    layers : int
        Dense layers in a block.
    blocks : int
        Dense blocks.
    unshuffle : int
        Low-resolution pixels, along one axis, that a trunk pixel covers: with 2 the
        trunk runs at half resolution.
    consistency : float
        Share lambda of the measured residual that is given back,
        ``sr + lambda * up(lr - down(sr))``; 0 leaves the step out, 1 is the full step.
    branches : bool
        Whether the 3x3 convolutions of the dense layers are trained as parallel branches.
        What they compute, and the exported network, stay of the same form.
    """

    channels: int = 32
    growth: int = 16
    expansion: int = 2
    layers: int = 3
    blocks: int = 2
    unshuffle: int = 2
    consistency: float = 1.0
    branches: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.unshuffle not in (1, 2):
            raise ValueError(f"unshuffle is {self.unshuffle}; 1 and 2 are allowed")
        if not 0.0 <= self.consistency <= 1.0:
            raise ValueError(f"consistency is {self.consistency}; 0 to 1 is allowed")
        for name in ("channels", "growth"):
            value = getattr(self, name)
            if value < 16 or value % 16:
                raise ValueError(f"{name} is {value}; multiples of 16 are allowed")
        self.need_at_least_one("expansion", "layers", "blocks")

    @property
    def reach_px(self) -> int:
        """Low-resolution pixels on each side that one output pixel depends on.

        A bound: a trunk pixel is `unshuffle` pixels wide and sees one neighbour more
        with every spatial convolution; the consistency step adds two pixels down
        and two up.
        """
        convolutions = 1 + self.layers * self.blocks + 1  # stem, dense layers, deconvolution
        trunk = self.unshuffle * convolutions + self.unshuffle - 1
        reach = max(trunk, SKIP_KERNEL_PX // 2)
        return reach + (4 if self.consistency else 0)

    @property
    def halo_px(self) -> int:
        """`reach_px` rounded up to whole trunk pixels: what a tile needs around it."""
        return -(-self.reach_px // self.unshuffle) * self.unshuffle


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


class PolyphaseSkip(nn.Module):
    """Input-to-output skip: a learned 5x5 upsampler that starts as bicubic interpolation.

    Each of the scale * scale phase filters sums to one, so intensities pass unchanged.
    """

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.raw = nn.Parameter(bicubic_phase_filters(scale))

    @property
    def weight(self) -> Tensor:
        """Filters that are used: (scale * scale, 1, 5, 5), each summing to one."""
        total = self.raw.sum(dim=(1, 2, 3), keepdim=True)
        return self.raw + (1.0 - total) / SKIP_KERNEL_PX**2

    def forward(self, lr: Tensor) -> Tensor:
        """(n, 1, h, w) -> (n, 1, scale * h, scale * w)."""
        padded = F.pad(lr, (SKIP_KERNEL_PX // 2,) * 4, mode="replicate")
        return F.pixel_shuffle(F.conv2d(padded, self.weight), self.scale)


class DenseLayer(nn.Module):
    """One dense layer: 1x1 to ``expansion * growth`` channels, ReLU, 3x3 to ``growth``."""

    def __init__(self, inputs: int, growth: int, expansion: int, *, branches: bool = False) -> None:
        super().__init__()
        wide = expansion * growth
        self.widen = nn.Conv2d(inputs, wide, 1, bias=False)
        self.shrink: nn.Conv2d | BranchedConvolution
        if branches:
            self.shrink = BranchedConvolution(wide, growth)
        else:
            self.shrink = nn.Conv2d(wide, growth, 3, padding=1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, growth, h, w)."""
        added: Tensor = self.shrink(F.relu(self.widen(features)))
        return added


class DenseBlock(nn.Module):
    """Dense layers that each read all earlier outputs, a 1x1 fusion, a local residual."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        width = config.channels
        self.layers = nn.ModuleList()
        for _ in range(config.layers):
            self.layers.append(DenseLayer(width, config.growth, config.expansion, branches=config.branches))
            width += config.growth
        self.fuse = nn.Conv2d(width, config.channels, 1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """(n, channels, h, w) -> the same shape."""
        dense = features
        for layer in self.layers:
            dense = torch.cat((dense, layer(dense)), dim=1)
        fused: Tensor = self.fuse(dense)
        return features + fused


class LightDense(Network):
    """The light dense network: stem, dense blocks, global fusion, deconvolution, skip, consistency."""

    config_class: ClassVar[type[ScaleConfig]] = NetworkConfig
    intensity: ClassVar[Intensity] = "any"
    config: NetworkConfig

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        stride = config.scale * config.unshuffle
        self.stem = ZeroSumStem(config.channels, config.unshuffle)
        self.blocks = nn.ModuleList(DenseBlock(config) for _ in range(config.blocks))
        self.fuse = nn.Conv2d(config.blocks * config.channels, config.channels, 1, bias=False)
        # The kernel is a multiple of the stride, so that every phase sees as many pixels.
        self.deconvolution = nn.ConvTranspose2d(
            config.channels, 1, 3 * stride, stride=stride, padding=stride, bias=False
        )
        self.skip = PolyphaseSkip(config.scale)
        self.consistency_step = ConsistencyStep(config.scale, config.consistency)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, DenseLayer):
                nn.init.kaiming_normal_(module.widen.weight, nonlinearity="relu")
                if isinstance(module.shrink, nn.Conv2d):  # branches have a start of their own
                    nn.init.kaiming_normal_(module.shrink.weight, nonlinearity="linear")
            elif isinstance(module, DenseBlock):
                nn.init.kaiming_normal_(module.fuse.weight, nonlinearity="linear")
                module.fuse.weight.data.mul_(0.5)
        nn.init.kaiming_normal_(self.fuse.weight, nonlinearity="linear")
        # The network starts as bicubic interpolation and learns what that misses.
        nn.init.normal_(self.deconvolution.weight, std=1e-3)

    @property
    def reach_px(self) -> int:
        """As the dimensions say."""
        return self.config.reach_px

    @property
    def alignment_px(self) -> int:
        """Low-resolution pixels that a trunk pixel covers."""
        return self.config.unshuffle

    @property
    def consistency(self) -> float:
        """Lambda of the consistency step."""
        return self.config.consistency

    def forward(self, lr: Tensor) -> Tensor:
        """Enlarge pictures.

        Parameters
        ----------
        lr : Tensor, shape (n, 1, h, w), float32
            Any unit and range.

        Returns
        -------
        Tensor, shape (n, 1, scale * h, scale * w), float32
            In the same unit.
        """
        rows, columns = lr.shape[-2:]
        unshuffle = self.config.unshuffle
        lr = F.pad(lr, (0, -columns % unshuffle, 0, -rows % unshuffle), mode="replicate")
        sr: Tensor = self.enlarge(lr)
        return sr[..., : self.config.scale * rows, : self.config.scale * columns]

    def enlarge(self, lr: Tensor) -> Tensor:
        """`forward` for pictures of whole trunk pixels."""
        features = self.stem(lr)
        outputs = []
        for block in self.blocks:
            features = block(features)
            outputs.append(features)
        detail = self.deconvolution(F.relu(self.fuse(torch.cat(outputs, dim=1))))
        if not self.config.consistency:
            plain: Tensor = self.skip(lr) + detail
            return plain
        # Beyond its border the picture goes on by its edge, and the network adds nothing there.
        beyond = self.consistency_step.margin_px
        upsampled = self.skip(F.pad(lr, (beyond,) * 4, mode="replicate"))
        upsampled = upsampled + F.pad(detail, (beyond * self.config.scale,) * 4)
        sr: Tensor = self.consistency_step(upsampled, lr)
        return sr


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
        rows = F.conv2d(inner, self.taps.view(1, 1, -1, 1), stride=(self.scale, 1))
        return F.conv2d(rows, self.taps.view(1, 1, 1, -1), stride=(1, self.scale))

    def forward(self, sr: Tensor, lr: Tensor) -> Tensor:
        """(n, 1, scale * (h + 2 m), scale * (w + 2 m)) and (n, 1, h, w) -> (n, 1, scale * h, scale * w)."""
        given_back = F.conv2d(lr - self.down(sr), self.weight * self.phases, padding=self.margin_px)
        beyond = self.margin_px * self.scale
        return sr[..., beyond:-beyond, beyond:-beyond] + F.pixel_shuffle(given_back, self.scale)


def bicubic_phase_filters(scale: int) -> Tensor:
    """Bicubic interpolation as phase filters: (scale * scale, 1, 5, 5) float32, row-major phases."""
    phases = torch.from_numpy(interpolation_phases(scale))
    filters = torch.einsum("ak,bl->abkl", phases, phases)
    return filters.reshape(scale**2, 1, SKIP_KERNEL_PX, SKIP_KERNEL_PX).float()
