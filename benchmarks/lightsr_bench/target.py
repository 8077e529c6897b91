"""The machine that is measured: what decides how fast and how large a network runs on it."""

import os
import platform
import sys
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path

from lightsr import __version__, processor
from lightsr.cpus import available_cpus
from lightsr.processor import SYSTEM, Processor, file_text


@dataclass(frozen=True)
class Target:
    """A machine, without anything that tells whose it is.

    Parameters
    ----------
    cpu : str
        Model name.
    board : str
        As a device tree names it; "" on other machines.
    architecture : str
    cores : int
        Physical ones; 0 where the system does not tell.
    cpus : int
        Logical ones that the process may use.
    caches : dict of str
        Size of each level as the first core sees it.
    features : tuple of str
    governor : str
        Frequency governor; "" where the system does not tell.
    memory_mib, available_mib : float
        Of the machine, when it was looked at.
    memory_limit_mib : float or None
        Lowest limit of the control groups that the process is in.
    cpu_limit : float or None
        CPUs' worth of time that they allow.
    system : str
    python, onnxruntime, opencv, lightsr : str
        Versions; "" where not installed.
    limited : str
        What a run took away to imitate a smaller machine.
    """

    cpu: str
    board: str
    architecture: str
    cores: int
    cpus: int
    caches: dict[str, str]
    features: tuple[str, ...]
    governor: str
    memory_mib: float
    available_mib: float
    memory_limit_mib: float | None
    cpu_limit: float | None
    system: str
    python: str
    onnxruntime: str
    opencv: str
    lightsr: str
    limited: str = ""

    @property
    def label(self) -> str:
        """One line for tables."""
        cpu = Processor(self.cpu, self.board, self.architecture, self.features)
        cpus = f"{self.cpus} CPU" + ("s" if self.cpus > 1 else "")
        return ", ".join(filter(None, (cpu.name, cpus, cpu.telling_feature, self.limited)))


def describe(*, limited: str = "", system: Path = SYSTEM) -> Target:
    """Look at this machine.

    Parameters
    ----------
    limited : str
        What the run takes away, for the record.
    system : Path
        Root below which /proc and /sys are found.

    Returns
    -------
    Target
    """
    import psutil  # what only reads results does without it

    found = processor.describe(system=system)
    memory = psutil.virtual_memory()
    return Target(
        cpu=found.cpu,
        board=found.board,
        architecture=found.architecture,
        cores=psutil.cpu_count(logical=False) or 0,
        cpus=available_cpus(),
        caches=_caches(system / "sys/devices/system/cpu/cpu0/cache"),
        features=found.features,
        governor=file_text(system / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").strip(),
        memory_mib=round(memory.total / 2**20),
        available_mib=round(memory.available / 2**20),
        memory_limit_mib=_memory_limit_mib(system),
        cpu_limit=_cpu_limit(system),
        system=_system_name(system),
        python=platform.python_version(),
        onnxruntime=_version("onnxruntime"),
        opencv=next(filter(None, map(_version, ("opencv-contrib-python-headless", "opencv-contrib-python"))), ""),
        lightsr=__version__,
        limited=limited,
    )


def _caches(folder: Path) -> dict[str, str]:
    caches = {}
    for index in sorted(folder.glob("index*")):
        kind = {"Data": "d", "Instruction": "i"}.get(file_text(index / "type").strip(), "")
        caches[f"L{file_text(index / 'level').strip()}{kind}"] = file_text(index / "size").strip()
    return caches


def _groups(system: Path) -> dict[str, str]:
    """Controllers of /proc/self/cgroup ("" for version 2) and the group the process is in."""
    groups: dict[str, str] = {}
    for line in file_text(system / "proc/self/cgroup").splitlines():
        _, controllers, path = line.split(":", 2)
        groups |= dict.fromkeys(controllers.split(","), path)
    return groups


def _settings(system: Path, controller: str, version_2: str, version_1: str) -> list[str]:
    """Values of a setting in the process's group and all above it."""
    groups, root = _groups(system), system / "sys/fs/cgroup"
    if controller in groups:
        home, path, name = root / controller, groups[controller], version_1
    else:
        home, path, name = root, groups.get("", "/"), version_2
    places = [Path(path.lstrip("/")), *Path(path.lstrip("/")).parents]
    return [value for place in places if (value := file_text(home / place / name).strip())]


def _memory_limit_mib(system: Path) -> float | None:
    values = _settings(system, "memory", "memory.max", "memory.limit_in_bytes")
    limits = [int(value) for value in values if value.isdigit() and int(value) < 2**60]  # version 1 has no "max"
    return round(min(limits) / 2**20) if limits else None


def _cpu_limit(system: Path) -> float | None:
    limits = []
    for value in _settings(system, "cpu", "cpu.max", "cpu.cfs_quota_us"):
        quota, _, period = value.partition(" ")
        if quota.isdigit():  # "max", or -1 in version 1: no limit
            limits.append(int(quota) / int(period or 100_000))
    return min(limits) if limits else None


def _system_name(system: Path) -> str:
    release = dict(line.split("=", 1) for line in file_text(system / "etc/os-release").splitlines() if "=" in line)
    name = release.get("PRETTY_NAME", "").strip('"') if sys.platform == "linux" else platform.platform()
    return f"{name or 'Linux'}, kernel {os.uname().release.split('-')[0]}" if sys.platform == "linux" else name


def _version(distribution: str) -> str:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""
