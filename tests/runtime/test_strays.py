import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from lightsr import files, strays

WRITER = (
    "import sys, time; from pathlib import Path; from lightsr import files\n"
    "with files.new_file(Path(sys.argv[1])) as file:\n"
    "    file.write(b'half'); file.flush(); print('writing', flush=True); sys.stdin.read()\n"
)


@pytest.fixture
def writer(tmp_path: Path) -> "subprocess.Popen[str]":
    """Another process with a half-written file `a` in hand; the end of its input lets it finish."""
    process = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(tmp_path / "a")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert process.stdout.readline() == "writing\n"
    return process


def test_a_living_writer_keeps_its_file(writer: "subprocess.Popen[str]", tmp_path: Path) -> None:
    assert strays.remove([tmp_path]) == 0
    (stray,) = tmp_path.iterdir()
    assert stray.name.startswith(f".lightsr-{strays.machine()}-")
    writer.communicate(timeout=60)
    assert writer.returncode == 0
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"half")]


def test_what_a_killed_writer_left_is_removed(writer: "subprocess.Popen[str]", tmp_path: Path) -> None:
    writer.kill()
    writer.communicate()
    assert len(list(tmp_path.iterdir())) == 1
    assert strays.remove([tmp_path, tmp_path / "none"]) == 1
    assert list(tmp_path.iterdir()) == []


def test_this_process_keeps_its_own(tmp_path: Path) -> None:
    """Up to the moment at which it has its name."""
    path = tmp_path / "a"
    with files.new_file(path) as file:
        file.write(b"x")
        assert strays.remove([tmp_path]) == 0
    assert list(tmp_path.iterdir()) == [path]


def test_of_another_machine_only_what_is_old(tmp_path: Path) -> None:
    """A lock may not reach from one machine to another."""
    fresh, old = tmp_path / ".lightsr-00000000-fresh", tmp_path / ".lightsr-00000000-old"
    for path in (fresh, old):
        path.write_bytes(b"x")
    yesterday = time.time() - strays.FOREIGN_SECONDS - 60
    os.utime(old, (yesterday, yesterday))
    assert strays.remove([tmp_path]) == 1
    assert list(tmp_path.iterdir()) == [fresh]


def test_nothing_else_is_touched(tmp_path: Path) -> None:
    ours = f".lightsr-{strays.machine()}-"
    (tmp_path / "scan.dcm").write_bytes(b"x")
    (tmp_path / f"{ours}folder").mkdir()
    (tmp_path / f"{ours}link").symlink_to(tmp_path / "scan.dcm")
    os.mkfifo(tmp_path / f"{ours}pipe")
    before = sorted(tmp_path.iterdir())
    assert strays.remove([tmp_path]) == 0
    assert sorted(tmp_path.iterdir()) == before


def test_swept_away_before_it_could_be_locked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Somebody else's sweep comes between the making of a file and its lock: another is made."""
    lock = strays.lock
    swept = []

    def late(descriptor: int, *, wait: bool = True) -> bool:
        if not swept:
            swept.extend(tmp_path.iterdir())
            swept[0].unlink()
        return lock(descriptor, wait=wait)

    monkeypatch.setattr(strays, "lock", late)
    with files.new_file(tmp_path / "a") as file:
        file.write(b"x")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [("a", b"x")]
    assert len(swept) == 1


@pytest.mark.skipif(not Path("/proc/self/fd").exists(), reason="/proc of Linux")
def test_no_file_stays_open(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208
    for number in range(5):
        with files.new_file(tmp_path / str(number)) as file:
            file.write(b"x")
        with pytest.raises(ValueError, match="x"), files.new_file(tmp_path / "other"):
            raise ValueError("x")
        strays.remove([tmp_path])
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208
