"""Training on a GPU; only where there is one."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from lightsr_train import checkpoint, data, training
from lightsr_train.dimensions import NetworkConfig
from lightsr_train.processes import Processes
from lightsr_train.settings import RunConfig, Stage, TrainingConfig

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU that torch can use")

NETWORK = NetworkConfig(channels=32, growth=32, layers=2, blocks=2)
TRAINING = TrainingConfig(
    steps=20, batch=4, patch_px=24, warmup=2, validate_every=10, margin_px=4, degradations={"bicubic": 1.0}
)


@pytest.fixture(scope="module")
def collection(
    waves: Callable[[Path, tuple[int, int]], Path], tmp_path_factory: pytest.TempPathFactory
) -> data.Collection:
    return data.load([waves(tmp_path_factory.mktemp("images"), (80, 90))], 2, min_side_px=24)


def trained(
    collection: data.Collection,
    run: Path,
    device: str = "cuda",
    *,
    halt: int | None = None,
    drawers: int = 0,
    **changes: object,
) -> training.Trainer:
    stage = Stage("x2", NETWORK, dataclasses.replace(TRAINING, **changes))
    processes = Processes(device=torch.device(device), drawers=drawers)
    trainer = training.Trainer(RunConfig("test", "light-dense", (stage,)), collection, run, processes=processes)
    if (run / training.STATE_FILE).exists():
        trainer.resume(checkpoint.read_tensors(run / training.STATE_FILE))
    trainer.train(lambda progress: None, lambda: trainer.step == halt)
    return trainer


def distance(one: training.Trainer, other: training.Trainer) -> float:
    """Between their averaged weights, as a share of these."""
    pairs = list(zip(one.averaged.parameters(), other.averaged.parameters(), strict=True))
    apart = sum(float((a.detach().cpu() - b.detach().cpu()).square().sum()) for a, b in pairs)
    return (apart / sum(float(a.detach().cpu().square().sum()) for a, _ in pairs)) ** 0.5


def test_weights_are_those_of_the_cpu(
    collection: data.Collection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    assert distance(trained(collection, tmp_path / "cpu", "cpu"), trained(collection, tmp_path / "gpu")) < 1e-4


def test_half_precision_stays_near(collection: data.Collection, tmp_path: Path) -> None:
    half = trained(collection, tmp_path / "half", precision="bfloat16")
    assert distance(trained(collection, tmp_path / "single"), half) < 0.05
    assert half.gain_db


def test_compiled_stays_near(collection: data.Collection, tmp_path: Path) -> None:
    compiled = trained(collection, tmp_path / "compiled", compile=True, steps=10)
    assert distance(trained(collection, tmp_path / "eager", steps=10), compiled) < 1e-2


def test_resumed_is_near_the_straight_run(collection: data.Collection, tmp_path: Path) -> None:
    trained(collection, tmp_path / "halved", halt=10, drawers=2)
    resumed = trained(collection, tmp_path / "halved", drawers=2)
    assert distance(trained(collection, tmp_path / "straight"), resumed) < 1e-3


def test_a_state_of_the_gpu_is_continued_on_the_cpu(collection: data.Collection, tmp_path: Path) -> None:
    trained(collection, tmp_path / "moved", halt=10)
    moved = trained(collection, tmp_path / "moved", "cpu")
    assert moved.step == TRAINING.steps
    assert distance(trained(collection, tmp_path / "straight", "cpu"), moved) < 1e-2
