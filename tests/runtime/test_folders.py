import os
import stat
from pathlib import Path

import pytest
from lightsr import folders
from lightsr.errors import ImageError, OutputError
from lightsr.folders import Job


def fill(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")
    return folder


def test_files_in_order_without_hidden_ones(tmp_path: Path) -> None:
    source = fill(tmp_path / "in", "a/1.dcm", "a/2.txt", "b/c/3.dcm", ".hidden/4.dcm", "a/.x.dcm")
    target = tmp_path / "out"
    names = ["a/1.dcm", "a/2.txt", "b/c/3.dcm"]
    assert list(folders.mirrored(source, target, "*")) == [Job(source / name, target / name) for name in names]
    assert [job.source.name for job in folders.mirrored(source, target, "*.dcm")] == ["1.dcm", "3.dcm"]
    with pytest.raises(ImageError, match="no file that matches"):
        list(folders.mirrored(source, target, "*.png"))
    with pytest.raises(ImageError, match="no such file or folder"):
        list(folders.mirrored(tmp_path / "none", target, "*"))


def test_a_file_goes_to_a_file_or_into_a_folder(tmp_path: Path) -> None:
    source = fill(tmp_path, "a/1.dcm", "b/2.dcm") / "a/1.dcm"
    assert list(folders.mirrored(source, tmp_path / "b", "*")) == [Job(source, tmp_path / "b/1.dcm")]
    assert list(folders.mirrored(source, tmp_path / "b/9.dcm", "*")) == [Job(source, tmp_path / "b/9.dcm")]
    with pytest.raises(OutputError, match="a file; a folder"):
        list(folders.mirrored(tmp_path / "a", tmp_path / "b/2.dcm", "*"))


@pytest.mark.parametrize(
    ("out", "message"),
    [
        ("in", "is the input folder itself"),
        ("in/results", "lies inside the input folder"),
        ("in/new/results", "lies inside the input folder"),
        (".", "holds the input folder"),
        ("link", "is the input folder itself"),
        ("link/results", "lies inside the input folder"),
    ],
)
def test_results_never_land_among_inputs(out: str, message: str, tmp_path: Path) -> None:
    fill(tmp_path / "in", "in/x.png", "results/y.png")
    (tmp_path / "link").symlink_to(tmp_path / "in")
    with pytest.raises(OutputError, match=message):
        list(folders.mirrored(tmp_path / "in", tmp_path / out, "*"))


def test_what_cannot_be_searched_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = fill(tmp_path / "in", "a/1.dcm", "locked/2.dcm")
    fill(tmp_path / "elsewhere", "3.dcm")
    (source / "link").symlink_to(tmp_path / "elsewhere")
    scandir = os.scandir

    def refuse(path: str) -> object:
        if Path(path).name == "locked":
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", refuse)
    jobs = {job.source.name: job for job in folders.mirrored(source, tmp_path / "out", "*")}
    assert set(jobs) == {"1.dcm", "link", "locked"}
    assert jobs["1.dcm"].problem == ""
    assert "a link to a folder, which is not followed" in jobs["link"].problem
    assert "cannot be searched: Permission denied" in jobs["locked"].problem


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_a_made_folder_is_as_private_as_the_one_it_mirrors(tmp_path: Path) -> None:
    source = tmp_path / "in" / "a" / "b"
    source.mkdir(parents=True)
    (tmp_path / "in" / "a").chmod(0o700)
    (tmp_path / "in" / "a" / "b").chmod(0o550)
    folders.make(tmp_path / "out" / "a" / "b", source)
    modes = {name: stat.S_IMODE((tmp_path / "out" / name).stat().st_mode) for name in (".", "a", "a/b")}
    assert modes["a"] == 0o700
    assert modes["a/b"] & 0o777 == 0o750
    assert modes["."] & ~stat.S_IMODE((tmp_path / "in").stat().st_mode) == 0
    folders.make(tmp_path / "out" / "a", source)  # is there: left as it is


@pytest.mark.parametrize("names", [("a/x.dcm", "a/X.DCM"), ("A/x.dcm", "a/x.dcm"), ("é.dcm", "e\u0301.dcm")])
def test_two_results_in_one_file_are_refused(
    names: tuple[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only where the file system of the results does not tell the names apart, before anything is written."""
    paths = [Path(name) for name in (*names, "b/x.dcm")]
    folders.refuse_collisions(paths, tmp_path / "out")  # where the tests run it does
    monkeypatch.setattr(folders, "_tells_names_apart", lambda target: False)
    with pytest.raises(OutputError, match=r"would be one file with .* rename one of the inputs"):
        folders.refuse_collisions(paths, tmp_path / "out")
    folders.refuse_collisions(paths[1:], tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_whether_names_are_told_apart_is_tried_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert folders._tells_names_apart(tmp_path / "out" / "deep")
    exists = Path.exists

    def blind(path: Path) -> bool:
        return exists(path) or path.name.lower() in {other.name.lower() for other in path.parent.iterdir()}

    monkeypatch.setattr(Path, "exists", blind)
    assert not folders._tells_names_apart(tmp_path / "out" / "deep")
    assert list(tmp_path.iterdir()) == []
