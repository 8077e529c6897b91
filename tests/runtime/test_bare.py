"""Data sets without the preamble of a DICOM file: read where that was asked for, and never guessed at."""

import io
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from lightsr import bare, dicom, files, gate, raster
from lightsr.cli import main
from lightsr.errors import ImageError
from lightsr.options import DicomOptions
from lightsr.syntaxes import EXPLICIT, IMPLICIT
from pydicom.uid import ExplicitVRBigEndian

from .dicom_files import a_cine, a_dataset, compressed, real_files, rle, save

FORCE = DicomOptions(force_read=True)

RLE = "1.2.840.10008.1.2.5"


def without_preamble(path: Path) -> bytes:
    return path.read_bytes()[gate.PREAMBLE_BYTES + 4 :]


def data_set(path: Path) -> bytes:
    """What stands behind a file's meta information."""
    with path.open("rb") as file:
        start = gate._file_meta(file, path)[2]
    return path.read_bytes()[start:]


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
@pytest.mark.parametrize("strip", [data_set, without_preamble])
def test_a_data_set_alone_is_read_where_it_was_asked_for(
    syntax: str, strip: Callable[[Path], bytes], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = save(a_dataset(), tmp_path / "a.dcm", syntax)
    expected = dicom.read(path)
    path.write_bytes(strip(path))
    with pytest.raises(ImageError, match="--force-read"):
        files.detect(path)
    with files.opened(path, FORCE) as frames:
        assert np.array_equal(frames.only().pixels, expected.pixels)
        assert frames.only().value_range == expected.value_range
    out = tmp_path / "out.dcm"
    assert main([str(path), str(out), "--force-read", "--threads", "1"]) == 0
    assert out.read_bytes()[: gate.PREAMBLE_BYTES + 4] == bytes(gate.PREAMBLE_BYTES) + b"DICM"
    result = pydicom.dcmread(out)
    assert result.file_meta.TransferSyntaxUID == EXPLICIT
    assert result.file_meta.MediaStorageSOPClassUID == result.SOPClassUID == a_dataset().SOPClassUID
    assert result.file_meta.MediaStorageSOPInstanceUID == result.SOPInstanceUID
    assert result.PatientName == a_dataset().PatientName
    assert main([str(path), str(tmp_path / "no.dcm")]) == 1
    assert "--force-read reads it" in capsys.readouterr().err


def test_the_result_is_that_of_the_whole_file(samples: Path, tmp_path: Path) -> None:
    """To the UID, so that nobody has two of it."""
    source, alone = samples / "CT_small.dcm", tmp_path / "alone.dcm"
    alone.write_bytes(data_set(source))
    for path in (source, alone):
        assert main([str(path), str(tmp_path / f"out-{path.name}"), "--force-read", "--threads", "1"]) == 0
    one, other = (pydicom.dcmread(tmp_path / f"out-{path.name}") for path in (source, alone))
    assert one.SOPInstanceUID == other.SOPInstanceUID
    assert one.PixelData == other.PixelData


def test_real_files_are_the_same_without_what_stands_in_front(samples: Path, tmp_path: Path) -> None:
    path, alike = tmp_path / "a.dcm", 0
    for real in sorted(samples.rglob("*.dcm")):
        if real.stat().st_size > 2**18:  # which takes long, and stands in no other syntax
            continue
        try:
            expected = dicom.read(real).pixels
        except ImageError:
            continue
        syntax = pydicom.dcmread(real, specific_tags=[]).file_meta.TransferSyntaxUID
        path.write_bytes(without_preamble(real))
        with dicom.opened(path, options=FORCE) as frames:
            assert np.array_equal(frames.only().pixels, expected), real
        path.write_bytes(data_set(real))
        if syntax in (IMPLICIT, EXPLICIT):
            with dicom.opened(path, options=FORCE) as frames:
                assert np.array_equal(frames.only().pixels, expected), real
            alike += 1
        elif not syntax.is_deflated:
            with pytest.raises(ImageError, match="compressed pixels, and no file meta|no DICOM file"):
                _read(path)
    assert alike > 5


def _read(path: Path) -> None:
    with dicom.opened(path, options=FORCE) as frames:
        frames.only()


def test_compressed_frames_need_their_meta_information(tmp_path: Path) -> None:
    stored = np.stack([np.full((20, 24), level, np.uint8) for level in (10, 90, 30)])
    path = compressed(a_cine(stored), RLE, [rle(frame[None]) for frame in stored], tmp_path / "a.dcm")
    alone = data_set(path)
    path.write_bytes(without_preamble(path))
    with dicom.opened(path, options=FORCE) as frames:
        assert np.array_equal(np.stack([image.pixels for image in frames]), stored)
    path.write_bytes(alone)
    with pytest.raises(ImageError, match="no file meta information that says how; decompress"):
        _read(path)


def test_big_endian_is_not_guessed(tmp_path: Path) -> None:
    path = save(a_dataset(), tmp_path / "a.dcm", ExplicitVRBigEndian)
    path.write_bytes(data_set(path))
    with pytest.raises(ImageError, match="neither PNG, JPEG, TIFF, NIfTI, NPY nor DICOM; convert it"):
        files.detect(path, FORCE)


def test_other_files_stay_what_they_are(samples: Path, tmp_path: Path) -> None:
    picture = tmp_path / "scan.dcm"
    with picture.open("wb") as file:
        raster.write_png(np.zeros((3, 3), np.uint8), file)
    assert files.detect(picture, FORCE).name == "PNG"
    for path in real_files(samples):
        if path.suffix not in (".dcm", ".dicom", ""):
            assert not gate.is_bare(files.head(path)), path
    for text in ("0008,0005 CS ISO_IR 100\n" * 9, "(0008, 0005) Specific Character Set\n", "\ufeff\b\0\x05\0CS", "{"):
        for encoding in ("utf-8", "utf-16", "latin-1"):
            assert not bare.missing_head(text.encode(encoding, "replace"))


@pytest.mark.parametrize(
    "start",
    [
        b"\x08\0\x18\0UI\x06\0" + b"1.2.3\0",  # behind the SOP class, which it then has not
        b"\x10\0\x10\0PN\x04\0" + b"A^B ",
        b"\x08\0\x05\0XY\x0a\0" + b"ISO_IR 100",
        b"\x08\0\x05\0\x0b\0\0\0" + b"ISO_IR 100\0",
        b"\x08\0\x05\0\x02\x04\0\0" + bytes(0x402),
        b"\x02\0\x10\0UI\x04\0" + b"1.2\0",
        b"\x02\0\0\0LO\x04\0" + bytes(4),
        b"\x08\0\0\0\4\0\0",
    ],
)
def test_a_beginning_that_no_data_set_has(start: bytes) -> None:
    assert not bare.missing_head(start)


@given(text=st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=300))
def test_no_text_is_taken_for_dicom(text: str) -> None:
    for encoding in ("utf-8", "utf-16-le", "utf-16-be"):
        assert not gate.is_bare(text.encode(encoding))


@given(content=st.binary(max_size=300), start=st.sampled_from([b"\x08\0\x05\0CS\x0a\0", b"\x08\0\0\0\4\0\0\0", b""]))
@example(content=bytes(300), start=b"\x08\0\x05\0\0\0\0\0")
@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_refused_in_one_line(content: bytes, start: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    path.write_bytes(start + content)
    with pytest.raises(ImageError) as caught:
        files.detect(path, FORCE)
        _read(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("syntax", [IMPLICIT, EXPLICIT])
def test_cut_anywhere_it_is_refused(syntax: str, tmp_path: Path) -> None:
    content = data_set(save(a_dataset(), tmp_path / "a.dcm", syntax))
    path = tmp_path / "b.dcm"
    for length in range(1, len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(ImageError):
            _read(path)


def test_a_folder_takes_only_what_is_dicom(samples: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = tmp_path / "in", tmp_path / "out"
    folder.mkdir()
    (folder / "alone").write_bytes(data_set(samples / "CT_small.dcm"))
    (folder / "whole.dcm").write_bytes((samples / "MR_small.dcm").read_bytes())
    (folder / "notes.txt").write_text("(0008,0005) ISO_IR 100")
    (folder / "plan.dcm").write_bytes((samples / "ExplVR_LitEndNoMeta.dcm").read_bytes())
    assert main([str(folder), str(out), "--force-read", "--threads", "1"]) == 3
    said = capsys.readouterr().err
    assert "notes.txt: neither PNG, JPEG, TIFF, NIfTI, NPY nor DICOM; convert it" in said
    assert "plan.dcm: 'RT Ion Plan Storage'" in said
    assert {path.name for path in out.iterdir()} == {"alone", "whole.dcm"}


def test_the_file_behind_its_head() -> None:
    """As any other reader of bytes sees it."""
    head, tail = bytes(range(40)), bytes(range(100, 200))
    inner = io.BytesIO(tail)
    inner.name = "a"  # type: ignore[attr-defined]
    joined, plain = bare.behind(head, inner), io.BytesIO(head + tail)
    for position, count in ((0, 10), (35, 10), (39, 1), (40, 5), (130, 50), (0, 140), (12, -1), (150, 4)):
        assert joined.seek(position) == plain.seek(position)
        assert joined.read(count) == plain.read(count)
        assert joined.tell() == plain.tell()
    assert joined.seek(-3, 2) == plain.seek(-3, 2) == 137
    assert joined.seek(1, 1) == plain.seek(1, 1) == 138
    assert joined.read() == plain.read()
