"""How much memory this process has used."""

import sys
from pathlib import Path


def peak_mib() -> float:
    """Peak resident set of this process since it started, MiB; 0 where the system does not tell.

    On Linux the kernel's own high-water mark: getrusage's figure is inherited from the
    process that started this one.
    """
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except (OSError, ValueError):
        pass
    try:
        import resource
    except ImportError:  # Windows
        return 0.0
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return float(peak) / (2**20 if sys.platform == "darwin" else 1024)
