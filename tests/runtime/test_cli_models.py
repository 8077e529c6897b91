"""The command and its models: what is told of them, and what happens where one is not to be trusted."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path

import lightsr
import pydicom
import pytest
from lightsr.cli import main

from .test_model import with_wrong_golden


def test_what_models_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-models"]) == 0
    assert "tiny     x2  int8" in capsys.readouterr().out
    assert main(["--self-test"]) == 0
    assert capsys.readouterr().out.count("what it gave at export") >= 2
    assert main(["--info", "tiny", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["scale"] == 2
    assert card["sources"][0]["licence"]


def test_versions_and_self_test_name_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    versions = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in versions] == ["lightsr", "onnxruntime", "numpy", "pydicom", "CPU"]
    assert main(["--self-test", "tiny"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told == [*versions, "tiny-x2-int8.onnx: gives on this machine what it gave at export"]


def test_info_names_the_file_and_its_digest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--info", "tiny", "--scale", "4", "--precision", "fp32", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    content = (resources.files("lightsr") / "models" / "tiny-x4-fp32.onnx").read_bytes()
    assert card["file"] == "tiny-x4-fp32.onnx"
    assert card["sha256"] == hashlib.sha256(content).hexdigest()


def an_installation(folder: Path, precisions: tuple[str, ...]) -> dict[str, str]:
    """Environment in which lightsr is a copy, whose `tiny` x2 fails its self-test in these precisions."""
    shutil.copytree(Path(lightsr.__file__).parent, folder / "lightsr", ignore=shutil.ignore_patterns("__pycache__"))
    models = folder / "lightsr" / "models"
    listing = json.loads((models / "models.json").read_text())
    for entry in listing:
        if (entry["name"], entry["scale"]) == ("tiny", 2) and entry["precision"] in precisions:
            path = models / f"tiny-x2-{entry['precision']}.onnx"
            content = with_wrong_golden(path.read_bytes())
            path.write_bytes(content)
            entry["sha256"] = hashlib.sha256(content).hexdigest()
    (models / "models.json").write_text(json.dumps(listing))
    return os.environ | {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_what_is_made_by_fp32_instead_of_int8_says_so_once(jobs: str, scans: Path, tmp_path: Path) -> None:
    environment = an_installation(tmp_path / "copy", ("int8",))
    command = [sys.executable, "-m", "lightsr.cli", str(scans), str(tmp_path / "out"), "--model", "tiny"]
    command += ["--json", "--threads", "1", "--jobs", jobs]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert finished.stderr == (
        "lightsr-infer: tiny-x2-int8.onnx fails its self-test on this machine; tiny-x2-fp32.onnx is used instead\n"
    )
    assert {json.loads(line)["model"] for line in finished.stdout.splitlines()} == {"tiny-x2-fp32"}
    result = pydicom.dcmread(tmp_path / "out" / "ct.dcm")
    digest = hashlib.sha256((resources.files("lightsr") / "models" / "tiny-x2-fp32.onnx").read_bytes()).hexdigest()
    assert f"model tiny fp32 sha256:{digest[:12]}" in result.DerivationDescription
    assert "int8" not in str(result)
    assert main([str(scans / "ct.dcm"), str(tmp_path / "fp32.dcm"), "--model", "tiny", "--precision", "fp32"]) == 0
    assert pydicom.dcmread(tmp_path / "fp32.dcm").PixelData == result.PixelData


def test_no_picture_without_a_model_that_passes(scans: Path, tmp_path: Path) -> None:
    environment = an_installation(tmp_path / "copy", ("int8", "fp32"))
    command = [sys.executable, "-m", "lightsr.cli", str(scans / "ct.dcm"), str(tmp_path / "a.dcm"), "--model", "tiny"]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert finished.returncode == 1
    assert finished.stderr.count("\n") == 1
    assert "tiny-x2-fp32.onnx: fails its self-test on this machine" in finished.stderr
    assert not (tmp_path / "a.dcm").exists()
    command = [sys.executable, "-m", "lightsr.cli", "--self-test"]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert finished.returncode == 1
    assert finished.stderr.count("fails its self-test") == 2
    assert finished.stdout.count("what it gave at export") == 10


def test_one_self_test_fails_for_a_changed_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.onnx").write_bytes(b"x")
    assert main(["--self-test", str(tmp_path / "a.onnx")]) == 1
    assert "not an ONNX file" in capsys.readouterr().err


@pytest.mark.parametrize("option", [["--scale", "4"], ["--precision", "fp32"]])
def test_a_model_file_that_is_not_what_was_asked_for_is_refused(
    option: list[str], scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = resources.files("lightsr") / "models" / "tiny-x2-int8.onnx"
    assert main([str(scans), str(tmp_path / "out"), "--model", str(model), *option]) == 1
    assert f"{option[1]} was asked for" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_the_demo_has_no_choice_of_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--demo", str(tmp_path / "demo"), "--model", "nonsense"])
    assert stop.value.code == 2
    assert "do not go with it" in capsys.readouterr().err
