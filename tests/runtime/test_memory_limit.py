"""`--max-memory` holds for the whole command with its children, by the kernel's own figures (VmHWM)."""

import json
import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from lightsr import files
from lightsr.budget import parse_size
from lightsr.raster import write_png
from pydicom.uid import DeflatedExplicitVRLittleEndian, JPEG2000Lossless, RLELossless

from . import large_files
from .dicom_files import a_dataset, compressed, encoded, rle, save
from .measured import Measured, run

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the peak of a process is read from Linux's /proc")

MIB = 2**20

# pydicom imports every decoder that it finds, and GDCM takes some 10 MiB; a device has none.
COMMAND = "import sys; sys.modules['gdcm'] = None; from lightsr.cli import main; sys.exit(main())"


def enlarge(source: Path, target: Path, *options: str, timeout: float = 900) -> Measured:
    """Run `lightsr-infer` with one thread, in a process of its own."""
    command = [sys.executable, "-c", COMMAND, str(source), str(target), "--threads", "1", *options]
    return run(command, timeout=timeout)


def keeps_within(limit: str, source: Path, *options: str) -> float:
    """Enlarge a file within a limit, and return the peak in MiB."""
    target = source.with_name(f"result{''.join(source.suffixes)}")
    found = enlarge(source, target, "--max-memory", limit, "--json", *options)
    assert found.status == 0, found.err
    assert found.err == ""
    record = json.loads(found.out)
    scale = int(options[options.index("--scale") + 1]) if "--scale" in options else 2
    with files.opened(source) as frames:
        assert record["size_out"] == [scale * side for side in frames.size]
        assert record["frames"] == frames.count
    assert found.peak_mib * MIB <= parse_size(limit)
    return found.peak_mib


@pytest.mark.parametrize(("columns", "scale"), [(512, "2"), (12_000, "4")])
@pytest.mark.parametrize("kind", large_files.KINDS)
def test_formats_that_give_rows(kind: str, columns: int, scale: str, tmp_path: Path) -> None:
    """Three rows of tiles, or three bands of which each is one; `test_pictures_larger_than_memory` has all scales."""
    rows = 512 if columns == 512 else 125
    source = large_files.write(tmp_path / f"a.{kind}", rows, columns)
    keeps_within("112M" if columns == 512 else "128M", source, "--model", "tiny", "--scale", scale)


def test_masks_of_padding_count(tmp_path: Path) -> None:
    """Of 8 bits they are as large as the pixels; and what is dark where it is high is held once more."""
    rows, columns = np.ogrid[:120, :30_000]
    pixels = np.where((columns // 37 + rows // 29) % 3 == 0, 0, columns * 7 % 101 + rows % 37 + 20).astype(np.uint8)
    capture = "1.2.840.10008.5.1.4.1.1.7"
    dataset = a_dataset(pixels, SOPClassUID=capture, PhotometricInterpretation="MONOCHROME1", PixelPaddingValue=0)
    keeps_within("120M", save(dataset, tmp_path / "a.dcm"), "--model", "tiny")


@pytest.mark.parametrize("model", ["tiny", "base"])
@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_every_model_within_its_limit(model: str, precision: str, tmp_path: Path) -> None:
    source = large_files.write(tmp_path / "a.dcm", 512, 512)
    small = keeps_within("112M", source, "--model", model, "--precision", precision)
    large = keeps_within("400M", source, "--model", model, "--precision", precision, "--force")
    assert large > small + 5, "more memory would let it work in larger tiles"


def test_two_jobs_share_the_limit(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    for name in "abcd":
        large_files.write(tmp_path / "in" / f"{name}.dcm", 512, 512)
    found = enlarge(tmp_path / "in", tmp_path / "out", "--model", "base", "--jobs", "2", "--max-memory", "300M")
    assert found.status == 0, found.err
    assert found.processes >= 3 or "--jobs 1" in found.err  # with one CPU there is one job
    assert found.peak_mib <= 300
    found = enlarge(tmp_path / "in", tmp_path / "more", "--model", "tiny", "--jobs", "2", "--max-memory", "200M")
    assert re.search(r"--jobs 1 instead of 2, with --threads 1: (memory|CPUs) that may be used", found.err)
    assert found.peak_mib <= 200


def test_what_needs_more_than_a_share_is_done_alone(tmp_path: Path) -> None:
    """And of what needs more than all it is said what would do."""
    source = tmp_path / "in"
    source.mkdir()
    pixels = np.frombuffer(b"".join(large_files.bands(1500, 2000)), "<u2").reshape(1500, 2000)
    for name, part in (("b", pixels), ("a", pixels[:90, :90]), ("c", pixels[:80, :80]), ("d", pixels[:70, :70])):
        with (source / f"{name}.png").open("wb") as file:
            write_png(part, file)
    options = ("--model", "tiny", "--jobs", "2", "--max-memory")
    found = enlarge(source, tmp_path / "out", *options, "300M", "--json")
    assert found.status == 0, found.err
    assert found.peak_mib <= 300
    assert [json.loads(line)["input"] for line in found.out.splitlines()] == ["a.png", "b.png", "c.png", "d.png"]
    if "--jobs 1 instead" in found.err:  # one CPU: the only job has it all
        return
    assert "need more memory than one of 2 jobs may use: 1; now one at a time" in found.err
    with (source / "e.png").open("wb") as file:
        write_png(np.zeros((3500, 4000), np.uint16), file)
    refused = enlarge(source, tmp_path / "out", *options, "300M", "--skip-existing")
    assert refused.status == 3
    assert "e.png: 4000x3500 pixels, which are decoded as a whole, need" in refused.err
    assert "; 264M are allowed; give --max-memory" in refused.err
    assert re.search(r"give --max-memory \d+M or more, with --jobs 36M more\n", refused.err)


@pytest.mark.parametrize("syntax", [RLELossless, JPEG2000Lossless], ids=["RLE", "JPEG 2000"])
def test_the_child_that_decodes_counts(syntax: str, tmp_path: Path) -> None:
    pixels = np.frombuffer(b"".join(large_files.bands(512, 512)), "<u2").reshape(512, 512)
    frame = rle(pixels[None]) if syntax == RLELossless else encoded(pixels, "JPEG2000")
    source = compressed(a_dataset(pixels), syntax, [frame], tmp_path / "a.dcm")
    refused = enlarge(source, tmp_path / "b.dcm", "--model", "tiny", "--max-memory", "112M")
    assert refused.status == 1
    assert refused.processes == 1
    needed = re.search(r"give --max-memory (\d+M) or more", refused.err)
    assert needed
    assert not (tmp_path / "b.dcm").exists()
    assert keeps_within(needed[1], source, "--model", "tiny") > 100


@pytest.mark.parametrize("colour", [False, True])
def test_what_is_decoded_whole_is_refused_where_it_does_not_fit(colour: bool, tmp_path: Path) -> None:
    """The limit that the refusal names is enough, and not much more than that."""
    rows = 500 if colour else 1000
    pixels = np.frombuffer(b"".join(large_files.bands(rows, 1400)), "<u2").reshape(rows, 1400)
    if colour:
        pixels = np.stack([(pixels // 16).astype(np.uint8)] * 3, axis=-1)
    source = tmp_path / "a.png"
    with source.open("wb") as file:
        write_png(pixels, file)
    refused = enlarge(source, tmp_path / "b.png", "--model", "tiny", "--max-memory", "96M", "--json")
    assert refused.status == 1
    assert f"1400x{rows} pixels, which are decoded as a whole, need" in refused.err
    assert "96M are allowed" in refused.err
    assert refused.err.count("\n") == 1
    assert json.loads(refused.out)["reason"] == "memory"
    assert [path.name for path in tmp_path.iterdir()] == ["a.png"]
    needed = re.search(r"give --max-memory (\d+M) or more", refused.err)
    assert needed
    assert keeps_within(needed[1], source, "--model", "tiny") > 0.6 * int(needed[1][:-1])


def test_a_deflated_file_that_does_not_fit_is_not_opened(tmp_path: Path) -> None:
    source = large_files.write(tmp_path / "plain.dcm", 2500, 2500)
    dataset = pydicom.dcmread(source)
    source.unlink()
    path = save(dataset, tmp_path / "a.dcm", DeflatedExplicitVRLittleEndian)
    refused = enlarge(path, tmp_path / "b.dcm", "--model", "tiny", "--max-memory", "84M")
    assert refused.status == 1
    assert "deflated, and 11 MiB when it is opened" in refused.err
    assert refused.peak_mib < 74  # opened, it takes 88
    needed = re.search(r"give --max-memory (\d+M) or more", refused.err)
    assert needed
    assert keeps_within(needed[1], path, "--model", "tiny") > 100


def test_too_little_for_the_model_is_said_before_any_file(tmp_path: Path) -> None:
    source = large_files.write(tmp_path / "a.npy", 20, 20)
    found = enlarge(source, tmp_path / "b.npy", "--model", "tiny", "--max-memory", "60M")
    assert found.status == 1
    assert re.fullmatch(r"lightsr-infer: --max-memory: max_memory is 60M; this model needs at least \d+M\n", found.err)


@pytest.mark.slow
@pytest.mark.parametrize("scale", ["2", "4"])
@pytest.mark.parametrize("size", [(4096, 4096), (9000, 12_000)], ids=["4096x4096", "12000x9000"])
@pytest.mark.parametrize("kind", large_files.KINDS)
def test_pictures_larger_than_memory(kind: str, size: tuple[int, int], scale: str, tmp_path: Path) -> None:
    """12000x9000 at x4 makes 3.3 GiB; two minutes of a processor each."""
    if shutil.disk_usage(tmp_path).free < 8 * 2**30:
        pytest.skip("less than 8 GiB of disk are free")
    source = large_files.write(tmp_path / f"a.{kind}", *size)
    keeps_within("128M", source, "--model", "tiny", "--scale", scale)
    for path in tmp_path.iterdir():
        path.unlink()


@pytest.mark.slow
@pytest.mark.parametrize("model", ["tiny", "base"])
def test_a_cine_of_500_frames(model: str, tmp_path: Path) -> None:
    source = large_files.write(tmp_path / "a.dcm", 512, 512, frames=500)
    keeps_within("128M", source, "--model", model)
    for path in tmp_path.iterdir():
        path.unlink()
