"""Arguments as all four commands take them: one line for what is wrong, and examples in the help."""

from __future__ import annotations

import argparse
import re
import sys

from lightsr.suggestion import suggestion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

EXAMPLES = "Examples:"


class Parser(argparse.ArgumentParser):
    """An `ArgumentParser` that answers a mistake in one line, and wants options written out.

    A shortened option would mean another one, or none, as soon as a new one begins alike, and scripts run
    where nobody sees it. What was perhaps meant is told instead.

    Parameters
    ----------
    examples : sequence of str
        Commands, shown at the end of the help as they are.
    closing : str
        A paragraph below them.
    **kwargs
        As `argparse.ArgumentParser` takes them.
    """

    def __init__(self, *, examples: Sequence[str] = (), closing: str = "", **kwargs: Any) -> None:
        self.examples = tuple(examples)
        shown = "\n  ".join([EXAMPLES, *examples]) if examples else ""
        settings: dict[str, Any] = {"allow_abbrev": False, "formatter_class": _Formatter} | kwargs
        if sys.version_info >= (3, 14):
            settings.setdefault("color", False)  # as everywhere in lightsr
        super().__init__(epilog="\n\n".join(filter(None, [shown, closing])) or None, **settings)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As of the class above, but an option that there is not is told before anything that is missing."""
        args = list(sys.argv[1:] if args is None else args)
        for word in args:
            if word == "--" or (self._subparsers is not None and not word.startswith("-")):
                break  # what follows are files, or a subcommand's
            option = word.partition("=")[0]
            if option.startswith("--") and option not in self._option_string_actions:
                self.error(f"{option}: no such option{suggestion(option, self._option_string_actions)}")
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """Say in one line what is wrong, and end with status 2; names of files may be among what it quotes."""
        from lightsr.progress import escaped

        choice = re.search(r"invalid choice: (.*) \(choose from (.*)\)$", message)
        if choice:
            chosen, words = choice[1].strip("'"), [word.strip("' ") for word in choice[2].split(",")]
            meant = suggestion(chosen, words)
            message = f"{message[: choice.start()]}'{chosen}'; {', '.join(words)} are allowed{meant}"
        end = "" if message.endswith("?") else ";"
        self.exit(2, f"{self.prog}: {escaped(message)}{end} {self.prog} --help tells all\n")


class _Formatter(argparse.HelpFormatter):
    """Wraps paragraphs, but for examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        paragraphs = text.split("\n\n")
        return "\n\n".join(part if part.startswith(EXAMPLES) else fill(part, width, indent) for part in paragraphs)
