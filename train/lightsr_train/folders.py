"""Folders that one process at a time works in.

Two runs that wrote into one folder would overwrite each other's networks and pictures.
Who works in a folder therefore holds a lock on it, which the system lets go of with the
process, however that ends. Where there are no such locks (Windows, some network file
systems), nobody is kept out.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lightsr import strays
from lightsr.errors import OutputError


@contextmanager
def alone(folder: Path, *, wait: bool = False, permissions: int = 0o777) -> Iterator[None]:
    """Keep other processes that use this function out of a folder.

    Parameters
    ----------
    folder : Path
        Made where it is missing, and then removed in the end if it is empty.
    wait : bool
        For a process that is in the folder, however long that takes.
    permissions : int
        Of a folder that is made, less what the user's mask takes away.

    Raises
    ------
    OutputError
        Another process is in the folder, and `wait` is not set; or it cannot be made.
    """
    descriptor, made = _entered(folder, wait, permissions)
    try:
        yield
    finally:
        if made:
            with suppress(OSError):
                folder.rmdir()
        if descriptor is not None:
            os.close(descriptor)


def _entered(folder: Path, wait: bool, permissions: int) -> tuple[int | None, bool]:
    """A descriptor that holds the lock (None where folders cannot be opened), and whether the folder was made."""
    while True:
        made = not folder.exists()
        try:
            folder.mkdir(parents=True, mode=permissions, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{folder}: cannot be made: {error.strerror}; --out takes a folder") from error
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except OSError:
            return None, made
        if strays.lock(descriptor, wait=wait) is False:
            os.close(descriptor)
            raise OutputError(f"{folder}: another process trains there; wait for it, or choose another --out")
        with suppress(OSError):
            if os.path.samestat(os.fstat(descriptor), folder.stat()):
                return descriptor, made
        os.close(descriptor)  # removed by the one before, as it was left empty
