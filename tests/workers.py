"""What all workers of a test run share."""

import os
from pathlib import Path

import pytest


def common_folder(tmp_path_factory: pytest.TempPathFactory, name: str) -> Path:
    """A folder of this run, the same in all its workers.

    Who misses a file there makes it under another name and renames it.
    """
    home = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        home = home.parent
    folder = home / name
    folder.mkdir(exist_ok=True)
    return folder
