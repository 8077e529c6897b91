"""Result files: what stands in every one, and reading them back."""

import json
import os
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Protocol

from lightsr import __version__
from lightsr.errors import LightsrError

Kind = Literal["device", "quality", "emulation", "export", "training", "experiment"]

FORMATS: dict[str, int] = {"device": 1, "quality": 1, "emulation": 1, "export": 1, "training": 1, "experiment": 1}
"""Kinds of results, and the version that this lightsr writes and compares."""

FOLDER_VARIABLES = ("LIGHTSR_DATA", "LIGHTSR_PEERS")
"""Environment variables that commands in results name folders by."""

UNTOLD = {"--force": False, "--debug": False, "--pictures": True}
"""Options that documents leave out, and whether a value follows."""

MAX_BYTES = 64 * 2**20


class DocumentError(LightsrError):
    """A result file that cannot be used."""


def command_line(arguments: Sequence[str]) -> str:
    """A command as documents show it, with the folders of `FOLDER_VARIABLES` named by these.

    Options that change nothing of the results, `UNTOLD`, are left out with their values.

    Parameters
    ----------
    arguments : sequence of str
        Without the program's name.

    Returns
    -------
    str
    """
    told: list[str] = []
    rest = iter(arguments)
    for argument in rest:
        name, _, value = argument.partition("=")
        if name not in UNTOLD:
            told.append(_shown(argument))
        elif UNTOLD[name] and not value:
            next(rest, None)
    return " ".join(["lightsr-bench", *told])


def _shown(argument: str) -> str:
    for variable in FOLDER_VARIABLES:
        folder = os.environ.get(variable)
        if folder and not argument.startswith("-"):
            try:
                below = Path(argument).resolve().relative_to(Path(folder).resolve())
            except ValueError:
                continue
            return f"${variable}" if below == Path() else f"${variable}/{shlex.quote(below.as_posix())}"
    return shlex.quote(argument)


def public(text: str) -> str:
    """A message with the folders of `FOLDER_VARIABLES` named by these."""
    for variable in FOLDER_VARIABLES:
        folder = os.environ.get(variable)
        if folder:
            text = text.replace(str(Path(folder).resolve()), f"${variable}").replace(folder, f"${variable}")
    return text


def new(kind: Kind, arguments: Sequence[str], *, interrupted: bool = False) -> dict[str, Any]:
    """What every result file begins with."""
    return {
        "kind": kind,
        "format": FORMATS[kind],
        "lightsr": __version__,
        "command": command_line(arguments),
        "interrupted": interrupted,
    }


class Circumstances(Protocol):
    """What every run on this machine tells of it."""

    @property
    def processor(self) -> str:
        """In words."""

    @property
    def versions(self) -> dict[str, str]:
        """Of what was measured with."""

    @property
    def other_load_cpus(self) -> float:
        """Mean work of everybody else meanwhile."""

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C ended it."""


def measured(
    kind: Kind,
    arguments: Sequence[str],
    found: Circumstances,
    *,
    protocol: Mapping[str, Any],
    content: Mapping[str, Any],
) -> dict[str, Any]:
    """A result file of something that was timed here.

    Parameters
    ----------
    kind : Kind
    arguments : sequence of str
        Of the command line.
    found : Circumstances
        Where and how well it was timed.
    protocol : dict
        How.
    content : dict
        What was found; its figures are rounded.
    """
    facts: dict[str, Any] = {
        "protocol": protocol,
        "processor": found.processor,
        "versions": found.versions,
        "other_load_cpus": found.other_load_cpus,
        **content,
    }
    start = new(kind, arguments, interrupted=found.interrupted)
    return start | {key: rounded(value) for key, value in facts.items()}


def dumps(document: dict[str, Any]) -> bytes:
    """Text of a result file: one line for every entry of a list, so that changes can be read."""
    lines = []
    for key, value in document.items():
        if isinstance(value, list) and value:
            inner = ",\n".join("  " + json.dumps(entry, ensure_ascii=False) for entry in value)
            lines.append(f" {json.dumps(key)}: [\n{inner}\n ]")
        else:
            lines.append(f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}")
    return ("{\n" + ",\n".join(lines) + "\n}\n").encode()


def read(path: Path) -> dict[str, Any]:
    """Read a result file.

    Raises
    ------
    DocumentError
        Missing, not one of lightsr-bench, or of another version.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise DocumentError(f"{path}: larger than {MAX_BYTES // 2**20} MiB; not a result of lightsr-bench")
        document = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DocumentError(f"{path}: cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise DocumentError(f"{path}: not a JSON file; results of lightsr-bench --json are compared") from error
    kind = document.get("kind") if isinstance(document, dict) else None
    if kind not in FORMATS:
        raise DocumentError(f"{path}: not a result of lightsr-bench; results of its --json are compared")
    if document.get("format") != FORMATS[kind]:
        raise DocumentError(
            f"{path}: {kind} results of format {document.get('format')}; this version compares "
            f"{FORMATS[kind]}; measure again"
        )
    return dict(document)


def rounded(value: Any, digits: int = 4) -> Any:
    """The same with every float rounded to significant digits, in lists and dictionaries too."""
    if isinstance(value, float):
        return float(f"{value:.{digits}g}")
    if isinstance(value, dict):
        return {key: rounded(entry, digits) for key, entry in value.items()}
    if isinstance(value, (list, tuple)):
        return [rounded(entry, digits) for entry in value]
    return value
