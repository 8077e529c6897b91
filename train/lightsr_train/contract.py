"""What the rest of the project needs to know of every network."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar

from lightsr.card import Intensity
from torch import nn

SCALES = (2, 3, 4, 8)
"""Enlargements that a network can have."""


def stages(scale: int) -> tuple[int, ...]:
    """Factors by which deep networks enlarge, one after the other.

    >>> stages(3), stages(8)
    ((3,), (2, 2, 2))
    """
    return (scale,) if scale % 2 else (2,) * (scale.bit_length() - 1)


@dataclass(frozen=True)
class ScaleConfig:
    """Dimensions of a network: at least its enlargement.

    Parameters
    ----------
    scale : int
        Enlargement, 2, 3, 4 or 8.

    Raises
    ------
    ValueError
        Another scale.
    """

    scale: int = 2

    def __post_init__(self) -> None:
        if self.scale not in SCALES:
            raise ValueError(f"scale is {self.scale}; {', '.join(map(str, SCALES[:-1]))} and {SCALES[-1]} are allowed")

    def need_at_least_one(self, *names: str) -> None:
        """Raise ValueError where one of these fields is below 1."""
        for name in names:
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; at least 1 is needed")


class Network(nn.Module, ABC):
    """A network that takes (n, 1, h, w) float32 to (n, 1, scale * h, scale * w) for every h and w.

    Parameters
    ----------
    config : ScaleConfig
        Of the class `config_class`.
    """

    config_class: ClassVar[type[ScaleConfig]]
    """Holds the family's dimensions; a checkpoint stores its fields."""

    intensity: Intensity
    """Values it takes: in "any" unit, or mapped to about [0, 1] first ("unit")."""

    def __init__(self, config: ScaleConfig) -> None:
        super().__init__()
        self.config = config

    @property
    @abstractmethod
    def reach_px(self) -> int:
        """Low-resolution pixels on each side that one output pixel depends on, at most."""

    @property
    def alignment_px(self) -> int:
        """Tiles must begin at multiples of it, low-resolution pixels."""
        return 1

    @property
    def consistency(self) -> float:
        """Share of the measured residual that the last step gives back."""
        return 0.0

    @property
    def halo_px(self) -> int:
        """`reach_px` rounded up to `alignment_px`: what a tile needs around it."""
        return -(-self.reach_px // self.alignment_px) * self.alignment_px
