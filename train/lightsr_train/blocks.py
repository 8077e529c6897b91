"""Blocks of the light dense network's trunk: layers, what they read and what the block gathers."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lightsr_train.branches import BranchedConvolution
from lightsr_train.dimensions import NetworkConfig


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
