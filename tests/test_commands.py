"""Commands that the pages and the files of `deploy` show are ones that the programs take."""

import argparse
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import lightsr.cli
import lightsr.commands
import lightsr_bench.arguments
import lightsr_bench.cli
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

MAINS = {
    "lightsr-infer": lightsr.cli.main,
    "lightsr-train": lightsr_train.cli.main,
    "lightsr-export": lightsr_export.cli.main,
    "lightsr-bench": lightsr_bench.cli.main,
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


@pytest.mark.parametrize("program", PARSERS)
def test_examples_of_the_help_are_commands_and_whole_lines(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of every subcommand, whose examples are of that one."""
    monkeypatch.setenv("COLUMNS", "60")
    top = PARSERS[program]()
    assert 2 <= len(top.examples) <= 3
    for parser in (top, *subcommands(top)):
        assert 1 <= len(parser.examples) <= 3
        shown = parser.format_help()
        assert shown.index("Examples:") > shown.index("options:")
        for example in parser.examples:
            assert f"\n  {example}\n" in shown
            assert f"{example} ".startswith(f"{parser.prog} ")
            top.parse_args(shlex.split(example)[1:])


def subcommands(parser: argparse.ArgumentParser) -> list[argparse.ArgumentParser]:
    return [
        sub
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for sub in action.choices.values()
    ]


def test_there_are_subcommands() -> None:
    assert len(subcommands(PARSERS["lightsr-bench"]())) == 7


@pytest.mark.parametrize("program", PARSERS)
def test_every_program_guesses_and_says_its_exit_statuses(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    parser = PARSERS[program]()
    assert "Exit status: 0 " in parser.format_help()
    command = ["quality", "--data", "x"] if program == "lightsr-bench" else []
    with pytest.raises(SystemExit):
        parser.parse_args([*command, "--debg"])
    assert "--debg: no such option; did you mean --debug? " in capsys.readouterr().err


AT_WORK = {
    "lightsr-infer": (lightsr.commands, "_status", ["--list-models"]),
    "lightsr-train": (lightsr_train.cli, "_train", ["--data", "x", "-o", "y"]),
    "lightsr-export": (lightsr_export.cli, "_export", ["x", "-o", "y"]),
    "lightsr-bench": (lightsr_bench.cli, "_quality", ["quality", "--data", "x"]),
}
"""Where the work of each program is done, and arguments that get there."""


@pytest.mark.parametrize("program", MAINS)
def test_an_error_that_nobody_expects_is_one_line_and_quotes_nothing(
    program: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a foreign library says may hold what it choked on, of a patient's."""

    def fail(*_: object) -> int:
        raise RuntimeError("Doe^John\nis no number")

    module, function, arguments = AT_WORK[program]
    monkeypatch.setattr(module, function, fail)
    assert MAINS[program](arguments) == 1
    assert capsys.readouterr() == ("", f"{program}: unexpected RuntimeError; --debug shows where\n")
    with pytest.raises(RuntimeError, match="Doe"):
        MAINS[program]([*arguments, "--debug"])


def test_the_same_option_is_told_in_the_same_words() -> None:
    said: dict[str, set[str]] = {}
    for parser in PARSERS.values():
        for action in actions(parser()):
            for name in set(action.option_strings) & {"--force", "--version"}:
                said.setdefault(name, set()).add((action.help or "").partition(",")[0])
            if "--out" in action.option_strings:
                assert "-o" in action.option_strings
    assert len(said["--force"]) == 1


def actions(parser: argparse.ArgumentParser) -> Iterator[argparse.Action]:
    """Options of a program and of its subcommands."""
    for action in parser._actions:
        yield action
        if isinstance(action, argparse._SubParsersAction):
            for sub in action.choices.values():
                yield from actions(sub)
