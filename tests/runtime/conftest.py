"""Shared by many tests: a made slice, and hostile files, made once."""

import os
import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from .attacks import ATTACKS
from .dicom_files import a_dataset, save


def file_name(attack: str) -> str:
    """Of an attack's file."""
    return re.sub(r"\W+", "-", attack).lower() + ".dcm"


@pytest.fixture(scope="session")
def attack_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every hostile file, in one folder."""
    folder = tmp_path_factory.mktemp("hostile")
    paths = {name: folder / file_name(name) for name in ATTACKS}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, about what it is made to write
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            list(threads.map(lambda name: ATTACKS[name].make(paths[name]), ATTACKS))
    return paths


@pytest.fixture
def ct(tmp_path: Path) -> Path:
    """A made CT slice of 6 x 8 pixels."""
    return save(a_dataset(), tmp_path / "ct.dcm")
