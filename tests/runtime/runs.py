"""Runs of the command over many files, and what they leave."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pydicom
import pytest
from lightsr.cli import main
from lightsr.cpus import available_cpus

COMMAND = (sys.executable, "-m", "lightsr.cli")

posix = pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
workers = pytest.mark.skipif(
    available_cpus() < 2 or sys.platform != "linux", reason="with one CPU there is one job; /proc tells whose workers"
)


def undated(path: Path) -> bytes:
    """A result without the times of its making."""
    if path.suffix != ".dcm":
        return path.read_bytes()
    dataset = pydicom.dcmread(path)
    for name in ("InstanceCreation", "Content"):
        for kind in ("Date", "Time"):
            delattr(dataset, name + kind)
    del dataset.ContributingEquipmentSequence[-1].ContributionDateTime
    content = io.BytesIO()
    dataset.save_as(content)
    return content.getvalue()


def results(folder: Path) -> dict[str, bytes]:
    """Everything that stands under a final name."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and not path.name.startswith("."))
    return {path.relative_to(folder).as_posix(): undated(path) for path in files}


def strays(folder: Path) -> list[Path]:
    return [path for path in folder.rglob(".*") if path.is_file()]


def rows(manifest: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in manifest.read_text(encoding="ascii").splitlines()]


def enlarge(source: Path, target: Path, *more: str) -> int:
    return main([str(source), str(target), "--model", "tiny", *more])


class Run:
    """The command in a process of its own, in a group of its own as a terminal would have it."""

    def __init__(self, *arguments: object, **how: object) -> None:
        command = [*COMMAND, *(str(argument) for argument in arguments), "--model", "tiny"]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "process_group": 0, **how}
        self.process = subprocess.Popen(command, text=True, **pipes)  # type: ignore[call-overload]

    def first_line(self) -> None:
        assert self.process.stdout.readline()

    def children(self) -> list[int]:
        try:
            tasks = list(Path(f"/proc/{self.process.pid}/task").iterdir())
            return [int(pid) for task in tasks for pid in (task / "children").read_text().split()]
        except FileNotFoundError:
            return []

    def end(self) -> str:
        """Standard error, closed by the last of the processes."""
        err = self.process.communicate(timeout=60)[1]
        assert "Traceback" not in err
        return str(err)
