"""Commands that the pages and the files of `deploy` show are ones that the programs take."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import lightsr.cli
import lightsr_bench.arguments
import lightsr_export.cli
import lightsr_train.cli
import pytest

ROOT = Path(__file__).parents[1]

PARSERS = {
    "lightsr-infer": lightsr.cli.parser,
    "lightsr-train": lightsr_train.cli.parser,
    "lightsr-export": lightsr_export.cli.parser,
    "lightsr-bench": lightsr_bench.arguments.parser,
}

SOURCES = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/*")]

COMMAND = re.compile(rf"(?:^(?:    |ExecStart=)(?:\S*/|\$ )?|&& )((?:{'|'.join(PARSERS)}) .*)", re.MULTILINE)


def commands(text: str) -> Iterator[list[str]]:
    """Words of every command that is there to be typed as it is."""
    for line in COMMAND.findall(re.sub(r"\\\n *", "", text)):
        words = shlex.split(re.sub(r"\[[^]]*\]", "", line), comments=True)
        if "..." not in words and "|" not in words:
            yield words


@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.name)
def test_programs_take_the_commands(source: Path) -> None:
    for program, *words in commands(source.read_text(encoding="utf-8")):
        try:
            PARSERS[program]().parse_args(words)
        except SystemExit as end:  # --version ends well
            assert end.code == 0, f"{source.name}: {program} {shlex.join(words)}"


def test_there_are_commands() -> None:
    found = [words[0] for source in SOURCES for words in commands(source.read_text(encoding="utf-8"))]
    assert set(found) == set(PARSERS)
    assert len(found) > 40
