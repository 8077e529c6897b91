"""Parallel linear branches that training has and the device does not.

A sum of linear maps is one linear map, yet it learns differently: every branch has its
own gradient and its own step. After training the branches are multiplied out.

References
----------
X. Ding et al., "RepVGG: making VGG-style ConvNets great again", CVPR 2021; X. Zhang,
H. Zeng, L. Zhang, "Edge-oriented convolution block for real-time super resolution on
mobile devices", ACM Multimedia 2021 (a 1x1 expansion before the 3x3).
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

EXPANSION = 2
"""Channels between the two convolutions of the expanding branch, per channel that goes in."""


class BranchedConvolution(nn.Module):
    """A convolution as the sum of three: k x k; 1x1 that widens, then k x k; 1x1.

    No branch has a bias and all are padded by zeros, on which a 1x1 convolution gives
    zeros again, so the sum is exactly one k x k convolution, borders included. That one
    is also what `forward` runs: adding up the kernels costs less than adding up pictures,
    and the branches get the same gradients.

    Parameters
    ----------
    inputs, outputs : int
        Channels.
    kernel : int
        Side k, odd.

    Raises
    ------
    ValueError
        `kernel` is even, or below 1.
    """

    def __init__(self, inputs: int, outputs: int, kernel: int = 3) -> None:
        super().__init__()
        if kernel < 1 or kernel % 2 == 0:
            raise ValueError(f"kernel is {kernel}; odd numbers are allowed")
        wide = EXPANSION * inputs
        self.margin_px = kernel // 2
        self.plain = nn.Conv2d(inputs, outputs, kernel, padding=self.margin_px, bias=False)
        self.expand = nn.Conv2d(inputs, wide, 1, bias=False)
        self.project = nn.Conv2d(wide, outputs, kernel, padding=self.margin_px, bias=False)
        self.point = nn.Conv2d(inputs, outputs, 1, bias=False)
        self._initialise()

    def _initialise(self) -> None:
        """Give the sum the variance 1 / (inputs * k * k) at every tap, as one convolution would have."""
        for part in (self.plain, self.expand, self.project):
            nn.init.kaiming_normal_(part.weight, nonlinearity="linear")
        with torch.no_grad():
            self.plain.weight.mul_(0.5**0.5)
            self.project.weight.mul_(0.5**0.5)
        # From zero: otherwise the middle tap would be larger than its neighbours.
        nn.init.zeros_(self.point.weight)

    @property
    def weight(self) -> Tensor:
        """The one kernel: (outputs, inputs, k, k)."""
        expanded = torch.einsum("owij,wc->ocij", self.project.weight, self.expand.weight[:, :, 0, 0])
        return self.plain.weight + expanded + F.pad(self.point.weight, (self.margin_px,) * 4)

    def forward(self, features: Tensor) -> Tensor:
        """(n, inputs, h, w) -> (n, outputs, h, w)."""
        return F.conv2d(features, self.weight, padding=self.margin_px)

    def folded(self) -> nn.Conv2d:
        """A plain convolution that computes the same."""
        weight = self.weight.detach()
        outputs, inputs, side, _ = weight.shape
        convolution = nn.Conv2d(
            inputs, outputs, side, padding=self.margin_px, bias=False, device=weight.device, dtype=weight.dtype
        )
        convolution.weight.data.copy_(weight)
        return convolution
