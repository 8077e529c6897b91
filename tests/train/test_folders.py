"""Folders that one process at a time works in."""

import errno
import os
from pathlib import Path

import pytest
from lightsr import strays
from lightsr.errors import LightsrError
from lightsr_train import folders, store


def test_a_store_that_is_being_written_is_left_alone(tmp_path: Path) -> None:
    with folders.alone(tmp_path / "s"):
        (tmp_path / "s" / store.PIXELS_FILE).write_bytes(b"some")
        store.remove(tmp_path / "s")
        assert (tmp_path / "s" / store.PIXELS_FILE).exists()
    store.remove(tmp_path / "s")
    assert not (tmp_path / "s").exists()


def test_a_folder_that_vanishes_while_it_is_entered_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = os.open
    moments = iter(["before", "after"])

    def late(path: Path, flags: int) -> int:
        moment = next(moments, "")
        if moment == "before":
            path.rmdir()
        descriptor = opened(path, flags)
        if moment == "after":
            path.rmdir()
        return descriptor

    monkeypatch.setattr(folders.os, "open", late)
    with folders.alone(tmp_path / "s"), pytest.raises(LightsrError, match="another process trains there"):
        monkeypatch.undo()
        with folders.alone(tmp_path / "s"):
            pass
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize("without", ["fcntl", "flock"])
def test_without_locks_nobody_is_kept_out(without: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    if without == "fcntl":
        monkeypatch.setattr(strays, "fcntl", None)
    else:
        monkeypatch.setattr(strays.fcntl, "flock", refused)
    with folders.alone(tmp_path / "s"):
        with folders.alone(tmp_path / "s", wait=True):
            assert (tmp_path / "s").is_dir()
        assert (tmp_path / "s").is_dir()
    assert not (tmp_path / "s").exists()
