"""What goes wrong on somebody's first day, each answered by one line that leads on, with nothing written."""

import gzip
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pydicom
import pytest
import torch
from lightsr import foreign
from lightsr.cli import INSTEAD
from PIL import Image

from .test_commands import MAINS, PARSERS, ROOT

MODULES = {program: main.__module__ for program, main in MAINS.items()}

MISTAKES = [
    # Files that are not where, or what, they should be.
    ("lightsr-infer new.dcm ct.dcm", 1, ["new.dcm: no such file", "ct.dcm is there; IN comes first, then OUT"]),
    ("lightsr-infer scans/ct1.dcm o.dcm", 1, ["no such file or folder; there is no ct1.dcm in ", "scans"]),
    ("lightsr-infer elsewhere/scans o", 1, ["no such file or folder; there is no elsewhere in "]),
    ("lightsr-infer 'scans/*.dmc' o", 1, ["no such file or folder; give the folder, and --glob '*.dcm'"]),
    ("lightsr-infer https://example.org/ct.dcm o.dcm", 1, ["an address of the network", "download it first"]),
    ("lightsr-infer - o.dcm", 1, ["-: standard input is not read; name a file or folder"]),
    ("lightsr-infer scans o --glob '*.dmc'", 1, ["no file that matches *.dmc; --glob takes names", "such as '*.dcm'"]),
    ("lightsr-infer scans o --glob 'scans/*.dcm'", 1, ["--glob takes names as they are, without folders"]),
    ("lightsr-infer empty o", 1, ["empty: no file that matches *; it is empty"]),
    ("lightsr-infer DICOMDIR o.dcm", 1, ["a DICOMDIR, which lists files", "give the folder of these files"]),
    ("lightsr-infer study.zip o", 1, ["a ZIP archive", "unpack it, and give the file or folder"]),
    ("lightsr-infer ct.mha o.mha", 1, ["a MetaImage", "convert it to NIfTI (3D Slicer, SimpleITK)"]),
    ("lightsr-infer ct.nrrd o.nrrd", 1, ["an NRRD", "convert it to NIfTI"]),
    ("lightsr-infer notes.txt o", 1, ["neither PNG, JPEG, TIFF, NIfTI, NPY nor DICOM", "convert it, or leave it out"]),
    ("lightsr-infer rgba.png o.png", 1, ["8-bit RGB with alpha", "8-bit RGB are allowed", "without its alpha channel"]),
    ("lightsr-infer rgb16.png o.png", 1, ["16-bit RGB", "save its channels as 16-bit grey each, or as 8-bit RGB"]),
    ("lightsr-infer binary.png o.png", 1, ["1-bit grey", "save it as 8-bit grey first"]),
    # Results that would be where, or what, they should not be.
    ("lightsr-infer ct.dcm", 2, ["IN and OUT are needed, in this order"]),
    ("lightsr-infer ct.dcm o.png", 1, ["DICOM in gives DICOM out; give it a name that ends in .dcm"]),
    ("lightsr-infer ct.dcm notes.txt/o.dcm", 1, ["notes.txt: cannot be made: a file is there; choose another name"]),
    ("lightsr-infer --demo notes.txt", 1, ["notes.txt: cannot be made: a file is there; choose another name"]),
    ("lightsr-infer ct.dcm ct.dcm", 1, ["is the input itself; choose another output"]),
    ("lightsr-infer ct.dcm done.dcm", 1, ["exists; --force overwrites it, --skip-existing leaves it"]),
    ("lightsr-infer scans ct.dcm", 1, ["ct.dcm: a file; a folder of images needs a folder to go to"]),
    ("lightsr-infer scans scans/sharper", 1, ["lies inside the input folder; choose a folder beside it"]),
    ("lightsr-infer scans o --manifest notes.txt", 1, ["notes.txt: exists, and is no manifest", "another name"]),
    # Words that are misspelt, missing or too many.
    ("lightsr-infer scans/a.dcm scans/b.dcm scans/c.dcm o", 2, ["and 1 more: too many", "--glob '*.dcm'", "quotes"]),
    ("lightsr-infer ct.dcm -o o.dcm", 2, ["-o: no such option; OUT is the word behind IN"]),
    ("lightsr-infer ct.dcm o.dcm --sclae 4", 2, ["--sclae: no such option; did you mean --scale?"]),
    ("lightsr-infer ct.dcm o.dcm -s 4", 2, ["-s: no such option; --scale 2, 3, 4 or 8"]),
    ("lightsr-infer ct.dcm o.dcm -x4", 2, ["-x4: no such option; --scale 2, 3, 4 or 8"]),
    ("lightsr-infer ct.dcm o.dcm --scale 4x", 2, ["--scale: '4x'; 2, 3, 4, 8 are allowed"]),
    ("lightsr-infer ct.dcm o.dcm --scale 6", 2, ["--scale: '6'; 2, 3, 4, 8 are allowed"]),
    ("lightsr-infer ct.dcm o.dcm --max-memory 128", 2, ["'128': so many bytes are too few; did you mean 128M?"]),
    ("lightsr-infer ct.dcm o.dcm --threads 0", 2, ["--threads: '0': a whole number, at least 1, is needed"]),
    ("lightsr-infer '' o", 2, ["argument 1 is empty, perhaps for a variable that is not set"]),
    ("lightsr-infer scans --manifest= o", 2, ["argument 2 is empty, perhaps for a variable that is not set"]),
    ("lightsr-bench devise", 2, ["'devise'; device, quality, ", " are allowed; did you mean device?"]),
    ("lightsr-bench", 2, ["required: COMMAND; lightsr-bench --help tells all"]),
    ("lightsr-bench quality", 2, ["required: --data; lightsr-bench quality --help tells all"]),
    ("lightsr-bench device --seconds soon", 2, ["--seconds: 'soon'; a number is needed"]),
    ("lightsr-train images --out run", 2, ["'images': too many; folders of images go with --data"]),
    ("lightsr-train --data images --out run --epochs 9", 2, ["--epochs: no such option; --steps says how long"]),
    ("lightsr-train --data images", 2, ["required: -o/--out"]),
    ("lightsr-export run", 2, ["required: -o/--out"]),
    # Models.
    (
        "lightsr-infer ct.dcm o.dcm --model tiny --scale 3",
        1,
        ["tiny' x3 int8: not bundled", "tiny x2 x4, in fp32 and int8"],
    ),
    ("lightsr-infer ct.dcm o.dcm --model tinny", 1, ["not bundled; there are base x2", "did you mean tiny?"]),
    (
        "lightsr-infer ct.dcm o.dcm --model base-x4-fp32",
        1,
        ["not bundled", "did you mean --model base --scale 4 --precision fp32?"],
    ),
    ("lightsr-infer ct.dcm o.dcm --model weights.pt", 1, ["weights of a training; lightsr-export makes an .onnx"]),
    ("lightsr-infer ct.dcm o.dcm --model RealESRGAN_x4plus.pth", 1, ["weights of a training", "nothing else runs"]),
    ("lightsr-infer ct.dcm o.dcm --model edsr.onnx", 1, ["has no lightsr card; lightsr-export writes models with one"]),
    ("lightsr-infer ct.dcm o.dcm --model scans", 1, ["scans: a folder; name the .onnx file in it"]),
    ("lightsr-infer ct.dcm o.dcm --model ct.dcm", 1, ["no .onnx file; an .onnx of lightsr-export is needed"]),
    ("lightsr-infer ct.dcm o.dcm --model mine.onnx", 1, ["mine.onnx: no such model file; an .onnx of lightsr-export"]),
    # Training and export.
    ("lightsr-train --data empty --out run", 1, ["empty: no image that can be used, nor any other file"]),
    ("lightsr-train --data imagse --out run", 1, ["imagse: no such folder; a folder of images is needed"]),
    ("lightsr-train --data ct.dcm --out run", 1, ["ct.dcm: a file; a folder of images is needed"]),
    ("lightsr-train --data small --out run", 1, ["small: no image that can be used", "at least 96 pixels a side"]),
    ("lightsr-train --data results --out run", 1, ["results: no image that can be used", "of one frame are read"]),
    ("lightsr-train --data scans --out scans/run", 1, ["lies in the training images of scans; choose an --out beside"]),
    ("lightsr-train --data scans --out run --resume", 1, ["run: holds no run that could go on", "without --resume"]),
    ("lightsr-train --data scans --out run --init bsae", 1, ["no released model; released are base-x2", "mean base?"]),
    ("lightsr-train --data scans --out run --network tinny", 1, ["tiny, base, ", " are allowed; did you mean tiny?"]),
    ("lightsr-export edsr.onnx -o models", 1, ["edsr.onnx: exported already; the run folder or its model.pt"]),
    ("lightsr-export weights.pt -o models", 1, ["not a checkpoint of this version", "which lightsr-train --data DIR"]),
    ("lightsr-export ct.dcm -o models", 1, ["damaged, or not a checkpoint", "a model.pt or its run folder is needed"]),
    ("lightsr-export scans -o models", 1, ["no such checkpoint; lightsr-train writes model.pt into its run folder"]),
    ("lightsr-export '{checkpoints}/tiny-x2.pt' -o models", 1, ["give --calibration DIR, or --no-int8"]),
    # Benchmarks.
    ("lightsr-bench quality --data empty", 1, ["empty: no image that can be used, nor any other file"]),
    ("lightsr-bench training --data imagse", 1, ["imagse: no such folder; a folder of images is needed"]),
    ("lightsr-bench device weights.pt", 1, ["weights.pt: a checkpoint; lightsr-export makes an .onnx of it"]),
    ("lightsr-bench device tinny", 1, ["not bundled; there are base x2", "did you mean tiny?"]),
    ("lightsr-bench device tiny --json new/device.json", 1, ["cannot be written: there is no such folder"]),
    ("lightsr-bench compare other.json", 1, ["not a result of lightsr-bench; results of its --json are compared"]),
    ("lightsr-bench compare ct.dcm", 1, ["not a JSON file; results of lightsr-bench --json are compared"]),
]


@pytest.fixture(scope="module")
def first_day(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a beginner has it."""
    folder = tmp_path_factory.mktemp("first-day")
    samples = Path(pydicom.__file__).parent / "data" / "test_files"
    for name in ("scans", "empty", "small", "results"):
        (folder / name).mkdir()
    shutil.copy(samples / "CT_small.dcm", folder / "ct.dcm")
    shutil.copy(samples / "CT_small.dcm", folder / "scans" / "ct.dcm")
    shutil.copy(samples / "dicomdirtests" / "DICOMDIR", folder / "DICOMDIR")
    derived = pydicom.dcmread(samples / "CT_small.dcm")
    derived.ManufacturerModelName = "lightsr"
    derived.save_as(folder / "results" / "ct.dcm")
    (folder / "done.dcm").write_bytes(b"somebody's")
    (folder / "notes.txt").write_text("Tuesday\n")
    (folder / "ct.mha").write_text("ObjectType = Image\nNDims = 3\n")
    (folder / "ct.nrrd").write_bytes(b"NRRD0004\ntype: short\n")
    (folder / "other.json").write_text('{"format": 1, "input": "ct.dcm"}\n')
    shutil.make_archive(str(folder / "study"), "zip", folder / "scans")
    Image.new("RGBA", (20, 20)).save(folder / "rgba.png")
    Image.new("1", (20, 20)).save(folder / "binary.png")
    Image.fromarray(np.arange(400, dtype=np.uint8).reshape(20, 20)).save(folder / "small" / "a.png")
    write_rgb16(folder / "rgb16.png")
    for name in ("weights.pt", "RealESRGAN_x4plus.pth"):
        torch.save({"conv.weight": torch.zeros(1, 1, 3, 3)}, folder / name)
    value = onnx.helper.make_tensor_value_info
    ends = [value(name, onnx.TensorProto.FLOAT, [1, 3, None, None]) for name in ("input", "output")]
    node = onnx.helper.make_node("Identity", ["input"], ["output"])
    onnx.save(onnx.helper.make_model(onnx.helper.make_graph([node], "edsr", ends[:1], ends[1:])), folder / "edsr.onnx")
    return folder


def write_rgb16(path: Path) -> None:
    """A PNG of 16-bit RGB, which Pillow cannot write."""
    import cv2

    assert cv2.imwrite(str(path), np.full((20, 20, 3), 40_000, np.uint16))


def state(folder: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() if path.is_file() else b"" for path in folder.rglob("*")}


def run(line: str) -> int | str | None:
    """Exit status of a command line in this process."""
    program, *words = shlex.split(line.format(checkpoints=ROOT / "train" / "checkpoints"))
    try:
        return MAINS[program](words)
    except SystemExit as end:
        return end.code


@pytest.mark.parametrize(("line", "status", "parts"), MISTAKES, ids=[line for line, _, _ in MISTAKES])
def test_one_line_leads_on(
    line: str,
    status: int,
    parts: list[str],
    first_day: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(first_day)
    before = state(first_day)
    assert run(line) == status
    said = capsys.readouterr()
    assert said.out == ""
    # Before what is wrong may stand what was done: the folder that is read, the time so far.
    lines = [
        text
        for text in said.err.splitlines()
        if not text.startswith(("reading ", "   0 s  ", "lightsr-train: skipped: "))
    ]
    assert len(lines) == 1
    assert lines[0].startswith(f"{line.split()[0]}")
    for part in parts:
        assert part in lines[0]
    assert state(first_day) == before


def test_there_are_enough() -> None:
    assert len(MISTAKES) >= 20
    assert {line.split()[0] for line, _, _ in MISTAKES} == set(MAINS)


@pytest.mark.parametrize("program", ["lightsr-train", "lightsr-export", "lightsr-bench"])
def test_without_torch_the_extra_is_named(program: str, tmp_path: Path) -> None:
    words = {
        "lightsr-train": ["--data", ".", "--out", "run"],
        "lightsr-export": ["run", "-o", "models"],
        "lightsr-bench": ["training", "--data", "."],
    }[program]
    code = f"import sys; sys.modules['torch'] = None; from {MODULES[program]} import main; sys.exit(main(sys.argv[1:]))"
    done = subprocess.run(
        [sys.executable, "-c", code, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    extra = program.removeprefix("lightsr-")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(f"{program}: torch is not installed; pip install 'lightsr[{extra}]'")
    assert done.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "line",
    [
        *(f"{program} --help" for program in MAINS),
        "lightsr-infer --version",
        "lightsr-infer --list-models",
        f"lightsr-bench compare {ROOT}/docs/results/device-xeon.json",
    ],
)
def test_output_that_nobody_reads_to_the_end(line: str) -> None:
    """As `| head` does; Python would complain, and print a traceback or end with status 120."""
    program, *words = shlex.split(line)
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", MODULES[program], *words]
    usual = {key: value for key, value in os.environ.items() if key != "PYTHONUNBUFFERED"}
    done = subprocess.run(command, stdout=writing, stderr=subprocess.PIPE, text=True, env=usual, check=False)
    os.close(writing)
    told = f"{program}: standard output was closed; "
    assert done.returncode in (0, 1)
    assert done.stderr == "" if done.returncode == 0 else done.stderr.startswith(told)
    assert done.stderr.count("\n") == done.returncode


@pytest.mark.parametrize("line", ["ct.dcm --scale 2 o.dcm", "--scale 2 ct.dcm o.dcm", "ct.dcm o.dcm --scale 2"])
def test_options_may_stand_anywhere(line: str) -> None:
    arguments = PARSERS["lightsr-infer"]().parse_args(line.split())
    assert (arguments.input, arguments.output, arguments.scale) == (Path("ct.dcm"), "o.dcm", 2)


def test_models_may_stand_on_both_sides_of_an_option() -> None:
    parser = PARSERS["lightsr-bench"]()
    assert parser.parse_args(["device", "tiny", "--scale", "2", "base", "a.onnx"]).models == ["tiny", "base", "a.onnx"]


@pytest.mark.parametrize("program", MAINS)
def test_what_is_there_instead_is_there(program: str) -> None:
    """No option is named in place of another that there is, nor one that there is not."""
    parser = PARSERS[program]()
    known = {name for action in parser._actions for name in action.option_strings}
    assert not known & set(parser.instead)
    named = {word.strip(",;.") for text in parser.instead.values() for word in text.split() if word.startswith("--")}
    assert named <= known
    assert program != "lightsr-infer" or parser.instead == INSTEAD


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (gzip.compress(b"hello", mtime=0), "a gzip file"),
        (bytes(257) + b"ustar\x0000", "a tar archive"),
        (b"BM" + (1078).to_bytes(4, "little") + bytes(4) + b"\x36\x04", "a BMP"),
        (b"RIFF\x10\0\0\0WEBPVP8 ", "a WebP"),
        (b"\x89HDF\r\n\x1a\n", "an HDF5 file"),
        (b"BMW is no picture", ""),
        (b"RIFF\x10\0\0\0WAVEfmt ", ""),
        (b"", ""),
    ],
)
def test_formats_that_are_known_by_name_alone(content: bytes, name: str) -> None:
    called, cure = foreign.named(content)
    assert called.startswith(name)
    assert bool(called) == bool(name)
    assert cure
