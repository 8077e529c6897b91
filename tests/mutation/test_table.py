"""The table of broken lines is about the source as it is, and a trial can end either way."""

import ast
import subprocess
import sys

import pytest

from tests.mutation.__main__ import BREAKS
from tests.mutation.breaks import CHECKOUT, Break

ASIDE = "runtime/lightsr/intensity.py"

SCRIPT = f"""
from tests.mutation.breaks import Break
from tests.mutation.trial import trials

tests = ("tests/runtime/test_intensity.py::test_intensity_maps_leave_few_pixels_aside",)
lines = {{
    "ASIDE_PX = 4": "ASIDE_PX = 3",
    "few = min(ASIDE_PX + 1, pixels.size)": "few = min(ASIDE_PX + 2, pixels.size)",
}}
breaks = [Break("{ASIDE}", line, broken, tests) for line, broken in lines.items()]
print(*(trial.outcome for trial in trials([(one, tests) for one in breaks], 1)))
"""


def name(one: Break) -> str:
    return f"{one.module.rpartition('/')[2]}: {one.line}"


def test_there_are_enough_of_both_parts() -> None:
    assert len({(one.module, one.line) for one in BREAKS}) == len(BREAKS)
    for part in ("runtime/", "export/"):
        assert sum(one.module.startswith(part) for one in BREAKS) >= 30


@pytest.mark.parametrize("one", BREAKS, ids=name)
def test_a_line_stands_in_its_module_once_and_breaks_as_code(one: Break) -> None:
    assert one.place() is not None
    assert ast.dump(ast.parse(one.source())) != ast.dump(ast.parse(one.path.read_text(encoding="utf-8")))


def test_the_tests_are_there() -> None:
    for test in sorted({test for one in BREAKS for test in one.tests}):
        path, _, function = test.partition("::")
        assert f"def {function.partition('[')[0]}" in (CHECKOUT / path).read_text(encoding="utf-8"), test


def test_a_line_that_is_gone_is_told() -> None:
    gone = Break(ASIDE, "ASIDE_PX = 5", "ASIDE_PX = 6", ())
    assert gone.place() is None
    with pytest.raises(ValueError, match="no longer one line"):
        gone.source()


@pytest.mark.skipif(sys.platform == "win32", reason="trials are forks")
def test_a_break_that_matters_is_noticed_and_another_survives() -> None:
    said = subprocess.run([sys.executable, "-c", SCRIPT], cwd=CHECKOUT, capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["noticed", "survived"]
