"""Scores, ranges and summaries of the quality benchmark."""

import json
import math
from pathlib import Path
from typing import get_args

import nibabel
import numpy as np
import pytest
import tifffile
from lightsr import files, raster
from lightsr.errors import ImageError
from lightsr.image import Image
from lightsr_bench import methods, quality, quality_report, scoring
from lightsr_bench.methods import Selection
from lightsr_bench.networks import NetworkError
from lightsr_train import protocol
from lightsr_train.data import DataError
from lightsr_train.degradation import Degradation

from tests.benchmarks.made import interpolations, write


def test_psnr_and_ssim_of_known_pictures() -> None:
    truth = np.zeros((30, 30))
    assert protocol.psnr_db(truth, truth + 1, data_range=255) == pytest.approx(48.13, abs=0.01)
    assert protocol.psnr_db(truth, truth, data_range=255) == 100
    random = np.random.default_rng(0)
    noisy = random.normal(100, 1, (60, 60))
    assert protocol.ssim(noisy, noisy, data_range=1) == pytest.approx(1)
    assert protocol.ssim(noisy, 200 - noisy, data_range=1) < 0


def test_ranges() -> None:
    ct = protocol.ranges("CT", np.zeros((3, 3)))
    assert [(r.low, r.high, r.clip) for r in ct] == [(-160, 240, True), (-1350, 150, True)]
    (mr,) = protocol.ranges("MR", np.arange(1000.0))
    assert (mr.low, mr.clip) == (0, False)
    assert mr.high == pytest.approx(998.0, abs=0.1)
    (us,) = protocol.ranges("US", np.full((3, 3), 90.0))
    assert (us.low, us.high) == (0, 255)


def test_hounsfield_units_come_from_the_header_or_the_png_offset() -> None:
    class Header:
        RescaleSlope, RescaleIntercept = 2.0, -1000.0

    stored = np.array([[1024]], np.uint16)
    png = Image(stored, (0, 65535), "MONOCHROME2", Path("a.png"), header={})
    dicom = Image(stored, (0, 65535), "MONOCHROME2", Path("a.dcm"), header=Header())
    assert protocol.to_unit(stored, png, "CT") == 0
    assert protocol.to_unit(stored, dicom, "CT") == 1048
    assert protocol.to_unit(stored, dicom, "MR") == 1024


def test_hounsfield_units_of_other_formats(tmp_path: Path) -> None:
    """NIfTI says what its values mean; in NPY and TIFF signed values mean themselves."""
    stored = np.full((3, 4), 1024, np.int16)
    scaled = nibabel.Nifti1Image(stored[..., None], np.eye(4))
    scaled.header.set_slope_inter(2, -1000)
    content = scaled.to_bytes()
    (tmp_path / "a.nii").write_bytes(content[:112] + np.array([2, -1000], "<f4").tobytes() + content[120:])
    np.save(tmp_path / "a.npy", stored)
    np.save(tmp_path / "b.npy", stored.astype(np.uint16))
    tifffile.imwrite(tmp_path / "a.tif", stored)
    for name, expected in (("a.nii", 1048), ("a.npy", 1024), ("b.npy", 0), ("a.tif", 1024)):
        image = files.read(tmp_path / name)
        assert (protocol.to_unit(image.pixels, image, "CT") == expected).all(), name
        assert (protocol.to_unit(image.pixels, image, "MR") == 1024).all(), name


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_the_least_image_can_be_judged(scale: int, tmp_path: Path) -> None:
    side = protocol.least_side_px(scale)
    picture = np.random.default_rng(0).integers(0, 255, (side, side)).astype(np.uint8)
    write(tmp_path / "a.png", picture)
    report = scoring.measure(tmp_path, Selection(methods.interpolations(scale)), scale=scale)
    assert len(report.scores) == 4
    write(tmp_path / "a.png", picture[1:])
    with pytest.raises(ImageError, match=rf"{side - 1}x{side} pixels; at least {side} a side"):
        scoring.read_truth(tmp_path / "a.png", tmp_path, {}, scale)


@pytest.mark.parametrize("degradation", get_args(Degradation))
def test_scores_and_summaries(folder: Path, degradation: Degradation) -> None:
    report = scoring.measure(folder, interpolations(), scale=2, degradation=degradation)
    assert {score.range for score in report.scores} == {"CT soft tissue", "CT lung", "MR", "US"}
    assert len(report.scores) == 4 * 4
    assert not report.failures
    assert all(score.gain_db == 0 for score in report.scores if score.method == "bicubic")
    assert all(score.gain_db < 0 for score in report.scores if score.method == "nearest")
    summaries = quality.summarise(report.scores, by_source=True)
    assert {summary.group for summary in summaries} >= {"MR, images"}
    assert [s.method for s in summaries[:4]] == ["nearest", "bilinear", "bicubic", "lanczos"]
    assert quality.table(summaries).count("\n") == 1 + len(summaries)


def test_the_error_of_ct_is_in_hounsfield_units(folder: Path) -> None:
    def flat(low: np.ndarray) -> np.ndarray:
        return np.full((2 * low.shape[0], 2 * low.shape[1]), 40 if low.dtype == np.uint8 else 1024 + 40, low.dtype)

    truth = raster.read(folder / "CT" / "clinic" / "a.png").pixels[4:140, 4:116].astype(float) - 1024
    report = scoring.measure(folder, interpolations(flat=flat), scale=2)
    (score,) = [s for s in report.scores if (s.method, s.range) == ("flat", "CT soft tissue")]
    expected = np.sqrt(np.mean(np.square(np.clip(truth, -160, 240) - 40)))
    assert score.rmse == pytest.approx(expected)
    assert score.psnr_db == pytest.approx(20 * math.log10(400 / expected))


def test_the_border_is_left_out(folder: Path) -> None:
    def spoil_border(low: np.ndarray) -> np.ndarray:
        result = methods.interpolations(2)["bicubic"](low).copy()
        result[:4], result[:, :4], result[-4:], result[:, -4:] = 0, 0, 0, 0
        return result

    report = scoring.measure(folder, interpolations(spoiled=spoil_border), scale=2)
    gains = [score.gain_db for score in report.scores if score.method == "spoiled"]
    assert gains == [0.0] * 4


def test_what_cannot_be_measured_is_named_and_the_rest_goes_on(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    def dislikes_eight_bits(low: np.ndarray) -> np.ndarray:
        if low.dtype == np.uint8:
            raise NetworkError("only 16 bits")
        return methods.interpolations(2)["bicubic"](low)

    (folder / "US" / "clinic" / "damaged.png").write_bytes(raster.PNG_SIGNATURE + b"rest")
    write(folder / "US" / "clinic" / "small.png", np.zeros((23, 99), np.uint8))
    write(folder / "MR" / "clinic" / "black.png", np.zeros((50, 50), np.uint16))
    report = scoring.measure(folder, interpolations(picky=dislikes_eight_bits), scale=2)
    assert [(failure.method, failure.path) for failure in report.failures] == [
        ("", "MR/clinic/black.png"),
        ("picky", "US/clinic/a.png"),
        ("", "US/clinic/damaged.png"),
        ("", "US/clinic/small.png"),
    ]
    assert report.failures[3].reason == "23x99 pixels; at least 24 a side are needed"
    assert "failed: US/clinic/small.png: 23x99 pixels" in caplog.text
    assert [image.path for image in report.images] == ["CT/clinic/a.png", "MR/clinic/a.png", "US/clinic/a.png"]
    assert {score.range for score in report.scores if score.method == "picky"} == {"CT soft tissue", "CT lung", "MR"}
    text = quality_report.text(report)
    assert "| - | picky | failed: US/clinic/a.png: only 16 bits |" in text
    assert "skipped, 3 in all:\n- MR/clinic/black.png: " in text


def test_folders_without_images(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none: no such folder"):
        scoring.measure(tmp_path / "none", interpolations(), scale=2)
    with pytest.raises(DataError, match="no image that can be used, nor any other file"):
        scoring.measure(tmp_path, interpolations(), scale=2)


def test_the_digest_is_of_paths_and_pixels(folder: Path) -> None:
    def digest() -> str:
        return str(scoring.measure(folder, interpolations(), scale=2).protocol["digest"])

    first = digest()
    assert digest() == first
    path = folder / "MR" / "clinic" / "a.png"
    changed = raster.read(path).pixels.copy()
    changed[7, 7] += 1
    write(path, changed)
    second = digest()
    path.rename(path.with_name("b.png"))
    assert len({first, second, digest()}) == 3


def test_patients_come_from_the_manifest_and_are_not_named(folder: Path) -> None:
    source = folder / "MR" / "clinic" / "a.png"
    for name in ("b", "c"):
        write(source.with_name(f"{name}.png"), raster.read(source).pixels)
    rows = ["path,modality,source,patient_id"]
    rows += [f"images/MR/clinic/{name}.png,MR,hospital,{patient}" for name, patient in zip("abc", "112", strict=True)]
    (folder.parent / "manifest.csv").write_text("\n".join(rows))
    report = scoring.measure(folder, interpolations(), scale=2)
    summary = next(s for s in quality.summarise(report.scores, by_source=True) if s.group == "MR, hospital")
    assert (summary.images, summary.patients) == (3, 2)
    content = quality_report.document(report, ["quality"])
    assert {image["path"]: image["patient"] for image in content["images"]} == {
        "CT/clinic/a.png": 0,
        "MR/clinic/a.png": 1,
        "MR/clinic/b.png": 1,
        "MR/clinic/c.png": 2,
        "US/clinic/a.png": 0,
    }
    assert not any(image.patient in json.dumps(content) for image in report.images)


def test_about_as_many_images_as_the_limit_says(tmp_path: Path) -> None:
    picture = np.random.default_rng(0).integers(0, 255, (24, 24)).astype(np.uint8)
    for i in range(10):
        write(tmp_path / f"{i}.png", picture)
    report = scoring.measure(tmp_path, interpolations(), scale=2, limit=5)
    assert [image.path for image in report.images] == ["0.png", "2.png", "4.png", "6.png", "8.png"]


def test_the_interval_allows_for_images_of_one_patient() -> None:
    # means 1 and 4 of two patients: deviations from 2 sum to -2 and 2; t with 1 degree of freedom is 12.706
    values, patients = [0.0, 2.0, 0.5, 1.5, 4.0], ["a", "a", "a", "a", "b"]
    mean = np.mean(values)
    sums = sum(values[:4]) - 4 * mean, values[4] - mean
    expected = 12.7062 * math.sqrt(2 / 1 * (sums[0] ** 2 + sums[1] ** 2)) / 5
    assert quality.half_interval(values, patients) == pytest.approx(expected, rel=1e-5)
    alone = quality.half_interval(values, list("abcde"))
    assert alone == pytest.approx(2.77645 * np.std(values, ddof=1) / math.sqrt(5), rel=1e-5)
    assert quality.half_interval(values, ["a"] * 5) is None


def test_the_bundled_model_beats_bicubic_on_real_images(medical_data: Path) -> None:
    """A small part of what docs/benchmarks.md reports, with the margins that are promised."""
    (path,) = [n.path for n in methods.select(["tiny"], scale=2, threads=1).networks if "int8" in n.name]
    selection = methods.select([str(path)], scale=2, threads=1)
    for modality, least in (("CT", 3.0), ("MR", 2.0), ("US", 1.0)):
        report = scoring.measure(medical_data / "eval" / modality, selection, scale=2, limit=4)
        gains = [score.gain_db for score in report.scores if score.method == path.stem]
        assert {image.modality for image in report.images} == {modality}
        assert np.mean(gains) > least
