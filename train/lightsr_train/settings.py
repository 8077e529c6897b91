"""Settings of a run, from a TOML file or the command line."""

import os
import tomllib
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from lightsr.card import check_name
from lightsr.errors import LightsrError, ModelError

from lightsr_train.contract import ScaleConfig
from lightsr_train.networks import NETWORKS, PRESETS


class SettingsError(LightsrError):
    """A setting that is unknown or out of range."""


@dataclass(frozen=True)
class TrainingConfig:
    """How a network is trained.

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
    learning_rate : float
        Peak of the cosine schedule, reached after `warmup` steps.
    warmup : int
        Steps of linear warm-up.
    average : float
        Decay of the exponential moving average of the weights, which is what is kept.
    squared_share : float
        Share of the steps, at the end, with the squared error in place of the absolute
        one: the measure that is reported is a squared one.
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
    learning_rate: float = 1e-3
    warmup: int = 500
    average: float = 0.999
    squared_share: float = 0.2
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
        for name in ("average", "squared_share", "hold_back"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"{name} is {getattr(self, name)}; 0 up to, not including, 1 is allowed")
        if not self.learning_rate > 0 or not self.clip > 0:
            raise ValueError("learning_rate and clip must be above 0")


@dataclass(frozen=True)
class RunConfig:
    """A whole run.

    Parameters
    ----------
    name : str
        Name of the model.
    family : str
        Key of `NETWORKS`.
    network : ScaleConfig
        Of the family's `config_class`.
    training : TrainingConfig
    data : tuple of Path
        Training folders.
    """

    name: str
    family: str
    network: ScaleConfig
    training: TrainingConfig
    data: tuple[Path, ...] = field(default=())


def from_preset(name: str, scale: int) -> RunConfig:
    """Run of a named network at a scale with the default training.

    Raises
    ------
    SettingsError
        Unknown name, or a scale that is not allowed.
    """
    if name not in PRESETS:
        raise SettingsError(f"--network {name}: unknown; {', '.join(PRESETS)} are allowed")
    family, dimensions = PRESETS[name]
    try:
        network = NETWORKS[family].config_class(**{**dimensions, "scale": scale})
    except ValueError as error:
        raise SettingsError(f"--network {name}: {error}") from error
    return RunConfig(name, family, network, TrainingConfig())


def from_file(path: Path) -> RunConfig:
    """Run described by a TOML file with ``name``, ``family``, ``data`` and two tables.

    Folders in ``data`` may hold environment variables; others are relative to the
    current folder.

    Raises
    ------
    SettingsError
        Missing or malformed file, unknown key, value out of range, unset variable.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"{path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path}: not a TOML file: {error}") from error
    unknown = set(content) - {"name", "family", "data", "network", "training"}
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
    return RunConfig(
        name=name,
        family=family,
        network=_table(NETWORKS[family].config_class, content.get("network", {}), path, "network"),
        training=_table(TrainingConfig, content.get("training", {}), path, "training"),
        data=tuple(_folder(item, path) for item in folders),
    )


_TYPES: dict[Any, tuple[tuple[type, ...], str]] = {
    bool: ((bool,), "true or false"),
    int: ((int,), "a whole number"),
    float: ((int, float), "a number"),
}
"""What a field's type takes, and its name in a message."""


def _table(kind: Any, values: Any, path: Path, name: str) -> Any:
    if not isinstance(values, dict):
        raise SettingsError(f"{path}: {name} is {values!r}; a table [{name}] is needed")
    known = {f.name: f.type for f in fields(kind)}
    for key, value in values.items():
        if key not in known:
            raise SettingsError(f"{path}: [{name}] has no setting '{key}'; {', '.join(known)} are allowed")
        types, wanted = _TYPES[known[key]]
        # In Python, true is a whole number too.
        if not isinstance(value, types) or isinstance(value, bool) != (known[key] is bool):
            raise SettingsError(f"{path}: [{name}] {key} is {value!r}; {wanted} is needed")
    try:
        return kind(**values)
    except ValueError as error:
        raise SettingsError(f"{path}: [{name}] {error}") from error


def _folder(item: Any, path: Path) -> Path:
    expanded = os.path.expandvars(str(item))
    if "$" in expanded:
        raise SettingsError(f"{path}: data '{item}' names a variable that is not set; set it or use --data")
    return Path(expanded)
