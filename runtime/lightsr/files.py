"""From a path to an `Image`, by what the file holds, and safely back to a path."""

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from lightsr import signatures, strays
from lightsr.errors import ImageError, LightsrError, OutputError
from lightsr.image import Frames, Image
from lightsr.options import DEFAULTS, DicomOptions
from lightsr.provenance import Producer

HEAD_BYTES = 4096
"""Bytes that tell a file's kind: DICOM has "DICM" at 128 (PS3.10, 7.1), NIfTI-1 its mark at 344, also behind gzip."""


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
    reader, writer : callable
        Give the modules that open such files and write their results. They are imported when a file
        needs them: start-up counts.
    suffixes : frozenset of str
        Ends of the names of such files, in lower case.
    result : str
        End of the names of its results where these are of another format, else "".
    """

    name: str
    holds: Callable[[bytes], bool]
    reader: Callable[[], Any]
    writer: Callable[[], Any]
    suffixes: frozenset[str]
    result: str = ""

    def opened(
        self, path: Path, *, options: DicomOptions = DEFAULTS, room: int | None = None
    ) -> AbstractContextManager[Frames]:
        """Open a file of this format; its frames can be read until the context ends.

        `room` is what may be held in memory of a file that must be opened before it can be told what it needs.
        """
        context: AbstractContextManager[Frames] = self.reader().opened(path, options=options, room=room)
        return context

    def write(
        self,
        frames: Frames,
        enlarged: Iterable[NDArray[Any]],
        *,
        scale: int,
        producer: Producer,
        options: DicomOptions = DEFAULTS,
        file: BinaryIO,
    ) -> None:
        """Write the enlarged bands of a file's frames, each frame's from top to bottom.

        Of a frame of shape (h, w[, 3]) they are arrays of shape (n, scale * w[, 3]) in `frames.dtype`, any n.
        """
        self.writer().write(frames, enlarged, scale=scale, producer=producer, options=options, file=file)

    def writing_bytes(self, frames: Frames, scale: int, options: DicomOptions = DEFAULTS) -> int:
        """Memory that `write` takes beside the bands."""
        return int(self.writer().writing_bytes(frames, scale, options))

    @property
    def result_suffixes(self) -> frozenset[str]:
        """Ends of names that results may have."""
        return frozenset({self.result}) if self.result else self.suffixes


def _dicom() -> Any:
    from lightsr import dicom

    return dicom


def _derive() -> Any:
    from lightsr import derive

    return derive


def _raster() -> Any:
    from lightsr import raster

    return raster


def _tiff() -> Any:
    from lightsr import tiff

    return tiff


def _nifti() -> Any:
    from lightsr import nifti

    return nifti


def _npy() -> Any:
    from lightsr import npy

    return npy


DICOM = Format("DICOM", signatures.is_dicom, _dicom, _derive, frozenset({".dcm", ".dicom", ".ima"}))

FORMATS = (
    DICOM,  # first: its preamble may be the beginning of any other format, and does not decide (PS3.10, 7.1)
    Format("PNG", signatures.is_png, _raster, _raster, frozenset({".png"})),
    Format("JPEG", signatures.is_jpeg, _raster, _raster, frozenset({".jpg", ".jpeg"}), result=".png"),
    Format("TIFF", signatures.is_tiff, _tiff, _tiff, frozenset({".tif", ".tiff"})),
    Format("NIfTI", signatures.is_nifti, _nifti, _nifti, frozenset({".nii"})),
    Format("gzipped NIfTI", signatures.is_gzipped_nifti, _nifti, _nifti, frozenset({".nii.gz"})),
    Format("NPY", signatures.is_npy, _npy, _npy, frozenset({".npy"})),
)

SUFFIXES = frozenset({".bmp", ".gif", ".gz", ".hdr", ".img", ".npz", ".webp"}).union(
    *(known.suffixes for known in FORMATS)
)
"""Ends of names that promise a format."""


def detect(path: Path, options: DicomOptions = DEFAULTS) -> Format:
    """Format of a file; its content decides, not its name.

    A DICOM data set without its preamble can only be presumed, and is one only with `options.force_read`.

    Raises
    ------
    ImageError
        Not there, not readable, or of no format in `FORMATS`.
    """
    start = head(path)
    for known in FORMATS:
        if known.holds(start):
            return known
    from lightsr import gate  # of what is none of these: perhaps a data set alone

    if gate.is_bare(start):
        if options.force_read:
            return DICOM
        raise ImageError(f"{path}: perhaps a DICOM data set, without its 128-byte preamble; --force-read reads it")
    from lightsr import foreign

    name, cure = foreign.named(start)
    which = "" if options.force_read else " (with its 128-byte preamble)"
    found = f"{name}, and neither" if name else "neither"
    raise ImageError(f"{path}: {found} PNG, JPEG, TIFF, NIfTI, NPY nor DICOM{which}; {cure}")


def promised(path: Path) -> str:
    """End of a name that promises a format, in lower case, the longest there is; else ""."""
    name = path.name.lower()
    return max((suffix for suffix in SUFFIXES if name.endswith(suffix)), key=len, default="")


def promises_another(target: Path) -> bool:
    """Whether the name promises a format whose results are of another: such a file is no result."""
    return any(known.result and promised(target) in known.suffixes for known in FORMATS)


def other_results(target: Path) -> set[Path]:
    """Where `result_path` may put a result in a folder instead of `target`, by what the source turns out to hold."""
    return {target.with_name(target.name + known.result) for known in FORMATS if known.result}


def expected_result(source: Path, target: Path) -> Path:
    """Where the result of a file goes, as far as its first bytes tell."""
    try:
        return result_path(detect(source), source, target)
    except LightsrError:  # there will be none
        return target


def result_path(kind: Format, source: Path, target: Path) -> Path:
    """Where the result of a file goes that should go to `target`.

    That is `target` but for a format whose results are of another: under its source's name
    a result gets its own suffix behind that, so that a.jpg and a.png do not meet.

    Raises
    ------
    OutputError
        The name promises another format than the result's.
    """
    if kind.result and target.name == source.name and not target.name.lower().endswith(kind.result):
        return target.with_name(target.name + kind.result)
    suffix = promised(target)
    if suffix and suffix not in kind.result_suffixes and (kind.result or suffix != promised(source)):
        allowed = " or ".join(sorted(kind.result_suffixes))
        becomes = kind.result[1:].upper() if kind.result else kind.name
        raise OutputError(f"{target}: {kind.name} in gives {becomes} out; give it a name that ends in {allowed}")
    return target


def opened(path: Path, options: DicomOptions = DEFAULTS) -> AbstractContextManager[Frames]:
    """Open a file of one of `FORMATS`; its frames can be read until the context ends.

    Raises
    ------
    ImageError
        Unknown, damaged, or refused because its meaning would be lost.
    """
    return detect(path, options).opened(path, options=options)


def read(path: Path, *, frame: int | None = None, options: DicomOptions = DEFAULTS) -> Image:
    """Read one picture of a file of one of `FORMATS`.

    Parameters
    ----------
    path : Path
    frame : int, optional
        Which one, counted from 0; needed for a file of several.
    options : DicomOptions
        What else may be read.

    Raises
    ------
    ImageError
        As `opened`; or several frames, or no such frame.
    """
    with opened(path, options) as frames:
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
    temporary, held = strays.name(path.parent), -1
    try:
        descriptor, held = strays.create(temporary, permissions)
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
        with contextlib.suppress(OSError):  # not made, in a place where nothing can be made
            temporary.unlink(missing_ok=True)
        if held >= 0:
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
