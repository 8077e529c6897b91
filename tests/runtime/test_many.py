"""The command over many files: shared out, told, and shown."""

import json
import os
import re
import shlex
import subprocess
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from lightsr import raster
from lightsr.cli import main, parser
from lightsr.cpus import available_cpus

from .runs import COMMAND, Run, enlarge, posix, results, rows


def test_jobs_change_nothing_of_results_and_their_order(
    study: Path, whole: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (study / "notes.txt").write_text("notes")
    with (study / "-.png").open("wb") as file:  # the first, and the last to be finished
        raster.write_png(np.zeros((900, 900), np.uint8), file)
    capsys.readouterr()
    assert enlarge(study, tmp_path / "out", "--jobs", "2", "--json", "--manifest", str(tmp_path / "m.jsonl")) == 3
    (tmp_path / "out" / "-.png").unlink()
    assert results(tmp_path / "out") == whole
    printed = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["input"] for row in printed] == sorted(
        (path.relative_to(study).as_posix() for path in study.rglob("*.*")), key=lambda name: ("/" in name, name)
    )
    assert sorted(printed, key=str) == sorted(rows(tmp_path / "m.jsonl"), key=str)
    if available_cpus() > 1:
        assert printed != rows(tmp_path / "m.jsonl")


def test_a_manifest_tells_what_became_of_each_file(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import hashlib

    (study / "notes.txt").write_text("notes")
    (study / "gone.dcm").symlink_to("nowhere")
    manifest, out = tmp_path / "m.jsonl", tmp_path / "out"
    assert enlarge(study, out, "--manifest", str(manifest)) == 3
    found = {row["input"]: row for row in rows(manifest)}
    assert len(found) == 16
    row = found["series 1/2.dcm"]
    assert (row["output"], row["status"], row["reason"], row["frames"]) == ("series 1/2.dcm", "done", None, 1)
    for name, folder in (("input", study), ("output", out)):
        assert row[f"{name}_sha256"] == hashlib.sha256((folder / "series 1/2.dcm").read_bytes()).hexdigest()
    assert row["model"] == "tiny-x2-int8"
    main(["--info", "tiny", "--json"])
    assert len(str(row["model_sha256"])) == 64
    assert (found["cine.dcm"]["frames"], found["cine.dcm"]["size_out"]) == (6, [90, 140])
    assert (found["notes.txt"]["status"], found["notes.txt"]["reason"]) == ("refused", "image")
    assert found["notes.txt"]["input_sha256"] == hashlib.sha256(b"notes").hexdigest()
    assert found["notes.txt"]["output_sha256"] is None
    assert found["gone.dcm"]["status"] == "refused"
    assert enlarge(study, out, "--manifest", str(manifest), "--glob", "*.png") == 3
    assert [(row["status"], row["reason"]) for row in rows(manifest)[16:]] == [("failed", "exists")] * 4
    assert enlarge(study, out, "--manifest", str(manifest), "--glob", "*.png", "--skip-existing") == 0
    assert [row["status"] for row in rows(manifest)[20:]] == ["skipped"] * 4
    assert b"SECRET" not in manifest.read_bytes()
    assert b"Doe" not in manifest.read_bytes()


def test_a_manifest_is_gone_on_with(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also after a run that was killed while it wrote a line."""
    manifest, arguments = tmp_path / "m.jsonl", ("--glob", "*.png", "--manifest", str(tmp_path / "m.jsonl"))
    assert enlarge(study, tmp_path / "out", *arguments) == 0
    manifest.write_bytes(manifest.read_bytes()[:-30])
    assert enlarge(study, tmp_path / "out", *arguments, "--skip-existing") == 0
    assert f"{manifest}: its last line was cut off" in capsys.readouterr().err
    assert [row["status"] for row in rows(manifest)] == ["done"] * 3 + ["skipped"] * 4


def test_shards_together_are_the_whole(
    study: Path, whole: dict[str, bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A series may be torn apart: every file's result is what it would have been, in the same series."""
    counts = []
    for index in range(1, 4):
        capsys.readouterr()
        assert enlarge(study, tmp_path / "out", "--shard", f"{index}/3") == 0
        first = capsys.readouterr().err.splitlines()[0]
        assert first.startswith(f"lightsr-infer: shard {index}/3: ")
        assert first.endswith(" of 14 files")
        counts.append(int(first.split()[3]))
    assert sum(counts) == 14
    assert min(counts) > 0
    assert results(tmp_path / "out") == whole
    series = {pydicom.dcmread(path).SeriesInstanceUID for path in (tmp_path / "out" / "series 0").iterdir()}
    assert len(series) == 1


def test_an_empty_shard_is_done(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    codes = [enlarge(study, tmp_path / "out", "--glob", "0.png", "--shard", f"{index}/2") for index in (1, 2)]
    assert codes == [0, 0]
    assert [line.split(":")[2].strip() for line in capsys.readouterr().err.splitlines() if "shard" in line] in (
        ["0 of 1 files", "1 of 1 files"],
        ["1 of 1 files", "0 of 1 files"],
    )
    assert len(results(tmp_path / "out")) == 1


@pytest.mark.parametrize(
    ("manifest", "message"),
    [
        ("study/m.jsonl", "lies inside the input folder"),
        ("study/0.png", "lies inside the input folder"),
        ("out/0.png", "would be one file with"),
        ("notes", "is no manifest"),
    ],
)
def test_a_manifest_in_the_way_is_refused(
    manifest: str, message: str, study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "notes").write_text("mine")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    assert enlarge(study, tmp_path / "out", "--manifest", str(tmp_path / manifest)) == 1
    assert message in capsys.readouterr().err
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    "arguments",
    [
        ["in", "out", "--jobs", "0"],
        ["in", "out", "--shard", "3/2"],
        ["in", "out", "--shard", "x"],
        ["--list-models", "--jobs", "2"],
        ["--demo", "d", "--shard", "1/2"],
        ["--self-test", "--manifest", "m"],
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


@posix
def test_standard_input_may_be_closed(study: Path, tmp_path: Path) -> None:
    command = [*COMMAND, str(study), str(tmp_path / "out"), "--jobs", "2", "--model", "tiny"]
    finished = subprocess.run(["sh", "-c", f"{shlex.join(command)} <&-"], capture_output=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert len(results(tmp_path / "out")) == 14


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    if os.name != "posix":
        pytest.skip("a terminal of POSIX")
    first, second = os.openpty()
    yield first, second
    os.close(first)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_terminal_shows_a_bar(jobs: int, terminal: tuple[int, int], study: Path, tmp_path: Path) -> None:
    (study / "2.txt").write_text("notes")
    environment = {**os.environ, "TERM": "xterm"}
    run = Run(study, tmp_path / "out", "--jobs", jobs, stderr=terminal[1], env=environment)
    os.close(terminal[1])
    run.process.communicate(timeout=60)
    assert run.process.returncode == 3
    seen = b""
    while True:
        try:
            part = os.read(terminal[0], 65_536)
        except OSError:  # Linux: nobody writes to it any more
            break
        seen += part
        if not part:
            break
    text = seen.decode()
    assert re.search(r" (files/s|s/file)  0:", text)
    assert " left" in text
    lines = text.split("\r\n")
    assert sum(line.rpartition("\x1b[K")[2].startswith(f"lightsr-infer: {study}/2.txt") for line in lines) == 1
    assert lines[-2].endswith("14 enlarged, 0 already there, 1 failed or refused")
    assert "[" not in lines[-2].rpartition("\x1b[K")[2]


def test_every_command_of_the_page_is_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "runtime.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    .*?lightsr-infer ([^\"\n]+)", page, re.MULTILINE)
    assert len(commands) == 7
    for command in commands:
        words = re.sub(r"\$\(\(.*?\)\)|\$\w+|\{\}", "2", command)
        arguments = parser().parse_args(shlex.split(words))
        assert (str(arguments.input), arguments.output) == ("study", "sharper")
