"""A model file: found, verified, loaded."""

import hashlib
import json
import logging
import os
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lightsr import onnxfile, selftest
from lightsr.card import ModelCard, Precision
from lightsr.cpus import available_cpus
from lightsr.errors import ModelError, SelfTestError
from lightsr.suggestion import suggestion

logger = logging.getLogger(__name__)

MAX_MODEL_BYTES = 64 * 1024 * 1024
"""Larger files are no models of this kind and are not read."""

DEFAULT_SCALE = 2
DEFAULT_PRECISION: Precision = "int8"
"""Of bundled models, where none is asked for."""

PREFERRED_NAMES = ("base", "tiny")
"""Bundled model that is taken where none is named: the first that exists at the scale."""


TRAINED_SUFFIXES = frozenset({".pt", ".pth", ".ckpt", ".safetensors", ".h5", ".pb"})
"""Ends of files that hold networks, and no model of the runtime."""

INT8_ENDING, FP32_ENDING = "-int8.onnx", "-fp32.onnx"
"""How the names of lightsr-export's files end."""


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
    if model is not None and (told := _no_model(model)):
        raise ModelError(f"{model}: {told}")
    wanted = f"model '{model}'" if model is not None else "a model"
    meant = _meant(names[0], models) if model is not None else ""
    raise ModelError(
        f"{wanted} x{scale} {precision}: not bundled; there are {listed(models)}, or give an .onnx file{meant}"
    )


def listed(models: Iterable[BundledModel]) -> str:
    """Models in few words.

    >>> listed(bundled_models())
    'base x2 x3 x4 x8 and tiny x2 x4, in fp32 and int8'
    """
    found: dict[str, dict[str, list[str]]] = {}
    for entry in models:
        scales = found.setdefault(entry.precision, {}).setdefault(entry.name, [])
        scales.append(f"x{entry.scale}")
    told: dict[str, list[str]] = {}
    for precision, names in found.items():
        told.setdefault(" and ".join(" ".join([name, *scales]) for name, scales in names.items()), []).append(precision)
    return "; ".join(f"{what}, in {' and '.join(precisions)}" for what, precisions in told.items())


def _meant(name: str, models: Iterable[BundledModel]) -> str:
    """What a name that no bundled model has may stand for; files and records call models NAME-xS-PRECISION."""
    for entry in models:
        if name in (f"{entry.name}-x{entry.scale}", entry.file_name.removesuffix(".onnx")):
            precision = f" --precision {entry.precision}" if name.endswith(entry.precision) else ""
            return f"; did you mean --model {entry.name} --scale {entry.scale}{precision}?"
    return suggestion(name, {entry.name for entry in models})


def _no_model(model: str | os.PathLike[str]) -> str:
    """What is said of a path that can be no model, "" where it is none."""
    path = Path(model)
    if path.suffix in TRAINED_SUFFIXES:
        return "weights of a training; lightsr-export makes an .onnx of what lightsr-train wrote, and nothing else runs"
    if path.is_dir():
        return "a folder; name the .onnx file in it, or, of a run of lightsr-train, what lightsr-export made of it"
    if path.suffix or len(path.parts) > 1:
        what = "no .onnx file" if path.exists() else "no such file, and no .onnx"
        return f"{what}; an .onnx of lightsr-export is needed, or a name of --list-models"
    return ""


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
            what = "not a regular file" if model.exists() else "no such model file"
            raise ModelError(f"{model}: {what}; an .onnx of lightsr-export is needed, or a name of --list-models")
        if model.stat().st_size > MAX_MODEL_BYTES:
            raise ModelError(f"{model}: larger than {MAX_MODEL_BYTES // 2**20} MiB; not a lightsr model")
        return model.read_bytes()
    except OSError as error:
        raise ModelError(f"{model}: cannot be read: {error.strerror}") from error


class Model:
    """A verified model in an onnxruntime session; threads may share it.

    Parameters
    ----------
    content : bytes
        The whole file.
    label : str
        How messages call it.
    threads : int, optional
        CPU threads; all that the process may use by default.
    remember : bool
        Leave the golden self-test out where it is remembered as passed (`lightsr.selftest`),
        and remember when it passes now. By default it runs.

    Raises
    ------
    SelfTestError
        It does not give here what it gave at export.
    ModelError
        Unsafe, damaged or without a card.
    """

    def __init__(self, content: bytes, label: str, *, threads: int | None = None, remember: bool = False) -> None:
        try:
            self.summary = onnxfile.inspect(content)
            self.card = ModelCard.from_metadata(self.summary.metadata)
        except ModelError as error:
            raise ModelError(f"{label}: {error}") from error
        self.label = label
        self.sha256 = hashlib.sha256(content).hexdigest()
        self.threads = threads or available_cpus()
        self.session = _session(content, self.threads, label)
        self._test(remember)

    def _test(self, remember: bool) -> None:
        trial = selftest.Trial.of(self.sha256) if remember else None
        if trial is not None and selftest.passed(trial):
            return
        if not self.passes_self_test():
            remedy = "the fp32 model or another" if self.card.precision == "int8" else "another"
            raise SelfTestError(
                f"{self.label}: fails its self-test on this machine, so its pictures cannot be trusted; "
                f"try {remedy} version of onnxruntime, and report it"
            )
        if trial is not None:
            selftest.remember(trial)

    @classmethod
    def open(cls, model: BundledModel | Path, *, threads: int | None = None, remember: bool = False) -> "Model":
        """Read and load a model; its bytes are read once, and those that were checked are run."""
        return cls(read(model), label_of(model), threads=threads, remember=remember)

    @property
    def name(self) -> str:
        """What it is, for reports.

        >>> Model.open(find("tiny"), threads=1).name
        'tiny x2 int8'
        """
        return f"{self.card.name} x{self.card.scale} {self.card.precision}"

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
            result: NDArray[np.float32] = self.session.run(None, {"lr": lr})[0]
        except Exception as error:  # onnxruntime's exceptions have no common public base
            raise ModelError(f"{self.label}: onnxruntime failed on {lr.shape[2]}x{lr.shape[3]} pixels") from error
        n, _, h, w = lr.shape
        if result.shape != (n, 1, self.card.scale * h, self.card.scale * w):
            raise ModelError(
                f"{self.label}: gave shape {result.shape} for {lr.shape}; its card says x{self.card.scale}"
            )
        return result


class Bound:
    """Input and output of tiles of one shape, which stay where they are from one tile to the next; for one thread.

    Parameters
    ----------
    model : Model
    shape : (int, int)
        Rows and columns of the input.

    Attributes
    ----------
    lr : ndarray, shape (h, w), float32
        To be filled before `run`.
    sr : ndarray, shape (s * h, s * w), float32
        What `run` gave, until it runs again.
    """

    def __init__(self, model: Model, shape: tuple[int, int]) -> None:
        scale = model.card.scale
        self.model = model
        self.lr = np.zeros(shape, np.float32)
        self.sr = np.empty((scale * shape[0], scale * shape[1]), np.float32)
        self._session, self._binding = model.session, model.session.io_binding()
        for bind, name, array in (
            (self._binding.bind_input, "lr", self.lr),
            (self._binding.bind_output, "sr", self.sr),
        ):
            bind(name, "cpu", 0, np.float32, (1, 1, *array.shape), array.ctypes.data)

    def run(self) -> None:
        """Enlarge `lr` into `sr`.

        Raises
        ------
        ModelError
            onnxruntime failed, or the model gives another shape than its card says.
        """
        try:
            self._session.run_with_iobinding(self._binding)
        except Exception as error:  # onnxruntime's exceptions have no common public base
            rows, columns = self.lr.shape
            raise ModelError(f"{self.model.label}: onnxruntime failed on {rows}x{columns} pixels") from error


def label_of(model: BundledModel | Path) -> str:
    """How messages call a model."""
    return model.file_name if isinstance(model, BundledModel) else str(model)


def open_trusted(model: BundledModel | Path, *, threads: int | None = None) -> Model:
    """Load a model, or its fp32 form where the int8 one fails its self-test on this machine.

    The fp32 form of a bundled model is the bundled one of that name and scale, that of
    ``NAME-int8.onnx`` is ``NAME-fp32.onnx`` beside it, if its card names the same checkpoint. The
    change is logged in one line. Passed self-tests are remembered.

    Raises
    ------
    SelfTestError
        No form passes.
    ModelError
        See `Model`.
    """
    content = read(model)
    try:
        return Model(content, label_of(model), threads=threads, remember=True)
    except SelfTestError as error:
        substitute = _fp32_form(model)
        if substitute is None:
            raise
        opened = Model.open(substitute, threads=threads, remember=True)
        card = ModelCard.from_metadata(onnxfile.inspect(content).metadata)
        if _origin(opened.card) != _origin(card) or opened.card.precision != "fp32":
            raise SelfTestError(f"{error}; {label_of(substitute)} is another network") from error
        logger.warning(
            "%s fails its self-test on this machine; %s is used instead", label_of(model), label_of(substitute)
        )
        return opened


def _fp32_form(model: BundledModel | Path) -> BundledModel | Path | None:
    if isinstance(model, BundledModel):
        wanted = (model.name, model.scale, "fp32") if model.precision == "int8" else None
        return next((m for m in bundled_models() if (m.name, m.scale, m.precision) == wanted), None)
    beside = model.with_name(f"{model.name.removesuffix(INT8_ENDING)}{FP32_ENDING}")
    return beside if model.name.endswith(INT8_ENDING) and beside.is_file() else None


def _origin(card: ModelCard) -> tuple[str, int, str]:
    return card.name, card.scale, card.checkpoint_sha256


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
