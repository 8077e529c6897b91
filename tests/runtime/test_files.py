import os
import stat
from pathlib import Path

import numpy as np
import pytest
from lightsr import files, raster
from lightsr.errors import ImageError, OutputError


def test_content_decides_not_the_name(tmp_path: Path) -> None:
    path = tmp_path / "scan.dcm"
    with path.open("wb") as file:
        raster.write_png(np.zeros((3, 3), np.uint8), file)
    assert files.detect(path).name == "PNG"
    assert files.read(path).size == (3, 3)


def test_formats_of_real_files(samples: Path) -> None:
    assert files.detect(samples / "CT_small.dcm").name == "DICOM"
    with pytest.raises(ImageError, match="neither PNG, JPEG, TIFF, NIfTI, NPY nor DICOM"):
        files.detect(samples / "README.txt")


@pytest.mark.parametrize(
    ("kind", "source", "target", "result"),
    [
        ("PNG", "a.png", "b.png", "b.png"),
        ("PNG", "a.png", "b", "b"),
        ("PNG", "a.dcm", "out/a.dcm", "out/a.dcm"),
        ("PNG", "a.png", "b.jpg", ""),
        ("NIfTI", "a.nii", "b.nii.gz", ""),
        ("NIfTI", "a.NII", "b.nii", "b.nii"),
        ("gzipped NIfTI", "a.nii.gz", "b.nii", ""),
        ("gzipped NIfTI", "a.nii.gz", "b.gz", ""),
        ("gzipped NIfTI", "a.nii.gz", "b.v2.nii.gz", "b.v2.nii.gz"),
        ("TIFF", "a.tif", "b.tiff", "b.tiff"),
        ("TIFF", "a.tif", "b.npy", ""),
        ("NPY", "a.npy", "b.npz", ""),
        ("JPEG", "a.jpg", "out/a.jpg", "out/a.jpg.png"),
        ("JPEG", "a", "out/a", "out/a.png"),
        ("JPEG", "a.png", "out/a.png", "out/a.png"),
        ("JPEG", "a.dcm", "out/a.dcm", "out/a.dcm.png"),
        ("JPEG", "a.jpg", "b.PNG", "b.PNG"),
        ("JPEG", "a.jpg", "b", "b"),
        ("JPEG", "a.jpg", "b.jpg", ""),
        ("JPEG", "a.jpg", "b.dcm", ""),
    ],
)
def test_names_of_results(kind: str, source: str, target: str, result: str) -> None:
    (known,) = (known for known in files.FORMATS if known.name == kind)
    if result:
        assert files.result_path(known, Path(source), Path(target)) == Path(result)
        return
    with pytest.raises(OutputError, match="in gives .* out; give it a name that ends in"):
        files.result_path(known, Path(source), Path(target))


@pytest.mark.parametrize(
    "preamble",
    [b"II*\0\x10\0\0\0", b"\x89PNG\r\n\x1a\n\0\0\0\x0dIHDR", b"\xff\xd8\xff\xe0\0\x10JFIF", b"\x93NUMPY\x01\0"],
    ids=["TIFF", "PNG", "JPEG", "NPY"],
)
def test_a_dicom_file_that_begins_as_something_else_is_dicom(preamble: bytes, samples: Path, tmp_path: Path) -> None:
    """No reader may go by its preamble (PS3.10, 7.1): the patient whose file it is would be lost."""
    content = (samples / "CT_small.dcm").read_bytes()
    (tmp_path / "a").write_bytes(preamble + content[len(preamble) :])
    assert files.detect(tmp_path / "a").name == "DICOM"
    assert np.array_equal(files.read(tmp_path / "a").pixels, files.read(samples / "CT_small.dcm").pixels)


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    os.mkfifo(tmp_path / "pipe")
    for name, message in (("none", "no such file"), ("empty", "an empty file"), ("pipe", "not a regular file")):
        with pytest.raises(ImageError, match=message):
            files.read(tmp_path / name)
    with pytest.raises(ImageError, match="not a regular file"):
        files.read(tmp_path)


def test_a_new_file_appears_whole(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with files.new_file(path, permissions=0o640) as file:
        file.write(b"half")
        assert not path.exists()
        (temporary,) = tmp_path.iterdir()
        if os.name == "posix":
            assert stat.S_IMODE(temporary.stat().st_mode) & ~0o640 == 0
    assert path.read_bytes() == b"half"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, OSError])
def test_a_failure_leaves_nothing(error: type[BaseException], tmp_path: Path) -> None:
    path = tmp_path / "a"
    expected = OutputError if error is OSError else error
    with pytest.raises(expected), files.new_file(path) as file:
        file.write(b"half")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_unless_asked(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    with pytest.raises(OutputError, match="--force"), files.new_file(path):
        pass
    with pytest.raises(ValueError, match="x"), files.new_file(path, overwrite=True):
        raise ValueError("x")
    assert path.read_bytes() == b"old"
    with files.new_file(path, overwrite=True) as file:
        file.write(b"new")
    assert path.read_bytes() == b"new"


def test_a_file_that_appears_meanwhile_is_kept(tmp_path: Path) -> None:
    path = tmp_path / "a"
    with pytest.raises(OutputError, match="exists"), files.new_file(path) as file:
        file.write(b"mine")
        path.write_bytes(b"theirs")
    assert path.read_bytes() == b"theirs"
    assert list(tmp_path.iterdir()) == [path]


def test_dangling_links_are_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "link"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OutputError, match="exists"), files.new_file(path):
        pass
    assert not (tmp_path / "elsewhere").exists()


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="cannot be written"), files.new_file(tmp_path / "no" / "a"):
        pass
