"""Dimensions of the light dense network."""

from dataclasses import dataclass
from typing import Literal, get_args

from lightsr_train.contract import ScaleConfig, stages

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

    Raises
    ------
    ValueError
        A dimension is out of range, or does not go with the others.

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
    def block_px(self) -> int:
        """Low-resolution pixels, along one axis, to whole multiples of which a picture is filled up.

        A block is a trunk pixel. At x2 and x3 it is never less than two pixels: with as few phases as a
        pixel has there, the exported network's last convolutions would mostly compute what is thrown away.
        """
        return 2 if self.scale < 4 else self.unshuffle

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
