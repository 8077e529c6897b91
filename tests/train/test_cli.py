import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from lightsr import raster
from lightsr_train import checkpoint
from lightsr_train.cli import main, parser
from lightsr_train.networks import PRESETS

SMALL = """
name = "small"
[network]
channels = 16
layers = 1
blocks = 1
[training]
batch = 2
patch_px = 16
margin_px = 2
steps = 100000
validate_every = 100000
"""


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    random = np.random.default_rng(0)
    for patient in ("a", "b"):
        (folder / patient).mkdir(parents=True)
        with (folder / patient / "0.png").open("wb") as file:
            raster.write_png(random.integers(0, 255, (64, 64), dtype=np.uint8), file)
    return folder


def complain(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> str:
    assert main(arguments) == 1
    error = capsys.readouterr().err.strip().splitlines()[-1]
    assert error.startswith("lightsr-train: ")
    return error


def test_a_file_in_place_of_the_run_folder(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.toml").write_text(SMALL)
    (tmp_path / "file").touch()
    arguments = ["--config", str(tmp_path / "c.toml"), "--data", str(images), "--out", str(tmp_path / "file")]
    assert "file: cannot be made: File exists; --out takes a folder" in complain(capsys, arguments)


def test_a_refused_resume_changes_nothing(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.toml").write_text(SMALL.replace("steps = 100000", "steps = 2"))
    run = tmp_path / "run"
    arguments = ["--config", str(tmp_path / "c.toml"), "--out", str(run), "--data"]
    assert main([*arguments, str(images)]) == 0
    other = tmp_path / "other"
    shutil.copytree(images / "a", other / "x")
    shutil.copytree(images / "b", other / "y")
    before = {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()}
    assert "other settings or data" in complain(capsys, [*arguments, str(other), "--resume"])
    assert {path.name: path.read_bytes() for path in run.iterdir() if path.is_file()} == before
    assert not (run / ".lightsr-images").exists()


def test_names_that_would_leave_the_folder_are_refused(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "c.toml").write_text(SMALL.replace('"small"', '"../../evil"'))
    arguments = ["--config", str(tmp_path / "c.toml"), "--data", str(images), "--out", str(tmp_path / "run")]
    assert "letters, digits" in complain(capsys, arguments)


def test_mistakes_get_one_line(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "run")]
    (tmp_path / "empty").mkdir()
    assert "no image that can be used" in complain(capsys, ["--data", str(tmp_path / "empty"), *out])
    assert "no such folder" in complain(capsys, ["--data", str(tmp_path / "none"), *out])
    assert "--network huge: unknown" in complain(capsys, ["--data", str(images), "--network", "huge", *out])
    assert "no such checkpoint" in complain(capsys, ["--data", str(images), "--init", str(tmp_path / "x"), *out])
    assert "at least 8 more" in complain(capsys, ["--data", str(images), "--patch", "4", *out])
    assert not (tmp_path / "run").exists()
    with pytest.raises(SystemExit) as caught:
        main(out)
    assert caught.value.code == 2


def test_a_run_is_not_overwritten_and_resumes(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "c.toml").write_text(SMALL.replace("steps = 100000", "steps = 4"))
    arguments = ["--config", str(tmp_path / "c.toml"), "--data", str(images), "--out", str(tmp_path / "run")]
    assert main(arguments) == 0
    assert "--resume goes on" in complain(capsys, arguments)
    assert main([*arguments, "--resume"]) == 0
    other = ["--config", str(tmp_path / "c.toml"), "--data", str(images), "--out", str(tmp_path / "b")]
    assert main([*other, "--init", str(tmp_path / "run")]) == 0
    assert checkpoint.data_folders(tmp_path / "run") == [images]


def test_weights_of_another_network_do_not_start_a_run(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    small = SMALL.replace("steps = 100000", "steps = 1")
    (tmp_path / "small.toml").write_text(small)
    (tmp_path / "wide.toml").write_text(small.replace("channels = 16", "channels = 32"))
    data = ["--data", str(images)]
    assert main(["--config", str(tmp_path / "small.toml"), *data, "--out", str(tmp_path / "run")]) == 0
    rest = [*data, "--init", str(tmp_path / "run"), "--out", str(tmp_path / "other")]
    other_family = complain(capsys, ["--network", "fsrcnn", *rest])
    assert "small: is of the family light-dense; this run trains fsrcnn" in other_family
    other_width = complain(capsys, ["--config", str(tmp_path / "wide.toml"), *rest])
    assert "small: its dimensions differ from those of this run: channels 16, not 32" in other_width
    assert not (tmp_path / "other").exists()


def test_the_help_names_every_network() -> None:
    text = " ".join(parser().format_help().split()).replace(" (default)", "").replace(" or ", ", ")
    assert f"named network: {', '.join(PRESETS)}" in text


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stops_cleanly_on_a_signal_and_goes_on(number: signal.Signals, images: Path, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(SMALL.replace("validate_every = 100000", "validate_every = 5"))
    run = tmp_path / "run"
    command = [sys.executable, "-m", "lightsr_train.cli", "--config", str(tmp_path / "c.toml")]
    command += ["--data", str(images), "--out", str(run), "--threads", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "step 5/" in line:
                break
        os.kill(process.pid, number)
        rest = process.stderr.read()
        assert process.wait(60) == 128 + number
    assert "saved; --resume goes on" in rest
    assert "Traceback" not in rest
    stopped = checkpoint.load(run).provenance["step"]
    assert stopped >= 5
    assert f" at step {stopped:,}, saved" in rest
    assert sorted(path.name for path in run.iterdir() if path.suffix == ".pt") == ["model.pt", "state.pt"]
    assert sorted(path.name for path in (run / ".lightsr-images").iterdir()) == ["index.json", "pixels.bin"]
    assert {path.stat().st_mode & 0o777 for path in (run / ".lightsr-images").iterdir()} == {0o600}
    if number == signal.SIGINT:  # what is saved is the same
        assert f"from step {stopped:,} to" in _resumed(command)


def test_killed_between_two_saves_it_goes_on_to_the_same_weights(images: Path, tmp_path: Path) -> None:
    settings = SMALL.replace("validate_every = 100000", "validate_every = 10").replace("steps = 100000", "steps = 60")
    (tmp_path / "c.toml").write_text(settings)
    arguments = ["--config", str(tmp_path / "c.toml"), "--data", str(images), "--threads", "1"]
    run = tmp_path / "run"
    command = [sys.executable, "-m", "lightsr_train.cli", *arguments, "--out", str(run)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "step 10/" in line:
                process.kill()
                break
    assert process.returncode == -signal.SIGKILL
    saved = checkpoint.read_tensors(run / "state.pt")["step"]
    assert 10 <= saved < 60
    assert main([*arguments, "--out", str(run), "--resume"]) == 0
    assert main([*arguments, "--out", str(tmp_path / "straight")]) == 0
    expected, found = (checkpoint.load(folder).weights for folder in (tmp_path / "straight", run))
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)


def test_a_second_signal_ends_it_at_once_and_no_pictures_stay(images: Path, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(SMALL)
    run = tmp_path / "run"
    command = [sys.executable, "-m", "lightsr_train.cli", "--config", str(tmp_path / "c.toml"), "--threads", "1"]
    with subprocess.Popen(
        [*command, "--data", str(images), "--out", str(run)], stderr=subprocess.PIPE, text=True
    ) as process:
        while not (run / "data.json").exists():
            time.sleep(0.002)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.001)  # two of a kind at once would be one; the first one's step may or may not be over then
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        rest = process.stderr.read()
    assert "Traceback" not in rest
    if (run / "state.pt").exists():
        assert "--resume goes on" in rest
    else:
        assert "stopped before anything was saved; the same command begins anew" in rest
        assert not (run / ".lightsr-images").exists()


def _resumed(command: list[str]) -> str:
    with subprocess.Popen([*command, "--resume"], stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        for line in process.stderr:
            if "from step" in line:
                process.kill()
                return line
    return ""


def test_several_stages_and_a_released_model_to_start_from(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    staged = SMALL.replace("steps = 100000", "steps = 2") + "degradations = { bicubic = 1.0 }\n[[stage]]\nscale = 2\n"
    staged = staged.replace("[network]", "[network]\nscale = 4\nstage_channels = 4")
    (tmp_path / "c.toml").write_text(staged.replace("patch_px = 16", "patch_px = 12") + '[[stage]]\ndual = "scales"\n')
    run = tmp_path / "run"
    assert main(["--config", str(tmp_path / "c.toml"), "--data", str(images), "--out", str(run)]) == 0
    told = capsys.readouterr().err
    assert "stage x2" in told
    assert "stage x4" in told
    assert checkpoint.load(run).dimensions["scale"] == 4
    tuned = ["--data", str(images), "--init", "base", "--steps", "2", "--patch", "16"]
    assert main([*tuned, "--out", str(tmp_path / "tuned")]) == 0
    found = checkpoint.load(tmp_path / "tuned")
    assert found.provenance["init"] == "base"
    released = checkpoint.load(Path(__file__).parents[2] / "train" / "checkpoints" / "base-x2.pt")
    moved = found.weights["stem.raw"] - released.weights["stem.raw"]
    assert 0 < moved.abs().max() < 0.05
    assert "released are base-x2" in complain(
        capsys, ["--data", str(images), "--init", "huge", *tuned[-2:], "--out", "x"]
    )


def test_ctrl_c_while_images_are_read_leaves_nothing(tmp_path: Path) -> None:
    folder, run = tmp_path / "images", tmp_path / "run"
    first = tmp_path / "0.png"
    with first.open("wb") as file:
        raster.write_png(np.random.default_rng(0).integers(0, 255, (600, 600), dtype=np.uint8), file)
    for patient in range(200):
        (folder / str(patient)).mkdir(parents=True)
        (folder / str(patient) / "0.png").hardlink_to(first)
    command = [sys.executable, "-m", "lightsr_train.cli", "--data", str(folder), "--out", str(run), "--threads", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        while not (run / ".lightsr-images" / "pixels.bin").exists() and process.poll() is None:
            time.sleep(0.02)
        os.kill(process.pid, signal.SIGINT)
        said = process.stderr.read()
        status = process.wait(30)
    assert (status, said.splitlines()[-1:]) == (
        130,
        ["lightsr-train: stopped before the first step; nothing was written"],
    ), said
    assert "Traceback" not in said
    assert not run.exists()
