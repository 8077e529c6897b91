import dataclasses

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from lightsr_train import released
from lightsr_train.dense import LightDense
from lightsr_train.dimensions import NetworkConfig
from lightsr_train.networks import PRESETS, build, dimensions, parameter_count
from lightsr_train.picture import ConsistencyStep, bicubic_phase_filters
from lightsr_train.upsampling import StagedDeconvolution
from torch import nn

SMALL = NetworkConfig(channels=16, layers=2, blocks=2)
CONFIGS = [
    SMALL,
    dataclasses.replace(SMALL, unshuffle=1),
    dataclasses.replace(SMALL, scale=3),
    dataclasses.replace(SMALL, scale=4, unshuffle=1, consistency=0.0),
    dataclasses.replace(SMALL, scale=8, blocks=1),
    dataclasses.replace(SMALL, layers=1, branches=True),
    dataclasses.replace(SMALL, wiring="one-shot", expansion=0, unshuffle=1, stage_channels=16),
    dataclasses.replace(SMALL, scale=4, wiring="one-shot", stage_channels=4, unshuffle=1),
    dataclasses.replace(SMALL, scale=8, layers=1, wiring="plain", expansion=0, stage_channels=4),
    dataclasses.replace(SMALL, scale=4, stage_channels=4, taps=2),
    dataclasses.replace(SMALL, local_skip=False, global_fusion=False, skip="bicubic", subpixel=True),
]


def a_network(config: NetworkConfig, seed: int = 0) -> LightDense:
    """With random weights that are large enough to matter everywhere."""
    torch.manual_seed(seed)
    network = LightDense(config).eval()
    with torch.no_grad():
        for weight in network.deconvolution.parameters():
            weight.normal_(std=0.1 if weight.shape[1] == 1 or weight.ndim < 4 else 0.3)
        network.skip.raw.add_(0.05 * torch.randn_like(network.skip.raw))
    return network


@pytest.mark.parametrize("config", CONFIGS, ids=str)
@pytest.mark.parametrize("shape", [(1, 1), (7, 12), (18, 9)])
@torch.no_grad()
def test_shape(config: NetworkConfig, shape: tuple[int, int]) -> None:
    sr = a_network(config)(torch.rand(2, 1, *shape))
    assert sr.shape == (2, 1, config.scale * shape[0], config.scale * shape[1])


@settings(max_examples=25, deadline=None)
@given(st.floats(0.1, 10), st.floats(-10, 10), st.sampled_from(CONFIGS), st.integers(5, 23))
@torch.no_grad()
def test_equivariance_borders_included(a: float, b: float, config: NetworkConfig, rows: int) -> None:
    """SR(a * x + b) = a * SR(x) + b to 1e-5 of the larger of the two; x has range 1."""
    network = a_network(config)
    lr = torch.rand(1, 1, rows, 21)
    lr = (lr - lr.min()) / (lr.max() - lr.min())
    difference = network(a * lr + b) - (a * network(lr) + b)
    assert difference.abs().max() <= 1e-5 * max(a, abs(b))


@torch.no_grad()
def test_a_bias_would_break_equivariance() -> None:
    """The test above can fail."""
    network = a_network(SMALL)
    network.fuse.bias = nn.Parameter(torch.full((SMALL.channels,), 0.1))
    lr = torch.rand(1, 1, 12, 12)
    assert (network(3 * lr) - 3 * network(lr)).abs().max() > 1e-3


@torch.no_grad()
def test_without_it_there_are_biases() -> None:
    network = LightDense(dataclasses.replace(SMALL, equivariant=False, skip="none"))
    assert network.intensity == "unit"
    assert LightDense(SMALL).intensity == "any"
    assert sum(name.endswith("bias") for name, _ in network.named_parameters()) == 1 + 2 * (2 * 2 + 1) + 1 + 1
    assert network(torch.rand(1, 1, 7, 12)).shape == (1, 1, 14, 24)


@pytest.mark.parametrize("stage_channels", [0, 16])
@torch.no_grad()
def test_a_new_network_is_nearly_bicubic_interpolation(stage_channels: int) -> None:
    from lightsr.resample import interpolate

    torch.manual_seed(0)
    config = dataclasses.replace(SMALL, consistency=0.0, stage_channels=stage_channels)
    lr = torch.rand(1, 1, 16, 20)
    sr = LightDense(config)(lr)[0, 0].numpy()
    assert sr == pytest.approx(interpolate(lr[0, 0].numpy(), 2), abs=0.05)


@pytest.mark.parametrize("config", CONFIGS, ids=str)
def test_reach_bounds_what_an_output_pixel_depends_on(config: NetworkConfig) -> None:
    network = a_network(config)
    side = 2 * network.halo_px + 12
    lr = torch.rand(1, 1, side, side, requires_grad=True)
    for offset in range(config.block_px):
        middle = config.scale * (side // 2 + offset)
        lr.grad = None
        network(lr)[0, 0, middle : middle + config.scale, middle : middle + config.scale].sum().backward()
        assert lr.grad is not None
        touched = torch.nonzero(lr.grad[0, 0])
        centre = side // 2 + offset
        reach = int((touched - centre).abs().max())
        assert reach <= config.reach_px <= network.halo_px
        assert reach >= config.reach_px - 3


def beyond_its_edge(sr: torch.Tensor, scale: int) -> torch.Tensor:
    return F.pad(sr, (ConsistencyStep.margin_px * scale,) * 4, mode="replicate")


@pytest.mark.parametrize("scale", [2, 3, 4])
@torch.no_grad()
def test_consistency_brings_the_result_closer_to_the_measurement(scale: int) -> None:
    step = ConsistencyStep(scale, 1.0)
    lr, sr = torch.rand(1, 1, 12, 15), torch.rand(1, 1, 12 * scale, 15 * scale)
    better = step(beyond_its_edge(sr, scale), lr)
    assert better.shape == sr.shape
    before, after = ((lr - step.down(beyond_its_edge(x, scale))).norm() for x in (sr, better))
    assert after < 0.5 * before


@torch.no_grad()
def test_consistency_reduces_as_the_toolkit_degrades() -> None:
    from lightsr.resample import downsample

    sr = torch.rand(1, 1, 24, 36)
    for scale in (2, 3, 4):
        expected = downsample(sr[0, 0].numpy(), scale)
        found = ConsistencyStep(scale, 1.0).down(beyond_its_edge(sr, scale))
        assert found[0, 0].numpy() == pytest.approx(expected, abs=1e-6)


def test_phase_filters_sum_to_one() -> None:
    assert bicubic_phase_filters(4).sum(dim=(1, 2, 3)).numpy() == pytest.approx(1, abs=1e-6)


@pytest.mark.parametrize("name", released.names())
@torch.no_grad()
def test_released_networks_are_equivariant_and_their_skips_sum_to_one(name: str) -> None:
    """After all that training did to them."""
    network = released.find(name, 2).network()
    assert isinstance(network, LightDense)
    assert network.skip is not None
    assert network.skip.weight.sum(dim=(1, 2, 3)).numpy() == pytest.approx(1, abs=2e-6)
    lr = torch.rand(1, 1, 20, 24, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(network(200 * lr - 50), 200 * network(lr) - 50, rtol=0, atol=1e-5 * 200)


@pytest.mark.parametrize("bias", [False, True])
@torch.no_grad()
def test_stages_fold_into_plain_deconvolutions(bias: bool) -> None:
    torch.manual_seed(0)
    stages = StagedDeconvolution(6, 4, (4, 2), 3, bias=bias)
    features = torch.rand(2, 6, 5, 7)
    picture, before = stages.both(features)
    assert before.shape == (2, 4, 20, 28)
    folded = stages.folded()
    assert [type(part) for part in folded] == [nn.ConvTranspose2d, nn.ReLU, nn.ConvTranspose2d]
    torch.testing.assert_close(folded(features), picture)
    after = stages.picture(stages.stages[1](F.relu(stages.stages[0](features))))
    torch.testing.assert_close(after, picture)


@torch.no_grad()
def test_what_a_one_shot_block_gathers_is_never_negative() -> None:
    """So int8 has one zero for all that is concatenated."""
    network = a_network(dataclasses.replace(SMALL, wiring="one-shot", expansion=0))
    seen: list[torch.Tensor] = []
    for block in network.blocks:
        block.fuse.register_forward_pre_hook(lambda module, values: seen.append(values[0]))
    network.fuse.register_forward_pre_hook(lambda module, values: seen.append(values[0]))
    network(torch.rand(1, 1, 12, 12))
    assert len(seen) == 3
    assert all(values.min() >= 0 for values in seen)


def test_bfloat16_leaves_the_pictures_own_path_alone() -> None:
    """The picture keeps its 16 bits; only what is added to it is coarser."""
    network = a_network(SMALL)
    lr = 30_000 + 100 * torch.rand(1, 1, 16, 16)
    expected = network(lr)
    network.precision = torch.bfloat16
    difference = (network(lr) - expected).abs().max()
    assert 0 < difference < 0.05 * (expected - lr.repeat_interleave(2, 2).repeat_interleave(2, 3)).abs().max()
    assert difference < 30_000 * 2**-10  # a step of bfloat16 there is 128


def test_dimensions_rebuild_the_network() -> None:
    network = a_network(SMALL)
    again = build("light-dense", dimensions(network))
    again.load_state_dict(network.state_dict())
    assert again.config == network.config


@pytest.mark.parametrize(("name", "most"), [("tiny", 50_000), ("base", 160_000)])
@pytest.mark.parametrize("scale", [2, 3, 4, 8])
def test_sizes_stay_small(name: str, most: int, scale: int) -> None:
    family, values = PRESETS[name]
    assert parameter_count(build(family, {**values, "scale": scale})) <= most


@pytest.mark.parametrize(
    "changes",
    [
        {"scale": 5},
        {"channels": 24},
        {"growth": 8},
        {"layers": 0},
        {"blocks": 0},
        {"unshuffle": 3},
        {"consistency": 1.5},
        {"expansion": -1},
        {"taps": 4},
        {"taps": 2, "scale": 3, "unshuffle": 1},
        {"wiring": "loose"},
        {"skip": "long"},
        {"stage_channels": -4},
        {"subpixel": True, "stage_channels": 4},
        {"growth": 32, "channels": 16, "wiring": "plain"},
    ],
)
def test_wrong_dimensions_are_named(changes: dict[str, int]) -> None:
    with pytest.raises(ValueError, match=next(iter(changes))):
        NetworkConfig(**changes)
