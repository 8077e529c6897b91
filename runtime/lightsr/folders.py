"""Folders: which files are enlarged, and where their results go."""

import fnmatch
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from lightsr.errors import ImageError, OutputError


@dataclass(frozen=True)
class Job:
    """One file, or something in its place that cannot be looked into.

    Parameters
    ----------
    source, target : Path
    problem : str
        Why nothing can come of it, else "".
    """

    source: Path
    target: Path
    problem: str = ""


def mirrored(source: Path, target: Path, pattern: str) -> Iterator[Job]:
    """Files to enlarge with where they go.

    Parameters
    ----------
    source : Path
        A file, or a folder that is searched deeply; hidden files are left out, and links
        to folders are not followed but named.
    target : Path
        A file, or a folder in which the source folder is mirrored. A file whose target
        is an existing folder goes into it.
    pattern : str
        Shell pattern that a file's name must match, in a folder.

    Yields
    ------
    Job

    Raises
    ------
    ImageError
        `source` is missing, or a folder without such files.
    OutputError
        A folder would be mirrored into a file, into itself, below or above itself.
    """
    if source.is_file():
        yield Job(source, target / source.name if target.is_dir() else target)
        return
    if not source.is_dir():
        what = "not a regular file" if source.exists() else "no such file or folder"
        raise ImageError(f"{source}: {what}")
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target}: a file; a folder of images needs a folder to go to")
    _refuse_overlap(source, target)
    found = False
    for job in _inside(source, target, pattern):
        found = True
        yield job
    if not found:
        raise ImageError(f"{source}: no file that matches {pattern}")


def _refuse_overlap(source: Path, target: Path) -> None:
    """Results must not land among the inputs: a later run would read them, and --force overwrite inputs."""
    here, there = source.resolve(), target.resolve()
    if here == there:
        raise OutputError(f"{target}: is the input folder itself; choose a folder beside it")
    if there.is_relative_to(here):
        raise OutputError(f"{target}: lies inside the input folder; choose a folder beside it")
    if here.is_relative_to(there):
        raise OutputError(f"{target}: holds the input folder, whose files results could replace; choose another folder")


def _inside(source: Path, target: Path, pattern: str) -> Iterator[Job]:
    unread: list[OSError] = []
    for root, folders, names in os.walk(source, onerror=unread.append):
        here = Path(root)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            path = here / name
            if path.is_symlink():
                problem = f"{path}: a link to a folder, which is not followed; name that folder as IN"
                yield Job(path, target / path.relative_to(source), problem)
        for name in sorted(names):
            if not name.startswith(".") and fnmatch.fnmatch(name, pattern):
                path = here / name
                yield Job(path, target / path.relative_to(source))
    for error in unread:
        path = Path(error.filename)
        problem = f"{path}: cannot be searched: {error.strerror}"
        yield Job(path, target / path.relative_to(source), problem)


def make(folder: Path, like: Path) -> None:
    """Make a folder, and those above it, each as private as the one it mirrors.

    Parameters
    ----------
    folder : Path
    like : Path
        Existing folder whose permissions it gets, less the user's mask; those above it
        get the permissions of those above `like`.

    Raises
    ------
    OutputError
        It cannot be made.
    """
    try:
        if folder.is_dir():
            return
        make(folder.parent, like.parent)
        folder.mkdir(mode=like.stat().st_mode & 0o777 | 0o700, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}") from error
