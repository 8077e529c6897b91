import io
import itertools
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from lightsr.pipeline import enlarge_file

from tests.runtime.dicom_files import a_dataset, save
from tests.runtime.enhanced_files import an_enhanced

from . import tools
from .corpus import Corpus, upscaler_of
from .field_of_view import TOLERANCE_MM, moved_mm, volume
from .report import Ledger

pytestmark = pytest.mark.oracle


def test_a_series_keeps_its_field_of_view(corpus: Corpus, ledger: Ledger, tmp_path: Path) -> None:
    tools.need("dcm2niix")
    folders = [(folder, target) for folder, target in series_of(corpus).items()]
    made = (("oblique", oblique_series), ("volume", oblique_volume))
    for scale, (name, make) in itertools.product((2, 3, 4, 8), made):
        source = make(tmp_path / f"{name}{scale}")
        folders.append((source, enlarged(source, tmp_path / f"{name}-x{scale}", scale)))
    folders += [
        (alone(entry.source, tmp_path / f"e{number}"), alone(entry.target, tmp_path / f"f{number}"))
        for number, entry in enumerate(entry for entry in corpus.tried if entry.collection == "enhanced")
    ]
    moved = {
        source.name: moved_mm(volume(source, tmp_path / f"s{number}"), volume(result, tmp_path / f"r{number}"))
        for number, (source, result) in enumerate(folders)
    }
    failures = [f"{name}: by {distance:.6f} mm" for name, distance in moved.items() if not distance <= TOLERANCE_MM]
    measured = f"{max(moved.values()):.1g} mm"
    ledger.settle("field of view", len(folders), failures, what="series", measured=measured)


def series_of(corpus: Corpus) -> dict[Path, Path]:
    """Folders of `series` of which every file was converted, and of their results."""
    found = defaultdict(list)
    for entry in corpus.tried:
        if entry.collection == "series":
            found[entry.source.parent].append(entry)
    return {
        folder: entries[0].target.parent
        for folder, entries in found.items()
        if all(entry.converted for entry in entries)
    }


def oblique_series(folder: Path) -> Path:
    """Five MR slices in no plane of the body, rows 0.8 mm and columns 1.1 mm apart.

    With equal spacings, or along the axes, a mistaken row for a column would not show.
    """
    folder.mkdir()
    along_row = np.array([0.96, 0.28, 0.0])
    along_column = np.array([-0.28 * 0.8, 0.96 * 0.8, -0.6])
    normal = np.cross(along_row, along_column)
    pixels = np.random.default_rng(5).integers(0, 900, (5, 24, 32)).astype(np.int16)
    for number, plane in enumerate(pixels):
        dataset = a_dataset(plane, Modality="MR", SOPClassUID="1.2.840.10008.5.1.4.1.1.4")
        dataset.SOPInstanceUID, dataset.InstanceNumber = f"1.2.3.4.{number + 1}", number + 1
        dataset.ImageType = ["ORIGINAL", "PRIMARY", "M"]
        dataset.PixelSpacing, dataset.SliceThickness = [0.8, 1.1], 3
        dataset.ImageOrientationPatient = [*along_row, *along_column]
        dataset.ImagePositionPatient = [round(value, 6) for value in (-31.5, 47.25, 12.125) + 3.0 * number * normal]
        save(dataset, folder / f"{number + 1}.dcm")
    return folder


def oblique_volume(folder: Path) -> Path:
    """Five frames of an enhanced MR image, likewise."""
    folder.mkdir()
    pixels = np.random.default_rng(5).integers(0, 900, (5, 24, 32)).astype(np.int16)
    save(an_enhanced(pixels, "MR"), folder / "volume.dcm")
    return folder


def alone(path: Path, folder: Path) -> Path:
    """A folder with one file."""
    folder.mkdir()
    (folder / path.name).symlink_to(path)
    return folder


def enlarged(source: Path, target: Path, scale: int) -> Path:
    for path in sorted(source.iterdir()):
        outcome = enlarge_file(path, target / path.name, upscaler_of(scale))
        assert outcome.status == "done", outcome.message
    return target


def half_a_pixel_missing(dataset: Any, source: Any) -> None:
    if "ImagePositionPatient" in dataset:
        dataset.ImagePositionPatient = source.ImagePositionPatient


def spacings_swapped(dataset: Any, source: Any) -> None:
    if "PixelSpacing" in dataset:
        dataset.PixelSpacing = list(dataset.PixelSpacing)[::-1]


def position_a_little_off(dataset: Any, source: Any) -> None:
    if "ImagePositionPatient" in dataset:
        dataset.ImagePositionPatient[1] += 0.001


def planes(dataset: Any) -> list[Any]:
    """Data sets that state the position and the spacing of a frame, as the enhanced one does in its groups."""
    if "PerFrameFunctionalGroupsSequence" not in dataset:
        return [dataset]
    shared = dataset.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence[0]
    return [shared, *(own.PlanePositionSequence[0] for own in dataset.PerFrameFunctionalGroupsSequence)]


@pytest.mark.parametrize("make", [oblique_series, oblique_volume])
@pytest.mark.parametrize("change", [half_a_pixel_missing, spacings_swapped, position_a_little_off])
def test_a_broken_result_shows(
    change: Callable[[Any, Any], None], make: Callable[[Path], Path], tmp_path: Path
) -> None:
    tools.need("dcm2niix")
    source = make(tmp_path / "source")
    result = enlarged(source, tmp_path / "result", 2)
    for path in sorted(result.iterdir()):
        dataset = pydicom.dcmread(io.BytesIO(path.read_bytes()))
        for plane, original in zip(planes(dataset), planes(pydicom.dcmread(source / path.name)), strict=True):
            change(plane, original)
        dataset.save_as(path)
    assert moved_mm(volume(source, tmp_path / "s"), volume(result, tmp_path / "r")) > 5 * TOLERANCE_MM
