"""Mammograms: enlarged only where that was asked for, with all that their class says kept or enlarged."""

import io
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from lightsr import derive, dicom
from lightsr.cli import main
from lightsr.errors import ImageError
from lightsr.options import DEFAULTS, DicomOptions

from .dicom_files import PRODUCER, a_dataset, a_mammogram, save

ALLOWED = DicomOptions(allow_mammography=True)

KEPT = (
    *("SOPClassUID", "Modality", "PresentationIntentType", "PatientOrientation", "ImageLaterality", "ViewCodeSequence"),
    *("EstimatedRadiographicMagnificationFactor", "DetectorElementSpacing", "FieldOfViewOrigin", "PartialView"),
    *("FieldOfViewRotation", "FieldOfViewHorizontalFlip", "PartialViewCodeSequence", "BreastImplantPresent"),
    *("AnatomicRegionSequence", "OrganExposed", "PositionerType", "PositionerPrimaryAngle", "BodyPartThickness"),
    *("CompressionForce", "BurnedInAnnotation", "LossyImageCompression", "PixelIntensityRelationship", "DetectorType"),
    *("PixelIntensityRelationshipSign", "RescaleSlope", "RescaleIntercept", "RescaleType", "PresentationLUTShape"),
    *("WindowCenter", "WindowWidth", "BitsStored", "HighBit", "PhotometricInterpretation", "FrameOfReferenceUID"),
)


def enlarged(dataset: Any, tmp_path: Path, options: DicomOptions = ALLOWED, scale: int = 2) -> Any:
    path = save(dataset, tmp_path / "a.dcm")
    buffer = io.BytesIO()
    with dicom.opened(path, options=options) as frames:
        pixels = frames.only().pixels.repeat(scale, 0).repeat(scale, 1)
        derive.write(frames, [pixels], scale=scale, producer=PRODUCER, options=options, file=buffer)
    buffer.seek(0)
    result = pydicom.dcmread(buffer)
    assert np.array_equal(result.pixel_array, pixels)
    return result


def test_it_is_refused_unless_asked_for(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = save(a_mammogram(), tmp_path / "a.dcm")
    assert main([str(path), str(tmp_path / "out.dcm")]) == 1
    assert "a mammogram, of which no bundled model has seen one; --allow-mammography" in capsys.readouterr().err
    assert not (tmp_path / "out.dcm").exists()
    assert main([str(path), str(tmp_path / "out.dcm"), "--allow-mammography", "--threads", "1"]) == 0
    result = pydicom.dcmread(tmp_path / "out.dcm")
    assert result.pixel_array.shape == (12, 16)
    assert "not for primary diagnosis" in result.DerivationDescription


@pytest.mark.parametrize("scale", [2, 3])
def test_what_its_class_says(scale: int, tmp_path: Path) -> None:
    source = a_mammogram()
    result = enlarged(source, tmp_path, scale=scale)
    for name in KEPT:
        assert result[name].value == source[name].value, name
    assert list(result.ImageType) == ["DERIVED", "PRIMARY", ""]  # the third value must be there (C.8.11.7.1.4)
    assert [float(value) for value in result.ImagerPixelSpacing] == pytest.approx([0.07 / scale, 0.1 / scale])
    assert "PixelSpacing" not in result  # nothing is invented


def test_calibrated_spacing_stays_consistent(tmp_path: Path) -> None:
    """Pixel Spacing is that of the detector through the magnification (10.7.1.3)."""
    source = a_mammogram(PixelSpacing=[0.04, 0.1 / 1.75], PixelSpacingCalibrationType="GEOMETRY")
    result = enlarged(source, tmp_path)
    assert result.PixelSpacingCalibrationType == "GEOMETRY"
    for calibrated, detected in zip(result.PixelSpacing, result.ImagerPixelSpacing, strict=True):
        ratio = float(detected) / float(calibrated)
        assert ratio == pytest.approx(float(result.EstimatedRadiographicMagnificationFactor))


def test_where_a_needle_went_goes(tmp_path: Path) -> None:
    """Its cursor is at a pixel of the source (C.8.11.7)."""
    target = pydicom.Dataset()
    target.TargetUID, target.LocalizingCursorPosition, target.TargetLabel = "1.2.7", [3.0, 4.0], "A"
    source = a_mammogram(ImageType=["ORIGINAL", "PRIMARY", "STEREO_PLUS"], BiopsyTargetSequence=[target])
    result = enlarged(source, tmp_path)
    assert "BiopsyTargetSequence" not in result
    assert result.ImageType[2] == "STEREO_PLUS"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"PresentationIntentType": "FOR PROCESSING"}, "an image for processing"),
        (
            {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.1.2.1"},
            "'Digital Mammography X-Ray Image Storage - For Processing'",
        ),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.3"}, "'Breast Tomosynthesis Image Storage'"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.13.1.4"}, "'Breast Projection X-Ray Image Storage"),
        ({"NumberOfFrames": 2}, "a MG image of several frames"),
        ({"ImageType": ["DERIVED", "PRIMARY", "TOMO", "GENERATED_2D"]}, "type TOMO, of a tomosynthesis"),
        ({"ImageType": ["ORIGINAL", "PRIMARY", "TOMO_PROJ"]}, "of a tomosynthesis"),
        ({"ImageType": ["DERIVED", "PRIMARY", "", "GENERATED_2D"]}, "computed from a tomosynthesis"),
        ({"ImageType": ["DERIVED", "PRIMARY", "", "SUBTRACTION"]}, "a difference of images"),
    ],
)
def test_what_stays_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    path = save(a_mammogram(**changes), tmp_path / "a.dcm")
    with pytest.raises(ImageError, match=message), dicom.opened(path, options=ALLOWED):
        pass


@pytest.mark.parametrize("value", ["TOMO_2D", "STEREO_SCOUT", "", "LOW_ENERGY"])
def test_pictures_taken_beside_others_are_pictures(value: str, tmp_path: Path) -> None:
    result = enlarged(a_mammogram(ImageType=["ORIGINAL", "PRIMARY", value, "", ""]), tmp_path)
    assert result.ImageType[2] == value


def test_a_mammogram_of_another_class_is_one(tmp_path: Path) -> None:
    dataset = a_dataset(SOPClassUID="1.2.840.10008.5.1.4.1.1.1", Modality="MG")
    path = save(dataset, tmp_path / "a.dcm")
    with pytest.raises(ImageError, match="--allow-mammography"), dicom.opened(path):
        pass
    enlarged(dataset, tmp_path)


def test_as_a_secondary_capture_it_is_still_that_view(tmp_path: Path) -> None:
    source = a_mammogram()
    result = enlarged(source, tmp_path, DicomOptions(allow_mammography=True, as_capture=True))
    for name in ("ImageLaterality", "PatientOrientation", "ViewCodeSequence", "PartialView", "PartialViewCodeSequence"):
        assert result[name].value == source[name].value, name
    assert "ImagerPixelSpacing" not in result
    assert "PositionerType" not in result


def test_allowing_them_changes_no_result(samples: Path, tmp_path: Path) -> None:
    uids = set()
    for options in (DEFAULTS, ALLOWED):
        uids.add(enlarged(a_dataset(), tmp_path, options).SOPInstanceUID)
    assert len(uids) == 1
