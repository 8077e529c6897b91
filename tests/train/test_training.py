import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from lightsr.errors import LightsrError, OutputError
from lightsr_train import checkpoint, data, runfile, stages, training, validation
from lightsr_train.contract import Network, ScaleConfig
from lightsr_train.dimensions import NetworkConfig
from lightsr_train.networks import NETWORKS, PRESETS
from lightsr_train.settings import RunConfig, SettingsError, Stage, TrainingConfig

NETWORK = NetworkConfig(channels=16, layers=1, blocks=1)
TRAINING = TrainingConfig(
    steps=12, batch=2, patch_px=16, warmup=2, validate_every=4, margin_px=2, degradations={"bicubic": 1.0}
)


@pytest.fixture(scope="module")
def collection(
    waves: Callable[[Path, tuple[int, int]], Path], tmp_path_factory: pytest.TempPathFactory
) -> data.Collection:
    return data.load([waves(tmp_path_factory.mktemp("images"), (80, 90))], 2, min_side_px=16)


YOUNGER = {
    **dataclasses.asdict(TrainingConfig()),
    "edge_share": 0.0,
    "oversampled_share": 0.0,
    "hard_share": {},
    "degradations": {"bicubic": 1.0},
}
"""What settings that a checkpoint is older than were when it was made."""


def trainer(collection: data.Collection, run: Path, **changes: object) -> training.Trainer:
    return training.Trainer(a_run(NETWORK, **changes), collection, run)


def a_run(network: NetworkConfig, **changes: object) -> RunConfig:
    return RunConfig("test", "light-dense", (Stage("x2", network, dataclasses.replace(TRAINING, **changes)),))


def state(run: Path) -> dict[str, object]:
    return checkpoint.read_tensors(run / training.STATE_FILE)


def weights(run: Path) -> dict[str, torch.Tensor]:
    return dict(checkpoint.load(run).weights)


def test_it_learns(collection: data.Collection, tmp_path: Path) -> None:
    seen: list[training.Progress] = []
    run = trainer(collection, tmp_path, steps=150, validate_every=50, learning_rate=3e-3)
    assert run.train(seen.append, lambda: False)
    gains = [next(iter(p.gain_db.values())) for p in seen if p.gain_db]
    assert len(gains) == 3
    assert gains[-1] > 1.0
    assert seen[-1].step == 150
    lines = [json.loads(line) for line in (tmp_path / training.LOG_FILE).read_text().splitlines()]
    assert [line["step"] for line in lines] == [50, 100, 150]
    assert all(line["steps_per_second"] > 0 and 0 <= line["waiting_share"] <= 1 for line in lines)
    assert lines[-1]["seconds"] > lines[0]["seconds"] > 0
    assert lines[-1]["gain_db"] == seen[-1].gain_db


def test_what_is_kept_is_the_moving_average_of_the_weights(collection: data.Collection, tmp_path: Path) -> None:
    run = trainer(collection, tmp_path, steps=5, validate_every=1, average=0.4)
    expected = {name: value.detach().clone() for name, value in run.network.named_parameters()}

    def watch(progress: training.Progress) -> None:
        decay = min(0.4, progress.step / (progress.step + 9))  # a short memory at first
        for name, value in run.network.named_parameters():
            expected[name] = decay * expected[name] + (1 - decay) * value.detach()

    assert run.train(watch, lambda: False)
    kept, last = weights(tmp_path), run.network.state_dict()
    for name, value in expected.items():
        assert torch.allclose(kept[name], value, rtol=0, atol=1e-6 * float(value.abs().max()))
    assert not torch.equal(kept["fuse.weight"], last["fuse.weight"])


@pytest.mark.parametrize("loss", ["absolute", "charbonnier"])
def test_each_step_has_its_loss_and_the_second_task_its_weight(
    loss: str, collection: data.Collection, tmp_path: Path
) -> None:
    run = trainer(
        collection, tmp_path, steps=5, loss=loss, squared_share=0.4, dual="regression", dual_start=0.5, dual_end=0.1
    )
    real, seen = run.loss_of, []

    def loss_of(low: torch.Tensor, high: torch.Tensor, weight: torch.Tensor, kind: str, second: float) -> torch.Tensor:
        seen.append((kind, round(second, 6)))
        return real(low, high, weight, kind, second)

    run.loss_of = loss_of
    assert run.train(lambda progress: None, lambda: False)
    assert seen == [(loss, 0.5), (loss, 0.4), (loss, 0.3), ("squared", 0.2), ("squared", 0.1)]


def test_resumed_equals_straight_bit_for_bit(collection: data.Collection, tmp_path: Path) -> None:
    trainer(collection, tmp_path / "straight").train(lambda p: None, lambda: False)
    first = trainer(collection, tmp_path / "resumed")
    assert not first.train(lambda p: None, lambda: first.step == 7)
    second = trainer(collection, tmp_path / "resumed")
    second.resume(state(tmp_path / "resumed"))
    assert second.step == 7
    assert second.train(lambda p: None, lambda: False)
    straight, resumed = weights(tmp_path / "straight"), weights(tmp_path / "resumed")
    assert straight.keys() == resumed.keys()
    assert all(torch.equal(straight[key], resumed[key]) for key in straight)


def test_other_settings_do_not_resume(collection: data.Collection, tmp_path: Path) -> None:
    trainer(collection, tmp_path).train(lambda p: None, lambda: False)
    with pytest.raises(LightsrError, match="other settings"):
        trainer(collection, tmp_path, seed=9).resume(state(tmp_path))


def test_files_older_than_a_dimension_have_its_default(collection: data.Collection, tmp_path: Path) -> None:
    first = trainer(collection, tmp_path)
    first.train(lambda p: None, lambda: first.step == 3)
    for name, tables in ((training.STATE_FILE, ("settings", "network")), (checkpoint.MODEL_FILE, ("dimensions",))):
        content = checkpoint.read_tensors(tmp_path / name)
        table = content
        for key in tables:
            table = table[key]
        assert table.pop("branches") is False
        checkpoint.save_atomically(content, tmp_path / name)
    assert checkpoint.load(tmp_path).dimensions == dataclasses.asdict(NETWORK)
    second = trainer(collection, tmp_path)
    second.resume(state(tmp_path))
    assert second.step == 3
    branched = a_run(dataclasses.replace(NETWORK, branches=True))
    with pytest.raises(LightsrError, match="other settings"):
        training.Trainer(branched, collection, tmp_path).resume(state(tmp_path))


def test_a_damaged_state_is_named(tmp_path: Path) -> None:
    with pytest.raises(LightsrError, match="no such checkpoint"):
        stages.train(a_run(NETWORK), tmp_path, resume=True)
    (tmp_path / training.STATE_FILE).write_bytes(b"PK\x03\x04 half a file")
    with pytest.raises(LightsrError, match="damaged"):
        stages.train(a_run(NETWORK), tmp_path, resume=True)


def test_the_checkpoint_says_how_it_was_made(collection: data.Collection, tmp_path: Path) -> None:
    trainer(collection, tmp_path).train(lambda p: None, lambda: False)
    found = checkpoint.load(tmp_path)
    assert found.provenance["step"] == 12
    assert found.provenance["degradations"] == ["bicubic"]
    assert sum(source["images"] for source in found.provenance["sources"]) == 3
    assert found.network()(torch.rand(1, 1, 9, 8)).shape == (1, 1, 18, 16)
    assert str(tmp_path).encode() not in (tmp_path / "model.pt").read_bytes()


def test_code_in_a_checkpoint_is_not_run(tmp_path: Path) -> None:
    class Evil:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return Path.touch, (tmp_path / "ran",)  # type: ignore[return-value]

    torch.save({"format": 1, "weights": Evil()}, tmp_path / "model.pt")
    with pytest.raises(LightsrError, match="damaged, or not a checkpoint"):
        checkpoint.load(tmp_path)
    assert not (tmp_path / "ran").exists()


def test_a_failing_write_leaves_the_old_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.pt"
    checkpoint.save_atomically({"a": 1}, path)
    before = path.read_bytes()

    def fail(content: object, file: object) -> None:
        file.write(b"half")  # type: ignore[attr-defined]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch, "save", fail)
    with pytest.raises(OutputError, match=r"a\.pt: cannot be written: No space"):
        checkpoint.save_atomically({"a": 2}, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_schedule_warms_up_and_ends_near_zero() -> None:
    config = TrainingConfig(steps=1000, warmup=100, learning_rate=1.0)
    assert config.learning_rate_at(0) == pytest.approx(0.01)
    assert config.learning_rate_at(100) == pytest.approx(1.0)
    assert config.learning_rate_at(550) == pytest.approx(0.5)
    assert config.learning_rate_at(999) < 1e-4


def test_bicubic_gains_nothing_over_itself(collection: data.Collection) -> None:
    from lightsr.resample import interpolate

    gain = validation.gain_over_bicubic(lambda low: interpolate(low, 2), collection.pairs, 2)
    assert gain == pytest.approx({next(iter(gain)): 0.0})


def test_a_network_sees_0_to_1_and_its_result_is_mapped_back() -> None:
    class Nearest(Network):
        alignment_px = 2
        reach_px = 5

        def forward(self, lr: torch.Tensor) -> torch.Tensor:
            assert (lr.min().item(), lr.max().item()) == pytest.approx((0.0, 1.0))
            return lr.repeat_interleave(2, 2).repeat_interleave(2, 3)

    low = np.arange(-1000, 2300, 25, dtype=np.int16).reshape(12, 11)
    low[0], low[-1] = low.min(), low.max()
    enlarged = validation.enlarge_with(Nearest(ScaleConfig(2)), torch.device("cpu"))(low)
    assert enlarged == pytest.approx(low.repeat(2, 0).repeat(2, 1), abs=0.01)


def test_a_configuration_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "c.toml"
    path.write_text('name = "n"\ndata = ["$WHERE/train"]\n[network]\nscale = 3\n[training]\nsteps = 7\n')
    monkeypatch.delenv("WHERE", raising=False)
    with pytest.raises(SettingsError, match="variable that is not set"):
        runfile.read_run(path)
    monkeypatch.setenv("WHERE", "/x")
    config = runfile.read_run(path)
    assert (config.name, config.last.network.scale, config.last.training.steps) == ("n", 3, 7)
    assert config.data == (Path("/x/train"),)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[network", "not a TOML file"),
        ("[network]\nwidth = 3", "no setting 'width'"),
        ('[training]\nsteps = "many"', "whole number"),
        ("[training]\nsteps = 0", "at least 1"),
        ("[training]\nlearning_rate = true", "a number"),
        ("[network]\nchannels = 20", "multiples of 16"),
        ("colour = 1", "unknown keys colour"),
        ("network = 3", r"network is 3; a table \[network\] is needed"),
        ('data = "images"', "data is 'images'; a list of folders is needed"),
        ("[training]\nloss = 3", "loss is 3; a text is needed"),
        ('[training]\nloss = "huber"', "loss is 'huber'; absolute, charbonnier, squared are allowed"),
        ("[training]\ndegradations = {}", "degradations names none"),
        ("[training]\nmodality_weight = { MR = 0 }", "that of MR is 0"),
        ("[training]\ndegradations = { bicubic = 0 }", "share of 'bicubic' is 0"),
        ("[training]\ndegradations = { cubic = 1 }", "'cubic' is not one of bicubic"),
        ('[training]\nfrozen = "stem"', "a list of texts is needed"),
        ("stage = 3", r"tables \[\[stage\]\] are needed"),
        ("[[stage]]\nwidth = 3", "stage 1.* has no setting 'width'"),
        ("[[stage]]\nscale = 5", "stage 1.* scale is 5"),
        ("[network]\nscale = 4\n[[stage]]\nscale = 2", "last stage has scale 2, .network. 4"),
        ("[[stage]]\n[[stage]]", "two stages have one name"),
        ('[[stage]]\nname = "../x"', "letters, digits"),
        ("init = 3", "init is 3"),
        ("[training]\nlearning_rate = inf", "learning_rate is inf"),
        ("[training]\nseed = 99999999999999999999", "seed is 9"),
        ("[training]\noversampled_share = 1", "oversampled_share is 1; 0 up to, not including, 1"),
        ("[training]\nmargin_px = -1", "margin_px is -1; at least 0 is needed"),
        ("family = []", r"family '\[\]'; light-dense, srcnn"),
        ('family = "gan"', "light-dense"),
    ],
)
def test_wrong_configuration_files(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text(text)
    with pytest.raises(SettingsError, match=message) as caught:
        runfile.read_run(path)
    assert "c.toml" in str(caught.value)


def test_dimensions_that_a_run_file_leaves_out_are_those_of_base(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[network]\nscale = 4\nlayers = 2\n")
    usual = PRESETS["base"][1]
    assert runfile.read_run(path).last.network == NetworkConfig(**{**usual, "scale": 4, "layers": 2})
    path.write_text('family = "srdense"\n')
    assert runfile.read_run(path).last.network == NETWORKS["srdense"].config_class()


def test_the_configuration_of_the_bundled_model_is_the_bundled_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIGHTSR_DATA", "/x")
    root = Path(__file__).parents[2]
    for path in sorted((root / "train" / "checkpoints").glob("*.pt")):
        config = runfile.read_run(root / "train" / "configs" / f"{path.stem}.toml")
        made = checkpoint.load(path)
        assert made.dimensions == dataclasses.asdict(config.last.network)
        assert {**YOUNGER, **made.provenance["training"]} == dataclasses.asdict(config.last.training)
        assert made.provenance["step"] == config.last.training.steps
        before = made.provenance.get("history", [])
        assert len(before) < len(config.stages)
        for stage, found in zip(reversed(config.stages[:-1]), reversed(before), strict=False):
            assert (found["stage"], found["scale"], found["step"]) == (
                stage.name,
                stage.network.scale,
                stage.training.steps,
            )
            assert {**YOUNGER, **found["training"]} == dataclasses.asdict(stage.training)


def test_every_configuration_of_the_project_ends_at_its_scale(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIGHTSR_DATA", "/x")
    paths = sorted((Path(__file__).parents[2] / "train" / "configs").glob("*.toml"))
    assert {"base-x2", "base-x3", "base-x4", "base-x8", "tiny-x2", "tiny-x4"} <= {path.stem for path in paths}
    for path in paths:
        config = runfile.read_run(path)
        assert path.stem == f"{config.name}-x{config.last.network.scale}"
        assert config.stages[0].network.scale == 2
        assert [stage.training.dual == "scales" for stage in config.stages] == [
            stage.network.scale in (4, 8) and stage.name not in ("x4-edges", "fine", "large-batch")
            for stage in config.stages
        ]


def test_the_sampler_gets_margin_and_shares(collection: data.Collection, tmp_path: Path) -> None:
    sampler = trainer(collection, tmp_path, margin_px=3, edge_share=0.3, oversampled_share=0.2).sampler
    assert (sampler.margin_px, sampler.edge_share, sampler.oversampled_share) == (3, 0.3, 0.2)


def test_a_state_of_an_older_version_is_named(collection: data.Collection, tmp_path: Path) -> None:
    with pytest.raises(LightsrError, match="made by an older version; train into a new folder, with --init"):
        trainer(collection, tmp_path).resume({"network": {}, "step": 3})
