import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
from lightsr import model, selftest
from lightsr.selftest import Trial

TRIAL = Trial("ab" * 32, "1.32.0 0123456789abcdef", "A processor 0123456789abcdef", "0.1.0")

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what its processor can do")


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """File that remembers, in a folder that is not there yet."""
    monkeypatch.setenv("LIGHTSR_CACHE", str(tmp_path / "a" / "cache"))
    return tmp_path / "a" / "cache" / "self-tests.json"


@pytest.fixture
def runs(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Labels of the models whose self-test ran."""
    found: list[str] = []
    test: Callable[[model.Model], bool] = model.Model.passes_self_test

    def counted(self: model.Model) -> bool:
        found.append(self.label)
        return test(self)

    monkeypatch.setattr(model.Model, "passes_self_test", counted)
    return found


def open_tiny(precision: str = "int8") -> model.Model:
    return model.open_trusted(model.find("tiny", precision=precision), threads=1)  # type: ignore[arg-type]


def test_a_pass_is_remembered_for_each_model(cache: Path, runs: list[str]) -> None:
    for precision in ("int8", "fp32", "int8", "fp32"):
        open_tiny(precision)
    assert runs == ["tiny-x2-int8.onnx", "tiny-x2-fp32.onnx"]
    model.Model.open(model.find("tiny"), threads=1)
    assert len(runs) == 3, "who asks for the test itself gets it"
    assert cache.stat().st_mode & 0o777 == 0o600
    assert cache.parent.stat().st_mode & 0o777 == 0o700
    assert list(cache.parent.iterdir()) == [cache]


def test_another_process_knows(cache: Path) -> None:
    code = (
        "import lightsr; from lightsr import model; runs = []\n"
        "test = model.Model.passes_self_test\n"
        "model.Model.passes_self_test = lambda self: runs.append(1) or test(self)\n"
        "lightsr.load('tiny', threads=1); print(len(runs))"
    )
    counts = [
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.strip()
        for _ in range(3)
    ]
    assert counts == ["1", "0", "0"]


@pytest.mark.parametrize("changed", ["model", "onnxruntime", "cpu", "lightsr"])
def test_everything_that_decides_is_part_of_it(changed: str, cache: Path) -> None:
    selftest.remember(TRIAL)
    assert selftest.passed(TRIAL)
    assert not selftest.passed(replace(TRIAL, **{changed: "another"}))


def test_this_machines_trial_tells_no_more_than_versions_and_processor(cache: Path) -> None:
    open_tiny()
    [entry] = json.loads(cache.read_text())["passed"]
    assert set(entry) == {"model", "onnxruntime", "cpu", "lightsr"}
    found = Trial.of(entry["model"])
    assert asdict(found) == entry
    told = cache.read_text()
    for secret in (os.uname().nodename, str(Path.home()), str(cache.parent)):
        assert secret not in told


def test_a_failure_is_not_remembered(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(model.Model, "passes_self_test", lambda self: False)
    with pytest.raises(model.SelfTestError):
        open_tiny("fp32")
    assert not cache.exists()
    monkeypatch.undo()


def test_only_the_latest_are_kept(cache: Path) -> None:
    trials = [replace(TRIAL, model=f"{i:064}") for i in range(selftest.MAX_REMEMBERED + 3)]
    for trial in [*trials, trials[-1]]:
        selftest.remember(trial)
    assert [selftest.passed(trial) for trial in trials] == [False] * 3 + [True] * selftest.MAX_REMEMBERED
    assert cache.stat().st_size < selftest.MAX_FILE_BYTES


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"\xff\xfe",
        b"[" * 100_000,
        b"null",
        b'{"format": 2, "passed": []}',
        b'{"format": 1}',
        b'{"format": 1, "passed": 7}',
        b'{"format": 1, "passed": [1, null, []]}',
        b" " * (selftest.MAX_FILE_BYTES + 1),
    ],
)
def test_a_damaged_file_is_ignored_and_replaced(content: bytes, cache: Path, runs: list[str]) -> None:
    cache.parent.mkdir(mode=0o700, parents=True)
    cache.write_bytes(content)
    cache.chmod(0o600)
    open_tiny()
    open_tiny()
    assert len(runs) == 1
    assert len(json.loads(cache.read_text())["passed"]) == 1


def test_what_others_can_write_is_not_believed(cache: Path, runs: list[str]) -> None:
    open_tiny()
    cache.chmod(0o620)
    open_tiny()
    assert len(runs) == 2
    assert cache.stat().st_mode & 0o777 == 0o600, "replaced by one of our own"
    cache.parent.chmod(0o777)
    before = cache.read_bytes()
    open_tiny()
    open_tiny()
    assert len(runs) == 4
    assert cache.read_bytes() == before
    cache.parent.chmod(0o700)
    open_tiny()
    assert len(runs) == 4


def test_a_link_is_not_followed(cache: Path, tmp_path: Path, runs: list[str]) -> None:
    open_tiny()
    elsewhere = cache.rename(tmp_path / "elsewhere.json")
    before = elsewhere.read_bytes()
    cache.symlink_to(elsewhere)
    open_tiny()
    assert len(runs) == 2
    assert not cache.is_symlink()
    assert elsewhere.read_bytes() == before


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give a file away")
def test_somebody_elses_file_is_not_believed(cache: Path, runs: list[str]) -> None:
    open_tiny()
    os.chown(cache, 12345, -1)
    open_tiny()
    assert len(runs) == 2
    os.chown(cache.parent, 12345, -1)
    open_tiny()
    assert len(runs) == 3


def test_a_fifo_does_not_stop_anything(cache: Path) -> None:
    cache.parent.mkdir(mode=0o700, parents=True)
    os.mkfifo(cache, 0o600)
    code = "import lightsr; print(lightsr.load('tiny', threads=1))"
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert finished.stdout == "Upscaler(tiny x2 int8, 1 thread)\n"
    assert cache.is_file()


@pytest.mark.parametrize("folder", ["", "/dev/null", "/proc/nowhere", f"/tmp/{'a' * 300}"])
def test_where_nothing_can_be_written_the_test_runs(
    folder: str, runs: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LIGHTSR_CACHE", folder)
    open_tiny()
    open_tiny()
    assert len(runs) == 2


def test_a_full_disk_leaves_nothing(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    selftest.remember(TRIAL)
    before = cache.read_bytes()
    opened = os.open

    def full(path: Any, flags: int, mode: int = 0o777) -> int:
        descriptor = opened(path, flags, mode)
        if flags & os.O_CREAT:
            os.dup2(opened("/dev/full", os.O_WRONLY), descriptor)
        return descriptor

    monkeypatch.setattr(os, "open", full)
    selftest.remember(replace(TRIAL, model="cd" * 32))
    monkeypatch.undo()
    assert list(cache.parent.iterdir()) == [cache]
    assert cache.read_bytes() == before


def test_the_folder_follows_the_users_choice(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LIGHTSR_CACHE", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", "relative")
    assert selftest.folder() == tmp_path / ".cache" / "lightsr"
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    assert selftest.folder() == Path("/x/lightsr")
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "nowhere"))
    assert selftest.folder() is None
    monkeypatch.setenv("LIGHTSR_CACHE", "")
    assert selftest.folder() is None


def test_an_unknown_processor_is_not_remembered(cache: Path) -> None:
    selftest.remember(replace(TRIAL, cpu=""))
    assert not cache.exists()
    assert not selftest.passed(replace(TRIAL, cpu=""))
