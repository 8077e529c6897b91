"""A picture's path: padding, inversion, colour, what stands in a result's range, and what is refused."""

import datetime
import os
import stat
from pathlib import Path
from typing import Any

import lightsr
import numpy as np
import pydicom
import pytest
from lightsr import enlarging, files, pipeline, raster
from lightsr.bands import Tally
from lightsr.errors import ImageError
from lightsr.image import Image

from .dicom_files import a_cine, save


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


@pytest.mark.parametrize("how", ["appended to", "replaced"])
@pytest.mark.parametrize("when", ["detect", "enlarged_bands"])
def test_a_file_that_changes_while_it_is_read_is_no_refusal(
    when: str, how: str, tmp_path: Path, fp32: lightsr.Upscaler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it cannot be read, or could be: it may be arriving, and what is there now is not what was read."""
    source, target = tmp_path / "a.dcm", tmp_path / "b.dcm"
    content = save(a_cine(np.zeros((2, 30, 30), np.uint16)), source).read_bytes()
    cut = content if when == "enlarged_bands" else content[:-50]
    source.write_bytes(cut)
    of = files if when == "detect" else pipeline
    original = getattr(of, when)

    def changed(*given: Any, **options: Any) -> Any:
        if how == "replaced":
            (tmp_path / "new").write_bytes(cut)
            (tmp_path / "new").replace(source)
        else:
            with source.open("ab") as file:
                file.write(content[-50:-40])
        return original(*given, **options)

    with monkeypatch.context() as patch:
        patch.setattr(of, when, changed)
        outcome = pipeline.enlarge_file(source, target, fp32)
    assert (outcome.status, outcome.reason) == ("failed", "changed")
    assert outcome.message == f"{source}: was written to while it was read; once more, when it is whole"
    assert [path.name for path in tmp_path.iterdir()] == ["a.dcm"]
    source.write_bytes(cut)
    expected = ("done", "") if cut == content else ("refused", "image")
    outcome = pipeline.enlarge_file(source, target, fp32)
    assert (outcome.status, outcome.reason) == expected
