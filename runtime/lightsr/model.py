"""A model file: found, verified, loaded."""

import hashlib
import json
import os
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightsr import onnxfile
from lightsr.card import ModelCard, Precision
from lightsr.cpus import available_cpus
from lightsr.errors import ModelError

MAX_MODEL_BYTES = 64 * 1024 * 1024
"""Larger files are no models of this kind and are not read."""

DEFAULT_SCALE = 2
DEFAULT_PRECISION: Precision = "int8"
"""Of bundled models, where none is asked for."""

PREFERRED_NAMES = ("base", "tiny")
"""Bundled model that is taken where none is named: the first that exists at the scale."""


@dataclass(frozen=True)
class BundledModel:
    """An entry of the list of models that come with lightsr.

    Parameters
    ----------
    name : str
    scale : int
    precision : {"fp32", "int8"}
    sha256 : str
        Of the file's bytes.
    """

    name: str
    scale: int
    precision: Precision
    sha256: str

    @property
    def file_name(self) -> str:
        """NAME-xS-PRECISION.onnx."""
        return f"{self.name}-x{self.scale}-{self.precision}.onnx"


def bundled_models() -> list[BundledModel]:
    """Models that come with lightsr."""
    listing = resources.files("lightsr") / "models" / "models.json"
    return [BundledModel(**entry) for entry in json.loads(listing.read_text(encoding="utf-8"))]


def find(
    model: str | os.PathLike[str] | None, *, scale: int | None = None, precision: Precision | None = None
) -> "BundledModel | Path":
    """Bundled model or file that a name or path stands for.

    Parameters
    ----------
    model : str, path or None
        Name of a bundled model, path of an ``.onnx`` file, or None for the default.
    scale : int, optional
    precision : {"fp32", "int8"}, optional
        Both choose among bundled models only.

    Raises
    ------
    ModelError
        Nothing of that name.
    """
    models = bundled_models()
    if model is not None and (os.fspath(model).endswith(".onnx") or isinstance(model, Path)):
        return Path(model)
    scale, precision = scale or DEFAULT_SCALE, precision or DEFAULT_PRECISION
    names = PREFERRED_NAMES if model is None else (os.fspath(model),)
    for name in names:
        for entry in models:
            if (entry.name, entry.scale, entry.precision) == (name, scale, precision):
                return entry
    known = ", ".join(f"{m.name} x{m.scale} {m.precision}" for m in models)
    wanted = f"model '{model}'" if model is not None else "a model"
    raise ModelError(f"{wanted} x{scale} {precision}: not bundled; there are {known}, or give an .onnx file")


def read(model: BundledModel | Path) -> bytes:
    """Bytes of a model, once, with a bundled one's sha256 verified.

    Raises
    ------
    ModelError
        Missing, too large, or not what the list says.
    """
    if isinstance(model, BundledModel):
        content = (resources.files("lightsr") / "models" / model.file_name).read_bytes()
        if hashlib.sha256(content).hexdigest() != model.sha256:
            raise ModelError(f"{model.file_name}: damaged since it was installed; install lightsr again")
        return content
    try:
        if not model.is_file():
            raise ModelError(f"{model}: {'not a regular file' if model.exists() else 'no such model file'}")
        if model.stat().st_size > MAX_MODEL_BYTES:
            raise ModelError(f"{model}: larger than {MAX_MODEL_BYTES // 2**20} MiB; not a lightsr model")
        return model.read_bytes()
    except OSError as error:
        raise ModelError(f"{model}: cannot be read: {error.strerror}") from error


class Model:
    """A verified model in an onnxruntime session.

    Parameters
    ----------
    content : bytes
        The whole file.
    label : str
        How messages call it.
    threads : int, optional
        CPU threads; all that the process may use by default.

    Raises
    ------
    ModelError
        Unsafe, damaged, without a card, or failing its golden self-test here.
    """

    def __init__(self, content: bytes, label: str, *, threads: int | None = None) -> None:
        try:
            self.summary = onnxfile.inspect(content)
            self.card = ModelCard.from_metadata(self.summary.metadata)
        except ModelError as error:
            raise ModelError(f"{label}: {error}") from error
        self.label = label
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.threads = threads or available_cpus()
        self._session = _session(content, self.threads, label)
        if not self.passes_self_test():
            raise ModelError(
                f"{label}: fails its self-test on this machine, so its pictures cannot be trusted; "
                "try --precision fp32 or another version of onnxruntime, and report it"
            )

    @classmethod
    def open(cls, model: BundledModel | Path, *, threads: int | None = None) -> "Model":
        """Read and load a model; its bytes are read once, and those that were checked are run."""
        label = model.file_name if isinstance(model, BundledModel) else str(model)
        return cls(read(model), label, threads=threads)

    def passes_self_test(self) -> bool:
        """Whether the golden input gives what it gave at export."""
        return self.card.golden.agrees(self.run(self.card.golden.input()))

    def run(self, lr: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge (n, 1, h, w) float32 to (n, 1, s * h, s * w) float32.

        Raises
        ------
        ModelError
            onnxruntime failed, or the model gave another shape than its card says.
        """
        try:
            result: NDArray[np.float32] = self._session.run(None, {"lr": lr})[0]
        except Exception as error:  # onnxruntime's exceptions have no common public base
            raise ModelError(f"{self.label}: onnxruntime failed on {lr.shape[2]}x{lr.shape[3]} pixels") from error
        n, _, h, w = lr.shape
        if result.shape != (n, 1, self.card.scale * h, self.card.scale * w):
            raise ModelError(
                f"{self.label}: gave shape {result.shape} for {lr.shape}; its card says x{self.card.scale}"
            )
        return result


def _session(content: bytes, threads: int, label: str) -> Any:
    import onnxruntime

    # For a caller who imported onnxruntime before lightsr could keep it quiet, and for Windows.
    onnxruntime.disable_telemetry_events()
    options = onnxruntime.SessionOptions()
    # An explicit count keeps onnxruntime from pinning threads, which fails in containers.
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    # Spinning threads drain a battery, and slow everybody down where cores are shared.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # session.set_denormal_as_zero stays off: it changes the floating-point mode of the calling
    # thread for good, and with it whatever else the caller computes.
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise ModelError(f"{label}: onnxruntime cannot load it: damaged, or made for a newer version") from error
    names = [value.name for value in session.get_inputs()], [value.name for value in session.get_outputs()]
    if names != (["lr"], ["sr"]):
        raise ModelError(f"{label}: has inputs and outputs {names}; 'lr' and 'sr' are needed")
    return session
