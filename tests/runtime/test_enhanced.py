import io
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from lightsr import derive, dicom
from lightsr.errors import ImageError
from lightsr.options import DicomOptions
from pydicom.charset import convert_encodings, encode_string
from pydicom.dataset import Dataset
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from .dicom_files import PRODUCER, SECRET, save
from .enhanced_files import OBLIQUE, an_enhanced, code, group, position

PIXELS = np.random.default_rng(0).integers(-900, 900, (3, 6, 8)).astype(np.int16)

MEASURES, PLACE, ORIENTATION = "PixelMeasuresSequence", "PlanePositionSequence", "PlaneOrientationSequence"


def enlarged(
    dataset: Dataset, folder: Path, scale: int = 2, syntax: str = ExplicitVRLittleEndian, **options: Any
) -> tuple[Any, Any]:
    """Source and result, as pydicom reads them."""
    path = save(dataset, folder / "a.dcm", syntax)
    with dicom.opened(path) as frames, (folder / "b.dcm").open("wb") as file:
        pixels = (image.pixels.repeat(scale, 0).repeat(scale, 1) for image in frames)
        chosen = DicomOptions(**options)
        derive.write(frames, pixels, scale=scale, producer=PRODUCER, options=chosen, file=file)
    return pydicom.dcmread(path), pydicom.dcmread(folder / "b.dcm")


def groups(dataset: Any, index: int) -> Dataset:
    """All functional groups of a frame, those that it shares first."""
    shared, own = dataset.SharedFunctionalGroupsSequence[0], dataset.PerFrameFunctionalGroupsSequence[index]
    assert not shared.keys() & own.keys()
    found = Dataset()
    for element in (*shared, *own):
        found.add(element)
    return found


@pytest.mark.parametrize("kind", ["CT", "MR", "legacy CT", "legacy MR"])
@pytest.mark.parametrize("scale", [2, 3])
def test_pixels_patient_and_kind(kind: str, scale: int, tmp_path: Path) -> None:
    source, result = enlarged(an_enhanced(PIXELS, kind), tmp_path, scale)
    assert np.array_equal(result.pixel_array, PIXELS.repeat(scale, 1).repeat(scale, 2))
    assert (result.Rows, result.Columns, result.NumberOfFrames) == (6 * scale, 8 * scale, 3)
    for name in ("SOPClassUID", "PatientName", "StudyInstanceUID", "FrameOfReferenceUID", "DimensionIndexSequence"):
        assert result[name].value == source[name].value, name
    assert result.SOPInstanceUID != source.SOPInstanceUID
    assert result.file_meta.MediaStorageSOPClassUID == source.SOPClassUID
    tags = [element.tag for element in result]
    assert tags == sorted(tags)


@pytest.mark.parametrize("of_all", list(itertools.product([False, True], repeat=3)))
@pytest.mark.parametrize("alike", [False, True])
def test_every_frame_keeps_its_ground(of_all: tuple[bool, bool, bool], alike: bool, tmp_path: Path) -> None:
    """Spacing, position and orientation, each shared or of every frame; where they are of every frame, also others."""

    def values(index: int) -> dict[str, list[float]]:
        index = 0 if alike else index
        spacing = [0.8 + index / 10, 1.1 + index]
        directions = list(OBLIQUE) if index != 1 else [0, 1, 0, 0, 0, -1]
        return {MEASURES: spacing, PLACE: position(index), ORIENTATION: [float(number) for number in directions]}

    attributes = {MEASURES: "PixelSpacing", PLACE: "ImagePositionPatient", ORIENTATION: "ImageOrientationPatient"}
    shared = {
        name: group(**{attributes[name]: values(0)[name]}) if yes else None
        for name, yes in zip(attributes, of_all, strict=True)
    }

    def own(index: int) -> dict[str, Any]:
        of_one = {name: group(**{attributes[name]: values(index)[name]}) for name in attributes}
        return {name: None if shared[name] else of_one[name] for name in attributes}

    source, result = enlarged(an_enhanced(PIXELS, shared=shared, own=own), tmp_path, 3)
    for index in range(3):
        before, after = groups(source, index), groups(result, index)
        rows, columns = before[MEASURES][0].PixelSpacing
        assert np.allclose(after[MEASURES][0].PixelSpacing, [rows / 3, columns / 3], atol=1e-12)
        directions = np.array(before[ORIENTATION][0].ImageOrientationPatient)
        assert after[ORIENTATION].value == before[ORIENTATION].value
        # The outer corner of the first pixel: half a pixel up and left of its centre.
        for found, size in ((before, 1), (after, 3)):
            half = (directions[:3] * columns + directions[3:] * rows) / size / 2
            corner = np.array(found[PLACE][0].ImagePositionPatient, dtype=float) - half
            if size == 1:
                expected = corner
        assert np.allclose(corner, expected, atol=1e-9)
    shares_its_place = PLACE in result.SharedFunctionalGroupsSequence[0]
    assert shares_its_place == all(of_all)


def test_frames_without_a_place_have_none(tmp_path: Path) -> None:
    dataset = an_enhanced(PIXELS, shared={ORIENTATION: None}, own=lambda _: {PLACE: None})
    _, result = enlarged(dataset, tmp_path)
    assert PLACE not in groups(result, 1)
    assert groups(result, 1)[MEASURES][0].PixelSpacing == [0.4, 0.55]


@pytest.mark.parametrize(
    ("whole", "own", "expected"),
    [
        (["ORIGINAL", "PRIMARY", "AXIAL", "NONE"], None, ["DERIVED", "PRIMARY", "AXIAL", "RESAMPLED"]),
        (["DERIVED", "SECONDARY", "VOLUME", "MAXIMUM"], None, ["DERIVED", "SECONDARY", "VOLUME", "MAXIMUM"]),
        (["MIXED", "PRIMARY", "T1", "MIXED"], "MEAN", ["DERIVED", "PRIMARY", "T1", "MIXED"]),
        (["ORIGINAL", "PRIMARY"], None, ["DERIVED", "PRIMARY"]),
    ],
)
@pytest.mark.parametrize("kind", ["CT", "MR"])
def test_types(whole: list[str], own: str | None, expected: list[str], kind: str, tmp_path: Path) -> None:
    name = f"{kind}ImageFrameTypeSequence"

    def of_one(index: int) -> dict[str, Any]:
        return {name: group(FrameType=["ORIGINAL", "PRIMARY", "T1", ("NONE", own, "NONE")[index]])} if own else {}

    shared = {name: None if own else group(FrameType=whole, VolumetricProperties="VOLUME")}
    _, result = enlarged(an_enhanced(PIXELS, kind, shared=shared, own=of_one, ImageType=whole), tmp_path)
    assert list(result.ImageType) == expected
    if own:
        types = [list(groups(result, index)[name][0].FrameType) for index in range(3)]
        assert types == [["DERIVED", "PRIMARY", "T1", last] for last in ("RESAMPLED", "MEAN", "RESAMPLED")]
    else:
        assert list(groups(result, 2)[name][0].FrameType) == expected
        assert groups(result, 2)[name][0].VolumetricProperties == "VOLUME"


def test_every_frame_says_what_it_is_made_of(tmp_path: Path) -> None:
    source, result = enlarged(an_enhanced(PIXELS), tmp_path)
    for index in range(3):
        (derivation,) = groups(result, index).DerivationImageSequence
        assert derivation.DerivationDescription == (
            "lightsr 0.1.0 AI super-resolution x2, model tiny int8 sha256:abababababab, not for primary diagnosis"
        )
        assert [item.CodeValue for item in derivation.DerivationCodeSequence] == ["113085", "123110"]
        (reference,) = derivation.SourceImageSequence
        assert reference.ReferencedSOPClassUID == source.SOPClassUID
        assert reference.ReferencedSOPInstanceUID == source.SOPInstanceUID
        assert reference.ReferencedFrameNumber == index + 1
        assert reference.SpatialLocationsPreserved == "YES"
        assert reference.PurposeOfReferenceCodeSequence[0].CodeValue == "121322"
    (study,) = result.SourceImageEvidenceSequence
    assert study.StudyInstanceUID == source.StudyInstanceUID
    assert study.ReferencedSeriesSequence[0].SeriesInstanceUID == source.SeriesInstanceUID
    (instance,) = study.ReferencedSeriesSequence[0].ReferencedSOPSequence
    assert (instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID) == (source.SOPClassUID, "1.2.3.4")
    for name in ("DerivationDescription", "DerivationCodeSequence", "SourceImageSequence"):
        assert name not in result


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian])
@pytest.mark.parametrize("where", ["shared", "own", "data set"])
def test_an_earlier_derivation_is_kept(where: str, syntax: str, tmp_path: Path) -> None:
    said: dict[str, Any] = {"DerivationDescription": "MPR", "DerivationCodeSequence": code("113072", "Größe")}
    said["DerivationCodeSequence"][0].private_block(0x2005, "MAKER", create=True).add_new(1, "LO", SECRET)
    said["SourceImageSequence"] = group(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID="9.9")
    sequence = {"DerivationImageSequence": group(**said)}
    if where == "shared":
        dataset = an_enhanced(PIXELS, shared=sequence)
    elif where == "own":
        dataset = an_enhanced(PIXELS, own=lambda index: sequence if index == 1 else {})
    else:
        dataset = an_enhanced(PIXELS, **said)
    dataset.SourceImageEvidenceSequence = group(StudyInstanceUID="9.8")
    dataset.SpecificCharacterSet = "ISO_IR 192"
    _, result = enlarged(dataset, tmp_path, syntax=syntax)
    assert b"MAKER" not in (tmp_path / "b.dcm").read_bytes()
    for index in range(3):
        (derivation,) = groups(result, index).DerivationImageSequence
        codes = [item.CodeValue for item in derivation.DerivationCodeSequence]
        earlier = where != "own" or index == 1
        assert derivation.DerivationDescription.startswith("MPR; lightsr" if earlier else "lightsr")
        assert codes == [*(["113072"] if earlier else []), "113085", "123110"]
        assert derivation.DerivationCodeSequence[0].CodeMeaning == ("Größe" if earlier else "Spatial resampling")
        assert [item.ReferencedSOPInstanceUID for item in derivation.SourceImageSequence] == ["1.2.3.4"]
    assert "DerivationDescription" not in result
    assert [item.StudyInstanceUID for item in result.SourceImageEvidenceSequence] == ["1.2"]


KEPT = {
    "FrameContentSequence": group(
        StackID="7", InStackPositionNumber=3, DimensionIndexValues=[5, 2], TemporalPositionIndex=4, FrameLabel="late"
    ),
    "PixelValueTransformationSequence": group(RescaleIntercept="-1024.5", RescaleSlope="0.25", RescaleType="HU"),
    "FrameVOILUTSequence": group(WindowCenter=[40, -600], WindowWidth=[400, 1500], VOILUTFunction="SIGMOID"),
    "ReferencedImageSequence": group(ReferencedSOPInstanceUID="9.9", ReferencedFrameNumber=[1, 2]),
    "RealWorldValueMappingSequence": group(RealWorldValueIntercept=1.5, RealWorldValueSlope=0.5, LUTLabel="x"),
    "IrradiationEventIdentificationSequence": group(IrradiationEventUID="1.2.3.9"),
    "CTReconstructionSequence": group(ReconstructionDiameter=300, ReconstructionPixelSpacing=[0.8, 1.1]),
    "MRFOVGeometrySequence": group(MRAcquisitionFrequencyEncodingSteps=256, PercentSampling=80),
    "CardiacSynchronizationSequence": group(NominalCardiacTriggerDelayTime=30.0),
    "TemporalPositionSequence": group(TemporalPositionTimeOffset=4.5),
}


@pytest.mark.parametrize("name", KEPT)
@pytest.mark.parametrize("where", ["shared", "own"])
def test_what_stays(name: str, where: str, tmp_path: Path) -> None:
    here = {name: KEPT[name]}
    dataset = an_enhanced(
        PIXELS,
        shared=here if where == "shared" else {name: None},
        own=lambda _: here if where == "own" else {name: None},
    )
    source, result = enlarged(dataset, tmp_path)
    for index in range(3):
        assert groups(result, index)[name].value == groups(source, index)[name].value
    assert (name in result.SharedFunctionalGroupsSequence[0]) == (where == "shared")


@pytest.mark.parametrize("where", ["shared", "own"])
def test_places_in_old_pixels_follow_or_go(where: str, tmp_path: Path) -> None:
    here = {
        "FrameDisplayShutterSequence": group(ShutterLeftVerticalEdge=2, ShutterRightVerticalEdge=6),
        "PixelIntensityRelationshipLUTSequence": group(LUTFunction="TO_LINEAR"),
        "FramePixelShiftSequence": group(SubtractionItemID=1, MaskSubPixelShift=[0.5, 1.5]),
        "ConversionSourceAttributesSequence": group(ReferencedSOPClassUID="1.2", ReferencedSOPInstanceUID="9.9"),
    }
    dataset = an_enhanced(
        PIXELS,
        "legacy CT",
        shared=here if where == "shared" else {},
        own=lambda _: here if where == "own" else {},
        SmallestImagePixelValue=0,
    )
    _, result = enlarged(dataset, tmp_path)
    for index in range(3):
        found = groups(result, index)
        assert found.FrameDisplayShutterSequence[0].ShutterLeftVerticalEdge == 3
        assert found.FrameDisplayShutterSequence[0].ShutterRightVerticalEdge == 12
        for name in list(here)[1:]:
            assert name not in found
    assert "SmallestImagePixelValue" not in result


@pytest.mark.parametrize("name", [f"Unassigned{of}ConvertedAttributesSequence" for of in ("Shared", "PerFrame")])
def test_what_a_converted_image_says_besides(name: str, tmp_path: Path) -> None:
    said = group(
        ImagerPixelSpacing=[0.2, 0.4],
        ReconstructionDiameter=300,
        LargestImagePixelValue=9,
        InstanceNumber=7,
        ReferencedPerformedProcedureStepSequence=group(ReferencedSOPInstanceUID="9.9"),
        IconImageSequence=[Dataset()],
    )
    said[0].private_block(0x0029, "MAKER", create=True).add_new(1, "LO", SECRET)
    shared = name.startswith("UnassignedShared")
    dataset = an_enhanced(
        PIXELS, "legacy MR", shared={name: said} if shared else {}, own=lambda _: {} if shared else {name: said}
    )
    _, result = enlarged(dataset, tmp_path)
    (found,) = groups(result, 1)[name].value
    assert {element.keyword for element in found} == {"ImagerPixelSpacing", "ReconstructionDiameter", "InstanceNumber"}
    assert list(found.ImagerPixelSpacing) == [0.1, 0.2]
    said[0].ImagePositionPatient = [1, 2, 3]
    with pytest.raises(ImageError, match="position without orientation or pixel spacing"):
        enlarged(dataset, tmp_path)


def test_private_attributes_go(tmp_path: Path) -> None:
    dataset = an_enhanced(PIXELS)
    for groups_ in (dataset.SharedFunctionalGroupsSequence[0], *dataset.PerFrameFunctionalGroupsSequence):
        for place in (groups_, next(iter(groups_))[0]):
            place.private_block(0x2005, "MAKER", create=True).add_new(1, "LO", "pixel 3 of Doe")
    enlarged(dataset, tmp_path)
    assert b"pixel 3" in (tmp_path / "a.dcm").read_bytes()
    assert b"pixel 3" not in (tmp_path / "b.dcm").read_bytes()
    assert b"MAKER" not in (tmp_path / "b.dcm").read_bytes()


@pytest.mark.parametrize("equipment", ["lightsr", "keep"])
def test_equipment_has_a_serial_number(equipment: Any, tmp_path: Path) -> None:
    source, result = enlarged(an_enhanced(PIXELS), tmp_path, equipment=equipment)
    assert result.DeviceSerialNumber == (PRODUCER.sha256[:16] if equipment == "lightsr" else source.DeviceSerialNumber)
    assert result.ContributingEquipmentSequence[0].DeviceSerialNumber == source.DeviceSerialNumber
    assert result.ContentQualification == "RESEARCH"
    assert result.BurnedInAnnotation == "NO"
    assert result.LossyImageCompression == "00"
    with pytest.raises(ImageError, match="result of lightsr already"), dicom.opened(tmp_path / "b.dcm"):
        pass


def test_a_secondary_capture_is_not_made_of_it(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match=r"a\.dcm: an enhanced image, whose frames .* leave out --as-sc"):
        enlarged(an_enhanced(PIXELS[:1]), tmp_path, as_capture=True)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian])
def test_other_encodings_of_the_source(syntax: str, tmp_path: Path) -> None:
    mapping = group(RealWorldValueIntercept=0.5, RealWorldValueSlope=2.0)
    mapping[0].add_new("RealWorldValueFirstValueMapped", "SS", -900)
    table = group(LUTDescriptor=[2, 0, 16])
    table[0].add_new(0x00283006, "OW", b"\x01\x02\x03\x04")
    own = {"RealWorldValueMappingSequence": mapping, "FrameVOILUTSequence": table}
    dataset = an_enhanced(PIXELS, shared={"FrameVOILUTSequence": None}, own=lambda _: own)
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = PIXELS.byteswap().tobytes()
    _, result = enlarged(dataset, tmp_path, syntax=syntax)
    assert np.array_equal(result.pixel_array[:, ::2, ::2], PIXELS)
    found = groups(result, 2)
    element = found.RealWorldValueMappingSequence[0]["RealWorldValueFirstValueMapped"]
    assert (element.VR, element.value) == ("SS", -900)
    words = bytes(found.FrameVOILUTSequence[0].LUTData)
    assert words == (b"\x01\x02\x03\x04" if syntax == ImplicitVRLittleEndian else b"\x02\x01\x04\x03")


@pytest.mark.parametrize("charset", ["ISO_IR 100", "ISO_IR 192", ["", "ISO 2022 IR 87"]])
def test_texts_of_frames_are_kept_byte_for_byte(charset: str | list[str], tmp_path: Path) -> None:
    text = "山田" if isinstance(charset, list) else "Grüße"
    own = {"FrameContentSequence": group(FrameLabel=text, FrameComments=text)}
    dataset = an_enhanced(PIXELS, own=lambda _: own, SpecificCharacterSet=charset)
    _, result = enlarged(dataset, tmp_path)
    assert groups(result, 1).FrameContentSequence[0].FrameComments == text
    stored = encode_string(text, convert_encodings(charset))
    assert [(tmp_path / name).read_bytes().count(stored) for name in ("a.dcm", "b.dcm")] == [6, 6]


def test_a_text_of_a_frame_that_is_not_in_its_character_set_is_refused(tmp_path: Path) -> None:
    own = {"FrameContentSequence": group(FrameLabel="Gr\xfc\xdfe")}
    dataset = an_enhanced(PIXELS, own=lambda index: own if index == 2 else {}, SpecificCharacterSet="ISO_IR 100")
    content = save(dataset, tmp_path / "a.dcm").read_bytes()
    assert content.count(b"ISO_IR 100") == 1
    (tmp_path / "c.dcm").write_bytes(content.replace(b"ISO_IR 100", b"ISO_IR 192"))
    with (
        dicom.opened(tmp_path / "c.dcm") as frames,
        pytest.raises(ImageError, match="FrameLabel holds text that") as at,
    ):
        derive.write(frames, [], scale=2, producer=PRODUCER, file=io.BytesIO())
    assert "Gr" not in str(at.value).replace(str(tmp_path), "")


def test_what_stands_behind_the_groups_stays(tmp_path: Path) -> None:
    dataset = an_enhanced(PIXELS)
    for element, vr, value in ((0x10, "US", 6), (0x11, "US", 8), (0x40, "CS", "G"), (0x50, "SS", [1, 1])):
        dataset.add_new(0x60000000 + element, vr, value)
    dataset.add_new(0x60000022, "LO", "Grüße")
    dataset.add_new(0x60000100, "US", 1)
    dataset.add_new(0x60000102, "US", 0)
    dataset.add_new(0x60003000, "OW", b"\xff" * 6)
    dataset.SpecificCharacterSet = "ISO_IR 192"
    _, result = enlarged(dataset, tmp_path)
    assert result[0x60000022].value == "Grüße"
    assert (result[0x60000010].value, result[0x60003000].value) == (12, b"\xff" * 24)


def test_the_source_is_left_alone(tmp_path: Path) -> None:
    shared = {PLACE: group(ImagePositionPatient=[1, 2, 3])}
    path = save(an_enhanced(PIXELS, shared=shared, own=lambda _: {PLACE: None}), tmp_path / "a.dcm")
    with dicom.opened(path) as frames:
        before = frames.header.to_json(), [own.to_json() for own in frames.groups]
        pixels = [np.zeros((12, 16), np.int16)] * 3
        derive.write(frames, pixels, scale=2, producer=PRODUCER, file=io.BytesIO())
        assert (frames.header.to_json(), [own.to_json() for own in frames.groups]) == before


def test_the_same_work_is_the_same_instance(tmp_path: Path) -> None:
    first = enlarged(an_enhanced(PIXELS), tmp_path)[1]
    content = (tmp_path / "b.dcm").read_bytes()
    again = enlarged(an_enhanced(PIXELS), tmp_path)[1]
    assert first.SOPInstanceUID == again.SOPInstanceUID
    assert len(content) == len((tmp_path / "b.dcm").read_bytes())
    other = PIXELS.copy()
    other[2, 3, 3] += 1
    assert enlarged(an_enhanced(other), tmp_path)[1].SOPInstanceUID != first.SOPInstanceUID
