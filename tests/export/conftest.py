"""A small network with weights that matter, exported once."""

import pytest
import torch
from lightsr_export import graph
from lightsr_train.networks import LightDense, NetworkConfig


def a_network(**changes: int | float) -> LightDense:
    torch.manual_seed(4)
    network = LightDense(NetworkConfig(**{"channels": 16, "layers": 2, "blocks": 2, **changes})).eval()
    with torch.no_grad():
        network.deconvolution.weight.normal_(std=0.05)
        network.skip.raw.add_(0.02 * torch.randn_like(network.skip.raw))
    return network


@pytest.fixture(scope="session")
def network() -> LightDense:
    return a_network()


@pytest.fixture(scope="session")
def model(network: LightDense) -> object:
    return graph.to_onnx(network)
