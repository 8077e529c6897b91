from pathlib import Path

import onnx
import torch
from torch import nn

from .exported_once import digest, remembering


def test_the_same_network_is_exported_once_and_any_other_anew(tmp_path: Path) -> None:
    asked: list[nn.Module] = []

    def counted(network: nn.Module) -> onnx.ModelProto:
        asked.append(network)
        return onnx.helper.make_model(onnx.helper.make_graph([], f"number {len(asked)}", [], []))

    once = remembering(counted, tmp_path)
    network = nn.Conv2d(1, 1, 3, padding=1)
    once(network).graph.name = "spoilt"
    assert once(network).graph.name == "number 1"
    with torch.no_grad():
        network.weight[0, 0, 1, 1] += 1e-6
    assert once(network).graph.name == "number 2"
    assert once(network).graph.name == "number 2"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_digest_is_of_settings_too() -> None:
    torch.manual_seed(0)
    network = nn.Conv2d(1, 1, 3, padding=1)
    before = digest(network)
    assert digest(network) == before
    network.padding = (2, 2)
    assert digest(network) != before
