"""Tests with one line broken, in a process of their own.

A package takes seconds to import that a test of one line does not need: third-party ones are imported once, and
every trial is a fork of that. None of ours may be among them.
"""

import contextlib
import functools
import importlib
import logging
import os
import signal
import sys
import tempfile
import warnings
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree
from typing import Literal, NoReturn

import pytest

from tests.mutation.breaks import CHECKOUT, Break

PARTS = ("runtime", "train", "export", "benchmarks")
"""Folders that hold a package each."""

LIBRARIES = ("hypothesis", "nibabel", "numpy", "onnxruntime", "PIL.Image", "pydicom", "pydicom.pixels")

OPTIONS = ("-q", "-x", "-p", "no:cacheprovider", "-p", "tests.mutation.unshrunk", "--hypothesis-profile", "unshrunk")

SECONDS = 120
"""Of a processor, after which a trial is given up; ten times as many may pass on a busy machine."""

Outcome = Literal["noticed", "survived", "failed"]


@dataclass(frozen=True)
class Trial:
    """What became of a line.

    Parameters
    ----------
    line : Break or None
        None where nothing was broken.
    outcome : {"noticed", "survived", "failed"}
        A test failed; all passed; or they could not be run at all.
    seconds : float
        Of a processor.
    said : str
        By pytest.
    """

    line: Break | None
    outcome: Outcome
    seconds: float
    said: str


def trials(asked: Iterable[tuple[Break | None, Iterable[str]]], jobs: int) -> Iterator[Trial]:
    """Run tests with a line broken, or with none, some at a time; what was done first comes first.

    Parameters
    ----------
    asked : iterable of (Break or None, iterable of str)
        What is broken, and which tests run then.
    jobs : int
        Trials at a time.
    """
    waiting = deque((line, tuple(tests)) for line, tests in asked)
    for name in LIBRARIES:
        importlib.import_module(name)
    if any(test.startswith("tests/export") for _, tests in waiting for test in tests):
        _export_something()
    ours = sorted(name for name in sys.modules if name.startswith("lightsr"))
    assert not ours, f"imported before anything is broken: {', '.join(ours)}"
    running: dict[int, tuple[Break | None, contextlib.ExitStack, Path]] = {}
    while waiting or running:
        while waiting and len(running) < jobs:
            line, tests = waiting.popleft()
            stack = contextlib.ExitStack()
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="lightsr-mutation-")))
            child = os.fork()
            if not child:
                _run(line, tests, folder)
            running[child] = line, stack, folder
        child, status, used = os.wait4(-1, 0)
        line, stack, folder = running.pop(child)
        with stack:
            said = (folder / "said").read_text(encoding="utf-8", errors="replace")
        yield Trial(line, _outcome(os.waitstatus_to_exitcode(status)), used.ru_utime + used.ru_stime, said)


@functools.cache
def _export_something() -> None:
    """Have what the first export of a process imports and prepares. One thread: others would be missing in a fork."""
    import torch

    torch.set_num_threads(1)
    importlib.import_module("onnxsim")
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(torch.nn.Conv2d(1, 1, 3).eval(), (torch.zeros(1, 1, 8, 8),), dynamo=True, verbose=False)


def _outcome(code: int) -> Outcome:
    if code == pytest.ExitCode.OK:
        return "survived"
    return "noticed" if code == pytest.ExitCode.TESTS_FAILED else "failed"


def _run(line: Break | None, tests: tuple[str, ...], folder: Path) -> NoReturn:
    """Be a trial. Processes that the tests start find the broken line as well."""
    code = -1
    try:
        signal.setitimer(signal.ITIMER_PROF, SECONDS)
        signal.alarm(10 * SECONDS)
        with (folder / "said").open("wb") as said:
            os.dup2(said.fileno(), 1)
            os.dup2(said.fileno(), 2)
        paths = [str(CHECKOUT / part) for part in PARTS]
        if line is not None:
            paths.insert(0, str(overlaid(folder, line)))
        sys.path[:0] = paths
        os.environ["PYTHONPATH"] = os.pathsep.join(paths)
        os.environ["HYPOTHESIS_STORAGE_DIRECTORY"] = str(folder)
        os.chdir(CHECKOUT)
        code = pytest.main([*OPTIONS, *tests])
        sys.stdout.flush()
        sys.stderr.flush()
    finally:
        os._exit(code & 0xFF)


def overlaid(folder: Path, line: Break) -> Path:
    """A part's folder with the line broken, everything else by links; what is found first counts."""
    part, package, *inner = Path(line.module).parts
    target = folder / part / package
    copytree(CHECKOUT / part / package, target, copy_function=os.symlink)
    module = target.joinpath(*inner)
    for compiled in module.parent.glob(f"__pycache__/{module.stem}.*"):
        compiled.unlink()
    module.unlink()
    module.write_text(line.source(), encoding="utf-8")
    return folder / part
