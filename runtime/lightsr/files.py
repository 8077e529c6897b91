"""From a path to an `Image`, by what the file holds, and safely back to a path."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from lightsr import derive, dicom, raster, strays
from lightsr.errors import ImageError, OutputError
from lightsr.image import Frames, Image

HEAD_BYTES = 132
"""Bytes that tell a file's kind: a DICOM file has "DICM" at 128 (PS3.10, 7.1)."""


def head(path: Path) -> bytes:
    """First `HEAD_BYTES` bytes of a regular file.

    Raises
    ------
    ImageError
        Not there, not a regular file, empty or not readable.
    """
    try:
        if not path.is_file():
            raise ImageError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}")
        with path.open("rb") as file:
            start = file.read(HEAD_BYTES)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror}") from error
    if not start:
        raise ImageError(f"{path}: an empty file")
    return start


@dataclass(frozen=True)
class Format:
    """A file format.

    Parameters
    ----------
    name : str
    holds : callable
        Whether a file with these first bytes is of this format.
    opened : callable
        Path to a context that gives the file's `Frames`.
    write : callable or None
        Writes the enlarged frames of a file, or None where lightsr only reads.
    suffixes : frozenset of str
        Ends of the names of such files, in lower case.
    """

    name: str
    holds: Callable[[bytes], bool]
    opened: Callable[[Path], AbstractContextManager[Frames]]
    write: Callable[..., None] | None
    suffixes: frozenset[str]


FORMATS = (
    Format("PNG", raster.is_png, raster.opened, raster.write, frozenset({".png"})),
    Format("JPEG", raster.is_jpeg, raster.opened, None, frozenset({".jpg", ".jpeg"})),
    Format("DICOM", dicom.is_dicom, dicom.opened, derive.write, frozenset({".dcm", ".dicom", ".ima"})),
)

SUFFIXES = frozenset({".bmp", ".gif", ".gz", ".nii", ".npy", ".tif", ".tiff", ".webp"}).union(
    *(known.suffixes for known in FORMATS)
)
"""Ends of names that promise a format."""


def detect(path: Path) -> Format:
    """Format of a file; its content decides, not its name.

    Raises
    ------
    ImageError
        Not there, not readable, or of no format in `FORMATS`.
    """
    start = head(path)
    for known in FORMATS:
        if known.holds(start):
            return known
    raise ImageError(f"{path}: neither PNG nor JPEG nor DICOM (with its 128-byte preamble); choose files with --glob")


def opened(path: Path) -> AbstractContextManager[Frames]:
    """Open a DICOM, PNG or JPEG file; its frames can be read until the context ends.

    Raises
    ------
    ImageError
        Unknown, damaged, or refused because its meaning would be lost.
    """
    return detect(path).opened(path)


def read(path: Path, *, frame: int | None = None) -> Image:
    """Read one picture of a DICOM, PNG or JPEG file.

    Parameters
    ----------
    path : Path
    frame : int, optional
        Which one, counted from 0; needed for a file of several.

    Raises
    ------
    ImageError
        As `opened`; or several frames, or no such frame.
    """
    with opened(path) as frames:
        if frame is None:
            return frames.only()
        if not 0 <= frame < frames.count:
            raise ImageError(f"{path}: has no frame {frame}; 0 to {frames.count - 1} are there")
        return frames[frame]


def refuse_existing(paths: Iterable[Path]) -> None:
    """Raise `OutputError` if one of `paths` exists, be it as a dangling link."""
    for path in paths:
        if os.path.lexists(path):
            raise OutputError(f"{path}: exists; --force overwrites it", reason="exists")


@contextlib.contextmanager
def new_file(path: Path, *, overwrite: bool = False, permissions: int = 0o666) -> Iterator[BinaryIO]:
    """Open a file that appears at `path` whole or not at all.

    The bytes go to a temporary file in the same folder, which takes its name only after
    it has reached the disk. It is held while it is written, so that `lightsr.strays` can
    tell it from one that a killed process left.

    Parameters
    ----------
    path : Path
    overwrite : bool
    permissions : int
        Of the file from its first byte on, less what the user's mask takes away.

    Raises
    ------
    OutputError
        `path` exists and `overwrite` is false, or it cannot be written.
    """
    if not overwrite:
        refuse_existing([path])
    try:
        temporary, descriptor, held = strays.create(path.parent, permissions)
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {error.strerror}") from error
    try:
        # By its name, so that whoever writes knows in which folder.
        with open(temporary, "wb", opener=lambda *_: descriptor) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if overwrite:
            temporary.replace(path)
        else:
            _take_name(temporary, path)
    except FileExistsError as error:
        raise OutputError(f"{path}: exists; --force overwrites it", reason="exists") from error
    except OSError as error:
        raise OutputError(f"{path}: cannot be written: {_reason(error)}") from error
    finally:
        temporary.unlink(missing_ok=True)
        os.close(held)


def _reason(error: BaseException | None) -> str:
    """What the system said; pydicom wraps its errors in others, with texts that quote values."""
    while error is not None:
        if isinstance(error, OSError) and error.strerror:
            return error.strerror
        error = error.__cause__
    return "unknown reason"


def _take_name(temporary: Path, path: Path) -> None:
    """Give `temporary` its name without ever replacing a file: a hard link fails where one exists."""
    try:
        path.hardlink_to(temporary)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if os.path.lexists(path):
            raise FileExistsError(path) from None
        temporary.rename(path)
