import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightsr import raster
from lightsr.resample import interpolate
from lightsr.upscaler import IntensityMap
from lightsr_train import checkpoint, data, runfile, settings, training
from lightsr_train.baselines import SRCNN, deconvolution, deconvolution_reach
from lightsr_train.blocks import DenseLayer
from lightsr_train.branches import BranchedConvolution
from lightsr_train.contract import SCALES, Network, ScaleConfig
from lightsr_train.networks import NETWORKS, PRESETS, USUAL, build, dimensions
from lightsr_train.settings import RunConfig, SettingsError, Stage, TrainingConfig

SMALL: dict[str, dict[str, Any]] = {
    "light-dense": {"channels": 16, "layers": 1, "blocks": 1},
    "srcnn": {},
    "fsrcnn": {"features": 8, "shrunk": 4, "mappings": 2},
    "espcn": {},
    "residual": {"channels": 8, "blocks": 2, "residual_share": 0.5},
    "srdense": {"growth": 8, "layers": 2, "blocks": 2, "bottleneck": 16},
}
"""Dimensions that a test can afford, for every family."""

BRANCHED = ("light-dense", {**SMALL["light-dense"], "branches": True})

TRAINING = TrainingConfig(
    steps=30,
    batch=2,
    patch_px=16,
    margin_px=2,
    learning_rate=3e-3,
    warmup=2,
    squared_share=0.0,
    hold_back=0.0,
    validate_every=10,
)

every_dimensions = pytest.mark.parametrize(
    ("family", "values"), [*SMALL.items(), BRANCHED], ids=[*SMALL, "light-dense with branches"]
)
every_family = pytest.mark.parametrize("family", NETWORKS)
every_scale = pytest.mark.parametrize("scale", SCALES)


def a_network(family: str, scale: int = 2) -> Network:
    torch.manual_seed(0)
    return build(family, {**SMALL[family], "scale": scale}).eval()


@pytest.fixture(scope="module")
def collection(tmp_path_factory: pytest.TempPathFactory) -> data.Collection:
    folder = tmp_path_factory.mktemp("images")
    rows, columns = np.mgrid[:64, :72]
    waves = 2000 * (1 + np.sin(rows / 3) * np.cos(columns / 4)) + np.random.default_rng(0).integers(0, 5, (64, 72))
    with (folder / "0.png").open("wb") as file:
        raster.write_png(waves.astype(np.uint16), file)
    return data.load([folder], 2, min_side_px=16)


def trainer(
    family: str, values: dict[str, Any], collection: data.Collection, run: Path, **changes: Any
) -> training.Trainer:
    config = NETWORKS[family].config_class(**values)
    settings = dataclasses.replace(TRAINING, **changes)
    return training.Trainer(RunConfig("test", family, (Stage("one", config, settings),)), collection, run)


@every_scale
@every_family
@torch.no_grad()
def test_shape(family: str, scale: int) -> None:
    network = a_network(family, scale)
    for batch, rows, columns in ((1, 1, 1), (1, 7, 9), (3, 5, 12)):
        sr = network(torch.rand(batch, 1, rows, columns))
        assert sr.shape == (batch, 1, scale * rows, scale * columns)


@every_scale
@every_family
@torch.no_grad()
def test_halo_is_as_far_as_a_pixel_is_felt(family: str, scale: int) -> None:
    """In float64, whose convolutions leave what they do not read without a trace."""
    network = a_network(family, scale).double()
    side = 2 * network.halo_px + 8
    lr = torch.rand(1, 1, side, side, dtype=torch.float64)
    before = network(lr)
    felt = 0
    for pixel in range(side // 2, side // 2 + network.alignment_px):
        changed = lr.clone()
        changed[..., pixel, pixel] += 5
        touched = torch.nonzero((network(changed) != before)[0, 0]) // scale
        felt = max(felt, int((touched - pixel).abs().max()))
    assert felt <= network.reach_px <= network.halo_px
    assert network.halo_px % network.alignment_px == 0
    assert network.halo_px <= felt + 2


@every_dimensions
def test_it_learns_with_every_parameter(
    family: str, values: dict[str, Any], collection: data.Collection, tmp_path: Path
) -> None:
    run = trainer(family, values, collection, tmp_path)
    before = {name: parameter.detach().clone() for name, parameter in run.network.named_parameters()}
    seen: list[training.Progress] = []
    assert run.train(seen.append, lambda: False)
    losses = [progress.loss for progress in seen]
    assert len(losses) == 3
    assert losses[-1] < 0.8 * losses[0]
    for name, parameter in run.network.named_parameters():
        assert not torch.equal(parameter, before[name]), name


def test_a_trained_network_folds(collection: data.Collection, tmp_path: Path) -> None:
    run = trainer(*BRANCHED, collection, tmp_path)
    run.train(lambda progress: None, lambda: False)
    network = checkpoint.load(tmp_path).network()
    lr = torch.rand(1, 1, 9, 13)
    expected = network(lr)
    for module in network.modules():
        if isinstance(module, DenseLayer):
            assert isinstance(module.shrink, BranchedConvolution)
            module.shrink = module.shrink.folded()
    assert (network(lr) - expected).abs().max() <= 1e-6 * expected.abs().max()


@every_family
def test_training_shows_the_range_that_the_network_takes(
    family: str, collection: data.Collection, tmp_path: Path
) -> None:
    batch = trainer(family, SMALL[family], collection, tmp_path).sampler.draw(0)
    (pair,) = collection.pairs
    if NETWORKS[family].intensity == "unit":
        assert batch.weight == pytest.approx(IntensityMap.of(pair.low).span / pair.error)
        assert -0.1 < batch.low.min() < batch.low.max() < 1.1
    else:
        assert batch.weight == pytest.approx(1.0)


@every_family
def test_the_loss_counts_in_bicubic_errors(family: str, collection: data.Collection, tmp_path: Path) -> None:
    run = trainer(family, SMALL[family], collection, tmp_path, steps=1, validate_every=1)
    low, high, weight = run.sampler.draw(0)
    with torch.no_grad():
        sr = run.network(torch.from_numpy(low).to(run.device)).cpu().numpy()
    margin = 2 * TRAINING.margin_px
    expected = np.abs(weight * (sr - high))[..., margin:-margin, margin:-margin].mean()
    seen: list[training.Progress] = []
    run.train(seen.append, lambda: False)
    assert seen[0].loss == pytest.approx(expected, rel=1e-4)


@every_family
@torch.no_grad()
def test_validation_computes_a_border_like_the_middle(family: str) -> None:
    """A flat picture then comes out alike everywhere, though the network pads by zeros."""
    network = a_network(family)
    for parameter in network.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    enlarged = training.enlarge_with(network, torch.device("cpu"))(np.full((9, 12), 7, np.uint8))
    phases = enlarged.reshape(9, 2, 12, 2)
    assert phases == pytest.approx(np.broadcast_to(phases[4:5, :, 6:7], phases.shape), abs=1e-5)


@every_family
@torch.no_grad()
def test_a_checkpoint_brings_the_network_back(family: str, tmp_path: Path) -> None:
    network = a_network(family, 3)
    path = tmp_path / "model.pt"
    checkpoint.save(checkpoint.Checkpoint("test", family, dimensions(network), network.state_dict(), {}), path)
    found = checkpoint.load(path)
    assert (found.family, found.dimensions) == (family, dimensions(network))
    lr = torch.rand(1, 1, 7, 8)
    assert torch.equal(found.network()(lr), network(lr))


@every_dimensions
def test_a_configuration_file_for_every_family(family: str, values: dict[str, Any], tmp_path: Path) -> None:
    table = [f"{key} = {str(value).lower()}" for key, value in values.items()]
    (tmp_path / "c.toml").write_text("\n".join([f'family = "{family}"', "[network]", "scale = 4", *table]))
    config = runfile.read_run(tmp_path / "c.toml")
    assert config.family == family
    assert config.last.network == NETWORKS[family].config_class(**{**USUAL.get(family, {}), **values, "scale": 4})


@pytest.mark.parametrize(
    ("family", "setting", "message"),
    [
        ("light-dense", "branches = 1", "branches is 1; true or false is needed"),
        ("light-dense", "layers = true", "layers is True; a whole number is needed"),
        ("srcnn", "features = 56", r"\[network\] has no setting 'features'; scale are allowed"),
        ("srcnn", "scale = 5", "scale is 5; 2, 3, 4 and 8 are allowed"),
        ("fsrcnn", "features = 0", "features is 0; at least 1 is needed"),
        ("fsrcnn", "shrunk = -1", "shrunk is -1; at least 1 is needed"),
        ("fsrcnn", "mappings = 1.5", "mappings is 1.5; a whole number is needed"),
        ("espcn", "scale = 1", "scale is 1; 2, 3, 4 and 8 are allowed"),
        ("residual", "channels = 0", "channels is 0; at least 1 is needed"),
        ("residual", "residual_share = 0", "residual_share is 0; above 0, up to 1 is allowed"),
        ("residual", "residual_share = nan", "residual_share is nan; above 0, up to 1 is allowed"),
        ("srdense", "layers = 0", "layers is 0; at least 1 is needed"),
        ("srdense", "bottleneck = '64'", "bottleneck is '64'; a whole number is needed"),
    ],
)
def test_wrong_dimensions_are_named_in_one_line(family: str, setting: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text(f'family = "{family}"\n[network]\n{setting}')
    with pytest.raises(SettingsError, match=message) as caught:
        runfile.read_run(tmp_path / "c.toml")
    assert "\n" not in str(caught.value)


@every_scale
@pytest.mark.parametrize("name", PRESETS)
def test_every_named_network_comes_at_every_scale(name: str, scale: int) -> None:
    config = settings.from_preset(name, scale)
    assert build(config.family, dataclasses.asdict(config.last.network)).config.scale == scale


@pytest.mark.parametrize(
    ("family", "values", "published"),
    [
        ("srcnn", {}, 8032),
        ("fsrcnn", {"features": 56, "shrunk": 12, "mappings": 4}, 12464),
        ("fsrcnn", {"features": 32, "shrunk": 5, "mappings": 1}, 3937),
    ],
)
def test_sizes_are_the_published_ones(family: str, values: dict[str, int], published: int) -> None:
    """Weights of the convolutions, as table 1 of the FSRCNN paper counts them."""
    network = build(family, {**values, "scale": 3})
    assert sum(parameter.numel() for parameter in network.parameters() if parameter.dim() == 4) == published


@every_scale
@torch.no_grad()
def test_srcnn_starts_from_bicubic_interpolation_borders_included(scale: int) -> None:
    """Convolutions that pass the middle on leave nothing but the enlargement."""
    network = SRCNN(ScaleConfig(scale))
    for part in (network.extract, network.map, network.reconstruct):
        assert part.bias is not None
        torch.nn.init.dirac_(part.weight)
        torch.nn.init.zeros_(part.bias)
    lr = 1 + torch.rand(1, 1, 7, 10)  # so high that no ReLU cuts anything off
    assert network(lr)[0, 0].numpy() == pytest.approx(interpolate(lr[0, 0].numpy(), scale), abs=1e-5)


@pytest.mark.parametrize(("side", "stride"), [(3, 2), (4, 2), (9, 2), (3, 3), (5, 3), (9, 3), (9, 4), (8, 8), (9, 8)])
@torch.no_grad()
def test_a_deconvolution_gives_stride_outputs_for_every_input(side: int, stride: int) -> None:
    part = deconvolution(1, 1, side, stride)
    for rows, columns in ((1, 1), (5, 8)):
        assert part(torch.rand(1, 1, rows, columns)).shape == (1, 1, stride * rows, stride * columns)
    assert part.bias is not None
    torch.nn.init.ones_(part.weight)
    torch.nn.init.zeros_(part.bias)
    impulse = torch.zeros(1, 1, 21, 1)
    impulse[..., 10, 0] = 1
    rows_reached = torch.nonzero(part(impulse)[0, 0, :, (stride - 1) // 2])[:, 0]
    assert int((rows_reached // stride - 10).abs().max()) == deconvolution_reach(part)
    first, last = int(rows_reached[0]), int(rows_reached[-1])
    assert last - first + 1 == side
    if side % 2:
        assert (first + last) // 2 == 10 * stride + (stride - 1) // 2
