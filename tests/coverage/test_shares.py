"""The judgement of `make coverage`: each package by its own branches."""

from typing import Any

import pytest

from tests.coverage import selection
from tests.coverage.__main__ import judged
from tests.coverage.shares import shares, table
from tests.mutation.breaks import CHECKOUT


def report(**taken: int) -> dict[str, Any]:
    """As coverage.py writes it, of two modules of the runtime and one of the export with 100 branches each."""
    paths = {
        "first": "runtime/lightsr/first.py",
        "second": "runtime/lightsr/second.py",
        "third": "export/lightsr_export/third.py",
    }
    return {
        "files": {
            path: {
                "summary": {
                    "num_statements": 50,
                    "covered_lines": 40,
                    "num_branches": 100,
                    "covered_branches": taken[name],
                }
            }
            for name, path in paths.items()
        }
    }


def test_a_package_is_the_sum_of_its_modules() -> None:
    found = {share.name: share for share in shares(report(first=100, second=85, third=91))}
    assert list(found) == [
        *("export/lightsr_export/third.py", "export/lightsr_export"),
        *("runtime/lightsr/first.py", "runtime/lightsr/second.py", "runtime/lightsr"),
    ]
    assert found["runtime/lightsr"].branches_percent == 92.5
    assert (found["runtime/lightsr"].statements, found["runtime/lightsr"].statements_reached) == (100, 80)
    said = table(list(found.values()))
    assert "runtime/lightsr                        100      20    80.0       200      15    92.5" in said


@pytest.mark.parametrize(
    ("second", "third", "named"), [(80, 90, ""), (79, 90, "runtime"), (80, 89, "export"), (0, 0, "runtime export")]
)
def test_each_package_must_have_enough(second: int, third: int, named: str) -> None:
    """Many branches of one do not make up for few of the other; those of a module do within it."""
    verdict = judged(shares(report(first=100, second=second, third=third)), failed=False)
    assert (verdict == 0) == (not named)
    for part in named.split():
        assert part in str(verdict)


def test_a_failed_test_fails_the_whole() -> None:
    assert judged(shares(report(first=100, second=100, third=100)), failed=True) == "some tests failed"


def test_what_does_not_run_is_there() -> None:
    for entry in selection.EXCLUDED:
        file, _, function = entry.partition("::")
        assert f"def {function or 'test_'}" in (CHECKOUT / "tests" / file).read_text(encoding="utf-8")
