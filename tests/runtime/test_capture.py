import io
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from lightsr import derive, files
from lightsr.errors import ImageError
from lightsr.options import DEFAULTS, DicomOptions
from pydicom.dataset import Dataset

from .dicom_files import PRODUCER, a_cine, a_dataset, a_region, save

CAPTURE = DicomOptions(as_capture=True)


def captured(path: Path, options: DicomOptions = CAPTURE) -> tuple[Any, np.ndarray]:
    """Result as pydicom reads it, and the pixels that were written."""
    buffer = io.BytesIO()
    with files.opened(path) as frames:
        pixels = [image.pixels.repeat(2, 0).repeat(2, 1) for image in frames]
        derive.write(frames, pixels, scale=2, producer=PRODUCER, options=options, file=buffer)
    buffer.seek(0)
    return pydicom.dcmread(buffer), np.array(pixels) if len(pixels) > 1 else pixels[0]


def frames_of(dtype: str, colour: bool = False) -> np.ndarray:
    shape = (3, 4, 6, 3) if colour else (3, 4, 6)
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


def test_one_frame_keeps_its_values_and_loses_its_place(tmp_path: Path) -> None:
    path = save(a_dataset(KVP=120, PatientPosition="HFS", ContrastBolusAgent="x"), tmp_path / "a.dcm")
    result, pixels = captured(path)
    assert result.SOPClassUID == result.file_meta.MediaStorageSOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert np.array_equal(result.pixel_array, pixels)
    assert (result.RescaleIntercept, result.RescaleType, result.WindowCenter, result.Modality) == (
        -1024,
        "HU",
        40,
        "CT",
    )
    assert [float(value) for value in result.PixelSpacing] == [0.4, 0.55]
    assert (result.ConversionType, list(result.ImageType)) == ("WSD", ["DERIVED", "PRIMARY"])
    assert "PatientOrientation" in result
    assert result.PatientPosition == "HFS"
    for name in (
        *("ImagePositionPatient", "ImageOrientationPatient", "FrameOfReferenceUID", "SliceThickness", "KVP"),
        *("ContrastBolusAgent", "NumberOfFrames"),
    ):
        assert name not in result, name
    (reference,) = result.SourceImageSequence
    assert reference.ReferencedSOPClassUID == "1.2.840.10008.5.1.4.1.1.2"


@pytest.mark.parametrize(
    ("kind", "expected"), [("1.2.840.10008.5.1.4.1.1.2", "HU"), ("1.2.840.10008.5.1.4.1.1.1", "US")]
)
def test_what_the_slope_gives_is_said(kind: str, expected: str, tmp_path: Path) -> None:
    """For CT alone silence means Hounsfield units."""
    result, _ = captured(save(a_dataset(SOPClassUID=kind, RescaleType=None), tmp_path / "a.dcm"))
    assert result.RescaleType == expected


def test_our_own_captures_are_recognised(tmp_path: Path) -> None:
    path = save(a_dataset(), tmp_path / "a.dcm")
    captured(path, DicomOptions(as_capture=True, equipment="keep"))[0].save_as(tmp_path / "b.dcm")
    with pytest.raises(ImageError, match="result of lightsr already"):
        files.read(tmp_path / "b.dcm")


@pytest.mark.parametrize(
    ("frames", "changes", "ending"),
    [
        (frames_of("uint8"), {}, "2"),
        (frames_of("uint16"), {"BitsStored": 12, "HighBit": 11}, "3"),
        (frames_of("uint16"), {}, "3"),
        (frames_of("uint8", colour=True), {}, "4"),
        (frames_of("uint8", colour=True), {"PhotometricInterpretation": "YBR_FULL"}, "4"),
    ],
)
def test_several_frames_are_of_the_kind_of_their_pixels(
    frames: np.ndarray, changes: dict[str, Any], ending: str, tmp_path: Path
) -> None:
    region = a_region(0, 0, 5, 3)
    dataset = a_cine(frames, SequenceOfUltrasoundRegions=[region], StageName="x", TransducerType="LINEAR", **changes)
    result, pixels = captured(save(dataset, tmp_path / "a.dcm"))
    assert result.SOPClassUID == f"1.2.840.10008.5.1.4.1.1.7.{ending}"
    assert np.array_equal(result.pixel_array, pixels)
    assert (result.NumberOfFrames, result.FrameTime, result.CineRate, result.BurnedInAnnotation) == (3, 40, 25, "YES")
    assert result.FrameIncrementPointer == 0x00181063
    for name in ("SequenceOfUltrasoundRegions", "StageName", "TransducerType"):
        assert name not in result, name
    grey = ending != "4"
    assert (result.get("PresentationLUTShape"), result.get("RescaleType")) == (
        ("IDENTITY", "US") if grey else (None, None)
    )


def test_a_cine_of_one_frame_is_a_picture(tmp_path: Path) -> None:
    dataset = a_cine(frames_of("uint8")[:1], StartTrim=1, BurnedInAnnotation="NO")
    result, _ = captured(save(dataset, tmp_path / "a.dcm"))
    assert result.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert result.BurnedInAnnotation == "NO"
    for name in ("NumberOfFrames", "FrameIncrementPointer", "FrameTime", "CineRate", "StartTrim"):
        assert name not in result, name


@pytest.mark.parametrize(
    ("frames", "changes", "message"),
    [
        (frames_of("uint8"), {"PhotometricInterpretation": "MONOCHROME1"}, "unsigned MONOCHROME2"),
        (frames_of("int16"), {}, "unsigned MONOCHROME2"),
        (frames_of("uint16"), {"BitsStored": 8, "HighBit": 7}, "unsigned MONOCHROME2"),
        (frames_of("uint8"), {"RescaleSlope": 2, "RescaleIntercept": 0}, "without rescaling"),
        (frames_of("uint8"), {"FrameIncrementPointer": 0x00186060, "RWaveTimeVector": [1, 2, 3]}, "do not advance"),
        (frames_of("uint8"), {"FrameIncrementPointer": None}, "do not advance"),
    ],
)
def test_several_frames_that_no_capture_can_have_are_refused(
    frames: np.ndarray, changes: dict[str, Any], message: str, tmp_path: Path
) -> None:
    path = save(a_cine(frames, **changes), tmp_path / "a.dcm")
    captured(path, DEFAULTS)
    with pytest.raises(ImageError, match=message) as caught:
        captured(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).endswith("leave out --as-sc")
    assert "\n" not in str(caught.value)


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (dicom3tools) is not installed")
def test_dciodvfy_finds_no_new_errors(samples: Path, tmp_path: Path) -> None:
    """Real files, and a cine of each kind, as captures: what is wrong with these is wrong with their sources."""

    def errors(path: Path) -> set[str]:
        found = subprocess.run(["dciodvfy", "-new", path], capture_output=True, check=False)
        lines = (found.stdout + found.stderr).decode(errors="replace").splitlines()
        return {line for line in lines if line.startswith("Error")}

    names = ("CT_small", "MR_small", "examples_overlay", "examples_palette", "examples_rgb_color", "examples_ybr_color")
    paths = [samples / f"{name}.dcm" for name in names]
    for number, frames in enumerate((frames_of("uint8"), frames_of("uint16"), frames_of("uint8", colour=True))):
        dataset = a_cine(frames, PatientSex="O", StudyDate="20200101", StudyTime="101010", Laterality="L")
        dataset.ReferringPhysicianName = dataset.StudyID = dataset.PatientOrientation = ""
        dataset.PatientName, dataset.LossyImageCompression = "A^B", "00"
        paths.append(save(dataset, tmp_path / f"{number}.dcm"))
    for path in paths:
        result, _ = captured(path)
        result.save_as(tmp_path / "result.dcm")
        assert errors(tmp_path / "result.dcm") <= errors(path), path.name


def test_items_of_sequences_stay_whole(tmp_path: Path) -> None:
    """Only the data set itself is cleared: the scanner among the contributors keeps what it says of itself."""
    item = Dataset()
    item.Manufacturer, item.DeviceSerialNumber, item.StationName = "Other", "5", "There"
    path = save(a_dataset(ContributingEquipmentSequence=[item]), tmp_path / "a.dcm")
    result, _ = captured(path)
    assert [item.Manufacturer for item in result.ContributingEquipmentSequence] == ["Other", "Scanmaker", "lightsr"]
    assert result.ContributingEquipmentSequence[0].DeviceSerialNumber == "5"
