"""Latency and memory of networks on this machine, each measured in fresh processes."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from lightsr.cpus import available_cpus

from lightsr_bench import limits as limiting
from lightsr_bench.limits import Limits
from lightsr_bench.networks import Engine, Network
from lightsr_bench.worker import Job, Result

FORMAT = 1
"""Version of what a row means; rows of different versions are not comparable."""

SIZES_PX = (128, 256, 512)
"""Sides of the square input pictures."""

TIMEOUT_S = 900.0
"""After which a process counts as failed."""

BUSY_CPUS = 0.1
"""CPUs' worth of other load above which a warning is due."""


@dataclass(frozen=True)
class Row:
    """One network in one engine at one size with one number of threads.

    Parameters
    ----------
    network : str
    engine : {"lightsr", "onnxruntime", "opencv"}
    size_px : int
        Side of the input.
    threads : int
    runs : int
        Over all rounds, first runs not counted.
    load_ms, first_ms : float
        Medians over the rounds.
    min_ms, p50_ms, p90_ms, p99_ms : float
        Percentiles over all runs.
    ms_per_mpx : float
        Median time for a million output pixels.
    spread : float
        Range of the rounds' medians, as a share of the median.
    cpu_ms : float
        CPU time for one picture, all threads.
    peak_mib : float
        Peak resident set of the process, largest round.
    added_mib : float
        Of it, what came after the imports.
    error : str
        Why there are no figures, else "".
    """

    network: str
    engine: Engine
    size_px: int
    threads: int
    runs: int = 0
    load_ms: float = 0.0
    first_ms: float = 0.0
    min_ms: float = 0.0
    p50_ms: float = 0.0
    p90_ms: float = 0.0
    p99_ms: float = 0.0
    ms_per_mpx: float = 0.0
    spread: float = 0.0
    cpu_ms: float = 0.0
    peak_mib: float = 0.0
    added_mib: float = 0.0
    error: str = ""


def thread_counts(wanted: Sequence[str], cpus: int) -> list[int]:
    """Numbers of threads that texts such as "1", "2", "all" stand for, no more than CPUs.

    >>> thread_counts(["1", "2", "all"], 4)
    [1, 2, 4]
    >>> thread_counts(["1", "2", "all"], 1)
    [1]
    """
    return sorted({min(cpus, cpus if text == "all" else int(text)) for text in wanted})


def measure(
    networks: Sequence[tuple[Network, int]],
    *,
    sizes_px: Sequence[int] = SIZES_PX,
    threads: Sequence[int] = (1,),
    rounds: int = 3,
    seconds: float = 1.0,
    limits: Limits | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Iterator[Row]:
    """Measure networks, in turns, so that a machine that slows down does it to all alike.

    Parameters
    ----------
    networks : sequence of (Network, int)
        And the scale of each. A lightsr model gives two rows: as the other networks, in a
        plain session, and in lightsr's own runtime with its tiles.
    sizes_px : sequence of int
    threads : sequence of int
    rounds : int
        Processes of each network at each size and number of threads.
    seconds : float
        Least duration of a round.
    limits : Limits, optional
    progress : callable
        Told what is being measured.

    Yields
    ------
    Row

    Raises
    ------
    KeyboardInterrupt
        After the rows that could still be made of what had been measured.
    """
    limits = limits or Limits()
    plan: list[tuple[Network, Engine, int]] = []
    for network, scale in networks:
        engines: list[Engine] = ["onnxruntime", "lightsr"] if network.engine == "lightsr" else [network.engine]
        plan += [(network, engine, scale) for engine in engines]
    for size_px in sizes_px:
        for count in threads:
            found: list[list[Result | str]] = [[] for _ in plan]
            stopped = False
            try:
                for turn in range(rounds):
                    for i, (network, engine, _) in enumerate(plan):
                        if any(isinstance(result, str) for result in found[i]):
                            continue  # what failed once fails again
                        label = f"{size_px} px, {count} threads, round {turn + 1} of {rounds}: {network.name}, {engine}"
                        progress(label)
                        job = Job(str(network.path), engine, size_px, count, seconds, limits.cpus)
                        found[i].append(run(job, limits))
            except KeyboardInterrupt:
                stopped = True
            for (network, engine, scale), results in zip(plan, found, strict=True):
                if results:
                    yield _row(network, engine, scale, size_px, count, results)
            if stopped:
                raise KeyboardInterrupt


def run(job: Job, limits: Limits | None = None) -> Result | str:
    """Result of a job in a fresh process, or why there is none."""
    limits = limits or Limits()
    with limiting.memory_group(limits) as join:
        command = [sys.executable, "-P", "-m", "lightsr_bench.worker"]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True)
        try:
            if join:
                join(process.pid)
            out, err = process.communicate(json.dumps(asdict(job)) + "\n", timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            return f"not done after {TIMEOUT_S:.0f} s"
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    result = _result(process.returncode, out, err, limits)
    if isinstance(result, Result) and limits.memory_bytes and result.peak_mib > limits.memory_bytes / 2**20:
        return f"needs {result.peak_mib:.0f} MiB; {limits.label}"
    return result


def _result(status: int, out: str, err: str, limits: Limits) -> Result | str:
    if status == 0 and out.strip():
        found: dict[str, Any] = json.loads(out.splitlines()[-1])
        return str(found["error"]) if "error" in found else Result(**found)
    if status == -9 and limits.memory_bytes:
        return f"killed: out of memory; {limits.label}"
    last = err.strip().splitlines()[-1:] or ["no message"]
    return f"ended with status {status}: {last[0][:160]}"


def _row(
    network: Network, engine: Engine, scale: int, size_px: int, threads: int, results: Sequence[Result | str]
) -> Row:
    good = [result for result in results if isinstance(result, Result)]
    failed = [result for result in results if isinstance(result, str)]
    if failed:
        return Row(network.name, engine, size_px, threads, error=failed[0])
    times = np.concatenate([result.run_ms for result in good])
    low, middle, high, highest = (float(value) for value in np.percentile(times, (0, 50, 90, 99)))
    medians = [float(np.median(result.run_ms)) for result in good]
    return Row(
        network.name,
        engine,
        size_px,
        threads,
        runs=times.size,
        load_ms=float(np.median([result.load_ms for result in good])),
        first_ms=float(np.median([result.first_ms for result in good])),
        min_ms=low,
        p50_ms=middle,
        p90_ms=high,
        p99_ms=highest,
        ms_per_mpx=middle / ((size_px * scale) ** 2 / 1e6),
        spread=(max(medians) - min(medians)) / middle,
        cpu_ms=1000 * sum(result.cpu_s for result in good) / times.size,
        peak_mib=max(result.peak_mib for result in good),
        added_mib=max(result.peak_mib - result.imported_mib for result in good),
    )


class Bystanders:
    """How many CPUs' worth of work everybody else does meanwhile."""

    def __init__(self) -> None:
        self._began = self._now()

    @staticmethod
    def _now() -> tuple[float, float]:
        import psutil  # what only reads results does without it

        every = psutil.cpu_times()
        own = os.times()
        busy = sum(every) - every.idle - getattr(every, "iowait", 0.0) - getattr(every, "guest", 0.0)
        return time.monotonic(), busy - own.user - own.system - own.children_user - own.children_system

    def cpus(self) -> float:
        """Mean since the start."""
        began, then = self._began
        now, busy = self._now()
        return max(0.0, (busy - then) / max(now - began, 1e-9))


def busy_warning(other_load_cpus: float) -> str:
    """A line to warn with, or "" where the others left the machine alone."""
    if other_load_cpus <= BUSY_CPUS:
        return ""
    return (
        f"the machine was busy: other programs used {other_load_cpus:.2f} CPUs meanwhile; "
        "compare ratios of this run, not milliseconds"
    )


def cpus_under(limits: Limits) -> int:
    """CPUs that a measured process may use."""
    return min(available_cpus(), limits.cpus or available_cpus())
