"""The command in trouble: wrong usage, names, rights, full disks, closed pipes, an early end."""

import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightsr import raster
from lightsr.cli import main

from .written import write_png


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["in"],
        ["in", "out", "--scale", "5"],
        ["in", "out", "--tile", "4"],
        ["in", "out", "--threads", "0"],
        ["in", "out", "--force", "--skip-existing"],
        ["in", "out", "--list-models"],
        ["in", "out", "--series-offset", "-1"],
        ["in", "out", "--series-offset", "2147483648"],
        ["in", "out", "--suffix", ""],
        ["in", "out", "--suffix", "a\\b"],
        ["in", "out", "--equipment", "scanner"],
        ["--demo", "out", "--as-sc"],
        ["--list-models", "--suffix", "x"],
        ["--list-models", "--self-test"],
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none", "out"], "no such file or folder"),
        (["in.png", "out", "--model", "tiny", "--scale", "8"], "not bundled"),
        (["in.png", "out", "--model", "x.onnx"], "no such model file"),
        (["--info", "nano"], "not bundled"),
    ],
)
def test_mistakes_get_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_png(tmp_path / "in.png", np.zeros((20, 20), np.uint8))
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("lightsr-infer: ")
    assert message in error


def test_a_read_only_folder_is_named(scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert main([str(scans / "ct.dcm"), str(tmp_path / "file" / "a.dcm")]) == 1
    error = capsys.readouterr().err
    assert "cannot be made" in error
    assert error.count("\n") == 1


def test_a_name_that_promises_another_format_is_refused(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for source, target in (("ct.dcm", "share.png"), ("colour.png", "a.dcm"), ("ct.dcm", "a.nii"), ("ct.dcm", "a.jpeg")):
        assert main([str(scans / source), str(tmp_path / target)]) == 1
        assert "give it a name that ends in" in capsys.readouterr().err
        assert not (tmp_path / target).exists()
    assert main([str(scans / "ct.dcm"), str(tmp_path / "no-suffix")]) == 0


def test_a_name_too_long_is_one_line(scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(scans / "ct.dcm"), str(tmp_path / ("a" * 300))]) == 1
    err = capsys.readouterr().err
    assert "File name too long" in err
    assert "unexpected" not in err


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8")
def test_names_that_the_terminal_cannot_show(scans: Path, tmp_path: Path) -> None:
    odd = scans / os.fsdecode(b"scan\xff.dcm")
    odd.write_bytes((scans / "ct.dcm").read_bytes())
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    command = [sys.executable, "-m", "lightsr.cli", str(scans), str(tmp_path / "out"), "--threads", "1"]
    finished = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert finished.returncode == 0
    assert b"5 enlarged" in finished.stderr
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 2


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_being_ended_leaves_no_half_file(name: str, tmp_path: Path) -> None:
    number = getattr(signal, name)
    source, out = tmp_path / "in", tmp_path / "out"
    for i in range(40):
        write_png(source / f"{i:02}.png", np.random.default_rng(i).integers(0, 255, (600, 600), np.uint8))
    command = [sys.executable, "-m", "lightsr.cli", str(source), str(out), "--threads", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    process.stdout.readline()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "stopped" in err
    assert "Traceback" not in err
    done = list(out.iterdir())
    assert 0 < len(done) < 40
    assert all(not path.name.startswith(".") and raster.read(path).size == (1200, 1200) for path in done)


def test_a_closed_pipe_is_told(scans: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lightsr.cli", str(scans), str(tmp_path / "out"), "--json", "--threads", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    process.stdout.close()
    assert process.stderr
    assert process.stderr.read() == "lightsr-infer: standard output was closed; stopped before the remaining files\n"
    assert process.wait(60) == 1


def test_names_cannot_move_the_cursor(scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = scans / "a\x1b[31m\nb.dcm"
    odd.write_bytes((scans / "ct.dcm").read_bytes())
    (scans / "bad\x1b[2J.dcm").write_bytes(b"x")
    assert main([str(scans), str(tmp_path / "out")]) == 3
    printed = capsys.readouterr()
    assert "a\\x1b[31m\\x0ab.dcm" in printed.out
    assert "bad\\x1b[2J.dcm" in printed.err
    assert "\x1b" not in printed.out + printed.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full of Linux")
def test_a_full_disk_is_told(scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Every byte goes where there is no room."""
    opened = os.open

    def full(path: Any, flags: int, mode: int = 0o777) -> int:
        if ".lightsr-" in str(path):
            opened_file = opened(path, flags, mode)
            os.close(opened_file)
            return opened("/dev/full", os.O_WRONLY)
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", full)
    for name in ("ct.dcm", "colour.png"):
        target = tmp_path / "out" / name
        assert main([str(scans / name), str(target)]) == 1
        assert capsys.readouterr().err == f"lightsr-infer: {target}: cannot be written: No space left on device\n"
        assert list(target.parent.iterdir()) == []
