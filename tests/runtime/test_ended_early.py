"""The command over many files, interrupted, killed and gone on with."""

import os
import random
import shlex
import signal
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from lightsr import raster

from .runs import COMMAND, Run, enlarge, posix, results, rows, strays, workers

KILLS = int(os.environ.get("LIGHTSR_KILLS", "4"))
"""How often a run is killed; more find more."""


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
    made = {path.name for path in out.iterdir()}
    assert made | {lost["input"]} == {path.name for path in pictures.iterdir()}
    assert all(raster.read(out / name).size == (840, 840) for name in made)  # or killed when its result had its name
    assert enlarge(pictures, out, "--skip-existing") == 0
    assert len(list(out.iterdir())) == 8
