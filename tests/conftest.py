"""Shared by all parts: real images, a small network, models made from it."""

import contextlib
import functools
import importlib
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, settings
from lightsr.cpus import available_cpus

os.environ["LIGHTSR_CACHE"] = ""  # every process of a test runs its self-tests, and leaves nothing at home

# How long a draw or a test takes says something about the machine, not about the code.
settings.register_profile("lightsr", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("lightsr")

for _name, _usual in (("SIGINT", signal.default_int_handler), ("SIGHUP", signal.SIG_DFL)):
    # Started by nohup, or in the background, we and what tests start would be deaf to these.
    if hasattr(signal, _name) and signal.getsignal(getattr(signal, _name)) == signal.SIG_IGN:
        signal.signal(getattr(signal, _name), _usual)

MOST_WORKERS = 8
"""Each takes half a GiB with PyTorch, and what tests measure is disturbed by many."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int | None:
    """As many as there are CPUs that we may use, which in a container are fewer than the machine has."""
    return None if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ else min(available_cpus(), MOST_WORKERS)


SAMPLES = Path(pydicom.__file__).parent / "data" / "test_files"


@pytest.fixture(scope="session", autouse=True)
def one_torch_thread() -> None:
    """Networks of a test's size gain nothing from threads, which wait for each other on a busy machine.

    Gradients are the same to the last bit only with as many threads: those of fixtures of a
    module, too, which come before those of a test.
    """
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def one_torch_thread_again(one_torch_thread: None) -> None:
    """After a test that has set another number."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def operators_read_once() -> Iterator[None]:
    """For each export PyTorch reads the sources of all operators it could translate, which takes a second."""
    with pytest.MonkeyPatch.context() as patch:
        if "lightsr_export.graph" in sys.modules:  # else importing PyTorch would take longer
            with contextlib.suppress(ImportError, AttributeError):  # a PyTorch that does it otherwise
                registry = importlib.import_module("torch.onnx._internal.exporter._registration").ONNXRegistry
                patch.setattr(registry, "from_torchlib", staticmethod(functools.cache(registry.from_torchlib)))
        yield


@pytest.fixture(scope="session")
def samples() -> Path:
    """Folder of the real images that come inside the pydicom wheel."""
    return SAMPLES


@pytest.fixture(scope="session")
def medical_data() -> Path:
    """Folder of real images in splits, named by LIGHTSR_DATA."""
    folder = Path(os.environ.get("LIGHTSR_DATA", "-"))
    if not (folder / "manifest.csv").is_file():
        pytest.skip("LIGHTSR_DATA does not name a folder with manifest.csv and its images")
    return folder


@pytest.fixture(scope="session")
def peers() -> Path:
    """Folder of published networks, named by LIGHTSR_PEERS."""
    folder = Path(os.environ.get("LIGHTSR_PEERS", "-"))
    if not (folder / "opencv").is_dir():
        pytest.skip("LIGHTSR_PEERS does not name a folder of published networks")
    return folder


@pytest.fixture
def picture() -> np.ndarray:
    """(45, 70) uint16 with edges, a ramp and grain."""
    random = np.random.default_rng(3)
    rows, columns = np.mgrid[:45, :70]
    shape = 900 * ((rows - 20) ** 2 + (columns - 30) ** 2 < 150) + 4 * columns + random.integers(0, 40, (45, 70))
    return (shape + 100).astype(np.uint16)
