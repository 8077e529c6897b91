from pathlib import Path

import pydicom
import pytest

from . import readers, tools
from .corpus import Conversion, Corpus
from .report import Ledger

pytestmark = pytest.mark.oracle


def test_other_readers_see_the_same_pixels(corpus: Corpus, ledger: Ledger, tmp_path: Path) -> None:
    tools.need(*readers.PROGRAMS)
    failures = [
        f"{entry.label}: {problem}" for entry in corpus if (problem := readers.disagreement(entry.target, tmp_path))
    ]
    ledger.settle("readers", len(corpus.converted), failures)


def test_pixels_that_readers_see_differently_show(
    broken_from: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools.need(*readers.PROGRAMS)
    assert not readers.disagreement(broken_from.target, tmp_path)
    seen = readers.pixels

    def other(path: Path) -> object:
        pixels = seen(path).copy()
        pixels[3, 5] += path == broken_from.target
        return pixels

    monkeypatch.setattr(readers, "pixels", other)
    assert readers.disagreement(broken_from.target, tmp_path) == "other pixels"


@pytest.mark.parametrize(("name", "value"), [("Rows", 255), ("SamplesPerPixel", 3), ("BitsAllocated", 8)])
def test_a_description_that_does_not_fit_the_pixels_shows(
    name: str, value: int, broken_from: Conversion, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """pydicom would refuse these, so that it is asked about the file before it was spoilt."""
    tools.need(*readers.PROGRAMS)
    expected = readers.pixels(broken_from.target)
    dataset = pydicom.dcmread(broken_from.target)
    setattr(dataset, name, value)
    broken = tmp_path / "broken.dcm"
    dataset.save_as(broken)
    seen = readers.pixels
    monkeypatch.setattr(readers, "pixels", lambda path: expected if path == broken else seen(path))
    assert readers.disagreement(broken, tmp_path)
