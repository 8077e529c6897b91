"""Places that take nothing more: full, read-only, limited; nothing half-written is left."""

import re
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from .asserted import COMMAND, MAX_MIB, MAX_SECONDS, OPTIONS, left
from .broken.npys import content_of
from .broken.rasters import a_png, jpeg_of
from .measured import Measured, run

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures with Linux's /proc")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A good file in a folder of its own."""
    path = tmp_path / "in" / "a.png"
    path.parent.mkdir()
    path.write_bytes(a_png())
    return path


MOUNTED = """
place=$1 how=$2; shift 2
mount -t tmpfs -o "$how" tmpfs "$place" || exit 99
"$@"
status=$?
find "$place" -type f -printf '%P %s\n' | sort
exit $status
"""
"""A command with a file system of its own at a place, which nobody else sees, and what is there afterwards."""


def mounted(place: Path, how: str, command: list[str]) -> Measured:
    """Run a command with an empty tmpfs at `place`; skips where nothing can be mounted."""
    unshare = shutil.which("unshare")
    wrapped = [unshare or "unshare", "-m", "sh", "-c", MOUNTED, "sh", str(place), how]
    if unshare is None or subprocess.run([*wrapped, "true"], check=False, capture_output=True).returncode:
        pytest.skip("needs a file system of its own: root, and unshare -m")
    return run([*wrapped, *command], timeout=MAX_SECONDS)


@pytest.fixture(scope="module")
def good_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of one good file of each format, whose results take 64 KiB and more."""
    import nibabel
    import tifffile

    from .dicom_files import a_cine, a_dataset, save

    folder = tmp_path_factory.mktemp("good")
    picture = np.random.default_rng(1).integers(0, 256, (160, 170)).astype(np.uint8)
    volume = np.stack([picture] * 3, axis=-1).astype(np.int16)
    (folder / "a.png").write_bytes(a_png(picture))
    (folder / "b.jpg").write_bytes(jpeg_of(picture))
    (folder / "c.npy").write_bytes(content_of(picture))
    tifffile.imwrite(folder / "d.tif", picture)
    for name in ("e.nii", "f.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(volume, np.eye(4)), folder / name)
    save(a_dataset(picture), folder / "g.dcm")
    save(a_cine(np.stack([picture] * 3)), folder / "h.dcm")
    return folder


@pytest.mark.parametrize(
    ("how", "says"),
    [
        ("ro", "Read-only file system"),
        ("size=48k", "No space left on device"),
        ("nr_inodes=1", "No space left on device"),
    ],
)
def test_a_place_that_takes_nothing(how: str, says: str, good_files: Path, tmp_path: Path) -> None:
    """Neither a result nor a part of one is left; every file is named once, and the next one is tried."""
    out = tmp_path / "out"
    out.mkdir()
    measured = mounted(out, how, [*COMMAND, str(good_files), str(out), *OPTIONS])
    *lines, summary = measured.err.splitlines()
    names = sorted(path.name for path in good_files.iterdir())
    results = ["b.jpg.png" if name == "b.jpg" else name for name in names]
    assert [line.removeprefix(f"lightsr-infer: {out}/").split(": ")[0] for line in lines] == results
    assert all(line.endswith(f": cannot be written: {says}") for line in lines)
    assert summary == f"0 enlarged, 0 already there, {len(names)} failed or refused"
    assert (measured.status, measured.out) == (3, "")
    assert measured.peak_mib <= MAX_MIB


def test_what_still_fits_is_written(good_files: Path, tmp_path: Path) -> None:
    """A small result behind those for which there was no room; what is there is whole."""
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    out.mkdir()
    for path in good_files.iterdir():
        (folder / path.name).hardlink_to(path)
    for name in ("0.png", "z.png"):
        (folder / name).write_bytes(a_png())
    measured = mounted(out, "size=48k", [*COMMAND, str(folder), str(out), *OPTIONS])
    listed = [line.split() for line in measured.out.splitlines() if " -> " not in line]
    assert [name for name, _ in listed] == ["0.png", "z.png"]
    assert all(1000 < int(length) < 4000 for _, length in listed)
    assert measured.status == 3


def test_a_manifest_without_room_ends_the_run(source: Path, tmp_path: Path) -> None:
    """What is finished cannot be recorded any more."""
    out = tmp_path / "log"
    out.mkdir()
    for number in range(40):
        (source.parent / f"{number:02}-{'x' * 200}.png").write_bytes(b"x")
    manifest = out / "m.jsonl"
    arguments = [*COMMAND, str(source.parent), str(tmp_path / "out"), *OPTIONS, "--manifest", str(manifest)]
    measured = mounted(out, "size=16k", arguments)
    last = measured.err.splitlines()[-1]
    assert re.fullmatch(rf"lightsr-infer: {manifest}: cannot be written: (no room for another line|No space.*)", last)
    assert measured.status == 1
    assert "Traceback" not in measured.err


def test_a_limit_of_the_length_of_files(good_files: Path, tmp_path: Path) -> None:
    """As `ulimit -f` sets it; the system's signal would end the process."""
    limited = ["/bin/sh", "-c", 'ulimit -f 16; exec "$@"', "sh", *COMMAND, str(good_files), str(tmp_path), *OPTIONS]
    measured = run(limited, timeout=MAX_SECONDS)
    *lines, _ = measured.err.splitlines()
    assert len(lines) == len(list(good_files.iterdir()))
    assert all(line.endswith(": cannot be written: File too large") for line in lines)
    assert (measured.status, left(tmp_path)) == (3, [])
