import hashlib
import json
import os
import shutil
import signal
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import lightsr
import numpy as np
import pydicom
import pytest
from lightsr import raster
from lightsr.cli import main

from .dicom_files import a_cine, compressed, rle, save
from .test_model import with_wrong_golden


def write_png(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        raster.write_png(pixels, file)


@pytest.fixture
def scans(tmp_path: Path, picture: np.ndarray, samples: Path) -> Path:
    """A folder with a CT, 8- and 16-bit PNG and colour in a subfolder."""
    folder = tmp_path / "scans"
    write_png(folder / "grey" / "16.png", picture)
    write_png(folder / "grey" / "8.png", (picture // 8).astype(np.uint8))
    write_png(folder / "colour.png", np.stack([(picture // 8).astype(np.uint8)] * 3, axis=-1))
    (folder / "ct.dcm").write_bytes((samples / "CT_small.dcm").read_bytes())
    return folder


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


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["in"],
        ["in", "out", "--scale", "5"],
        ["in", "out", "--tile", "4"],
        ["in", "out", "--threads", "0"],
        ["in", "out", "--force", "--skip-existing"],
        ["in", "out", "--list-models"],
        ["in", "out", "--series-offset", "-1"],
        ["in", "out", "--series-offset", "2147483648"],
        ["in", "out", "--suffix", ""],
        ["in", "out", "--suffix", "a\\b"],
        ["in", "out", "--equipment", "scanner"],
        ["--demo", "out", "--as-sc"],
        ["--list-models", "--suffix", "x"],
        ["--list-models", "--self-test"],
    ],
)
def test_wrong_usage_is_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert caught.value.code == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none", "out"], "no such file or folder"),
        (["in.png", "out", "--model", "tiny", "--scale", "8"], "not bundled"),
        (["in.png", "out", "--model", "x.onnx"], "no such model file"),
        (["--info", "nano"], "not bundled"),
    ],
)
def test_mistakes_get_one_line(
    arguments: list[str],
    message: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_png(tmp_path / "in.png", np.zeros((20, 20), np.uint8))
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert error.startswith("lightsr-infer: ")
    assert message in error


def test_what_models_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-models"]) == 0
    assert "tiny     x2  int8" in capsys.readouterr().out
    assert main(["--self-test"]) == 0
    assert capsys.readouterr().out.count("what it gave at export") >= 2
    assert main(["--info", "tiny", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    assert card["scale"] == 2
    assert card["sources"][0]["licence"]


def test_versions_and_self_test_name_the_machine(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--version"])
    assert stop.value.code == 0
    versions = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in versions] == ["lightsr", "onnxruntime", "numpy", "pydicom", "CPU"]
    assert main(["--self-test", "tiny"]) == 0
    told = capsys.readouterr().out.splitlines()
    assert told == [*versions, "tiny-x2-int8.onnx: gives on this machine what it gave at export"]


def test_info_names_the_file_and_its_digest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--info", "tiny", "--scale", "4", "--precision", "fp32", "--json"]) == 0
    card = json.loads(capsys.readouterr().out)
    content = (resources.files("lightsr") / "models" / "tiny-x4-fp32.onnx").read_bytes()
    assert card["file"] == "tiny-x4-fp32.onnx"
    assert card["sha256"] == hashlib.sha256(content).hexdigest()


def an_installation(folder: Path, precisions: tuple[str, ...]) -> dict[str, str]:
    """Environment in which lightsr is a copy, whose `tiny` x2 fails its self-test in these precisions."""
    shutil.copytree(Path(lightsr.__file__).parent, folder / "lightsr", ignore=shutil.ignore_patterns("__pycache__"))
    models = folder / "lightsr" / "models"
    listing = json.loads((models / "models.json").read_text())
    for entry in listing:
        if (entry["name"], entry["scale"]) == ("tiny", 2) and entry["precision"] in precisions:
            path = models / f"tiny-x2-{entry['precision']}.onnx"
            content = with_wrong_golden(path.read_bytes())
            path.write_bytes(content)
            entry["sha256"] = hashlib.sha256(content).hexdigest()
    (models / "models.json").write_text(json.dumps(listing))
    return os.environ | {"PYTHONPATH": str(folder)}


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_what_is_made_by_fp32_instead_of_int8_says_so_once(jobs: str, scans: Path, tmp_path: Path) -> None:
    environment = an_installation(tmp_path / "copy", ("int8",))
    command = [sys.executable, "-m", "lightsr.cli", str(scans), str(tmp_path / "out"), "--model", "tiny"]
    command += ["--json", "--threads", "1", "--jobs", jobs]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert finished.stderr == (
        "lightsr-infer: tiny-x2-int8.onnx fails its self-test on this machine; tiny-x2-fp32.onnx is used instead\n"
    )
    assert {json.loads(line)["model"] for line in finished.stdout.splitlines()} == {"tiny-x2-fp32"}
    result = pydicom.dcmread(tmp_path / "out" / "ct.dcm")
    digest = hashlib.sha256((resources.files("lightsr") / "models" / "tiny-x2-fp32.onnx").read_bytes()).hexdigest()
    assert f"model tiny fp32 sha256:{digest[:12]}" in result.DerivationDescription
    assert "int8" not in str(result)
    assert main([str(scans / "ct.dcm"), str(tmp_path / "fp32.dcm"), "--model", "tiny", "--precision", "fp32"]) == 0
    assert pydicom.dcmread(tmp_path / "fp32.dcm").PixelData == result.PixelData


def test_no_picture_without_a_model_that_passes(scans: Path, tmp_path: Path) -> None:
    environment = an_installation(tmp_path / "copy", ("int8", "fp32"))
    command = [sys.executable, "-m", "lightsr.cli", str(scans / "ct.dcm"), str(tmp_path / "a.dcm"), "--model", "tiny"]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert finished.returncode == 1
    assert finished.stderr.count("\n") == 1
    assert "tiny-x2-fp32.onnx: fails its self-test on this machine" in finished.stderr
    assert not (tmp_path / "a.dcm").exists()
    command = [sys.executable, "-m", "lightsr.cli", "--self-test"]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert finished.returncode == 1
    assert finished.stderr.count("fails its self-test") == 2
    assert finished.stdout.count("what it gave at export") == 10


def test_one_self_test_fails_for_a_changed_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.onnx").write_bytes(b"x")
    assert main(["--self-test", str(tmp_path / "a.onnx")]) == 1
    assert "not an ONNX file" in capsys.readouterr().err


def test_a_read_only_folder_is_named(scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_bytes(b"")
    assert main([str(scans / "ct.dcm"), str(tmp_path / "file" / "a.dcm")]) == 1
    error = capsys.readouterr().err
    assert "cannot be made" in error
    assert error.count("\n") == 1


def test_a_name_that_promises_another_format_is_refused(
    scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for source, target in (("ct.dcm", "share.png"), ("colour.png", "a.dcm"), ("ct.dcm", "a.nii"), ("ct.dcm", "a.jpeg")):
        assert main([str(scans / source), str(tmp_path / target)]) == 1
        assert "give it a name that ends in" in capsys.readouterr().err
        assert not (tmp_path / target).exists()
    assert main([str(scans / "ct.dcm"), str(tmp_path / "no-suffix")]) == 0


@pytest.mark.parametrize("option", [["--scale", "4"], ["--precision", "fp32"]])
def test_a_model_file_that_is_not_what_was_asked_for_is_refused(
    option: list[str], scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = resources.files("lightsr") / "models" / "tiny-x2-int8.onnx"
    assert main([str(scans), str(tmp_path / "out"), "--model", str(model), *option]) == 1
    assert f"{option[1]} was asked for" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_name_too_long_is_one_line(scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([str(scans / "ct.dcm"), str(tmp_path / ("a" * 300))]) == 1
    err = capsys.readouterr().err
    assert "File name too long" in err
    assert "unexpected" not in err


@pytest.mark.skipif(sys.platform != "linux", reason="names that are not UTF-8")
def test_names_that_the_terminal_cannot_show(scans: Path, tmp_path: Path) -> None:
    odd = scans / os.fsdecode(b"scan\xff.dcm")
    odd.write_bytes((scans / "ct.dcm").read_bytes())
    environment = os.environ | {"PYTHONIOENCODING": "utf-8:strict"}
    command = [sys.executable, "-m", "lightsr.cli", str(scans), str(tmp_path / "out"), "--threads", "1"]
    finished = subprocess.run(command, env=environment, capture_output=True, check=False)
    assert finished.returncode == 0
    assert b"5 enlarged" in finished.stderr
    assert len(list((tmp_path / "out").rglob("*.dcm"))) == 2


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP"])
def test_being_ended_leaves_no_half_file(name: str, tmp_path: Path) -> None:
    number = getattr(signal, name)
    source, out = tmp_path / "in", tmp_path / "out"
    for i in range(40):
        write_png(source / f"{i:02}.png", np.random.default_rng(i).integers(0, 255, (600, 600), np.uint8))
    command = [sys.executable, "-m", "lightsr.cli", str(source), str(out), "--threads", "1"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    process.stdout.readline()
    process.send_signal(number)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert "stopped" in err
    assert "Traceback" not in err
    done = list(out.iterdir())
    assert 0 < len(done) < 40
    assert all(not path.name.startswith(".") and raster.read(path).size == (1200, 1200) for path in done)


def test_the_demo_has_no_choice_of_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["--demo", str(tmp_path / "demo"), "--model", "nonsense"])
    assert stop.value.code == 2
    assert "do not go with it" in capsys.readouterr().err


def test_a_closed_pipe_is_told(scans: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "lightsr.cli", str(scans), str(tmp_path / "out"), "--json", "--threads", "1"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout
    process.stdout.close()
    assert process.stderr
    assert process.stderr.read() == "lightsr-infer: standard output was closed; stopped before the remaining files\n"
    assert process.wait(60) == 1


def test_names_cannot_move_the_cursor(scans: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    odd = scans / "a\x1b[31m\nb.dcm"
    odd.write_bytes((scans / "ct.dcm").read_bytes())
    (scans / "bad\x1b[2J.dcm").write_bytes(b"x")
    assert main([str(scans), str(tmp_path / "out")]) == 3
    printed = capsys.readouterr()
    assert "a\\x1b[31m\\x0ab.dcm" in printed.out
    assert "bad\\x1b[2J.dcm" in printed.err
    assert "\x1b" not in printed.out + printed.err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full of Linux")
def test_a_full_disk_is_told(scans: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    """Every byte goes where there is no room."""
    opened = os.open

    def full(path: Any, flags: int, mode: int = 0o777) -> int:
        if ".lightsr-" in str(path):
            opened_file = opened(path, flags, mode)
            os.close(opened_file)
            return opened("/dev/full", os.O_WRONLY)
        return opened(path, flags, mode)

    monkeypatch.setattr(os, "open", full)
    for name in ("ct.dcm", "colour.png"):
        target = tmp_path / "out" / name
        assert main([str(scans / name), str(target)]) == 1
        assert capsys.readouterr().err == f"lightsr-infer: {target}: cannot be written: No space left on device\n"
        assert list(target.parent.iterdir()) == []
