"""DICOM data sets without the preamble of a file: what would have to stand in front of them.

Such files are older than PS3.10 of the standard, or were saved by programs that left it
out. Nothing in them says that they are DICOM, or how they are encoded; both are judged by
their first element, and the gate then has to find the whole of it true. Clauses are of PS3.5 of
the DICOM standard unless another part is named.
"""

import io
import struct
from typing import Any, BinaryIO, cast

from lightsr.signatures import PREAMBLE_BYTES
from lightsr.syntaxes import EXPLICIT, IMPLICIT

LAST_FIRST_ELEMENT = 0x16
"""SOP Class UID is (0008,0016), and elements stand in order: no picture begins behind it (7.1)."""

LONGEST_FIRST_VALUE = 1024
"""Bytes of a first element without a representation, above which it is taken for something else.

Those up to the SOP class are short; and two letters in its place would say 16,705 or more.
"""

VRS = frozenset(
    (b"AE AS AT CS DA DS DT FD FL IS LO LT OB OD OF OL OV OW PN SH SL SQ SS ST SV TM UC UI UL UN UR US UT UV").split()
)
"""Value representations (6.2)."""

META_VRS = frozenset({b"UL", b"OB", b"UI"})
"""Of what file meta information begins with: its length, version or SOP class (PS3.10, 7.1)."""


def file_head(uid: str) -> bytes:
    """Preamble and file meta information that state the transfer syntax `uid`, and nothing else (PS3.10, 7.1)."""
    value = uid.encode("ascii")
    value += b"\0" * (len(value) % 2)
    meta = b"\x02\x00\x10\x00UI" + struct.pack("<H", len(value)) + value
    return preamble() + b"\x02\x00\x00\x00UL\x04\x00" + struct.pack("<I", len(meta)) + meta


def preamble() -> bytes:
    """What every DICOM file begins with (PS3.10, 7.1)."""
    return bytes(PREAMBLE_BYTES) + b"DICM"


def missing_head(start: bytes) -> bytes:
    r"""What is missing in front of a file that begins with `start` to make it a DICOM file.

    Parameters
    ----------
    start : bytes
        At least 8, as far as the file has them.

    Returns
    -------
    bytes
        Empty where the file begins with no element of a little-endian data set; the
        preamble alone where it begins with file meta information.

    Examples
    --------
    >>> missing_head(b"\x08\x00\x05\x00CS\x0a\x00ISO_IR 100") == file_head(EXPLICIT)
    True
    >>> missing_head(b"\x08\x00\x05\x00\x0a\x00\x00\x00ISO_IR 100") == file_head(IMPLICIT)
    True
    >>> missing_head(b"\x89PNG\r\n\x1a\n")
    b''
    """
    if len(start) < 8:
        return b""
    group, element, vr = *struct.unpack_from("<HH", start), start[4:6]
    if group == 0x0002 and element <= 0x0002 and vr in META_VRS:
        return preamble()
    if group != 0x0008 or element > LAST_FIRST_ELEMENT:
        return b""
    if vr in VRS:
        return file_head(EXPLICIT)
    length = struct.unpack_from("<I", start, 4)[0]
    return file_head(IMPLICIT) if length <= LONGEST_FIRST_VALUE and not length % 2 else b""


def behind(head: bytes, file: BinaryIO) -> BinaryIO:
    """`file` as if `head` stood in front of it; nothing is copied."""
    return cast(BinaryIO, io.BufferedReader(_Behind(head, file)))


class _Behind(io.RawIOBase):
    """Bytes in front of a file."""

    def __init__(self, head: bytes, file: BinaryIO) -> None:
        self._head, self._file, self._position = head, file, 0
        self.name = file.name

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        if whence == io.SEEK_END:
            offset += len(self._head) + self._file.seek(0, io.SEEK_END)
        elif whence == io.SEEK_CUR:
            offset += self._position
        if offset < 0:
            raise ValueError(f"position {offset} in front of the first byte")
        self._position = offset
        return offset

    def readinto(self, buffer: Any) -> int:
        if self._position < len(self._head):
            content = self._head[self._position : self._position + len(buffer)]
        else:
            self._file.seek(self._position - len(self._head))
            content = self._file.read(len(buffer))
        buffer[: len(content)] = content
        self._position += len(content)
        return len(content)
