import pytest
import torch
import torch.nn.functional as F
from lightsr_export.rewrite import DeployedNetwork, convolution_of_deconvolution

from .conftest import a_network


@pytest.mark.parametrize("stride", [2, 3, 4, 6, 8, 16])
@pytest.mark.parametrize("shape", [(1, 5, 7, 9), (3, 4, 8, 5)])
@torch.no_grad()
def test_a_deconvolution_is_a_convolution_and_depth_to_space(stride: int, shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape[1], 1, 3 * stride, 3 * stride)
    features = torch.randn(shape)
    expected = F.conv_transpose2d(features, weight, stride=stride, padding=stride)
    found = F.pixel_shuffle(F.conv2d(features, convolution_of_deconvolution(weight, stride), padding=1), stride)
    assert found.shape == expected.shape
    assert torch.allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("scale", [2, 3, 4, 8])
@pytest.mark.parametrize("unshuffle", [1, 2])
@pytest.mark.parametrize("consistency", [0.0, 0.6])
@torch.no_grad()
def test_the_deployed_network_computes_the_same(scale: int, unshuffle: int, consistency: float) -> None:
    network = a_network(scale=scale, unshuffle=unshuffle, consistency=consistency)
    deployed = DeployedNetwork(network).eval()
    for shape in ((1, 1, 17, 31), (3, 1, 10, 7)):
        lr = torch.rand(shape)
        assert torch.allclose(deployed(lr), network(lr), atol=1e-5)
