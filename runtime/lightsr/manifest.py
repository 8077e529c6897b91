"""What became of every file, one JSON object a line: the manifest, and `--json`."""

import contextlib
import json
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from lightsr import strays
from lightsr.errors import OutputError
from lightsr.pipeline import Outcome

FORMAT = 1
"""Version of a record; it changes when a key goes or changes its meaning, not when one is added."""

START = f'{{"format": {FORMAT}, "input": '
"""First bytes of every line, by which a manifest is known."""

FLAGS = os.O_CREAT | os.O_RDWR | os.O_APPEND | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
"""Of the open file: every write goes to its end; to open a pipe waits for nobody."""


@dataclass(frozen=True)
class ModelIdentity:
    """Which model made the results.

    Parameters
    ----------
    name : str
        NAME-xS-PRECISION, as its card says.
    sha256 : str
        Of its file.
    """

    name: str
    sha256: str


def record(outcome: Outcome, source: Path, target: Path, model: ModelIdentity) -> dict[str, Any]:
    """What is told about one file; docs/runtime.md describes the keys.

    Parameters
    ----------
    outcome : Outcome
    source, target : Path
        IN and OUT of the command: folders that the names are relative to, or the files themselves.
    model : ModelIdentity
    """
    return {
        "format": FORMAT,
        "input": relative(outcome.source, source).as_posix(),
        "output": relative(outcome.target, target).as_posix(),
        "status": outcome.status,
        "reason": outcome.reason or None,
        "message": outcome.message or None,
        "input_sha256": outcome.source_sha256 or None,
        "output_sha256": outcome.target_sha256 or None,
        "model": model.name,
        "model_sha256": model.sha256,
        "size_in": list(outcome.size_in) if outcome.frames else None,
        "size_out": list(outcome.size_out) if outcome.frames else None,
        "frames": outcome.frames,
        "clipped": outcome.clipped,
        "milliseconds": round(outcome.milliseconds, 3),
        "peak_mib": round(outcome.peak_mib, 1),
    }


def line(entry: dict[str, Any]) -> str:
    """A record as a line, without its end; ASCII, names that are no text as lone surrogates."""
    return json.dumps(entry)


def relative(path: Path, root: Path) -> Path:
    """`path` below `root`, or its last part where `root` is the file itself."""
    return path.relative_to(root) if path != root and path.is_relative_to(root) else Path(path.name)


class Manifest:
    """A file of records, to which this process alone appends.

    A last line that is no whole one, which a killed process left, is taken away.

    Parameters
    ----------
    path : Path
        Made if it is not there, readable by its owner alone: names of files may name patients.

    Raises
    ------
    OutputError
        Not a manifest, in use by another process, or not writable.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._descriptor = os.open(path, FLAGS, 0o600)
        except OSError as error:
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
        try:
            if not stat.S_ISREG(os.fstat(self._descriptor).st_mode):
                raise OutputError(f"{path}: no regular file; choose another name for the manifest")
            self._lock()
            self.torn = self._mend()
        except OSError as error:
            self.close()
            raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
        except OutputError:
            self.close()
            raise

    def append(self, entry: dict[str, Any]) -> None:
        """Add a line, in one piece.

        Raises
        ------
        OutputError
            Not all of it could be written.
        """
        content = f"{line(entry)}\n".encode("ascii")
        try:
            written = os.write(self._descriptor, content)
        except OSError as error:
            raise OutputError(f"{self.path}: cannot be written: {error.strerror}") from error
        if written < len(content):
            raise OutputError(f"{self.path}: cannot be written: no room for another line")

    def close(self) -> None:
        """Bring it to the disk, and let others have it."""
        with contextlib.suppress(OSError):  # a file system that cannot
            os.fsync(self._descriptor)
        os.close(self._descriptor)

    def __enter__(self) -> "Manifest":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _lock(self) -> None:
        if strays.lock(self._descriptor, wait=False) is False:
            raise OutputError(f"{self.path}: another run writes to it; give each run or shard a manifest of its own")

    def _mend(self) -> bool:
        """Whether a torn last line was taken away."""
        start = START.encode("ascii")
        with open(self._descriptor, "rb", closefd=False) as file:
            head = file.read(len(start))
            if head != start[: len(head)]:
                raise OutputError(
                    f"{self.path}: exists, and is no manifest of format {FORMAT}; choose another name for it"
                )
            end = file.seek(0, os.SEEK_END)
            whole = _end_of_last_line(file, end)
        if whole < end:
            os.ftruncate(self._descriptor, whole)
        return whole < end


def _end_of_last_line(file: Any, end: int) -> int:
    """Offset behind the last line feed, 0 where there is none."""
    while end > 0:
        begin = max(end - 65_536, 0)
        file.seek(begin)
        found: int = file.read(end - begin).rfind(b"\n")
        if found >= 0:
            return begin + found + 1
        end = begin
    return 0
