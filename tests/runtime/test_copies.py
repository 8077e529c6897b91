import io
import struct
from pathlib import Path

import numpy as np
import pydicom
import pytest
from lightsr import derive, dicom
from lightsr.errors import ImageError
from lightsr.image import Frames
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless

from .dicom_files import PRODUCER, SECRET, a_dataset, compressed, enlarged, rle, save


def test_how_the_source_was_encoded_is_not_carried_over(tmp_path: Path) -> None:
    values = np.zeros((6, 8), np.int16)
    frame = rle(values[None])
    dataset = a_dataset(values)
    dataset.ExtendedOffsetTable, dataset.ExtendedOffsetTableLengths = bytes(8), struct.pack("<Q", len(frame))
    dataset.add_new(0x7FE00003, "UV", len(frame))
    source, result, _ = enlarged(compressed(dataset, RLELossless, [frame], tmp_path / "a.dcm", table=False))
    assert 0x7FE00003 in source
    assert [element.tag for element in result if element.tag.group >= 0x7FE0] == [0x7FE00010]


def test_what_held_for_the_source_alone_goes(tmp_path: Path) -> None:
    dataset = a_dataset(
        SmallestImagePixelValue=0,
        LargestImagePixelValue=9,
        SOPInstanceStatus="AO",
        DigitalSignaturesSequence=[Dataset()],
        ReferencedPerformedProcedureStepSequence=[Dataset()],
        LossyImageCompression="01",
        LossyImageCompressionRatio=10,
    )
    block = dataset.private_block(0x0029, "SECRET MAKER", create=True)
    block.add_new(1, "LO", "pixel 3 of Doe")
    path = save(dataset, tmp_path / "a.dcm")
    content = bytearray(path.read_bytes())
    content[:2] = b"MZ"
    path.write_bytes(bytes(content))
    image = dicom.read(path)
    buffer = io.BytesIO()
    derive.write(Frames.of(image), [image.pixels.repeat(2, 0).repeat(2, 1)], scale=2, producer=PRODUCER, file=buffer)
    assert buffer.getvalue()[:128] == bytes(128)
    assert b"SECRET MAKER" not in buffer.getvalue()
    result = pydicom.dcmread(io.BytesIO(buffer.getvalue()))
    for name in ("SmallestImagePixelValue", "LargestImagePixelValue", "SOPInstanceStatus", "DigitalSignaturesSequence"):
        assert name not in result
    assert "ReferencedPerformedProcedureStepSequence" not in result
    assert result.LossyImageCompression == "01"
    assert result.LossyImageCompressionRatio == 10


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_encodings_of_the_source(syntax: str, tmp_path: Path) -> None:
    dataset = a_dataset(PixelPaddingValue=-2000)
    table = Dataset()
    table.LUTDescriptor, table.ModalityLUTType = [2, 0, 16], "US"
    table.add_new(0x00283006, "OW", b"\x01\x02\x03\x04")
    dataset.VOILUTSequence = [table]
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = np.frombuffer(dataset.PixelData, "<i2").byteswap().tobytes()
    source, result, pixels = enlarged(save(dataset, tmp_path / "a.dcm", syntax))
    assert result.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert np.array_equal(result.pixel_array, pixels)
    assert result.PixelPaddingValue == -2000
    assert result.PatientName == source.PatientName
    words = bytes(result.VOILUTSequence[0].LUTData)
    assert words == (b"\x02\x01\x04\x03" if syntax == ExplicitVRBigEndian else b"\x01\x02\x03\x04")


@pytest.mark.parametrize("charset", [None, "ISO_IR 100", "ISO_IR 192", "ISO_IR 999"])
def test_names_are_kept_byte_for_byte(charset: str | None, tmp_path: Path) -> None:
    dataset = a_dataset()
    if charset:
        dataset.SpecificCharacterSet = charset
    raw = "Müller^Zoë".encode("utf-8" if charset == "ISO_IR 192" else "latin-1")
    raw += b" " * (len(raw) % 2)
    path = save(dataset, tmp_path / "a.dcm")
    content = path.read_bytes()
    assert content.count(b"\x10\x00\x10\x00PN\x0a\x00Doe^Secret") == 1
    header = b"\x10\x00\x10\x00PN" + len(raw).to_bytes(2, "little")
    content = content.replace(b"\x10\x00\x10\x00PN\x0a\x00Doe^Secret", header + raw)
    study = b"\x08\x00\x30\x10LO" + len(raw).to_bytes(2, "little")
    content = content.replace(b"\x08\x00\x30\x10LO\x0a\x00Doe^Secret", study + raw)
    path.write_bytes(content)
    image = dicom.read(path)
    buffer = io.BytesIO()
    derive.write(Frames.of(image), [image.pixels.repeat(2, 0).repeat(2, 1)], scale=2, producer=PRODUCER, file=buffer)
    assert header + raw in buffer.getvalue()
    assert study + raw in buffer.getvalue()


@pytest.mark.parametrize(
    ("charset", "raw"),
    [
        ("ISO_IR 192", "Schädel^X ".encode("latin-1")),
        ("GB18030", b"\xcd\xf5^\xd0\xa1\x81\x20"),
        ("ISO_IR 13", b"abc\xd4^\xd4 "),
    ],
)
@pytest.mark.parametrize("place", ["PatientName", "PatientID", "StudyDescription", "item"])
def test_text_that_would_change_is_refused(charset: str, raw: bytes, place: str, tmp_path: Path) -> None:
    """A patient whose name or ID comes out changed is another patient."""
    stand_in = "Q" * (len(raw) + len(raw) % 2)
    dataset = a_dataset()
    dataset.SpecificCharacterSet = charset
    if place == "item":
        item = Dataset()
        item.CodeMeaning = stand_in
        dataset.ProcedureCodeSequence = [item]
    else:
        setattr(dataset, place, stand_in)
    path = save(dataset, tmp_path / "a.dcm")
    content = path.read_bytes()
    assert content.count(stand_in.encode()) == 1
    path.write_bytes(content.replace(stand_in.encode(), raw.ljust(len(stand_in))))
    name = "CodeMeaning" if place == "item" else place
    try:
        _, result, _ = enlarged(path)
    except ImageError as error:
        assert f"{name} holds text that is not in the file's character set" in str(error)
        assert "\ufffd" not in str(error)
    else:  # kept as it was, byte for byte
        buffer = io.BytesIO()
        result.save_as(buffer)
        assert raw.rstrip() in buffer.getvalue()


def test_text_in_other_scripts_is_kept(samples: Path, tmp_path: Path) -> None:
    kept = 0
    for path in sorted((samples.parent / "charset_files").glob("*.dcm")):
        source = pydicom.dcmread(path)
        charset = source.get("SpecificCharacterSet")
        name = source.get("PatientName")
        if not charset or not name:
            continue
        dataset = a_dataset()
        dataset.SpecificCharacterSet, dataset.PatientName = charset, name
        _, result, _ = enlarged(save(dataset, tmp_path / path.name))
        assert result.PatientName == name
        kept += 1
    assert kept > 10


@pytest.mark.parametrize("body", [b"abc\0", b"ab"])
def test_damage_that_shows_late_is_no_fault_of_the_output(body: bytes, tmp_path: Path) -> None:
    """A sequence that holds no items: pydicom finds out when the element is used."""
    dataset = a_dataset()
    dataset.add_new(0x00760020, "LO", "SECRETNAME")
    path = save(dataset, tmp_path / "a.dcm")
    content = path.read_bytes()
    start = content.index(b"\x76\x00\x20\x00LO")
    sequence = b"\x76\x00\x20\x00SQ\0\0" + len(body).to_bytes(4, "little") + body
    path.write_bytes(content[:start] + sequence + content[start + 18 :])
    with pytest.raises(ImageError) as caught:
        enlarged(path)
    assert str(caught.value).startswith(f"{path}: damaged DICOM (")
    assert "\n" not in str(caught.value)
    assert "SECRET" not in str(caught.value)


def test_private_elements_are_not_even_decoded(tmp_path: Path) -> None:
    dataset = a_dataset()
    dataset.add_new((0x0011, 0x0010), "LO", "SCANMAKER")
    dataset.add_new((0x0011, 0x1001), "LO", "ABCD")
    path = save(dataset, tmp_path / "a.dcm")
    content = path.read_bytes()
    assert content.count(b"\x11\x00\x01\x10LO") == 1
    path.write_bytes(content.replace(b"\x11\x00\x01\x10LO", b"\x11\x00\x01\x10ZZ"))
    _, result, _ = enlarged(path)
    assert not [element for element in result if element.tag.is_private]


def test_private_elements_inside_of_what_is_carried_on_go_too(tmp_path: Path) -> None:
    items = [Dataset(), Dataset()]
    for item in items:
        item.private_block(0x0029, "MAKER", create=True).add_new(1, "PN", SECRET)
    items[0].CodeValue, items[0].CodingSchemeDesignator, items[0].CodeMeaning = "113076", "DCM", "Segmentation"
    items[1].Manufacturer = "Another"
    dataset = a_dataset(DerivationCodeSequence=[items[0]], ContributingEquipmentSequence=[items[1]])
    _, result, _ = enlarged(save(dataset, tmp_path / "a.dcm"))
    assert [code.CodeValue for code in result.DerivationCodeSequence] == ["113076", "113085", "123110"]
    assert result.ContributingEquipmentSequence[0].Manufacturer == "Another"
    for item in (result.DerivationCodeSequence[0], result.ContributingEquipmentSequence[0]):
        assert not [element for element in item if element.tag.is_private]
