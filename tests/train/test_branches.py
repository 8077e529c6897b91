import dataclasses

import pytest
import torch
from lightsr_train.blocks import DenseLayer
from lightsr_train.branches import BranchedConvolution
from lightsr_train.dense import LightDense
from lightsr_train.dimensions import NetworkConfig
from torch import Tensor

BRANCHES = ("plain", "expand", "project", "point")


def a_convolution(inputs: int = 6, outputs: int = 5, kernel: int = 3) -> BranchedConvolution:
    """With every branch at work."""
    torch.manual_seed(0)
    convolution = BranchedConvolution(inputs, outputs, kernel)
    torch.nn.init.normal_(convolution.point.weight, std=0.3)
    return convolution


def summed(convolution: BranchedConvolution, features: Tensor) -> Tensor:
    """The sum as the branches themselves compute it."""
    sum_of_branches: Tensor = (
        convolution.plain(features) + convolution.project(convolution.expand(features)) + convolution.point(features)
    )
    return sum_of_branches


@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("shape", [(1, 1), (7, 12), (9, 5)])
@torch.no_grad()
def test_one_convolution_is_the_sum_of_the_branches_borders_included(kernel: int, shape: tuple[int, int]) -> None:
    convolution = a_convolution(kernel=kernel)
    features = torch.randn(2, 6, *shape)
    found = convolution(features)
    assert found.shape == (2, 5, *shape)
    assert (convolution.folded()(features) - found).abs().max() <= 1e-6 * found.abs().max()
    exact = summed(convolution.double(), features.double())
    assert (found - exact).abs().max() <= 1e-6 * exact.abs().max()


def test_branches_get_the_gradients_that_they_would_get_apart() -> None:
    convolution = a_convolution().double()
    features = torch.randn(2, 6, 7, 9, dtype=torch.float64)
    goal = torch.randn(2, 5, 7, 9, dtype=torch.float64)
    (convolution(features) - goal).square().mean().backward()
    found = {name: getattr(convolution, name).weight.grad.clone() for name in BRANCHES}
    convolution.zero_grad()
    (summed(convolution, features) - goal).square().mean().backward()
    for name in BRANCHES:
        expected = getattr(convolution, name).weight.grad
        assert torch.allclose(found[name], expected, rtol=1e-9, atol=1e-12)
        assert expected.abs().min() > 0


@torch.no_grad()
def test_the_sum_starts_like_one_convolution_at_every_tap() -> None:
    torch.manual_seed(0)
    inputs, side = 96, 3
    weight = BranchedConvolution(inputs, 96, side).weight
    assert weight.var(dim=(0, 1)).numpy() * inputs * side**2 == pytest.approx(1.0, rel=0.1)
    assert weight.mean(dim=(0, 1)).abs().max() < 0.05 * weight.std()


@pytest.mark.parametrize("kernel", [-1, 0, 2, 4])
def test_a_kernel_without_a_middle_is_refused(kernel: int) -> None:
    with pytest.raises(ValueError, match=f"kernel is {kernel}; odd numbers are allowed"):
        BranchedConvolution(4, 4, kernel)


@torch.no_grad()
def test_a_folded_network_is_one_without_branches() -> None:
    torch.manual_seed(0)
    config = NetworkConfig(channels=16, layers=2, blocks=1, branches=True)
    network = LightDense(config).eval()
    for parameter in network.parameters():
        parameter.add_(0.05 * torch.randn_like(parameter))
    lr = torch.rand(2, 1, 9, 13)
    expected = network(lr)
    for module in network.modules():
        if isinstance(module, DenseLayer):
            assert isinstance(module.shrink, BranchedConvolution)
            module.shrink = module.shrink.folded()
    plain = LightDense(dataclasses.replace(config, branches=False)).eval()
    plain.load_state_dict(network.state_dict())
    assert (plain(lr) - expected).abs().max() <= 1e-6 * expected.abs().max()
