"""No mammogram is among the real files; one made to have no error must have none when it is enlarged."""

from pathlib import Path

import pydicom
import pytest

from tests.runtime.dicom_files import a_mammogram, save

from . import readers, tools, validator
from .corpus import command_line
from .standard import Standard

pytestmark = pytest.mark.oracle


@pytest.fixture
def converted(tmp_path: Path) -> tuple[Path, Path]:
    """A made mammogram, and what the command line makes of it."""
    (tmp_path / "in").mkdir()
    source = save(a_mammogram(), tmp_path / "in" / "a.dcm")
    pydicom.dcmread(source).save_as(source, enforce_file_format=True)  # with all of its meta information
    (outcome,), _ = command_line(tmp_path / "in", tmp_path / "out")
    assert outcome["status"] == "done", outcome["message"]
    return source, tmp_path / "out" / outcome["output"]


def test_the_validator_finds_no_error(converted: tuple[Path, Path]) -> None:
    tools.need(*validator.PROGRAMS)
    for path in converted:
        assert not validator.errors(path), path


def test_the_standard_finds_nothing_missing_or_foreign(converted: tuple[Path, Path], standard: Standard) -> None:
    source, result = (pydicom.dcmread(path) for path in converted)
    assert not standard.missing(source)
    assert not standard.missing(result)
    assert not standard.foreign(source, result)


def test_other_readers_see_its_pixels(converted: tuple[Path, Path], tmp_path: Path) -> None:
    tools.need(*readers.PROGRAMS)
    assert not readers.disagreement(converted[1], tmp_path)
