"""A picture's whole path: file, `Image`, `Upscaler`, file."""

import contextlib
import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from numpy.typing import NDArray

import lightsr
from lightsr import files, folders
from lightsr.bands import Tally
from lightsr.budget import FLOOR_BYTES
from lightsr.enlarging import Band, enlarged_bands
from lightsr.errors import ChangedError, ImageError, LightsrError, MemoryLimitError, OutputError, PackageError
from lightsr.memory import peak_mib
from lightsr.options import DEFAULTS, DicomOptions
from lightsr.provenance import Producer
from lightsr.upscaler import Upscaler

COMMAND_BYTES = 4 * 2**20
"""Memory of a command beside that of the library: arguments, records, digests, threads."""

Status = Literal["done", "skipped", "refused", "failed"]

REASONS = {
    "image": "the input cannot be read, or is refused because its meaning would be lost",
    "changed": "somebody wrote to the input while it was read: it is still arriving, perhaps",
    "exists": "a result is there already",
    "output": "the result cannot be written",
    "system": "the system reported an error",
    "memory": "it needs more memory than there is, or than is allowed",
    "package": "an optional package is not installed",
    "model": "the model failed",
    "folder": "a folder that cannot be searched, or a link to one, which is not followed",
    "worker": "the process that worked on it ended early",
    "unexpected": "an error that lightsr does not know",
}
"""Why a file was refused or failed, in a word that stays when the message is worded anew."""


@dataclass(frozen=True)
class Outcome:
    """What became of one file.

    Parameters
    ----------
    source : Path
    target : Path
    status : Status
        "done"; "skipped": a result was there, and left alone on request; "refused": the input
        is why, and would be again; "failed": something else, which may be gone the next time.
    size_in, size_out : (int, int)
        Rows and columns; zeros where it did not come to that.
    milliseconds : float
        Time to enlarge all frames, files not counted.
    peak_mib : float
        Peak resident set of the process so far, MiB.
    message : str
        Why it was refused or failed.
    frames : int
        Frames of a file that was enlarged.
    reason : str
        Word for `message`, one of `REASONS`.
    source_sha256, target_sha256 : str
        Of the files that were read and written, where they were asked for.
    clipped : int
        Pixels, of all frames, whose value lay beyond what the type or the source allows, and was set
        to the nearest that it does; before padding and what lies outside regions are put back.
    """

    source: Path
    target: Path
    status: Status
    size_in: tuple[int, int] = (0, 0)
    size_out: tuple[int, int] = (0, 0)
    milliseconds: float = 0.0
    peak_mib: float = 0.0
    message: str = ""
    frames: int = 0
    reason: str = ""
    source_sha256: str = ""
    target_sha256: str = ""
    clipped: int = 0


def enlarge_file(
    source: Path,
    target: Path,
    upscaler: Upscaler,
    *,
    overwrite: bool = False,
    skip_existing: bool = False,
    options: DicomOptions = DEFAULTS,
    digests: bool = False,
) -> Outcome:
    """Enlarge one file into another of the same format (of a JPEG, a PNG), which appears whole or not at all.

    `options` are those of DICOM files; other formats have none. With `digests` both files are read
    once more for their SHA-256. Problems with this file come back in the `Outcome`; nothing is
    then written.
    """
    source_sha256 = target_sha256 = ""
    before = _state(source)
    try:
        if skip_existing:
            if not target.is_file() or files.promises_another(target):
                target = files.expected_result(source, target)
            if target.is_file() and not files.promises_another(target):
                return Outcome(source, target, "skipped")
        if digests and source.is_file():
            source_sha256 = sha256(source)
        kind = files.detect(source, options)
        target = files.result_path(kind, source, target)
        outcome = _enlarge_file(kind, source, target, upscaler, overwrite, options, before)
        if digests and outcome.status == "done":
            target_sha256 = sha256(outcome.target)
    except LightsrError as caught:
        # What is wrong with a file that changes, or the system said about one, may be gone the next time.
        error = _changed(source) if isinstance(caught, ImageError) and _differs(source, before) else caught
        of_system = isinstance(error.__cause__, OSError) and error.__cause__.errno is not None
        passing = isinstance(error, ChangedError | PackageError | MemoryLimitError)
        at_fault = isinstance(error, ImageError) and not passing
        status: Status = "refused" if at_fault and not of_system else "failed"
        outcome = Outcome(source, target, status, message=str(error), reason=error.reason)
    except OSError as error:
        message = f"{error.filename or target}: {error.strerror or type(error).__name__}"
        outcome = Outcome(source, target, "failed", message=message, reason="system")
    except MemoryError:
        message = f"{source}: too large for this machine's memory"
        outcome = Outcome(source, target, "failed", message=message, reason="memory")
    return replace(outcome, source_sha256=source_sha256, target_sha256=target_sha256)


def _state(path: Path) -> tuple[int, ...]:
    """What becomes another where somebody writes to a file, or puts another in its place; of no file nothing."""
    try:
        found = path.stat()
    except OSError:
        return ()
    return found.st_size, found.st_mtime_ns, found.st_dev, found.st_ino


def _differs(path: Path, before: tuple[int, ...]) -> bool:
    """Whether a file is another than it was; one that was removed since is what was read of it."""
    return _state(path) not in ((), before)


def _changed(path: Path) -> ChangedError:
    return ChangedError(f"{path}: was written to while it was read; once more, when it is whole")


def sha256(path: Path) -> str:
    """SHA-256 of a file, in hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _enlarge_file(
    kind: files.Format,
    source: Path,
    target: Path,
    upscaler: Upscaler,
    overwrite: bool,
    options: DicomOptions,
    before: tuple[int, ...],
) -> Outcome:
    if target.exists() and target.samefile(source):
        raise OutputError(f"{target}: is the input itself; choose another output")
    if target.exists() and not target.is_file():  # --force would put a file in the place of a device
        raise OutputError(f"{target}: is there, and not a regular file; choose another output")
    if os.path.lexists(target) and not overwrite:
        raise OutputError(f"{target}: exists; --force overwrites it, --skip-existing leaves it", reason="exists")
    scale, card = upscaler.scale, upscaler.card
    producer = Producer(card.name, card.precision, upscaler.model.sha256, lightsr.__version__)
    spent, tally = 0.0, Tally()

    def timed(bands: Iterator[Band]) -> Iterator[NDArray[Any]]:
        nonlocal spent
        for band in bands:
            spent += band.milliseconds
            yield band.pixels

    with contextlib.ExitStack() as stack:
        limit = None if upscaler.budget is None else upscaler.budget.total
        room = None if limit is None else max(0, limit - FLOOR_BYTES - COMMAND_BYTES)
        frames = stack.enter_context(kind.opened(source, options=options, room=room))
        beside = COMMAND_BYTES + frames.held_bytes + kind.writing_bytes(frames, scale, options)
        bands = enlarged_bands(frames, upscaler, beside=beside, tally=tally)
        stack.enter_context(contextlib.closing(bands))
        # A result is as private as its source: readable by nobody who could not read that.
        folders.make(target.parent.absolute(), source.parent.absolute())
        permissions = source.stat().st_mode & 0o666 | 0o200
        with files.new_file(target, overwrite=overwrite, permissions=permissions) as file:
            kind.write(frames, timed(bands), scale=scale, producer=producer, options=options, file=file)
            if _differs(source, before):  # of two halves that do not belong together, perhaps
                raise _changed(source)
        return Outcome(
            source,
            target,
            "done",
            frames.size,
            (scale * frames.size[0], scale * frames.size[1]),
            spent,
            peak_mib(),
            frames=frames.count,
            clipped=tally.clipped,
        )
