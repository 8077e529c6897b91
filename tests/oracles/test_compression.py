from pathlib import Path

import numpy as np
import pydicom
import pytest
from lightsr.encoding import SYNTAXES

from . import readers, tools
from .corpus import Conversion, Corpus
from .report import Ledger

pytestmark = pytest.mark.oracle


def test_compressed_results_are_the_uncompressed_ones(corpus: Corpus, ledger: Ledger) -> None:
    plain = {entry.source: entry.target for entry in corpus.tried}
    failures = [
        f"{entry.label}: {problem}"
        for entry in corpus.compressed
        if (problem := difference(plain[entry.source], entry.target, SYNTAXES[entry.compress]))
    ]
    ledger.settle("compression", len(corpus.compressed), failures)


def difference(plain: Path, compressed: Path, syntax: str) -> str:
    """What two results do not share, or in what the second is not what it should be."""
    one, other = pydicom.dcmread(plain), pydicom.dcmread(compressed)
    if other.file_meta.TransferSyntaxUID != syntax:
        return "another transfer syntax"
    if one.SOPInstanceUID != other.SOPInstanceUID or one.SeriesInstanceUID != other.SeriesInstanceUID:
        return "another UID"
    if one.get("LossyImageCompression") != other.get("LossyImageCompression"):
        return "another history of lossy compression"
    same = one.pixel_array.dtype == other.pixel_array.dtype and np.array_equal(one.pixel_array, other.pixel_array)
    return "" if same else "other pixels"


@pytest.fixture
def one(corpus: Corpus) -> dict[str, Conversion]:
    """The same grey picture in every form."""
    source = next(entry.source for entry in corpus.compressed if readers.pixels(entry.target).ndim == 2)
    return {entry.compress: entry for entry in (*corpus.tried, *corpus.compressed) if entry.source == source}


@pytest.mark.parametrize("form", ["rle", "j2k-lossless"])
def test_another_pixel_shows(form: str, one: dict[str, Conversion], tmp_path: Path) -> None:
    tools.need(*readers.PROGRAMS)
    assert not difference(one["none"].target, one[form].target, SYNTAXES[one[form].compress])
    dataset = pydicom.dcmread(one["none"].target)
    pixels = dataset.pixel_array.copy()
    pixels[3, 5] += 1
    dataset.PixelData = pixels.tobytes()
    dataset.save_as(tmp_path / "other.dcm")
    assert difference(tmp_path / "other.dcm", one[form].target, SYNTAXES[one[form].compress]) == "other pixels"


@pytest.mark.parametrize("form", ["rle", "j2k-lossless"])
def test_pixels_that_readers_decode_differently_show(
    form: str, one: dict[str, Conversion], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tools.need(*readers.PROGRAMS)
    assert not readers.disagreement(one[form].target, tmp_path)
    seen = readers.pixels

    def other(path: Path) -> np.ndarray:
        pixels = seen(path).copy()
        pixels[3, 5] += path == one[form].target
        return pixels

    monkeypatch.setattr(readers, "pixels", other)
    assert readers.disagreement(one[form].target, tmp_path) == "other pixels"
