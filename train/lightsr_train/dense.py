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
from typing import ClassVar, Literal, get_args

import torch
import torch.nn.functional as F
from lightsr.card import Intensity
from lightsr.resample import downsampling_start, downsampling_taps, interpolation_phases
from torch import Tensor, nn

from lightsr_train.branches import BranchedConvolution
from lightsr_train.contract import Network, ScaleConfig, stages

SKIP_KERNEL_PX = 5
"""Side of the learned polyphase skip, low-resolution pixels; `interpolation_phases` fills it."""

STEM_KERNEL_PX = 3
"""Side of the stem and of every spatial convolution, in pixels of the trunk's grid."""


Wiring = Literal["dense", "one-shot", "plain"]
"""What a layer of a block reads, and what the block gathers; see `NetworkConfig`."""

Skip = Literal["learned", "bicubic", "none"]
"""Skip from input to output."""


@dataclass(frozen=True)
class NetworkConfig(ScaleConfig):
    """Dimensions of a light dense network.

    Those from `local_skip` on are there to be taken away in experiments.

    Parameters
    ----------
    scale : int
        Enlargement, 2, 3, 4 or 8.
    channels : int
        Width of the trunk, a multiple of 16 (onnxruntime's blocked layouts).
    growth : int
        Channels that each layer of a block adds, a multiple of 16.
    expansion : int
        Wide activation: a layer activates ``expansion * growth`` channels of a 1x1
        convolution. With 0 it has none, and activates what its 3x3 convolution gives.
    layers : int
        Layers in a block.
    blocks : int
        Blocks.
    unshuffle : int
        Low-resolution pixels, along one axis, that a trunk pixel covers: with 2 the
        trunk runs at half resolution.
    consistency : float
        Share lambda of the measured residual that is given back,
        ``sr + lambda * up(lr - down(sr))``; 0 leaves the step out, 1 is the full step.
    branches : bool
        Whether the 3x3 convolutions of the layers are trained as parallel branches.
        What they compute, and the exported network, stay of the same form.
    wiring : {"dense", "one-shot", "plain"}
        In a dense block a layer reads all that was before it. In a one-shot block a
        layer reads the layer before it, and the block's fusion reads all; whatever is
        gathered has been activated, so that it never is negative and int8 has one zero
        for all. In a plain block nothing is gathered: the last layer's output is the block's.
    stage_channels : int
        Channels of a deconvolution stage. Every stage enlarges by 2 (the only one of x3
        by 3); a 1x1 convolution makes a picture of the last one's channels. 0: one
        deconvolution of the whole scale straight to the picture.
    taps : int
        Side of a deconvolution's kernel, as a multiple of its stride.
    local_skip : bool
        Whether a block is added to what it reads.
    global_fusion : bool
        Whether the outputs of all blocks are fused; else the last one's is used alone.
    skip : {"learned", "bicubic", "none"}
        Skip from input to output.
    equivariant : bool
        Without it convolutions have biases, the stem is free, and pictures are mapped to [0, 1].
    subpixel : bool
        A 3x3 convolution and DepthToSpace in place of deconvolution.

    References
    ----------
    Y. Lee et al., "An energy and GPU-computation efficient backbone network for real-time
    object detection" (VoVNet), CVPR workshops 2019 (one-shot aggregation).
    """

    channels: int = 32
    growth: int = 16
    expansion: int = 2
    layers: int = 3
    blocks: int = 2
    unshuffle: int = 2
    consistency: float = 1.0
    branches: bool = False
    wiring: Wiring = "dense"
    stage_channels: int = 0
    taps: int = 3
    local_skip: bool = True
    global_fusion: bool = True
    skip: Skip = "learned"
    equivariant: bool = True
    subpixel: bool = False

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
        for name in ("expansion", "stage_channels"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; at least 0 is needed")
        if self.taps not in (2, 3) or (self.taps == 2 and any(stride % 2 for stride in self.strides)):
            raise ValueError(f"taps is {self.taps}; 3, and where every stride is even 2, are allowed")
        for name, kind in (("wiring", Wiring), ("skip", Skip)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name} is '{getattr(self, name)}'; {', '.join(get_args(kind))} are allowed")
        if self.subpixel and self.stage_channels:
            raise ValueError("subpixel is true; stage_channels must be 0 then")
        self.need_at_least_one("layers", "blocks")
        if self.wiring == "plain" and self.local_skip and self.growth != self.channels:
            raise ValueError(
                f"growth is {self.growth}; a plain block with a skip needs that of channels, {self.channels}"
            )

    @property
    def strides(self) -> tuple[int, ...]:
        """Strides of the deconvolutions, the first also from the trunk's grid to the input's.

        >>> NetworkConfig(8, stage_channels=16, unshuffle=2).strides
        (4, 2, 2)
        """
        if not self.stage_channels:
            return (self.scale * self.unshuffle,)
        first, *others = stages(self.scale)
        return (first * self.unshuffle, *others)

    @property
    def reach_px(self) -> int:
        """Low-resolution pixels on each side that one output pixel depends on.

        A bound: a trunk pixel is `unshuffle` pixels wide and sees one neighbour more
        with every spatial convolution, and so does a pixel of every deconvolution's
        grid; the consistency step adds two pixels down and two up.
        """
        beyond = 0
        for stride in reversed(self.strides):  # in pixels of the grid that the stage reads
            beyond = -(-beyond // stride) + 1
        convolutions = 1 + self.layers * self.blocks + beyond  # stem, layers
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


class DenseLayer(nn.Module):
    """One layer of a block, with a wide activation or without.

    Wide: 1x1 to ``expansion * growth`` channels, ReLU, 3x3 to ``growth``. Else 3x3 to ``growth``, ReLU.
    """

    def __init__(self, inputs: int, growth: int, expansion: int, *, branches: bool = False, bias: bool = False) -> None:
        super().__init__()
        wide = expansion * growth
        self.widen = nn.Conv2d(inputs, wide, 1, bias=bias) if wide else None
        self.shrink: nn.Conv2d | BranchedConvolution
        if branches:
            self.shrink = BranchedConvolution(wide or inputs, growth)
        else:
            self.shrink = nn.Conv2d(wide or inputs, growth, 3, padding=1, bias=bias)

    def forward(self, features: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, growth, h, w)."""
        added: Tensor
        if self.widen is None:
            added = F.relu(self.shrink(features))
        else:
            added = self.shrink(F.relu(self.widen(features)))
        return added


class DenseBlock(nn.Module):
    """Layers wired as the configuration says, a 1x1 fusion of what they gather, a local residual."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__()
        self.wiring = config.wiring
        self.local_skip = config.local_skip
        bias = not config.equivariant
        self.layers = nn.ModuleList()
        gathered = reads = config.channels
        for _ in range(config.layers):
            self.layers.append(DenseLayer(reads, config.growth, config.expansion, branches=config.branches, bias=bias))
            gathered += config.growth
            reads = gathered if config.wiring == "dense" else config.growth
        self.fuse = None if config.wiring == "plain" else nn.Conv2d(gathered, config.channels, 1, bias=bias)
        self.width = config.growth if self.fuse is None else config.channels

    def forward(self, features: Tensor) -> Tensor:
        """(n, channels, h, w) -> the same shape; a plain block without skip gives `growth` channels."""
        found = self._plain(features) if self.fuse is None else self.fuse(self._gathered(features))
        found = features + found if self.local_skip else found
        return F.relu(found) if self.wiring == "one-shot" else found

    def _plain(self, features: Tensor) -> Tensor:
        for layer in self.layers:
            features = layer(features)
        return features

    def _gathered(self, features: Tensor) -> Tensor:
        if self.wiring == "dense":
            for layer in self.layers:
                features = torch.cat((features, layer(features)), dim=1)
            return features
        outputs = [features]
        for layer in self.layers:
            outputs.append(layer(outputs[-1]))
        return torch.cat(outputs, dim=1)


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
        """(n, inputs, h, w) -> (n, 1, H, W)."""
        return self.both(features)[0]

    def both(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """The picture, and what the stage before the last gives (before its ReLU)."""
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


class LightDense(Network):
    """The light dense network: stem, dense blocks, global fusion, deconvolution, skip, consistency."""

    config_class: ClassVar[type[ScaleConfig]] = NetworkConfig
    config: NetworkConfig

    precision: torch.dtype = torch.float32
    """Of the convolutions between stem and picture while it trains; the picture's own path is always float32."""

    def __init__(self, config: NetworkConfig) -> None:
        super().__init__(config)
        bias = not config.equivariant
        self.stem: nn.Module
        if config.equivariant:
            self.stem = ZeroSumStem(config.channels, config.unshuffle)
        else:
            self.stem = FreeStem(config.channels, config.unshuffle)
        self.blocks = nn.ModuleList(DenseBlock(config) for _ in range(config.blocks))
        widths = [block.width for block in self.blocks if isinstance(block, DenseBlock)]
        fused = sum(widths) if config.global_fusion else widths[-1]
        self.fuse = nn.Conv2d(fused, config.channels, 1, bias=bias)
        self.deconvolution: nn.Module
        if config.subpixel:
            self.deconvolution = Subpixel(config.channels, config.strides[0], bias=bias)
        elif config.stage_channels:
            self.deconvolution = StagedDeconvolution(
                config.channels, config.stage_channels, config.strides, config.taps, bias=bias
            )
        else:
            self.deconvolution = deconvolution(config.channels, 1, config.strides[0], config.taps, bias=bias)
        self.skip = PolyphaseSkip(config.scale, learned=config.skip == "learned") if config.skip != "none" else None
        self.consistency_step = ConsistencyStep(config.scale, config.consistency)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, DenseLayer):
                if module.widen is not None:
                    nn.init.kaiming_normal_(module.widen.weight, nonlinearity="relu")
                if isinstance(module.shrink, nn.Conv2d):  # branches have a start of their own
                    nn.init.kaiming_normal_(
                        module.shrink.weight, nonlinearity="relu" if module.widen is None else "linear"
                    )
            elif isinstance(module, DenseBlock) and module.fuse is not None:
                nn.init.kaiming_normal_(module.fuse.weight, nonlinearity="linear")
                module.fuse.weight.data.mul_(0.5)
            if isinstance(module, nn.Conv2d) and module.bias is not None:
                nn.init.zeros_(module.bias)
        nn.init.kaiming_normal_(self.fuse.weight, nonlinearity="linear")
        self._initialise_deconvolution()

    def _initialise_deconvolution(self) -> None:
        """The network starts as its skip, bicubic interpolation, and learns what that misses."""
        part = self.deconvolution
        if isinstance(part, StagedDeconvolution):
            for stage in part.stages:
                assert isinstance(stage, nn.ConvTranspose2d)
                # As many inputs reach an output as a kernel has taps, squared, of each channel.
                nn.init.normal_(stage.weight, std=(self.config.taps**2 * stage.in_channels) ** -0.5)
            nn.init.normal_(part.picture.weight, std=1e-2)
        else:
            for weight in (p for p in part.parameters() if p.ndim > 1):
                nn.init.normal_(weight, std=1e-3)
        for module in part.modules():
            if getattr(module, "bias", None) is not None:
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]

    @property
    def intensity(self) -> Intensity:  # type: ignore[override]
        """Any unit, unless the network has biases."""
        return "any" if self.config.equivariant else "unit"

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
        sr = self.enlarge(lr)[0]
        return sr[..., : self.config.scale * rows, : self.config.scale * columns]

    def enlarge(self, lr: Tensor) -> tuple[Tensor, Tensor]:
        """`forward` for pictures of whole trunk pixels, and what the deconvolution before the last one gives."""
        stem = self.stem(lr)
        if self.precision is torch.float32:
            detail, before = self.detail(stem)
        else:
            with torch.autocast(lr.device.type, self.precision):
                detail, before = self.detail(stem)
            detail, before = detail.float(), before.float()
        return with_skip(detail, lr, self.skip, self.consistency_step), before

    def detail(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """What is added to the skip, from the stem's output; and what the deconvolution before the last gives."""
        if self.config.wiring == "one-shot":
            features = F.relu(features)
        outputs = []
        for block in self.blocks:
            features = block(features)
            outputs.append(features)
        if self.config.global_fusion and len(outputs) > 1:
            features = torch.cat(outputs, dim=1)
        features = F.relu(self.fuse(features))
        if isinstance(self.deconvolution, StagedDeconvolution):
            return self.deconvolution.both(features)
        return self.deconvolution(features), features


def with_skip(detail: Tensor, lr: Tensor, skip: "PolyphaseSkip | None", step: "ConsistencyStep") -> Tensor:
    """The skip's picture and the detail, after the consistency step.

    Beyond its border the picture goes on by its edge, and the network adds nothing there.
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
