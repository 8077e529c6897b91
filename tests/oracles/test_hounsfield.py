from pathlib import Path

import numpy as np
import pydicom
import pytest

from . import hounsfield
from .corpus import Conversion, Corpus
from .hounsfield import TOLERANCE_HU
from .report import Ledger

pytestmark = pytest.mark.oracle


def test_the_mean_of_regions_stays(corpus: Corpus, ledger: Ledger) -> None:
    found = {
        entry.label: hounsfield.shifts(entry.source, entry.target, entry.scale)
        for entry in corpus
        if hounsfield.is_ct(entry.source)
    }
    judged = {label: shifts for label, shifts in found.items() if len(shifts.regions)}
    failures = [
        f"{label}: {shifts.largest:.2f} HU" for label, shifts in judged.items() if shifts.largest > TOLERANCE_HU
    ]
    regions = sum(len(shifts.regions) for shifts in judged.values())
    measured = ""
    if judged:
        largest = max(shifts.largest for shifts in judged.values())
        whole = max(abs(shifts.everywhere) for shifts in judged.values())
        measured = f"{largest:.2f} HU; of whole images, their cut ends included, {whole:.2f} HU"
    ledger.settle("hounsfield", regions, failures, what=f"regions of {len(judged)} images", measured=measured)


@pytest.mark.parametrize("change", ["offset", "slope", "shift"])
def test_a_broken_result_shows(change: str, broken_from: Conversion, tmp_path: Path) -> None:
    assert hounsfield.shifts(broken_from.source, broken_from.target, 2).largest <= TOLERANCE_HU
    dataset = pydicom.dcmread(broken_from.target)
    if change == "offset":
        dataset.RescaleIntercept = float(dataset.RescaleIntercept) + 1
    elif change == "slope":
        dataset.RescaleSlope = float(dataset.RescaleSlope) * 1.01
    else:  # half an old pixel to the right, as without the centres of pixels
        dataset.PixelData = np.roll(dataset.pixel_array, 1, axis=1).tobytes()
    dataset.save_as(tmp_path / "broken.dcm")
    assert hounsfield.shifts(broken_from.source, tmp_path / "broken.dcm", 2).largest > TOLERANCE_HU
