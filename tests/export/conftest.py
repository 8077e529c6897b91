"""A small network with weights that matter, exported once."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from lightsr import raster
from lightsr_export import export, graph, report, rewrite
from lightsr_train import checkpoint, data
from lightsr_train.contract import Network
from lightsr_train.dense import LightDense
from lightsr_train.dimensions import NetworkConfig
from lightsr_train.networks import NETWORKS, build, dimensions
from lightsr_train.settings import TrainingConfig
from lightsr_train.upsampling import StagedDeconvolution

from tests.exported_once import exported_anew, exported_once, exports

__all__ = ["exported_anew", "exported_once", "exports"]

SMALL: dict[str, Any] = {
    "channels": 16,
    "growth": 16,
    "layers": 2,
    "blocks": 2,
    "unshuffle": 1,
    "stage_channels": 4,
}


def a_network(**changes: Any) -> LightDense:
    torch.manual_seed(4)
    network = LightDense(NetworkConfig(**{**SMALL, **changes})).eval()
    with torch.no_grad():
        if isinstance(network.deconvolution, StagedDeconvolution):
            network.deconvolution.picture.weight.normal_(std=0.3)
        else:
            network.deconvolution.weight.normal_(std=0.05)
        network.skip.raw.add_(0.02 * torch.randn_like(network.skip.raw))
    return network


BASELINES: dict[str, dict[str, int]] = {
    "srcnn": {},
    "fsrcnn": {"features": 8, "shrunk": 4, "mappings": 2},
    "espcn": {},
    "residual": {"channels": 8, "blocks": 2},
    "srdense": {"growth": 4, "layers": 2, "blocks": 2, "bottleneck": 8},
}
"""Small ones of every other family."""


def a_baseline(family: str, scale: int = 2) -> Network:
    torch.manual_seed(4)
    return build(family, {**BASELINES[family], "scale": scale}).eval()


def simplified(network: Network) -> onnx.ModelProto:
    """The float graph that a device would run."""
    module, _ = rewrite.rewritten(network)
    return graph.simplified(graph.to_onnx(module), network)[0]


@pytest.fixture(scope="session", autouse=True)
def timed_on_a_small_picture() -> Iterator[None]:
    """Models of made networks are timed for a moment; `tests/test_end_to_end.py` exports with all the work."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (export, report):
            patch.setattr(module, "LATENCY_SIDE_PX", 64)
        yield


@pytest.fixture(scope="session")
def network() -> LightDense:
    return a_network()


@pytest.fixture(scope="session")
def model(network: LightDense) -> onnx.ModelProto:
    return simplified(network)


def a_folder(folder: Path, patients: int = 6, side: int = 96) -> Path:
    """Pictures of several patients with edges, waves and grain, as 16-bit PNG."""
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:side, :side]
    for patient in range(patients):
        (folder / f"p{patient}").mkdir(parents=True)
        waves = 2000 * (1 + np.sin(rows / (2 + patient)) * np.cos(columns / 3))
        waves += 1500 * (np.hypot(rows - side / 2, columns - side / 2) < side / (3 + patient / 4))
        waves += random.normal(0, 20, (side, side))
        with (folder / f"p{patient}" / "0.png").open("wb") as file:
            raster.write_png(np.clip(waves, 0, 65535).astype(np.uint16), file)
    return folder


def pairs_of(folder: Path, scale: int = 2) -> list[data.Pair]:
    return list(data.load([folder], scale, min_side_px=24).pairs)


def a_run(folder: Path, network: Network, images: Path, name: str = "little", *, patch_px: int = 24) -> Path:
    """A run folder as lightsr-train leaves it."""
    folder.mkdir(parents=True)
    family = next(key for key, value in NETWORKS.items() if value is type(network))
    training = dataclasses.asdict(TrainingConfig(steps=10, patch_px=patch_px, batch=4, hold_back=0.4))
    provenance = {
        "step": 10,
        "training": training,
        "degradations": ["bicubic"],
        "sources": [{"modality": "", "source": "made up", "licence": "CC0", "images": 6}],
    }
    weights = {key: value.detach().clone() for key, value in network.state_dict().items()}
    made = checkpoint.Checkpoint(name, family, dimensions(network), weights, provenance)
    checkpoint.save(made, folder / checkpoint.MODEL_FILE)
    (folder / checkpoint.FOLDERS_FILE).write_text(json.dumps([str(images)]))
    return folder
