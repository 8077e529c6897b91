"""One measurement in a process of its own: `python -m lightsr_bench.worker`, a job in, a result out.

Both are one JSON object, on standard input and output. Nothing is imported before the
job has come, so that the caller can put limits on this process first, and nothing but
what the network's engine needs, so that the memory is the network's.
"""

import json
import os
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

MAX_RUNS = 2000
"""Runs after which a round ends, however short they are."""

MIN_RUNS = 3
"""Runs that a round has at least, however long they take."""

SEED = 0


@dataclass(frozen=True)
class Job:
    """What to measure.

    Parameters
    ----------
    path : str
    engine : {"lightsr", "onnxruntime", "opencv"}
    size_px : int
        Side of the square picture.
    threads : int
    seconds : float
        Least duration of the measurement.
    cpus : int or None
        Use only that many of the CPUs, to imitate a smaller machine.
    """

    path: str
    engine: str
    size_px: int
    threads: int
    seconds: float
    cpus: int | None = None


@dataclass(frozen=True)
class Result:
    """What was found.

    Parameters
    ----------
    load_ms : float
        Reading and loading the file, the engine's own import not counted; for "lightsr"
        with the self-test.
    first_ms : float
        First run, in which memory is taken.
    run_ms : list of float
        Every later run.
    cpu_s : float
        CPU seconds of all threads in those runs.
    imported_mib : float
        Resident set after the imports, before the file was read.
    peak_mib : float
        Largest resident set up to the end.
    """

    load_ms: float
    first_ms: float
    run_ms: list[float]
    cpu_s: float
    imported_mib: float
    peak_mib: float


def measure(job: Job) -> Result:
    """Load and run a network in this process.

    Raises
    ------
    lightsr.LightsrError
        It does not load or run.
    """
    if job.cpus and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: job.cpus])
    if job.engine == "opencv":
        os.environ.setdefault("OPENCV_LOG_LEVEL", "OFF")
        import cv2  # noqa: F401
    else:
        import onnxruntime  # noqa: F401
    import numpy as np
    from lightsr import memory

    from lightsr_bench import networks

    imported_mib = memory.now_mib()
    start = time.perf_counter()
    runner = networks.load(Path(job.path), job.engine, threads=job.threads)  # type: ignore[arg-type]
    load_ms = 1000 * (time.perf_counter() - start)
    random = np.random.default_rng(SEED)
    picture = random.random((runner.channels, job.size_px, job.size_px), dtype=np.float32)
    start = time.perf_counter()
    runner.run(picture)
    first_ms = 1000 * (time.perf_counter() - start)
    run_ms: list[float] = []
    cpu_start, began = time.process_time(), time.perf_counter()
    while len(run_ms) < MAX_RUNS:
        start = time.perf_counter()
        if len(run_ms) >= MIN_RUNS and start - began >= job.seconds:
            break
        runner.run(picture)
        run_ms.append(1000 * (time.perf_counter() - start))
    cpu_s = time.process_time() - cpu_start
    return Result(load_ms, first_ms, run_ms, cpu_s, imported_mib, memory.peak_mib())


def main() -> int:
    """Measure the job on standard input."""
    from lightsr.errors import LightsrError

    job = Job(**json.loads(sys.stdin.readline()))
    result: dict[str, Any]
    try:
        result = asdict(measure(job))
    except (LightsrError, MemoryError) as error:
        result = {"error": str(error) or "out of memory"}
    sys.stdout.write(json.dumps(result) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
