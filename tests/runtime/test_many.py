"""The command over many files: shared out, interrupted, killed, and gone on with."""

import io
import json
import os
import random
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from lightsr import raster
from lightsr.cli import main, parser
from lightsr.cpus import available_cpus

from .dicom_files import a_cine, a_dataset, compressed, rle, save

COMMAND = (sys.executable, "-m", "lightsr.cli")

KILLS = int(os.environ.get("LIGHTSR_KILLS", "4"))
"""How often a run is killed; more find more."""

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
workers = pytest.mark.skipif(
    available_cpus() < 2 or sys.platform != "linux", reason="with one CPU there is one job; /proc tells whose workers"
)


@pytest.fixture
def study(tmp_path: Path, picture: np.ndarray) -> Path:
    """Three series of DICOM slices, a compressed cine and PNG: 14 files."""
    folder = tmp_path / "study"
    for series in range(3):
        (folder / f"series {series}").mkdir(parents=True)
        for number in range(3):
            pixels = np.roll(picture, 5 * number + series, axis=1).astype(np.int16)
            changes = {"SOPInstanceUID": f"1.2.3.{series}.{number}", "SeriesInstanceUID": f"1.2.3.{series}"}
            save(a_dataset(pixels, **changes), folder / f"series {series}" / f"{number}.dcm")
    stored = np.stack([(np.roll(picture, shift, axis=0) // 8).astype(np.uint8) for shift in range(6)])
    compressed(a_cine(stored), "1.2.840.10008.1.2.5", [rle(frame[None]) for frame in stored], folder / "cine.dcm")
    for number in range(4):
        with (folder / f"{number}.png").open("wb") as file:
            raster.write_png(np.tile(np.roll(picture, number, axis=0), (3, 3)), file)
    return folder


def undated(path: Path) -> bytes:
    """A result without the times of its making."""
    if path.suffix != ".dcm":
        return path.read_bytes()
    dataset = pydicom.dcmread(path)
    for name in ("InstanceCreation", "Content"):
        for kind in ("Date", "Time"):
            delattr(dataset, name + kind)
    del dataset.ContributingEquipmentSequence[-1].ContributionDateTime
    content = io.BytesIO()
    dataset.save_as(content)
    return content.getvalue()


def results(folder: Path) -> dict[str, bytes]:
    """Everything that stands under a final name."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): undated(path) for path in files}


def strays(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.is_file()]


def rows(manifest: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in manifest.read_text(encoding="ascii").splitlines()]


def enlarge(source: Path, target: Path, *more: str) -> int:
    return main([str(source), str(target), "--model", "tiny", *more])


@pytest.fixture
def whole(study: Path, tmp_path: Path) -> dict[str, bytes]:
    """Results of one job, undisturbed."""
    assert enlarge(study, tmp_path / "whole", "--threads", "1") == 0
    found = results(tmp_path / "whole")
    assert len(found) == 14
    return found


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


class Run:
    """The command in a process of its own, in a group of its own as a terminal would have it."""

    def __init__(self, *arguments: object, **how: object) -> None:
        command = [*COMMAND, *(str(argument) for argument in arguments), "--model", "tiny"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "process_group": 0, **how}
        self.process = subprocess.Popen(command, text=True, **pipes)  # type: ignore[call-overload]

    def first_line(self) -> None:
        assert self.process.stdout.readline()

    def children(self) -> list[int]:
        try:
            tasks = list(Path(f"/proc/{self.process.pid}/task").iterdir())
            return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
        except FileNotFoundError:
            return []

    def end(self) -> str:
        """Standard error, closed by the last of the processes."""
        err = self.process.communicate(timeout=60)[1]
        assert "Traceback" not in err
        return str(err)


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Eight pictures, each some time's work."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for number in range(8):
        with (folder / f"{number:02}.png").open("wb") as file:
            raster.write_png(np.random.default_rng(number).integers(0, 255, (420, 420), np.uint8), file)
    return folder


@posix
@pytest.mark.parametrize(("name", "jobs"), [("SIGINT", 1), ("SIGINT", 2), ("SIGTERM", 2)])
def test_interrupted_it_says_how_to_go_on(name: str, jobs: int, pictures: Path, tmp_path: Path) -> None:
    out, manifest = tmp_path / "out put", tmp_path / "m.jsonl"
    number = getattr(signal, name)
    run = Run(pictures, out, "--jobs", jobs, "--manifest", manifest)
    run.first_line()
    if name == "SIGINT":
        os.killpg(run.process.pid, number)  # as a terminal does
    else:
        run.process.send_signal(number)
    err = run.end()
    assert run.process.returncode == 128 + number
    finished = {path.name: path.read_bytes() for path in out.iterdir()}
    assert not any(name.startswith(".") for name in finished)
    assert all(raster.read(out / name).size == (840, 840) for name in finished)
    told, _, command = err.strip().splitlines()[-1].partition("; go on with: lightsr-infer ")
    assert told == (f"lightsr-infer: stopped; {len(rows(manifest))} of 8 files are finished, nothing else was written")
    assert 0 < len(rows(manifest)) <= len(finished) < 8
    again = shlex.split(command)
    assert again[-1] == "--skip-existing"
    assert subprocess.run([*COMMAND, *again], capture_output=True, check=False).returncode == 0
    assert len(list(out.iterdir())) == 8
    assert all((out / name).read_bytes() == content for name, content in finished.items())
    statuses = [row["status"] for row in rows(manifest)]
    assert statuses.count("skipped") == len(finished)
    assert len({row["input"] for row in rows(manifest)}) == 8


@posix
@workers
@pytest.mark.parametrize("seconds", [0, 0.3])
def test_interrupted_while_workers_start(seconds: float, pictures: Path, tmp_path: Path) -> None:
    """In a terminal they belong to no group that Ctrl-C reaches, before they could say that they do not listen."""
    run = Run(pictures, tmp_path / "out", "--jobs", "2")
    while not run.children() and run.process.poll() is None:
        time.sleep(0.002)
    time.sleep(seconds)
    os.killpg(run.process.pid, signal.SIGINT)
    assert run.end().startswith("lightsr-infer: stopped; ")
    assert run.process.returncode == 130
    assert strays(tmp_path) == []


@posix
def test_with_force_one_cannot_go_on(pictures: Path, tmp_path: Path) -> None:
    """What was there before cannot be told from what was made: it begins anew."""
    run = Run(pictures, tmp_path / "out", "--force")
    run.first_line()
    run.process.send_signal(signal.SIGINT)
    assert "; from the start with: lightsr-infer " in (err := run.end())
    assert "--skip-existing" not in err


@posix
@workers
def test_a_second_interrupt_ends_it_at_once(pictures: Path, tmp_path: Path) -> None:
    """The workers hang, and do not hear the first one."""
    out = tmp_path / "out"
    run = Run(pictures, out, "--jobs", "2")
    run.first_line()
    children = run.children()
    assert len(children) == 2
    while not strays(out):
        time.sleep(0.01)
    for child in children:
        os.kill(child, signal.SIGSTOP)
    run.process.send_signal(signal.SIGINT)
    time.sleep(0.5)
    assert run.process.poll() is None
    run.process.send_signal(signal.SIGINT)
    started = time.monotonic()
    assert "files are finished" in run.end()
    assert time.monotonic() - started < 10
    assert run.process.returncode == 130
    assert strays(out) == []
    assert all(raster.read(path).size == (840, 840) for path in out.iterdir())


@posix
def test_killed_at_any_moment_nothing_is_partial(study: Path, whole: dict[str, bytes], tmp_path: Path) -> None:
    """Killed with and without its workers, which end by themselves; a rerun sweeps and completes."""
    out, manifest, chance = tmp_path / "out", tmp_path / "m.jsonl", random.Random(5)
    arguments = (study, out, "--jobs", "2", "--skip-existing", "--manifest", manifest)
    left = 0
    for turn in range(KILLS):
        run = Run(*arguments)
        if turn % 4:
            run.first_line()
            time.sleep(chance.uniform(0, 0.2))
        else:
            time.sleep(chance.uniform(0, 2))
        for pid in (run.process.pid, *(run.children() if turn % 2 else ())):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        run.end()
        found = results(out)
        assert all(content == whole[name] for name, content in found.items())
        assert all(path.name.startswith(".lightsr-") for path in strays(out))
        left += len(strays(out))
        for name in sorted(found)[:: 1 if len(found) == 14 else 3]:  # so that there is work for the next turn
            (out / name).unlink()
    assert enlarge(study, out, *map(str, arguments[2:])) == 0
    assert results(out) == whole
    assert strays(out) == []
    assert {row["input"] for row in rows(manifest)} == set(whole)


@posix
@workers
def test_workers_end_with_their_parent(tmp_path: Path) -> None:
    """Killed, it cannot tell them; they remove what they have in hand."""
    source, out = tmp_path / "in", tmp_path / "out"
    source.mkdir()
    for number in range(2):
        with (source / f"{number}.png").open("wb") as file:
            raster.write_png(np.random.default_rng(number).integers(0, 255, (2000, 2000), np.uint8), file)
    run = Run(source, out, "--jobs", "2")
    while not strays(out) and run.process.poll() is None:
        time.sleep(0.01)
    run.process.kill()
    run.end()
    assert list(out.iterdir()) == []


@posix
@workers
def test_a_lost_worker_is_a_named_failure(pictures: Path, tmp_path: Path) -> None:
    out, manifest = tmp_path / "out", tmp_path / "m.jsonl"
    run = Run(pictures, out, "--jobs", "2", "--manifest", manifest)
    while len(strays(out)) < 2 and run.process.poll() is None:  # both have a file in hand
        time.sleep(0.002)
    os.kill(run.children()[0], signal.SIGKILL)
    err = run.end()
    assert run.process.returncode == 3
    assert err.endswith("7 enlarged, 0 already there, 1 failed or refused\n")
    (lost,) = [row for row in rows(manifest) if row["status"] == "failed"]
    assert lost["reason"] == "worker"
    assert f"lightsr-infer: {pictures / str(lost['input'])}: its worker ended early (SIGKILL" in err
    assert len(list(out.iterdir())) == 7
    assert enlarge(pictures, out, "--skip-existing") == 0
    assert len(list(out.iterdir())) == 8


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
    assert " files/s  0:" in text
    assert " left" in text
    lines = text.split("\r\n")
    assert sum(line.rpartition("\x1b[K")[2].startswith(f"lightsr-infer: {study}/2.txt") for line in lines) == 1
    assert lines[-2].endswith("14 enlarged, 0 already there, 1 failed or refused")
    assert "[" not in lines[-2].rpartition("\x1b[K")[2]


def test_every_command_of_the_page_is_one() -> None:
    page = (Path(__file__).parents[2] / "docs" / "runtime.md").read_text(encoding="utf-8")
    commands = re.findall(r"^    .*?lightsr-infer ([^\"\n]+)", page, re.MULTILINE)
    assert len(commands) == 6
    for command in commands:
        words = re.sub(r"\$\(\(.*?\)\)|\$\w+|\{\}", "2", command)
        arguments = parser().parse_args(shlex.split(words))
        assert (str(arguments.input), arguments.output) == ("study", "sharper")
