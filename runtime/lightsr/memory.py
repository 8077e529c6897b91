"""How much memory this process uses."""

import sys
from pathlib import Path


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
