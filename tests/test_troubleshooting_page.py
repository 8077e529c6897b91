"""docs/troubleshooting.md knows every message that the programs raise on purpose, and no other."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

PAGE = ROOT / "docs" / "troubleshooting.md"

PACKAGES = ["runtime/lightsr", "train/lightsr_train", "export/lightsr_export", "benchmarks/lightsr_bench"]

VALUE = "…"
"""Stands for what a message fills in."""

TREES = {
    path: ast.parse(path.read_text(encoding="utf-8")) for package in PACKAGES for path in ROOT.glob(f"{package}/*.py")
}


def error_classes() -> set[str]:
    """Names of `LightsrError` and of what is derived from it."""
    bases = {
        node.name: {base.id for base in node.bases if isinstance(base, ast.Name)}
        for tree in TREES.values()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found: set[str] = set()
    more = {"LightsrError"}
    while more:
        found |= more
        more = {name for name, of in bases.items() if of & found} - found
    return found


def worded(node: ast.expr) -> list[str]:
    """Every wording that an expression can have, with `VALUE` for what is filled in."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return [node.value]
    if isinstance(node, ast.JoinedStr):
        return ["".join(part.value if isinstance(part, ast.Constant) else VALUE for part in node.values)]
    if isinstance(node, ast.IfExp):
        return [*worded(node.body), *worded(node.orelse)]
    if isinstance(node, ast.BinOp):
        return [first + second for first in worded(node.left) for second in worded(node.right)]
    return []


def messages() -> Iterator[tuple[Path, str]]:
    """Module and text of every message: of errors raised on purpose, and of wrong arguments."""
    classes = error_classes()
    for path, tree in TREES.items():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and node.args:
                called = node.func.id if isinstance(node.func, ast.Name) else ""
                wrong = isinstance(node.func, ast.Attribute) and ast.unparse(node.func) == "p.error"
                if called in classes or wrong:
                    for text in worded(node.args[0]):
                        if letters(text) >= 8:  # not what only puts the file's name in front
                            yield path.relative_to(ROOT), text


def letters(text: str) -> int:
    return len(re.findall(r"[a-zA-Z]", text))


def fragments() -> list[str]:
    """What stands in the first column of the page's tables."""
    cells = re.findall(r"^\| (`.*?) \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    return [fragment for cell in cells for fragment in re.findall(r"`([^`]+)`", cell)]


MESSAGES = list(messages())


def test_there_are_messages() -> None:
    assert len(MESSAGES) > 300


def test_what_the_page_quotes_tells_messages_apart() -> None:
    assert [fragment for fragment in fragments() if letters(fragment) < 6] == []
    most = max(fragments(), key=lambda fragment: sum(fragment in text for _, text in MESSAGES))
    assert sum(most in text for _, text in MESSAGES) < len(MESSAGES) / 5, most


@pytest.mark.parametrize("package", PACKAGES)
def test_every_message_is_on_the_page(package: str) -> None:
    known = fragments()
    missing = {
        f"{path.name}: {text}"
        for path, text in MESSAGES
        if path.as_posix().startswith(package) and not any(fragment in text for fragment in known)
    }
    assert not sorted(missing)


def test_the_page_quotes_nothing_that_is_not_said() -> None:
    texts = [text for _, text in MESSAGES]
    others = "\n".join(text for tree in TREES.values() for node in ast.walk(tree) for text in worded_anywhere(node))
    said = "\n".join(texts)
    assert [fragment for fragment in fragments() if fragment not in said and fragment not in others] == []


def worded_anywhere(node: ast.AST) -> list[str]:
    """Texts that are no argument of an error themselves, but go into one, or are printed."""
    return worded(node) if isinstance(node, ast.Constant | ast.JoinedStr) else []
