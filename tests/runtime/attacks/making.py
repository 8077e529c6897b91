"""Bytes that no honest writer writes, and what every attack of the corpus says about itself."""

import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from lightsr.syntaxes import DEFLATED
from PIL import Image
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.encaps import encapsulate
from pydicom.tag import Tag

from tests.runtime.dicom_files import a_cine, a_dataset, rle, save
from tests.runtime.planted import plant

RLE = "1.2.840.10008.1.2.5"
JPEG = "1.2.840.10008.1.2.4.50"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
J2K = "1.2.840.10008.1.2.4.90"
HTJ2K = "1.2.840.10008.1.2.4.201"
ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6.1"

SMALL = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
GREY = (SMALL >> 4).astype(np.uint8)
COLOUR = np.stack([GREY, GREY[::-1], 255 - GREY], axis=-1)

META = bytes(128) + b"DICM\x02\x00\x10\x00UI"
SEQUENCE = b"\x08\x00\x40\x11SQ\0\0"
ITEM, ITEM_END, SEQUENCE_END = b"\xfe\xff\x00\xe0", b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0\0\0\0\0"
OPEN = b"\xff\xff\xff\xff"
"""Length that says: up to a delimiter (PS3.5, 7.1.2)."""


@dataclass(frozen=True)
class Attack:
    """A hostile file.

    Parameters
    ----------
    make : callable
        Writes it.
    says : str
        Part of the one line that refuses it; "" where it is a picture all the same, and is enlarged.
    like : str
        Whom it has hit, or would.
    """

    make: Callable[[Path], object]
    says: str
    like: str = ""


def meta(uid: str) -> bytes:
    """Preamble and file meta information of a transfer syntax alone."""
    raw = uid.encode() + b"\0" * (len(uid) % 2)
    return META + struct.pack("<H", len(raw)) + raw


EXPLICIT = meta("1.2.840.10008.1.2.1")


def element(group: int, number: int, vr: str, value: bytes, length: int | None = None) -> bytes:
    """An explicit little-endian element; `length` is what it claims."""
    length = len(value) if length is None else length
    head = struct.pack("<HH", group, number) + vr.encode()
    if vr in ("OB", "OW", "SQ", "UC", "UN", "UR", "UT"):
        return head + b"\0\0" + struct.pack("<I", length) + value
    return head + struct.pack("<H", length) + value


SAID_FIRST = element(0x0010, 0x0010, "PN", b"Doe^Secret") + element(0x0010, 0x0020, "LO", b"SECRET-4711 ")
"""A name and an ID in front of what is hostile."""

TOLD = EXPLICIT + SAID_FIRST


def written(content: bytes | Callable[[], bytes]) -> Callable[[Path], object]:
    """Of bytes, or of many that are made when they are wanted."""
    return lambda path: path.write_bytes(content if isinstance(content, bytes) else content())


def a_target(pixels: np.ndarray | None = None, **changes: Any) -> Dataset:
    """A picture with secrets planted everywhere."""
    dataset = a_dataset(pixels, **changes)
    return plant(dataset)


def saved(pixels: np.ndarray | None = None, **changes: Any) -> Callable[[Path], object]:
    """A picture of which `changes` are hostile."""
    return lambda path: save(a_target(pixels, **changes), path)


def with_raw(
    group: int, number: int, vr: str, value: bytes | Callable[[], bytes], **changes: Any
) -> Callable[[Path], object]:
    """A picture with an element as its bytes are, which may be made when they are wanted."""

    def make(path: Path) -> None:
        dataset = a_target(**changes)
        tag = Tag(group, number)
        content = value if isinstance(value, bytes) else value()
        dataset[tag] = RawDataElement(tag, vr, len(content), content, 0, False, True)
        save(dataset, path)

    return make


def start_of(content: bytes) -> int:
    """Where the data set of a made file begins, behind its file meta information."""
    position = 132
    while content[position : position + 2] == b"\x02\0":
        wide = content[position + 4 : position + 6] == b"OB"
        length = content[position + 8 : position + 12] if wide else content[position + 6 : position + 8]
        position += (12 if wide else 8) + int.from_bytes(length, "little")
    return position


def with_meta(added: bytes) -> Callable[[Path], object]:
    """A picture whose file meta information ends with `added`."""

    def change(content: bytes) -> bytes:
        start = start_of(content)
        return content[:start] + added + content[start:]

    return edited(change)


def edited(change: Callable[[bytes], bytes], **changes: Any) -> Callable[[Path], object]:
    """A picture whose bytes are changed afterwards."""

    def make(path: Path) -> None:
        path.write_bytes(change(save(a_target(**changes), path).read_bytes()))

    return make


def with_pixels(
    frames: Callable[[], list[bytes]], syntax: str = RLE, pixels: np.ndarray = SMALL, **changes: Any
) -> Callable[[Path], object]:
    """Compressed `frames`, each in a fragment, under a header of `pixels`, whatever `changes` say."""
    return with_items(lambda: encapsulate(frames(), has_bot=True), syntax, pixels, **changes)


def with_items(
    content: Callable[[], bytes], syntax: str = RLE, pixels: np.ndarray = SMALL, **changes: Any
) -> Callable[[Path], object]:
    """The same with items as they are; their length is left open, and so is their end."""

    def make(path: Path) -> None:
        dataset = a_target(pixels, SOPClassUID=ULTRASOUND, **changes)
        del dataset.PixelData
        save(dataset, path, syntax)
        with path.open("ab") as file:
            file.write(b"\xe0\x7f\x10\x00OB\0\0" + OPEN + content() + SEQUENCE_END)

    return make


def item(content: bytes, length: int | None = None) -> bytes:
    """A fragment; `length` is what it claims."""
    return ITEM + struct.pack("<I", len(content) if length is None else length) + content


def a_rle_cine(count: int) -> list[bytes]:
    """Honest RLE frames of `SMALL`."""
    return [rle(SMALL[None])] * count


def deflated(content: bytes) -> bytes:
    """A file of the deflated data set `content`."""
    packer = zlib.compressobj(9, wbits=-15)
    return meta(DEFLATED) + packer.compress(content) + packer.flush()


def body(path: Path) -> bytes:
    """Data set of a file that `save` wrote, without what stands before it."""
    content = path.read_bytes()
    return content[start_of(content) :]


def a_bomb(size: int, start: bytes = b"") -> bytes:
    """A deflated data set of `start` and `size` zeros in one element."""
    packer = zlib.compressobj(9, wbits=-15)
    parts = [packer.compress(start + b"\x09\x00\x10\x10OB\0\0" + struct.pack("<I", size))]
    parts += [packer.compress(bytes(2**20)) for _ in range(size // 2**20)]
    return meta(DEFLATED) + b"".join(parts) + packer.flush()


def nested(depth: int) -> bytes:
    """Sequences in sequences, all of known length."""
    content = b""
    for _ in range(depth):
        content = SEQUENCE + struct.pack("<I", 8 + len(content)) + ITEM + struct.pack("<I", len(content)) + content
    return content


def encoded(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    """Pixels as Pillow's "JPEG" or "JPEG2000", a bare codestream."""
    buffer = BytesIO()
    extra = {"no_jp2": True} if kind == "JPEG2000" else {}
    Image.fromarray(pixels).save(buffer, format=kind, **extra, **options)
    return buffer.getvalue()


def patched(content: bytes, at: int, new: bytes) -> bytes:
    """`content` with other bytes at a place."""
    return content[:at] + new + content[at + len(new) :]


def a_cine_file(count: int, side: int, **changes: Any) -> Callable[[Path], object]:
    """Many small frames of nothing."""
    return lambda path: save(plant(a_cine(np.zeros((count, side, side), np.uint8), **changes)), path)
