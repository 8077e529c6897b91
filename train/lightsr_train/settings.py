"""Settings of a run, from a TOML file or the command line."""

import math
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from lightsr.card import check_name
from lightsr.errors import LightsrError, ModelError

from lightsr_train.contract import ScaleConfig
from lightsr_train.degradation import BICUBIC, parse
from lightsr_train.networks import LEARNING_RATES, NETWORKS, PRESETS


class SettingsError(LightsrError):
    """A setting that is unknown or out of range."""


Precision = Literal["float32", "bfloat16"]

Loss = Literal["absolute", "charbonnier", "squared"]

Dual = Literal["none", "scales", "regression"]
"""Second task beside reconstruction at the final scale."""

DEFAULT_MIX: dict[str, float] = {BICUBIC: 0.88, "area": 0.025, "gaussian": 0.025, "kspace": 0.05, "jpeg": 0.02}
"""Degradations that training draws unless a configuration says otherwise, with their shares: our choice.

Mostly the one that is reported on; with a third of others a network hedges, and loses half a dB on it.
"""


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
    """

    steps: int = 60_000
    batch: int = 8
    patch_px: int = 48
    margin_px: int = 4
    edge_share: float = 0.1
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
        for name in ("average", "squared_share", "edge_share", "hold_back", "dual_start", "dual_end"):
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
        if not self.degradations:
            raise ValueError("degradations names none; at least one is needed")
        for text, share in self.degradations.items():
            parse(text)
            if not share > 0:
                raise ValueError(f"degradations: the share of '{text}' is {share}; above 0 is needed")


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
    """Run of a named network at a scale with the default training; its own networks are trained in stages.

    Raises
    ------
    SettingsError
        Unknown name, or a scale that is not allowed.
    """
    if name not in PRESETS:
        raise SettingsError(f"--network {name}: unknown; {', '.join(PRESETS)} are allowed")
    family, dimensions = PRESETS[name]
    return of_network(name, family, dimensions, scale)


def of_network(name: str, family: str, dimensions: Mapping[str, Any], scale: int) -> RunConfig:
    """Run of a network of these dimensions at a scale with the default training, in stages where it has them.

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
        stages.append(Stage(f"x{each}", network, TrainingConfig(dual=dual, learning_rate=rate)))
    return RunConfig(name, family, tuple(stages))


TRAINING_KEYS = frozenset(f.name for f in fields(TrainingConfig))

STAGE_KEYS = TRAINING_KEYS | {"name", "scale"}


def from_file(path: Path) -> RunConfig:
    """Run described by a TOML file.

    ``name``, ``family``, ``data`` and ``init`` stand at its top; the table ``[network]`` has
    the dimensions, ``[training]`` the settings, and each ``[[stage]]`` those that differ in
    it, with its ``scale`` and ``name``. Without a stage there is one, of the network's scale.
    Folders in ``data`` may hold environment variables; others are relative to the
    current folder.

    Raises
    ------
    SettingsError
        Missing or malformed file, unknown key, value out of range, unset variable.
    """
    return from_content(read_toml(path), path)


def read_toml(path: Path) -> dict[str, Any]:
    """Content of a TOML file.

    Raises
    ------
    SettingsError
        Missing or malformed.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not a TOML file: {error}") from error


def from_content(content: dict[str, Any], path: Path) -> RunConfig:
    """Run described by what a TOML file holds; `path` is that file, for messages and for files beside it.

    Raises
    ------
    SettingsError
        As `from_file`.
    """
    unknown = set(content) - {"name", "family", "data", "init", "network", "training", "stage"}
    if unknown:
        raise SettingsError(f"{path}: unknown keys {', '.join(sorted(unknown))}")
    family = str(content.get("family", "light-dense"))
    if family not in NETWORKS:
        raise SettingsError(f"{path}: family '{family}'; {', '.join(NETWORKS)} are allowed")
    name = str(content.get("name", path.stem))
    try:
        check_name(name)
    except ModelError as error:
        raise SettingsError(f"{path}: {error}") from error
    folders = content.get("data", [])
    if not isinstance(folders, list):
        raise SettingsError(f"{path}: data is {folders!r}; a list of folders is needed")
    init = content.get("init", "")
    if not isinstance(init, str):
        raise SettingsError(f"{path}: init is {init!r}; the name of a released model, or a file, is needed")
    stages = _stages(content, NETWORKS[family].config_class, path)
    return RunConfig(name, family, stages, tuple(_folder(item, path) for item in folders), _beside(init, path))


def _stages(content: dict[str, Any], kind: type[ScaleConfig], path: Path) -> tuple[Stage, ...]:
    network = _table(kind, content.get("network", {}), path, "network")
    common = content.get("training", {})
    training = _table(TrainingConfig, common, path, "training")
    tables = content.get("stage", [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise SettingsError(f"{path}: stage is {tables!r}; tables [[stage]] are needed")
    if not tables:
        return (Stage(f"x{network.scale}", network, training),)
    stages = []
    for number, table in enumerate(tables, 1):
        where = f"stage {number}"
        foreign = sorted(set(table) - STAGE_KEYS)
        if foreign:
            known = ", ".join(sorted(STAGE_KEYS))
            raise SettingsError(f"{path}: [{where}] has no setting '{foreign[0]}'; {known} are allowed")
        scale = table.get("scale", network.scale)
        dimensions = _table(kind, {**content.get("network", {}), "scale": scale}, path, where)
        settings = _table(
            TrainingConfig, {**common, **{k: v for k, v in table.items() if k in TRAINING_KEYS}}, path, where
        )
        stages.append(Stage(str(table.get("name", f"x{scale}")), dimensions, settings))
    names = [stage.name for stage in stages]
    if len(set(names)) < len(names):
        raise SettingsError(f"{path}: two stages have one name ({', '.join(names)}); give each its own")
    for name in names:
        try:
            check_name(name)
        except ModelError as error:
            raise SettingsError(f"{path}: stage: {error}") from error
    if "scale" in content.get("network", {}) and stages[-1].network.scale != network.scale:
        raise SettingsError(
            f"{path}: the last stage has scale {stages[-1].network.scale}, [network] {network.scale}; they must agree"
        )
    return tuple(stages)


_TYPES: dict[Any, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
    str: ((str,), "a text"),
    tuple[str, ...]: ((list,), "a list of texts"),
    dict[str, float]: ((dict,), "a table of numbers"),
}
"""What a field's type takes, and its name in a message."""


def _table(kind: Any, values: Any, path: Path, name: str) -> Any:
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: {name} is {values!r}; a table [{name}] is needed")
    known = {f.name: f.type for f in fields(kind)}
    given: dict[str, Any] = {}
    for key, value in values.items():
        if key not in known:
            raise SettingsError(f"{path}: [{name}] has no setting '{key}'; {', '.join(known)} are allowed")
        types, wanted = _TYPES[str if get_origin(known[key]) is Literal else known[key]]
        # In Python, true is a whole number too.
        if not isinstance(value, types) or isinstance(value, bool) != (known[key] is bool):
            raise SettingsError(f"{path}: [{name}] {key} is {value!r}; {wanted} is needed")
        parts = value if isinstance(value, list) else value.values() if isinstance(value, dict) else ()
        inner = str if isinstance(value, list) else (int, float)
        if not all(isinstance(part, inner) and not isinstance(part, bool) for part in parts):
            raise SettingsError(f"{path}: [{name}] {key} is {value!r}; {wanted} is needed")
        given[key] = tuple(value) if isinstance(value, list) else value
    try:
        return kind(**given)
    except ValueError as error:
        raise SettingsError(f"{path}: [{name}] {error}") from error


def _folder(item: Any, path: Path) -> Path:
    expanded = os.path.expandvars(str(item))
    if "$" in expanded:
        raise SettingsError(f"{path}: data '{item}' names a variable that is not set; set it or use --data")
    return Path(expanded)


def _beside(init: str, path: Path) -> str:
    """A file beside the configuration in place of its name; other names as they are."""
    beside = path.parent / init
    return str(beside) if init.endswith(".pt") and beside.is_file() else init
