"""Result files, text and command of the quality benchmark."""

from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from lightsr_bench import arguments, documents, quality, quality_report, scoring
from lightsr_bench.cli import main
from lightsr_bench.documents import DocumentError
from lightsr_bench.quality import Score
from lightsr_bench.quality_report import Measured, Report
from lightsr_train.degradation import Degradation

from tests.benchmarks.made import interpolations, write
from tests.benchmarks.test_methods import network, not_a_number_below
from tests.schemas import problems


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
    assert problems(content, "bench-quality") == []
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
