"""A network that several tests export goes through PyTorch's exporter once in a run: that takes seconds each time."""

import hashlib
import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import onnx
import pytest
import torch
from lightsr_export import graph
from torch import nn

from .workers import common_folder


def digest(network: nn.Module) -> str:
    """Of the whole module: its classes, settings, mode and weights, as they would be saved."""
    content = io.BytesIO()
    torch.save(network, content)
    return hashlib.sha256(content.getvalue()).hexdigest()


def remembering(
    to_onnx: Callable[[nn.Module], onnx.ModelProto], folder: Path
) -> Callable[[nn.Module], onnx.ModelProto]:
    """`to_onnx`, which keeps what it made in a folder and takes it from there when asked for the same."""

    def once(network: nn.Module) -> onnx.ModelProto:
        path = folder / f"{digest(network.eval())}.onnx"
        if not path.exists():
            made = to_onnx(network)
            partial = path.with_suffix(f".{os.getpid()}")
            onnx.save(made, partial)
            partial.replace(path)  # at once, for workers that look at the same time
        return onnx.load(path)

    return once


@pytest.fixture(scope="session")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of what was exported in this run, by all its workers."""
    return common_folder(tmp_path_factory, "exports")


@pytest.fixture(scope="session", autouse=True)
def exported_once(exports: Path) -> Iterator[Callable[[nn.Module], onnx.ModelProto]]:
    """`graph.to_onnx` remembers; the plain one."""
    plain = graph.to_onnx
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(graph, "to_onnx", remembering(plain, exports))
        yield plain


@pytest.fixture
def exported_anew(exported_once: Callable[[nn.Module], onnx.ModelProto], monkeypatch: pytest.MonkeyPatch) -> None:
    """For a test that is about exporting again."""
    monkeypatch.setattr(graph, "to_onnx", exported_once)
