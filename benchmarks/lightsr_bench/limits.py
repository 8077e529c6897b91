"""Less memory and fewer CPUs than the machine has, to imitate a smaller one."""

import contextlib
import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from lightsr.errors import LightsrError

UNITS = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}

CGROUPS = Path("/sys/fs/cgroup")


class LimitError(LightsrError):
    """A limit that cannot be read."""


@dataclass(frozen=True)
class Limits:
    """What a measured process may use.

    Parameters
    ----------
    memory_bytes : int or None
    cpus : int or None
    """

    memory_bytes: int | None = None
    cpus: int | None = None

    @property
    def label(self) -> str:
        """How tables call it; "" where nothing is limited."""
        parts = [f"{self.memory_bytes / 2**20:.0f} MiB"] if self.memory_bytes else []
        parts += [f"{self.cpus} CPU" + ("s" if self.cpus > 1 else "")] if self.cpus else []
        return f"limited to {' and '.join(parts)}" if parts else ""


def parse(text: str) -> Limits:
    """Limits of a text such as "memory=256M,cpus=1".

    Raises
    ------
    LimitError
        Anything else than these two, or not above 0.

    >>> parse("memory=256M,cpus=1").label
    'limited to 256 MiB and 1 CPU'
    """
    memory_bytes, cpus = None, None
    for part in text.split(","):
        name, _, value = part.strip().partition("=")
        size = re.fullmatch(r"(\d+)([KMG]?)(iB|B)?", value)
        if name == "memory" and size and int(size[1]):
            memory_bytes = int(size[1]) * UNITS[size[2]]
        elif name == "cpus" and value.isdigit() and int(value):
            cpus = int(value)
        else:
            raise LimitError(f"limit '{part.strip()}': memory=SIZE (such as 256M) and cpus=N, above 0, are allowed")
    return Limits(memory_bytes, cpus)


@contextlib.contextmanager
def memory_group(limits: Limits) -> Iterator[Callable[[int], None] | None]:
    """A control group with the memory limit, while the context lasts.

    Yields
    ------
    callable or None
        Puts the process of a number into the group. None where nothing is to be limited,
        or where this user may make no group: then a result's peak is all that tells.
    """
    if not limits.memory_bytes:
        yield None
        return
    group = _new_group(limits.memory_bytes)
    try:
        yield None if group is None else lambda pid: _write(group / "cgroup.procs", str(pid))
    finally:
        if group is not None:
            with contextlib.suppress(OSError):
                group.rmdir()


def _new_group(memory_bytes: int) -> Path | None:
    """Make a group below the process's own (version 1) or beside it (version 2)."""
    try:
        lines = Path("/proc/self/cgroup").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    homes = {controllers: path.lstrip("/") for _, controllers, path in (line.split(":", 2) for line in lines)}
    name = f"lightsr-bench-{os.getpid()}"
    if "memory" in homes:
        group, setting = CGROUPS / "memory" / homes["memory"] / name, "memory.limit_in_bytes"
        swap = "memory.memsw.limit_in_bytes"
    else:
        group, setting = (CGROUPS / homes.get("", "")).parent / name, "memory.max"
        swap = "memory.swap.max"
    try:
        group.mkdir()
    except OSError:
        return None
    try:
        _write(group / setting, str(memory_bytes))
    except OSError:
        group.rmdir()
        return None
    with contextlib.suppress(OSError):  # not every kernel accounts for swap
        _write(group / swap, str(memory_bytes) if swap.startswith("memory.memsw") else "0")
    return group


def _write(path: Path, text: str) -> None:
    path.write_text(text, encoding="ascii")
