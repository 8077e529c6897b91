"""What a broken line is."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Break:
    """One line of a module, and what stands in its place for a while.

    Parameters
    ----------
    module : str
        Path in the checkout.
    line : str
        As it stands there once, without its indentation.
    broken : str
        What becomes of it: code that runs, and makes another picture or puts it elsewhere.
    tests : tuple of str
        Which of pytest must notice.
    """

    module: str
    line: str
    broken: str
    tests: tuple[str, ...]

    @property
    def path(self) -> Path:
        """Of the module."""
        return CHECKOUT / self.module

    def place(self) -> int | None:
        """Number of the line, from 1 on; None where it does not stand there, or more than once."""
        lines = [line.strip() for line in self.path.read_text(encoding="utf-8").splitlines()]
        return lines.index(self.line) + 1 if lines.count(self.line) == 1 else None

    def source(self) -> str:
        """Text of the module with the line broken.

        Raises
        ------
        ValueError
            The line does not stand there once.
        """
        place = self.place()
        if place is None:
            raise ValueError(f"{self.module}: has no longer one line that is {self.line!r}; change the table")
        lines = self.path.read_text(encoding="utf-8").splitlines(keepends=True)
        lines[place - 1] = lines[place - 1].replace(self.line, self.broken)
        return "".join(lines)


def broken(module: str, tests: str, lines: Mapping[str, str], *, folder: str = "") -> Iterator[Break]:
    """Lines of one module that the same tests watch over.

    Parameters
    ----------
    module : str
        Its path in the checkout.
    tests : str
        What pytest takes, with spaces between: in `folder`.
    lines : mapping of str to str
        A line and its broken form.
    folder : str
        By default that of the part's own tests.
    """
    folder = folder or f"tests/{module.partition('/')[0]}"
    chosen = tuple(f"{folder}/{name}" for name in tests.split())
    return (Break(module, line, form, chosen) for line, form in lines.items())
