"""Whole runs: several stages, resumed inside any of them, one process or many."""

import dataclasses
import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from lightsr.errors import LightsrError
from lightsr_train import checkpoint, folders, released, stages, store
from lightsr_train.dimensions import NetworkConfig
from lightsr_train.networks import PRESETS
from lightsr_train.processes import Processes
from lightsr_train.settings import RunConfig, SettingsError, Stage, TrainingConfig, from_preset
from lightsr_train.training import LOG_FILE, STATE_FILE, Progress, Trainer

X4 = NetworkConfig(4, channels=16, layers=1, blocks=1, expansion=0, wiring="one-shot", stage_channels=4)
TRAINING = TrainingConfig(
    steps=6,
    batch=2,
    patch_px=16,
    warmup=2,
    validate_every=3,
    margin_px=2,
    degradations={"bicubic": 0.5, "area+gaussian-noise": 0.5},
)


@pytest.fixture(scope="module")
def images(waves: Callable[[Path, tuple[int, int]], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    return waves(tmp_path_factory.mktemp("images"), (100, 90))


def a_run(images: Path, **changes: object) -> RunConfig:
    training = dataclasses.replace(TRAINING, **changes)
    staged = (
        Stage("x2", dataclasses.replace(X4, scale=2), training),
        Stage("x4", X4, dataclasses.replace(training, dual="scales", frozen=("stem",))),
    )
    return RunConfig("test", "light-dense", staged, (images,))


def weights(path: Path) -> dict[str, torch.Tensor]:
    return dict(checkpoint.load(path).weights)


@pytest.fixture(scope="module")
def straight(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "straight"
    stages.train(a_run(images), run)
    return run


def test_all_stages_run_unattended(straight: Path) -> None:
    lines = [json.loads(line) for line in (straight / LOG_FILE).read_text().splitlines()]
    assert [(line["stage"], line["step"]) for line in lines] == [("x2", 3), ("x2", 6), ("x4", 3), ("x4", 6)]
    first, last = checkpoint.load(straight / "stage-x2.pt"), checkpoint.load(straight)
    assert (first.dimensions["scale"], last.dimensions["scale"]) == (2, 4)
    assert last.provenance["stages"] == [
        {"name": "x2", "scale": 2, "steps": 6},
        {"name": "x4", "scale": 4, "steps": 6},
    ]
    (before,) = last.provenance["history"]
    assert (before["stage"], before["scale"], before["step"], before["init"]) == ("x2", 2, 6, "")
    assert (before["training"], []) == (first.provenance["training"], first.provenance["history"])
    assert last.provenance["degradations"] == ["bicubic", "area+gaussian-noise"]
    assert not (straight / stages.STORE_FOLDER).exists()


def test_a_run_begun_anew_has_no_log_of_one_that_saved_nothing(images: Path, straight: Path, tmp_path: Path) -> None:
    (tmp_path / LOG_FILE).write_text('{"stage": "x2", "step": 3}\n')
    with pytest.raises(LightsrError):
        stages.train(a_run(images, patch_px=1000), tmp_path)  # refused: nothing has begun
    assert (tmp_path / LOG_FILE).exists()
    stages.train(a_run(images), tmp_path)
    assert len((tmp_path / LOG_FILE).read_text().splitlines()) == len((straight / LOG_FILE).read_text().splitlines())


def test_a_stage_starts_from_the_one_before_it_and_keeps_what_is_frozen(straight: Path) -> None:
    first, last = weights(straight / "stage-x2.pt"), weights(straight)
    assert torch.equal(first["stem.raw"], last["stem.raw"])
    moved = first["blocks.0.fuse.weight"] - last["blocks.0.fuse.weight"]
    assert 0 < moved.abs().max() < 0.1 * first["blocks.0.fuse.weight"].abs().max()


@pytest.mark.parametrize("stop_after", [2, 6, 8])
def test_resumed_inside_any_stage_equals_straight_bit_for_bit(
    stop_after: int, images: Path, straight: Path, tmp_path: Path
) -> None:
    asked: list[int] = []

    def stop() -> bool:
        asked.append(1)
        return len(asked) > stop_after

    stopped = stages.train(a_run(images), tmp_path / "run", should_stop=stop)
    assert stopped.step == stop_after % 6
    state = checkpoint.read_tensors(tmp_path / "run" / STATE_FILE)
    assert state["stage"] == ("x2" if stop_after < 6 else "x4")
    finished = stages.train(a_run(images), tmp_path / "run", resume=True)
    assert finished.stage.name == "x4"
    for name in ("stage-x2.pt", "model.pt"):
        expected, found = weights(straight / name), weights(tmp_path / "run" / name)
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected)
        assert checkpoint.load(tmp_path / "run" / name).provenance["history"] == history(straight / name)


def history(path: Path) -> list[dict[str, object]]:
    return list(checkpoint.load(path).provenance["history"])


def test_fine_tuning_keeps_the_history(images: Path, straight: Path, tmp_path: Path) -> None:
    config = dataclasses.replace(a_run(images), init=str(straight / "model.pt"))
    stages.train(config, tmp_path / "tuned")
    assert history(tmp_path / "tuned")[:1] == history(straight)
    assert [(each["stage"], each["init"]) for each in history(tmp_path / "tuned")] == [("x2", ""), ("x4", "")]


def test_a_stage_that_the_run_does_not_have_is_not_resumed(images: Path, straight: Path) -> None:
    config = a_run(images)
    other = dataclasses.replace(config, stages=(dataclasses.replace(config.stages[0], name="other"),))
    with pytest.raises(LightsrError, match="of a stage 'x4'; this run has other"):
        stages.train(other, straight, resume=True)


def test_a_part_that_is_not_there_cannot_be_frozen(images: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="frozen names 'trunk', which the network does not have; it has stem"):
        stages.train(a_run(images, frozen=("trunk",)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_the_second_task_decays() -> None:
    training = TrainingConfig(steps=11, dual="scales", dual_start=0.5, dual_end=0.1)
    assert [round(training.dual_weight_at(step), 2) for step in (0, 5, 10)] == [0.5, 0.3, 0.1]
    assert TrainingConfig().dual_weight_at(0) == 0.0


def test_presets_of_larger_scales_go_through_the_smaller_ones() -> None:
    scales = {scale: [stage.network.scale for stage in from_preset("base", scale).stages] for scale in (2, 3, 4, 8)}
    assert scales == {2: [2, 2], 3: [2, 3, 3], 4: [2, 4, 4], 8: [2, 4, 8, 8]}
    assert [stage.training.dual for stage in from_preset("tiny", 8).stages] == ["none", "scales", "scales", "none"]
    assert [(s.name, len(s.training.degradations)) for s in from_preset("fsrcnn", 4).stages] == [("x4", 1), ("mix", 5)]


def test_a_run_that_starts_from_a_model_leaves_out_what_that_has_been_through() -> None:
    config = from_preset("base", 8)
    assert [stage.name for stage in stages.of_scale(config, 2).stages] == ["x4", "x8", "mix"]
    assert [stage.name for stage in stages.of_scale(config, 4).stages] == ["x8", "mix"]
    assert [stage.name for stage in stages.of_scale(config, 8).stages] == ["mix"]


def test_released_models_are_found_by_name(monkeypatch: pytest.MonkeyPatch, straight: Path, tmp_path: Path) -> None:
    monkeypatch.setattr(released, "FOLDER", tmp_path)
    (tmp_path / "net-x2.pt").write_bytes((straight / "stage-x2.pt").read_bytes())
    (tmp_path / "net-x4.pt").write_bytes((straight / "model.pt").read_bytes())
    assert released.names() == ["net-x2", "net-x4"]
    assert [released.find("net", scale).dimensions["scale"] for scale in (2, 3, 4, 8)] == [2, 2, 4, 2]
    assert released.find("net-x4", 8).dimensions["scale"] == 4
    assert released.find(str(straight), 2).dimensions["scale"] == 4
    with pytest.raises(LightsrError, match="init large: no such file, and no released model; released are net-x2"):
        released.find("large", 2)
    with pytest.raises(LightsrError, match="no such checkpoint"):
        released.find("large.pt", 2)


def test_every_released_checkpoint_is_small_and_fits_its_preset() -> None:
    assert released.names()
    for name in released.names():
        path = released.FOLDER / f"{name}.pt"
        assert path.stat().st_size < 2**20
        found = checkpoint.load(path)
        assert name == f"{found.name}-x{found.dimensions['scale']}"
        family, values = PRESETS[found.name]
        assert found.family == family
        assert values.items() <= found.dimensions.items()


def test_the_store_gives_what_reading_gives(images: Path, tmp_path: Path) -> None:
    from lightsr_train import data

    arguments = {"min_side_px": 16, "degradations": ["bicubic", "kspace+jpeg"]}
    read = data.load([images], 2, **arguments)
    folder = tmp_path / "store"
    for _ in range(2):
        mapped = store.collection(folder, [images], 2, **arguments)
        assert len(mapped.pairs) == len(read.pairs) == 3
        for one, other in zip(read.pairs, mapped.pairs, strict=True):
            assert (one.path, one.origin, one.error) == (other.path, other.origin, other.error)
            assert np.array_equal(one.high, other.high)
            assert all(np.array_equal(a, b) for a, b in zip(one.lows, other.lows, strict=True))
            assert np.array_equal(one.hardness, other.hardness)
            assert not other.high.flags.writeable
        before = (folder / store.PIXELS_FILE).stat().st_mtime_ns
    assert (folder / store.PIXELS_FILE).stat().st_mtime_ns == before
    for change in ({"degradations": ["bicubic"]}, {"min_side_px": 17}):
        store.collection(folder, [images], 2, **{**arguments, **change})
        assert (folder / store.PIXELS_FILE).stat().st_mtime_ns != before
        before = (folder / store.PIXELS_FILE).stat().st_mtime_ns


def test_a_damaged_store_is_made_anew(images: Path, tmp_path: Path) -> None:
    arguments = {"min_side_px": 16, "degradations": ["bicubic"]}
    store.collection(tmp_path / "s", [images], 2, **arguments)
    (tmp_path / "s" / store.PIXELS_FILE).write_bytes(b"short")
    assert len(store.collection(tmp_path / "s", [images], 2, **arguments).pairs) == 3


def test_runs_that_share_a_store_read_the_images_once(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lightsr_train import data

    readings = []
    read = data.read

    def counted(*arguments: object, **options: object) -> object:
        readings.append(1)
        return read(*arguments, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(data, "read", counted)
    begin = threading.Barrier(4)

    def opened(_: int) -> int:
        begin.wait()
        found = store.collection(tmp_path / "s", [images], 2, min_side_px=16, degradations=["bicubic"])
        return sum(int(pair.high.sum()) for pair in found.pairs)

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(opened, range(4)))) == 1
    assert len(readings) == 1
    store.remove(tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_where_the_first_process_may_not_train_none_does(images: Path, tmp_path: Path) -> None:
    class Second(Processes):
        def any(self, flag: bool) -> bool:
            assert not flag
            return True  # as the first says

    with pytest.raises(LightsrError, match="run: the first process failed there; its own message says why"):
        stages.train(a_run(images), tmp_path / "run", processes=Second(1, 2))
    assert not (tmp_path / "run").exists()


def test_two_runs_do_not_train_in_one_folder(images: Path, straight: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    with folders.alone(run):
        with pytest.raises(LightsrError, match="another process trains there; wait for it, or choose another --out"):
            stages.train(a_run(images), run)
        assert list(run.iterdir()) == []
    assert not run.exists()
    stages.train(a_run(images), run)
    assert all(torch.equal(value, weights(run)[name]) for name, value in weights(straight).items())


TWO = """
import sys, torch
from pathlib import Path
sys.path.insert(0, {tests!r})
import test_stages as t
from lightsr_train import stages
from lightsr_train.processes import joined
torch.set_num_threads(1)
with joined() as processes:
    assert processes.count == 2
    stages.train(t.a_run(Path({images!r}), batch=4), Path({run!r}), processes=processes)
"""


def test_two_processes_give_what_one_gives(images: Path, tmp_path: Path) -> None:
    """Over Gloo, as torchrun starts them; every process takes half of each batch."""
    script = tmp_path / "two.py"
    script.write_text(TWO.format(tests=str(Path(__file__).parent), images=str(images), run=str(tmp_path / "two")))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(script)]
    done = subprocess.run(
        command, env={**os.environ, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    stages.train(a_run(images, batch=4), tmp_path / "one")
    one, two = weights(tmp_path / "one"), weights(tmp_path / "two")
    for name, value in one.items():
        torch.testing.assert_close(two[name], value, atol=1e-5, rtol=0)


def test_a_batch_that_cannot_be_shared_is_refused(images: Path, tmp_path: Path) -> None:
    from lightsr_train import data

    collection = data.load([images], 4, min_side_px=16)
    with pytest.raises(SettingsError, match="batch is 2; with 3 processes a multiple"):
        Trainer(a_run(images), collection, tmp_path, processes=Processes(0, 3))


def test_tensorboard_gets_curves_and_pictures(straight: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(straight / "tensorboard"), {"images": 0, "scalars": 0}).Reload()
    assert {"x2/loss", "x4/loss", "x4/learning_rate"} <= set(events.Tags()["scalars"])
    assert any(name.startswith("x4/gain_db/") for name in events.Tags()["scalars"])
    assert [name.startswith("sample/") for name in events.Tags()["images"]] == [True]


def test_without_tensorboard_it_trains_all_the_same(
    images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    seen: list[Progress] = []
    stages.train(a_run(images), tmp_path / "run", report=seen.append)
    assert seen[-1].step == 6
    assert not (tmp_path / "run" / "tensorboard").exists()


@pytest.mark.parametrize("changes", [{"precision": "bfloat16"}, {"compile": True}])
def test_options_give_nearly_the_same_gradients(changes: dict[str, object], images: Path, tmp_path: Path) -> None:
    from lightsr_train import data

    collection = data.load([images], 2, min_side_px=16, degradations=list(TRAINING.degradations))
    gradients = []
    for options in ({}, changes):
        config = a_run(images, **options)
        trainer = Trainer(config, collection, tmp_path, stage=config.stages[0])
        batch = [torch.from_numpy(part) for part in trainer.sampler.draw(0)]
        trainer.loss_of(*batch, "absolute", 0.0).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in trainer.learned if p.grad is not None]))
    expected, found = gradients
    allowed = 0.05 if "precision" in changes else 1e-4
    assert (found - expected).norm() < allowed * expected.norm()
    assert (found - expected).norm() > 0 or "compile" in changes


def test_a_run_that_diverges_keeps_what_was_saved(images: Path, tmp_path: Path) -> None:
    from lightsr_train.training import TrainingError

    run = tmp_path / "run"
    config = dataclasses.replace(a_run(images), stages=a_run(images).stages[:1])
    stages.train(config, run, should_stop=lambda: (run / "model.pt").exists())
    before = weights(run)
    assert all(value.isfinite().all() for value in before.values())
    state = checkpoint.read_tensors(run / STATE_FILE)
    state["objective"]["network.fuse.weight"].fill_(float("inf"))
    checkpoint.save_atomically(state, run / STATE_FILE)
    with pytest.raises(TrainingError, match="the loss is nan at step 6 of stage x2; what was saved before is kept"):
        stages.train(config, run, resume=True)
    assert all(torch.equal(value, before[name]) for name, value in weights(run).items())


def test_nothing_of_the_users_is_removed(images: Path, tmp_path: Path) -> None:
    """Images below the run folder, and a folder of ours with something else in it."""
    study = tmp_path / "study"
    shutil.copytree(images, study / "images")
    (study / stages.STORE_FOLDER).mkdir()
    (study / stages.STORE_FOLDER / "notes.txt").write_text("mine")
    config = dataclasses.replace(a_run(images), data=(study / "images",))
    with pytest.raises(LightsrError, match="holds something that lightsr-train did not write"):
        stages.train(config, study)
    assert (study / stages.STORE_FOLDER / "notes.txt").read_text() == "mine"
    shutil.rmtree(study / stages.STORE_FOLDER)
    stages.train(config, study)
    assert len(list((study / "images").rglob("*.png"))) == 3
    assert not (study / stages.STORE_FOLDER).exists()


def test_other_images_do_not_resume(images: Path, tmp_path: Path) -> None:
    shutil.copytree(images, tmp_path / "copy")
    config = dataclasses.replace(a_run(images), data=(tmp_path / "copy",))
    run = tmp_path / "run"
    stages.train(config, run, should_stop=lambda: (run / "model.pt").exists())
    first = tmp_path / "copy" / "p0" / "0.png"
    first.write_bytes((tmp_path / "copy" / "p1" / "0.png").read_bytes())
    with pytest.raises(LightsrError, match="other settings or data"):
        stages.train(config, run, resume=True)


def test_a_link_to_nowhere_is_skipped(images: Path, tmp_path: Path) -> None:
    shutil.copytree(images, tmp_path / "copy")
    (tmp_path / "copy" / "p0" / "1.png").symlink_to(tmp_path / "nowhere")
    found = store.collection(tmp_path / "s", [tmp_path / "copy"], 2, min_side_px=16, degradations=["bicubic"])
    assert len(found.pairs) == 3
    assert "1.png" in found.skipped[0]


def test_a_disk_that_cannot_be_written_is_named(images: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(LightsrError, match="cannot be made: Not a directory; --out takes a folder"):
        stages.train(a_run(images), tmp_path / "file" / "run")


def test_bfloat16_is_refused_where_it_would_round_the_picture(images: Path, tmp_path: Path) -> None:
    config = from_preset("espcn", 2).with_training(precision="bfloat16", patch_px=16)
    with pytest.raises(SettingsError, match="espcn carries the picture itself"):
        stages.train(dataclasses.replace(config, data=(images,)), tmp_path / "run")
