"""A run described by a TOML file."""

import os
import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any, Literal, get_origin

from lightsr.card import check_name
from lightsr.errors import ModelError

from lightsr_train.contract import ScaleConfig
from lightsr_train.networks import NETWORKS, USUAL
from lightsr_train.settings import RunConfig, SettingsError, Stage, TrainingConfig

TRAINING_KEYS = frozenset(f.name for f in fields(TrainingConfig))

STAGE_KEYS = TRAINING_KEYS | {"name", "scale"}


def read_run(path: Path) -> RunConfig:
    """Run described by a TOML file.

    ``name``, ``family``, ``data`` and ``init`` stand at its top; the table ``[network]`` has
    the dimensions, ``[training]`` the settings, and each ``[[stage]]`` those that differ in
    it, with its ``scale`` and ``name``. Without a stage there is one, of the network's scale.
    Dimensions that are left out are those of `base`, for a light-dense network.
    Folders in ``data`` may hold environment variables; others are relative to the
    current folder.

    Raises
    ------
    SettingsError
        Missing or malformed file, unknown key, value out of range, unset variable.
    """
    return run_from(read_toml(path), path)


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


def run_from(content: dict[str, Any], path: Path) -> RunConfig:
    """Run described by what a TOML file holds; `path` is that file, for messages and for files beside it.

    Raises
    ------
    SettingsError
        As `read_run`.
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
    if isinstance(content.get("network", {}), dict):
        content = {**content, "network": {**USUAL.get(family, {}), **content.get("network", {})}}
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
