"""Files that lie about lengths, nesting and what they grow to."""

import struct

from lightsr.syntaxes import DEFLATED
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from tests.runtime.dicom_files import save

from .making import (
    EXPLICIT,
    ITEM,
    ITEM_END,
    OPEN,
    SEQUENCE,
    SEQUENCE_END,
    TOLD,
    Attack,
    a_bomb,
    a_target,
    body,
    deflated,
    edited,
    element,
    meta,
    nested,
    saved,
    with_meta,
    with_raw,
    written,
)


def _pixels_at(content: bytes) -> int:
    return content.rindex(b"\xe0\x7f\x10\x00OW")


def _claims_nearly_all(content: bytes) -> bytes:
    start = _pixels_at(content)
    return content[: start + 8] + b"\xf0\xff\xff\xff" + content[start + 12 :]


def _with_preamble(start: bytes, end: bytes = b"") -> Attack:
    return Attack(
        edited(lambda content: start + content[len(start) :] + end),
        "",
        "CVE-2019-11687: a preamble that makes the file a program, or an archive, of another kind as well",
    )


def _deflated_with(behind: bytes, says: str) -> Attack:
    def make(path):  # type: ignore[no-untyped-def]
        path.write_bytes(deflated(body(save(a_target(), path))) + behind)

    return Attack(make, says, "readers differ in whether they inflate what follows the end of a deflated data set")


PE = b"MZ\x90\0" + bytes(56) + struct.pack("<I", 128)
ELF = b"\x7fELF\x02\x01\x01" + bytes(9) + b"\x02\0\x3e\0"
TIFF = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 1) + struct.pack("<HHII", 256, 3, 1, 8) + bytes(4)
ZIP, ZIP_END = b"PK\x03\x04\x14\0", b"PK\x05\x06" + bytes(18)

LENGTHS = {
    "deflate bomb": Attack(
        lambda path: path.write_bytes(a_bomb(160 * 2**20)),
        "deflated, and more than ",
        "pydicom 3.0.2: 1 GiB of memory for 512 KiB of file; DCMTK, GDCM and fo-dicom (#2165) likewise",
    ),
    "deflate bomb behind an honest name": Attack(
        lambda path: path.write_bytes(a_bomb(200 * 2**20, body(save(a_target(), path)))),
        "deflated, and more than ",
    ),
    "deflate bomb within its measure": Attack(
        lambda path: path.write_bytes(_padded_bomb()),
        "deflated, and more than ",
        "what grows 60 times only, but to more than may be in memory",
    ),
    "a second deflated member": _deflated_with(a_bomb(2**20)[146:], "bytes behind the end of its deflated data set"),
    "text behind a deflated data set": _deflated_with(
        b"Zqcomment" * 2, "bytes behind the end of its deflated data set"
    ),
    "a padded deflated data set": _deflated_with(b"\0", ""),
    "deflated blocks of nothing": Attack(
        lambda path: path.write_bytes(meta(DEFLATED) + b"\0\0\0\xff\xff" * 2_000_000),
        "deflated data set that ends early",
    ),
    "nested without end": Attack(
        written(lambda: TOLD + (SEQUENCE + OPEN + ITEM + OPEN) * 5000),
        "nested more than 32 deep",
        "pydicom: RecursionError; others: the stack overflows",
    ),
    "nested without end, of known length": Attack(written(lambda: TOLD + nested(5000)), "nested more than 32 deep"),
    "nested in unknown elements": Attack(
        written(TOLD + (b"\x09\x00\x10\x10UN\0\0" + OPEN + ITEM + OPEN) * 3000),
        "nested more than 32 deep",
    ),
    "length of the pixels": Attack(edited(_claims_nearly_all), "says 4294967280 bytes, 96"),
    "pixels that are cut off": Attack(edited(lambda content: content[:-10]), "says 96 bytes, 86 are there"),
    "pixels of an odd length": Attack(
        edited(lambda content: content[: _pixels_at(content) + 8] + struct.pack("<I", 95) + content[-96:-1]),
        "95 bytes of pixels; its size needs 96",
    ),
    "pixels too few": Attack(
        edited(lambda content: content[: _pixels_at(content) + 8] + struct.pack("<I", 2) + bytes(2)),
        "2 bytes of pixels; its size needs 96",
        "pydicom #2371 and others: reads on behind the pixels, or ends in StopIteration",
    ),
    "no pixels": Attack(edited(lambda content: content[: _pixels_at(content)]), "has no pixels"),
    "pixels within an item alone": Attack(
        edited(
            lambda content: (
                content[: _pixels_at(content)]
                + element(0x0088, 0x0200, "SQ", ITEM + struct.pack("<I", 108) + content[_pixels_at(content) :])
            )
        ),
        "has no pixels",
    ),
    "frames": Attack(
        saved(SOPClassUID="1.2.840.10008.5.1.4.1.1.3.1", NumberOfFrames=2**31 - 1),
        "2147483647 frames; at most 16384 frames are allowed",
    ),
    "a size against no data": Attack(
        saved(Rows=9999, Columns=9999),
        "96 bytes of pixels; its size needs 199960002",
        "GDCM CVE-2024-25569: reads beyond",
    ),
    "length of an element": Attack(
        written(TOLD + b"\x08\x00\x05\x00UT\0\0\xf0\xff\xff\xff" + b"x" * 50),
        "(0008,0005) says 4294967280 bytes, 50 are there",
    ),
    "length in an item": Attack(
        written(TOLD + SEQUENCE + OPEN + ITEM + OPEN + b"\x08\x00\x05\x00UT\0\0\xf0\xff\xff\xff"),
        "(0008,0005) says 4294967280 bytes, 0 are there",
    ),
    "an element beyond its item": Attack(
        written(TOLD + SEQUENCE + OPEN + ITEM + struct.pack("<I", 12) + b"\x08\x00\x05\x00CS\x20\0" + bytes(64)),
        "(0008,0005) says 32 bytes, 4 are there",
    ),
    "an item beyond its sequence": Attack(
        written(TOLD + SEQUENCE + struct.pack("<I", 16) + ITEM + b"\xff\0\0\0" + bytes(8)), "unknown SOP class"
    ),
    "a short element without end": Attack(
        written(meta(ImplicitVRLittleEndian) + b"\x28\x00\x10\x00" + OPEN + bytes(64)),
        "holds (0000,0000) instead of items",
    ),
    "items without number": Attack(
        written(lambda: TOLD + SEQUENCE + OPEN + (ITEM + bytes(4)) * 100_005), "more than 100000 elements"
    ),
    "items without number, of known length": Attack(
        written(lambda: TOLD + SEQUENCE + struct.pack("<I", 8 * 2**22) + (ITEM + bytes(4)) * 2**22),
        "more than 100000 elements",
    ),
    "no items": Attack(written(TOLD + SEQUENCE + OPEN + bytes(64)), "holds (0000,0000) instead of items"),
    "delimiters without a sequence": Attack(
        written(TOLD + (ITEM_END + bytes(4)) * 5000 + SEQUENCE_END), "unknown SOP class"
    ),
    "endless text": Attack(written(TOLD + b"\x08\x00\x05\x00UT\0\0" + OPEN), "ends inside an element"),
    "decimals without number": Attack(
        written(lambda: TOLD + b"".join(element(0x18, number, "DS", b"1\\" * 32_500) for number in range(500))),
        "more than 1 MiB of short values; its element (0018,0010) has 65000 bytes",
        "pydicom: an object of some hundred bytes for each two",
    ),
    "decimals that implicit VR hides": Attack(
        written(lambda: meta(ImplicitVRLittleEndian) + b"\x18\x00\x65\x10" + struct.pack("<I", 2**24) + b"1\\" * 2**23),
        "more than 1 MiB of short values",
    ),
    "much beside the pixels": Attack(
        written(lambda: TOLD + b"\x09\x00\x10\x10OB\0\0" + struct.pack("<I", 2**27) + bytes(2**27)),
        "128 MiB beside the pixels; at most 48 MiB",
    ),
    "all that may stand beside the pixels": Attack(with_raw(0x0042, 0x0011, "OB", lambda: bytes(46 * 2**20)), ""),
    "a text of many megabytes": Attack(
        with_raw(
            0x0040,
            0xA160,
            "UT",
            lambda: "\N{GREEK SMALL LETTER ALPHA}".encode() * 2**24,
            SpecificCharacterSet="ISO_IR 192",
        ),
        "MiB of text",
        "three copies of four bytes a character while it is compared with what would be written",
    ),
    "an element twice": Attack(
        edited(
            lambda content: (
                content[: _pixels_at(content)]
                + element(0x0010, 0x0020, "LO", b"ZQ-4711N")
                + content[_pixels_at(content) :]
            )
        ),
        "(0010,0020) is there twice",
        "readers differ in which patient it is",
    ),
    "floating point": Attack(
        written(TOLD + b"\xe0\x7f\x08\x00OF\0\0\x04\0\0\0" + bytes(4)), "pixels in floating point"
    ),
    "a length that other byte order makes huge": Attack(
        written(meta(ExplicitVRBigEndian) + element(0x0800, 0x0500, "CS", b"ISO_IR 6", 8)), "damaged"
    ),
    "meta information that ends nowhere": Attack(
        written(EXPLICIT + (element(2, 0x0016, "AE", b"ZQAETITLE " * 6000)) * 3), "damaged or too long"
    ),
    "a length in meta information": Attack(
        written(EXPLICIT + element(2, 0x0102, "OB", b"Zqcomment", 0xFFFFFFF0)),
        "damaged or too long",
        "Orthanc CVE-2026-5437: reads behind the meta information",
    ),
    "an unknown representation in meta information": Attack(
        with_meta(element(2, 0x0099, "Q~", bytes(60_000))),
        "",
        "GDCM CVE-2026-3650: memory for what is of no known representation, never freed",
    ),
    "a group length in meta information": Attack(
        edited(lambda content: content[:132] + element(2, 0, "UL", b"\xf0\xff\xff\xff") + content[132:]), ""
    ),
    "two transfer syntaxes": Attack(
        with_meta(element(2, 0x10, "UI", DEFLATED.encode())),
        "2 transfer syntaxes",
    ),
    "no transfer syntax": Attack(written(bytes(128) + b"DICM"), "without a transfer syntax"),
    "a Windows program": _with_preamble(PE),
    "a Linux program": _with_preamble(ELF),
    "a TIFF picture": _with_preamble(TIFF),
    "a ZIP archive": _with_preamble(ZIP, element(0xFFFC, 0xFFFC, "OB", ZIP + b"Zqprivob" + ZIP_END)),
}
"""By name."""


def _padded_bomb() -> bytes:
    """Incompressible bytes and sixty times as many zeros, deflated."""
    import random

    noise = random.Random(0).randbytes(5 * 2**19)
    zeros = 140 * 2**20
    start = element(9, 0x1010, "OB", noise) + element(9, 0x1011, "OB", b"", zeros)
    return deflated(start + bytes(zeros))
