import random
import struct
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from lightsr import dicom, files, memory
from lightsr.errors import ImageError
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ImplicitVRLittleEndian

from .dicom_files import SECRET, a_cine, a_dataset, save


def read(dataset: Dataset, folder: Path) -> Any:
    return dicom.read(save(dataset, folder / "a.dcm"))


def refusal(dataset: Dataset, folder: Path, syntax: str = "1.2.840.10008.1.2.1") -> str:
    return refusal_of(save(dataset, folder / "a.dcm", syntax))


def refusal_of(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        dicom.read(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert "Doe" not in message
    assert "SECRET" not in message
    return message


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
def test_stored_values(syntax: str, dtype: str, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 250, (5, 7)).astype(dtype)
    if dtype == "int16":
        pixels -= 100
    dataset = a_dataset(pixels)
    if syntax == ExplicitVRBigEndian and dtype != "uint8":
        dataset.PixelData = pixels.byteswap().tobytes()
    image = dicom.read(save(dataset, tmp_path / "a.dcm", syntax))
    assert image.pixels.dtype == pixels.dtype
    assert np.array_equal(image.pixels, pixels)
    assert image.value_range == (pixels.min(), pixels.max())
    assert image.modality == "CT"
    assert image.padding is None
    assert "PixelData" not in image.header


def test_real_files_are_read_as_pydicom_reads_them(samples: Path) -> None:
    for name in ("CT_small.dcm", "MR_small.dcm", "MR_small_bigendian.dcm", "examples_overlay.dcm"):
        assert np.array_equal(dicom.read(samples / name).pixels, pydicom.dcmread(samples / name).pixel_array)
    for name in ("examples_rgb_color.dcm", "SC_rgb_small_odd.dcm", "ExplVR_BigEnd.dcm"):
        image = dicom.read(samples / name)
        assert image.photometric == "RGB"
        assert np.array_equal(image.pixels, pydicom.dcmread(samples / name).pixel_array)


def test_colour_by_plane(tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 255, (5, 7, 3), dtype=np.uint8)
    dataset = a_dataset(pixels, PlanarConfiguration=1, SOPClassUID="1.2.840.10008.5.1.4.1.1.6.1")
    dataset.PixelData = pixels.transpose(2, 0, 1).tobytes() + b"\0"
    assert np.array_equal(read(dataset, tmp_path).pixels, pixels)


@pytest.mark.parametrize("bits", [8, 10, 12, 15])
def test_signed_values_of_fewer_bits(bits: int, tmp_path: Path) -> None:
    pixels = np.array([[-(2 ** (bits - 1)), 2 ** (bits - 1) - 1], [-1, 0]], dtype=np.int16)
    image = read(a_dataset(pixels, BitsStored=bits, HighBit=bits - 1), tmp_path)
    assert np.array_equal(image.pixels, pixels)


def test_negative_values_whose_unused_bits_are_zero(tmp_path: Path) -> None:
    """Such files are old and legal to read in one way only; a bit set there is still refused."""
    values = np.array([[-2048, 2047], [-1, 0]], np.int16)
    dataset = a_dataset(values & 0x0FFF, BitsStored=12, HighBit=11)
    assert np.array_equal(dicom.read(save(dataset, tmp_path / "a.dcm")).pixels, values)
    dataset = a_dataset((values & 0x0FFF) | 0x1000, BitsStored=12, HighBit=11)
    with pytest.raises(ImageError, match="outside its 12 stored bits"):
        dicom.read(save(dataset, tmp_path / "b.dcm"))


@pytest.mark.parametrize("low_bit", [0, 1, 4])
@pytest.mark.parametrize("signed", [False, True])
def test_values_anywhere_in_their_words(low_bit: int, signed: bool, tmp_path: Path) -> None:
    values = np.array([[-2048, 2047], [-1, 0]] if signed else [[0, 4095], [7, 9]], np.int16 if signed else np.uint16)
    dataset = a_dataset(values << low_bit, BitsStored=12, HighBit=11 + low_bit)
    assert np.array_equal(read(dataset, tmp_path).pixels, values)
    if low_bit:
        dataset.PixelData = (values << low_bit | 1).tobytes()
        assert "outside its 12 stored bits" in refusal(dataset, tmp_path)


@pytest.mark.parametrize("signed", [False, True])
def test_an_overlay_in_the_unused_bits(signed: bool, tmp_path: Path) -> None:
    """It goes where the header declares it; the drawing itself is not carried over."""
    values = np.array([[-5, 2047], [-1, 0]] if signed else [[0, 4095], [7, 9]], np.int16 if signed else np.uint16)
    words = values ^ np.array([[1 << 13, 0], [1 << 13, 0]], values.dtype)
    dataset = a_dataset(words, BitsStored=12, HighBit=11)
    assert "an overlay that its header does not declare" in refusal(dataset, tmp_path)
    dataset.add_new(0x60000102, "US", 13)
    assert np.array_equal(read(dataset, tmp_path).pixels, values)
    dataset.PixelData = (words ^ np.array(1 << 14, words.dtype)).tobytes()
    assert "an overlay" in refusal(dataset, tmp_path)
    dataset.PixelData = words.tobytes()
    dataset.add_new(0x60003000, "OW", b"\0\0")  # data of its own: the bit is not the overlay's
    assert "an overlay" in refusal(dataset, tmp_path)


def test_signed_bytes(tmp_path: Path) -> None:
    values = np.array([[-128, 127], [-1, 0]], np.int8)
    image = read(a_dataset(values, PixelPaddingValue=-128), tmp_path)
    assert image.pixels.dtype == np.int8
    assert np.array_equal(image.pixels, values)
    assert image.value_range == (-1, 127)
    assert image.plane().dtype == np.int16


@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.1", ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("shape", [(3, 5, 7), (2, 3, 3, 3)])
def test_frames(syntax: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    """Of odd length too: frames stand side by side, only the last is filled up."""
    stored = np.random.default_rng(0).integers(0, 255, shape, dtype=np.uint8)
    path = save(a_cine(stored), tmp_path / "a.dcm", syntax)
    with dicom.opened(path) as frames:
        assert (len(frames), frames.size) == (shape[0], shape[1:3])
        assert np.array_equal(np.stack([image.pixels for image in frames]), stored)
        assert np.array_equal(frames[1].pixels, stored[1])
        assert frames[1].value_range == ((0, 255) if len(shape) == 4 else (stored[1].min(), stored[1].max()))
        with pytest.raises(IndexError):
            frames[shape[0]]
    with pytest.raises(ImageError, match=f"{shape[0]} frames; one frame is allowed here"):
        files.read(path)
    assert np.array_equal(files.read(path, frame=1).pixels, stored[1])
    with pytest.raises(ImageError, match=f"has no frame {shape[0]}; 0 to"):
        files.read(path, frame=shape[0])


@pytest.mark.parametrize("name", ["SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"])
def test_functional_groups_are_refused(name: str, tmp_path: Path) -> None:
    """Multi-frame secondary capture may have them, and pixel spacing inside."""
    dataset = a_cine(np.zeros((2, 4, 4), np.uint8), SOPClassUID="1.2.840.10008.5.1.4.1.1.7.2")
    save(dataset, tmp_path / "a.dcm")
    with dicom.opened(tmp_path / "a.dcm") as frames:
        assert len(frames) == 2
    setattr(dataset, name, [Dataset()])
    assert "functional groups" in refusal(dataset, tmp_path)


def test_a_subtraction_angiogram_is_refused(tmp_path: Path) -> None:
    stored = np.zeros((2, 4, 4), np.uint16)
    dataset = a_cine(stored, SOPClassUID="1.2.840.10008.5.1.4.1.1.12.1", Modality="XA")
    with dicom.opened(save(dataset, tmp_path / "a.dcm")) as frames:
        assert len(frames) == 2
    dataset.MaskSubtractionSequence = [Dataset()]
    assert "subtraction angiogram" in refusal(dataset, tmp_path)


def test_a_file_that_shrinks_while_it_is_read(tmp_path: Path) -> None:
    path = save(a_cine(np.zeros((3, 50, 50), np.uint16)), tmp_path / "a.dcm")
    with dicom.opened(path) as frames:
        with path.open("r+b") as file:
            file.truncate(path.stat().st_size - 10)
        with pytest.raises(ImageError, match="became shorter"):
            frames[2]


def test_padding(tmp_path: Path) -> None:
    pixels = np.array([[-2000, -2000, 5], [7, 9, -1024]], dtype=np.int16)
    image = read(a_dataset(pixels, PixelPaddingValue=-2000), tmp_path)
    assert image.padding is not None
    assert image.padding.tolist() == [[True, True, False], [False, False, False]]
    assert image.value_range == (-1024, 9)
    assert image.filled().min() == -1024
    ranged = read(a_dataset(pixels, PixelPaddingValue=-2000, PixelPaddingRangeLimit=-1024), tmp_path)
    assert ranged.padding.sum() == 3
    absent = read(a_dataset(pixels, PixelPaddingValue=-3000), tmp_path)
    assert absent.padding is None


def test_padding_written_with_the_other_sign(tmp_path: Path) -> None:
    pixels = np.array([[-2000, 5], [7, 9]], dtype=np.int16)
    dataset = a_dataset(pixels)
    dataset.add_new(0x00280120, "US", 65536 - 2000)
    assert read(dataset, tmp_path).padding.sum() == 1


def test_patients_are_told_apart_without_their_names(tmp_path: Path) -> None:
    first, second = read(a_dataset(), tmp_path), read(a_dataset(PatientID="other"), tmp_path)
    assert first.subject != second.subject
    assert SECRET not in repr(first)
    assert len(first.subject) == 16
    assert read(a_dataset(PatientID=None), tmp_path).subject == ""
    assert read(a_dataset(IssuerOfPatientID="A"), tmp_path).subject != first.subject


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.481.2"}, "'RT Dose Storage'"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.12.1.1"}, "'Enhanced XA Image Storage'"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2"}, "a mammogram, of which"),
        ({"SOPClassUID": "1.2.3.4.5"}, "unknown SOP class"),
        ({"NumberOfFrames": 2}, "a CT image of several frames"),
        ({"NumberOfFrames": 0}, "several frames"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "LOCALIZER"),
        ({"ImageType": ["DERIVED", "PRIMARY", "AXIAL", "MAT_SPECIFIC"]}, "multi-energy"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "for processing"),
        ({"PhotometricInterpretation": "YBR_PARTIAL_422"}, "YBR_PARTIAL_422"),
        ({"PhotometricInterpretation": "YBR_FULL"}, "1 samples per pixel with YBR_FULL"),
        ({"PhotometricInterpretation": None}, "missing"),
        ({"SamplesPerPixel": 3}, "3 samples"),
        ({"BitsAllocated": 32, "BitsStored": 32, "HighBit": 31}, "32 of 32 bits"),
        ({"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}, "1 of 1 bits"),
        ({"HighBit": 14}, "high bit 14"),
        ({"HighBit": 16}, "high bit 16"),
        ({"BitsStored": 7, "HighBit": 6}, "7 of 16 bits"),
        ({"BitsStored": 17}, "17 of 16 bits"),
        ({"Rows": 0}, "8x0"),
        ({"Rows": 65535, "Columns": 65535}, "million"),
        ({"Rows": None}, "Rows is missing"),
        ({"BitsStored": None}, "BitsStored is missing"),
        ({"PixelData": None}, "no pixels"),
        ({"PixelData": bytes(94)}, "94 bytes of pixels; its size needs 96"),
        ({"PixelData": bytes(98)}, "98 bytes of pixels"),
        ({"ManufacturerModelName": "lightsr"}, "result of lightsr already"),
    ],
)
def test_refusals(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    assert message in refusal(a_dataset(**changes), tmp_path)


def test_more_refusals(tmp_path: Path) -> None:
    wide = a_dataset()
    wide.add_new(0x00280010, "US", [6, 6])
    assert "no single whole number" in refusal(wide, tmp_path)
    assert "outside its 12 stored bits" in refusal(
        a_dataset(np.array([[4096, 1]], np.uint16), BitsStored=12, HighBit=11), tmp_path
    )
    phase = a_dataset(SOPClassUID="1.2.840.10008.5.1.4.1.1.4", ImageType=["ORIGINAL", "PRIMARY", "P", "ND"])
    assert "phase, complex or quantitative map" in refusal(phase, tmp_path)
    table = a_dataset(ModalityLUTSequence=[Dataset()])
    assert "Modality LUT" in refusal(table, tmp_path)
    padding = a_dataset(np.full((4, 4), 9, np.int16), PixelPaddingValue=9)
    assert "every pixel is padding" in refusal(padding, tmp_path)


@pytest.mark.parametrize(
    ("syntax", "name"),
    [
        ("1.2.840.10008.1.2.4.66", "JPEG"),
        ("1.2.840.10008.1.2.4.94", "JPIP"),
        ("1.2.840.10008.1.2.4.102", "MPEG-4"),
        ("1.2.3.4", "that is not known"),
    ],
)
def test_other_transfer_syntaxes_are_refused_unopened(
    syntax: str, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = save(a_dataset(), tmp_path / "a.dcm")
    content = path.read_bytes().replace(b"1.2.840.10008.1.2.1\0", syntax.encode().ljust(20, b"\0"), 1)
    if len(syntax) <= 20:
        path.write_bytes(content)
    else:
        meta = f"UI{chr(24)}\0{syntax.ljust(24, chr(0))}".encode("latin-1")
        path.write_bytes(bytes(128) + b"DICM\x02\x00\x10\x00" + meta)

    def opened(*arguments: object, **options: object) -> None:
        raise AssertionError("pydicom opened it")

    monkeypatch.setattr(pydicom, "dcmread", opened)
    with pytest.raises(ImageError, match=name):
        dicom.read(path)


def test_deep_nesting_and_false_lengths(tmp_path: Path) -> None:
    path = save(a_dataset(), tmp_path / "a.dcm")
    content = path.read_bytes()
    meta = content[: content.index(b"\x08\x00")]
    item = b"\x08\x00\x40\x11SQ\x00\x00\xff\xff\xff\xff\xfe\xff\x00\xe0\xff\xff\xff\xff"
    path.write_bytes(meta + item * 4000)
    with pytest.raises(ImageError):
        dicom.read(path)
    at = content.index(b"\xe0\x7f\x10\x00OW")
    path.write_bytes(content[: at + 8] + b"\xf0\xff\xff\xff" + content[at + 12 :])
    with pytest.raises(ImageError):
        dicom.read(path)
    path.write_bytes(bytes(128) + b"DICM")
    with pytest.raises(ImageError, match="without a transfer syntax"):
        dicom.read(path)


def test_damaged_copies_are_read_or_refused(
    samples: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    """And neither pydicom's log nor its warnings, which quote values, reach anybody."""
    dice = random.Random(0)
    path = tmp_path / "a.dcm"
    outcomes = {"read": 0, "refused": 0}
    for name in ("CT_small.dcm", "MR_small_implicit.dcm", "MR_small_bigendian.dcm", "SC_rgb_small_odd.dcm"):
        content = (samples / name).read_bytes()
        for _ in range(60):
            damaged = bytearray(content)
            if dice.random() < 0.3:
                damaged = damaged[: dice.randrange(132, len(damaged))]
            for _ in range(dice.randrange(1, 6)):
                damaged[dice.randrange(132, min(len(damaged), 3000))] = dice.randrange(256)
            path.write_bytes(bytes(damaged))
            try:
                dicom.read(path)
                outcomes["read"] += 1
            except ImageError as error:
                outcomes["refused"] += 1
                assert "\n" not in str(error)
    assert min(outcomes.values()) > 20
    assert not caplog.records
    assert not recwarn.list


def test_two_transfer_syntaxes_are_refused(tmp_path: Path) -> None:
    """pydicom believes the last one; if that is the deflated one, a small file becomes as large as it likes."""
    path = save(a_dataset(), tmp_path / "a.dcm")
    content = path.read_bytes()
    start = content.index(b"\x02\x00\x10\x00UI")
    deflated = b"1.2.840.10008.1.2.1.99"
    second = b"\x02\x00\x10\x00UI" + len(deflated).to_bytes(2, "little") + deflated
    end = start + 8 + int.from_bytes(content[start + 6 : start + 8], "little")
    path.write_bytes(content[:end] + second + content[end:])
    assert "2 transfer syntaxes; exactly one is allowed" in refusal_of(path)


def test_a_file_much_longer_than_its_pixels_is_not_read_whole(tmp_path: Path) -> None:
    path = save(a_dataset(), tmp_path / "a.dcm")
    content = path.read_bytes()
    start = content.index(b"\xe0\x7f\x10\x00OW")
    with path.open("r+b") as file:  # sparse: takes no room on the disk
        file.seek(start + 8)
        file.write((2**31).to_bytes(4, "little"))
        file.truncate(start + 12 + 2**31)
    before = memory.peak_mib()
    assert "2147483648 bytes of pixels; its size needs 96" in refusal_of(path)
    assert memory.peak_mib() < before + 50


def test_file_meta_information_that_readers_understand_differently_is_refused(tmp_path: Path) -> None:
    """In implicit VR, which pydicom guesses, a value can look like an explicit transfer syntax."""

    def implicit(element: int, value: bytes) -> bytes:
        return struct.pack("<HHI", 2, element, len(value)) + value

    path = save(a_dataset(), tmp_path / "a.dcm")
    content = path.read_bytes()
    body = content[144 + int.from_bytes(content[140:144], "little") :]
    plain = b"1.2.840.10008.1.2.1\0"
    decoy = b"UI\x02\x00\0\0" + b"\x02\x00\x10\x00UI" + struct.pack("<H", len(plain)) + plain
    meta = implicit(2, decoy) + implicit(0x10, b"1.2.840.10008.1.2.1.99")
    path.write_bytes(content[:132] + implicit(0, struct.pack("<I", len(meta))) + meta + body)
    message = refusal_of(path)
    assert "transfer syntax" in message or "two ways" in message or "damaged" in message
