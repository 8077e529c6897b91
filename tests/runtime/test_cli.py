"""The command on files and folders of every format."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from lightsr import raster
from lightsr.cli import main

from .dicom_files import a_cine, compressed, rle, save


def test_a_folder_is_mirrored(scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert main([str(scans), str(out), "--threads", "1"]) == 0
    assert {path.relative_to(out) for path in out.rglob("*.*")} == {
        path.relative_to(scans) for path in scans.rglob("*.*")
    }
    assert raster.read(out / "grey" / "16.png").pixels.dtype == np.uint16
    assert raster.read(out / "grey" / "8.png").size == (90, 140)
    assert raster.read(out / "colour.png").pixels.shape == (90, 140, 3)
    derived = pydicom.dcmread(out / "ct.dcm")
    source = pydicom.dcmread(scans / "ct.dcm")
    assert derived.pixel_array.shape == (256, 256)
    assert derived.pixel_array.dtype == source.pixel_array.dtype
    blurred = derived.pixel_array.reshape(128, 2, 128, 2).mean(axis=(1, 3))
    assert np.corrcoef(blurred.ravel(), source.pixel_array.ravel())[0, 1] > 0.99
    printed = capsys.readouterr()
    assert printed.out.count(" ms") == 4
    assert "128x128 -> 256x256" in printed.out
    assert "4 enlarged, 0 already there, 0 failed" in printed.err


def test_a_file_and_the_bundled_precisions(scans: Path, tmp_path: Path) -> None:
    for precision in ("fp32", "int8"):
        target = tmp_path / f"{precision}.png"
        assert main([str(scans / "grey" / "16.png"), str(target), "--precision", precision, "--tile", "32"]) == 0
    first, second = (raster.read(tmp_path / f"{p}.png").pixels.astype(float) for p in ("fp32", "int8"))
    assert 0 < np.abs(first - second).mean() < 20


def test_an_output_that_ends_in_a_slash_is_a_folder(scans: Path, tmp_path: Path) -> None:
    assert main([str(scans / "ct.dcm"), f"{tmp_path}/new/folder/"]) == 0
    assert (tmp_path / "new" / "folder" / "ct.dcm").is_file()


def test_existing_results(scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, target = scans / "grey" / "8.png", tmp_path / "a.png"
    target.write_bytes(b"mine")
    assert main([str(source), str(target)]) == 1
    assert "--force" in capsys.readouterr().err
    assert main([str(source), str(target), "--skip-existing"]) == 0
    assert target.read_bytes() == b"mine"
    assert main([str(source), str(target), "--force"]) == 0
    assert raster.read(target).size == (90, 140)


def test_refused_inputs_are_named_and_the_others_done(
    scans: Path, tmp_path: Path, samples: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (scans / "notes.txt").write_text("hello")
    (scans / "empty.dcm").touch()
    (scans / "dose.dcm").write_bytes((samples / "rtdose.dcm").read_bytes())
    (scans / "half.dcm").write_bytes((samples / "CT_small.dcm").read_bytes()[:20_000])
    out = tmp_path / "out"
    assert main([str(scans), str(out), "--threads", "1"]) == 3
    errors = capsys.readouterr().err
    for name in ("notes.txt", "empty.dcm", "dose.dcm", "half.dcm"):
        assert sum(name in line for line in errors.splitlines()) == 1
        assert not (out / name).exists()
    assert "4 enlarged, 0 already there, 4 failed or refused" in errors
    assert "Traceback" not in errors
    assert not [path for path in out.rglob("*") if path.name.startswith(".")]


def test_cines_and_what_hides_among_them(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder goes on behind compressed files that cannot be decoded."""
    folder, out = tmp_path / "scans", tmp_path / "out"
    folder.mkdir()
    stored = np.stack([np.full((20, 24), level, np.uint8) for level in (10, 90, 30)])
    frames = [rle(frame[None]) for frame in stored]
    compressed(a_cine(stored), "1.2.840.10008.1.2.5", frames, folder / "b.dcm")
    compressed(a_cine(stored), "1.2.840.10008.1.2.5", frames[:2], folder / "a.dcm")
    damaged = [*frames[:2], frames[2][:64] + b"\x80" * (len(frames[2]) - 64)]
    compressed(a_cine(stored), "1.2.840.10008.1.2.5", damaged, folder / "c.dcm")
    save(a_cine(stored), folder / "d.dcm")
    assert main([str(folder), str(out), "--threads", "1"]) == 3
    printed = capsys.readouterr()
    assert printed.out.count("24x20 -> 48x40, 3 frames") == 2
    lines = printed.err.splitlines()
    assert "3 frames in 2 fragments" in lines[0]
    assert "frame 3 cannot be decoded" in lines[1]
    assert lines[2] == "2 enlarged, 0 already there, 2 failed or refused"
    assert {path.name for path in out.iterdir()} == {"b.dcm", "d.dcm"}
    for name in ("b.dcm", "d.dcm"):
        assert np.array_equal(pydicom.dcmread(out / name).pixel_array, stored.repeat(2, 1).repeat(2, 2))


def test_options_of_dicom_results(scans: Path, tmp_path: Path) -> None:
    """They reach every DICOM result of a folder, and PNG goes on as it was."""
    out = tmp_path / "out"
    options = ["--series-offset", "50", "--suffix", " (sharp)", "--equipment", "keep", "--as-sc", "--threads", "1"]
    assert main([str(scans), str(out), *options]) == 0
    source, result = pydicom.dcmread(scans / "ct.dcm"), pydicom.dcmread(out / "ct.dcm")
    assert result.SeriesNumber == source.SeriesNumber + 50
    assert result.SeriesDescription.endswith("(sharp)")
    assert result.Manufacturer == source.Manufacturer != "lightsr"
    assert result.SOPClassUID == "1.2.840.10008.5.1.4.1.1.7"
    assert raster.read(out / "colour.png").size == (90, 140)


def test_jpeg_becomes_png(tmp_path: Path, picture: np.ndarray, capsys: pytest.CaptureFixture[str]) -> None:
    """Under its own name and another suffix, so that a.jpg and a.png of one folder do not meet."""
    from PIL import Image

    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    grey = Image.fromarray((picture // 8).astype(np.uint8))
    grey.save(folder / "a.jpg", quality=95, dpi=(300, 150))
    grey.save(folder / "a.png")
    assert main([str(folder), str(out), "--threads", "1"]) == 0
    assert {path.name for path in out.iterdir()} == {"a.jpg.png", "a.png"}
    with Image.open(out / "a.jpg.png") as result:
        assert result.format == "PNG"
        assert result.size == (140, 90)
        assert result.info["dpi"] == pytest.approx((600, 300), abs=0.05)
    assert f"{out / 'a.jpg.png'}  70x45 -> 140x90" in capsys.readouterr().out
    assert main([str(folder), str(out), "--skip-existing"]) == 0
    assert "0 enlarged, 2 already there" in capsys.readouterr().err
    grey.save(folder / "a.jpg.png")
    assert main([str(folder), str(out), "--force"]) == 1
    assert f"{out / 'a.jpg.png'}: would be the result of two inputs" in capsys.readouterr().err
    (folder / "a.jpg").rename(folder / "a")  # content decides
    (folder / "a.jpg.png").unlink()
    assert main([str(folder), str(out), "--force"]) == 1
    assert f"{out / 'a.png'}: would be the result of two inputs" in capsys.readouterr().err
    (folder / "a").rename(folder / "a.jpg")
    (folder / "a.png").rename(folder / "a.jpg.png")
    (folder / "a.jpg").write_bytes((folder / "a.jpg.png").read_bytes())  # a PNG, whatever it is called
    assert main([str(folder), str(tmp_path / "both"), "--threads", "1"]) == 0
    assert {path.name for path in (tmp_path / "both").iterdir()} == {"a.jpg", "a.jpg.png"}
    grey.save(folder / "a.jpg", quality=95)
    (folder / "a.jpg.png").unlink()
    grey.save(folder / "a.png")
    assert main([str(folder / "a.jpg"), str(tmp_path / "b.jpg")]) == 1
    assert "JPEG in gives PNG out" in capsys.readouterr().err
    assert main([str(folder / "a.jpg"), str(tmp_path / "b.png")]) == 0


def test_a_jpeg_that_is_to_be_turned_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from PIL import Image

    turned = Image.Exif()
    turned[0x0112] = 6
    for name in ("a.jpg", "a.png"):
        Image.new("L", (20, 30)).save(tmp_path / name, exif=turned)
        assert main([str(tmp_path / name), str(tmp_path / "b.png")]) == 1
        assert "turned or mirrored" in capsys.readouterr().err


def test_formats_of_other_libraries_are_mirrored(
    tmp_path: Path, picture: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    import nibabel
    import tifffile

    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    np.save(folder / "a.npy", picture)
    tifffile.imwrite(folder / "a.tif", picture)
    tifffile.imwrite(folder / "wrong-name.png", picture)
    for name in ("a.nii", "a.nii.gz"):
        nibabel.save(nibabel.Nifti1Image(picture[::-1].T.astype(np.int16), np.eye(4)), folder / name)
    assert main([str(folder), str(out), "--threads", "1"]) == 0
    assert {path.name for path in out.iterdir()} == {path.name for path in folder.iterdir()}
    expected = np.load(out / "a.npy")
    assert np.array_equal(tifffile.imread(out / "a.tif"), expected)
    assert np.array_equal(tifffile.imread(out / "wrong-name.png"), expected)
    for name in ("a.nii", "a.nii.gz"):
        assert np.array_equal(np.asanyarray(nibabel.load(out / name).dataobj), expected[::-1].T)
    assert "5 enlarged" in capsys.readouterr().err


def test_broken_files_of_every_format_leave_nothing(
    tmp_path: Path, picture: np.ndarray, capsys: pytest.CaptureFixture[str]
) -> None:
    """One line each, the good file done, no half result; also where the last frame is the broken one."""
    import nibabel
    import tifffile
    from PIL import Image

    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    np.save(folder / "good.npy", picture)
    stack = np.stack([picture] * 3).astype(np.float32)
    stack[2, 7, 8] = np.nan
    tifffile.imwrite(folder / "late.tif", stack, photometric="minisblack")
    nibabel.save(nibabel.Nifti1Image(stack.T, np.eye(4)), folder / "late.nii.gz")
    Image.fromarray((picture // 8).astype(np.uint8)).save(folder / "half.jpg")
    tifffile.imwrite(folder / "half.tif", picture)
    nibabel.save(nibabel.Nifti1Image(picture.astype(np.int16), np.eye(4)), folder / "half.nii")
    np.save(folder / "half.npy", picture)
    for path in folder.glob("half.*"):
        path.write_bytes(path.read_bytes()[:-300])
    (folder / "archive.nii.gz").write_bytes(b"\x1f\x8b\x08" + bytes(200))
    assert main([str(folder), str(out), "--threads", "1"]) == 3
    errors = capsys.readouterr().err.splitlines()
    assert errors[-1] == "1 enlarged, 0 already there, 7 failed or refused"
    assert len(errors) == 8
    for name in ("late.tif", "late.nii.gz", "half.jpg", "half.tif", "half.nii", "half.npy", "archive.nii.gz"):
        assert sum(f"{folder / name}: " in line for line in errors) == 1
    assert sum("NaN at row 7, column 8 of frame 2" in line for line in errors) == 1
    assert sum("NaN at voxel (8, 7, 2);" in line for line in errors) == 1
    assert [path.name for path in out.iterdir()] == ["good.npy"]


def test_help_needs_no_library_of_a_format() -> None:
    code = "import sys; from lightsr.cli import main\ntry: main(['--help'])\nfinally: print(sorted(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    for name in ("tifffile", "nibabel", "numpy", "onnxruntime", "pydicom", "PIL"):
        assert f"'{name}'" not in said
    for name in ("typing", "dataclasses", "inspect", "logging", "json", "hashlib", "pathlib", "threading"):
        assert f"'{name}'" not in said, "start-up counts: this is imported where there is work"


def test_reading_other_formats_needs_no_library_of_theirs(tmp_path: Path, picture: np.ndarray) -> None:
    np.save(tmp_path / "a.npy", picture)
    code = "import sys; from lightsr.cli import main\nmain(sys.argv[1:]); print(sorted(sys.modules))"
    command = [sys.executable, "-c", code, str(tmp_path / "a.npy"), str(tmp_path / "b.npy")]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert "'tifffile'" not in said
    assert "'nibabel'" not in said


def test_json_lines(scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (scans / "notes.txt").write_text("hello")
    assert main([str(scans), str(tmp_path / "out"), "--json"]) == 3
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(rows) == 5
    done = [row for row in rows if row["status"] == "done"]
    assert len(done) == 4
    assert all(row["milliseconds"] > 0 and row["peak_mib"] > 20 for row in done)
    assert {row["model"] for row in done} == {"base-x2-int8"}
    assert all(row["clipped"] >= 0 for row in done)
    assert any(row["clipped"] for row in done)
    assert [row["status"] for row in rows if row["input"] == "notes.txt"] == ["refused"]
