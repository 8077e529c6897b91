from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from lightsr.pipeline import enlarge_file

from tests.runtime.dicom_files import save
from tests.runtime.enhanced_files import an_enhanced, group

from .corpus import Conversion, Corpus, upscaler_of
from .report import Ledger
from .standard import Standard

pytestmark = pytest.mark.oracle


def test_what_the_standard_requires_is_there_and_nothing_foreign(
    corpus: Corpus, standard: Standard, ledger: Ledger
) -> None:
    failures = [
        f"{entry.label}: {problem}"
        for entry in corpus
        for problem in problems(standard, pydicom.dcmread(entry.source, force=True), pydicom.dcmread(entry.target))
    ]
    ledger.settle("standard", len(corpus.converted), failures)


def problems(standard: Standard, source: Any, result: Any) -> list[str]:
    """What is missing in a result and not in its source, and what does not belong into it."""
    missing = standard.missing(result) - standard.missing(source)
    return [*sorted(missing), *(f"{place} does not belong here" for place in standard.foreign(source, result))]


def remove(dataset: Any, *names: str) -> None:
    for name in names:
        delattr(dataset, name)


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda dataset: remove(dataset, "Rows"), "Rows (type 1, image-pixel) missing"),
        (lambda dataset: remove(dataset, "Manufacturer"), "Manufacturer (type 2, general-equipment) missing"),
        (lambda dataset: setattr(dataset, "ImageType", None), "ImageType (type 1, ct-image) empty"),
        (
            lambda dataset: remove(dataset.SourceImageSequence[0], "ReferencedSOPInstanceUID"),
            "SourceImageSequence/ReferencedSOPInstanceUID (type 1, general-reference) missing",
        ),
        (
            lambda dataset: setattr(dataset.ContributingEquipmentSequence[0], "Manufacturer", ""),
            "ContributingEquipmentSequence/Manufacturer (type 1, sop-common) empty",
        ),
        (lambda dataset: setattr(dataset, "FrameTime", 40), "FrameTime does not belong here"),
        (
            lambda dataset: setattr(dataset.SourceImageSequence[0], "PatientID", "1"),
            "SourceImageSequence/PatientID does not belong here",
        ),
        # A module that nobody must use, begun but not finished.
        (lambda dataset: setattr(dataset, "SynchronizationTrigger", "NO TRIGGER"), "(type 1, synchronization) missing"),
    ],
)
def test_a_broken_result_shows(change: Any, found: str, broken_from: Conversion, standard: Standard) -> None:
    source, result = pydicom.dcmread(broken_from.source), pydicom.dcmread(broken_from.target)
    assert not problems(standard, source, result)
    change(result)
    assert any(found in problem for problem in problems(standard, source, result))


@pytest.mark.parametrize(
    ("change", "found"),
    [
        (lambda frame: remove(frame, "PlanePositionSequence"), "PlanePositionSequence (type "),
        (lambda frame: remove(frame, "FrameContentSequence"), "FrameContentSequence (type "),
        (lambda frame: setattr(frame, "FrameContentSequence", []), "FrameContentSequence (type "),
        (
            lambda frame: remove(frame.DerivationImageSequence[0].SourceImageSequence[0], "ReferencedSOPInstanceUID"),
            "DerivationImageSequence/SourceImageSequence/ReferencedSOPInstanceUID (type 1, ",
        ),
        (
            lambda frame: setattr(frame.DerivationImageSequence[0], "PatientID", "1"),
            "DerivationImageSequence/PatientID does not belong here",
        ),
    ],
)
def test_a_broken_frame_shows(change: Any, found: str, standard: Standard, tmp_path: Path) -> None:
    """A group may be shared or of every frame: one that has moved there is not missing here."""
    position = {"PlanePositionSequence": group(ImagePositionPatient=[1, 2, 3])}
    dataset = an_enhanced(
        np.zeros((2, 8, 8), np.int16),
        "MR",
        shared={**position, "PixelMeasuresSequence": None},
        own=lambda index: {"PlanePositionSequence": None, "PixelMeasuresSequence": group(PixelSpacing=[1, 1 + index])},
    )
    save(dataset, tmp_path / "a.dcm")
    outcome = enlarge_file(tmp_path / "a.dcm", tmp_path / "b.dcm", upscaler_of(2))
    assert outcome.status == "done", outcome.message
    source, result = pydicom.dcmread(tmp_path / "a.dcm"), pydicom.dcmread(tmp_path / "b.dcm")
    assert "PlanePositionSequence" not in result.SharedFunctionalGroupsSequence[0]
    assert not problems(standard, source, result)
    change(result.PerFrameFunctionalGroupsSequence[1])
    assert any(found in problem for problem in problems(standard, source, result))
