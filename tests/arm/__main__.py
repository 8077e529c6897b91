"""The runtime on an emulated Arm processor: `make test-arm`.

    python -m tests.arm [--short] [TEST ...]

First `test_agreement` compares this machine with emulated ones, then the tests of ``tests/runtime`` themselves run on
an emulated Raspberry Pi 5's processor. The Arm system is prepared where it is missing.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from lightsr_bench import emulator
from lightsr_bench.emulator import EmulationError

from tests.arm import selection

CHECKOUT = Path(__file__).parents[2]

CPU = "cortex-a76"
"""On which the runtime's tests run."""

COMPARISONS = ("tests/arm", "tests/benchmarks/test_emulation.py")

ROOT = CHECKOUT / "build/arm64"
"""Where the Arm system is prepared unless LIGHTSR_ARM_ROOT names another folder."""


def main() -> int | str:
    """Prepare, compare, test; 0 if all of it went well."""
    parser = argparse.ArgumentParser(prog="python -m tests.arm", description=str(__doc__).partition("\n")[0])
    parser.add_argument("--short", action="store_true", help="a few minutes of it")
    parser.add_argument("tests", nargs="*", metavar="TEST", help="of tests/runtime: these alone, compare nothing")
    asked = parser.parse_args()
    root = Path(os.environ.get(emulator.ROOT_VARIABLE) or ROOT).absolute()
    script = ["bash", str(CHECKOUT / "benchmarks/arm64-root.sh"), "--tests", str(root)]
    if subprocess.run(script, env=os.environ | {"PYTHON": sys.executable}).returncode:
        return 1
    try:
        emulated = emulator.find(CPU, root)
    except EmulationError as error:
        return str(error)
    failed = False
    if not asked.tests:
        form = "short" if asked.short else "long"
        environment = os.environ | {emulator.ROOT_VARIABLE: str(root), "LIGHTSR_ARM_FORM": form}
        failed |= run([sys.executable, "-m", "pytest", "-m", "not oracle", *COMPARISONS], environment)
    with tempfile.TemporaryDirectory(prefix="lightsr-arm-") as folder:
        interpreter = emulated.environment(Path(folder))
        short = [f"tests/runtime/{name}" for name in selection.SHORT]
        tests = asked.tests or (short if asked.short else ["tests/runtime"])
        command = [str(interpreter), "-m", "pytest", "-p", "tests.arm.selection", "-p", "no:cacheprovider", *tests]
        failed |= run(command, suite_environment())
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    sys.stdout.write(f"{used.ru_utime + used.ru_stime:.0f} seconds of a processor\n")
    return int(failed)


def suite_environment() -> dict[str, str]:
    """Of the emulated tests: the runtime's source and its packages alone, and no collections of real images."""
    dropped = ("PYTHON", "LIGHTSR_DATA", "LIGHTSR_PEERS", emulator.ROOT_VARIABLE)
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return kept | {"PYTHONPATH": str(CHECKOUT / "runtime"), "OPENBLAS_NUM_THREADS": "1"}


def run(command: list[str], environment: dict[str, str]) -> bool:
    """Run a command in the checkout; whether it failed."""
    return subprocess.run(command, cwd=CHECKOUT, env=environment).returncode != 0


if __name__ == "__main__":
    sys.exit(main())
