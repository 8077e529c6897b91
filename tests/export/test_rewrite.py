import copy
import logging

import pytest
import torch
from lightsr_export import rewrite
from lightsr_export.rewrite import PASSES, Pass, SubpixelConvolution, rewritten
from lightsr_train.dense import LightDense
from lightsr_train.dimensions import Wiring
from lightsr_train.upsampling import StagedDeconvolution
from torch import nn

from .conftest import BASELINES, a_baseline, a_network

SHAPES = ((1, 1, 17, 31), (3, 1, 33, 21))


def agree(found: nn.Module, expected: nn.Module) -> bool:
    with torch.no_grad():
        return all(
            float((found(lr) - expected(lr)).abs().max()) <= 1e-5
            for lr in (torch.rand(shape, generator=torch.Generator().manual_seed(1)) for shape in SHAPES)
        )


def test_comparisons_are_made_at_odd_sides_with_one_and_three_pictures() -> None:
    assert {shape[0] for shape in rewrite.CHECK_SHAPES} == {1, 3}
    assert len({side for shape in rewrite.CHECK_SHAPES for side in shape[2:]}) == 4
    assert all(side % 2 for shape in rewrite.CHECK_SHAPES for side in shape[2:])


@pytest.mark.parametrize(
    ("stride", "side"), [(2, 3), (2, 6), (2, 9), (3, 5), (3, 9), (4, 4), (4, 9), (4, 12), (8, 9), (8, 24)]
)
@torch.no_grad()
def test_a_deconvolution_is_a_convolution_and_depth_to_space(stride: int, side: int) -> None:
    padding = (side - stride + 1) // 2
    part = nn.ConvTranspose2d(5, 3, side, stride=stride, padding=padding, output_padding=2 * padding - side + stride)
    features = torch.randn(2, 5, 7, 9)
    found, expected = SubpixelConvolution(part)(features), part(features)
    assert found.shape == expected.shape == (2, 3, 7 * stride, 9 * stride)
    assert torch.allclose(found, expected, atol=1e-5)


@torch.no_grad()
def test_a_deconvolution_with_other_borders_stays() -> None:
    network = nn.Sequential(nn.ConvTranspose2d(1, 1, 4, stride=2))  # two pixels more than twice the input
    assert rewrite.with_subpixels(network) is None


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("unshuffle", [1, 2])
@pytest.mark.parametrize(("consistency", "wiring"), [(1.0, "dense"), (0.6, "one-shot"), (0.0, "plain")])
def test_each_pass_leaves_the_light_dense_network_what_it_was(
    scale: int, unshuffle: int, consistency: float, wiring: Wiring
) -> None:
    dimensions = {"wiring": wiring, "expansion": 2 if wiring == "dense" else 0}
    network = a_network(
        scale=scale, unshuffle=unshuffle, consistency=consistency, branches=True, stage_channels=4, **dimensions
    )
    current: nn.Module = network
    for step in PASSES:
        after = step.apply(copy.deepcopy(current))
        assert after is not None, step.name
        assert agree(after.eval(), network), step.name
        current = after
    found, applied = rewritten(network)
    assert applied == [step.name for step in PASSES]
    assert agree(found, network)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("family", BASELINES)
def test_baselines_are_rewritten_too(family: str, scale: int) -> None:
    network = a_baseline(family, scale)
    found, applied = rewritten(network)
    assert applied == (["deconvolution"] if family in ("fsrcnn", "srdense") else [])
    assert agree(found, network)
    assert not any(isinstance(part, nn.ConvTranspose2d) for part in found.modules())


@pytest.mark.parametrize(
    ("scale", "unshuffle", "phases", "stride"), [(2, 1, 16, 2), (2, 2, 16, 1), (3, 1, 36, 2), (4, 1, 16, 1)]
)
@torch.no_grad()
def test_the_tail_gives_the_phases_of_a_block_at_once(scale: int, unshuffle: int, phases: int, stride: int) -> None:
    tail = rewritten(a_network(scale=scale, unshuffle=unshuffle, stage_channels=16))[0].tail
    assert isinstance(tail, rewrite.FixedConvolution)
    assert (len(tail.weight), tail.stride) == (phases, stride)


def test_the_network_itself_is_not_changed() -> None:
    network = a_network()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    rewritten(network)
    assert isinstance(network.deconvolution, StagedDeconvolution)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_pass_that_disagrees_is_left_out_with_a_warning(
    network: LightDense, caplog: pytest.LogCaptureFixture
) -> None:
    def wrong(part: nn.Module) -> nn.Module:
        with torch.no_grad():
            part.fuse.weight.mul_(1.01)  # type: ignore[operator, union-attr]
        return part

    def smaller(part: nn.Module) -> nn.Module:
        return nn.Sequential(part, nn.AvgPool2d(2))

    def nothing(part: nn.Module) -> nn.Module:
        return nn.Sequential(part, nn.Threshold(float("inf"), float("nan")))

    with caplog.at_level(logging.WARNING):
        found, applied = rewritten(
            network, [Pass("wrong", wrong), Pass("smaller", smaller), Pass("nothing", nothing), *PASSES]
        )
    assert applied == [step.name for step in PASSES if step.name != "branches"]
    assert [f"'{name}'" in caplog.text for name in ("wrong", "smaller", "nothing", "phases")] == [
        True,
        True,
        True,
        False,
    ]
    assert agree(found, network)
