"""First bytes of files, by which their format is told without what reads it."""

import zlib

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"

JPEG_SIGNATURE = b"\xff\xd8\xff"

TIFF_MARKS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""Of a TIFF, and of a BigTIFF, in both byte orders."""

NPY_MAGIC = b"\x93NUMPY"

GZIP_MAGIC = b"\x1f\x8b\x08"


PREAMBLE_BYTES = 128
"""Free bytes before the letters DICM (PS3.10, 7.1)."""

NIFTI_BYTES = {1: 348, 2: 540}
"""Length of a NIfTI header by version."""


def is_png(head: bytes) -> bool:
    """Whether a file that begins with `head` is a PNG."""
    return head.startswith(PNG_SIGNATURE)


def is_jpeg(head: bytes) -> bool:
    """Whether a file that begins with `head` is a JPEG."""
    return head.startswith(JPEG_SIGNATURE)


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins with `head` (at least 132 bytes) is DICOM (PS3.10, 7.1)."""
    return head[PREAMBLE_BYTES : PREAMBLE_BYTES + 4] == b"DICM"


def is_tiff(head: bytes) -> bool:
    """Whether a file that begins with `head` is a TIFF or BigTIFF."""
    return head[:4] in TIFF_MARKS


def nifti_version(head: bytes) -> int:
    """Version of the NIfTI header that `head` begins with, 0 where it is none; a .hdr of a pair counts."""
    if head[344:348] in (b"n+1\0", b"ni1\0"):
        return 1
    return 2 if head[4:12] in (b"n+2\0\r\n\x1a\n", b"ni2\0\r\n\x1a\n") else 0


def is_nifti(head: bytes) -> bool:
    """Whether a file that begins with `head` is a NIfTI that is not compressed."""
    return nifti_version(head) > 0


def is_gzipped_nifti(head: bytes) -> bool:
    """Whether a file that begins with `head` is a NIfTI inside gzip (RFC 1952)."""
    if not head.startswith(GZIP_MAGIC):
        return False
    try:
        return is_nifti(zlib.decompressobj(wbits=31).decompress(head, NIFTI_BYTES[2]))
    except zlib.error:
        return False


def is_npy(head: bytes) -> bool:
    """Whether a file that begins with `head` is an NPY."""
    return head.startswith(NPY_MAGIC)
