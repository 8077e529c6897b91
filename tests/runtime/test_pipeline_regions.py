"""Ultrasound regions: the network's result inside, interpolation outside."""

from dataclasses import replace
from pathlib import Path

import lightsr
import numpy as np
import pytest
from lightsr import enlarging, pipeline
from lightsr.regions import Region
from lightsr.resample import interpolate

from .dicom_files import a_cine, a_region, save
from .test_pipeline import image
from .test_pipeline_frames import results

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
