"""Golden self-tests that were passed on this machine, remembered between processes.

The file is a convenience and never evidence: where it is missing, damaged, somebody else's
or cannot be written, the test simply runs. Failures are not remembered.
"""

import contextlib
import hashlib
import json
import os
import secrets
import stat
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightsr
from lightsr import processor

FOLDER_VARIABLE = "LIGHTSR_CACHE"
"""Environment variable that names the folder; set and empty, nothing is remembered."""

FILE_NAME = "self-tests.json"

FORMAT = 1
"""Version of the file; another one is ignored and replaced."""

MAX_FILE_BYTES = 64 * 1024
MAX_REMEMBERED = 64
"""Passes that are kept, the latest ones."""


@dataclass(frozen=True)
class Trial:
    """What decides whether a self-test passes.

    Parameters
    ----------
    model : str
        sha256 of the model's bytes, the golden input and output among them.
    onnxruntime : str
        Version, and a digest of how it was built.
    cpu : str
        Name and fingerprint of the processor; "" where it does not tell its features.
    lightsr : str
        Version.
    """

    model: str
    onnxruntime: str
    cpu: str
    lightsr: str

    @classmethod
    def of(cls, sha256: str) -> "Trial":
        """Trial of a model in this process."""
        import onnxruntime

        build = hashlib.sha256(onnxruntime.get_build_info().encode()).hexdigest()[:16]
        features = processor.fingerprint()
        cpu = f"{processor.describe().cpu} {features}" if features else ""
        return cls(sha256, f"{onnxruntime.__version__} {build}", cpu, lightsr.__version__)


def folder() -> Path | None:
    """Folder of the file: LIGHTSR_CACHE, or lightsr in the user's folder for caches; None for none.

    References
    ----------
    XDG Base Directory Specification 0.8: relative paths are ignored.
    """
    chosen = os.environ.get(FOLDER_VARIABLE)
    if chosen is not None:
        return Path(chosen) if chosen else None
    if Path(base := os.environ.get("XDG_CACHE_HOME", "")).is_absolute():
        return Path(base) / "lightsr"
    try:
        home = Path.home()
    except RuntimeError:
        return None
    caches = home / ("Library/Caches" if sys.platform == "darwin" else ".cache")
    return caches / "lightsr" if home.is_dir() else None


def passed(trial: Trial) -> bool:
    """Whether this trial is remembered as passed."""
    return bool(trial.cpu) and asdict(trial) in _remembered()


def remember(trial: Trial) -> None:
    """Remember a pass; a folder that cannot be written, or where others could write, stays as it is."""
    home = folder()
    if home is None or not trial.cpu or not hasattr(os, "geteuid"):
        return
    kept = [entry for entry in _remembered() if entry != asdict(trial)][1 - MAX_REMEMBERED :]
    content = json.dumps({"format": FORMAT, "passed": [*kept, asdict(trial)]}, indent=1)
    with contextlib.suppress(OSError):
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if _is_ours(home.stat()):
            _replace(home / FILE_NAME, content.encode("ascii"))


def _replace(path: Path, content: bytes) -> None:
    """Write a small file that appears whole or not at all; what a crash leaves of it would be no JSON."""
    temporary = path.with_name(f".{path.name}-{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _remembered() -> list[dict[str, Any]]:
    """Entries of the file; none where it may not be believed."""
    home = folder()
    if home is None or not hasattr(os, "geteuid"):  # Windows: who else may write cannot be told
        return []
    try:
        if not _is_ours(home.stat()):
            return []
        descriptor = os.open(home / FILE_NAME, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(descriptor, "rb") as file:
            found = os.fstat(descriptor)
            if not (stat.S_ISREG(found.st_mode) and _is_ours(found) and found.st_size <= MAX_FILE_BYTES):
                return []
            content = json.loads(file.read(MAX_FILE_BYTES))
    except (OSError, ValueError, RecursionError):
        return []
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("passed"), list):
        return []
    return [entry for entry in content["passed"] if isinstance(entry, dict)]


def _is_ours(found: os.stat_result) -> bool:
    """Whether a file or folder is this user's and nobody else may write it."""
    return found.st_uid == os.geteuid() and not found.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
