from pathlib import Path

import pytest
from lightsr import derive, dicom
from lightsr.errors import ImageError
from lightsr.image import Frames
from lightsr.options import DicomOptions
from pydicom.dataset import Dataset
from pydicom.uid import UID

from .dicom_files import PRODUCER, a_dataset, enlarged, save


def test_it_says_what_it_is(ct: Path) -> None:
    source, result, _ = enlarged(ct)
    assert list(result.ImageType) == ["DERIVED", "PRIMARY", "AXIAL"]
    assert result.DerivationDescription == (
        "lightsr 0.1.0 AI super-resolution x2, model tiny int8 sha256:abababababab, not for primary diagnosis"
    )
    assert [code.CodeValue for code in result.DerivationCodeSequence] == ["113085", "123110"]
    (reference,) = result.SourceImageSequence
    assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
    assert reference.SpatialLocationsPreserved == "YES"
    assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    assert result.ContentQualification == "RESEARCH"
    assert result.Manufacturer == "lightsr"
    scanner, processor = result.ContributingEquipmentSequence
    assert (scanner.Manufacturer, scanner.ManufacturerModelName) == ("Scanmaker", "Scan 1")
    assert processor.ManufacturerModelName == "lightsr"
    assert UID(processor.DeviceUID).is_valid
    assert result.ContentDate == result.InstanceCreationDate


def test_our_own_result_is_recognised(ct: Path, tmp_path: Path) -> None:
    image = dicom.read(ct)
    with (tmp_path / "out.dcm").open("wb") as file:
        derive.write(Frames.of(image), [image.pixels.repeat(2, 0).repeat(2, 1)], scale=2, producer=PRODUCER, file=file)
    with pytest.raises(ImageError, match="result of lightsr already"):
        dicom.read(tmp_path / "out.dcm")


def test_long_texts_are_cut_and_the_label_never(tmp_path: Path) -> None:
    path = save(a_dataset(SeriesDescription="x" * 64, DerivationDescription="y" * 1024), tmp_path / "a.dcm")
    _, result, _ = enlarged(path)
    assert len(result.SeriesDescription) == 64
    assert result.SeriesDescription.endswith(" [AI-SR x2]")
    assert len(result.DerivationDescription) == 1024
    assert result.DerivationDescription.endswith("not for primary diagnosis")


def test_an_earlier_derivation_is_kept(tmp_path: Path) -> None:
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = "113072", "DCM", "Multiplanar reformatting"
    path = save(a_dataset(DerivationDescription="MPR", DerivationCodeSequence=[code]), tmp_path / "a.dcm")
    _, result, _ = enlarged(path)
    assert result.DerivationDescription.startswith("MPR; lightsr")
    assert [item.CodeValue for item in result.DerivationCodeSequence] == ["113072", "113085", "123110"]


def test_who_made_the_source_is_not_said_to_have_made_the_result(tmp_path: Path) -> None:
    _, result, _ = enlarged(save(a_dataset(InstanceCreatorUID="1.2.840.99"), tmp_path / "a.dcm"))
    assert "InstanceCreatorUID" not in result


def test_kept_equipment_is_the_scanner_and_the_result_still_ours(tmp_path: Path) -> None:
    path = save(a_dataset(SoftwareVersions="9", DeviceSerialNumber="77", DeviceUID="1.2.77"), tmp_path / "a.dcm")
    source, result, _ = enlarged(path, options=DicomOptions(equipment="keep"))
    for name in ("Manufacturer", "ManufacturerModelName", "SoftwareVersions", "DeviceSerialNumber", "DeviceUID"):
        assert result[name].value == source[name].value, name
    scanner, processor = result.ContributingEquipmentSequence
    assert (scanner.Manufacturer, processor.Manufacturer) == ("Scanmaker", "lightsr")
    result.save_as(tmp_path / "b.dcm")
    with pytest.raises(ImageError, match="result of lightsr already"):
        dicom.read(tmp_path / "b.dcm")
