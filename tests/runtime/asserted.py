"""What a refusal must look like, and may cost."""

import re
import sys
from pathlib import Path

from lightsr.progress import escaped

from .measured import Measured

MAX_MIB = 256
"""Of all processes together."""

MAX_CPU_SECONDS = 10
"""Of all processes together."""

MAX_SECONDS = 120
"""That may pass, on a busy machine."""

COMMAND = [sys.executable, "-m", "lightsr.cli"]
OPTIONS = ["--model", "tiny", "--threads", "1"]


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def assert_within_limits(measured: Measured) -> None:
    assert measured.peak_mib <= MAX_MIB
    assert measured.cpu_seconds <= MAX_CPU_SECONDS


def assert_one_line(measured: Measured, path: Path, says: str = "") -> None:
    """Standard error is one line that names `path` as a terminal may show it."""
    assert re.fullmatch(rf"lightsr-infer: {re.escape(escaped(str(path)))}: [^\n]+\n", measured.err), measured.err
    assert says in measured.err
    assert measured.err[:-1].isprintable()
    assert "Traceback" not in measured.err
    assert measured.out == ""
