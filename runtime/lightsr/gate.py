"""The gate in front of pydicom: what a DICOM file claims about its own lengths is checked first.

pydicom allocates what an element says about its length and inflates without bound. Nothing
reaches it before this module, which needs the standard library alone, has found every such
claim true. Clauses are of PS3.5 of the DICOM standard unless another part is named.
"""

import contextlib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from lightsr import bare, kinds
from lightsr.elements import LONG_LENGTH_VRS, FrameGroupsElement, PixelElement, Walk
from lightsr.errors import ImageError, MemoryLimitError
from lightsr.memory import PARENT_BYTES
from lightsr.signatures import PREAMBLE_BYTES as PREAMBLE_BYTES
from lightsr.signatures import is_dicom
from lightsr.syntaxes import ALLOWED, DEFLATED, EXPLICIT, TRANSFER_SYNTAXES, TransferSyntax, name_of

MAX_META_BYTES = 65_536
"""Longest file meta information that is searched for the transfer syntax."""

MAX_FILE_BYTES = 8 * 2**30
"""Length above which a file is refused."""

MAX_INFLATED_BYTES = 128 * 2**20
MAX_INFLATION = 64
"""A deflated data set is opened, in memory, up to the smaller of these: bytes, and times the file's length."""

DEFLATED_MIB = 128
"""Memory beside an opened deflated data set with which small tiles of every bundled model fit."""

TRAILER_BYTES = 8
"""That may follow a deflated data set: check sum and length, as gzip writes them."""

INFLATE_BYTES = 2**20
"""How much of a deflated data set is opened at a time."""


@dataclass(frozen=True)
class Contents:
    """An opened file that may be given to pydicom.

    Parameters
    ----------
    path : Path
    stream : binary file
        The file, or, of a deflated one, the same data set as an explicit little-endian file; of one
        without its preamble, the file behind what was missing.
    syntax : TransferSyntax
        As the file states it, or as it was judged.
    pixels : PixelElement or None
    frame_groups : FrameGroupsElement or None
        Functional groups of frames (PS3.3 C.7.6.16).
    header_end : int
        Where the pixels' element begins.
    bare : bool
        Whether the preamble was missing.
    inflated_bytes : int
        Length of a deflated data set that is in memory.
    """

    path: Path
    stream: BinaryIO
    syntax: TransferSyntax
    pixels: PixelElement | None
    frame_groups: FrameGroupsElement | None = None
    header_end: int = 0
    bare: bool = False
    inflated_bytes: int = 0

    def header_stream(self) -> BinaryIO:
        """The file up to its pixels, without functional groups of frames: they grow with the number of frames."""
        self.stream.seek(0)
        if self.frame_groups is None:
            return self.stream
        head = self.stream.read(self.frame_groups.start)
        self.stream.seek(self.frame_groups.end)
        return BytesIO(head + self.stream.read(self.header_end - self.frame_groups.end))


@contextlib.contextmanager
def opened(path: Path, *, force: bool = False, room: int | None = None) -> Iterator[Contents]:
    """Open a DICOM file if all that it says about lengths is true.

    Parameters
    ----------
    path : Path
    force : bool
        Also one without its preamble; see `lightsr.bare`.
    room : int, optional
        Bytes of memory that a deflated data set may take.

    Yields
    ------
    Contents
        Valid until the context ends.

    Raises
    ------
    ImageError
        Not a regular file, too long, no or two transfer syntaxes or one that is not in
        `lightsr.syntaxes.TRANSFER_SYNTAXES`, elements that reach beyond the file, deep nesting, a data
        set that inflates without measure.
    """
    if not path.is_file():
        raise ImageError(f"{path}: {'not a regular file' if path.exists() else 'no such file'}")
    with path.open("rb") as file:
        length = file.seek(0, 2)
        if length > MAX_FILE_BYTES:
            raise ImageError(f"{path}: {length // 2**30} GiB; at most {MAX_FILE_BYTES // 2**30} GiB are allowed")
        stream: BinaryIO = file
        missing = _missing_head(file) if force else b""
        if missing:
            stream = bare.behind(missing, file)
            length += len(missing)
        uid, sop_class, start = _file_meta(stream, path)
        if sop_class == kinds.MEDIA_DIRECTORY:
            raise kinds.refusal(sop_class, path)
        if uid not in TRANSFER_SYNTAXES:
            raise ImageError(f"{path}: transfer syntax {name_of(uid)}; {ALLOWED}; decompress it first")
        syntax = TRANSFER_SYNTAXES[uid]
        inflated = 0
        if uid == DEFLATED:
            stream, start = _inflated(stream, start, length, path, room)
            length = inflated = stream.seek(0, 2)
        walk = Walk(stream, length, path, little=syntax.little)
        try:
            pixels = walk.to_pixels(start, implicit=syntax.implicit)
        except ImageError as error:  # contours of many megabytes are right where they belong
            raise (kinds.refusal(sop_class, path) if sop_class not in ("", *kinds.SOP_CLASSES) else error) from None
        stream.seek(0)
        yield Contents(path, stream, syntax, pixels, walk.frame_groups, walk.header_end, bool(missing), inflated)


def is_bare(head: bytes) -> bool:
    """Whether a file that begins with `head` may be a DICOM data set without its preamble."""
    return not is_dicom(head) and bool(bare.missing_head(head))


def _missing_head(file: BinaryIO) -> bytes:
    file.seek(0)
    start = file.read(PREAMBLE_BYTES + 4)
    return bare.missing_head(start) if is_bare(start) else b""


def _file_meta(file: BinaryIO, path: Path) -> tuple[str, str, int]:
    """Transfer syntax and SOP class from the file meta information, and where the data set begins (PS3.10, 7.1)."""
    file.seek(0)
    content = file.read(PREAMBLE_BYTES + 4 + MAX_META_BYTES)
    if not is_dicom(content):
        raise ImageError(f"{path}: no DICOM file: the letters DICM are missing after its preamble")
    position, found, sop_class = PREAMBLE_BYTES + 4, [], ""
    while position + 8 <= len(content) and content[position : position + 2] == b"\x02\x00":
        element, vr = content[position + 2 : position + 4], content[position + 4 : position + 6]
        wide = vr in LONG_LENGTH_VRS
        start = position + (12 if wide else 8)
        length = int.from_bytes(content[start - (4 if wide else 2) : start], "little")
        value = content[start : start + min(length, 64)].rstrip(b"\0 ").decode("ascii", "replace")
        if element == b"\x10\x00":
            found.append(value)
        elif element == b"\x02\x00":
            sop_class = value
        position = start + length
    if position > len(content):
        raise ImageError(f"{path}: file meta information that is damaged or too long; nothing was read from it")
    if len(found) > 1:  # readers differ in which one they believe
        raise ImageError(f"{path}: DICOM with {len(found)} transfer syntaxes; exactly one is allowed")
    if not found:
        raise ImageError(f"{path}: DICOM without a transfer syntax in its file meta information; nothing was read")
    return found[0], sop_class, position


def _inflated(file: BinaryIO, start: int, length: int, path: Path, room: int | None) -> tuple[BinaryIO, int]:
    """The file that a deflated one stands for (A.5), in memory, and where its data set begins.

    Its length is counted first, and nothing kept meanwhile: a bomb costs time, not memory.
    """
    limit = min(MAX_INFLATED_BYTES, MAX_INFLATION * length)
    needed = 0
    for part in _inflate(file, start, path):
        needed += len(part)
        if needed > limit:
            raise ImageError(
                f"{path}: deflated, and more than {limit // 2**20} MiB when it is opened; at most {MAX_INFLATION} "
                f"times the file and {MAX_INFLATED_BYTES // 2**20} MiB are allowed; decompress it first"
            )
    if room is not None and needed > room:
        raise MemoryLimitError(
            f"{path}: deflated, and {needed >> 20} MiB when it is opened, for which {room >> 20} MiB of memory are "
            f"allowed; give --max-memory {(needed >> 20) + DEFLATED_MIB}M or more, with --jobs "
            f"{PARENT_BYTES >> 20}M more",
            allowed=room,
            needed=needed,
        )
    head = bare.file_head(EXPLICIT)
    stream = BytesIO()
    stream.write(head)
    for part in _inflate(file, start, path):
        stream.write(part)
    return stream, len(head)


def _inflate(file: BinaryIO, start: int, path: Path) -> Iterator[bytes]:
    """Parts of a deflated data set, each at most `INFLATE_BYTES`."""
    file.seek(start)
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        while not inflater.eof:
            packed = inflater.unconsumed_tail or file.read(65_536)
            part = inflater.decompress(packed, INFLATE_BYTES)  # also of nothing: it may hold some back
            if not packed and not part and not inflater.eof:
                raise ImageError(f"{path}: a deflated data set that ends early; nothing was read from it")
            yield part
        rest = (inflater.unused_data or file.read(65_536))[TRAILER_BYTES:]
        while rest:
            if rest.strip(b"\0"):  # a zero may fill up to an even length; of anything else readers differ
                raise ImageError(f"{path}: bytes behind the end of its deflated data set; nothing was read from it")
            rest = file.read(65_536)
    except zlib.error as error:
        raise ImageError(f"{path}: a damaged deflated data set; nothing was read from it") from error
