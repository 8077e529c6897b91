"""The command: what it writes, reports, refuses and leaves alone."""

import dataclasses
import json
import os
import re
import resource
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from lightsr import load
from lightsr.card import ModelCard
from lightsr_export import attempts, bundle, export, profile
from lightsr_export.cli import main
from lightsr_export.gate import Loss, Verdict
from lightsr_train import checkpoint

from tests.schemas import problems

from .conftest import a_baseline, a_folder, a_network, a_run

FILES = {"little-x2-fp32.onnx", "little-x2-int8.onnx", "report.json", "card.md"}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_folder(tmp_path_factory.mktemp("data") / "images")


@pytest.fixture(scope="module")
def run(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return a_run(tmp_path_factory.mktemp("runs") / "run", a_network(), images)


@pytest.fixture(scope="module")
def exported(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("exported")
    assert main([str(run), "-o", str(folder), "--max-psnr-drop", "2"]) == 0
    return folder


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def test_it_writes_models_report_and_card(exported: Path) -> None:
    assert names(exported) == FILES
    for precision in ("fp32", "int8"):
        upscaler = load(exported / f"little-x2-{precision}.onnx")
        assert upscaler(np.zeros((20, 21), np.uint8)).shape == (40, 42)
        assert upscaler.card.precision == precision
        assert upscaler.card.intensity == ("unit" if precision == "int8" else "any")
    assert {"stem", "skip", "consistency"} <= set(load(exported / "little-x2-int8.onnx").card.float_parts)


def test_the_report_is_about_these_files(exported: Path, run: Path) -> None:
    report = json.loads((exported / "report.json").read_text())
    assert problems(report, "export-report") == []
    assert report["checkpoint"]["sha256"] == checkpoint.sha256(run)
    assert report["difference_to_torch"] <= 1e-5
    assert report["rewrites"] == ["weights", "stages", "deconvolution", "phases", "onnxsim", "linear"]
    assert report["processor"]
    assert report["int8"]["passes"]
    assert report["int8"]["allowed_db"] == 2
    assert report["int8"]["speedup"] > 0
    for file in report["files"]:
        path = exported / file["name"]
        assert file["bytes"] == path.stat().st_size
        assert file["sha256"] == load(path).model.sha256
        assert file["golden"].startswith("seed ")
        assert file["operators"] == profile.optimised_operators(path)
        assert 0 < file["minimum_ms"] <= file["median_ms"]
        assert file["parameters"] == profile.parameters(path)
        assert {"operator", "mean_ms", "share"} <= file["kernels"][0].keys()
        assert [quality["images"] for quality in file["quality"]] == [2]
        assert 0 < file["quality"][0]["ssim"] < 1
    fp32, int8 = report["files"]
    last = report["int8"]["trials"][report["int8"]["taken"]]
    drop = fp32["quality"][0]["psnr_db"] - int8["quality"][0]["psnr_db"]
    # The gate runs whole pictures, the report tiles that go on beyond the border: a few pixels there differ.
    assert drop == pytest.approx(last["losses_db"][0]["mean_db"], abs=0.01)
    text = (exported / "card.md").read_text()
    for fragment in (fp32["name"], int8["name"], report["processor"], "training steps: 10", "made up"):
        assert fragment in text


def test_json_is_the_report(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(run), "-o", str(tmp_path / "o"), "--no-int8", "--json"]) == 0
    found = capsys.readouterr()
    assert json.loads(found.out) == json.loads((tmp_path / "o" / "report.json").read_text())
    assert problems(json.loads(found.out), "export-report") == []
    assert names(tmp_path / "o") == FILES - {"little-x2-int8.onnx"}
    assert "next: lightsr-infer" in found.err


def test_int8_slower_than_fp32_is_said(exported: Path, run: Path) -> None:
    report = export.export(run, exported / "slow", export.Options(int8=False))
    assert report.warnings == ()
    slow = dataclasses.replace(report, speedup=0.8)
    assert "int8 is not faster than fp32 on this machine: 1.25 times its time" in slow.warnings[0]


def failing(*_: object, allowed_db: float) -> Verdict:
    return Verdict((Loss("CT", 3, 0.5, 0.9),), allowed_db)


def test_a_failing_gate_leaves_the_fp32_file(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(attempts, "verdict", failing)
    folder = tmp_path / "o"
    folder.mkdir()
    (folder / "little-x2-int8.onnx").write_bytes(b"of an older network")
    assert main([str(run), "-o", str(folder), "--force", "--qat", "--qat-steps", "2"]) == 3
    found = capsys.readouterr()
    assert "no int8 file: it fails the gate of 0.05 dB: CT 0.500 (worst 0.90)" in found.err
    assert names(folder) == FILES - {"little-x2-int8.onnx"}
    trials = json.loads((folder / "report.json").read_text())["int8"]["trials"]
    kinds = [trial["means"] for trial in trials]
    assert [kind for i, kind in enumerate(kinds) if kind not in kinds[:i]] == ["ranges", "float layers", "fine-tuning"]
    assert [trial["percentile"] for trial in trials[:3]] == list(attempts.PERCENTILES)
    assert "None was taken." in (folder / "card.md").read_text()


def test_an_older_int8_file_does_not_stay_beside_a_new_fp32(run: Path, tmp_path: Path) -> None:
    (tmp_path / "little-x2-int8.onnx").write_bytes(b"of an older network")
    export.export(run, tmp_path, export.Options(int8=False, overwrite=True))
    assert names(tmp_path) == FILES - {"little-x2-int8.onnx"}


@pytest.mark.parametrize(("scale", "unshuffle"), [(3, 2), (4, 1), (8, 2)])
def test_other_scales(scale: int, unshuffle: int, tmp_path: Path) -> None:
    images = a_folder(tmp_path / "images", patients=4, side=24 * scale + 24)
    source = a_run(tmp_path / "run", a_network(scale=scale, unshuffle=unshuffle, branches=True), images)
    report = export.export(source, tmp_path / "o", export.Options(allowed_db=5.0))
    assert not report.refusal
    for precision in ("fp32", "int8"):
        assert load(tmp_path / "o" / f"little-x{scale}-{precision}.onnx").scale == scale


@pytest.mark.parametrize("family", ["srcnn", "residual", "srdense"])
def test_baselines_in_int8(family: str, images: Path, tmp_path: Path) -> None:
    source = a_run(tmp_path / "run", a_baseline(family), images, family)
    tuning = export.Tuning(steps=2)
    report = export.export(source, tmp_path / "o", export.Options(allowed_db=10.0, tuning=tuning))
    assert not report.refusal
    card = load(tmp_path / "o" / f"{family}-x2-int8.onnx").card
    assert card.float_parts[: 1 + (family == "srcnn")] == (("stem", "skip") if family == "srcnn" else ("stem",))
    assert "consistency step: none" in (tmp_path / "o" / "card.md").read_text()
    assert card.golden.tolerance > 0  # its stem has a bias: sums are not exact on every processor


def test_patches_of_odd_sides_are_tuned_on_too(images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attempts, "verdict", failing)
    source = a_run(tmp_path / "run", a_network(), images, patch_px=25)
    options = export.Options(tuning=export.Tuning(steps=2))
    assert export.export(source, tmp_path / "o", options).trials[-1].means == "fine-tuning"


def test_the_first_that_passes_is_taken(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []

    def later(*_: object, allowed_db: float) -> Verdict:
        calls.append(1)
        return Verdict((Loss("CT", 3, 0.9 / len(calls) ** 2, 0.1),), allowed_db)

    monkeypatch.setattr(attempts, "verdict", later)
    report = export.export(run, tmp_path, export.Options(tuning=export.Tuning(steps=2)))
    assert not report.refusal
    assert report.taken is not None
    assert report.taken == report.trials[-1]
    assert report.taken.means == "float layers"
    assert report.taken.verdict.passes
    card = load(tmp_path / "little-x2-int8.onnx").card
    assert set(report.taken.float_layers) <= set(card.float_parts)


def test_a_network_without_integer_form_gives_fp32(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = a_run(tmp_path / "run", a_baseline("espcn"), images, "espcn")
    assert main([str(source), "-o", str(tmp_path / "o")]) == 3
    assert "no int8 file: Tanh between stem and tail has no integer form" in capsys.readouterr().err
    assert load(tmp_path / "o" / "espcn-x2-fp32.onnx").card.intensity == "unit"
    assert "espcn-x2-int8.onnx" not in names(tmp_path / "o")


def refused(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    assert main(arguments) == 1
    found = capsys.readouterr()
    assert found.out == ""
    line = found.err.strip().splitlines()[-1]
    assert line.startswith("lightsr-export: ")
    assert "Traceback" not in found.err
    return line


def test_bad_checkpoints_are_refused(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "o"
    (tmp_path / "cut.pt").write_bytes((run / checkpoint.MODEL_FILE).read_bytes()[:3000])
    (tmp_path / "text.pt").write_text("weights")
    (tmp_path / "empty").mkdir()
    torch.save({"state_dict": {}}, tmp_path / "other.pt")
    torch.save(Path("x"), tmp_path / "pickle.pt")  # weights_only refuses to build such an object
    for name in ("cut.pt", "text.pt", "empty", "other.pt", "pickle.pt", "missing.pt"):
        line = refused([str(tmp_path / name), "-o", str(out)], capsys)
        assert name in line
        assert not out.exists()


def test_no_images_are_refused(run: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "o"
    lone = tmp_path / "lone.pt"
    shutil.copy(run / checkpoint.MODEL_FILE, lone)
    assert "--calibration DIR, or --no-int8" in refused([str(lone), "-o", str(out)], capsys)
    (tmp_path / "none").mkdir()
    assert "none" in refused([str(lone), "-o", str(out), "--calibration", str(tmp_path / "none")], capsys)
    shutil.copytree(images / "p0", tmp_path / "one" / "p0")
    line = refused([str(lone), "-o", str(out), "--calibration", str(tmp_path / "one")], capsys)
    assert "1 images of training patients and 0 of held-back ones" in line
    assert not out.exists()


def test_files_that_exist_stay(exported: Path, run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path.name: path.read_bytes() for path in exported.iterdir() if path.is_file()}
    assert "exists; --force overwrites it" in refused([str(run), "-o", str(exported)], capsys)
    assert {path.name: path.read_bytes() for path in exported.iterdir() if path.is_file()} == before


@contextmanager
def full_disk() -> Iterator[None]:
    """As on a disk that fills up: no file may be longer."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize(
    ("function", "message"),
    [("_write", "cannot be written: File too large"), ("_measured", "needs some free space there")],
    ids=["the models'", "the temporary files'"],
)
def test_a_full_disk_leaves_nothing(
    function: str,
    message: str,
    run: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(export, function, full_disk()(getattr(export, function)))
    assert message in refused([str(run), "-o", str(tmp_path / "o"), "--no-int8"], capsys)
    assert names(tmp_path / "o") == set()


def test_a_file_in_the_folders_place_is_told_at_once(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "o").write_text("mine")
    assert "is no folder" in refused([str(run), "-o", str(tmp_path / "o")], capsys)
    assert (tmp_path / "o").read_text() == "mine"


@pytest.mark.parametrize(
    "arguments",
    [
        ["--no-int8", "--qat"],
        ["--no-int8", "--calibration", "x"],
        ["--qat-steps", "5"],
        ["--max-psnr-drop", "0"],
        ["--max-psnr-drop", "much"],
    ],
)
def test_options_that_do_not_fit(arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([str(tmp_path), "-o", str(tmp_path / "o"), *arguments])
    assert stopped.value.code == 2
    assert arguments[0] in capsys.readouterr().err


def test_exporting_twice_gives_the_same_bytes(exported: Path, run: Path, tmp_path: Path, exported_anew: None) -> None:
    assert main([str(run), "-o", str(tmp_path), "--max-psnr-drop", "2"]) == 0
    for name in ("little-x2-fp32.onnx", "little-x2-int8.onnx"):
        assert (tmp_path / name).read_bytes() == (exported / name).read_bytes()


def test_nothing_of_the_machine_is_in_the_files(exported: Path) -> None:
    for path in exported.iterdir():
        if path.is_file():
            content = path.read_bytes()
            assert str(Path.home()).encode() not in content
            assert os.fsencode(exported.parent) not in content
            assert not re.search(rb"/\w+/\w+/\w+\.py", content)


def test_bundle_takes_what_was_exported(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["bundle", str(exported), str(tmp_path)])
    assert bundle.main() == 0
    assert names(tmp_path) == {"little-x2-fp32.onnx", "little-x2-int8.onnx", "little-x2-card.md", "models.json"}
    listed = json.loads((tmp_path / "models.json").read_text())
    assert [(entry["name"], entry["precision"]) for entry in listed] == [("little", "fp32"), ("little", "int8")]
    model = onnx.load(tmp_path / "little-x2-int8.onnx")
    assert ModelCard.from_metadata({p.key: p.value for p in model.metadata_props}).name == "little"


def test_bundle_refuses_what_is_too_large(exported: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle, "MAX_FILE_BYTES", 100)
    monkeypatch.setattr(sys, "argv", ["bundle", str(exported), str(tmp_path)])
    assert bundle.main() == 1
    assert names(tmp_path) == set()
