"""Temporary files: held while a process writes them, and removed when it was killed.

A result is written under a temporary name and takes its own when it is complete. A process
that is killed leaves the temporary file, which nobody else may remove while its writer lives.
The writer therefore holds a lock (flock) on it, which the system lets go of with the process,
however that ended. Names of processes would not do: a container counts its own.
"""

import contextlib
import functools
import hashlib
import os
import platform
import secrets
import stat
import time
from collections.abc import Iterable
from pathlib import Path

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed anyway
    fcntl = None  # type: ignore[assignment]

TEMPORARY_PREFIX = ".lightsr-"
"""Start of the names of files that are still being written, and of temporary ones where these need a name."""

FOREIGN_SECONDS = 24 * 3600
"""Age at which a file of another machine is taken for a stray: a lock on shared storage may not reach us."""


def name(folder: Path) -> Path:
    """A name for a temporary file, which nobody else has or will have."""
    return folder / f"{TEMPORARY_PREFIX}{machine()}-{secrets.token_hex(8)}"


def create(path: Path, permissions: int) -> tuple[int, int]:
    """Create and hold a temporary file.

    Parameters
    ----------
    path : Path
        Of `name`; whoever asked for it removes it, however this ends.
    permissions : int
        Less what the user's mask takes away.

    Returns
    -------
    descriptor : int
        To write to and close.
    held : int
        To close when the file has its own name, or is removed.

    Raises
    ------
    OSError
    """
    flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0)
    while True:
        descriptor = os.open(path, flags, permissions)
        if fcntl is None:  # where an open file can be neither renamed nor removed
            return descriptor, -1
        held = os.dup(descriptor)  # the same open file, whose lock goes with the last of them
        lock(held)
        if os.path.lexists(path):
            return descriptor, held
        os.close(descriptor)  # swept away before it could be locked
        os.close(held)


def remove(folders: Iterable[Path]) -> int:
    """Remove the temporary files that killed processes left in these folders.

    Parameters
    ----------
    folders : iterable of Path
        Not looked into deeply; those that are not there are passed over.

    Returns
    -------
    int
        How many were removed.
    """
    removed = 0
    for folder in folders:
        with contextlib.suppress(OSError):  # not there, or not readable: then nothing is written there either
            for name in [name for name in os.listdir(folder) if name.startswith(TEMPORARY_PREFIX)]:  # noqa: PTH208
                removed += _remove(folder / name)
    return removed


def _remove(path: Path) -> bool:
    """Whether `path` was a stray and is gone."""
    flags = os.O_WRONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    with contextlib.suppress(OSError):
        descriptor = os.open(path, flags)
        try:
            state = os.fstat(descriptor)
            ours = path.name.startswith(f"{TEMPORARY_PREFIX}{machine()}-")
            if not stat.S_ISREG(state.st_mode) or not (ours or time.time() - state.st_mtime > FOREIGN_SECONDS):
                return False
            if fcntl is not None and not lock(descriptor, wait=False):
                return False
            if fcntl is not None:
                path.unlink()
                return True
        finally:
            os.close(descriptor)
        path.unlink()
        return True
    return False


def lock(descriptor: int, *, wait: bool = True) -> bool | None:
    """Lock an open file or folder until it is closed.

    Parameters
    ----------
    descriptor : int
    wait : bool
        For the process that has the lock.

    Returns
    -------
    bool or None
        False if another process has it, and `wait` is not set; None where there are no such locks.
    """
    if fcntl is None:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


@functools.cache
def machine() -> str:
    """Eight letters that stand for this machine since it was started, the same in all of its containers."""
    try:
        name = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        name = platform.node()
    return hashlib.sha256(name.encode()).hexdigest()[:8]
