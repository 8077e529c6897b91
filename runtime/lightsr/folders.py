"""Folders: which files are enlarged, and where their results go."""

import fnmatch
import os
import re
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lightsr import files
from lightsr.errors import ImageError, OutputError
from lightsr.strays import TEMPORARY_PREFIX


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
        A folder would be mirrored into a file, into itself, below or above itself, or two
        files into one.
    """
    if source.is_file():
        yield Job(source, target / source.name if target.is_dir() else target)
        return
    if not source.is_dir():
        raise ImageError(f"{source}: {_missing(source, target)}")
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target}: a file; a folder of images needs a folder to go to")
    _refuse_overlap(source, target)
    jobs = list(_inside(source, target, pattern))
    if not jobs:
        how = "it is empty, or all in it is hidden"
        if pattern != "*":
            how = "--glob takes names as they are, without folders, such as '*.dcm'; hidden files are left out"
        raise ImageError(f"{source}: no file that matches {pattern}; {how}")
    taken = {job.target for job in jobs}
    refuse_collisions(
        (  # only those are opened for which it matters
            job.target if taken.isdisjoint(files.other_results(job.target)) else _result(job) for job in jobs
        ),
        target,
    )
    yield from jobs


def _missing(source: Path, target: Path) -> str:
    """What is said of an input that is neither file nor folder."""
    text = os.fspath(source)
    if source.exists():
        return "not a regular file"
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:/", text):
        return "an address of the network; files and folders are read, so download it first"
    if text == "-":
        return "standard input is not read; name a file or folder"
    if any(letter in text for letter in "*?["):
        return "no such file or folder; give the folder, and --glob '*.dcm' or the like takes files by name"
    if target.exists():
        return f"no such file or folder, and {target} is there; IN comes first, then OUT"
    there = source.absolute()
    while not there.exists():
        name, there = there.name, there.parent
    return f"no such file or folder; there is no {name} in {there}"


def _result(job: Job) -> Path:
    return job.target if job.problem else files.expected_result(job.source, job.target)


def _refuse_overlap(source: Path, target: Path) -> None:
    """Results must not land among the inputs: a later run would read them, and --force overwrite inputs."""
    here, there = real(source), real(target)
    if here == there:
        raise OutputError(f"{target}: is the input folder itself; choose a folder beside it")
    if there.is_relative_to(here):
        raise OutputError(f"{target}: lies inside the input folder; choose a folder beside it")
    if here.is_relative_to(there):
        raise OutputError(f"{target}: holds the input folder, whose files results could replace; choose another folder")


def real(path: Path) -> Path:
    """The absolute path without links; of links that go round in a circle what can be told, where `resolve` raises."""
    return Path(os.path.realpath(path))


def _inside(source: Path, target: Path, pattern: str) -> Iterator[Job]:
    unread: list[OSError] = []
    for root, folders, names in os.walk(source, onerror=unread.append):
        here = Path(root)
        there = target / here.relative_to(source)
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in folders:
            path = here / name
            if path.is_symlink():
                problem = f"{path}: a link to a folder, which is not followed; name that folder as IN"
                yield Job(path, there / name, problem)
        for name in sorted(names):
            if not name.startswith(".") and fnmatch.fnmatch(name, pattern):
                yield Job(here / name, there / name)
    for error in unread:
        path = Path(error.filename)
        problem = f"{path}: cannot be searched: {error.strerror}"
        yield Job(path, target / path.relative_to(source), problem)


def refuse_collisions(paths: Iterable[Path], target: Path) -> None:
    """Refuse results that would be one file.

    Files keep their names, so two results meet only where one has its source's with a suffix
    behind it, or where the target's file system does not tell apart what the source's does:
    capitals (exFAT, NTFS, shares, macOS) or ways to write an accent (macOS). Whether it does is
    tried out, in the nearest folder that is there, and only if there are such names.

    Parameters
    ----------
    paths : iterable of Path
        Results.
    target : Path
        Folder that all of them go into.

    Raises
    ------
    OutputError
        Names the two.
    """
    groups: dict[str, list[Path]] = {}
    for path in paths:
        groups.setdefault(_folded(path), []).append(path)
    meeting = [group for group in groups.values() if len(group) > 1]
    same = [group for group in meeting if len(set(group)) < len(group)]
    if same:
        raise OutputError(f"{same[0][0]}: would be the result of two inputs; rename one of them")
    if meeting and not _tells_names_apart(target):
        first, second = meeting[0][:2]
        raise OutputError(
            f"{second}: would be one file with {first} on the file system of {target}; rename one of the inputs, "
            "or choose another folder"
        )


def _folded(path: Path) -> str:
    """One text for all paths that some file system could take for one."""
    text = os.fspath(path)
    return (
        text.lower() if text.isascii() else unicodedata.normalize("NFC", unicodedata.normalize("NFC", text).casefold())
    )


def _tells_names_apart(target: Path) -> bool:
    """Whether a file system keeps "a" and "A", and the two ways to write "é", in files of their own."""
    folder = target.absolute()
    while not folder.is_dir():
        folder = folder.parent
    try:
        with tempfile.NamedTemporaryFile(prefix=TEMPORARY_PREFIX, suffix="a\u00e9", dir=folder) as file:
            written = Path(file.name)
            return not any((folder / f"{written.name[:-2]}{end}").exists() for end in ("A\u00e9", "ae\u0301"))
    except OSError as error:
        raise OutputError(f"{target}: cannot be written: {error.strerror}") from error


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
        raise OutputError(f"{folder}: cannot be made: {unmade(folder, error)}") from error


def unmade(folder: Path, error: OSError) -> str:
    """Why a folder could not be made: what the system said, or that there is a file of its name."""
    return "a file is there; choose another name" if folder.is_file() else error.strerror or type(error).__name__
