"""Arguments as all four commands take them: one line for what is wrong, and examples in the help."""

from __future__ import annotations

import argparse
import os
import re
import sys
from types import MappingProxyType

from lightsr.suggestion import suggestion

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
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
    surplus : str
        What to do with words of which there are too many.
    instead : dict of str
        For options that people expect and that there are not, what there is in their place.
    **kwargs
        As `argparse.ArgumentParser` takes them.
    """

    def __init__(
        self,
        *,
        examples: Sequence[str] = (),
        closing: str = "",
        surplus: str = "leave it out",
        instead: Mapping[str, str] = MappingProxyType({}),
        **kwargs: Any,
    ) -> None:
        self.examples, self.surplus, self.instead = tuple(examples), surplus, instead
        shown = "\n  ".join([EXAMPLES, *examples]) if examples else ""
        settings: dict[str, Any] = {"allow_abbrev": False, "formatter_class": _Formatter} | kwargs
        if sys.version_info >= (3, 14):
            settings.setdefault("color", False)  # as everywhere in lightsr
        super().__init__(epilog="\n\n".join(filter(None, [shown, closing])) or None, **settings)

    def parse_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As of the class above; words of which there are too many get `surplus`."""
        found, rest = self.parse_known_args(args, namespace)
        if rest:
            others = f" and {len(rest) - 1} more" if len(rest) > 1 else ""
            self.error(f"'{rest[0]}'{others}: too many; {self.surplus}")
        return found

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """As of the class above, but an option that there is not is told before anything that is missing.

        Files may stand on both sides of an option. An empty word is refused: as a path it would be
        the current folder.
        """
        args = list(sys.argv[1:] if args is None else args)
        for number, word in enumerate(args, 1):
            if not word or re.fullmatch("--[^=]*=", word):
                self.error(
                    f"argument {number} is empty, perhaps for a variable that is not set; leave it out or fill it"
                )
        for word in args:
            if word == "--" or (self._subparsers is not None and not word.startswith("-")):
                break  # what follows are files, or a subcommand's
            option = word.partition("=")[0]
            short = re.fullmatch(r"-[A-Za-z]\S*", word) is not None and word[:2] not in self._option_string_actions
            if short or (option.startswith("--") and option not in self._option_string_actions):
                known = self.instead.get(option) or (self.instead.get(option[:2]) if short else None)  # -x, -x4
                meant = f"; {known}" if known else suggestion(option, self._option_string_actions)
                self.error(f"{option}: no such option{meant}")
        found, rest = super().parse_known_args(args, namespace)
        return found, self._filled(found, [word for word in rest if word != "--"])

    def _filled(self, found: argparse.Namespace, rest: list[str]) -> list[str]:
        """Give files that stand behind an option to what is still without; those that are left.

        Up to Python 3.12 argparse is done with all files that may be left out at the first of them.
        """
        for action in self._get_positional_actions():
            while rest and (action.nargs == "*" or (action.nargs == "?" and getattr(found, action.dest) is None)):
                word = rest.pop(0)
                value = action.type(word) if callable(action.type) else word
                before = getattr(found, action.dest) if action.nargs == "*" else None
                setattr(found, action.dest, value if before is None else [*before, value])
        return rest

    def error(self, message: str) -> NoReturn:
        """Say in one line what is wrong, and end with status 2; names of files may be among what it quotes."""
        from lightsr.progress import escaped

        choice = re.search(r"invalid choice: (.*) \(choose from (.*)\)$", message)
        wrong = re.search(r"^argument (\S+?)[:/].*invalid (int|float) value: (.*)$", message)
        if choice:
            chosen, words = choice[1].strip("'"), [word.strip("' ") for word in choice[2].split(",")]
            meant = suggestion(chosen, words)
            message = f"{message[: choice.start()]}'{chosen}'; {', '.join(words)} are allowed{meant}"
        elif wrong:
            choices = self._option_string_actions[wrong[1]].choices
            needed = "a whole number" if wrong[2] == "int" else "a number"
            allowed = f"{', '.join(map(str, choices))} are allowed" if choices else f"{needed} is needed"
            message = f"argument {wrong[1]}: {wrong[3]}; {allowed}"
        end = "" if message.endswith("?") else ";"
        self.exit(2, f"{self.prog}: {escaped(message)}{end} {self.prog} --help tells all\n")

    def _print_message(self, message: str, file: Any = None) -> None:
        """Print help and mistakes; what reads them, `head` say, need not read all."""
        try:
            super()._print_message(message, file)
            if file is not None:
                file.flush()
        except BrokenPipeError:
            silence(file)


def silence(stream: Any) -> None:
    """Let what is still to be written to a stream that nobody reads go nowhere; Python would complain at its end."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Formatter(argparse.HelpFormatter):
    """Wraps paragraphs, but for examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        fill = super()._fill_text
        paragraphs = text.split("\n\n")
        return "\n\n".join(part if part.startswith(EXAMPLES) else fill(part, width, indent) for part in paragraphs)
