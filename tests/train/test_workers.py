import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from lightsr import raster
from lightsr_train import checkpoint, data, processes, workers
from lightsr_train.ahead import Ahead
from lightsr_train.dimensions import NetworkConfig
from lightsr_train.patches import PatchSampler
from lightsr_train.processes import Processes
from lightsr_train.settings import RunConfig, Stage, TrainingConfig
from lightsr_train.training import STATE_FILE, Trainer
from lightsr_train.workers import WorkerError, in_order

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are forked on Linux alone")


def who(number: int) -> tuple[int, int]:
    return number, os.getpid()


@pytest.mark.parametrize("count", [0, 1, 3])
def test_results_come_in_the_order_of_their_items(count: int) -> None:
    found = list(in_order(who, range(40), count))
    assert [number for number, _ in found] == list(range(40))
    others = {process for _, process in found} - {os.getpid()}
    assert len(others) == count


def test_they_see_what_is_in_memory() -> None:
    picture = np.arange(12)
    assert list(in_order(lambda i: int(picture[i]), range(12), 2)) == list(range(12))


def test_a_fault_is_raised_here() -> None:
    with pytest.raises(ZeroDivisionError):
        list(in_order(lambda i: 1 // i, range(3), 2))


def test_one_that_is_killed_is_told_in_one_line() -> None:
    def end(number: int) -> int:
        if number == 5:
            os.kill(os.getpid(), signal.SIGKILL)
        return number

    with pytest.raises(WorkerError, match="memory may have run out.*--workers 0") as failure:
        list(in_order(end, range(10), 2))
    assert "\n" not in str(failure.value)


@pytest.mark.parametrize(
    "fault",
    [RuntimeError("out of luck"), RecursionError("too deep"), FileNotFoundError("gone"), ConnectionError("cut")],
)
def test_a_fault_of_the_program_is_not_blamed_on_memory(fault: Exception) -> None:
    def fail(number: int) -> int:
        raise fault

    with pytest.raises(type(fault), match=str(fault)) as failure:
        list(in_order(fail, range(3), 2))
    assert not isinstance(failure.value, WorkerError)


def test_one_that_is_killed_amid_a_message_is_noticed() -> None:
    """The pipe holds 64 KiB of it, and never ends."""
    results = in_order(lambda i: (os.getpid(), np.zeros(1_000_000)), range(50), 1)
    process, _ = next(results)
    time.sleep(0.3)  # the next one is being written
    os.kill(process, signal.SIGKILL)
    with pytest.raises(WorkerError):
        list(results)


def test_no_room_for_batches_is_told_in_one_line() -> None:
    def full(number: int) -> int:
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    with pytest.raises(WorkerError, match="no room in /dev/shm.*--workers 0$"):
        list(in_order(full, range(3), 2))


def test_they_end_with_the_generator() -> None:
    results = in_order(who, range(1000), 2)
    processes = {next(results)[1] for _ in range(4)}
    assert all(map(running, processes))
    results.close()
    assert not any(map(running, processes))


def running(process: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_they_end_with_a_process_that_is_killed() -> None:
    program = """
        import os, time
        from lightsr_train.workers import in_order
        results = in_order(lambda i: os.getpid(), range(10**6), 2)
        print(next(results), next(results), flush=True)
        time.sleep(60)
    """
    command = [sys.executable, "-c", textwrap.dedent(program)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        them = [int(word) for word in process.stdout.readline().split()]
        assert len(them) == 2
        assert all(map(running, them))
        process.kill()
    end = time.monotonic() + 3  # torch's own watch takes five seconds, in which folders stay locked
    while any(map(running, them)) and time.monotonic() < end:
        time.sleep(0.02)
    assert not any(map(running, them))


def test_a_signal_amid_a_fork_is_heard_afterwards() -> None:
    done = []
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a command in this process may have left its own
    try:
        with pytest.raises(KeyboardInterrupt), workers._signals_later():
            signal.raise_signal(signal.SIGINT)
            done.append("to the end")
        assert done
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_they_leave_ctrl_c_to_the_process_that_they_work_for() -> None:
    def interrupted(number: int) -> int:
        os.kill(os.getpid(), signal.SIGINT)
        return number

    assert list(in_order(interrupted, range(4), 2)) == [0, 1, 2, 3]


def test_a_signal_to_all_processes_of_a_run_saves_it(
    waves: Callable[[Path, tuple[int, int]], Path], tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    waves(tmp_path / "images", (150, 160))
    command = [sys.executable, "-m", "lightsr_train.cli", "--data", str(tmp_path / "images"), "--workers", "2"]
    command += ["--patch", "16", "--out", str(tmp_path / "run"), "--threads", "1"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert process.stderr is not None
        while not (tmp_path / "run" / "log.jsonl").exists() and process.poll() is None:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGINT)
        try:
            _, said = process.communicate(timeout=60)
        finally:
            process.kill()
        assert process.returncode == 130, said
    assert "saved; --resume goes on" in said.splitlines()[-1]
    assert (tmp_path / "run" / "state.pt").exists()


def test_a_run_whose_workers_are_ended_with_it_is_saved(
    waves: Callable[[Path, tuple[int, int]], Path], tmp_path: Path
) -> None:
    (tmp_path / "images").mkdir()
    collection = data.load([waves(tmp_path / "images", (80, 90))], 2, min_side_px=16)
    settings = TrainingConfig(steps=1000, batch=2, patch_px=16, margin_px=2, degradations={"bicubic": 1.0})
    stage = Stage("x2", NetworkConfig(channels=16, layers=1, blocks=1), settings)
    run = RunConfig("test", "light-dense", (stage,))
    trainer = Trainer(run, collection, tmp_path / "run", processes=Processes(drawers=2))
    asked: list[int] = []

    def should_stop() -> bool:
        if trainer.step == 2 and 2 not in asked:
            for worker in multiprocessing.active_children():
                worker.kill()
        asked.append(trainer.step)
        return asked[-2:] == [trainer.step] * 2  # only where a batch did not come

    assert not trainer.train(lambda progress: None, should_stop)
    assert checkpoint.read_tensors(tmp_path / "run" / STATE_FILE)["step"] == trainer.step >= 2


@pytest.fixture
def sampler(waves: Callable[[Path, tuple[int, int]], Path], tmp_path: Path) -> PatchSampler:
    pairs = data.load([waves(tmp_path, (80, 90))], 2, min_side_px=16).pairs
    return PatchSampler(pairs, scale=2, patch_px=16, batch=6, seed=3, margin_px=2, oversampled_share=0.3)


def test_batches_are_those_of_the_sampler(sampler: PatchSampler) -> None:
    ahead = Ahead(sampler, steps=12, first=1, every=2, drawers=2)
    for step in (0, 1, 2, 7, 8, 11):  # in a row, and from elsewhere
        for found, drawn in zip(ahead.draw(step), sampler.draw(step, first=1, every=2), strict=True):
            assert torch.equal(found, torch.from_numpy(drawn))
    ahead.close()


def test_where_nothing_is_forked_a_thread_draws(sampler: PatchSampler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "platform", "win32")
    ahead = Ahead(sampler, steps=5, drawers=2)
    drawn = [ahead.draw(step) for step in range(3)]
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("ThreadPool")]
    for step, batch in enumerate(drawn):
        assert all(torch.equal(a, torch.from_numpy(b)) for a, b in zip(batch, sampler.draw(step), strict=True))
    ahead.close()


@pytest.mark.parametrize(
    ("cpus", "gpus", "asked", "started"),
    [
        (16, 0, None, (8, 0)),
        (1, 2, None, (1, 0)),
        (2, 0, None, (2, 0)),
        (16, 1, None, (8, 8)),
        (4, 1, None, (4, 3)),
        (4, 1, 0, (0, 0)),
        (2, 0, 5, (5, 5)),
    ],
)
def test_how_many_are_started(
    cpus: int, gpus: int, asked: int | None, started: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processes, "available_cpus", lambda: cpus)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", lambda device: None)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(max(1, gpus)))
    with processes.joined(asked) as found:
        assert (found.readers, found.drawers) == started


def test_images_are_read_as_by_one_process(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for number in range(data.FEW_IMAGES):
        (tmp_path / "CT" / str(number)).mkdir(parents=True)
        with (tmp_path / "CT" / str(number) / "0.png").open("wb") as file:
            raster.write_png(random.integers(0, 4000, (40, 50)).astype(np.uint16), file)
    shutil.copy(__file__, tmp_path / "CT" / "7" / "0.png")
    arguments = {"min_side_px": 16, "degradations": ["bicubic", "jpeg"]}
    skipped: list[list[str]] = [[], []]
    one, many = (
        list(data.read([tmp_path], 2, skipped=skipped[i], readers=2 * i, **arguments))
        for i in (0, 1)  # type: ignore[arg-type]
    )
    assert len(one) == data.FEW_IMAGES - 1
    assert skipped[0] == skipped[1] != []
    for first, second in zip(one, many, strict=True):
        assert (first.path, first.origin, first.error) == (second.path, second.origin, second.error)
        for a, b in zip((first.high, *first.lows), (second.high, *second.lows), strict=True):
            np.testing.assert_array_equal(a, b)
