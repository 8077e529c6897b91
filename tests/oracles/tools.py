"""Programs of other people that judge DICOM files, and where to get them."""

import os
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
    "dcmdrle": "dcmtk",
    "gdcmconv": "libgdcm-tools",
    "dcm2niix": "dcm2niix",
    "Orthanc": "orthanc orthanc-dicomweb",
}
"""Debian package that each program is in."""

TIMEOUT_S = 120


def missing() -> list[str]:
    """Debian packages that are not installed."""
    return sorted({package for program, package in PACKAGES.items() if not find(program)})


def find(program: str) -> str:
    """Path of a program, a daemon's too, which a user's own search need not reach; "" where it is not installed."""
    folders = [os.environ.get("PATH", os.defpath), "/usr/sbin", "/usr/local/sbin"]
    return shutil.which(program, path=os.pathsep.join(folders)) or ""


def need(*programs: str) -> None:
    """Skip a test whose programs are not installed."""
    if absent := [program for program in programs if not find(program)]:
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
