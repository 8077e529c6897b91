"""Tables of results in a page that is otherwise written by hand: `lightsr-bench tables`."""

import re
from collections.abc import Sequence
from pathlib import Path

from lightsr import files

from lightsr_bench import compare, documents, experiment_report, exporting_report, learning
from lightsr_bench.documents import DocumentError

PLACE = re.compile(
    r"(<!-- table (?:(?P<name>[\w.-]+)|x(?P<scale>\d) of (?P<networks>[^>]+?)) -->\n).*?(<!-- end -->)", re.DOTALL
)
"""Where a table stands: that of the result file of this name, or networks side by side at a scale."""

COMPARED = ("device", "quality")
"""Kinds of results whose networks stand side by side."""

RENDERERS = {"experiment": experiment_report.text, "export": exporting_report.page_text, "training": learning.text}


def renewed(page: str, results: Sequence[Path]) -> tuple[str, list[str]]:
    """A page with the tables of result files, and the names of those that it has a place for.

    Raises
    ------
    DocumentError
        A file that has no table here, a place without a file, or a file without a place.
    """
    tables: dict[str, str] = {}
    compared = []
    for path in results:
        content = documents.read(path)
        if content["kind"] in RENDERERS:
            tables[path.stem] = RENDERERS[content["kind"]](content)
        elif content["kind"] in COMPARED:
            compared.append(path)
        else:
            kinds = ", ".join([*RENDERERS, *COMPARED])
            raise DocumentError(f"{path}: is of kind {content['kind']}; {kinds} have tables here")
    places = list(PLACE.finditer(page))
    if not places:
        raise DocumentError("the page has no place for a table; add <!-- table NAME --> and <!-- end -->")
    named = [place["name"] for place in places if place["name"]]
    if missing := sorted(set(named) - tables.keys()):
        raise DocumentError(f"the page has places for {', '.join(missing)}, which no file given is named after")
    if unused := sorted(tables.keys() - set(named)):
        raise DocumentError(f"the page has no place for {', '.join(unused)}; add <!-- table NAME --> and <!-- end -->")
    comparison = compare.load(compared)

    def table(place: re.Match[str]) -> str:
        if place["name"]:
            return tables[place["name"]]
        return compare.extract(comparison, int(place["scale"]), place["networks"].split(", "))

    names = [place["name"] or f"x{place['scale']}" for place in places]
    return PLACE.sub(lambda place: f"{place[1]}\n{table(place)}\n\n{place.groups()[-1]}", page), names


def renew(page: Path, results: Sequence[Path]) -> list[str]:
    """Put the tables of result files into a page; returns their names.

    Raises
    ------
    DocumentError
        The page cannot be read, or see `renewed`.
    """
    try:
        before = page.read_text(encoding="utf-8")
    except OSError as error:
        raise DocumentError(f"{page}: cannot be read: {error.strerror}") from error
    after, names = renewed(before, results)
    with files.new_file(page, overwrite=True) as file:
        file.write(after.encode())
    return names
