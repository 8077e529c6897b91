"""Which branches of the runtime and the export the tests take: `make coverage`.

    python -m tests.coverage [OPTION ...]

Options go to pytest (`-n 4` where pytest-xdist is installed). Processes that the tests start are
measured too, as far as they are not killed. pyproject.toml holds the settings of coverage.py.
"""

import json
import shutil
import subprocess
import sys

from tests.coverage.shares import LEAST_PERCENT, Share, shares, table
from tests.mutation.breaks import CHECKOUT

TESTS = (
    *("tests/runtime", "tests/export", "tests/test_commands.py", "tests/test_end_to_end.py"),
    *("runtime", "export"),  # examples in docstrings
)

FOLDER = CHECKOUT / "build" / "coverage"
"""Where coverage.py leaves what it finds."""


def main() -> int | str:
    """Test, combine what all processes saw, and judge; 0 if all is well."""
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir(parents=True)
    options = ["-p", "tests.coverage.selection", *sys.argv[1:]]
    failed = coverage("run", "-m", "pytest", *options, *TESTS).returncode != 0
    for step in ("combine", "json"):
        # Processes that were killed leave files that cannot be read, one warning each.
        if (ended := coverage(step, "--quiet", quiet=True)).returncode:
            return f"coverage.py found nothing that could be reported\n{ended.stdout}{ended.stderr}"
    found = shares(json.loads((FOLDER / "coverage.json").read_text(encoding="utf-8")))
    sys.stdout.write(f"{table(found)}\n")
    return judged(found, failed=failed)


def coverage(*arguments: str, quiet: bool = False) -> "subprocess.CompletedProcess[str]":
    """Run a command of coverage.py in the checkout."""
    command = [sys.executable, "-m", "coverage", *arguments]
    return subprocess.run(command, cwd=CHECKOUT, check=False, text=True, capture_output=quiet)


def judged(found: list[Share], *, failed: bool) -> int | str:
    """What is wrong, 0 if nothing is."""
    short = [share.name for share in found if share.is_package and share.branches_percent < LEAST_PERCENT]
    if short:
        return f"less than {LEAST_PERCENT} % of the branches of {' and of '.join(short)} are taken"
    return "some tests failed" if failed else 0


if __name__ == "__main__":
    sys.exit(main())
