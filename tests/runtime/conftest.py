"""Shared by many tests: a made slice, hostile files, made once, and models."""

import os
import re
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import lightsr
import numpy as np
import pytest
from lightsr import raster

from tests.workers import common_folder

from .attacks import ATTACKS
from .dicom_files import a_cine, a_dataset, compressed, rle, save
from .runs import enlarge, results
from .written import write_png


def file_name(attack: str) -> str:
    """Of an attack's file."""
    return re.sub(r"\W+", "-", attack).lower() + ".dcm"


@pytest.fixture(scope="session")
def attack_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every hostile file, in one folder."""
    folder = common_folder(tmp_path_factory, "hostile")
    paths = {name: folder / file_name(name) for name in ATTACKS}

    def make(name: str) -> None:
        if not paths[name].exists():
            partial = paths[name].with_suffix(f".{os.getpid()}")
            ATTACKS[name].make(partial)
            partial.replace(paths[name])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, about what it is made to write
        with ThreadPoolExecutor(os.cpu_count()) as threads:
            list(threads.map(make, ATTACKS))
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


@pytest.fixture
def study(tmp_path: Path, picture: np.ndarray) -> Path:
    """Three series of DICOM slices, a compressed cine and PNG: 14 files."""
    folder = tmp_path / "study"
    for series in range(3):
        (folder / f"series {series}").mkdir(parents=True)
        for number in range(3):
            pixels = np.roll(picture, 5 * number + series, axis=1).astype(np.int16)
            changes = {"SOPInstanceUID": f"1.2.3.{series}.{number}", "SeriesInstanceUID": f"1.2.3.{series}"}
            save(a_dataset(pixels, **changes), folder / f"series {series}" / f"{number}.dcm")
    stored = np.stack([(np.roll(picture, shift, axis=0) // 8).astype(np.uint8) for shift in range(6)])
    compressed(a_cine(stored), "1.2.840.10008.1.2.5", [rle(frame[None]) for frame in stored], folder / "cine.dcm")
    for number in range(4):
        with (folder / f"{number}.png").open("wb") as file:
            raster.write_png(np.tile(np.roll(picture, number, axis=0), (3, 3)), file)
    return folder


@pytest.fixture
def whole(study: Path, tmp_path: Path) -> dict[str, bytes]:
    """Results of one job, undisturbed."""
    assert enlarge(study, tmp_path / "whole", "--threads", "1") == 0
    found = results(tmp_path / "whole")
    assert len(found) == 14
    return found
