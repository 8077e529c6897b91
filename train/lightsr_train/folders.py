"""Folders that one process at a time works in.

Two runs that wrote into one folder would overwrite each other's networks and pictures.
Who works in a folder therefore holds a lock on it, which the system lets go of with the
process, however that ends. Where folders have no locks (Windows, some network file
systems), nobody is kept out.
"""

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from lightsr import strays
from lightsr.errors import OutputError

logger = logging.getLogger(__name__)


class OccupiedError(OutputError):
    """A folder in which another process works."""


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
    OccupiedError
        Another process is in the folder, and `wait` is not set.
    OutputError
        It cannot be made.
    """
    while True:
        made = _made(folder, permissions)
        try:
            descriptor = os.open(folder, os.O_RDONLY)
        except FileNotFoundError:  # the one before left it empty, and removed it
            continue
        except OSError:  # Windows opens no folders
            descriptor = None
        if descriptor is None or _entered(folder, descriptor, wait=wait):
            break
    try:
        yield
    finally:
        if made:
            with suppress(OSError):
                folder.rmdir()
        if descriptor is not None:
            os.close(descriptor)


def _made(folder: Path, permissions: int) -> bool:
    """Make a folder that is missing, and say whether it was."""
    try:
        folder.mkdir(mode=permissions, parents=True)
    except OSError as error:
        there = isinstance(error, FileExistsError)
        if there and (folder.is_dir() or not os.path.lexists(folder)):  # or was there: opening it will tell
            return False
        raise OutputError(f"{folder}: cannot be made: {error.strerror}; --out takes a folder") from error
    return True


def _entered(folder: Path, descriptor: int, *, wait: bool) -> bool:
    """Lock an open folder, and keep it open; or close it, if it was removed in the meantime."""
    held = False
    try:
        locked = strays.lock(descriptor, wait=False)
        if locked is False and wait:
            logger.warning("%s: another process is at work there; waiting for it", folder)
            locked = strays.lock(descriptor)
        if locked is False:
            raise OccupiedError(f"{folder}: another process trains there; wait for it, or choose another --out")
        if locked is None:  # and inode numbers, where there are no locks, may not be worth comparing
            held = True
        else:
            with suppress(OSError):
                held = os.path.samestat(os.fstat(descriptor), folder.stat())
        return held
    finally:
        if not held:
            os.close(descriptor)
