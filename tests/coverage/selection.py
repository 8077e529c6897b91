"""Which tests do not run under coverage.py: a plugin of pytest."""

from pathlib import Path

import pytest

MEASURES = "measures the memory of processes, of which coverage.py takes a part"
LIMITS = "limits the address space of a process, which coverage.py does not fit into"
IMPORTED = "looks at what a process has imported, and coverage.py imports more"
FULL = "lets no file be written, those of coverage.py neither"

EXCLUDED = {
    "runtime/test_broken_places.py::test_a_limit_of_the_length_of_files": FULL,
    "runtime/test_cli.py::test_help_needs_no_library_of_a_format": IMPORTED,
    "runtime/test_decoder.py::test_a_decoder_that_needs_too_much_memory": LIMITS,
    "export/test_export.py::test_a_full_disk_leaves_nothing": FULL,
    "runtime/test_memory_limit.py": MEASURES,
}
"""Files below tests, or tests with all their parameters, that do not run, and why."""


def reason(path: Path, name: str) -> str | None:
    """Why a test does not run; None if it does.

    >>> reason(Path("tests/runtime/test_memory_limit.py"), "test_anything[int8]") == MEASURES
    True
    >>> reason(Path("tests/runtime/test_cli.py"), "test_anything")
    """
    file = f"{path.parent.name}/{path.name}"
    return EXCLUDED.get(file) or EXCLUDED.get(f"{file}::{name.partition('[')[0]}")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip what does not run."""
    for item in items:
        if why := reason(item.path, item.name):
            item.add_marker(pytest.mark.skip(reason=f"under coverage.py: {why}"))
