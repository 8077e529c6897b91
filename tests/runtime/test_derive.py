import dataclasses
import io
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pydicom
import pytest
from lightsr import derive, dicom, files
from lightsr.errors import ImageError
from lightsr.image import Frames
from lightsr.options import DEFAULTS, DicomOptions
from pydicom.dataset import Dataset
from pydicom.uid import UID, ExplicitVRLittleEndian, RLELossless

from .dicom_files import PRODUCER, a_cine, a_dataset, compressed, encoded, enlarged, rle, save


def test_pixels_and_what_they_mean(ct: Path) -> None:
    source, result, pixels = enlarged(ct)
    assert np.array_equal(result.pixel_array, pixels)
    assert (result.Rows, result.Columns) == (12, 16)
    for name in (
        *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "PhotometricInterpretation"),
        *("RescaleSlope", "RescaleIntercept", "RescaleType", "WindowCenter", "WindowWidth", "SamplesPerPixel"),
    ):
        assert result[name].value == source[name].value, name


def test_patient_and_study_stay(ct: Path) -> None:
    source, result, _ = enlarged(ct)
    for name in (
        *("PatientName", "PatientID", "PatientBirthDate", "StudyInstanceUID", "AccessionNumber", "StudyDescription"),
        *("FrameOfReferenceUID", "Modality", "InstanceNumber", "SliceThickness", "SOPClassUID", "InstitutionName"),
    ):
        assert result[name].value == source[name].value, name


def test_new_identity(ct: Path) -> None:
    source, result, _ = enlarged(ct)
    assert result.SOPInstanceUID != source.SOPInstanceUID
    assert result.SeriesInstanceUID != source.SeriesInstanceUID
    assert result.file_meta.MediaStorageSOPInstanceUID == result.SOPInstanceUID
    assert all(UID(uid).is_valid for uid in (result.SOPInstanceUID, result.SeriesInstanceUID))
    assert str(result.SOPInstanceUID).startswith("2.25.")
    assert result.SeriesNumber == 1005
    assert result.SeriesDescription == "Thorax [AI-SR x2]"


def test_uids_depend_on_source_model_scale_and_pixels(tmp_path: Path) -> None:
    ct = save(a_dataset(), tmp_path / "a.dcm")
    sibling = save(a_dataset(np.full((6, 8), 3, np.int16), SOPInstanceUID="1.2.3.5"), tmp_path / "b.dcm")
    first, again, other = (enlarged(path)[1] for path in (ct, ct, sibling))
    assert first.SOPInstanceUID == again.SOPInstanceUID
    assert first.SeriesInstanceUID == other.SeriesInstanceUID
    assert first.SOPInstanceUID != other.SOPInstanceUID
    model = derive.Producer("tiny", "fp32", "cd" * 32, "0.1.0")
    assert enlarged(ct, producer=model)[1].SeriesInstanceUID != first.SeriesInstanceUID
    assert enlarged(ct, scale=3)[1].SeriesInstanceUID != first.SeriesInstanceUID
    image = dicom.read(ct)
    pixels = image.pixels.repeat(2, 0).repeat(2, 1)
    pixels[0, 0] += 1
    buffer = io.BytesIO()
    derive.write(Frames.of(image), [pixels], scale=2, producer=PRODUCER, file=buffer)
    buffer.seek(0)
    assert pydicom.dcmread(buffer).SOPInstanceUID != first.SOPInstanceUID


def test_a_cine_keeps_its_times(tmp_path: Path) -> None:
    stored = np.random.default_rng(0).integers(0, 255, (3, 5, 7), dtype=np.uint8)
    kept = {"FrameTimeVector": [0, 40, 41], "FrameIncrementPointer": 0x00181065, "RWaveTimeVector": [5, 50]}
    kept |= {"CineRate": 25, "FrameTime": 40, "StartTrim": 1, "StopTrim": 3, "RecommendedDisplayFrameRate": 24}
    source, result, pixels = enlarged(save(a_cine(stored, **kept), tmp_path / "a.dcm"), scale=3)
    assert np.array_equal(result.pixel_array, pixels)
    assert result.pixel_array.shape == (3, 15, 21)
    for name in (*kept, "NumberOfFrames", "SOPClassUID"):
        assert result[name].value == source[name].value, name


def test_the_instance_depends_on_every_frame(tmp_path: Path) -> None:
    stored = np.zeros((3, 5, 7), np.uint8)
    first = enlarged(save(a_cine(stored), tmp_path / "a.dcm"))[1]
    stored[2, 4, 6] = 1
    second = enlarged(save(a_cine(stored), tmp_path / "b.dcm"))[1]
    assert first.SOPInstanceUID != second.SOPInstanceUID
    assert first.SeriesInstanceUID == second.SeriesInstanceUID


def test_frames_that_advance_by_something_private_are_refused(tmp_path: Path) -> None:
    dataset = a_cine(np.zeros((2, 4, 4), np.uint8), FrameIncrementPointer=0x00191001)
    dataset.add_new(0x00190010, "LO", "MAKER")
    dataset.add_new(0x00191001, "DS", "40")
    with pytest.raises(ImageError, match=r"advance by the element \(0019,1001\), which cannot be kept"):
        enlarged(save(dataset, tmp_path / "a.dcm"))


def test_more_than_dicom_can_hold_is_refused_before_it_is_made(tmp_path: Path) -> None:
    source = Frames.of(dicom.read(save(a_dataset(), tmp_path / "a.dcm")))
    frames = replace(source, count=2**30 // 48 + 1)

    def never() -> Iterator[np.ndarray]:
        raise AssertionError("a frame was enlarged")
        yield

    with pytest.raises(ImageError, match="would become 8.0 GiB of pixels, of which DICOM holds less than 4"):
        derive.write(frames, never(), scale=2, producer=PRODUCER, file=io.BytesIO())


def test_a_frame_too_few_is_noticed(tmp_path: Path) -> None:
    with dicom.opened(save(a_cine(np.zeros((3, 4, 4), np.uint8)), tmp_path / "a.dcm")) as frames:
        pixels = [np.zeros((8, 8), np.uint8)] * 2
        with pytest.raises(ValueError, match="128 bytes of enlarged pixels; the header says 192"):
            derive.write(frames, pixels, scale=2, producer=PRODUCER, file=io.BytesIO())


def test_waiting_pixels_lie_beside_the_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not in the system's folder for temporary files, which may be memory, or another's to read."""
    monkeypatch.setattr(derive, "IN_MEMORY_BYTES", 10)
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "missing"))
    (tmp_path / "out").mkdir()
    path = save(a_cine(np.zeros((3, 4, 4), np.uint8)), tmp_path / "a.dcm")
    with dicom.opened(path) as frames, files.new_file(tmp_path / "out" / "b.dcm") as file:
        pixels = [image.pixels.repeat(2, 0).repeat(2, 1) for image in frames]
        derive.write(frames, pixels, scale=2, producer=PRODUCER, file=file)
    assert pydicom.dcmread(tmp_path / "out" / "b.dcm").pixel_array.shape == (3, 8, 8)
    assert len(list((tmp_path / "out").iterdir())) == 1


def test_bits_lie_lowest_in_the_result(tmp_path: Path) -> None:
    values = np.array([[0, 4095], [7, 9]], np.uint16)
    _, result, pixels = enlarged(save(a_dataset(values << 4, BitsStored=12, HighBit=15), tmp_path / "a.dcm"))
    assert (result.BitsStored, result.HighBit) == (12, 11)
    assert np.array_equal(result.pixel_array, pixels)
    assert pixels.max() == 4095


@pytest.mark.parametrize("said", [None, "00", "01"])
@pytest.mark.parametrize("syntax", ["1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.91"])
def test_what_was_lost_is_not_forgotten(said: str | None, syntax: str, tmp_path: Path) -> None:
    pixels = np.add.outer(np.arange(40), np.arange(60)).astype(np.uint8)
    content = encoded(pixels, "JPEG" if syntax.endswith("50") else "JPEG2000")
    dataset = a_dataset(pixels, **({"LossyImageCompression": said} if said else {}))
    _, result, _ = enlarged(compressed(dataset, syntax, [content], tmp_path / "a.dcm"))
    if said == "00" and syntax.endswith("91"):  # may be, and is said to be, lossless
        assert result.LossyImageCompression == "00"
        assert "LossyImageCompressionRatio" not in result
        return
    assert result.LossyImageCompression == "01"
    assert result.LossyImageCompressionMethod == ("ISO_10918_1" if syntax.endswith("50") else "ISO_15444_1")
    assert float(result.LossyImageCompressionRatio) == pytest.approx(2400 / (len(content) + len(content) % 2), 0.01)


def test_an_earlier_history_of_losses_is_kept(tmp_path: Path) -> None:
    pixels = np.zeros((40, 60), np.uint8)
    history = {"LossyImageCompressionMethod": ["ISO_14495_1", "ISO_10918_1"], "LossyImageCompressionRatio": [4, 9]}
    dataset = a_dataset(pixels, LossyImageCompression="01", **history)
    path = compressed(dataset, "1.2.840.10008.1.2.4.50", [encoded(pixels, "JPEG")], tmp_path / "a.dcm")
    _, result, _ = enlarged(path)
    assert list(result.LossyImageCompressionMethod) == history["LossyImageCompressionMethod"]
    assert list(result.LossyImageCompressionRatio) == history["LossyImageCompressionRatio"]


def test_a_lossless_source_has_no_history_of_losses(tmp_path: Path) -> None:
    values = np.zeros((6, 8), np.int16)
    _, result, pixels = enlarged(compressed(a_dataset(values), RLELossless, [rle(values[None])], tmp_path / "a.dcm"))
    assert "LossyImageCompression" not in result
    assert result.file_meta.TransferSyntaxUID == ExplicitVRLittleEndian
    assert np.array_equal(result.pixel_array, pixels)


def test_a_padding_value_of_a_palette_is_none_of_its_colours(samples: Path, tmp_path: Path) -> None:
    dataset = pydicom.dcmread(samples / "examples_palette.dcm")
    dataset.add_new("PixelPaddingValue", "US", 3)
    dataset.add_new("PixelPaddingRangeLimit", "US", 4)
    dataset.save_as(tmp_path / "a.dcm")
    _, result, _ = enlarged(tmp_path / "a.dcm")
    assert result.PhotometricInterpretation == "RGB"
    assert not {"PixelPaddingValue", "PixelPaddingRangeLimit"} & set(result.dir())


def test_a_series_without_a_number_gets_none(tmp_path: Path) -> None:
    dataset = a_dataset()
    del dataset.SeriesNumber
    _, result, _ = enlarged(save(dataset, tmp_path / "a.dcm"))
    assert "SeriesNumber" not in result


def test_a_palette_becomes_colours(samples: Path) -> None:
    source, result, pixels = enlarged(samples / "examples_palette.dcm")
    assert np.array_equal(result.pixel_array, pixels)
    assert (result.SamplesPerPixel, result.PhotometricInterpretation, result.PlanarConfiguration) == (3, "RGB", 0)
    assert (result.BitsAllocated, result.BitsStored, result.HighBit, result.PixelRepresentation) == (8, 8, 7, 0)
    assert any("Palette" in element.keyword for element in source)
    assert not any("Palette" in element.keyword for element in result)


@pytest.mark.parametrize("photometric", ["RGB", "YBR_FULL"])
def test_regions_say_nothing_about_samples_that_are_gone(photometric: str, tmp_path: Path) -> None:
    region = Dataset()
    region.RegionLocationMinX0 = region.RegionLocationMinY0 = 0
    region.RegionLocationMaxX1 = region.RegionLocationMaxY1 = 3
    region.PixelComponentOrganization, region.PixelComponentPhysicalUnits, region.TMLinePositionX1 = 3, 5, 2
    region.TableOfPixelValues, region.NumberOfTableEntries = [1, 2], 2
    changes = {"SequenceOfUltrasoundRegions": [region], "PhotometricInterpretation": photometric}
    dataset = a_cine(np.zeros((2, 4, 4, 3), np.uint8), **changes)
    _, result, _ = enlarged(save(dataset, tmp_path / "a.dcm"))
    (found,) = result.SequenceOfUltrasoundRegions
    assert ("PixelComponentOrganization" in found) == (photometric == "RGB")
    assert ("TableOfPixelValues" in found) == (photometric == "RGB")
    assert found.TMLinePositionX1 == 4
    assert result.PhotometricInterpretation == "RGB"


def test_the_source_is_left_alone(ct: Path) -> None:
    image = dicom.read(ct)
    before = image.header.to_json()
    derive.write(
        Frames.of(image), [image.pixels.repeat(2, 0).repeat(2, 1)], scale=2, producer=PRODUCER, file=io.BytesIO()
    )
    assert image.header.to_json() == before


def test_colour_and_odd_sizes(samples: Path) -> None:
    source, result, pixels = enlarged(samples / "SC_rgb_small_odd.dcm", scale=3)
    assert result.PlanarConfiguration == 0
    assert np.array_equal(result.pixel_array, pixels)
    assert len(result.PixelData) % 2 == 0
    assert source.Rows * 3 == result.Rows


@pytest.mark.skipif(shutil.which("dciodvfy") is None, reason="dciodvfy (Debian package dicom3tools) is not installed")
def test_an_independent_validator_finds_no_new_error(samples: Path, tmp_path: Path) -> None:
    for name in (
        *("CT_small.dcm", "MR_small.dcm", "examples_overlay.dcm", "examples_rgb_color.dcm"),
        *("MR_small_RLE.dcm", "examples_palette.dcm", "examples_jpeg2k.dcm", "examples_ybr_color.dcm"),
    ):
        target = tmp_path / name
        with dicom.opened(samples / name) as frames, target.open("wb") as file:
            pixels = (image.pixels.repeat(2, 0).repeat(2, 1) for image in frames)
            derive.write(frames, pixels, scale=2, producer=PRODUCER, file=file)
        new = errors(target) - errors(samples / name)
        assert not {line for line in new if "ReferencedSOPInstanceUID" not in line}, name


def errors(path: Path) -> set[str]:
    finished = subprocess.run(["dciodvfy", "-new", str(path)], capture_output=True, text=True, check=False)
    lines = (finished.stdout + finished.stderr).splitlines()
    return {re.sub(r"<[^>]*>$", "", line) for line in lines if line.startswith("Error")}


@pytest.mark.parametrize("name", ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
def test_what_has_no_identity_is_refused(name: str, tmp_path: Path) -> None:
    path = save(a_dataset(), tmp_path / "a.dcm")
    read = pydicom.dcmread(path)
    delattr(read, name)
    read.save_as(path)
    with pytest.raises(ImageError, match=f"its {name} is missing"):
        enlarged(path)


@pytest.mark.parametrize(("number", "expected"), [("5", 1005), ("A1", None), ("2147483640", None), ("", None)])
def test_series_numbers(number: str, expected: int | None, tmp_path: Path) -> None:
    stand_in = "1234567890"
    path = save(a_dataset(SeriesNumber=int(stand_in)), tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes().replace(stand_in.encode(), number.encode().ljust(10), 1))
    _, result, _ = enlarged(path)
    assert result.SeriesNumber == expected


def test_a_description_with_a_backslash_stays_text(tmp_path: Path) -> None:
    path = save(a_dataset(SeriesDescription="headXneck"), tmp_path / "a.dcm")
    path.write_bytes(path.read_bytes().replace(b"headXneck", b"head\\neck"))
    _, result, _ = enlarged(path)
    assert result.SeriesDescription == "head neck [AI-SR x2]"


@pytest.mark.parametrize("offset", ["+0900", "-0330", None, "rubbish"])
def test_the_time_zone_of_the_study_stays(offset: str | None, tmp_path: Path) -> None:
    import datetime

    dataset = a_dataset(StudyTime="100000")
    if offset:
        dataset.TimezoneOffsetFromUTC = offset
    _, result, _ = enlarged(save(dataset, tmp_path / "a.dcm"))
    assert result.get("TimezoneOffsetFromUTC") == offset
    assert result.StudyTime == "100000"
    zone = datetime.datetime.strptime(offset, "%z").tzinfo if offset in ("+0900", "-0330") else None
    now = datetime.datetime.now(zone).replace(tzinfo=None)
    made = datetime.datetime.strptime(result.InstanceCreationDate + result.InstanceCreationTime, "%Y%m%d%H%M%S")
    assert abs((now - made).total_seconds()) < 120


def test_another_version_makes_another_instance_in_the_same_series(tmp_path: Path) -> None:
    image = dicom.read(save(a_dataset(), tmp_path / "a.dcm"))
    results = []
    for version in ("0.1.0", "0.2.0"):
        buffer = io.BytesIO()
        producer = dataclasses.replace(PRODUCER, version=version)
        pixels = image.pixels.repeat(2, 0).repeat(2, 1)
        derive.write(Frames.of(image), [pixels], scale=2, producer=producer, file=buffer)
        results.append(pydicom.dcmread(io.BytesIO(buffer.getvalue())))
    assert results[0].SOPInstanceUID != results[1].SOPInstanceUID
    assert results[0].SeriesInstanceUID == results[1].SeriesInstanceUID


@pytest.mark.parametrize(("offset", "expected"), [(0, 5), (7, 12), (2**31 - 6, 2**31 - 1), (2**31 - 1, None)])
def test_the_series_offset_is_added(offset: int, expected: int | None, ct: Path) -> None:
    _, result, _ = enlarged(ct, options=DicomOptions(series_offset=offset))
    assert result.SeriesNumber == expected


@pytest.mark.parametrize("suffix", [" (sharp)", "x" * 64])
def test_a_suffix_is_never_cut(suffix: str, tmp_path: Path) -> None:
    path = save(a_dataset(SeriesDescription="y" * 60), tmp_path / "a.dcm")
    _, result, _ = enlarged(path, options=DicomOptions(suffix=suffix))
    assert result.SeriesDescription == "y" * min(60, 64 - len(suffix)) + suffix


def test_what_is_said_otherwise_is_another_instance_and_another_series(ct: Path) -> None:
    choices = [
        DEFAULTS,
        DicomOptions(series_offset=1001),
        DicomOptions(suffix=" (sharp)"),
        DicomOptions(equipment="keep"),
        DicomOptions(as_capture=True),
        DicomOptions(equipment="keep", as_capture=True),
    ]
    results = [enlarged(ct, options=options)[1] for options in choices]
    for name in ("SOPInstanceUID", "SeriesInstanceUID"):
        assert len({result[name].value for result in results}) == len(choices)
        assert all(UID(result[name].value).is_valid for result in results)
    again = enlarged(ct, options=DicomOptions(suffix=" (sharp)"))[1]
    assert again.SOPInstanceUID == results[2].SOPInstanceUID


@pytest.mark.parametrize(
    ("uid", "allowed"),
    [
        ("1.2.826.0.1", True),
        ("1.02.3", True),
        ("dccc9599087131742838cc1162a630fea87ba9bf61ac09bfda90d4adfa5ddaed", True),
        ("a" * 65, False),
        ("../1.2.3", False),
        ("..", False),
        ("1.2/3", False),
        ("1.2.3 4", False),
        ("1.2\x1b[2J", False),
        ("1.2\n3", False),
    ],
)
@pytest.mark.parametrize("name", ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
def test_what_is_no_uid_is_not_handed_on(name: str, uid: str, allowed: bool, tmp_path: Path) -> None:
    with dicom.silenced():
        frames = Frames.of(dicom.read(save(a_dataset(**{name: uid}), tmp_path / "a.dcm")))
    if allowed:
        assert derive.derived(frames, scale=2, producer=PRODUCER).Rows == 12
    else:
        with pytest.raises(ImageError, match=f"its {name} is no UID") as caught:
            derive.derived(frames, scale=2, producer=PRODUCER)
        assert uid not in str(caught.value)
