import re
from pathlib import Path

import numpy as np
import pydicom
import pytest
from lightsr.pipeline import enlarge_file

from tests.runtime.dicom_files import save
from tests.runtime.enhanced_files import an_enhanced

from . import tools, validator
from .corpus import Conversion, Corpus, upscaler_of
from .report import Ledger

pytestmark = pytest.mark.oracle


def test_the_validator_finds_no_error_that_the_source_has_not(corpus: Corpus, ledger: Ledger) -> None:
    tools.need(*validator.PROGRAMS)
    failures = [
        f"{entry.label}: {error}" for entry in corpus for error in validator.new_errors(entry.source, entry.target)
    ]
    ledger.settle("dciodvfy", len(corpus.converted), failures)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PixelSpacing", None),
        ("PixelSpacing", "0.1"),
        ("ImageType", ["DERIVED", "TERTIARY", "AXIAL"]),
        ("SamplesPerPixel", 3),
        ("ContributingEquipmentSequence", [pydicom.Dataset()]),
        ("SOPInstanceUID", "1.02.3"),
    ],
)
def test_a_broken_result_shows(name: str, value: object, broken_from: Conversion, tmp_path: Path) -> None:
    tools.need(*validator.PROGRAMS)
    dataset = pydicom.dcmread(broken_from.target)
    if value is None:
        delattr(dataset, name)
    else:
        setattr(dataset, name, value)
    dataset.save_as(tmp_path / "broken.dcm")
    found = validator.new_errors(broken_from.source, tmp_path / "broken.dcm")
    assert found
    assert any(name in error for error in found)


def test_a_file_that_is_cut_short_shows(broken_from: Conversion, tmp_path: Path) -> None:
    tools.need(*validator.PROGRAMS)
    (tmp_path / "broken.dcm").write_bytes(broken_from.target.read_bytes()[:-1000])
    assert validator.new_errors(broken_from.source, tmp_path / "broken.dcm")


def test_what_derived_images_may_say_of_a_pulse_sequence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools.need(*validator.PROGRAMS)
    said = {"EchoPulseSequence": "SPIN", "MRAcquisitionType": "2D"}
    source = save(an_enhanced(np.zeros((2, 8, 8), np.int16), "MR", **said), tmp_path / "a.dcm")
    outcome = enlarge_file(source, tmp_path / "b.dcm", upscaler_of(2))
    assert outcome.status == "done", outcome.message
    assert not validator.new_errors(source, tmp_path / "b.dcm")
    monkeypatch.setattr(validator, "NOT_AN_ERROR", re.compile("nothing"))
    found = validator.new_errors(source, tmp_path / "b.dcm")
    assert sorted(error.split(":")[0] for error in found) == ["/EchoPulseSequence", "/MRAcquisitionType"]
    result = pydicom.dcmread(tmp_path / "b.dcm")
    del result.PerFrameFunctionalGroupsSequence[1].PlanePositionSequence
    result.save_as(tmp_path / "c.dcm")
    assert any("PlanePositionSequence" in error for error in validator.new_errors(source, tmp_path / "c.dcm"))
