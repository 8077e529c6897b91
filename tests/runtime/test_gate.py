"""Hostile files: each is refused in one line, in little memory and little time."""

import struct
import subprocess
import sys
import time
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lightsr import dicom, gate
from lightsr.errors import ImageError
from lightsr.syntaxes import DEFLATED
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from .dicom_files import a_dataset, compressed, encapsulated, encoded, real_files, rle, save

SECONDS = 20
"""Within which a hostile file is refused, on a busy machine, Python's start included."""

META = bytes(128) + b"DICM\x02\x00\x10\x00UI"


def meta(uid: str) -> bytes:
    raw = uid.encode() + b"\0" * (len(uid) % 2)
    return META + struct.pack("<H", len(raw)) + raw


EXPLICIT = meta("1.2.840.10008.1.2.1")
SEQUENCE = b"\x08\x00\x40\x11SQ\0\0"
ITEM = b"\xfe\xff\x00\xe0"
OPEN = b"\xff\xff\xff\xff"


def in_its_own_process(path: Path) -> tuple[str, float, float]:
    """What reading `path` says there, the process's peak memory in MiB over that of an import, and seconds."""
    script = (
        "import sys, pathlib, numpy, pydicom, pydicom.filereader, PIL.Image, lightsr.dicom as d, lightsr.memory as m\n"
        "from lightsr.errors import ImageError\n"
        "before = m.peak_mib()\n"
        "try:\n"
        "    with d.opened(pathlib.Path(sys.argv[1])) as frames:\n"
        "        [frame for frame in frames]\n"
        "    print('read')\n"
        "except ImageError as error:\n"
        "    print(error)\n"
        "print(m.peak_mib() - before)\n"
    )
    started = time.monotonic()
    command = [sys.executable, "-c", script, str(path)]
    finished = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    message, grown = finished.stdout.splitlines()
    return message, float(grown), time.monotonic() - started


def deflated(content: bytes) -> bytes:
    packer = zlib.compressobj(9, wbits=-15)
    return meta(DEFLATED) + packer.compress(content) + packer.flush()


def body(path: Path) -> bytes:
    """Data set of a file that `save` wrote, without what stands before it."""
    content = path.read_bytes()
    return content[content.index(b"\x08\x00\x08\x00CS") :]


def nested(depth: int) -> bytes:
    """Sequences in sequences, all of known length."""
    content = b""
    for _ in range(depth):
        item = ITEM + struct.pack("<I", len(content)) + content
        content = SEQUENCE + struct.pack("<I", len(item)) + item
    return content


def a_bomb(size: int) -> bytes:
    """A deflated data set of `size` zeros in one element."""
    packer = zlib.compressobj(9, wbits=-15)
    parts = [packer.compress(b"\x09\x00\x10\x10OB\0\0" + struct.pack("<I", size))]
    parts += [packer.compress(bytes(2**20)) for _ in range(size // 2**20)]
    return meta(DEFLATED) + b"".join(parts) + packer.flush()


def cut(content: bytes) -> bytes:
    """The same with Pixel Data that claims nearly all that 32 bits can say."""
    start = content.index(b"\xe0\x7f\x10\x00OW")
    return content[: start + 8] + b"\xf0\xff\xff\xff" + content[start + 12 :]


def of_frames(number: int) -> Callable[[Path], bytes]:
    changes = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.3.1", "NumberOfFrames": number}
    return lambda path: save(a_dataset(**changes), path).read_bytes()


RLE = "1.2.840.10008.1.2.5"
SMALL = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)


def with_pixels(frames: list[bytes], syntax: str = RLE, **changes: int) -> Callable[[Path], bytes]:
    """A file of 64 x 64 pixels, whatever `changes` say, with compressed `frames`."""
    dataset = a_dataset(SMALL, SOPClassUID="1.2.840.10008.5.1.4.1.1.3.1", **changes)
    return lambda path: compressed(dataset, syntax, frames, path).read_bytes()


def lying(content: bytes) -> bytes:
    """A JPEG 2000 picture in one tile that claims 40000 x 40000 pixels."""
    huge = struct.pack(">II", 40_000, 40_000)
    return content[:8] + huge + content[16:24] + huge + content[32:]


HOSTILE: dict[str, tuple[Callable[[Path], bytes], str]] = {
    "deflate bomb": (lambda _: a_bomb(160 * 2**20), "deflated, and more than "),
    "nested without end": (lambda _: EXPLICIT + (SEQUENCE + OPEN + ITEM + OPEN) * 5000, "nested more than 32 deep"),
    "frames": (of_frames(2**31 - 1), "96 bytes of pixels; its size needs 206158430112"),
    "length of the pixels": (lambda path: cut(save(a_dataset(), path).read_bytes()), "says 4294967280 bytes, 96"),
    "length of an element": (
        lambda _: EXPLICIT + b"\x08\x00\x05\x00UT\0\0\xf0\xff\xff\xff" + b"x" * 50,
        "(0008,0005) says 4294967280 bytes, 50 are there",
    ),
    "length in an item": (
        lambda _: EXPLICIT + SEQUENCE + OPEN + ITEM + OPEN + b"\x08\x00\x05\x00UT\0\0\xf0\xff\xff\xff",
        "(0008,0005) says 4294967280 bytes, 0 are there",
    ),
    "an element beyond its item": (
        lambda _: EXPLICIT + SEQUENCE + OPEN + ITEM + struct.pack("<I", 12) + b"\x08\x00\x05\x00CS\x20\0" + bytes(64),
        "(0008,0005) says 32 bytes, 4 are there",
    ),
    "items without number": (
        lambda _: EXPLICIT + SEQUENCE + OPEN + (ITEM + bytes(4)) * 100_005,
        "more than 100000 elements",
    ),
    "items without number, of known length": (
        lambda _: EXPLICIT + SEQUENCE + struct.pack("<I", 8 * 2**22) + (ITEM + bytes(4)) * 2**22,
        "more than 100000 elements",
    ),
    "nested without end, of known length": (lambda _: EXPLICIT + nested(5000), "nested more than 32 deep"),
    "decimals without number": (
        lambda _: EXPLICIT + (b"\x18\x00\x65\x10DS" + struct.pack("<H", 65_000) + b"1\\" * 32_500) * 500,
        "more than 1 MiB of short values; its element (0018,1065) has 65000 bytes",
    ),
    "decimals that implicit VR hides": (
        lambda _: meta(ImplicitVRLittleEndian) + b"\x18\x00\x65\x10" + struct.pack("<I", 2**24) + b"1\\" * 2**23,
        "more than 1 MiB of short values",
    ),
    "no items": (lambda _: EXPLICIT + SEQUENCE + OPEN + bytes(64), "holds (0000,0000) instead of items"),
    "endless text": (lambda _: EXPLICIT + b"\x08\x00\x05\x00UT\0\0" + OPEN, "ends inside an element"),
    "much beside the pixels": (
        lambda _: EXPLICIT + b"\x09\x00\x10\x10OB\0\0" + struct.pack("<I", 2**27) + bytes(2**27),
        "128 MiB beside the pixels; at most 64 MiB",
    ),
    "RLE of another size": (
        with_pixels([rle(SMALL[None])], Rows=9000, Columns=9000),
        "RLE segments that cannot hold 9000x9000 pixels",
    ),
    "a size that nobody has": (with_pixels([rle(SMALL[None])], Rows=40_000, Columns=40_000), "40000x40000 pixels"),
    "JPEG 2000 that lies": (
        with_pixels([lying(encoded(SMALL, "JPEG2000"))], "1.2.840.10008.1.2.4.90"),
        "40000x40000x1, and a header that says 64x64x1",
    ),
    "compressed frames": (
        with_pixels([rle(SMALL[None])], NumberOfFrames=2**31 - 1),
        "2147483647 frames in 1 fragments",
    ),
    "a compressed frame of any length": (
        with_pixels([rle(SMALL[None]) + bytes(2**21)]),
        "compressed bytes; at most 1064960 are allowed",
    ),
    "fragments without number": (
        lambda path: encapsulated(a_dataset(), RLE, (ITEM + bytes(4)) * 200_002, path).read_bytes(),
        "more than 200000 fragments",
    ),
    "floating point": (lambda _: EXPLICIT + b"\xe0\x7f\x08\x00OF\0\0\x04\0\0\0" + bytes(4), "in floating point"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_files(name: str, tmp_path: Path) -> None:
    make, expected = HOSTILE[name]
    path = tmp_path / "a.dcm"
    path.write_bytes(make(path))
    message, grown, seconds = in_its_own_process(path)
    assert expected in message
    assert message.startswith(str(path))
    assert grown < 40
    assert seconds < SECONDS


def test_the_measurement_can_fail(tmp_path: Path) -> None:
    """A file that is read takes the memory of its pixels, and the measurement sees it."""
    pixels = np.zeros((4000, 8000), np.uint16)
    message, grown, _ = in_its_own_process(save(a_dataset(pixels), tmp_path / "a.dcm"))
    assert message == "read"
    assert grown > 60


def test_deflated(samples: Path, tmp_path: Path) -> None:
    path = samples / "image_dfl.dcm"
    assert np.array_equal(dicom.read(path).pixels, pydicom.dcmread(path).pixel_array)
    content = body(save(a_dataset(), tmp_path / "a.dcm"))
    path = tmp_path / "b.dcm"
    path.write_bytes(deflated(content))
    assert np.array_equal(dicom.read(path).pixels, dicom.read(tmp_path / "a.dcm").pixels)
    for damaged, message in ((deflated(content)[:-9], "ends early"), (meta(DEFLATED) + b"\xff" * 50, "damaged")):
        path.write_bytes(damaged)
        with pytest.raises(ImageError, match=message):
            dicom.read(path)


def test_a_deflated_file_of_moderate_length_is_opened_up_to_the_limit(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "b.dcm"
    path.write_bytes(deflated(body(save(a_dataset(np.zeros((300, 300), np.int16)), tmp_path / "a.dcm"))))
    with pytest.raises(ImageError, match="at most 64 times"):
        dicom.read(path)
    monkeypatch.setattr(gate, "MAX_INFLATION", 2000)
    assert dicom.read(path).size == (300, 300)


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_cut_anywhere_a_file_is_refused(syntax: str, tmp_path: Path) -> None:
    item = pydicom.Dataset()
    item.CodeValue = "A"
    dataset = a_dataset(ProcedureCodeSequence=[item])
    dataset["ProcedureCodeSequence"].is_undefined_length = True
    content = save(dataset, tmp_path / "a.dcm", syntax).read_bytes()
    path = tmp_path / "b.dcm"
    for length in range(1, len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ImageError) as caught:
            dicom.read(path)
        assert "\n" not in str(caught.value)


def test_cut_anywhere_in_its_pixels_a_compressed_file_is_refused(tmp_path: Path) -> None:
    content = with_pixels([rle(SMALL[None, :8, :8])], Rows=8, Columns=8)(tmp_path / "a.dcm")
    path = tmp_path / "b.dcm"
    for length in range(content.index(b"\xe0\x7f\x10\x00OB"), len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ImageError), dicom.opened(path) as frames:
            frames[0]


def test_real_files_pass(samples: Path) -> None:
    """The gate finds pixels where pydicom finds them, and refuses no DICOM image that is whole."""
    passed = 0
    for path in real_files(samples):
        try:
            with gate.opened(path) as contents:
                if contents.pixels is not None and contents.pixels.length is not None:
                    contents.stream.seek(contents.pixels.offset)
                    content = contents.stream.read(contents.pixels.length)
                    assert content == pydicom.dcmread(path).PixelData, path
                    passed += 1
        except ImageError as error:
            assert any(word in str(error) for word in ("DICM", "transfer syntax", "cut off", "point", "RT Plan")), error
    assert passed > 20


def test_what_is_no_image_is_called_by_its_name(tmp_path: Path) -> None:
    """However many numbers it holds: it is not damaged."""
    sop_class = b"1.2.840.10008.5.1.4.1.1.481.3\0"
    named = b"\x02\x00\x02\x00UI" + struct.pack("<H", len(sop_class)) + sop_class
    path = tmp_path / "a.dcm"
    path.write_bytes(EXPLICIT + named + (b"\x06\x30\x50\x00DS" + struct.pack("<H", 65_000) + b"1\\" * 32_500) * 50)
    with pytest.raises(ImageError, match="'RT Structure Set Storage'; CR, DX, CT"):
        dicom.read(path)


@given(content=st.binary(max_size=200))
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_read_or_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(EXPLICIT + content)
    with pytest.raises(ImageError):
        dicom.read(path)


def test_files_that_are_too_long(tmp_path: Path) -> None:
    path = save(a_dataset(), tmp_path / "a.dcm")
    with path.open("r+b") as file:
        file.truncate(gate.MAX_FILE_BYTES + 1)  # sparse: takes no room on the disk
    with pytest.raises(ImageError, match="8 GiB; at most 8 GiB are allowed"):
        dicom.read(path)


def test_a_deflated_file_that_zlib_gives_back_late_is_whole(tmp_path: Path) -> None:
    """Nothing is left to read while the rest of it still waits inside zlib."""
    path = tmp_path / "late.dcm"
    for extra in range(0, 200, 7):
        content = bytes(gate.INFLATE_BYTES + extra)
        packer = zlib.compressobj(9, wbits=-zlib.MAX_WBITS)
        packed = packer.compress(content) + packer.flush()
        for given_, ends_early in ((packed, False), (packed[:-20], True)):
            path.write_bytes(given_)
            with path.open("rb") as file:
                if ends_early:
                    with pytest.raises(ImageError, match="ends early"):
                        list(gate._inflate(file, 0, path))
                else:
                    assert b"".join(gate._inflate(file, 0, path)) == content
