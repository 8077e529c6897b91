from pathlib import Path

import pytest

from . import report
from .corpus import REASONS, Conversion

pytestmark = pytest.mark.oracle

PAGE = Path(__file__).parents[2] / "docs" / "dicom.md"

TRIED = (
    Conversion("a", Path("1"), Path("1"), 2, True),
    Conversion("a", Path("2"), Path("2"), 2, False, "2: a CT image of several frames; one frame is allowed"),
    Conversion("b", Path("3"), Path("3"), 2, False, "3: an empty file"),
)


def test_a_ledger_refuses_failures_and_empty_checks() -> None:
    ledger = report.Ledger()
    ledger.settle("dciodvfy", 3, [])
    with pytest.raises(AssertionError, match="1 of 3 files:\nx"):
        ledger.settle("standard", 3, ["x"])
    with pytest.raises(AssertionError, match="no series to check"):
        ledger.settle("field of view", 0, [], what="series")
    assert ledger.entries["standard"] == report.Entry(3, "files", 1)


def test_tables_go_into_their_place(tmp_path: Path) -> None:
    ledger = report.Ledger(dict.fromkeys(report.ORACLES, report.Entry(7, "files", 0)))
    text = report.tables(TRIED, 4, 2, ledger)
    assert "| files | a | b | all |" in text
    assert "| tried | 2 | 1 | 3 |" in text
    assert "| **converted** | 1 | 0 | 1 |" in text
    assert "| refused: several frames in one place | 1 | 0 | 1 |" in text
    assert text.count("| 7 files | 0 | - |") == len(report.ORACLES)
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- oracles -->\nold\n<!-- end -->\nafter\n")
    report.renew(page, text)
    assert page.read_text() == f"before\n<!-- oracles -->\n\n{text}\n\n<!-- end -->\nafter\n"
    page.write_text("no place")
    with pytest.raises(ValueError, match="one place"):
        report.renew(page, text)


def test_the_page_gives_a_why_for_every_reason() -> None:
    explained = PAGE.read_text(encoding="utf-8").split("## What is refused")[1].split("## ")[0]
    assert not [name for _, name in REASONS if name not in explained]
