"""How many CPUs this process may use: affinity and the quota of its control group."""

import os
from pathlib import Path

from lightsr import cgroups
from lightsr.processor import SYSTEM, file_text


def available_cpus(*, system: Path = SYSTEM) -> int:
    """CPUs that this process may use, at least 1.

    The smaller of what its affinity allows and what the quotas of its control group and of
    those above it leave (`docker run --cpus`, a Kubernetes limit, systemd's CPUQuota); a part of
    a CPU does not count. More threads than that are stopped in turns, and wait for each other.

    Parameters
    ----------
    system : Path
        Root below which /proc and /sys are found.
    """
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    else:
        allowed = os.cpu_count() or 1
    quota = cgroup_quota(system)
    return allowed if quota is None else max(1, min(allowed, int(quota)))


def cgroup_quota(system: Path = SYSTEM) -> float | None:
    """CPUs that the control group of this process may use, None without a limit (or without Linux).

    Both hierarchies are read: `cpu.max` of version 2, `cpu.cfs_quota_us` of version 1.
    """
    read = {1: _quota_1, 2: _quota_2}
    limits = [quota for version, folder in cgroups.folders("cpu", system) for quota in read[version](folder)]
    return min(limits, default=None)


def _quota_2(folder: Path) -> list[float]:
    """`cpu.max`: "QUOTA PERIOD" in microseconds, or "max PERIOD"."""
    quota, _, period = file_text(folder / "cpu.max").strip().partition(" ")
    return [int(quota) / int(period)] if quota.isdecimal() and period.isdecimal() and int(period) else []


def _quota_1(folder: Path) -> list[float]:
    """`cpu.cfs_quota_us`, -1 without a limit, of every `cpu.cfs_period_us`."""
    quota, period = (file_text(folder / f"cpu.cfs_{name}_us").strip() for name in ("quota", "period"))
    return [int(quota) / int(period)] if quota.isdecimal() and period.isdecimal() and int(period) else []
