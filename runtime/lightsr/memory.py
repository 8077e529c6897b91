"""How much memory this process uses, and how much there is for it."""

import contextlib
import os
import sys
from pathlib import Path

from lightsr import cgroups
from lightsr.processor import SYSTEM, file_text

UNLIMITED = 2**60
"""Bytes from which on a limit is none: version 1 of control groups writes one near 2**63."""

PARENT_BYTES = 36 * 2**20
"""Of a command with several jobs, what the process takes that hands files out."""


def peak_mib() -> float:
    """Peak resident set of this process since it started, MiB; 0 where the system does not tell.

    On Linux the kernel's own high-water mark: getrusage's figure is inherited from the
    process that started this one.
    """
    peak = _of_status("VmHWM")
    if peak:
        return peak
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    usage = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(usage) / (2**20 if sys.platform == "darwin" else 1024)


def now_mib() -> float:
    """Resident set of this process at this moment, MiB; 0 where the system does not tell."""
    return _of_status("VmRSS")


def _of_status(name: str) -> float:
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith(f"{name}:"):
                return int(line.split()[1]) / 1024
    except (OSError, ValueError):
        pass
    return 0.0


def available_bytes(system: Path = SYSTEM) -> int | None:
    """Memory that this process could still have without taking it from others, bytes; None where nothing tells.

    The smallest of what the system has available (MemAvailable, which counts caches that can be
    given up) and of what the memory limits of its control group and of those above it leave
    (`docker run --memory`, a Kubernetes limit, systemd's MemoryMax and MemoryHigh). Without Linux, the
    machine's whole memory.

    Parameters
    ----------
    system : Path
        Root below which /proc and /sys are found.
    """
    found = [left for version, folder in cgroups.folders("memory", system) for left in _left_in(version, folder)]
    for line in file_text(system / "proc/meminfo").splitlines():
        if line.startswith("MemAvailable:"):
            found.append(1024 * int(line.split()[1]))
    if not found and hasattr(os, "sysconf"):
        with contextlib.suppress(OSError, ValueError):
            found.append(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"))
    return max(0, min(found)) if found else None


def _left_in(version: int, folder: Path) -> list[int]:
    """What the limits of a group leave, files that it has cached and could drop counted as free."""
    limits, used = ["memory.max", "memory.high"], "memory.current"
    if version == 1:
        limits, used = ["memory.limit_in_bytes"], "memory.usage_in_bytes"
    stated = [int(text) for name in limits if (text := file_text(folder / name).strip()).isdecimal()]
    stated = [limit for limit in stated if limit < UNLIMITED]
    if not stated:
        return []
    now = file_text(folder / used).strip()
    statistics = dict(line.split() for line in file_text(folder / "memory.stat").splitlines() if line.count(" ") == 1)
    # Of version 1 the figures with those of the groups below, as the usage has them.
    cached = statistics.get("total_inactive_file", statistics.get("inactive_file", "0"))
    return [min(stated) - (int(now) if now.isdecimal() else 0) + (int(cached) if cached.isdecimal() else 0)]
