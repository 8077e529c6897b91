import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from lightsr import progress
from lightsr.progress import Console


class Terminal(io.StringIO):
    """Standard error of a person."""

    def isatty(self) -> bool:
        return True


def started(total: int, monkeypatch: pytest.MonkeyPatch, term: str = "xterm") -> tuple[Console, Terminal]:
    stream = Terminal()
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", term)
    monkeypatch.setattr(progress, "DRAW_SECONDS", 0)
    return Console(total), stream


def seen(stream: io.StringIO) -> list[str]:
    """Lines as a terminal shows them in the end."""
    rows = [""]
    for part in stream.getvalue().replace("\n", "\0\n\0").replace("\r\x1b[K", "\0\r\0").split("\0"):
        if part == "\n":
            rows.append("")
        elif part == "\r":
            rows[-1] = ""
        else:
            rows[-1] += part
    return rows


def test_messages_stand_above_the_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    console, terminal = started(3, monkeypatch)
    console.working("a.png")
    console.count(worked=True)
    console.error("b.png: refused")
    console.count(worked=True)
    rows = seen(terminal)
    assert rows[0] == "b.png: refused"
    assert rows[1].startswith("[################        ] 2/3  ")
    assert rows[1].endswith(" left  a.png")
    console.end()
    console.count(worked=True)
    assert seen(terminal) == ["b.png: refused", ""]


@pytest.mark.parametrize(("term", "total"), [("dumb", 3), ("xterm", 1)])
def test_no_bar_where_it_would_be_in_the_way(term: str, total: int, monkeypatch: pytest.MonkeyPatch) -> None:
    console, terminal = started(total, monkeypatch, term)
    console.working("a.png")
    console.count(worked=True)
    console.error("x")
    assert terminal.getvalue() == "x\n"


def test_no_bar_without_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    console = Console(3)
    console.count(worked=True)
    console.error("x")
    assert stream.getvalue() == "x\n"


def test_no_colours_and_no_name_that_moves_the_cursor(monkeypatch: pytest.MonkeyPatch) -> None:
    console, terminal = started(3, monkeypatch)
    console.working("a\x1b[31m\nb.png")
    console.end()
    codes = terminal.getvalue().split("\x1b")[1:]
    assert codes
    assert all(code.startswith("[K") for code in codes)
    assert "\n" not in terminal.getvalue()


def test_closed_streams_are_no_trouble(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", None)
    monkeypatch.setattr(sys, "stdout", None)
    console = Console(3)
    console.out("x")
    console.error("y")
    console.count(worked=True)
    console.end()


def on_a_terminal(command: list[str], **environment: str) -> str:
    """What a command writes, both streams on one pseudo-terminal."""
    import pty

    mine, its = pty.openpty()
    known = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "FORCE_COLOR", "TERM")}
    process = subprocess.Popen(command, stdin=its, stdout=its, stderr=its, env=known | environment)
    os.close(its)
    parts = []
    try:
        while part := os.read(mine, 65_536):
            parts.append(part)
    except OSError:  # Linux's way to say that nobody writes any more
        pass
    os.close(mine)
    assert process.wait(60) in (0, 3)
    return b"".join(parts).decode()


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals of POSIX")
@pytest.mark.parametrize(
    ("environment", "bar"),
    [
        ({"TERM": "xterm-256color"}, True),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, True),
        ({"TERM": "xterm-256color", "FORCE_COLOR": "1", "PYTHON_COLORS": "1"}, True),
        ({"TERM": "dumb"}, False),
    ],
)
def test_a_bar_on_a_terminal_and_never_a_colour(environment: dict[str, str], bar: bool, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in ("a.png", "b.png"):
        (tmp_path / "in" / name).write_bytes(b"no picture")
    command = [sys.executable, "-m", "lightsr.cli", str(tmp_path / "in"), str(tmp_path / "out"), "--model", "tiny"]
    said = on_a_terminal([*command, "--threads", "1"], **environment)
    assert "b.png: neither PNG" in said
    assert set(re.findall(r"\x1b[^A-Za-z]*[A-Za-z]", said)) == ({"\x1b[K"} if bar else set())
    assert ("] 1/2" in said or "] 2/2" in said) == bar


@pytest.mark.skipif(os.name != "posix", reason="pseudo-terminals of POSIX")
def test_no_colour_in_help_or_mistakes() -> None:
    for words in (["--help"], ["--no-such"]):
        code = f"import lightsr.cli, sys\ntry: lightsr.cli.main({words!r})\nexcept SystemExit: pass"
        said = on_a_terminal([sys.executable, "-c", code], TERM="xterm-256color", FORCE_COLOR="1")
        assert "lightsr-infer" in said
        assert "\x1b" not in said


def test_streams_that_are_no_terminal_are_not_drawn_on() -> None:
    assert not progress.redraws(io.StringIO())
    assert not progress.redraws(None)
