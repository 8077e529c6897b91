"""Checkpoints: weights, dimensions and provenance in one file."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from lightsr import files
from lightsr.errors import LightsrError
from torch import Tensor

from lightsr_train.contract import Network
from lightsr_train.networks import build, dimensions

FORMAT = 1
"""Version of the file's layout."""

MODEL_FILE = "model.pt"
"""In a run folder: the averaged weights, for export."""

FOLDERS_FILE = "data.json"
"""In a run folder: where the training images lie, which is nobody else's business."""


class CheckpointError(LightsrError):
    """A checkpoint that is missing, damaged or of another kind."""


@dataclass(frozen=True)
class Checkpoint:
    """A network as training leaves it.

    Parameters
    ----------
    name : str
        Name of the model, such as "tiny".
    family : str
        Key of `lightsr_train.networks.NETWORKS`.
    dimensions : dict
        Fields of the family's configuration.
    weights : dict of Tensor
        The network's state: tensors of any shape by their name.
    provenance : dict
        How it was made: settings, steps, the stages before (`history`), degradations, sources
        with licences, the held-back result, versions.
    """

    name: str
    family: str
    dimensions: dict[str, Any]
    weights: Mapping[str, Tensor] = field(repr=False)
    provenance: dict[str, Any]

    def network(self) -> Network:
        """The network with its weights, in evaluation mode."""
        network = build(self.family, self.dimensions)
        network.load_state_dict(dict(self.weights))
        return network.eval()


def history(initial: Checkpoint | None) -> list[dict[str, Any]]:
    """Stages that a network has been through, the first one first, each with all its settings.

    Of a checkpoint that is older than this record, its last stage alone is known.

    Parameters
    ----------
    initial : Checkpoint or None
        That the next stage starts from.

    Returns
    -------
    list of dict
        ``stage``, ``scale``, ``step``, ``training``, ``init`` and ``lightsr`` of each.
    """
    if initial is None:
        return []
    made = initial.provenance
    last = {key: made.get(key) for key in ("stage", "step", "training", "init", "lightsr")}
    return [*made.get("history", []), {**last, "scale": initial.dimensions["scale"]}]


def save_atomically(content: dict[str, Any], path: Path) -> None:
    """Write `content` with `torch.save` so that `path` is whole at every moment."""
    with files.new_file(path, overwrite=True) as file:
        torch.save(content, file)


def save(checkpoint: Checkpoint, path: Path) -> None:
    """Write a checkpoint atomically."""
    content = {
        "format": FORMAT,
        "name": checkpoint.name,
        "family": checkpoint.family,
        "dimensions": checkpoint.dimensions,
        "weights": dict(checkpoint.weights),
        "provenance": checkpoint.provenance,
    }
    save_atomically(content, path)


def read_tensors(path: Path) -> dict[str, Any]:
    """Read what `save_atomically` wrote, running no code from the file.

    Raises
    ------
    CheckpointError
        Missing, damaged, or not made by lightsr-train.
    """
    if not path.is_file():
        raise CheckpointError(
            f"{path}: no such checkpoint; lightsr-train writes {MODEL_FILE} into its run folder, and either is taken"
        )
    if path.suffix == ".onnx":
        raise CheckpointError(f"{path}: exported already; the run folder or its {MODEL_FILE} is needed")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds for damaged files
        raise CheckpointError(
            f"{path}: damaged, or not a checkpoint of lightsr-train; a {MODEL_FILE} or its run folder is needed"
        ) from error
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise CheckpointError(
            f"{path}: not a checkpoint of this version of lightsr-train (format {FORMAT}); weights from elsewhere "
            "do not fit its networks, which lightsr-train --data DIR trains"
        )
    return content


def weights_file(path: Path) -> Path:
    """The checkpoint that `path`, a checkpoint or a run folder, stands for."""
    return path / MODEL_FILE if path.is_dir() else path


def sha256(path: Path) -> str:
    """sha256 of the checkpoint at `path`, a checkpoint or a run folder."""
    return hashlib.sha256(weights_file(path).read_bytes()).hexdigest()


def data_folders(path: Path) -> list[Path]:
    """Training folders of a run.

    Raises
    ------
    CheckpointError
        `path` is a lone checkpoint, or the run does not say.
    """
    try:
        return [Path(item) for item in json.loads((path / FOLDERS_FILE).read_text(encoding="utf-8"))]
    except (OSError, ValueError) as error:
        raise CheckpointError(
            f"{path}: does not say where its training images are; give --calibration DIR, or --no-int8"
        ) from error


def load(path: Path) -> Checkpoint:
    """Read a checkpoint.

    Parameters
    ----------
    path : Path
        A ``model.pt``, or the run folder that holds one.

    Returns
    -------
    Checkpoint
        Dimensions that are younger than the file have their default.

    Raises
    ------
    CheckpointError
        Missing, damaged, or not made by lightsr-train.
    """
    file = weights_file(path)
    content = read_tensors(file)
    try:
        fields = ("name", "family", "dimensions", "weights", "provenance")
        checkpoint = Checkpoint(*(content[key] for key in fields))
        network = checkpoint.network()
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise CheckpointError(f"{file}: its weights do not fit its dimensions; train it again") from error
    return replace(checkpoint, dimensions=dimensions(network))
