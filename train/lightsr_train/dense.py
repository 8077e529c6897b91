"""The light dense network.

Read from the abstract of Wang et al. (2022): dense blocks, skip layers inside a
block and from input to output, a wide activation, deconvolution at the end. The
widths, depths and constants are our own; docs/method.md explains them.

Unless an experiment takes it away, it is intensity-equivariant: SR(a*x + b) = a*SR(x) + b for a > 0.
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

from typing import ClassVar

import torch
import torch.nn.functional as F
from lightsr.card import Intensity
from torch import Tensor, nn

from lightsr_train.blocks import DenseBlock, DenseLayer
from lightsr_train.contract import Network, ScaleConfig
from lightsr_train.dimensions import NetworkConfig
from lightsr_train.picture import ConsistencyStep, FreeStem, PolyphaseSkip, ZeroSumStem, in_whole_blocks, with_skip
from lightsr_train.upsampling import StagedDeconvolution, Subpixel, deconvolution


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
        """Low-resolution pixels that a block covers."""
        return self.config.block_px

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
        lr = in_whole_blocks(lr, self.config.block_px)
        sr = self.enlarge(lr)[0]
        return sr[..., : self.config.scale * rows, : self.config.scale * columns]

    def enlarge(self, lr: Tensor) -> tuple[Tensor, Tensor]:
        """`forward` for pictures of whole blocks, and what the deconvolution before the last one gives.

        Parameters
        ----------
        lr : Tensor, shape (n, 1, h, w), float32
            Sides that are multiples of the dimensions' `block_px`.

        Returns
        -------
        sr : Tensor, shape (n, 1, scale * h, scale * w), float32
        before : Tensor, shape (n, c, scale * h / s, scale * w / s), float32
            With s the last stride, and c the channels of a stage, of the trunk where there is one stage only.
        """
        stem = self.stem(lr)
        if self.precision is torch.float32:
            detail, before = self.detail(stem)
        else:
            with torch.autocast(lr.device.type, self.precision):
                detail, before = self.detail(stem)
            detail, before = detail.float(), before.float()
        return with_skip(detail, lr, self.skip, self.consistency_step), before

    def detail(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """What is added to the skip, from the stem's output; and what the deconvolution before the last gives.

        Shapes: (n, channels, h / unshuffle, w / unshuffle) to (n, 1, scale * h, scale * w) and that of `enlarge`.
        """
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
