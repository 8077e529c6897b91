"""The pages as they are read in the repository: their links lead somewhere, and the reference is complete."""

import re
from pathlib import Path

import lightsr
import pytest

ROOT = Path(__file__).parents[1]

PAGES = [
    *ROOT.glob("*.md"),
    *ROOT.glob("docs/**/*.md"),
    *ROOT.glob("runtime/lightsr/models/*.md"),
]

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")

FENCED = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)


def anchors(text: str) -> set[str]:
    """Names of the headings of a page, as repositories are shown."""
    headings = re.findall(r"^#{1,6} +(.+?) *$", FENCED.sub("", text), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_links_lead_to_files_and_headings(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    lost = []
    for link in LINK.findall(FENCED.sub("", text)):
        if ":" in link:
            continue
        path, _, anchor = link.partition("#")
        target = page.parent / path if path else page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text(encoding="utf-8"))):
            lost.append(link)
    assert not lost


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_files_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    named = re.findall(r"`((?:tests|docs|deploy|train|export|runtime|benchmarks)/[\w./-]+)`", text)
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_public_name_is_in_the_reference() -> None:
    page = (ROOT / "docs" / "reference" / "lightsr.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^::: lightsr\.(\w+)$", page, re.MULTILINE)) == set(lightsr.__all__) - {"__version__"}


def test_every_page_is_in_the_navigation() -> None:
    site = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    pages = [page.relative_to(ROOT / "docs").as_posix() for page in ROOT.glob("docs/**/*.md")]
    cards = [f"models/{page.name}" for page in ROOT.glob("runtime/lightsr/models/*.md")]
    assert [page for page in [*pages, *cards] if f": {page}\n" not in site] == []


def test_the_citation_names_this_version() -> None:
    assert f"\nversion: {lightsr.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
