"""Where an error came from, told without what it says."""

import sys
import traceback
from types import TracebackType

from lightsr.errors import LightsrError


def redacted(error: BaseException) -> str:
    """A traceback like Python's, in which no foreign text stands.

    Code lines, places and kinds of exceptions say what a developer needs. What an exception says
    itself is left out, unless it is one of ours: a library quotes what it choked on, and that may be a
    patient's name.

    Parameters
    ----------
    error : BaseException

    Returns
    -------
    str
        Of the error and of those that led to it, the first of them first; ends with a line end.

    >>> try:
    ...     int("Doe^Jane")
    ... except ValueError as caught:
    ...     print(redacted(caught).splitlines()[-1])
    ValueError (its text may quote the file, and is left out)
    """
    parts, seen = [], set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        kind = type(current).__name__
        text = str(current) if isinstance(current, LightsrError) else ""
        said = f"{kind}: {text}" if text else f"{kind} (its text may quote the file, and is left out)"
        parts.append(f"Traceback:\n{''.join(traceback.format_tb(current.__traceback__))}{said}\n")
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)
    return "\nwhich led to\n\n".join(reversed(parts))


def show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Print `redacted` on standard error; for `sys.excepthook`."""
    print(redacted(error), end="", file=sys.stderr)  # noqa: T201 (what Python itself would print)
