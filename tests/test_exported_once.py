from pathlib import Path

import onnx
import torch
from lightsr_export import graph
from torch import nn

from .exported_once import digest, remembering


def test_the_same_network_is_exported_once_and_any_other_anew(tmp_path: Path) -> None:
    asked: list[nn.Module] = []

    def counted(network: nn.Module) -> onnx.ModelProto:
        asked.append(network)
        return graph.to_onnx(network)

    once = remembering(counted, tmp_path)
    network = nn.Conv2d(1, 1, 3, padding=1)
    first = once(network)
    first.graph.name = "spoilt"
    assert once(network).SerializeToString() == graph.to_onnx(network).SerializeToString()
    assert len(asked) == 1
    with torch.no_grad():
        network.weight[0, 0, 1, 1] += 1e-6
    assert once(network) != first
    assert len(asked) == 2
    assert digest(nn.Conv2d(1, 1, 3, padding=1)) != digest(nn.Conv2d(1, 1, 3))
