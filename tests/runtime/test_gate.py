"""What files say about their lengths; `test_attacks` has the worst of them."""

import struct
import zlib
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

from .attacks.making import EXPLICIT, body, deflated, element, meta
from .dicom_files import a_dataset, compressed, real_files, rle, save


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
    pixels = np.arange(64, dtype=np.uint16).reshape(8, 8)
    content = compressed(a_dataset(pixels), "1.2.840.10008.1.2.5", [rle(pixels[None])], tmp_path / "a.dcm").read_bytes()
    path = tmp_path / "b.dcm"
    for length in range(content.index(b"\xe0\x7f\x10\x00OB"), len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ImageError), dicom.opened(path) as frames:
            frames[0]


def test_real_files_pass(samples: Path) -> None:
    """The gate finds pixels where pydicom finds them, and refuses no DICOM image that is whole."""
    passed, known = 0, ("DICM", "transfer syntax", "cut off", "point", "RT Plan", "DICOMDIR")
    for path in real_files(samples):
        try:
            with gate.opened(path) as contents:
                if contents.pixels is not None and contents.pixels.length is not None:
                    contents.stream.seek(contents.pixels.offset)
                    content = contents.stream.read(contents.pixels.length)
                    assert content == pydicom.dcmread(path).PixelData, path
                    passed += 1
        except ImageError as error:
            assert any(word in str(error) for word in known), error
    assert passed > 20


def test_what_is_no_image_is_called_by_its_name(tmp_path: Path) -> None:
    """However many numbers it holds: it is not damaged."""
    sop_class = b"1.2.840.10008.5.1.4.1.1.481.3\0"
    named = b"\x02\x00\x02\x00UI" + struct.pack("<H", len(sop_class)) + sop_class
    path = tmp_path / "a.dcm"
    decimals = (element(0x3006, number, "DS", b"1\\" * 32_500) for number in range(50))
    path.write_bytes(EXPLICIT + named + b"".join(decimals))
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


def test_elements_that_are_there_twice(tmp_path: Path) -> None:
    """In the data set itself; a private one is no reason, as it is never read."""
    path = tmp_path / "a.dcm"
    content = save(a_dataset(), path).read_bytes()
    start = content.index(b"\xe0\x7f\x10\0OW")
    for twice, refused in ((element(0x10, 0x20, "LO", b"OTHER "), True), (element(9, 0x10, "LO", b"A ") * 2, False)):
        path.write_bytes(content[:start] + twice + content[start:])
        if refused:
            with pytest.raises(ImageError, match=r"\(0010,0020\) is there twice"):
                dicom.read(path)
        else:
            assert dicom.read(path).size == (6, 8)


def test_what_follows_a_deflated_data_set(tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    packed = deflated(body(save(a_dataset(), path)))
    for behind, refused in (
        (b"\0", False),
        (bytes(200_000), False),
        (b"8 bytes." + b"\0", False),
        (bytes(200_000) + b"1", True),
        (b"9 bytes..", True),
    ):
        path.write_bytes(packed + behind)
        if refused:
            with pytest.raises(ImageError, match="bytes behind the end"):
                dicom.read(path)
        else:
            assert dicom.read(path).size == (6, 8)


def test_long_texts_count_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(a_dataset(PatientComments="x" * 60, AdditionalPatientHistory="y" * 60), tmp_path / "a.dcm")
    monkeypatch.setattr("lightsr.elements.MAX_TEXT_BYTES", 120)
    assert dicom.read(path).size == (6, 8)
    monkeypatch.setattr("lightsr.elements.MAX_TEXT_BYTES", 119)
    with pytest.raises(ImageError, match=r"MiB of text; its element \(0010,4000\) has 60 bytes"):
        dicom.read(path)
