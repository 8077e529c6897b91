"""Modules and functions stay short enough to be read at once, those of the tests too."""

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[1]

FOLDERS = ["runtime", "train", "export", "benchmarks", "tests", "docs"]

MODULE_LINES = 400

FUNCTION_LINES = 60
"""Its docstring aside, whose length the standard or the reader decides."""

EXCEPTIONS = {
    "export/lightsr_export/export.py: export": "one export from checkpoint to report, step by step: "
    "what is proven, measured and written last needs nearly everything before it",
}
"""What may be longer, and why."""


def modules() -> Iterator[tuple[str, str]]:
    """Path and text of every module."""
    for folder in FOLDERS:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text(encoding="utf-8")


def length(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function, from its name to its end, without its docstring."""
    first = function.body[0]
    documented = ast.get_docstring(function) is not None
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (function.end_lineno or 0) - function.lineno + 1 - docstring


def too_long() -> set[str]:
    found = set()
    for path, text in modules():
        if len(text.splitlines()) > MODULE_LINES:
            found.add(path)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and length(node) > FUNCTION_LINES:
                found.add(f"{path}: {node.name}")
    return found


def test_modules_and_functions_are_short_or_allowed_to_be_long() -> None:
    assert len(list(modules())) > 250
    assert too_long() == set(EXCEPTIONS)


def test_a_length_is_counted_without_the_docstring() -> None:
    function = ast.parse(
        '@decorated\ndef f(\n    a: int,\n) -> int:\n    """One.\n\n    Two.\n    """\n    return a\n'
    ).body[0]
    assert isinstance(function, ast.FunctionDef)
    assert length(function) == 4
