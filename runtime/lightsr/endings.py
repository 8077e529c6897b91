"""How a command ends when something stands in its way: with one line and its status, nobody's traceback."""

import contextlib
import sys
from collections.abc import Callable

from lightsr.arguments import silence
from lightsr.errors import LightsrError
from lightsr.progress import say

FAILED = 1


class Stopped(KeyboardInterrupt):
    """A signal that asks to end.

    After a `KeyboardInterrupt` itself out of a string that is executed, as some imports do, Python ends with the
    status of SIGINT, though it was caught (`run_eval_code_obj` of CPython).
    """


def guarded(
    program: str,
    command: Callable[[], int],
    *,
    debug: bool,
    install: str = "",
    unread: str = "the rest was not printed",
) -> int:
    """Run a command; whatever it raises becomes a line on standard error, but for `KeyboardInterrupt`.

    Parameters
    ----------
    program : str
        Its name, for that line.
    command : callable
        Gives the exit status.
    debug : bool
        Errors pass, and show their traceback.
    install : str
        What to do where a package is missing; "" where none may be.
    unread : str
        As `of_system` takes it.

    Returns
    -------
    int
        Exit status.
    """
    try:
        return flushed(command())
    except BrokenPipeError as error:
        return of_system(program, error, unread=unread)
    except Exception as error:
        if debug:
            raise
        if isinstance(error, LightsrError):
            message = str(error)
        elif isinstance(error, OSError):
            return of_system(program, error)
        elif isinstance(error, ModuleNotFoundError) and install:
            message = f"{(error.name or 'a package').partition('.')[0]} is not installed; {install}"
        else:  # only its kind: a foreign message may quote what it choked on, a patient's data
            message = f"unexpected {type(error).__name__}; --debug shows where"
        say(f"{program}: {message}", sys.stderr)
        return FAILED


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
