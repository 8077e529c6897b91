import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from lightsr import jobs, pipeline, raster
from lightsr.errors import LightsrError, ModelError
from lightsr.folders import Job
from lightsr.jobs import Finished, Note, Pool, share
from lightsr.manifest import ModelIdentity
from lightsr.pipeline import Outcome
from lightsr.worker import Setup, outcome_of, packed

from .dicom_files import a_cine, compressed, rle

TINY = Setup(model="tiny", threads=1)


def pictures(folder: Path, sides: list[int], out: str = "out") -> list[Job]:
    """PNG files of these sides, and where they go."""
    found = []
    for number, side in enumerate(sides):
        source = folder / "in" / f"{number:02}.png"
        source.parent.mkdir(exist_ok=True)
        with source.open("wb") as file:
            raster.write_png(np.random.default_rng(number).integers(0, 255, (side, side), np.uint8), file)
        found.append(Job(source, folder / out / source.name))
    return found


def outcomes(pool: Pool) -> dict[int, Outcome]:
    return {event.index: event.outcome for event in pool.events() if isinstance(event, Finished)}


def loaded(pool: Pool) -> None:
    """Wait until the first worker has its model."""
    first = next(event for event in pool.events() if event is not None)
    assert isinstance(first, ModelIdentity)


def wait_for(condition: object, seconds: float = 60) -> None:
    assert callable(condition)
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.005)


def in_hand(folder: Path) -> list[Path]:
    return list(folder.glob(".lightsr-*")) if folder.is_dir() else []


def test_workers_and_threads_fit_the_cpus() -> None:
    for cpus, threads, asked, files in itertools.product(
        (1, 2, 3, 8, 64), (None, 1, 2, 5, 100), (1, 2, 8, 99), (1, 2, 999)
    ):
        how = share(asked, threads, files=files, cpus=cpus)
        assert 1 <= how.workers <= min(asked, files)
        assert threads in (None, how.threads)
        if how.workers > 1 or threads is None:
            assert how.workers * how.threads <= cpus
        if threads is None and asked <= min(files, cpus):
            assert how.workers == asked


def test_results_are_those_of_one_process(tmp_path: Path, samples: Path) -> None:
    """Of PNG, a compressed cine (whose decoder is the worker's child) and what is refused."""
    todo = pictures(tmp_path, [20, 31, 44])
    stored = np.stack([np.full((20, 24), level, np.uint8) for level in (10, 90, 30)])
    cine = compressed(a_cine(stored), "1.2.840.10008.1.2.5", [rle(f[None]) for f in stored], tmp_path / "in" / "c.dcm")
    odd = tmp_path / "in" / os.fsdecode(b"odd\xff.txt" if sys.platform == "linux" else b"odd.txt")
    odd.write_text("notes")
    todo += [Job(path, tmp_path / "out" / path.name) for path in (cine, odd)]
    todo.append(Job(tmp_path / "link", tmp_path / "out" / "link", "link: not followed"))
    with Pool(TINY, todo, 2) as pool:
        events = [event for event in pool.events() if event is not None]
    assert isinstance(events[0], ModelIdentity)
    assert events[0].name == "tiny-x2-int8"
    found = {event.index: event.outcome for event in events if isinstance(event, Finished)}
    assert [found[i].status for i in range(6)] == ["done", "done", "done", "done", "refused", "failed"]
    assert found[4].source == odd
    assert found[5].message == "link: not followed"
    assert found[3].frames == 3
    here = TINY.load()
    for job in todo[:3]:
        other = tmp_path / "here" / job.target.name
        assert pipeline.enlarge_file(job.source, other, here).status == "done"
        assert other.read_bytes() == job.target.read_bytes()
    assert np.array_equal(raster_of(tmp_path / "out" / "c.dcm"), stored.repeat(2, 1).repeat(2, 2))


def raster_of(path: Path) -> np.ndarray:
    import pydicom

    return pydicom.dcmread(path).pixel_array


def test_an_outcome_survives_the_way() -> None:
    outcome = Outcome(
        Path("a\udcff"), Path("b"), "failed", (1, 2), (3, 4), 0.5, 9.0, "why", 3, "image", "ab" * 32, "cd" * 32
    )
    assert outcome_of(json.loads(packed(outcome))) == outcome


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["SIGKILL", "SIGSEGV", "SIGTERM"])
def test_a_worker_that_dies_costs_its_file_alone(name: str, tmp_path: Path) -> None:
    todo = pictures(tmp_path, [1200, 20, 24, 28])
    with Pool(TINY, todo, 1) as pool:
        loaded(pool)
        first = pool._workers[0]._process.pid
        wait_for(lambda: in_hand(tmp_path / "out"))
        os.kill(first, getattr(signal, name))
        found = outcomes(pool)
    assert [found[i].status for i in range(4)] == ["failed", "done", "done", "done"]
    assert found[0].reason == "worker"
    how = "status 143" if name == "SIGTERM" else name
    assert found[0].message.startswith(f"{todo[0].source}: its worker ended early ({how}")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["01.png", "02.png", "03.png"]


def test_no_more_workers_than_files(tmp_path: Path) -> None:
    todo = pictures(tmp_path, [20])
    with Pool(TINY, todo, 8) as pool:
        assert len(pool._threads) == 1
        assert outcomes(pool)[0].status == "done"


def test_a_model_that_cannot_be_loaded_is_told_before_anything_is_written(tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(b"x")
    todo = pictures(tmp_path, [20, 20])
    with pytest.raises(ModelError, match="not an ONNX file"), Pool(Setup(model=str(tmp_path / "a.onnx")), todo, 2) as p:
        outcomes(p)
    assert not (tmp_path / "out").exists()


def test_workers_that_cannot_be_started_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """All but one end while they load the model: the files are done all the same; and not by none at all."""
    todo = pictures(tmp_path, [20, 24, 28])
    start, lock, count = jobs._START, threading.Lock(), [0]
    popen = subprocess.Popen

    def limited(command: list[str], **how: object) -> object:
        with lock:
            count[0] += 1
            command = [*command[:3], start if count[0] <= spared else "import os; os.abort()", *command[4:]]
        return popen(command, **how)  # type: ignore[call-overload]

    monkeypatch.setattr(subprocess, "Popen", limited)
    spared = 1
    with Pool(TINY, todo, 2) as pool:
        events = [event for event in pool.events() if event is not None]
    assert sorted(event.index for event in events if isinstance(event, Finished)) == [0, 1, 2]
    notes = [event.text for event in events if isinstance(event, Note)]
    assert notes in ([], ["a worker ended before it had loaded the model (SIGABRT); going on with fewer"])
    spared, count[0] = 0, 0
    with pytest.raises(LightsrError, match="had loaded the model.*fewer --jobs"), Pool(TINY, todo, 2) as pool:
        outcomes(pool)


def test_a_model_that_changes_meanwhile_ends_the_run(tmp_path: Path) -> None:
    from importlib import resources

    bundled = resources.files("lightsr") / "models"
    model = tmp_path / "m.onnx"
    model.write_bytes((bundled / "tiny-x2-int8.onnx").read_bytes())
    todo = pictures(tmp_path, [1200, 20])
    with pytest.raises(ModelError, match="was changed"), Pool(Setup(model=str(model), threads=1), todo, 1) as pool:
        loaded(pool)
        wait_for(lambda: in_hand(tmp_path / "out"))
        model.write_bytes((bundled / "tiny-x2-fp32.onnx").read_bytes())
        pool._workers[0].kill()
        outcomes(pool)
    assert list((tmp_path / "out").iterdir()) == []


def test_leaving_early_removes_what_is_in_hand(tmp_path: Path) -> None:
    todo = pictures(tmp_path, [1200, 1200, 1200])
    with pytest.raises(KeyboardInterrupt), Pool(TINY, todo, 2) as pool:
        loaded(pool)
        processes = [worker._process for worker in pool._workers.values()]
        wait_for(lambda: in_hand(tmp_path / "out"))
        raise KeyboardInterrupt
    assert all(process.poll() is not None for process in processes)
    assert all(done.is_set() for done in pool._done)
    assert in_hand(tmp_path / "out") == []
    assert list(pool.finished_meanwhile()) == []


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_second_interrupt_waits_for_what_must_be_cleared_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a busy machine that takes its time; a thread that is waited for when the interrupt comes is no exception."""
    todo, clear = pictures(tmp_path, [1200]), jobs.strays.remove

    def slowly(folders: list[Path]) -> int:
        time.sleep(1)
        return clear(folders)

    monkeypatch.setattr(jobs.strays, "remove", slowly)
    again = threading.Timer(1, os.kill, (os.getpid(), signal.SIGINT))
    with pytest.raises(KeyboardInterrupt), Pool(TINY, todo, 1) as pool:
        loaded(pool)
        wait_for(lambda: in_hand(tmp_path / "out"))
        os.kill(pool._workers[0]._process.pid, signal.SIGSTOP)
        again.start()
        raise KeyboardInterrupt
    assert in_hand(tmp_path / "out") == []
