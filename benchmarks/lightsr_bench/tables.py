"""Tables of results in a page that is otherwise written by hand: `lightsr-bench tables`."""

import re
from collections.abc import Sequence
from pathlib import Path

from lightsr import files

from lightsr_bench import documents, experiment, exporting_report, learning
from lightsr_bench.documents import DocumentError

PLACE = re.compile(r"(<!-- table (?P<name>[\w.-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
"""Where a table stands; its name is that of the result file."""

RENDERERS = {"experiment": experiment.text, "export": exporting_report.page_text, "training": learning.text}


def renewed(page: str, results: Sequence[Path]) -> tuple[str, list[str]]:
    """A page with the tables of result files, and the names of those that it has a place for.

    Raises
    ------
    DocumentError
        A file that has no table here, a place without a file, or a file without a place.
    """
    tables: dict[str, str] = {}
    for path in results:
        content = documents.read(path)
        if content["kind"] not in RENDERERS:
            raise DocumentError(f"{path}: is of kind {content['kind']}; {', '.join(RENDERERS)} have tables here")
        tables[path.stem] = RENDERERS[content["kind"]](content)
    places = [match["name"] for match in PLACE.finditer(page)]
    if not places:
        raise DocumentError("the page has no place for a table; add <!-- table NAME --> and <!-- end -->")
    if missing := sorted(set(places) - tables.keys()):
        raise DocumentError(f"the page has places for {', '.join(missing)}, which no file given is named after")
    if unused := sorted(tables.keys() - set(places)):
        raise DocumentError(f"the page has no place for {', '.join(unused)}; add <!-- table NAME --> and <!-- end -->")
    return PLACE.sub(lambda match: f"{match[1]}\n{tables[match['name']]}\n\n{match[3]}", page), places


def renew(page: Path, results: Sequence[Path]) -> list[str]:
    """Put the tables of result files into a page; returns their names."""
    try:
        before = page.read_text(encoding="utf-8")
    except OSError as error:
        raise DocumentError(f"{page}: cannot be read: {error.strerror}") from error
    after, names = renewed(before, results)
    with files.new_file(page, overwrite=True) as file:
        file.write(after.encode())
    return names
