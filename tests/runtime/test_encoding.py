"""Compressed results: every frame decodes to the very bits that were given, by decoders that did not write it."""

import importlib.util
import io
import json
import struct
import subprocess
import sys
from array import array
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from lightsr import derive, dicom, encoding
from lightsr.cli import main
from lightsr.codestream import checked
from lightsr.decoder import words
from lightsr.decoding import Task, decode_rle, unpack
from lightsr.errors import ImageError
from lightsr.image import Frames
from lightsr.options import Compression, DicomOptions
from lightsr.pixels import described, values_of
from lightsr.syntaxes import J2K_LOSSLESS, RLE, TRANSFER_SYNTAXES
from PIL import Image as PillowImage

from .dicom_files import PRODUCER, a_cine, a_dataset, compressed, encoded, rle, save

COMPRESSED: tuple[Compression, ...] = ("rle", "j2k-lossless")

needs_openjpeg = pytest.mark.skipif(importlib.util.find_spec("openjpeg") is None, reason="needs lightsr[dicom]")


def written(path: Path, compress: Compression, **options: Any) -> tuple[bytes, np.ndarray]:
    """A result of x2, and the pixels that went into it."""
    buffer = io.BytesIO()
    with dicom.opened(path) as frames:
        pixels = [image.pixels.repeat(2, 0).repeat(2, 1) for image in frames]
        chosen = DicomOptions(compress=compress, **options)
        derive.write(frames, pixels, scale=2, producer=PRODUCER, options=chosen, file=buffer)
    return buffer.getvalue(), np.array(pixels) if len(pixels) > 1 else pixels[0]


def noise(shape: tuple[int, ...], bits: int, *, signed: bool = False) -> np.ndarray:
    """Values over all of their bits, with runs, in the type that a file holds them in."""
    low, high = (-(1 << bits - 1), (1 << bits - 1) - 1) if signed else (0, (1 << bits) - 1)
    values = np.random.default_rng(bits).integers(low, high, shape, endpoint=True)
    values[2:5] = values[2, :1]
    values.flat[:2] = low, high
    return values.astype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2}")


FILES: dict[str, Any] = {
    "unsigned 8": lambda: a_dataset(noise((17, 19), 8)),
    "signed 8": lambda: a_dataset(noise((17, 19), 8, signed=True)),
    "unsigned 8 of 16": lambda: a_dataset(noise((17, 19), 8).astype(np.uint16), BitsStored=8, HighBit=7),
    "signed 8 of 16": lambda: a_dataset(noise((17, 19), 8, signed=True).astype(np.int16), BitsStored=8, HighBit=7),
    **{
        f"{'signed' if signed else 'unsigned'} {bits}": lambda bits=bits, signed=signed: a_dataset(
            noise((17, 19), bits, signed=signed), BitsStored=bits, HighBit=bits - 1
        )
        for bits in (9, 10, 12, 15, 16)
        for signed in (False, True)
    },
    "inverted": lambda: a_dataset(
        noise((17, 19), 12), BitsStored=12, HighBit=11, PhotometricInterpretation="MONOCHROME1"
    ),
    "colour": lambda: a_dataset(
        noise((17, 19, 3), 8), SOPClassUID="1.2.840.10008.5.1.4.1.1.7", ImagePositionPatient=None, PixelSpacing=None
    ),
    "cine": lambda: a_cine(noise((3, 17, 19), 8)),
    "cine of words": lambda: a_cine(noise((3, 17, 19), 12), BitsStored=12, HighBit=11),
    "colour cine": lambda: a_cine(noise((3, 17, 19, 3), 8)),
}


@needs_openjpeg
@pytest.mark.parametrize("compress", COMPRESSED)
@pytest.mark.parametrize("name", FILES)
def test_nothing_is_lost(name: str, compress: Compression, tmp_path: Path) -> None:
    """Nor is anything else said than uncompressed, but for how the pixels stand there."""
    path = save(FILES[name](), tmp_path / "a.dcm")
    content, pixels = written(path, compress)
    plain = pydicom.dcmread(io.BytesIO(written(path, "none")[0]))
    result = pydicom.dcmread(io.BytesIO(content))
    assert np.array_equal(result.pixel_array, pixels)
    assert result.pixel_array.dtype == pixels.dtype
    assert np.array_equal(np.squeeze(ours(content)), pixels)
    assert result.file_meta.TransferSyntaxUID == {"rle": RLE, "j2k-lossless": J2K_LOSSLESS}[compress]
    assert result["PixelData"].VR == "OB"
    assert result["PixelData"].is_undefined_length
    colour = "colour" in name
    assert result.PhotometricInterpretation == (
        "YBR_RCT" if colour and compress != "rle" else plain.PhotometricInterpretation
    )
    changing = {"PixelData", "PhotometricInterpretation", "InstanceCreationTime", "ContentTime"}
    for element in plain:
        if element.keyword == "ContributingEquipmentSequence":
            assert [item.Manufacturer for item in element.value] == ["Scanmaker", "lightsr"]
        elif element.keyword not in changing:
            assert result[element.tag] == element, element.keyword
    assert {element.tag for element in result} == {element.tag for element in plain}


def ours(content: bytes) -> np.ndarray:
    """Frames by this project's decoders, which are Pillow and its own: neither of them encodes here."""
    dataset = pydicom.dcmread(io.BytesIO(content))
    path = Path("a.dcm")
    of, syntax = described(dataset, path), TRANSFER_SYNTAXES[dataset.file_meta.TransferSyntaxUID]
    frames = []
    for frame in pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=of.frames):
        found = checked(frame, syntax, of, path)
        if syntax.codec == "RLE":
            task = Task("", "RLE", of.rows, of.columns, of.samples, of.allocated, of.stored, of.signed, "", False, 0, 0)
            decoded: bytes | bytearray = decode_rle(frame, task)
        else:
            assert found.precision == of.stored
            assert found.signed == of.signed
            assert found.colour == ("RCT" if of.samples == 3 else "")
            with PillowImage.open(io.BytesIO(frame), formats=("JPEG2000",)) as picture:
                decoded = picture.tobytes()
        frames.append(values_of(words(bytes(decoded), found, syntax, of), of, path))
    return np.stack(frames)


@needs_openjpeg
@pytest.mark.parametrize("name", ["signed 12", "colour cine"])
def test_a_form_is_no_other_instance(name: str, tmp_path: Path) -> None:
    """Archives change the form as they send, and keep the UID: whoever has both has the same picture."""
    path = save(FILES[name](), tmp_path / "a.dcm")
    results = [pydicom.dcmread(io.BytesIO(written(path, form)[0])) for form in ("none", *COMPRESSED)]
    assert len({result.SOPInstanceUID for result in results}) == 1
    assert len({result.SeriesInstanceUID for result in results}) == 1
    other = pydicom.dcmread(io.BytesIO(written(path, "rle", equipment="keep")[0]))
    assert other.SOPInstanceUID != results[0].SOPInstanceUID


@needs_openjpeg
@pytest.mark.parametrize("compress", COMPRESSED)
def test_what_lossy_compression_took_stays_said(compress: Compression, tmp_path: Path) -> None:
    """And nothing is said to be lossy that is not (PS3.3 C.7.6.1.1.5)."""
    pixels = np.full((20, 20), 90, np.uint8)
    lossy = compressed(a_dataset(pixels), "1.2.840.10008.1.2.4.50", [encoded(pixels, "JPEG")], tmp_path / "a.dcm")
    result = pydicom.dcmread(io.BytesIO(written(lossy, compress)[0]))
    assert (result.LossyImageCompression, result.LossyImageCompressionMethod) == ("01", "ISO_10918_1")
    plain = compressed(a_dataset(pixels, LossyImageCompression="00"), RLE, [rle(pixels[None])], tmp_path / "b.dcm")
    result = pydicom.dcmread(io.BytesIO(written(plain, compress)[0]))
    assert result.LossyImageCompression == "00"
    assert "LossyImageCompressionMethod" not in result


@needs_openjpeg
@pytest.mark.parametrize("compress", COMPRESSED)
@pytest.mark.parametrize("extended", [False, True])
def test_offset_tables(compress: Compression, extended: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if extended:
        monkeypatch.setattr(encoding, "MAX_OFFSET", 100)
    content, pixels = written(save(FILES["colour cine"](), tmp_path / "a.dcm"), compress)
    result = pydicom.dcmread(io.BytesIO(content))
    assert np.array_equal(result.pixel_array, pixels)
    stored = result.PixelData
    tag, length = struct.unpack_from("<4sI", stored)
    assert (tag, length) == (b"\xfe\xff\x00\xe0", 0 if extended else 12)
    first = 8 + length
    if extended:
        offsets = struct.unpack("<3Q", result.ExtendedOffsetTable)
        lengths = struct.unpack("<3Q", result.ExtendedOffsetTableLengths)
        assert result["ExtendedOffsetTable"].VR == result["ExtendedOffsetTableLengths"].VR == "OV"
    else:
        offsets = struct.unpack_from("<3I", stored, 8)
        assert "ExtendedOffsetTable" not in result
    start = b"\x03\0\0\0\x40\0\0\0" if compress == "rle" else b"\xff\x4f\xff\x51"
    end = first
    for index, offset in enumerate(offsets):
        position = first + offset
        assert position == end
        tag, length = struct.unpack_from("<4sI", stored, position)
        assert tag == b"\xfe\xff\x00\xe0"
        assert length % 2 == 0
        assert not extended or lengths[index] == length
        assert stored[position + 8 :].startswith(start)
        end = position + 8 + length
    assert stored[end:] == b""
    assert content.endswith(b"\xfe\xff\xdd\xe0\0\0\0\0")


def test_offsets_of_more_than_32_bits() -> None:
    lengths = array("Q", [2**31, 2**31 - 24, 2, 2])
    basic, extended = encoding.offset_tables(lengths[:3])
    assert (list(basic), list(extended)) == ([0, 2**31 + 8, 2**32 - 8], [])
    basic, extended = encoding.offset_tables(lengths)
    assert (list(basic), list(extended)) == ([], [0, 2**31 + 8, 2**32 - 8, 2**32 + 2])


def test_more_than_4_gib_of_frames_need_compression(tmp_path: Path) -> None:
    """Each by itself is less; the error names the way out."""
    source = Frames.of(dicom.read(save(a_dataset(noise((32, 32), 16)), tmp_path / "a.dcm")))
    frames = replace(source, count=2**21)
    dataset = derive.derived(frames, scale=2, producer=PRODUCER)
    with pytest.raises(ImageError, match="GiB of pixels, of which DICOM holds less than 4; .* or --compress"):
        encoding.PixelData(io.BytesIO(), dataset, frames.count, "none", frames.source)
    encoding.PixelData(io.BytesIO(), dataset, frames.count, "rle", frames.source)
    dataset.Rows = dataset.Columns = 50_000
    with pytest.raises(ImageError, match="choose a smaller --scale$"):
        encoding.PixelData(io.BytesIO(), dataset, 1, "rle", frames.source)


@needs_openjpeg
def test_a_picture_too_small_for_jpeg_2000_is_refused(tmp_path: Path) -> None:
    path = save(a_dataset(noise((15, 40), 12), BitsStored=12, HighBit=11), tmp_path / "a.dcm")
    with pytest.raises(ImageError, match="would become 80x30 pixels; .* needs 32 a side; take rle"):
        written(path, "j2k-lossless")
    content, pixels = written(path, "rle")
    assert np.array_equal(pydicom.dcmread(io.BytesIO(content)).pixel_array, pixels)
    exact = save(a_dataset(noise((16, 16), 12), BitsStored=12, HighBit=11), tmp_path / "b.dcm")
    content, pixels = written(exact, "j2k-lossless")
    assert np.array_equal(pydicom.dcmread(io.BytesIO(content)).pixel_array, pixels)


def test_a_missing_encoder_is_named_once(
    samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "openjpeg" else find(name, *rest)
    )
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("CT_small.dcm", "MR_small.dcm"):
        (folder / name).write_bytes((samples / name).read_bytes())
    assert main([str(folder), str(tmp_path / "out"), "--compress", "j2k-lossless"]) == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "pip install pylibjpeg-openjpeg, or take rle" in line
    assert not (tmp_path / "out").exists()
    assert main([str(folder), str(tmp_path / "out"), "--compress", "rle", "--threads", "1"]) == 0
    assert pydicom.dcmread(tmp_path / "out" / "CT_small.dcm").file_meta.TransferSyntaxUID == RLE


def test_a_frame_too_few_or_of_another_size_is_noticed() -> None:
    dataset = SimpleNamespace(
        Rows=4, Columns=6, SamplesPerPixel=1, BitsAllocated=8, BitsStored=8, PhotometricInterpretation="MONOCHROME2"
    )
    pixel_data = encoding.PixelData(io.BytesIO(), dataset, 2, "rle", Path("a"))
    pixel_data.add(np.zeros((4, 6), np.uint8))
    with pytest.raises(ValueError, match="1 enlarged frames; the header says 2"):
        pixel_data.append_to(io.BytesIO())
    with pytest.raises(ValueError, match="20 bytes of an enlarged frame; the header says 24"):
        pixel_data.add(np.zeros((4, 5), np.uint8))


@given(
    arrays.arrays(np.uint8, st.tuples(st.integers(1, 4), st.integers(1, 300)), elements=st.integers(0, 3)),
    st.sampled_from([1, 2, 3, 127, 128, 129, 130, 255, 257]),
    st.sampled_from([1, 40, 10**6]),
)
@settings(deadline=None)
def test_run_lengths(plane: np.ndarray, repeat: int, band_bytes: int) -> None:
    """They give the plane back, by a decoder of the standard's own words, and no row runs into the next (G.3.1)."""
    plane = np.ascontiguousarray(plane.repeat(repeat, 1)[:, : plane.shape[1]])
    packed = encoding.pack(plane)
    assert unpack(packed, plane.size) == plane.tobytes()
    position = column = 0
    while position < len(packed):
        head = packed[position]
        assert head != 128
        column += head + 1 if head < 128 else 257 - head
        assert column <= plane.shape[1]
        column %= plane.shape[1]
        position += head + 2 if head < 128 else 2
    assert len(packed) <= plane.shape[0] * (plane.shape[1] + -(-plane.shape[1] // 128))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "BAND_BYTES", band_bytes)
        segment = encoding._segment(plane)
    assert segment == packed + b"\0" * (len(packed) % 2)


@needs_openjpeg
@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from Linux's /proc")
@pytest.mark.parametrize("compress", COMPRESSED)
def test_the_memory_of_a_compressed_cine_is_that_of_a_frame(compress: Compression, tmp_path: Path) -> None:
    script = (
        "import io, json, sys; import numpy as np; from pathlib import Path; from types import SimpleNamespace\n"
        "from lightsr import encoding, memory\n"
        "if sys.argv[1] != 'rle':\n"
        "    import openjpeg.utils\n"
        "of = SimpleNamespace(Rows=1024, Columns=1024, SamplesPerPixel=1, BitsAllocated=16, BitsStored=12,\n"
        "    PhotometricInterpretation='MONOCHROME2')\n"
        "frame = np.random.default_rng(0).integers(0, 4096, (1024, 1024)).astype(np.uint16)\n"
        "peaks = []\n"
        "for frames in (1, 12):\n"
        "    with open(sys.argv[2], 'w+b') as waiting, open(sys.argv[3], 'wb') as file:\n"
        "        data = encoding.PixelData(waiting, of, frames, sys.argv[1], Path('a'))\n"
        "        for _ in range(frames):\n"
        "            data.add(frame)\n"
        "        data.append_to(file)\n"
        "    peaks.append(memory.peak_mib())\n"
        "print(json.dumps(peaks))\n"
    )
    command = [sys.executable, "-c", script, compress, str(tmp_path / "a"), str(tmp_path / "b")]
    one, many = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert (tmp_path / "b").stat().st_size > 12 * 2**20
    assert many - one < 8
