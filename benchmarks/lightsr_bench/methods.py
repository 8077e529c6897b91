"""What enlarges a picture: interpolations, lightsr models, other networks."""

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, get_args

import numpy as np
from lightsr.errors import LightsrError, ModelError
from lightsr.model import bundled_models
from lightsr.resample import Interpolation, interpolate
from lightsr.upscaler import Upscaler
from lightsr_train.degradation import rounded
from numpy.typing import NDArray

from lightsr_bench import networks
from lightsr_bench.networks import LightsrRunner, Network, NetworkError, Runner

logger = logging.getLogger(__name__)

LANCZOS = "lanczos"

BASELINE = "bicubic"
"""Method that the others are compared to."""

NOT_FINITE = "gives values that are not finite"

Method = Callable[[NDArray[Any]], NDArray[Any]]
"""Low-resolution stored values (h, w) to high-resolution ones of the same dtype."""


@dataclass(frozen=True)
class Failure:
    """Something that could not be measured.

    Parameters
    ----------
    method : str
        "" for an image that could not be read.
    path : str
        Image, relative to the folder that was measured; "" for a network that does not load.
    reason : str
    """

    method: str
    path: str
    reason: str

    def __str__(self) -> str:
        return ": ".join(filter(None, (self.method, self.path, self.reason)))


def by_method(failures: Iterable[Failure]) -> dict[str, str]:
    """First reason of every method that failed, and on how many images more it did.

    >>> by_method([Failure("a", "1.png", "too large"), Failure("a", "2.png", "too large")])
    {'a': '1.png: too large; and 1 more'}
    """
    found: dict[str, list[Failure]] = {}
    for failure in failures:
        if failure.method:
            found.setdefault(failure.method, []).append(failure)
    return {
        method: str(replace(first, method="")) + (f"; and {len(others)} more" if others else "")
        for method, (first, *others) in found.items()
    }


@dataclass(frozen=True)
class Selection:
    """Methods to measure.

    Parameters
    ----------
    methods : dict of callable
        By name; holds `BASELINE`.
    networks : tuple of Network
        Those among them, called as in `methods`.
    failures : tuple of Failure
        Networks that were asked for and cannot be measured.
    """

    methods: dict[str, Method]
    networks: tuple[Network, ...] = ()
    failures: tuple[Failure, ...] = ()


def select(models: Iterable[str], *, scale: int, threads: int) -> Selection:
    """Load networks, beside the interpolations.

    Parameters
    ----------
    models : iterable of str
        As for `networks.find`; by default all bundled at `scale`.
    scale : int
        Networks of another scale are left out where they come from a folder, and are
        failures where they were named.
    threads : int

    Raises
    ------
    NetworkError
        A model is unknown.
    """
    models = list(models) or sorted({model.name for model in bundled_models() if model.scale == scale})
    if not models:
        scales = ", ".join(f"x{known}" for known in sorted({model.scale for model in bundled_models()}))
        raise NetworkError(f"no model is bundled at x{scale}; there are some at {scales}; name .onnx or .pb files")
    named = {Path(model) for model in models}
    methods = interpolations(scale)
    loaded: list[Network] = []
    failures: list[Failure] = []
    others: list[str] = []
    for found in networks.find(models, scale=scale):
        network = replace(found, name=f"{found.name} (network)") if found.name in methods else found
        try:
            runner = networks.load(network.path, network.engine, threads=threads, arena=False)
            if runner.scale != scale:
                if network.path not in named:
                    others.append(network.name)
                    continue
                raise NetworkError(f"enlarges by {runner.scale}; --scale {scale} was asked for")
        except LightsrError as error:
            failures.append(Failure(network.name, "", reason(error, network.path)))
            logger.warning("failed: %s", failures[-1])
            continue
        methods[network.name] = network_method(runner)
        loaded.append(network)
    if others:
        logger.warning("left out, not x%d: %s", scale, ", ".join(others))
    return Selection(methods, tuple(loaded), tuple(failures))


def reason(error: LightsrError, path: Path) -> str:
    """Message of an error without the path of the file it is about.

    >>> reason(NetworkError("/home/me/a.onnx: cannot load /home/me/a.onnx"), Path("/home/me/a.onnx"))
    'cannot load a.onnx'
    """
    return str(error).removeprefix(f"{path}: ").replace(str(path), path.name)


def interpolations(scale: int) -> dict[str, Method]:
    """Nearest, bilinear, bicubic and, where OpenCV is there, Lanczos enlargement."""

    def method(kind: Interpolation) -> Method:
        return lambda low: rounded(interpolate(low, scale, kind), low.dtype)

    methods = {kind: method(kind) for kind in get_args(Interpolation)}
    try:
        import cv2
    except ImportError:
        logger.warning("without OpenCV there is no Lanczos interpolation; pip install opencv-contrib-python-headless")
        return methods

    def lanczos(low: NDArray[Any]) -> NDArray[Any]:
        rows, columns = low.shape
        size = (scale * columns, scale * rows)
        # OpenCV aligns the corners of pictures, not the centres of their first pixels: no shift.
        return rounded(cv2.resize(low.astype(np.float64), size, interpolation=cv2.INTER_LANCZOS4), low.dtype)

    return {**methods, LANCZOS: lanczos}


def network_method(runner: Runner) -> Method:
    """A loaded network as a method.

    lightsr models take stored values. Others were trained on values in [0, 1], and are
    seen at their best when a picture fills it: 8-bit pictures are divided by 255, others
    by their own maximum (after their minimum was subtracted if that is negative). A
    network of three channels gets the grey picture thrice and the mean of its channels counts.

    Parameters
    ----------
    runner : Runner

    Returns
    -------
    callable
        Raises `NetworkError` for a result of another shape or one that is not finite.
    """
    if isinstance(runner, LightsrRunner):
        return _lightsr_method(runner.upscaler)

    def enlarge(low: NDArray[Any]) -> NDArray[Any]:
        offset, span = 0.0, 255.0
        if low.dtype != np.uint8:
            offset = min(0.0, float(low.min()))
            span = float(low.max()) - offset or 1.0
        unit = ((low - offset) / span).astype(np.float32)
        result = runner.run(np.repeat(unit[None], runner.channels, axis=0))
        expected = (runner.scale * low.shape[0], runner.scale * low.shape[1])
        if result.shape[1:] != expected:
            raise NetworkError(f"gives shape {result.shape} for {(runner.channels, *low.shape)}")
        if not np.isfinite(result).all():
            raise NetworkError(NOT_FINITE)
        return rounded(result.mean(axis=0, dtype=np.float64) * span + offset, low.dtype)

    return enlarge


def _lightsr_method(upscaler: Upscaler) -> Method:
    def enlarge(low: NDArray[Any]) -> NDArray[Any]:
        try:
            with np.errstate(invalid="raise"):  # NaN has no integer
                return upscaler(low)
        except ModelError as error:
            raise NetworkError(str(error)) from error
        except FloatingPointError as error:
            raise NetworkError(NOT_FINITE) from error

    return enlarge
