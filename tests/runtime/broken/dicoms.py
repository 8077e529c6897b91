"""A few broken DICOM files; `tests.runtime.attacks` has many."""

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from tests.runtime.attacks.making import deflated, start_of
from tests.runtime.dicom_files import a_cine, a_dataset, a_region, compressed, encoded, rle, save
from tests.runtime.enhanced_files import an_enhanced

from .making import Broken, cut

SMALL = np.arange(64, dtype=np.uint8).reshape(8, 8)


def file_of(dataset: Dataset, syntax: str = "1.2.840.10008.1.2.1", frames: list[bytes] | None = None) -> bytes:
    """Bytes of a data set as a file, of compressed `frames` where there are some."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = Path(folder) / "a.dcm"
        if frames is None:
            return save(dataset, path, syntax).read_bytes()
        return compressed(dataset, syntax, frames, path).read_bytes()


def a_file(**changes: Any) -> bytes:
    """A CT slice of 8x6 pixels."""
    return file_of(a_dataset(**changes))


def wholes() -> Iterator[bytes]:
    """Small valid files, compressed ones among them."""
    yield a_file()
    for syntax in ("1.2.840.10008.1.2", "1.2.840.10008.1.2.2"):
        yield file_of(a_dataset(), syntax)
    cine = np.arange(2 * 64).reshape(2, 8, 8).astype(np.uint8)
    yield file_of(a_cine(cine, SequenceOfUltrasoundRegions=[a_region(0, 0, 7, 7)]))
    yield a_file(PixelPaddingValue=-10, PixelPaddingRangeLimit=-8)
    yield file_of(an_enhanced(np.arange(96, dtype=np.uint16).reshape(2, 6, 8)))
    yield a_file()[132:]
    yield deflated(a_file()[start_of(a_file()) :])
    yield file_of(a_cine(cine), "1.2.840.10008.1.2.5", [rle(frame[None]) for frame in cine])
    ultrasound = a_cine(cine[:1], NumberOfFrames=1)
    yield file_of(ultrasound, "1.2.840.10008.1.2.4.50", [encoded(SMALL, "JPEG")])
    yield file_of(ultrasound, "1.2.840.10008.1.2.4.90", [encoded(np.tile(SMALL, (4, 4))[:8, :8], "JPEG2000")])


ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6.1"

GREY = np.random.default_rng(5).integers(0, 256, (32, 32)).astype(np.uint8)


def _with_jpeg(content: bytes) -> Broken:
    """A JPEG of 32x32 pixels as the one frame."""

    def make() -> bytes:
        frame = content + bytes(len(content) % 2)
        return file_of(a_dataset(GREY, SOPClassUID=ULTRASOUND), "1.2.840.10008.1.2.4.50", [frame])

    return Broken(make, "cannot be decoded", ".dcm")


def _jpeg(**options: Any) -> bytes:
    return encoded(GREY, "JPEG", **options)


def _changed(says: str, **changes: Any) -> Broken:
    return Broken(lambda: a_file(**changes), says, ".dcm")


def _fields() -> Iterator[tuple[str, int]]:
    """The first elements of the file meta information and of the data set, and the pixels."""
    content = a_file()
    yield from (("its preamble", 0), ("DICM", 128))
    start, pixels = start_of(content), content.index(b"\xe0\x7f\x10\x00")
    for name, place in (("its first element", 132), ("its data set", start), ("its pixels' element", pixels)):
        yield from (
            (f"{part} of {name}", place + at) for part, at in (("the tag", 0), ("the type", 4), ("the length", 6))
        )
    yield from (("the pixels", pixels + 12), ("half of the pixels", (pixels + 12 + len(content)) // 2))


DICOM: dict[str, Broken] = {
    **cut("DICOM", a_file(), _fields(), ".dcm"),
    "DICOM of 65535x65535 pixels": _changed("million", Rows=65_535, Columns=65_535),
    "DICOM of 9000x9000 pixels in a few bytes": _changed("its size needs", Rows=9000, Columns=9000),
    "DICOM of more frames than it has": Broken(
        lambda: file_of(a_cine(np.zeros((2, 8, 8), np.uint8), NumberOfFrames=3)), "its size needs", ".dcm"
    ),
    "DICOM with a JPEG cut, and ended properly": _with_jpeg(_jpeg()[:-300] + b"\xff\xd9"),
    "DICOM whose pixels' element has no type": Broken(
        lambda: a_file().replace(b"\xe0\x7f\x10\x00OW", b"\xe0\x7f\x10\x00??"), "", ".dcm"
    ),
}
"""Compressed ones with a proper JPEG are in `tests.runtime.test_decoder`."""
