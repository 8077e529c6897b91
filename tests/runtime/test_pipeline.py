import datetime
import json
import os
import stat
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import lightsr
import numpy as np
import pydicom
import pytest
from lightsr import enlarging, files, levels, pipeline, raster
from lightsr.bands import Tally
from lightsr.card import Precision
from lightsr.errors import ImageError
from lightsr.image import Frames, Image
from lightsr.levels import Levels
from lightsr.regions import Region
from lightsr.resample import interpolate

from .dicom_files import a_cine, a_dataset, a_region, save
from .enhanced_files import an_enhanced, group


@pytest.fixture(scope="module")
def fp32() -> lightsr.Upscaler:
    return lightsr.load("tiny", scale=2, precision="fp32", threads=1)


def image(pixels: np.ndarray, **changes: object) -> Image:
    values: dict[str, object] = {
        "value_range": (int(pixels.min()), int(pixels.max())),
        "photometric": "RGB" if pixels.ndim == 3 else "MONOCHROME2",
        "source": Path("a.dcm"),
    }
    return Image(pixels, **{**values, **changes})


def test_no_value_leaves_the_range_of_the_source(picture: np.ndarray, fp32: lightsr.Upscaler) -> None:
    result = enlarging.enlarge(image(picture), fp32)
    assert result.dtype == picture.dtype
    assert result.min() >= picture.min()
    assert result.max() <= picture.max()


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2", "RGB"])
def test_what_was_clipped_is_counted(
    photometric: str, picture: np.ndarray, tmp_path: Path, fp32: lightsr.Upscaler
) -> None:
    grey = (picture // 8).astype(np.uint8)
    pixels = np.stack([grey] * 3, axis=-1) if photometric == "RGB" else grey
    tally = Tally()
    enlarging.enlarge(image(pixels, photometric=photometric), fp32, tally=tally)
    free = np.rint(fp32(grey.astype(np.float32)))
    expected = int(((free < grey.min()) | (free > grey.max())).sum())
    assert expected > 0
    if photometric == "MONOCHROME1":
        mirrored = float(int(grey.min()) + int(grey.max())) - grey.astype(np.float32)
        free = np.rint(fp32(mirrored))
        expected = int(((free < grey.min()) | (free > grey.max())).sum())
    assert tally.clipped == expected
    if photometric == "RGB":  # a colour file allows what its type holds
        expected = int(((free < 0) | (free > 255)).sum())
    source = save(a_cine(np.stack([pixels, pixels]), PhotometricInterpretation=photometric), tmp_path / "a.dcm")
    outcome = pipeline.enlarge_file(source, tmp_path / "b.dcm", fp32)
    assert outcome.clipped == 2 * expected


def test_inverted_pictures_are_seen_as_trained(picture: np.ndarray, fp32: lightsr.Upscaler) -> None:
    low, high = int(picture.min()), int(picture.max())
    inverted = (low + high - picture).astype(picture.dtype)
    expected = enlarging.enlarge(image(picture), fp32).astype(int)
    found = enlarging.enlarge(image(inverted, photometric="MONOCHROME1"), fp32).astype(int)
    assert np.abs(low + high - found - expected).max() <= 1
    assert np.abs(low + high - enlarging.enlarge(image(inverted), fp32).astype(int) - expected).max() > 1


@pytest.mark.parametrize("value", [-2000, 300])
def test_padding_keeps_its_value_and_place(value: int, picture: np.ndarray, fp32: lightsr.Upscaler) -> None:
    stored = picture.astype(np.int16)
    stored[stored == value] += 1
    rows, columns = np.mgrid[:45, :70]
    padding = (rows - 22) ** 2 + (columns - 35) ** 2 > 20**2
    stored[padding] = value
    real = stored[~padding]
    limits = (int(real.min()), int(real.max()))
    source = image(stored, padding=padding, padding_range=(value, value), value_range=limits)
    result = enlarging.enlarge(source, fp32)
    mask = padding.repeat(2, 0).repeat(2, 1)
    assert (result[mask] == value).all()
    assert (result[~mask] != value).all()
    assert result[~mask].min() >= real.min()


def test_no_computed_value_looks_like_padding(picture: np.ndarray, fp32: lightsr.Upscaler) -> None:
    """The header reserves values that no pixel of the source has, and that the network would give."""
    reserved = (300, 420)
    stored = np.where((picture >= 300) & (picture <= 420), 500, picture).astype(np.uint16)
    free = enlarging.enlarge(image(stored), fp32)
    assert ((free >= 300) & (free <= 420)).any()
    held = enlarging.enlarge(image(stored, padding_range=reserved), fp32)
    assert not ((held >= 300) & (held <= 420)).any()


def test_a_picture_of_padding_alone_is_refused(fp32: lightsr.Upscaler) -> None:
    pixels = np.full((8, 8), -2000, np.int16)
    with pytest.raises(ImageError, match="every pixel is padding"):
        enlarging.enlarge(image(pixels, padding=np.ones((8, 8), bool)), fp32)


def test_grey_stays_grey_and_colour_stays_in_place(picture: np.ndarray, fp32: lightsr.Upscaler) -> None:
    grey = (picture // 8).astype(np.uint8)
    colour = np.stack([grey] * 3, axis=-1)
    result = enlarging.enlarge(image(colour, value_range=(0, 255)), fp32)
    assert (result == result[..., :1]).all()
    colour[10:30, 10:30] = (200, 20, 20)
    result = enlarging.enlarge(image(colour, value_range=(0, 255)), fp32)
    inside = result[26:54, 26:54].astype(int)
    assert np.abs(inside - np.array([200, 20, 20])).max() <= 3
    assert (result[:, 90:] == result[:, 90:, :1]).all()


def test_luminance_goes_through_the_network(picture: np.ndarray, fp32: lightsr.Upscaler) -> None:
    grey = (picture // 8).astype(np.uint8)
    colour = enlarging.enlarge(image(np.stack([grey] * 3, axis=-1), value_range=(0, 255)), fp32)
    assert np.abs(colour[..., 0].astype(int) - fp32(grey).astype(int)).max() <= 1


def test_results_too_large_for_their_format_are_refused(fp32: lightsr.Upscaler) -> None:
    with pytest.raises(ImageError, match="65535"):
        enlarging.enlarge(image(np.zeros((1, 40_000), np.uint8)), fp32)


def test_only_the_input_itself_needs_more_than_force(tmp_path: Path, fp32: lightsr.Upscaler) -> None:
    path = tmp_path / "a.png"
    with path.open("wb") as file:
        raster.write_png(np.zeros((8, 8), np.uint8), file)
    before = path.read_bytes()
    (tmp_path / "b.png").hardlink_to(path)
    for target in (path, tmp_path / "b.png"):
        outcome = pipeline.enlarge_file(path, target, fp32, overwrite=True)
        assert outcome.status == "failed"
        assert "the input itself" in outcome.message
    assert path.read_bytes() == before


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
@pytest.mark.parametrize("permissions", [0o600, 0o640, 0o400])
def test_a_result_is_as_private_as_its_source(
    permissions: int, tmp_path: Path, picture: np.ndarray, fp32: lightsr.Upscaler
) -> None:
    source, target = tmp_path / "a.png", tmp_path / "b.png"
    with source.open("wb") as file:
        raster.write_png(picture, file)
    source.chmod(permissions)
    assert pipeline.enlarge_file(source, target, fp32).status == "done"
    assert stat.S_IMODE(target.stat().st_mode) & ~(permissions | 0o200) == 0


@pytest.fixture(scope="module")
def int8() -> lightsr.Upscaler:
    return lightsr.load("tiny", scale=2, precision="int8", threads=1)


@pytest.fixture
def cine(picture: np.ndarray) -> np.ndarray:
    """Five frames of uint8, two equal ones far apart, with a bright flash and a dark frame between them."""
    still = (picture // 8).astype(np.uint8)
    return np.stack([still, still // 4, np.minimum(still, 90) + 160, still // 2, still])


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
    """60 frames, 30 MiB in and 120 MiB out, take what one takes (some 116 MiB with interpreter and model)."""
    source, target = tmp_path / "a.dcm", tmp_path / "b.dcm"
    frame = np.random.default_rng(0).integers(0, 4000, (512, 512)).astype(np.uint16)
    dataset = a_cine(np.stack([frame] * 2))
    content = save(dataset, source).read_bytes()
    start = content.index(b"\xe0\x7f\x10\x00OW")
    header = content[:start].replace(b"\x28\x00\x08\x00IS\x02\x002 ", b"\x28\x00\x08\x00IS\x02\x0060")
    with source.open("wb") as file:
        file.write(header + b"\xe0\x7f\x10\x00OW\0\0" + (60 * frame.nbytes).to_bytes(4, "little"))
        for _ in range(60):
            file.write(frame.tobytes())
    message, frames, peak_mib = in_its_own_process(source, target)
    assert (message, frames) == ("", 60)
    assert target.stat().st_size > 120 * 2**20
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


REGIONS = (Region(4, 5, 20, 30), Region(20, 30, 25, 12))
"""Two that overlap, in a picture of 45 x 70; the second ends with its last row."""


def inside() -> np.ndarray:
    mask = np.zeros((90, 140), bool)
    mask[8:48, 10:70] = mask[40:90, 60:84] = True
    return mask


def bicubic(pixels: np.ndarray, low: int, high: int) -> np.ndarray:
    return np.clip(np.rint(interpolate(pixels, 2)), low, high)


@pytest.mark.parametrize("photometric", ["MONOCHROME1", "MONOCHROME2"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_outside_the_regions_is_interpolated(
    photometric: str, precision: str, picture: np.ndarray, request: pytest.FixtureRequest
) -> None:
    upscaler: lightsr.Upscaler = request.getfixturevalue(precision)
    source = image(picture, photometric=photometric)
    everywhere = enlarging.enlarge(source, upscaler)
    result = enlarging.enlarge(replace(source, regions=REGIONS), upscaler)
    plain = bicubic(picture, picture.min(), picture.max())
    assert result.dtype == picture.dtype
    assert np.array_equal(result[inside()], everywhere[inside()])
    assert np.array_equal(result[~inside()], plain[~inside()])
    assert (plain != everywhere)[inside()].any()
    assert (plain != everywhere)[~inside()].any()


def test_colour_outside_the_regions_is_interpolated(picture: np.ndarray, fp32: lightsr.Upscaler) -> None:
    grey = (picture // 5).astype(np.uint8)
    source = image(np.stack([grey, 255 - grey, grey[::-1]], axis=-1), value_range=(0, 255))
    everywhere = enlarging.enlarge(source, fp32)
    result = enlarging.enlarge(replace(source, regions=REGIONS), fp32)
    plain = np.stack([bicubic(source.pixels[..., channel], 0, 255) for channel in range(3)], axis=-1)
    assert np.array_equal(result[inside()], everywhere[inside()])
    assert np.array_equal(result[~inside()], plain[~inside()])
    assert (plain != everywhere)[~inside()].any()


def test_regions_that_cover_everything_change_nothing(picture: np.ndarray, fp32: lightsr.Upscaler) -> None:
    halves = (Region(0, 0, 45, 40), Region(0, 40, 45, 30))
    for found in (halves, (Region(0, 0, 45, 70),)):
        assert np.array_equal(
            enlarging.enlarge(image(picture, regions=found), fp32), enlarging.enlarge(image(picture), fp32)
        )


def test_padding_outside_the_regions_stays_padding(picture: np.ndarray, fp32: lightsr.Upscaler) -> None:
    stored = picture.astype(np.int16)
    stored[30:, :10] = -2000
    padding = stored == -2000
    real = stored[~padding]
    source = image(
        stored,
        padding=padding,
        padding_range=(-2000, -2000),
        value_range=(int(real.min()), int(real.max())),
        regions=REGIONS,
    )
    result = enlarging.enlarge(source, fp32)
    assert np.array_equal(result == -2000, padding.repeat(2, 0).repeat(2, 1))


@pytest.mark.parametrize("colour", [False, True])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_regions_hold_for_every_frame_of_a_cine(
    colour: bool, precision: str, cine: np.ndarray, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    upscaler: lightsr.Upscaler = request.getfixturevalue(precision)
    stored = np.stack([cine, cine // 2, cine], axis=-1) if colour else cine
    whole = results(save(a_cine(stored), tmp_path / "a.dcm"), upscaler, tmp_path / "b.dcm")
    regions = [a_region(5, 4, 34, 23), a_region(30, 20, 41, 45)]  # the last row as a count, as some scanners write it
    path = save(a_cine(stored, SequenceOfUltrasoundRegions=regions), tmp_path / "c.dcm")
    found = results(path, upscaler, tmp_path / "d.dcm")
    assert np.array_equal(found[:, inside()], whole[:, inside()])
    low, high = (0, 255) if colour else (int(cine.min()), int(cine.max()))
    for index in range(5):
        for channel in range(3) if colour else [None]:
            low_pixels, high_pixels = (
                (stored[index], found[index])
                if channel is None
                else (stored[index, ..., channel], found[index, ..., channel])
            )
            assert np.array_equal(high_pixels[~inside()], bicubic(low_pixels, low, high)[~inside()])
    assert np.array_equal(found[0], found[4])


def test_a_region_that_cannot_be_is_refused_in_one_line(
    cine: np.ndarray, tmp_path: Path, fp32: lightsr.Upscaler
) -> None:
    path = save(a_cine(cine, SequenceOfUltrasoundRegions=[a_region(40, 4, 20, 23)]), tmp_path / "a.dcm")
    outcome = pipeline.enlarge_file(path, tmp_path / "b.dcm", fp32)
    assert outcome.status == "refused"
    assert outcome.message.startswith(f"{path}: has an ultrasound region from column 40 to 20")
    assert "\n" not in outcome.message
    assert list(tmp_path.iterdir()) == [path]


def test_a_region_sequence_that_cannot_be_decoded_is_refused(
    cine: np.ndarray, tmp_path: Path, fp32: lightsr.Upscaler
) -> None:
    path = save(a_cine(cine, SequenceOfUltrasoundRegions=[a_region(5, 4, 34, 23)]), tmp_path / "a.dcm")
    content = path.read_bytes()
    corner = b"\x18\x00\x1c\x60UL\x04\x00"
    assert content.count(corner) == 1
    path.write_bytes(content.replace(corner, b"\x18\x00\x1c\x60FD\x04\x00"))
    outcome = pipeline.enlarge_file(path, tmp_path / "b.dcm", fp32)
    assert outcome.status == "refused"
    assert outcome.message.startswith(f"{path}: damaged DICOM (")
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("name", ["CT_small.dcm", "examples_overlay.dcm", "examples_rgb_color.dcm"])
def test_two_runs_give_equal_files_but_for_their_times(
    name: str, samples: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Later(datetime.datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> "Later":
            return cls(2031, 2, 3, 4, 5, 6, tzinfo=tz)

    results = []
    for threads in (1, 2):
        upscaler = lightsr.load("tiny", scale=2, precision="int8", threads=threads)
        target = tmp_path / f"{threads}.dcm"
        assert pipeline.enlarge_file(samples / name, target, upscaler).status == "done"
        results.append(pydicom.dcmread(target))
        monkeypatch.setattr("lightsr.derive.datetime.datetime", Later)
    found = set()
    for first, second in zip(*(result.iterall() for result in results), strict=True):
        if first.VR != "SQ" and first != second:
            found.add(first.keyword)
    assert found <= {f"{what}{kind}" for what in ("InstanceCreation", "Content") for kind in ("Date", "Time")} | {
        "ContributionDateTime"
    }
    assert "ContentDate" in found
    first, second = (tmp_path.joinpath(f"{threads}.dcm").read_bytes() for threads in (1, 2))
    assert len(first) == len(second)


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
