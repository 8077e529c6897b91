"""Pictures whose attributes hold what no scanner writes."""

import struct

import numpy as np

from tests.runtime.dicom_files import a_cine, a_region, save
from tests.runtime.planted import plant

from .making import GREY, ULTRASOUND, Attack, a_target, edited, element, saved, with_raw


def _raw(group: int, number: int, vr: str, value: bytes, says: str, like: str = "", **changes: object) -> Attack:
    return Attack(with_raw(group, number, vr, value, **changes), says, like)


def _spacing(value: bytes) -> Attack:
    return _raw(0x0028, 0x0030, "DS", value, "PixelSpacing is not 2 positive numbers")


def _uid(
    value: bytes, says: str, like: str = "DCMTK CVE-2022-2119, CVE-2022-2120: files outside of the folder"
) -> Attack:
    return _raw(0x0008, 0x0018, "UI", value, says, like)


def _regions(*items: object, **changes: object) -> Attack:
    says = str(changes.pop("says"))
    return Attack(saved(GREY, SOPClassUID=ULTRASOUND, SequenceOfUltrasoundRegions=list(items), **changes), says)


def _palette(entries: int, content: bytes, says: str, like: str = "", pixels: np.ndarray = GREY) -> Attack:
    tables = {f"{colour}PaletteColorLookupTableData": content for colour in ("Red", "Green", "Blue")}
    described = {f"{colour}PaletteColorLookupTableDescriptor": [entries, 0, 16] for colour in ("Red", "Green", "Blue")}
    make = saved(pixels, SOPClassUID=ULTRASOUND, PhotometricInterpretation="PALETTE COLOR", **tables, **described)
    return Attack(make, says, like)


def _segments(words: list[int], says: str) -> Attack:
    content = np.array(words, "<u2").tobytes()
    tables = {f"Segmented{colour}PaletteColorLookupTableData": content for colour in ("Red", "Green", "Blue")}
    described = {f"{colour}PaletteColorLookupTableDescriptor": [4, 0, 16] for colour in ("Red", "Green", "Blue")}
    make = saved(GREY, SOPClassUID=ULTRASOUND, PhotometricInterpretation="PALETTE COLOR", **tables, **described)
    return Attack(make, says, "a table that its own segments repeat for ever")


def _overlays(
    rows: int, columns: int, content: bytes, groups: int, says: str, like: str = "", frames: int = 1
) -> Attack:
    def make(path):  # type: ignore[no-untyped-def]
        dataset = a_target()
        for group in range(0x6000, 0x6000 + 2 * groups, 2):
            for number, vr, value in (
                (0x10, "US", rows),
                (0x11, "US", columns),
                (0x15, "IS", frames),
                (0x40, "CS", "G"),
                (0x50, "SS", [1, 1]),
                (0x100, "US", 1),
                (0x102, "US", 0),
                (0x3000, "OW", content),
            ):
                dataset.add_new(group << 16 | number, vr, value)
        save(dataset, path)

    return Attack(make, says, like)


def _many_regions(path):  # type: ignore[no-untyped-def]
    regions = [a_region(0, 0, 63, 63)] * 500
    save(a_target(GREY, SOPClassUID=ULTRASOUND, SequenceOfUltrasoundRegions=regions), path)


VALUES = {
    "spacing beyond all numbers": _spacing(b"1e400\\1e400"),
    "spacing that is no number": _spacing(b"nan\\nan "),
    "spacing without end": _spacing(b"inf\\inf "),
    "spacing of zero": _spacing(b"0\\0 "),
    "spacing below zero": _spacing(b"-0.5\\-0.5 "),
    "spacing in 700 digits": _spacing(b"1" * 699 + b"\\" + b"1" * 700),
    "spacing in letters": _raw(0x0028, 0x0030, "DS", b"Zqcomment\\1", "PixelSpacing is not 2 positive numbers"),
    "a position that is no number": _raw(
        0x0020, 0x0032, "DS", b"nan\\nan\\nan ", "ImagePositionPatient is not 3 numbers"
    ),
    "a rescale slope beyond all numbers": _raw(0x0028, 0x1053, "DS", b"1e400 ", ""),
    "a window that is no number": _raw(0x0028, 0x1051, "DS", b"nan ", ""),
    "a series number beyond all numbers": _raw(0x0020, 0x0011, "IS", b"9" * 40, ""),
    "an instance number in 5000 digits": Attack(
        edited(lambda content: content.replace(b"\x20\0\x13\0IS\2\x007 ", element(0x20, 0x13, "IS", b"9" * 5000))),
        "damaged DICOM (OverflowError)",
    ),
    "a number of frames below zero": _raw(
        0x0028, 0x0008, "IS", b"-1", "says that it has -1 frames", SOPClassUID=ULTRASOUND
    ),
    "a number of frames in letters": _raw(
        0x0028, 0x0008, "IS", b"Zqcomment ", "NumberOfFrames is no single whole number", SOPClassUID=ULTRASOUND
    ),
    "two numbers of frames": _raw(
        0x0028, 0x0008, "IS", b"1\\2 ", "NumberOfFrames is no single whole number", SOPClassUID=ULTRASOUND
    ),
    "rows of 32 bits": _raw(
        0x0028,
        0x0010,
        "UL",
        struct.pack("<I", 2**31 + 6),
        "8x2147483654 pixels",
        "Orthanc CVE-2026-5442: the product of sides overflows",
    ),
    "two numbers of rows": _raw(0x0028, 0x0010, "US", b"\6\0\6\0", "Rows is no single whole number"),
    "rows in letters": _raw(0x0028, 0x0010, "LO", b"Zqcomment ", "Rows is no single whole number"),
    "a sequence that is none": _raw(
        0x0028,
        0x3000,
        "LO",
        b"Zqcomment ",
        "Modality LUT",
        "DCMTK CVE-2024-28130: an element taken for what its tag promises",
    ),
    "no bits": Attack(saved(BitsAllocated=0, BitsStored=0), "0 of 0 bits"),
    "bits without end": Attack(saved(BitsAllocated=65_535, BitsStored=65_535, HighBit=65_534), "65535 of 65535 bits"),
    "more stored than allocated": Attack(saved(BitsStored=17, HighBit=16), "17 of 16 bits"),
    "no samples": Attack(saved(SamplesPerPixel=0), "0 samples per pixel"),
    "a photometric interpretation that tells": Attack(
        saved(PhotometricInterpretation="Zqfamily"), "photometric interpretation that is not known"
    ),
    "no pixels at all": Attack(saved(Rows=0), "8x0 pixels"),
    "a character set that nobody knows": _raw(
        0x0010, 0x4000, "LT", b"Zqcomment \xff\xfe", "", SpecificCharacterSet="ISO_IR 999"
    ),
    "bytes that are no text": _raw(
        0x0010,
        0x4000,
        "LT",
        b"Zqcomment \xc0\xaf\xff",
        "not in the file's character set",
        SpecificCharacterSet="ISO_IR 192",
    ),
    "escapes of other character sets": _raw(
        0x0010,
        0x0010,
        "PN",
        b"Zqfamily^\x1b$B\x1b(J\x1b$)C\x1b%G\xff",
        "",
        SpecificCharacterSet=["ISO 2022 IR 6", "ISO 2022 IR 87"],
    ),
    "escapes of a terminal": _raw(0x0010, 0x4000, "LT", b"\x1b[2J\x1b]0;Zqcomment\x07\r\n", ""),
    "a UID that is a path": _uid(b"../../../../tmp/zq-escaped", "SOPInstanceUID is no UID"),
    "a UID from the root": _uid(b"/etc/cron.d/zq-escaped", "SOPInstanceUID is no UID"),
    "a UID with line ends": _uid(b"1.2.3\nlightsr-infer: done\x1b[2J", "SOPInstanceUID is no UID"),
    "a UID in 5000 letters": _uid(b"1." * 2500, "SOPInstanceUID is no UID"),
    "no UID": _uid(b"", "SOPInstanceUID is missing"),
    "a directory of files": Attack(
        saved(SOPClassUID="1.2.840.10008.1.3.10", FileSetID="../../zq-escaped"),
        "a DICOMDIR, which lists files",
        "pydicom CVE-2026-32711: files that a DICOMDIR names outside of its folder",
    ),
    "a palette of few bytes": _palette(
        0, b"\0" * 10, "palette of 65536 entries", "GDCM CVE-2024-22391: a table shorter than its description"
    ),
    "a palette of no bytes": _palette(0, b"", "palette"),
    "values beyond the palette": _palette(
        4, b"\0\0\x55\x55\xaa\xaa\xff\xff", "", "Orthanc CVE-2026-5445, CVE-2026-5443: reads behind the palette"
    ),
    "a palette of segments without end": _segments([0, 1, 5] + [1, 65_535, 9] * 20_000, "do not make 4 entries"),
    "a palette of segments that point to themselves": _segments([0, 1, 5, 2, 65_535, 0, 0], "indirect segments"),
    "an overlay of any size": _overlays(
        65_535, 65_535, b"\0" * 8, 1, "overlay plane 6000 is damaged", "GDCM CVE-2025-52582: reads behind its data"
    ),
    "overlay frames": _overlays(6, 8, b"\0" * 6, 1, "overlay plane 6000 is damaged", frames=2**31 - 1),
    "overlays that fill all memory": _overlays(5600, 5600, bytes(5600 * 5600 // 8), 11, "overlay plane"),
    "regions outside of the picture": _regions(
        a_region(64, 64, 90, 90), says="none of its 1 ultrasound regions lies inside"
    ),
    "regions backwards": _regions(a_region(60, 60, 2, 2), says="ultrasound region from column 60 to 2"),
    "regions without end": _regions(a_region(0, 0, 2**32 - 1, 2**32 - 1), says=""),
    "regions without number": Attack(_many_regions, "500 ultrasound regions"),
    "frames of one pixel": Attack(
        lambda path: save(plant(a_cine(np.zeros((150_000, 1, 1), np.uint8))), path), "150000 frames"
    ),
    "a shutter without corners": _raw(0x0018, 0x1620, "IS", b"1\\2\\Zqcomment", "damaged DICOM"),
}
"""By name."""
