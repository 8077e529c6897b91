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
from lightsr_bench import arguments, documents, methods, quality, quality_report, scoring
from lightsr_bench.cli import main
from lightsr_bench.documents import DocumentError
from lightsr_bench.methods import Selection
from lightsr_bench.networks import NetworkError
from lightsr_bench.quality import Score
from lightsr_bench.quality_report import Measured, Report
from lightsr_train import protocol
from lightsr_train.data import DataError
from lightsr_train.degradation import Degradation

from tests.benchmarks.test_methods import network, not_a_number_below


def write(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        raster.write_png(values, file)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:150, :130]
    for modality, offset, gain in (("CT", 900, 150), ("MR", 300, 250), ("US", 120, 80)):
        values = offset + gain * np.sin(rows / 5) * np.cos(columns / 7) + random.normal(0, 2, rows.shape)
        dtype, top = (np.uint8, 255) if modality == "US" else (np.uint16, 65535)
        write(tmp_path / "images" / modality / "clinic" / "a.png", np.clip(values, 0, top).astype(dtype))
    return tmp_path / "images"


def interpolations(**others: methods.Method) -> Selection:
    return Selection(methods.interpolations(2) | others)


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
    with pytest.raises(DataError, match="no image that can be measured"):
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


def score(path: str, method: str, psnr_db: float, **others: str) -> Score:
    return Score("MR", others.get("source", "s"), path, others.get("patient", path), method, psnr_db, 0.9, 0.0, 1.0)


def test_the_table_shows_gain_interval_and_worst_image() -> None:
    scores = [score(path, "bicubic", 30.0) for path in "abc"]
    scores += [score(path, "net", psnr) for path, psnr in zip("abc", (31.0, 30.5, 33.0), strict=True)]
    gains = quality.with_gains(scores)
    (row,) = [line for line in quality.table(quality.summarise(gains)).splitlines() if "| net |" in line]
    assert row == "| MR | net | 3 | 3 | 31.50 | 0.9000 | 1.00 | +1.50 | -1.79 to +4.79 | +0.50 | b |"
    (row,) = [line for line in quality.table(quality.summarise(gains)).splitlines() if "| bicubic |" in line]
    assert row.endswith("| 30.00 | 0.9000 | 1.00 | - | - | - | - |")
    one_patient = [score(s.path, s.method, s.psnr_db, patient="p") for s in scores]
    assert "| +1.50 | - | +0.50 | b |" in quality.table(quality.summarise(quality.with_gains(one_patient)))


def test_a_result_file_gives_the_scores_back(folder: Path, tmp_path: Path) -> None:
    report = scoring.measure(folder, interpolations(), scale=2)
    path = tmp_path / "a.json"
    path.write_bytes(documents.dumps(quality_report.document(report, ["quality"])))
    found = quality_report.from_document(documents.read(path))
    key = {(s.path, s.range, s.method): s for s in report.scores}
    assert len(found) == len(key) == 16
    for entry in found:
        original = key[entry.path, entry.range, entry.method]
        assert entry.source == original.source
        for name in ("psnr_db", "ssim", "gain_db", "rmse"):
            assert getattr(entry, name) == pytest.approx(getattr(original, name), abs=2e-4)
    texts = [quality.table(quality.summarise(scores)).split("|") for scores in (found, report.scores)]
    assert [part for part in texts[0] if part.strip().isalpha()] == [p for p in texts[1] if p.strip().isalpha()]
    assert texts[0][:30] == texts[1][:30]


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: content.pop("images"),
        lambda content: content["scores"][0]["psnr_db"].pop(),
        lambda content: content["scores"][0]["image"].__setitem__(0, 99),
        lambda content: content["images"][0].pop("path"),
        lambda content: content["scores"].__setitem__(0, 5),
    ],
)
def test_a_spoiled_result_file_is_refused(folder: Path, spoil) -> None:  # type: ignore[no-untyped-def]
    content = quality_report.document(scoring.measure(folder, interpolations(), scale=2), ["quality"])
    assert quality_report.from_document(content)
    spoil(content)
    with pytest.raises(DocumentError, match="incomplete quality results"):
        quality_report.from_document(content)


def test_a_result_file_of_a_full_run_stays_small() -> None:
    random = np.random.default_rng(0)
    images = [Measured(f"CT/collection/SERIES-{i:040}.png", "CT", "collection", str(i), False) for i in range(170)]
    names = ["bicubic", *(f"NETWORK_{i}_x2" for i in range(19))]
    scores = [
        Score("CT", image.source, image.path, image.patient, name, *random.uniform([20, 0.5, 0, 5], [50, 1, 9, 500]))
        for image in images
        for name in names
    ]
    report = Report(2, "bicubic", (), tuple(images), tuple(scores), (), "0" * 64)
    content = documents.dumps(quality_report.document(report, ["quality"]))
    assert 50_000 < len(content) < 250 * 1024


def test_the_description_tells_the_protocol(folder: Path) -> None:
    report = scoring.measure(folder, interpolations(), scale=2, degradation="jpeg")
    text = quality_report.describe(report.protocol)
    for part in ("x2, 3 images", "JPEG of quality 75", "4 px are cropped", "-160 to 240 HU", "99.9th percentile"):
        assert part in text
    assert report.protocol["lossy_images"] == 0
    assert "with loss" not in text


def test_lossy_truth_is_counted(tmp_path: Path) -> None:
    from PIL import Image as PillowImage

    picture = np.random.default_rng(0).integers(0, 255, (48, 48)).astype(np.uint8)
    PillowImage.fromarray(picture).save(tmp_path / "a.jpg")
    write(tmp_path / "b.png", picture)
    report = scoring.measure(tmp_path, interpolations(), scale=2)
    assert [image.lossy for image in report.images] == [True, False]
    assert "1 of them from files that had been compressed with loss" in quality_report.describe(report.protocol)


def test_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:  # type: ignore[no-untyped-def]
    monkeypatch.setenv("LIGHTSR_DATA", str(tmp_path))
    path, drawn = tmp_path / "s.json", tmp_path / "pictures"
    arguments = ["quality", "--data", str(folder), "--threads", "1", "--json", str(path), "--by-source", "tiny"]
    arguments += ["--pictures", str(drawn)]
    assert main(arguments) == 0
    printed, errors = capsys.readouterr()
    assert "| MR | tiny-x2-int8 | 1 | 1 |" in printed
    assert "| MR, images | tiny-x2-fp32 | 1 | 1 |" in printed
    assert not errors
    content = documents.read(path)
    assert content["command"].startswith("lightsr-bench quality --data $LIGHTSR_DATA/images --threads 1")
    assert [entry["name"] for entry in content["networks"]] == ["tiny-x2-fp32", "tiny-x2-int8"]
    assert all(len(entry["sha256"]) == 64 and entry["engine"] == "lightsr" for entry in content["networks"])
    assert not content["interrupted"]
    assert str(tmp_path) not in path.read_text()
    assert sorted(file.name for file in drawn.iterdir()) == ["ct-worst.png", "mr-worst.png", "us-worst.png"]
    assert main(arguments) == 1
    assert "--force" in capsys.readouterr().err
    assert main(["quality", "--data", str(folder), "--json", str(tmp_path / "none" / "s.json")]) == 1
    assert "s.json: cannot be written: there is no such folder" in capsys.readouterr().err
    assert main(["quality", "--data", str(tmp_path / "none")]) == 1
    assert "no such folder" in capsys.readouterr().err
    assert main(["quality", "--data", str(folder), "tiyn"]) == 1
    assert capsys.readouterr().err.count("\n") == 1


def test_command_with_other_networks(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    nets, path = tmp_path / "nets", tmp_path / "s.json"
    network(nets / "peer.onnx")
    not_a_number_below(nets / "fragile.onnx", 0.0001)
    (nets / "broken.onnx").write_bytes(b"not a network")
    write(folder / "US" / "clinic" / "a.png", np.eye(48, dtype=np.uint8) * 200)
    assert main(["quality", "--data", str(folder), "--degradation", "area", "--json", str(path), str(nets)]) == 3
    printed = capsys.readouterr().out
    assert "| - | broken | failed: onnxruntime cannot load it" in printed
    assert "| - | fragile | failed: US/clinic/a.png: gives values that are not finite |" in printed
    assert "| MR | fragile | 1 |" in printed
    assert "| US | peer | 1 |" in printed
    assert "| US | fragile |" not in printed
    assert "failed: broken: onnxruntime cannot load it" in caplog.text
    assert "failed: fragile: US/clinic/a.png: gives values that are not finite" in caplog.text
    content = documents.read(path)
    assert set(content["failures"]) == {"broken", "fragile"}
    found = {(s.method, s.range): s for s in quality_report.from_document(content)}
    assert found["peer", "MR"].psnr_db == found["nearest", "MR"].psnr_db
    assert ("fragile", "US") not in found


def test_ctrl_c_keeps_what_was_measured(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []

    def degrade(*arguments: object) -> np.ndarray:
        seen.append(1)
        if len(seen) == 3:
            raise KeyboardInterrupt
        return original(*arguments)

    original = scoring.degrade
    monkeypatch.setattr(scoring, "degrade", degrade)
    peer, path, drawn = network(tmp_path / "peer.onnx"), tmp_path / "s.json", tmp_path / "pictures"
    arguments = ["quality", "--data", str(folder), "--json", str(path), "--pictures", str(drawn), str(peer)]
    assert main(arguments) == 130
    printed, errors = capsys.readouterr()
    assert "| MR | peer | 1 |" in printed
    assert "| US |" not in printed
    assert errors == "lightsr-bench: stopped\n"
    content = documents.read(path)
    assert content["interrupted"]
    assert [image["path"] for image in content["images"]] == ["CT/clinic/a.png", "MR/clinic/a.png"]
    seen[:] = [1, 1]
    assert main([*arguments, "--force"]) == 130
    assert not capsys.readouterr().out


def test_the_command_offers_every_degradation(capsys: pytest.CaptureFixture[str]) -> None:
    for kind in get_args(Degradation):
        assert arguments.parser().parse_args(["quality", "--data", ".", "--degradation", kind]).degradation == kind
    for wrong in (["--degradation", "cubic"], ["--images", "0"], ["--threads", "-1"]):
        with pytest.raises(SystemExit) as stopped:
            main(["quality", "--data", ".", *wrong])
        assert stopped.value.code == 2


def test_the_bundled_model_beats_bicubic_on_real_images(medical_data: Path) -> None:
    """A small part of what docs/benchmarks.md reports, with the margins that are promised."""
    (path,) = [n.path for n in methods.select(["tiny"], scale=2, threads=1).networks if "int8" in n.name]
    selection = methods.select([str(path)], scale=2, threads=1)
    for modality, least in (("CT", 3.0), ("MR", 2.0), ("US", 1.0)):
        report = scoring.measure(medical_data / "eval" / modality, selection, scale=2, limit=4)
        gains = [score.gain_db for score in report.scores if score.method == path.stem]
        assert {image.modality for image in report.images} == {modality}
        assert np.mean(gains) > least
