"""Break one line after the other, and see that a test notices: `make mutation`.

    python -m tests.mutation [--jobs N] [WORD ...]

With words, only lines whose module or text holds one of them. First the tests run unbroken, since
a test that fails anyway notices nothing.
"""

import argparse
import os
import sys

from tests.mutation.breaks import Break
from tests.mutation.export import BREAKS as OF_EXPORT
from tests.mutation.runtime import BREAKS as OF_RUNTIME
from tests.mutation.trial import Trial, trials

BREAKS = (*OF_RUNTIME, *OF_EXPORT)


def chosen(words: list[str]) -> list[Break]:
    """Lines that are asked for."""
    return [one for one in BREAKS if not words or any(word in one.module or word in one.line for word in words)]


def selections(breaks: list[Break]) -> list[list[str]]:
    """All tests that watch over these lines, once each: whole files, and of others some."""
    tests = sorted({test for one in breaks for test in one.tests})
    files = [test for test in tests if "::" not in test]
    return [part for part in (files, [t for t in tests if "::" in t and t.partition("::")[0] not in files]) if part]


def shown(trial: Trial) -> str:
    """A line about a line; more where nothing noticed it."""
    one = trial.line
    assert one is not None
    told = f"{trial.outcome:9} {trial.seconds:5.1f} s  {one.module}:{one.place()}: {one.line}"
    if trial.outcome != "noticed":
        told += f"\n{'':19}as {one.broken}\n{'':19}by {' '.join(one.tests)}"
    if trial.outcome == "failed":
        told += f"\n{trial.said}"
    return told


def main() -> int | str:
    """Try all lines; 0 if every one was noticed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutation", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="trials at a time")
    parser.add_argument("words", nargs="*", metavar="WORD", help="of the lines, or of their modules' paths")
    asked = parser.parse_args()
    breaks = chosen(asked.words)
    gone = [one for one in breaks if one.place() is None]
    if gone or not breaks:
        told = "\n".join(f"{one.module}: {one.line}" for one in gone)
        return f"{len(gone)} of {len(breaks)} lines are no longer there, or not once; change the table\n{told}"
    seconds = 0.0
    for trial in trials([(None, tests) for tests in selections(breaks)], asked.jobs):
        seconds += trial.seconds
        if trial.outcome != "survived":
            return f"the tests do not pass as things are\n{trial.said}"
    noticed = 0
    for trial in trials([(one, one.tests) for one in breaks], asked.jobs):
        print(shown(trial), flush=True)
        seconds += trial.seconds
        noticed += trial.outcome == "noticed"
    print(f"{noticed} of {len(breaks)} broken lines were noticed, in {seconds:.0f} s of a processor")
    return int(noticed < len(breaks))


if __name__ == "__main__":
    sys.exit(main())
