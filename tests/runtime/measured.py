"""Commands run under measurement: what a command and all its children held at once, and how long they computed."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_WATCH = """
import json, os, sys, time

def look(pid, marks, seen, parent):
    try:
        with open(f"/proc/{pid}/cmdline") as file:
            line = file.read()
        if line == parent:  # about to become another program, and still in its parent's memory
            return
        with open(f"/proc/{pid}/status") as file:
            marks.append(next((int(line.split()[1]) for line in file if line.startswith("VmHWM")), 0))
        seen.add(pid)
        for task in os.listdir(f"/proc/{pid}/task"):  # of every thread that has started one
            with open(f"/proc/{pid}/task/{task}/children") as file:
                for other in file.read().split():
                    look(other, marks, seen, line)
    except OSError:
        pass

def watch(child):
    begun, peak, largest, seen = time.monotonic(), 0, 0, set()
    while True:
        done, status, usage = os.wait4(child, os.WNOHANG)
        if done:
            break
        marks = []
        look(str(child), marks, seen, "")
        peak, largest = max(peak, sum(marks)), max(largest, *marks, 0)
        time.sleep(0.003)
    peak += max(usage.ru_maxrss - largest, 0)
    computed = usage.ru_utime + usage.ru_stime
    return [os.waitstatus_to_exitcode(status), peak / 1024, max(len(seen), 1), computed, time.monotonic() - begun]
"""

_ONCE = f"""{_WATCH}
found = watch(os.posix_spawn(sys.argv[2], sys.argv[2:], os.environ))
with open(sys.argv[1], "w") as file:
    json.dump(found, file)
"""

_AGAIN = f"""{_WATCH}
import gc, onnxruntime, shlex, tempfile
import lightsr.batch, lightsr.cli, lightsr.decoder, lightsr.derive, lightsr.sharding, pydicom.filereader

gc.freeze()  # no child walks over, and so copies, what it shares with this process
for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if not child:
        for number, path in ((1, asked["out"]), (2, asked["err"])):
            os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), number)
        os.environ["TMPDIR"], tempfile.tempdir = asked["temporary"], None
        status = 99
        try:
            status = lightsr.cli.main(asked["arguments"])
        except SystemExit as exit:
            status = exit.code
        finally:
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(status)
    print(json.dumps(watch(child)), flush=True)
"""


@dataclass(frozen=True)
class Measured:
    """What a command did and took.

    Parameters
    ----------
    status : int
    out, err : str
        All that it said.
    peak_mib : float
        Of the resident sets of all processes that were there at once, each at its own peak, MiB.
    processes : int
        That there were, one after the other or at once.
    cpu_seconds : float
        Of all its processes.
    seconds : float
        That passed.
    """

    status: int
    out: str
    err: str
    peak_mib: float
    processes: int
    cpu_seconds: float
    seconds: float


def run(command: list[str], *, timeout: float, env: dict[str, str] | None = None) -> Measured:
    """Run a command and measure it with all its children.

    A small process starts it and waits for it: the kernel's figures of a process begin with those of the
    one that started it, and a test's own are large. Computing time and the peak of the largest process are the kernel's
    final ones. Which processes are there at once is looked up every three milliseconds, and with them their
    high-water marks: a mark only grows, so no peak hides between two looks.

    Raises
    ------
    subprocess.TimeoutExpired
        Everything that was started is ended first.
    """
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report"
        started = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _ONCE, str(report), *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env=env,
        )
        try:
            out, err = started.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            os.killpg(started.pid, signal.SIGKILL)
            started.communicate()
            raise
        return _measured(json.loads(report.read_text()), out, err)


class Command:
    """`lightsr-infer` as often as is needed, each time in a process of its own.

    That is a fork of one that has imported all it needs, and runs the command from its `main` on. Python's
    own start and the imports, most of the time of a small file, are so paid once; memory counts as if each
    had imported them.
    """

    def __init__(self, home: Path) -> None:
        self._out, self._err = home / "stdout", home / "stderr"
        self._server = subprocess.Popen(
            [sys.executable, "-c", _AGAIN],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def __call__(self, arguments: list[str], temporary: Path) -> Measured:
        """Run it with `arguments` and a folder for temporary files."""
        assert self._server.stdin is not None
        assert self._server.stdout is not None
        asked = {"arguments": arguments, "out": str(self._out), "err": str(self._err), "temporary": str(temporary)}
        self._server.stdin.write(json.dumps(asked) + "\n")
        self._server.stdin.flush()
        return _measured(json.loads(self._server.stdout.readline()), self._out.read_bytes(), self._err.read_bytes())

    def end(self) -> None:
        """End it and what it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._server.pid, signal.SIGKILL)
        self._server.communicate()


@contextlib.contextmanager
def command(home: Path) -> Iterator[Command]:
    """A `Command` that ends with the context; what is said goes to files in `home`."""
    started = Command(home)
    try:
        yield started
    finally:
        started.end()


def _measured(found: list[Any], out: bytes, err: bytes) -> Measured:
    status, peak_mib, processes, cpu_seconds, seconds = found
    said = (stream.decode("utf-8", "backslashreplace") for stream in (out, err))
    return Measured(status, *said, peak_mib, processes, cpu_seconds, seconds)
