"""Files of many frames: one scale, the memory of one frame, padding among them."""

import json
import subprocess
import sys
from pathlib import Path

import lightsr
import numpy as np
import pydicom
import pytest
from lightsr import enlarging, files, levels, pipeline
from lightsr.card import Precision
from lightsr.image import Frames
from lightsr.levels import Levels

from .dicom_files import a_cine, a_dataset, save
from .enhanced_files import an_enhanced, group


def results(path: Path, upscaler: lightsr.Upscaler, target: Path) -> np.ndarray:
    outcome = pipeline.enlarge_file(path, target, upscaler, overwrite=True)
    assert outcome.status == "done", outcome.message
    derived = pydicom.dcmread(target)
    assert outcome.frames == derived.get("NumberOfFrames", 1)
    found: np.ndarray = derived.pixel_array
    return found


def shared_levels(frames: Frames, upscaler: lightsr.Upscaler) -> list[Levels]:
    return [found for _, found in levels.of_frames(frames, unit=upscaler.card.intensity == "unit")]


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2", "RGB"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_still_scene_does_not_flicker(
    photometric: str, precision: str, cine: np.ndarray, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    upscaler: lightsr.Upscaler = request.getfixturevalue(precision)
    stored = np.stack([cine, cine // 2, cine], axis=-1) if photometric == "RGB" else cine
    path = save(a_cine(stored, PhotometricInterpretation=photometric), tmp_path / "a.dcm")
    found = results(path, upscaler, tmp_path / "b.dcm")
    assert np.array_equal(found[0], found[4])
    with files.opened(path) as frames:
        shared = shared_levels(frames, upscaler)
        assert (shared[0].low, shared[0].high) == ((0, 255) if photometric == "RGB" else (cine.min(), cine.max()))
        for index in range(5):
            assert np.array_equal(found[index], enlarging.enlarge(frames[index], upscaler, levels=shared[index]))
        if precision == "int8":  # a scale of its own would make another picture: the test can fail
            own = [enlarging.enlarge(frames[index], upscaler) for index in range(5)]
            assert not np.array_equal(found, own)


def test_one_scale_is_that_of_all_frames_as_one_picture(
    cine: np.ndarray, tmp_path: Path, int8: lightsr.Upscaler
) -> None:
    with files.opened(save(a_cine(cine), tmp_path / "a.dcm")) as frames:
        whole = lightsr.IntensityMap.of(cine.reshape(-1, cine.shape[2]))
        assert [found.intensity for found in shared_levels(frames, int8)] == [whole] * 5


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_frames_whose_values_mean_the_same_have_one_scale(
    alike: bool, precision: str, cine: np.ndarray, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    """A volume of CT, and frames of MR that the scanner has stretched one by one."""
    upscaler: lightsr.Upscaler = request.getfixturevalue(precision)
    name = "PixelValueTransformationSequence"

    def own(index: int) -> dict[str, object]:
        return {name: group(RescaleIntercept=0, RescaleSlope=1 if alike else 1 + index / 8, RescaleType="US")}

    stored = cine.astype(np.int16) * 9
    path = save(an_enhanced(stored, "MR", shared={name: None}, own=own), tmp_path / "a.dcm")
    found = results(path, upscaler, tmp_path / "b.dcm")
    with files.opened(path) as frames:
        (low, high), intensity, lowest = levels.together(frames, unit=upscaler.card.intensity == "unit")
        shared = [Levels(low, high, level, intensity) for level in lowest if level is not None]
        together = [enlarging.enlarge(image, upscaler, levels=own) for image, own in zip(frames, shared, strict=True)]
        alone = [enlarging.enlarge(image, upscaler) for image in frames]
    assert not np.array_equal(together, alone)
    assert np.array_equal(found, together if alike else alone)
    if not alike:
        for before, after in zip(stored, found, strict=True):
            assert before.min() <= after.min() <= after.max() <= before.max()


def test_frames_of_one_inverted_cine_are_mirrored_alike(
    cine: np.ndarray, tmp_path: Path, int8: lightsr.Upscaler
) -> None:
    inverted = (int(cine.max()) + int(cine.min()) - cine).astype(np.uint8)
    first = results(save(a_cine(cine), tmp_path / "a.dcm"), int8, tmp_path / "b.dcm").astype(int)
    source = save(a_cine(inverted, PhotometricInterpretation="MONOCHROME1"), tmp_path / "c.dcm")
    second = results(source, int8, tmp_path / "d.dcm").astype(int)
    assert np.abs(int(cine.max()) + int(cine.min()) - second - first).max() <= 1


def test_signed_bytes(picture: np.ndarray, tmp_path: Path, fp32: lightsr.Upscaler) -> None:
    stored = (picture // 8 - 100).astype(np.int8)
    found = results(save(a_dataset(stored), tmp_path / "a.dcm"), fp32, tmp_path / "b.dcm")
    assert found.dtype == np.int8
    assert np.array_equal(found, fp32(stored.astype(np.int16), value_range=(stored.min(), stored.max())))


def in_its_own_process(source: Path, target: Path) -> tuple[str, int, float]:
    """Message and frames of an outcome, and the peak memory of a process that does nothing else, MiB.

    pydicom imports every decoder that it finds, and GDCM takes some 10 MiB; a device has none.
    """
    script = (
        "import sys; sys.modules['gdcm'] = None\n"
        "import json; from pathlib import Path; import lightsr; from lightsr import pipeline\n"
        "upscaler = lightsr.load('tiny', scale=2, threads=1)\n"
        "outcome = pipeline.enlarge_file(Path(sys.argv[1]), Path(sys.argv[2]), upscaler)\n"
        "print(json.dumps([outcome.message, outcome.frames, outcome.peak_mib]))\n"
    )
    command = [sys.executable, "-c", script, str(source), str(target)]
    finished = subprocess.run(command, capture_output=True, text=True, check=True)
    message, frames, peak_mib = json.loads(finished.stdout)
    return message, frames, peak_mib


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from Linux's /proc")
def test_the_memory_of_functional_groups_is_that_of_one_frame(tmp_path: Path) -> None:
    """Those of 600 frames, some 60 000 elements, would take a hundred MiB as objects."""
    coils = [group(MultiCoilElementName=f"H{index}", MultiCoilElementUsed="YES")[0] for index in range(25)]
    dataset = an_enhanced(
        np.zeros((600, 8, 8), np.int16),
        own=lambda _: {"MRReceiveCoilSequence": group(MultiCoilDefinitionSequence=coils)},
    )
    source, target = save(dataset, tmp_path / "a.dcm"), tmp_path / "b.dcm"
    message, frames, peak_mib = in_its_own_process(source, target)
    assert (message, frames) == ("", 600)
    with pydicom.dcmread(target) as result:
        assert len(result.PerFrameFunctionalGroupsSequence) == 600
    assert peak_mib < 100


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from Linux's /proc")
def test_the_memory_of_a_cine_is_that_of_a_frame(tmp_path: Path) -> None:
    """30 frames, 15 MiB in and 60 MiB out, take what one takes (some 116 MiB with interpreter and model)."""
    source, target = tmp_path / "a.dcm", tmp_path / "b.dcm"
    frame = np.random.default_rng(0).integers(0, 4000, (512, 512)).astype(np.uint16)
    dataset = a_cine(np.stack([frame] * 2))
    content = save(dataset, source).read_bytes()
    start = content.index(b"\xe0\x7f\x10\x00OW")
    header = content[:start].replace(b"\x28\x00\x08\x00IS\x02\x002 ", b"\x28\x00\x08\x00IS\x02\x0030")
    with source.open("wb") as file:
        file.write(header + b"\xe0\x7f\x10\x00OW\0\0" + (30 * frame.nbytes).to_bytes(4, "little"))
        for _ in range(30):
            file.write(frame.tobytes())
    message, frames, peak_mib = in_its_own_process(source, target)
    assert (message, frames) == ("", 30)
    assert target.stat().st_size > 60 * 2**20
    assert peak_mib < 128
    assert set(tmp_path.iterdir()) == {source, target}


def test_a_refused_frame_leaves_nothing(cine: np.ndarray, tmp_path: Path, fp32: lightsr.Upscaler) -> None:
    """The last frame of a cine is found to be wrong after the first ones were written."""
    frames = cine.astype(np.uint16)
    frames[4, 0, 0] = 4096
    path = save(a_cine(frames, BitsStored=12, HighBit=11), tmp_path / "a.dcm")
    outcome = pipeline.enlarge_file(path, tmp_path / "b.dcm", fp32)
    assert outcome.status == "refused"
    assert "outside its 12 stored bits" in outcome.message
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_a_frame_of_padding_alone_stays_padding_and_changes_no_other(
    precision: Precision, picture: np.ndarray, tmp_path: Path
) -> None:
    upscaler = lightsr.load("tiny", precision=precision, threads=1)
    real = picture[:40, :60].astype(np.int16)
    real[:9] = -2000
    cine = np.stack([np.full_like(real, -2000), real, real[::-1], np.full_like(real, -2000)])
    xa = {"SOPClassUID": "1.2.840.10008.5.1.4.1.1.12.1", "Modality": "XA", "PixelPaddingValue": -2000}
    source = save(a_cine(cine, **xa), tmp_path / "a.dcm")
    assert pipeline.enlarge_file(source, tmp_path / "b.dcm", upscaler).status == "done"
    pipeline.enlarge_file(save(a_cine(cine[1:3], **xa), tmp_path / "c.dcm"), tmp_path / "d.dcm", upscaler)
    whole, without = (pydicom.dcmread(tmp_path / name).pixel_array for name in ("b.dcm", "d.dcm"))
    assert np.all(whole[[0, 3]] == -2000)
    assert np.array_equal(whole[1:3], without)
    message = pipeline.enlarge_file(
        save(a_cine(cine[::3], **xa), tmp_path / "e.dcm"), tmp_path / "f.dcm", upscaler
    ).message
    assert "every pixel is padding, in every frame" in message
    assert not (tmp_path / "f.dcm").exists()
