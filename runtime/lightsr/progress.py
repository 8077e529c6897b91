"""What a person sees of a run: lines, and a bar with rate and time left where there is a terminal."""

import os
import sys
import time
import unicodedata
from typing import TextIO

CONTROL_CHARACTERS = {code: f"\\x{code:02x}" for code in (*range(32), *range(127, 160))} | {
    code: f"\\u{code:04x}"
    for code in (0x061C, 0x200E, 0x200F, 0x2028, 0x2029, *range(0x202A, 0x202F), *range(0x2066, 0x206A))
}
"""How names that hold such characters are shown: they would move the cursor, break the line or turn its order round."""

BAR_COLUMNS = 24
"""Width of the bar itself."""

DRAW_SECONDS = 0.1
"""The bar is drawn no more often than that."""


def escaped(text: str) -> str:
    """A text as one line, in which a file's name cannot move the cursor or start a new line.

    >>> escaped("a\\nb")
    'a\\\\x0ab'
    """
    return text.translate(CONTROL_CHARACTERS)


def say(text: str, stream: TextIO | None) -> None:
    """Print a line, escaped."""
    if stream is not None:  # closed before the program began
        stream.write(escaped(text) + "\n")
        stream.flush()


def redraws(stream: TextIO | None) -> bool:
    """Whether a line on a stream can be drawn anew: it is a terminal, and one that can go back (TERM is not "dumb")."""
    return stream is not None and stream.isatty() and os.environ.get("TERM", "") != "dumb"


class Console:
    """Lines on both streams, under which a bar stays in its place.

    The bar is drawn without colour, on standard error, and only where `redraws`.

    Parameters
    ----------
    total : int
        Files of the run.
    """

    def __init__(self, total: int) -> None:
        self.total = total
        self.finished = self.worked = 0
        self._name = ""
        self._stream = sys.stderr
        self.live = total > 1 and redraws(self._stream)
        self._shared = sys.stdout is not None and sys.stdout.isatty()
        self._started = time.monotonic()
        self._drawn = -DRAW_SECONDS
        self._shown = False

    def out(self, text: str) -> None:
        """A line on standard output."""
        if self._shared:
            self.clear()
        say(text, sys.stdout)
        self.draw()

    def error(self, text: str) -> None:
        """A line on standard error."""
        self.clear()
        say(text, self._stream)
        self.draw()

    def working(self, name: str) -> None:
        """Name the file in hand, where there is one."""
        self._name = name
        self.draw()

    def count(self, *, worked: bool) -> None:
        """One more file is finished; one that was there already tells nothing about the rate."""
        self.finished += 1
        self.worked += worked
        self.draw(at_once=self.finished == self.total)

    def clear(self) -> None:
        """Take the bar away."""
        if self._shown:
            self._write("\r\x1b[K")
            self._shown = False
            self._drawn = -DRAW_SECONDS

    def end(self) -> None:
        """Take the bar away for good."""
        self.clear()
        self.live = False

    def draw(self, *, at_once: bool = False) -> None:
        """Draw the bar anew, if it was not drawn just now."""
        now = time.monotonic()
        if not self.live or (now - self._drawn < DRAW_SECONDS and not at_once):
            return
        self._drawn = now
        try:
            columns = os.get_terminal_size(self._stream.fileno()).columns or 80
        except (OSError, ValueError):
            columns = 80
        text = bar(self.finished, self.worked, self.total, now - self._started)
        if self._name:
            text += f"  {escaped(self._name)}"
        self._write(f"\r\x1b[K{cut(text, columns - 1)}")
        self._shown = True

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()


def bar(finished: int, worked: int, total: int, seconds: float) -> str:
    """The bar with its figures.

    Parameters
    ----------
    finished, worked, total : int
        Files: finished in any way, of these with work done on them, and all.
    seconds : float
        Since the start.

    Returns
    -------
    str

    >>> bar(30, 20, 90, 10.0)
    '[########                ] 30/90  2.0 files/s  0:30 left'
    >>> bar(1, 1, 90, 100.0)
    '[                        ] 1/90  100.0 s/file  2:28:20 left'
    >>> bar(3, 0, 90, 1.0)
    '[                        ] 3/90'
    """
    full = BAR_COLUMNS * finished // total
    text = f"[{'#' * full}{' ' * (BAR_COLUMNS - full)}] {finished}/{total}"
    if not worked or seconds <= 0:
        return text
    rate = worked / seconds
    speed = f"{rate:.1f} files/s" if rate >= 1 else f"{1 / rate:.1f} s/file"
    return f"{text}  {speed}  {clock((total - finished) / rate)} left"


def cut(text: str, columns: int) -> str:
    """Start of a text that fits into so many columns; a wide character takes two.

    >>> cut("abc", 2), cut("日本", 3)
    ('ab', '日')
    """
    for end, character in enumerate(text):
        columns -= 2 if unicodedata.east_asian_width(character) in "WF" else 1
        if columns < 0:
            return text[:end]
    return text


def clock(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> clock(59.6), clock(3600)
    ('1:00', '1:00:00')
    """
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
