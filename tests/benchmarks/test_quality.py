from pathlib import Path

import numpy as np
import pytest
from lightsr import raster
from lightsr.image import Image
from lightsr_bench import protocol, quality
from lightsr_bench.cli import main


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:150, :130]
    for modality, offset, gain in (("CT", 900, 150), ("MR", 300, 250), ("US", 120, 80)):
        path = tmp_path / "images" / modality / "clinic" / "a.png"
        path.parent.mkdir(parents=True)
        values = offset + gain * np.sin(rows / 5) * np.cos(columns / 7) + random.normal(0, 2, rows.shape)
        dtype = np.uint8 if modality == "US" else np.uint16
        with path.open("wb") as file:
            raster.write_png(np.clip(values, 0, 255 if modality == "US" else 65535).astype(dtype), file)
    return tmp_path / "images"


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


def test_scores_and_summaries(folder: Path) -> None:
    methods = quality.interpolations(2)
    scores = list(quality.measure(folder, methods, scale=2, degradation="bicubic"))
    assert {score.range for score in scores} == {"CT soft tissue", "CT lung", "MR", "US"}
    assert len(scores) == 4 * 3
    assert all(score.gain_db == 0 for score in scores if score.method == "bicubic")
    assert all(score.gain_db < 0 for score in scores if score.method == "nearest")
    summaries = quality.summarise(scores, by_source=True)
    assert {summary.group for summary in summaries} >= {"MR, clinic"}
    table = quality.table(summaries)
    assert table.count("\n") == 1 + len(summaries)


def test_the_border_is_left_out(folder: Path) -> None:
    def spoil_border(low: np.ndarray) -> np.ndarray:
        result = quality.interpolations(2)["bicubic"](low).copy()
        result[:4], result[:, :4], result[-4:], result[:, -4:] = 0, 0, 0, 0
        return result

    methods = {**quality.interpolations(2), "spoiled": spoil_border}
    scores = list(quality.measure(folder, methods, scale=2, degradation="bicubic"))
    assert all(score.gain_db == 0 for score in scores if score.method == "spoiled")


def test_command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = ["quality", "--data", str(folder), "--threads", "1", "--json", str(tmp_path / "s.json"), "--by-source"]
    assert main(arguments) == 0
    printed = capsys.readouterr().out
    assert "| MR | lightsr tiny int8 | 1 |" in printed
    assert "degradation bicubic" in printed
    assert (tmp_path / "s.json").stat().st_size > 1000
    assert main(arguments) == 1
    assert "--force" in capsys.readouterr().err
    assert main(["quality", "--data", str(tmp_path / "none")]) == 1
    assert "no such folder" in capsys.readouterr().err


def test_the_bundled_model_beats_bicubic_on_real_images(medical_data: Path) -> None:
    """A small part of what docs/benchmarks.md reports, with the margins that are promised."""
    from lightsr import load

    methods = {
        "bicubic": quality.interpolations(2)["bicubic"],
        "int8": quality.model_method(load("tiny", scale=2, precision="int8")),
    }
    for modality, least in (("CT", 3.0), ("MR", 2.0), ("US", 1.0)):
        scores = quality.measure(medical_data / "eval" / modality, methods, scale=2, degradation="bicubic", limit=4)
        gains = [score.gain_db for score in scores if score.method == "int8"]
        assert np.mean(gains) > least
