"""Networks that are measured, and the engine that runs each."""

import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from lightsr import onnxfile
from lightsr.errors import LightsrError, ModelError
from lightsr.model import MAX_MODEL_BYTES, Model, bundled_models
from lightsr.suggestion import suggestion
from lightsr.upscaler import TILE_PX, Upscaler
from numpy.typing import NDArray

Engine = Literal["lightsr", "onnxruntime", "opencv"]
"""What runs a network: `lightsr.Upscaler`, a plain onnxruntime session, or OpenCV's dnn module."""

SUFFIXES = {".onnx": "onnxruntime", ".pb": "opencv"}
"""Files that can be measured, and the engine of each."""

PROBE_PX = 32
"""Side of the picture by which an unknown network tells its scale."""


class NetworkError(LightsrError):
    """A network that cannot be found or run."""


@dataclass(frozen=True)
class Network:
    """A network file.

    Parameters
    ----------
    name : str
        How tables call it; no two in a run are equal.
    path : Path
    engine : {"lightsr", "onnxruntime", "opencv"}
        "lightsr" for a file that carries a lightsr card.
    random_weights : bool
        Made for timing; its pictures mean nothing.
    """

    name: str
    path: Path
    engine: Engine
    random_weights: bool = False


def find(models: Iterable[str], *, scale: int | None = None) -> list[Network]:
    """Networks that names and paths stand for.

    Parameters
    ----------
    models : iterable of str
        Names of bundled models, ``.onnx`` or ``.pb`` files, and folders of them, searched
        deeply. None at all stands for every bundled model.
    scale : int, optional
        Leaves out bundled models of another scale.

    Returns
    -------
    list of Network
        In the order given; a folder's by path.

    Raises
    ------
    NetworkError
        A name is unknown, a path does not exist, or a folder holds no network.
    """
    paths: list[Path] = []
    for model in models or sorted({entry.name for entry in bundled_models()}):
        path = Path(model)
        if path.is_dir():
            inside = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES and file.is_file())
            if not inside:
                raise NetworkError(f"{path}: no .onnx or .pb file in it")
            paths += inside
        elif path.suffix in SUFFIXES:
            if not path.is_file():
                raise NetworkError(f"{path}: no such file")
            paths.append(path)
        elif path.suffix == ".pt":
            raise NetworkError(
                f"{path}: a checkpoint; lightsr-export makes an .onnx of it, lightsr-bench export times it"
            )
        else:
            paths += _bundled(model, scale)
    return _named(dict.fromkeys(paths))


def _bundled(name: str, scale: int | None) -> list[Path]:
    entries = [entry for entry in bundled_models() if entry.name == name and scale in (None, entry.scale)]
    if not entries:
        known = ", ".join(sorted({f"{entry.name} x{entry.scale}" for entry in bundled_models()}))
        wanted = f"model '{name}'" + (f" x{scale}" if scale else "")
        meant = suggestion(name, {entry.name for entry in bundled_models()})
        raise NetworkError(
            f"{wanted}: not bundled; there are {known}, or give .onnx or .pb files or a folder of them{meant}"
        )
    return [Path(str(resources.files("lightsr"))) / "models" / entry.file_name for entry in entries]


def _named(paths: Iterable[Path]) -> list[Network]:
    """Networks of the paths, with the folder's name where two would be called alike."""
    paths = list(paths)
    short = [_short_name(path) for path in paths]
    networks: list[Network] = []
    for path, name in zip(paths, short, strict=True):
        if short.count(name) > 1:
            name = f"{path.parent.name}/{name}"
        while any(name == other.name for other in networks):
            name += "'"
        networks.append(Network(name, path, engine_of(path)))
    return networks


def _short_name(path: Path) -> str:
    return f"{path.stem} (OpenCV)" if path.suffix == ".pb" else path.stem


def engine_of(path: Path) -> Engine:
    """Engine of a file: "lightsr" where it carries a card."""
    if path.suffix == ".pb":
        return "opencv"
    try:
        has_card = path.stat().st_size <= MAX_MODEL_BYTES and any(
            key.startswith("lightsr.") for key in onnxfile.inspect(path.read_bytes()).metadata
        )
    except (ModelError, OSError):
        return "onnxruntime"
    return "lightsr" if has_card else "onnxruntime"


class Runner(Protocol):
    """A loaded network."""

    @property
    def scale(self) -> int:
        """Enlargement."""

    @property
    def channels(self) -> int:
        """Channels of its input."""

    def run(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge (channels, h, w) to (channels, scale * h, scale * w), values in [0, 1]."""


def load(path: Path, engine: Engine, *, threads: int, arena: bool = True) -> "Runner":
    """Load a network into its engine.

    Parameters
    ----------
    path : Path
    engine : {"lightsr", "onnxruntime", "opencv"}
    threads : int
    arena : bool
        Whether a plain session keeps the memory of its runs for the next, as onnxruntime
        does by default; many networks that keep it for large pictures fill any machine.

    Raises
    ------
    NetworkError
        It does not load, or is not a network that enlarges a picture of 1 or 3 channels.
    lightsr.ModelError
        A lightsr model that is damaged or fails its self-test.
    """
    if engine == "lightsr":
        return LightsrRunner(path, threads)
    return OnnxRunner(path, threads, arena=arena) if engine == "onnxruntime" else OpenCvRunner(path, threads)


class LightsrRunner:
    """A lightsr model behind `lightsr.Upscaler`: tiles, intensity map and all."""

    channels = 1

    def __init__(self, path: Path, threads: int) -> None:
        self.upscaler = Upscaler(Model.open(path, threads=threads), tile=TILE_PX)

    @property
    def scale(self) -> int:
        """Enlargement."""
        return self.upscaler.scale

    def run(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge (1, h, w) to (1, scale * h, scale * w)."""
        return self.upscaler(picture[0])[None]


class OnnxRunner:
    """Any ONNX file in a plain onnxruntime session, the whole picture in one run.

    Raises
    ------
    NetworkError
        It does not load, or takes something else than one picture of 1 or 3 channels.
    """

    def __init__(self, path: Path, threads: int, *, arena: bool = True) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.enable_cpu_mem_arena = arena
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 4
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime's exceptions have no common public base
            raise NetworkError(f"{path}: onnxruntime cannot load it: {first_line(error, path)}") from error
        inputs = self.session.get_inputs()
        shape = inputs[0].shape if inputs else []
        if len(inputs) != 1 or len(shape) != 4 or shape[1] not in (1, 3) or inputs[0].type != "tensor(float)":
            found = ", ".join(f"{value.type} {value.shape}" for value in inputs)
            raise NetworkError(f"{path}: takes {found or 'nothing'}; one tensor(float) [n, 1 or 3, h, w] is needed")
        self.path = path
        self.input_name: str = inputs[0].name
        self.channels: int = shape[1]

    @cached_property
    def scale(self) -> int:
        """Enlargement."""
        return _probed_scale(self, self.path)

    def run(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge (channels, h, w) to (channels, scale * h, scale * w).

        Raises
        ------
        NetworkError
            onnxruntime failed.
        """
        try:
            result: NDArray[np.float32] = self.session.run(None, {self.input_name: picture[None]})[0][0]
        except Exception as error:  # as above
            size = f"{picture.shape[1]}x{picture.shape[2]}"
            raise NetworkError(
                f"{self.path}: onnxruntime failed on {size} pixels: {first_line(error, self.path)}"
            ) from error
        return result


class OpenCvRunner:
    """A TensorFlow graph of OpenCV's dnn_superres in OpenCV's dnn module, luminance only.

    Through `cv2.dnn` rather than `cv2.dnn_superres`, which rounds to 8 bits; on 8-bit
    pictures both give the same result, bit for bit.

    Raises
    ------
    NetworkError
        OpenCV is missing or lacks dnn_superres, or cannot load the file.
    """

    channels = 1

    def __init__(self, path: Path, threads: int) -> None:
        os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
        try:
            import cv2
        except ImportError as error:
            raise NetworkError(f"{path}: OpenCV is needed; pip install opencv-contrib-python-headless") from error
        if not hasattr(cv2, "dnn_superres"):
            raise NetworkError(
                f"{path}: this OpenCV lacks dnn_superres, whose layers such files need; "
                "pip install opencv-contrib-python-headless in place of other OpenCV packages"
            )
        cv2.setNumThreads(threads)
        try:
            superres: Any = cv2.dnn_superres
            superres.DnnSuperResImpl_create()  # registers the layer that turns depth to space
            self.net: Any = cv2.dnn.readNet(os.fspath(path))
        except cv2.error as error:
            raise NetworkError(f"{path}: OpenCV cannot load it: {first_line(error, path)}") from error
        self.path = path

    @cached_property
    def scale(self) -> int:
        """Enlargement."""
        return _probed_scale(self, self.path)

    def run(self, picture: NDArray[np.float32]) -> NDArray[np.float32]:
        """Enlarge (1, h, w) to (1, scale * h, scale * w).

        Raises
        ------
        NetworkError
            OpenCV failed.
        """
        import cv2

        try:
            self.net.setInput(picture[None])
            result: NDArray[np.float32] = self.net.forward()[0]
        except cv2.error as error:
            size = f"{picture.shape[1]}x{picture.shape[2]}"
            raise NetworkError(
                f"{self.path}: OpenCV failed on {size} pixels: {first_line(error, self.path)}"
            ) from error
        return result


def _probed_scale(runner: OnnxRunner | OpenCvRunner, path: Path) -> int:
    probe = np.zeros((runner.channels, PROBE_PX, PROBE_PX), dtype=np.float32)
    shape = runner.run(probe).shape
    scale = int(shape[-1]) // PROBE_PX
    if shape != (runner.channels, scale * PROBE_PX, scale * PROBE_PX) or scale < 1:
        raise NetworkError(f"{path}: gives {shape} for {probe.shape}; a whole-number enlargement is needed")
    return scale


def first_line(error: Exception, path: Path | None = None) -> str:
    """What a foreign library said, in one short line, a file called by its name without its folders."""
    text = str(error).strip() or type(error).__name__
    if path is not None:
        text = text.replace(str(path), path.name)
    return json.dumps(text.splitlines()[0][:160])
