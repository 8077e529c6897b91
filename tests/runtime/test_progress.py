import io
import sys

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
