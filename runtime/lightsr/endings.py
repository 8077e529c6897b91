"""How a command ends when the system stands in its way: with one line and its status, nobody's traceback."""

import contextlib
import sys

from lightsr.arguments import silence
from lightsr.progress import say

FAILED = 1


class Stopped(KeyboardInterrupt):
    """A signal that asks to end.

    After a `KeyboardInterrupt` itself out of a string that is executed, as some imports do, Python ends with the
    status of SIGINT, though it was caught (`run_eval_code_obj` of CPython).
    """


def of_system(program: str, error: OSError, *, unread: str = "the rest was not printed") -> int:
    """Say what the system reported.

    Parameters
    ----------
    program : str
    error : OSError
    unread : str
        What a standard output means that is closed, as by `head`.

    Returns
    -------
    int
        Exit status.
    """
    where = f"{error.filename}: " if error.filename else ""
    message = f"{where}{error.strerror or type(error).__name__}"
    if isinstance(error, BrokenPipeError):
        silence(sys.stdout)
        message = f"standard output was closed; {unread}"
    with contextlib.suppress(OSError):  # standard error may be closed as well
        say(f"{program}: {message}", sys.stderr)
    return FAILED


def flushed(status: int) -> int:
    """The exit status `status`, once everything printed has gone out; else whoever called is told by an OSError."""
    if sys.stdout is not None:
        sys.stdout.flush()
    return status
