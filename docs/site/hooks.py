"""What mkdocs does besides, for the site of `make docs`.

Pages are written for the plain view of the repository: their links are paths in the repository, to
files that are no pages of the site, too. Here these become links of the site, files outside `docs`
become pages, and nothing that a page loads may come from another host.
"""

import logging
import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

log = logging.getLogger("mkdocs.lightsr")

ROOT = Path(__file__).parents[2]

PAGES = {"README.md": "index.md", "CONTRIBUTING.md": "contributing.md", "CHANGELOG.md": "changelog.md"} | {
    path.relative_to(ROOT).as_posix(): f"models/{path.name}"
    for path in sorted(ROOT.glob("runtime/lightsr/models/*-card.md"))
}
"""Files outside `docs` that are pages: path in the repository, path in the site."""

PLACES = {place: path for path, place in PAGES.items()}

LINK = re.compile(r"(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s]+)\)")

FENCE = re.compile(r"^```.*?^```", re.DOTALL | re.MULTILINE)

LOADED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\bsrc=["']?(?:https?:)?//[^"'\s>]+|<link\b[^>]*\bhref=[^>]*//[^>]+"""
)
"""What a browser fetches from another host as it shows a page."""


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages from outside `docs`."""
    for path, place in PAGES.items():
        files.append(File.generated(config, place, content=(ROOT / path).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn links between files of the repository into links between pages."""
    place = page.file.src_uri
    path = PLACES.get(place, f"docs/{place}")
    parts, end = [], 0
    for fence in FENCE.finditer(markdown):
        parts += [_with_links(markdown[end : fence.start()], path, place), fence[0]]
        end = fence.end()
    return "".join([*parts, _with_links(markdown[end:], path, place)])


def _with_links(text: str, path: str, place: str) -> str:
    """`text` of the file `path`, which is the page `place`, with the links of the site."""

    def replaced(link: re.Match[str]) -> str:
        target, _, anchor = link["target"].partition("#")
        if not target or ":" in target:
            return link[0]
        found = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
        if not (ROOT / found).exists():
            log.warning("%s links to %s, which is not there", path, target)
            return link[0]
        there = PAGES.get(found) or (found.removeprefix("docs/") if found.startswith("docs/") else "")
        if not there:  # a file or folder of the repository that is no page: its name alone
            return link["text"]
        there = posixpath.relpath(there, posixpath.dirname(place) or ".")
        return f"{link['image']}[{link['text']}]({there}{f'#{anchor}' if anchor else ''})"

    return LINK.sub(replaced, text)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Say so if a page would load anything from another host."""
    for foreign in LOADED.findall(output):
        log.warning("%s loads from another host: %s", page.file.src_uri, foreign)
    return output
