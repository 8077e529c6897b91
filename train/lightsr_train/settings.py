"""Settings of a run."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, get_args

from lightsr.errors import LightsrError
from lightsr.suggestion import suggestion

from lightsr_train.contract import ScaleConfig
from lightsr_train.degradation import BICUBIC, parse
from lightsr_train.networks import LEARNING_RATES, NETWORKS, PRESETS


class SettingsError(LightsrError):
    """A setting that is unknown or out of range."""


Precision = Literal["float32", "bfloat16"]

Loss = Literal["absolute", "charbonnier", "squared"]

Dual = Literal["none", "scales", "regression"]
"""Second task beside reconstruction at the final scale."""

DEFAULT_MIX: dict[str, float] = {BICUBIC: 0.84, "area": 0.02, "gaussian": 0.07, "kspace": 0.05, "jpeg": 0.02}
"""Degradations that training draws unless a configuration says otherwise, with their shares: our choice.

Mostly the one that is reported on; with a third of others a network hedges, and loses half a dB on it.
Named networks learn that one alone first: from the first step the mix costs CT twice as much.
"""

FIRST_STEPS, MIX_STEPS = 40_000, 20_000
"""Of the stages of a named network, and of the last one, which has the mix."""


@dataclass(frozen=True)
class TrainingConfig:
    """How a network, or one stage of it, is trained.

    Parameters
    ----------
    steps : int
        Optimiser steps.
    batch : int
        Patches a step.
    patch_px : int
        Side of a low-resolution patch.
    margin_px : int
        Low-resolution pixels at a patch's border that the loss leaves out: there the
        network misses context that it always has on the device.
    edge_share : float
        Share of the patches that lie at an edge of their image, which goes on there by its edge
        values as on the device.
    oversampled_share : float
        Share of the patches that are cut from an image enlarged before, as scan-converted and
        zoomed ones are.
    learning_rate : float
        Peak of the cosine schedule, reached after `warmup` steps.
    warmup : int
        Steps of linear warm-up.
    average : float
        Decay of the exponential moving average of the weights, which is what is kept.
    loss : {"absolute", "charbonnier", "squared"}
    squared_share : float
        Share of the steps, at the end, with the squared error in place of `loss`: the
        measure that is reported is a squared one.
    dual : {"none", "scales", "regression"}
        Second task: the picture at the intermediate scale, or that the result, reduced
        again, gives the input.
    dual_start, dual_end : float
        Weight of the second task, falling in a line from the stage's first step to its last.
    frozen : list of str
        Parts of the network that keep their weights, such as "stem", "blocks" or "skip".
    degradations : table
        Degradations and the share of patches that each makes.
    hard_share : table
        For a modality, share of its patches that are drawn where bicubic interpolation errs
        most. Ultrasound and radiographs have burned-in text and markers, the sharpest edges
        there are, on few pixels.
    modality_weight : table
        For a modality, how often it is drawn beside the others, each of which counts 1.
    precision : {"float32", "bfloat16"}
        Of the convolutions between stem and picture.
    compile : bool
        Whether torch.compile is used.
    clip : float
        Largest norm of the gradient.
    hold_back : float
        Share of the patients held back for validation.
    validate_every : int
        Steps between validations, which also write a checkpoint.
    seed : int

    Raises
    ------
    ValueError
        A setting is out of range.

    References
    ----------
    I. Loshchilov, F. Hutter, "SGDR: stochastic gradient descent with warm restarts", ICLR 2017 (the
    cosine, here without restarts).
    """

    steps: int = 60_000
    batch: int = 8
    patch_px: int = 48
    margin_px: int = 4
    edge_share: float = 0.1
    oversampled_share: float = 0.1
    learning_rate: float = 1e-3
    warmup: int = 500
    average: float = 0.999
    loss: Loss = "absolute"
    squared_share: float = 0.2
    dual: Dual = "none"
    dual_start: float = 0.5
    dual_end: float = 0.1
    frozen: tuple[str, ...] = ()
    degradations: dict[str, float] = field(default_factory=lambda: dict(DEFAULT_MIX))
    hard_share: dict[str, float] = field(default_factory=lambda: {"US": 0.25, "XR": 0.25})
    modality_weight: dict[str, float] = field(default_factory=dict)
    precision: Precision = "float32"
    compile: bool = False
    clip: float = 1.0
    hold_back: float = 0.1
    validate_every: int = 2_000
    seed: int = 1

    def __post_init__(self) -> None:
        for name in ("steps", "batch", "validate_every"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; at least 1 is needed")
        for name in ("margin_px", "warmup", "seed"):
            if getattr(self, name) < 0:
                raise ValueError(f"{name} is {getattr(self, name)}; at least 0 is needed")
        if self.patch_px - 2 * self.margin_px < 8:
            raise ValueError(f"patch_px is {self.patch_px}; at least 8 more than both margins are needed")
        for name, kind in (("precision", Precision), ("loss", Loss), ("dual", Dual)):
            if getattr(self, name) not in get_args(kind):
                raise ValueError(f"{name} is '{getattr(self, name)}'; {', '.join(get_args(kind))} are allowed")
        for name in (
            "average",
            "squared_share",
            "edge_share",
            "oversampled_share",
            "hold_back",
            "dual_start",
            "dual_end",
        ):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; 0 up to, not including, 1 is allowed")
        for name in ("learning_rate", "clip"):
            if not 0.0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} is {getattr(self, name)}; a number above 0 is needed")
        if self.seed >= 2**63:
            raise ValueError(f"seed is {self.seed}; less than 2**63 is allowed")
        for modality, share in self.hard_share.items():
            if not 0.0 <= share <= 1.0:
                raise ValueError(f"hard_share: that of {modality} is {share}; 0 to 1 is allowed")
        for modality, weight in self.modality_weight.items():
            if not 0.0 < weight < math.inf:
                raise ValueError(f"modality_weight: that of {modality} is {weight}; a number above 0 is needed")
        if not self.degradations:
            raise ValueError("degradations names none; at least one is needed")
        for text, share in self.degradations.items():
            parse(text)
            if not share > 0:
                raise ValueError(f"degradations: the share of '{text}' is {share}; above 0 is needed")

    def learning_rate_at(self, step: int) -> float:
        """Learning rate of a step: linear warm-up, then a cosine that ends near zero."""
        if step < self.warmup:
            return self.learning_rate * (step + 1) / self.warmup
        done = (step - self.warmup) / max(1, self.steps - self.warmup)
        return self.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))

    def dual_weight_at(self, step: int) -> float:
        """Weight of the second task at a step: a line from `dual_start` to `dual_end`.

        >>> TrainingConfig(steps=101, dual="scales").dual_weight_at(50)
        0.3
        """
        if self.dual == "none":
            return 0.0
        done = step / max(1, self.steps - 1)
        return self.dual_start + (self.dual_end - self.dual_start) * min(1.0, done)


@dataclass(frozen=True)
class Stage:
    """One stage of a run; it starts from what the stage before it has learned.

    Parameters
    ----------
    name : str
    network : ScaleConfig
        Dimensions, those of the run at this stage's scale.
    training : TrainingConfig
    """

    name: str
    network: ScaleConfig
    training: TrainingConfig


@dataclass(frozen=True)
class RunConfig:
    """A whole run.

    Parameters
    ----------
    name : str
        Name of the model.
    family : str
        Key of `NETWORKS`.
    stages : tuple of Stage
    data : tuple of Path
        Training folders.
    init : str
        Model that the first stage starts from: the name of a released one, or a file; "" for none.
    """

    name: str
    family: str
    stages: tuple[Stage, ...]
    data: tuple[Path, ...] = field(default=())
    init: str = ""

    @property
    def last(self) -> Stage:
        """The stage that ends with the model."""
        return self.stages[-1]

    def with_training(self, **changes: Any) -> "RunConfig":
        """With these settings in every stage.

        Raises
        ------
        ValueError
            One is out of range.
        """
        stages = tuple(replace(stage, training=replace(stage.training, **changes)) for stage in self.stages)
        return replace(self, stages=stages)


def scales_before(scale: int) -> tuple[int, ...]:
    """Scales that a network of `scale` goes through: those that its trunk, and its stages, come from.

    >>> scales_before(8), scales_before(3), scales_before(2)
    ((2, 4), (2,), ())
    """
    return {3: (2,), 4: (2,), 8: (2, 4)}.get(scale, ())


def from_preset(name: str, scale: int) -> RunConfig:
    """Run of a named network at a scale, as `of_network` has it.

    Raises
    ------
    SettingsError
        Unknown name, or a scale that is not allowed.
    """
    if name not in PRESETS:
        raise SettingsError(f"--network {name}: unknown; {', '.join(PRESETS)} are allowed{suggestion(name, PRESETS)}")
    family, dimensions = PRESETS[name]
    return of_network(name, family, dimensions, scale)


def of_network(name: str, family: str, dimensions: Mapping[str, Any], scale: int) -> RunConfig:
    """Run of a network of these dimensions at a scale: bicubic reduction, the smaller scales first where it has stages.

    Then comes `DEFAULT_MIX`, at half the learning rate and with the squared error for half of the steps.

    Raises
    ------
    SettingsError
        A scale that is not allowed.
    """
    rate = LEARNING_RATES[family]
    staged = bool(dimensions.get("stage_channels"))
    stages = []
    for each in (*(scales_before(scale) if staged else ()), scale):
        try:
            network = NETWORKS[family].config_class(**{**dimensions, "scale": each})
        except ValueError as error:
            raise SettingsError(f"--network {name}: {error}") from error
        dual: Dual = "scales" if staged and each in (4, 8) else "none"
        training = TrainingConfig(steps=FIRST_STEPS, dual=dual, learning_rate=rate, degradations={BICUBIC: 1.0})
        stages.append(Stage(f"x{each}", network, training))
    mix = TrainingConfig(steps=MIX_STEPS, learning_rate=rate / 2, squared_share=0.5)
    stages.append(Stage("mix", stages[-1].network, mix))
    return RunConfig(name, family, tuple(stages))
