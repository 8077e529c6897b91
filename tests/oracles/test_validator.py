from pathlib import Path

import pydicom
import pytest

from . import tools, validator
from .corpus import Conversion, Corpus
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
