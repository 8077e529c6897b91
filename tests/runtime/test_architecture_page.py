"""docs/architecture.md names every module, and the way that a CT slice really takes."""

import re
import sys
import threading
from pathlib import Path
from types import FrameType
from typing import Any

import lightsr
import pytest
from lightsr import cli

ROOT = Path(__file__).parents[2]

PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")

PACKAGES = ["runtime/lightsr", "train/lightsr_train", "export/lightsr_export", "benchmarks/lightsr_bench"]


@pytest.mark.parametrize("package", PACKAGES)
def test_the_page_names_the_modules_that_there_are(package: str) -> None:
    section = re.search(rf"^### {package}$(.*?)(?=^##)", PAGE, re.MULTILINE | re.DOTALL)
    assert section is not None
    first_cells = re.findall(r"^\| (`[^|]+) \|", section[1], re.MULTILINE)
    named = re.findall(r"`(\w+)`", " ".join(first_cells))
    there = {path.stem for path in (ROOT / package).glob("*.py")} - {"__init__"}
    assert sorted(set(named) - {"__init__"}) == sorted(there)
    assert len(named) == len(set(named))


def test_a_slice_goes_the_way_that_the_page_tells(samples: Path, tmp_path: Path) -> None:
    told = re.findall(r"^\| (\d+) \| `([^`]+)` \|", PAGE, re.MULTILINE)
    assert [int(number) for number, _ in told] == list(range(1, len(told) + 1))
    assert len(told) > 50
    calls = calls_of("--model", "tiny", str(samples / "CT_small.dcm"), str(tmp_path / "out.dcm"))
    went = iter(calls)
    lost = [hop for _, hop in told if hop not in went]  # `in` goes on where the last search ended
    assert not lost
    assert (tmp_path / "out.dcm").is_file()


def calls_of(*arguments: str) -> list[str]:
    """Functions of lightsr in the order in which a command calls them, as `module.qualified.name`."""
    home = Path(lightsr.__file__).parent
    calls: list[str] = []

    def note(frame: FrameType, event: str, _: Any) -> None:
        path = frame.f_code.co_filename
        if event == "call" and path.startswith(str(home)):
            calls.append(f"{Path(path).stem}.{frame.f_code.co_qualname}")

    before = sys.getprofile()
    threading.setprofile(note)  # reading and the network have threads of their own
    sys.setprofile(note)
    try:
        assert cli.main(list(arguments)) == 0
    finally:
        sys.setprofile(before)
        threading.setprofile(None)
    return calls
