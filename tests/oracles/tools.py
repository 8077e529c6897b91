"""Programs of other people that judge DICOM files, and where to get them."""

import shutil
import subprocess
from pathlib import Path

import pytest

PACKAGES = {
    "dciodvfy": "dicom3tools",
    "dcmconv": "dcmtk",
    "dcmcrle": "dcmtk",
    "dcmcjpeg": "dcmtk",
    "dcmdjpeg": "dcmtk",
    "gdcmconv": "libgdcm-tools",
    "dcm2niix": "dcm2niix",
}
"""Debian package that each program is in."""

TIMEOUT_S = 120


def missing() -> list[str]:
    """Debian packages that are not installed."""
    return sorted({package for program, package in PACKAGES.items() if shutil.which(program) is None})


def need(*programs: str) -> None:
    """Skip a test whose programs are not installed."""
    if absent := [program for program in programs if shutil.which(program) is None]:
        packages = sorted({PACKAGES[program] for program in absent})
        pytest.skip(f"{', '.join(absent)} not installed (Debian: {' '.join(packages)})")


def run(*command: str | Path) -> tuple[int, str]:
    """Exit status of a program, and all that it said; not every byte of it need be UTF-8."""
    finished = subprocess.run(
        [str(part) for part in command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=TIMEOUT_S,
        check=False,
    )
    return finished.returncode, finished.stdout.decode("latin-1")
