"""Hostile files through the command itself: one line each, little memory, little time, and nothing left behind."""

import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pydicom
import pytest

from .attacks import ATTACKS
from .attacks.making import a_target
from .dicom_files import a_cine, save
from .measured import Command, Measured, command, run
from .planted import PRIVATE

MAX_MIB = 256
"""Of all processes together."""

MAX_CPU_SECONDS = 10
"""Of all processes together, which a busy machine does not change."""

MAX_SECONDS = 120
"""That may pass, on a busy machine."""

COMMAND = [sys.executable, "-m", "lightsr.cli"]
OPTIONS = ["--model", "tiny", "--threads", "1"]

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures with Linux's /proc")


def enlarge(source: Path, target: Path, temporary: Path, *, timeout: float) -> Measured:
    temporary.mkdir(exist_ok=True)
    environment = {**os.environ, "TMPDIR": str(temporary), "PYTHONIOENCODING": "utf-8"}
    return run([*COMMAND, str(source), str(target), *OPTIONS], timeout=timeout, env=environment)


def left(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def assert_within_limits(measured: Measured) -> None:
    assert measured.peak_mib <= MAX_MIB
    assert measured.cpu_seconds <= MAX_CPU_SECONDS


@pytest.fixture(scope="module")
def lightsr_infer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    with command(tmp_path_factory.mktemp("said")) as started:
        yield started


@pytest.mark.parametrize("name", ATTACKS)
def test_attack(name: str, attack_files: dict[str, Path], lightsr_infer: Command, tmp_path: Path) -> None:
    folder, temporary = tmp_path / "out", tmp_path / "tmp"
    temporary.mkdir()
    measured = lightsr_infer([str(attack_files[name]), str(folder / "out.dcm"), *OPTIONS], temporary)
    assert left(temporary) == []
    if ATTACKS[name].says:
        assert re.fullmatch(rf"lightsr-infer: {re.escape(str(attack_files[name]))}: [^\n]+\n", measured.err)
        assert ATTACKS[name].says in measured.err
        assert (measured.status, measured.out, left(folder)) == (1, "", [])
    else:
        assert (measured.status, measured.err, left(folder)) == (0, "", ["out.dcm"])
        assert_harmless(folder / "out.dcm")
    assert_within_limits(measured)


def assert_harmless(path: Path) -> None:
    """A result is a plain DICOM file, with none of what the source held beside its picture."""
    content = path.read_bytes()
    assert content[:132] == bytes(128) + b"DICM"
    assert not any(secret.encode() in content for secret in PRIVATE)
    dataset = pydicom.dcmread(path)
    assert dataset.SOPInstanceUID.is_valid
    assert dataset.pixel_array.size == dataset.Rows * dataset.Columns * dataset.SamplesPerPixel


def test_there_are_many() -> None:
    assert len(ATTACKS) >= 150
    assert sum(bool(attack.says) for attack in ATTACKS.values()) >= 120
    assert f"makes {len(ATTACKS)} files" in (Path(__file__).parents[2] / "docs" / "dicom.md").read_text()


def test_a_folder_goes_on_after_each(attack_files: dict[str, Path], tmp_path: Path) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    for path in attack_files.values():
        (folder / path.name).hardlink_to(path)
    for name in ("00-first.dcm", "zz-last.dcm"):
        save(a_target(), folder / name)
    for make in PLACES.values():
        make(folder)
    measured = enlarge(folder, out, tmp_path / "tmp", timeout=5 * MAX_SECONDS)
    refused = {attack_files[name].name for name, attack in ATTACKS.items() if attack.says}
    done = {attack_files[name].name for name, attack in ATTACKS.items() if not attack.says} | {
        "00-first.dcm",
        "zz-last.dcm",
    }
    *lines, summary = measured.err.splitlines()
    named = [line.removeprefix(f"lightsr-infer: {folder}/").split(": ")[0] for line in lines]
    assert sorted(named) == sorted(refused | set(PLACES))
    assert summary == f"{len(done)} enlarged, 0 already there, {len(named)} failed or refused"
    assert (measured.status, left(out), left(tmp_path / "tmp")) == (3, sorted(done), [])
    assert measured.peak_mib <= MAX_MIB
    assert measured.cpu_seconds <= len(ATTACKS)


def _socket(folder: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listening:
        here = Path.cwd()
        os.chdir(folder)  # a socket's path is short
        try:
            listening.bind("socket.dcm")
        finally:
            os.chdir(here)


PLACES: dict[str, Callable[[Path], object]] = {
    "fifo.dcm": lambda folder: os.mkfifo(folder / "fifo.dcm"),
    "device.dcm": lambda folder: (folder / "device.dcm").symlink_to("/dev/zero"),
    "socket.dcm": _socket,
    "loop.dcm": lambda folder: (folder / "loop.dcm").symlink_to("loop.dcm"),
    "dangling.dcm": lambda folder: (folder / "dangling.dcm").symlink_to("nowhere"),
    "around": lambda folder: (folder / "around").symlink_to("."),
    "empty.dcm": lambda folder: (folder / "empty.dcm").touch(),
    "preamble.dcm": lambda folder: (folder / "preamble.dcm").write_bytes(bytes(131)),
    "sparse.dcm": lambda folder: _sparse(folder / "sparse.dcm"),
}
"""What only looks like a file, or is hardly one, by its name."""


def _sparse(path: Path) -> None:
    save(a_target(), path)
    os.truncate(path, 9 * 2**30)


@pytest.mark.parametrize("name", [name for name in PLACES if name != "around"])
def test_what_is_no_file(name: str, lightsr_infer: Command, tmp_path: Path) -> None:
    PLACES[name](tmp_path)
    measured = lightsr_infer([str(tmp_path / name), str(tmp_path / "out" / "a.dcm"), *OPTIONS], tmp_path)
    assert re.fullmatch(rf"lightsr-infer: {re.escape(str(tmp_path / name))}: [^\n]+\n", measured.err)
    if name in ("fifo.dcm", "device.dcm", "socket.dcm"):
        assert "not a regular file" in measured.err
    assert (measured.status, measured.out, (tmp_path / "out").exists()) == (1, "", False)
    assert_within_limits(measured)


def test_a_folder_called_like_a_file(lightsr_infer: Command, tmp_path: Path) -> None:
    (tmp_path / "a.dcm").mkdir()
    measured = lightsr_infer([str(tmp_path / "a.dcm"), str(tmp_path / "out"), *OPTIONS], tmp_path)
    assert (measured.status, measured.err.count("\n"), (tmp_path / "out").exists()) == (1, 1, False)
    assert "a.dcm: no file that matches *" in measured.err


@pytest.mark.parametrize("moment", ["lightsr.gate.Walk.to_pixels", "lightsr.pixels.described"])
def test_a_file_that_shrinks_while_it_is_read(moment: str, tmp_path: Path) -> None:
    """Behind the gate's back, before pydicom reads the header or before the pixels are read."""
    path = save(a_cine(np.arange(3 * 64 * 64).reshape(3, 64, 64).astype(np.uint16)), tmp_path / "a.dcm")
    module, name = moment.removeprefix("lightsr.").split(".", 1)
    (tmp_path / "sitecustomize.py").write_text(
        f"import os, lightsr.{module} as module\n"
        f"owner = module.{name.rpartition('.')[0] or '__dict__'}\n"
        f"honest = module.{name}\n"
        "def shrinking(*given, **named):\n"
        "    found = honest(*given, **named)\n"
        f"    os.truncate({str(path)!r}, 400 if {name!r} != 'described' else os.path.getsize({str(path)!r}) - 9000)\n"
        "    return found\n"
        f"module.{name} = shrinking\n"
        "import lightsr.dicom\n"
        "lightsr.dicom.described = module.described if hasattr(module, 'described') else lightsr.dicom.described\n"
    )
    size = path.stat().st_size
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    command = [*COMMAND, str(path), str(tmp_path / "out" / "a.dcm"), *OPTIONS]
    measured = run(command, timeout=MAX_SECONDS, env=environment)
    assert path.stat().st_size < size
    assert re.fullmatch(rf"lightsr-infer: {re.escape(str(path))}: [^\n]+\n", measured.err)
    assert (measured.status, left(tmp_path / "out")) == (1, [])


def test_a_command_of_many_is_one_of_its_own(
    attack_files: dict[str, Path], lightsr_infer: Command, tmp_path: Path
) -> None:
    """What is measured in a fork is what the command measures that somebody starts, but for its start."""
    for name in ("RLE of no operation", "all that may stand beside the pixels"):
        arguments = [str(attack_files[name]), str(tmp_path / "a.dcm"), *OPTIONS, "--force"]
        forked, started = lightsr_infer(arguments, tmp_path), run([*COMMAND, *arguments], timeout=MAX_SECONDS)
        assert (forked.status, forked.err, forked.processes) == (started.status, started.err, started.processes)
        assert abs(forked.peak_mib - started.peak_mib) < 25
        assert forked.cpu_seconds < started.cpu_seconds


def test_the_measurement_can_fail() -> None:
    """Memory of a child's child that lives for a moment and time that it burns are seen; nobody outlives a timeout."""
    grandchild = (
        "import time; x = bytearray(300 << 20); t = time.process_time() + 1\nwhile time.process_time() < t: pass"
    )
    child = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}]); sys.exit(7)"
    measured = run([sys.executable, "-c", child], timeout=60)
    assert measured.status == 7
    assert measured.processes == 2
    assert measured.peak_mib > 300
    assert measured.cpu_seconds > 1
    small = run([sys.executable, "-c", "print('out'); import sys; print('err', file=sys.stderr)"], timeout=60)
    assert (small.status, small.out, small.err) == (0, "out\n", "err\n")
    assert small.peak_mib < 40
    assert small.cpu_seconds < 1
    with pytest.raises(subprocess.TimeoutExpired):
        run([sys.executable, "-c", "import time; time.sleep(60)"], timeout=1)
