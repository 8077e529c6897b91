"""Shared by many tests: a made slice, hostile files, made once, and models."""

import os
import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lightsr
import numpy as np
import pytest

from .attacks import ATTACKS
from .dicom_files import a_dataset, save
from .written import write_png


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


@pytest.fixture(scope="module")
def fp32() -> lightsr.Upscaler:
    """`tiny` at x2 in fp32."""
    return lightsr.load("tiny", scale=2, precision="fp32", threads=1)


@pytest.fixture(scope="module")
def int8() -> lightsr.Upscaler:
    """`tiny` at x2 in int8."""
    return lightsr.load("tiny", scale=2, precision="int8", threads=1)


@pytest.fixture
def cine(picture: np.ndarray) -> np.ndarray:
    """Five frames of uint8, two equal ones far apart, with a bright flash and a dark frame between them."""
    still = (picture // 8).astype(np.uint8)
    return np.stack([still, still // 4, np.minimum(still, 90) + 160, still // 2, still])


@pytest.fixture
def scans(tmp_path: Path, picture: np.ndarray, samples: Path) -> Path:
    """A folder with a CT, 8- and 16-bit PNG and colour in a subfolder."""
    folder = tmp_path / "scans"
    write_png(folder / "grey" / "16.png", picture)
    write_png(folder / "grey" / "8.png", (picture // 8).astype(np.uint8))
    write_png(folder / "colour.png", np.stack([(picture // 8).astype(np.uint8)] * 3, axis=-1))
    (folder / "ct.dcm").write_bytes((samples / "CT_small.dcm").read_bytes())
    return folder
