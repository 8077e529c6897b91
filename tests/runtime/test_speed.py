"""Ratios of times, each pair measured in turns in one run; on a quiet machine only: `make test-slow`."""

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import lightsr
import numpy as np
import pytest
from lightsr.model import Model, find
from lightsr.tiling import TilePlan

from . import large_files
from .measured import run

pytestmark = pytest.mark.slow

# pydicom imports every decoder that it finds, and GDCM takes time; a device has none.
START = "import sys; sys.modules['gdcm'] = None\n"

BARE = f"""{START}
import numpy, onnxruntime, pydicom
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = options.inter_op_num_threads = 1
session = onnxruntime.InferenceSession(sys.argv[1], options, providers=["CPUExecutionProvider"])
for tile in numpy.load(sys.argv[2]):
    session.run(None, {{"lr": tile[None, None]}})
"""

COMMAND = f"{START}from lightsr.cli import main; sys.exit(main())"


def ratio(first: Callable[[], float], second: Callable[[], float], rounds: int) -> float:
    """How many times as long the first takes: of minima, which a busy moment cannot make smaller."""
    pairs = [(first(), second()) for _ in range(rounds)]
    minima, medians = ([pick(side) for side in zip(*pairs, strict=True)] for pick in (min, statistics.median))
    print(f"ratio of minima {minima[0] / minima[1]:.3f}, of medians {medians[0] / medians[1]:.3f}; seconds {minima}")
    return minima[0] / minima[1]


def seconds_of(command: list[str]) -> Callable[[], float]:
    def seconds() -> float:
        started = time.perf_counter()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        return time.perf_counter() - started

    return seconds


def test_a_slice_beside_bare_onnxruntime(tmp_path: Path) -> None:
    """The whole command, from a cold start, beside its imports, its session and its tiles alone."""
    source = large_files.write(tmp_path / "a.dcm", 512, 512)
    pixels = np.frombuffer(b"".join(large_files.bands(512, 512)), "<u2").reshape(512, 512)
    model = find("tiny")
    card = Model.open(model, threads=1).card
    plan = TilePlan.for_picture((512, 512), tile=256, halo=card.halo_px, alignment=card.alignment_px)
    np.save(tmp_path / "tiles.npy", [plan.read(pixels, tile) / np.float32(4095) for tile in plan])
    path = Path(lightsr.__file__).parent / "models" / "tiny-x2-int8.onnx"
    bare = [sys.executable, "-c", BARE, str(path), str(tmp_path / "tiles.npy")]
    whole = [sys.executable, "-c", COMMAND, str(source), str(tmp_path / "b.dcm"), "--force", "--threads", "1"]
    whole += ["--model", "tiny"]
    assert ratio(seconds_of(whole), seconds_of(bare), 15) <= 1.35


def test_the_help_beside_argparse() -> None:
    shown = [sys.executable, "-c", "from lightsr.cli import main; main(['--help'])"]
    assert ratio(seconds_of(shown), seconds_of([sys.executable, "-c", "import argparse"]), 15) < 2


MISSED = pytest.mark.xfail(
    strict=False, reason="not reached on the machine that we have: docs/runtime.md has the figures"
)


@pytest.mark.parametrize("precision", ["int8", pytest.param("fp32", marks=MISSED)])
def test_tiles_beside_a_whole_picture(precision: str) -> None:
    upscaler = lightsr.load("tiny", precision=precision, threads=1)  # type: ignore[arg-type]
    picture = np.frombuffer(b"".join(large_files.bands(2048, 2048)), "<u2").reshape(2048, 2048)
    whole = picture.astype(np.float32)[None, None] / np.float32(4095)

    def seconds(work: Callable[[], object]) -> Callable[[], float]:
        def measured() -> float:
            started = time.perf_counter()
            work()
            return time.perf_counter() - started

        return measured

    plan = upscaler.plan(picture.shape, picture.dtype)
    print(f"halo: {np.prod(plan.read_shape) / (plan.core_rows * plan.core_columns):.3f} pixels computed for each kept")
    assert ratio(seconds(lambda: upscaler(picture)), seconds(lambda: upscaler.model.run(whole)), 5) <= 1.1


MEMORY = """
import sys
import numpy as np, lightsr
from lightsr.memory import peak_mib
rows = (np.arange(2048 * 2048, dtype=np.uint32).reshape(2048, 2048) * 7 % 4001).astype(np.uint16)
upscaler = lightsr.load("tiny", threads=1)
if sys.argv[1] == "whole":
    upscaler.model.run(rows.astype(np.float32)[None, None])
else:
    upscaler(rows)
print(peak_mib())
"""


def test_tiles_take_a_quarter_of_the_memory() -> None:
    tiles, whole = (float(run([sys.executable, "-c", MEMORY, how], timeout=300).out) for how in ("tiles", "whole"))
    print(f"peak {tiles:.0f} MiB in tiles, {whole:.0f} MiB as a whole")
    assert tiles <= whole / 4


@MISSED
@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one CPU")
def test_two_threads_beside_one() -> None:
    picture = np.frombuffer(b"".join(large_files.bands(1024, 1024)), "<u2").reshape(1024, 1024)
    one, two = (lightsr.load("base", threads=threads) for threads in (1, 2))

    def seconds(upscaler: lightsr.Upscaler) -> float:
        started = time.perf_counter()
        upscaler(picture)
        return time.perf_counter() - started

    assert ratio(lambda: seconds(one), lambda: seconds(two), 7) >= 1.7
