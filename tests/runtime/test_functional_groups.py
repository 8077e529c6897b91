import re
import struct
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from lightsr import dicom, elements, functional_groups
from lightsr.errors import ImageError
from pydicom.dataset import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from .dicom_files import compressed, rle, save
from .enhanced_files import OBLIQUE, an_enhanced, code, group, item, position

PIXELS = np.random.default_rng(0).integers(-900, 900, (3, 6, 8)).astype(np.int16)


def refusal(dataset: Dataset, folder: Path) -> str:
    path = save(dataset, folder / "a.dcm")
    with pytest.raises(ImageError) as caught, dicom.opened(path):
        pass
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith(f"{path}: ")
    assert message.count(str(path)) == 1
    return message


@pytest.mark.parametrize("kind", ["CT", "MR", "legacy CT", "legacy MR"])
def test_frames_of_every_kind(kind: str, tmp_path: Path) -> None:
    with dicom.opened(save(an_enhanced(PIXELS, kind), tmp_path / "a.dcm")) as frames:
        assert (len(frames), frames.size, frames.one_scale) == (3, (6, 8), True)
        assert np.array_equal([image.pixels for image in frames], PIXELS)
        assert {image.modality for image in frames} == {kind[-2:]}
        assert "PerFrameFunctionalGroupsSequence" not in frames.header


@pytest.mark.parametrize(
    "syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian, ExplicitVRBigEndian, DeflatedExplicitVRLittleEndian]
)
@pytest.mark.parametrize("of_known_length", [True, False])
def test_groups_of_every_encoding(syntax: str, of_known_length: bool, tmp_path: Path) -> None:
    dataset = an_enhanced(PIXELS, own=lambda index: {"FrameVOILUTSequence": group(WindowCenter=index, WindowWidth=9)},
                          shared={"FrameVOILUTSequence": None})  # fmt: skip
    dataset["PerFrameFunctionalGroupsSequence"].is_undefined_length = not of_known_length
    for part in dataset.PerFrameFunctionalGroupsSequence:
        part.is_undefined_length_sequence_item = not of_known_length
    if syntax == ExplicitVRBigEndian:
        dataset.PixelData = PIXELS.byteswap().tobytes()
    path = save(dataset, tmp_path / "a.dcm", syntax)
    with dicom.opened(path) as frames:
        assert np.array_equal([image.pixels for image in frames], PIXELS)
        groups = list(frames.groups)
        assert [own.PlanePositionSequence[0].ImagePositionPatient for own in groups] == [position(i) for i in range(3)]
        assert [frames.groups.of(own, "FrameVOILUTSequence").WindowCenter for own in groups] == [0, 1, 2]
        assert [frames.groups.of(own, "PlaneOrientationSequence").ImageOrientationPatient for own in groups] == [
            list(OBLIQUE)
        ] * 3
        expected = pydicom.dcmread(path).PerFrameFunctionalGroupsSequence
        assert [own.to_json() for own in groups] == [own.to_json() for own in expected]


def test_a_frame_states_what_a_single_image_would(tmp_path: Path) -> None:
    """Those who judge or show a frame need its rescaling and window."""
    names = ("FrameVOILUTSequence", "PixelValueTransformationSequence")

    def own(index: int) -> dict[str, Any]:
        rescale = group(RescaleIntercept=-1024, RescaleSlope=1 + index, RescaleType="HU")
        return dict(zip(names, (group(WindowCenter=index, WindowWidth=9), rescale), strict=True))

    path = save(an_enhanced(PIXELS, shared=dict.fromkeys(names), own=own), tmp_path / "a.dcm")
    with dicom.opened(path) as frames:
        for index, image in enumerate(frames):
            header = image.header
            assert (header.RescaleIntercept, header.RescaleSlope, header.WindowCenter) == (-1024, 1 + index, index)
            assert header.ImagePositionPatient == position(index)
            assert (header.ImageOrientationPatient, header.PixelSpacing) == (list(OBLIQUE), [0.8, 1.1])
            assert "PatientID" not in header


def test_compressed_frames(tmp_path: Path) -> None:
    path = compressed(an_enhanced(PIXELS), RLELossless, [rle(plane[None]) for plane in PIXELS], tmp_path / "a.dcm")
    with dicom.opened(path) as frames:
        assert np.array_equal([image.pixels for image in frames], PIXELS)
        assert frames.groups.plane(frames.groups.frame(2)).first == tuple(position(2))


def test_values_whose_kind_the_header_tells(tmp_path: Path) -> None:
    """In implicit VR nothing in a frame's own groups says whether a padding value is signed (PS3.5, A.1)."""
    mapping = group(RealWorldValueIntercept=0.0, RealWorldValueSlope=2.0)
    mapping[0].add_new("RealWorldValueFirstValueMapped", "SS", -900)
    dataset = an_enhanced(PIXELS, own=lambda _: {"RealWorldValueMappingSequence": mapping})
    with dicom.opened(save(dataset, tmp_path / "a.dcm", ImplicitVRLittleEndian)) as frames:
        found = frames.groups.frame(1).RealWorldValueMappingSequence[0]["RealWorldValueFirstValueMapped"]
        assert (found.VR, found.value) == ("SS", -900)


@pytest.mark.parametrize(
    ("rescale", "one_scale"),
    [
        (lambda index: group(RescaleIntercept=-1024, RescaleSlope="1.0", RescaleType="HU"), True),
        (lambda index: group(RescaleIntercept=-1024, RescaleSlope=1 + index / 10, RescaleType="HU"), False),
        (lambda index: group(RescaleIntercept=index - 1024, RescaleSlope=1, RescaleType="HU"), False),
        (lambda index: group(RescaleIntercept=0, RescaleSlope=1, RescaleType=("HU", "US")[index % 2]), False),
        (lambda index: None if index else group(RescaleIntercept=0, RescaleSlope=1, RescaleType="US"), False),
        (lambda index: None, True),
    ],
)
def test_whether_values_mean_the_same(rescale: Callable[[int], Any], one_scale: bool, tmp_path: Path) -> None:
    name = "PixelValueTransformationSequence"
    dataset = an_enhanced(PIXELS, shared={name: None}, own=lambda index: {name: rescale(index)})
    with dicom.opened(save(dataset, tmp_path / "a.dcm")) as frames:
        assert frames.one_scale is one_scale


def mapping(slope: float, unit: str = "mm2/s", **more: Any) -> list[Dataset]:
    units = code(unit, unit, "UCUM")
    return group(
        RealWorldValueIntercept=0.0, RealWorldValueSlope=slope, MeasurementUnitsCodeSequence=units, LUTLabel="x", **more
    )


@pytest.mark.parametrize(
    ("mapped", "one_scale"),
    [
        (lambda index: mapping(2.0), True),
        (lambda index: mapping(2.0 + index), False),
        (lambda index: mapping(2.0, ("mm2/s", "ms")[index % 2]), False),
        (lambda index: mapping(2.0) + mapping(3.0 + index), False),
        (lambda index: mapping(2.0) if index else None, False),
        (lambda index: mapping(2.0, LUTExplanation=f"frame {index}"), True),
        (lambda index: group(RealWorldValueLUTData=[0.0, 1.0], RealWorldValueFirstValueMapped=0), True),
        (lambda index: group(RealWorldValueLUTData=[0.0, 1.0 + index], RealWorldValueFirstValueMapped=0), False),
        (lambda index: group(RealWorldValueLUTData=[1.0 + index], RealWorldValueFirstValueMapped=0), False),
    ],
)
def test_whether_values_stand_for_the_same(mapped: Callable[[int], Any], one_scale: bool, tmp_path: Path) -> None:
    """Real world value mappings that differ, under one rescaling (PS3.3 C.7.6.16.2.11)."""
    dataset = an_enhanced(PIXELS, own=lambda index: {"RealWorldValueMappingSequence": mapped(index)})
    with dicom.opened(save(dataset, tmp_path / "a.dcm")) as frames:
        assert frames.one_scale is one_scale


@pytest.mark.parametrize("change", [lambda items: items[:2], lambda items: [*items, items[0]], lambda items: []])
def test_groups_of_other_than_every_frame_are_refused(change: Callable[[Any], Any], tmp_path: Path) -> None:
    dataset = an_enhanced(PIXELS)
    items = change(list(dataset.PerFrameFunctionalGroupsSequence))
    dataset.PerFrameFunctionalGroupsSequence = items
    assert f"functional groups of {len(items)} frames, and 3 frames" in refusal(dataset, tmp_path)


@pytest.mark.parametrize(
    ("kind", "values", "message"),
    [
        ("MR", {"FrameType": ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]}, "a MR image of type ADC, a diffusion map"),
        ("MR", {"FrameType": ["ORIGINAL", "PRIMARY", "VELOCITY", "NONE"]}, "of type VELOCITY, a"),
        ("MR", {"FrameType": ["DERIVED", "PRIMARY", "PERFUSION", "QUANTITY"]}, "of type QUANTITY, a quantitative map"),
        ("MR", {"FrameType": ["ORIGINAL", "PRIMARY", "T1", "PHASE MAP"]}, "of type PHASE MAP, a phase"),
        ("MR", {"ComplexImageComponent": "PHASE"}, "of type PHASE, part of a complex one"),
        ("MR", {"ComplexImageComponent": "REAL"}, "of type REAL, part"),
        ("CT", {"FrameType": ["DERIVED", "PRIMARY", "PERFUSION", "RCBF"]}, "a CT image of type RCBF, a perfusion map"),
        ("CT", {"FrameType": ["ORIGINAL", "PRIMARY", "LOCALIZER", "NONE"]}, "of type LOCALIZER, a localizer"),
        ("CT", {"FrameType": ["DERIVED", "PRIMARY", "VOLUME", "SUBTRACTION"]}, "of type SUBTRACTION, a difference"),
        ("CT", {"PixelPresentation": "COLOR"}, "of type COLOR, whose values are colours of a palette"),
        ("legacy MR", {"FrameType": ["DERIVED", "PRIMARY", "OTHER", "T2_MAP"]}, "of type T2_MAP, a relaxation map"),
        ("CT", {"FrameType": None}, "its FrameType is missing"),
    ],
)
def test_one_frame_that_is_no_picture_is_enough(
    kind: str, values: dict[str, Any], message: str, tmp_path: Path
) -> None:
    """Type of the whole is MIXED then: each frame is judged by what it says of itself."""
    usual = {"FrameType": ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"], "PixelPresentation": "MONOCHROME"}
    name = f"{kind[-2:]}ImageFrameTypeSequence"

    def own(index: int) -> dict[str, Any]:
        return {name: group(**(usual | (values if index == 1 else {})))}

    whole = ["MIXED", "PRIMARY", "VOLUME", "MIXED"]
    found = refusal(an_enhanced(PIXELS, kind, shared={name: None}, own=own, ImageType=whole), tmp_path)
    assert ": frame 2: " in found
    assert message in found


def test_what_holds_for_all_frames_is_judged_too(tmp_path: Path) -> None:
    whole = ["DERIVED", "PRIMARY", "DIFFUSION", "ADC"]
    shared = {"MRImageFrameTypeSequence": group(FrameType=whole)}
    assert "of type ADC" in refusal(an_enhanced(PIXELS, "MR", ImageType=whole), tmp_path)
    assert "frame 1: a MR image of type ADC" in refusal(an_enhanced(PIXELS, "MR", shared=shared), tmp_path)


@pytest.mark.parametrize(
    ("shared", "own", "message"),
    [
        ({"PlaneOrientationSequence": None}, {}, "position without orientation or pixel spacing"),
        ({"PixelMeasuresSequence": None}, {}, "position without orientation or pixel spacing"),
        ({"PixelMeasuresSequence": group(SliceThickness=3)}, {}, "position without orientation or pixel spacing"),
        ({"PixelMeasuresSequence": group(PixelSpacing=[0.8, 0])}, {}, "PixelSpacing is not 2 positive numbers"),
        ({"PixelMeasuresSequence": group(PixelSpacing=[0.8])}, {}, "PixelSpacing is not 2 positive numbers"),
        ({"PlaneOrientationSequence": group(ImageOrientationPatient=[1, 0, 0])}, {}, "is not 6 numbers"),
        ({}, {"PlanePositionSequence": group(ImagePositionPatient=[1, 2])}, "ImagePositionPatient is not 3 numbers"),
        (
            {},
            {"PixelMeasuresSequence": group(PixelSpacing=[1, 1])},
            "functional group (0028,9110) of its own and of all",
        ),
        (
            {},
            {"PlanePositionSequence": [item(ImagePositionPatient=[1, 2, 3])] * 2},
            "2 items of PlanePositionSequence for one frame",
        ),
        ({"CTImageFrameTypeSequence": None}, {}, "its FrameType is missing"),
        ({"PixelValueTransformationSequence": group(RescaleSlope=1)}, {}, "its RescaleIntercept is missing or not 1"),
        (
            {"PixelValueTransformationSequence": group(RescaleIntercept=1, RescaleSlope=0)},
            {},
            "its RescaleSlope is 0",
        ),
        ({}, {"PlanePositionVolumeSequence": group(ImagePositionVolume=[1, 2, 3])}, "has PlanePositionVolumeSequence"),
    ],
)
def test_groups_that_contradict_themselves_are_refused(
    shared: dict[str, Any], own: dict[str, Any], message: str, tmp_path: Path
) -> None:
    found = refusal(an_enhanced(PIXELS, shared=shared, own=lambda index: own if index else {}), tmp_path)
    assert message in found
    assert re.search(r": frame [12]: ", found)


def test_several_shared_items_are_refused(tmp_path: Path) -> None:
    dataset = an_enhanced(PIXELS)
    dataset.SharedFunctionalGroupsSequence = [dataset.SharedFunctionalGroupsSequence[0], Dataset()]
    assert "2 items of SharedFunctionalGroupsSequence; at most one" in refusal(dataset, tmp_path)


@pytest.mark.parametrize("name", functional_groups.CONCATENATION)
def test_a_part_of_a_concatenation_is_refused(name: str, tmp_path: Path) -> None:
    dataset = an_enhanced(PIXELS, **{name: "1.2.3" if "UID" in name else 1})
    assert "is a part of a concatenation" in refusal(dataset, tmp_path)


@pytest.mark.parametrize(
    ("uid", "name"),
    [
        ("1.2.840.10008.5.1.4.1.1.130", "Enhanced PET"),
        ("1.2.840.10008.5.1.4.1.1.128.1", "Legacy Converted Enhanced PET"),
        ("1.2.840.10008.5.1.4.1.1.6.2", "Enhanced US Volume"),
        ("1.2.840.10008.5.1.4.1.1.12.1.1", "Enhanced XA"),
        ("1.2.840.10008.5.1.4.1.1.13.1.3", "Breast Tomosynthesis"),
        ("1.2.840.10008.5.1.4.1.1.66.4", "Segmentation"),
        ("1.2.840.10008.5.1.4.1.1.30", "Parametric Map"),
        ("1.2.840.10008.5.1.4.1.1.4.3", "Enhanced MR Color"),
    ],
)
def test_other_enhanced_kinds_are_refused_by_name(uid: str, name: str, tmp_path: Path) -> None:
    found = refusal(an_enhanced(PIXELS, SOPClassUID=uid), tmp_path)
    assert name in found
    assert "enhanced CT, enhanced MR, " in found


def grown(count: int, of_a_frame: bytes) -> Callable[[bytes], bytes]:
    """A made file of explicit VR, with elements in the first item of its groups of frames."""
    more = of_a_frame * count

    def change(content: bytes) -> bytes:
        start = content.index(b"\x00\x52\x30\x92SQ\0\0") + 8
        (length,) = struct.unpack_from("<I", content, start)
        (first,) = struct.unpack_from("<I", content, start + 8)
        head = content[:start] + struct.pack("<I", length + len(more)) + content[start + 4 : start + 8]
        body = content[start + 12 : start + 12 + first]
        return head + struct.pack("<I", first + len(more)) + body + more + content[start + 12 + first :]

    return change


@pytest.mark.parametrize(
    ("count", "of_a_frame", "message"),
    [
        (elements.MAX_FRAME_ELEMENTS, b"\x21\x00\x10\x10CS\0\0", "more than 10000 elements of one frame or"),
        (50, b"\x60\x54\x10\x10DS" + struct.pack("<H", 4000) + b"1\\" * 2000, "128 KiB of short values of one frame"),
        (1, b"\x60\x54\x10\x10DS" + struct.pack("<H", 4000) + b"1\\", "says 4000 bytes"),
    ],
)
def test_one_frame_cannot_hold_too_much(count: int, of_a_frame: bytes, message: str, tmp_path: Path) -> None:
    path = save(an_enhanced(PIXELS), tmp_path / "a.dcm")
    content = path.read_bytes()
    path.write_bytes(grown(1, b"\x60\x54\x10\x10CS\x02\x001 ")(content))
    with dicom.opened(path) as frames:
        assert len(frames.groups.frame(0)) == len(frames.groups.frame(1)) + 1
    path.write_bytes(grown(count, of_a_frame)(content))
    with pytest.raises(ImageError, match=re.escape(message)), dicom.opened(path):
        pass


def test_what_stands_behind_the_groups_is_counted_as_the_file_s(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = an_enhanced(PIXELS)
    for number in range(40):
        dataset.add_new(0x54031000 + number, "LO", "")
    path = save(dataset, tmp_path / "a.dcm")
    monkeypatch.setattr(elements, "MAX_FRAME_ELEMENTS", 30)
    with dicom.opened(path):
        pass
    monkeypatch.setattr(elements, "MAX_ELEMENTS", 100)
    with pytest.raises(ImageError, match="more than 100 elements"), dicom.opened(path):
        pass


def test_many_frames_are_counted_together(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(an_enhanced(PIXELS), tmp_path / "a.dcm")
    monkeypatch.setattr(elements, "MAX_ELEMENTS", 100)  # what one frame has does not count as the file's
    with dicom.opened(path):
        pass
    monkeypatch.setattr(elements, "MAX_ALL_FRAMES_ELEMENTS", 25)
    with pytest.raises(ImageError, match="25 elements of all"), dicom.opened(path):
        pass
    monkeypatch.setattr(elements, "MAX_FRAMES", 2)
    with pytest.raises(ImageError, match="more than 2 frames; fewer are allowed"), dicom.opened(path):
        pass


@pytest.mark.parametrize("length", [b"\xff\xff\xff\xff", struct.pack("<I", 8 * 2**22)])
def test_frames_without_number_take_no_memory(length: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = save(an_enhanced(PIXELS), tmp_path / "a.dcm")
    content = path.read_bytes()
    start = content.index(b"\x00\x52\x30\x92SQ") + 8
    path.write_bytes(content[:start] + length + b"\xfe\xff\x00\xe0\0\0\0\0" * 2**22)
    monkeypatch.setattr(elements, "MAX_FRAMES", 5000)
    tracemalloc.start()
    try:
        with pytest.raises(ImageError, match="more than 5000 frames; fewer are allowed"), dicom.opened(path):
            pass
        assert tracemalloc.get_traced_memory()[1] < 2**20
    finally:
        tracemalloc.stop()


def test_groups_that_stand_twice_are_refused(tmp_path: Path) -> None:
    path = save(an_enhanced(PIXELS), tmp_path / "a.dcm")
    content = path.read_bytes()
    start, end = content.index(b"\x00\x52\x30\x92SQ"), content.index(b"\xe0\x7f\x10\x00OW")
    path.write_bytes(content[:end] + content[start:end] + content[end:])
    with pytest.raises(ImageError, match=r"its element \(5200,9230\) is there twice"), dicom.opened(path):
        pass


def test_cut_anywhere_in_its_groups_a_file_is_refused(tmp_path: Path) -> None:
    path = save(an_enhanced(PIXELS[:, :2, :2]), tmp_path / "a.dcm")
    content = path.read_bytes()
    start, end = content.index(b"\x00\x52\x30\x92SQ"), content.index(b"\xe0\x7f\x10\x00OW")
    for position_ in range(start, end, 7):
        path.write_bytes(content[:position_] + content[end:])
        with pytest.raises(ImageError), dicom.opened(path):
            pass
