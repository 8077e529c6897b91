"""The networks that can be trained, by name."""

from dataclasses import asdict
from typing import Any

from torch import nn

from lightsr_train.baselines import ESPCN, FSRCNN, SRCNN, Residual, SRDense
from lightsr_train.contract import Network
from lightsr_train.dense import LightDense

NETWORKS: dict[str, type[Network]] = {
    "light-dense": LightDense,
    "srcnn": SRCNN,
    "fsrcnn": FSRCNN,
    "espcn": ESPCN,
    "residual": Residual,
    "srdense": SRDense,
}
"""Network families by the name that a checkpoint stores."""

ONE_SHOT: dict[str, Any] = {"wiring": "one-shot", "expansion": 0, "unshuffle": 1, "stage_channels": 16}
"""What both sizes of the light dense network have in common."""

PRESETS: dict[str, tuple[str, dict[str, Any]]] = {
    "tiny": ("light-dense", {**ONE_SHOT, "channels": 16, "growth": 16, "layers": 4, "blocks": 1}),
    "base": ("light-dense", {**ONE_SHOT, "channels": 32, "growth": 32, "layers": 3, "blocks": 2}),
    "srcnn": ("srcnn", {}),
    "fsrcnn": ("fsrcnn", {"features": 56, "shrunk": 12, "mappings": 4}),
    "espcn": ("espcn", {}),
    "residual": ("residual", {"channels": 32, "blocks": 16}),
    "srdense": ("srdense", {"growth": 16, "layers": 4, "blocks": 4, "bottleneck": 64}),
}
"""Named networks: family and dimensions, without the scale; `lightsr-train --network` takes the names."""


USUAL: dict[str, dict[str, Any]] = {"light-dense": PRESETS["base"][1]}
"""Dimensions that a run file of a family leaves out, where they are not the defaults of its `config_class`.

Those are what checkpoints had before a dimension was known, and stay what they are.
"""


LEARNING_RATES: dict[str, float] = {
    "light-dense": 2e-3,
    "srcnn": 2e-3,
    "fsrcnn": 4e-3,
    "espcn": 2e-3,
    "residual": 1e-3,
    "srdense": 2e-3,
}
"""Peak learning rate of each family where nothing else is said; of baselines, the best at x2 (docs/experiments.md)."""


def build(name: str, dimensions: dict[str, Any]) -> Network:
    """Network of family `name` with `dimensions` (fields of its `config_class`; those left out have their default).

    Raises
    ------
    ValueError
        No such family, or a dimension is out of range.
    """
    if name not in NETWORKS:
        raise ValueError(f"network '{name}'; {', '.join(NETWORKS)} are allowed")
    family = NETWORKS[name]
    return family(family.config_class(**dimensions))


def dimensions(network: Network) -> dict[str, Any]:
    """Fields of the network's configuration, as a checkpoint stores them."""
    return asdict(network.config)


def parameter_count(network: nn.Module) -> int:
    """Learned numbers in `network`."""
    return sum(p.numel() for p in network.parameters())
