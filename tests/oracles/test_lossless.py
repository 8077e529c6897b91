"""What GDCM decodes for lightsr, lossless JPEG and JPEG of 12 bits, beside what DCMTK decodes."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pydicom
import pytest
from lightsr import decoder, dicom
from lightsr.errors import ImageError
from pydicom.encaps import generate_frames

from tests.runtime.dicom_files import a_cine, a_dataset, compressed, save

from . import corpus as corpora
from . import tools

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.skipif(importlib.util.find_spec("gdcm") is None, reason="python-gdcm is not installed"),
]

SYNTAXES = {f"1.2.840.10008.1.2.4.{end}" for end in ("51", "57", "70")}

CODERS = {"57": ("+el", "+cn"), "70": ("+e1",), "51": ("+ee", "+bt")}
"""Options of DCMTK's dcmcjpeg by the end of the transfer syntax."""


def frames_of(path: Path) -> np.ndarray:
    with dicom.opened(path) as frames:
        return np.stack([image.pixels for image in frames])


def by_dcmtk(path: Path, scratch: Path) -> np.ndarray:
    decoded = scratch / "decoded.dcm"
    status, said = tools.run("dcmdjpeg", path, decoded)
    assert status == 0, said
    dataset = pydicom.dcmread(decoded)
    pixels = dataset.pixel_array
    return pixels if int(dataset.get("NumberOfFrames") or 1) > 1 else pixels[None]


def test_real_files_are_decoded_as_dcmtk_decodes_them(samples: Path, tmp_path: Path) -> None:
    tools.need("dcmdjpeg")
    compared = set()
    for folder in corpora.collections(samples).values():
        for path in corpora.files(folder):
            try:
                header = pydicom.dcmread(path, stop_before_pixels=True)
                syntax = str(header.file_meta.TransferSyntaxUID)
                if syntax not in SYNTAXES or (syntax.endswith("51") and header.BitsStored == 8):
                    continue
                ours = frames_of(path)
            except (pydicom.errors.InvalidDicomError, AttributeError, OSError, ImageError):
                continue
            assert np.array_equal(ours, by_dcmtk(path, tmp_path)), path
            compared.add((path.name, syntax))
    assert len(compared) >= 4
    assert {syntax for _, syntax in compared} >= {"1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.70"}


@pytest.mark.parametrize(
    ("end", "kind"),
    [
        *((end, kind) for end in ("57", "70") for kind in ("uint8", "uint16 of 12", "int16", "colour", "cine")),
        ("51", "uint16 of 12"),
    ],
)
def test_what_dcmtk_codes(end: str, kind: str, tmp_path: Path) -> None:
    tools.need("dcmcjpeg", "dcmdjpeg")
    rows, columns = np.mgrid[:50, :70]
    values = (rows * columns * 7 + rows % 5 * 40) % 4096
    dataset = {
        "uint8": lambda: a_dataset((values >> 4).astype(np.uint8)),
        "uint16 of 12": lambda: a_dataset(values.astype(np.uint16), BitsStored=12, HighBit=11),
        "int16": lambda: a_dataset((values - 1024).astype(np.int16)),
        "colour": lambda: a_dataset(
            np.stack([values >> 4, values.T.reshape(50, 70) >> 4, values % 256], -1).astype(np.uint8),
            SOPClassUID="1.2.840.10008.5.1.4.1.1.6.1",
        ),
        "cine": lambda: a_cine(np.stack([values, values // 2, 4095 - values]).astype(np.uint16)),
    }[kind]()
    source = save(dataset, tmp_path / "a.dcm")
    status, said = tools.run("dcmcjpeg", *CODERS[end], source, tmp_path / "b.dcm")
    assert status == 0, said
    coded = pydicom.dcmread(tmp_path / "b.dcm", stop_before_pixels=True)
    assert str(coded.file_meta.TransferSyntaxUID).endswith(end)
    ours = frames_of(tmp_path / "b.dcm")
    assert np.array_equal(ours, by_dcmtk(tmp_path / "b.dcm", tmp_path))
    if end != "51":
        assert np.array_equal(ours, frames_of(source))


def test_the_child_lives_within_its_limits_and_dies_by_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tools.need("dcmcjpeg")
    values = np.random.default_rng(0).integers(0, 4096, (1500, 1500)).astype(np.uint16)
    source = save(a_dataset(values), tmp_path / "a.dcm")
    assert tools.run("dcmcjpeg", "+e1", source, tmp_path / "b.dcm")[0] == 0
    assert np.array_equal(frames_of(tmp_path / "b.dcm")[0], values)
    monkeypatch.setattr(decoder, "BASE_MEMORY_BYTES", 60 * 2**20)
    monkeypatch.setattr(decoder, "MEMORY_PER_SAMPLE_BYTES", 0)
    with pytest.raises(ImageError, match="frame 1 (needs more than|made its decoder|cannot be decoded)"):
        frames_of(tmp_path / "b.dcm")


def test_damaged_ones_are_decoded_or_refused(tmp_path: Path) -> None:
    tools.need("dcmcjpeg")
    values = (np.arange(64 * 64).reshape(64, 64) * 37 % 4096).astype(np.uint16)
    source = save(a_dataset(values, BitsStored=12, HighBit=11), tmp_path / "a.dcm")
    dice = np.random.default_rng(1)
    for end in ("70", "51"):
        assert tools.run("dcmcjpeg", *CODERS[end], source, tmp_path / "b.dcm")[0] == 0
        content = (tmp_path / "b.dcm").read_bytes()
        start = content.rindex(b"\xff\xd8\xff")
        outcomes = set()
        for _ in range(12):
            damaged = bytearray(content)
            for place in dice.integers(start + 2, len(content) - 8, 5):
                damaged[place] = dice.integers(256)
            (tmp_path / "c.dcm").write_bytes(damaged)
            try:
                outcomes.add(frames_of(tmp_path / "c.dcm").shape)
            except ImageError as error:
                assert "\n" not in str(error)
                outcomes.add(())
        assert outcomes <= {(1, 64, 64), ()}


@pytest.mark.parametrize("end", ["51", "57", "70"])
def test_what_is_cut_off_and_ended_as_it_should_be_is_refused(end: str, tmp_path: Path) -> None:
    """GDCM makes a grey or black part of what is missing, and says so to nobody."""
    tools.need("dcmcjpeg")
    rows, columns = np.mgrid[:96, :128]
    values = (2000 + 900 * np.sin(columns / 9) + 600 * np.cos(rows / 7) + (rows * columns) % 37).astype(np.uint16)
    source = save(a_dataset(values, BitsStored=12, HighBit=11), tmp_path / "a.dcm")
    assert tools.run("dcmcjpeg", *CODERS[end], source, tmp_path / "b.dcm")[0] == 0
    dataset = pydicom.dcmread(tmp_path / "b.dcm")
    (frame,) = pydicom.encaps.generate_frames(dataset.PixelData, number_of_frames=1)
    stop = frame.rindex(b"\xff\xd9")
    for share in (0.5, 0.9, 0.99):
        cut = frame[: int(stop * share)].rstrip(b"\xff") + b"\xff\xd9"
        dataset.PixelData = pydicom.encaps.encapsulate([cut])
        dataset.save_as(tmp_path / "c.dcm")
        with pytest.raises(ImageError, match="frame 1 cannot be decoded"):
            frames_of(tmp_path / "c.dcm")


def test_lightsr_infer_reads_one(tmp_path: Path) -> None:
    """With the decoder's child, its limits and nothing of what GDCM says aloud."""
    tools.need("dcmcjpeg")
    values = (np.arange(64 * 64).reshape(64, 64) % 4096).astype(np.uint16)
    source = save(a_dataset(values, BitsStored=12, HighBit=11), tmp_path / "a.dcm")
    assert tools.run("dcmcjpeg", *CODERS["51"], source, tmp_path / "b.dcm")[0] == 0
    command = [sys.executable, "-m", "lightsr.cli", str(tmp_path / "b.dcm"), str(tmp_path / "c.dcm"), "--model", "tiny"]
    finished = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (finished.returncode, finished.stderr) == (0, "")
    result = pydicom.dcmread(tmp_path / "c.dcm")
    assert result.pixel_array.shape == (128, 128)
    assert (result.BitsStored, result.LossyImageCompression) == (12, "01")


def scan_of(plane: np.ndarray) -> bytes:
    """A plane of bytes as lossless JPEG predicts it from the left, with codes of four bits (T.81, H.1.2)."""
    before = np.roll(plane.astype(int), 1, 1)
    before[:, 0] = np.concatenate([[128], plane[:-1, 0]])
    bits = ""
    for value in (plane - before).ravel().tolist():
        size = abs(value).bit_length()
        bits += f"{size:04b}" + (f"{value + (value < 0) * ((1 << size) - 1):0{size}b}" if size else "")
    bits += "1" * (-len(bits) % 8)
    return bytes(int(bits[i : i + 8], 2) for i in range(0, len(bits), 8)).replace(b"\xff", b"\xff\x00")


def in_three_scans(colour: np.ndarray) -> tuple[bytes, list[int]]:
    """A lossless JPEG of a scan for each colour, and where these end."""

    def segment(marker: int, body: bytes) -> bytes:
        return bytes([0xFF, marker]) + (len(body) + 2).to_bytes(2, "big") + body

    rows, columns, _ = colour.shape
    sizes = b"\x08" + rows.to_bytes(2, "big") + columns.to_bytes(2, "big")
    content = b"\xff\xd8" + segment(0xC3, sizes + bytes([3, 1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0]))
    content += segment(0xC4, bytes([0, 0, 0, 0, 12, *[0] * 12, *range(12)]))
    ends = []
    for index in range(3):
        content += segment(0xDA, bytes([1, index + 1, 0, 1, 0, 0])) + scan_of(colour[..., index])
        ends.append(len(content))
    return content + b"\xff\xd9", ends


def test_scans_of_one_colour_each(tmp_path: Path) -> None:
    """GDCM gives up at the second thing to complain about, so that scans are tried one by one."""
    steps = np.random.default_rng(0).integers(-3, 4, (40, 48, 3))
    colour = np.clip(np.cumsum(steps, 1) + 128, 0, 255).astype(np.uint8)
    content, ends = in_three_scans(colour)
    dataset = a_dataset(colour, SOPClassUID="1.2.840.10008.5.1.4.1.1.6.1")
    path = compressed(dataset, "1.2.840.10008.1.2.4.70", [content], tmp_path / "a.dcm")
    assert np.array_equal(frames_of(path)[0], colour)
    for end in ends:
        for missing in (3, 200):
            cut = content[: end - missing] + content[end:]
            compressed(dataset, "1.2.840.10008.1.2.4.70", [cut], tmp_path / "b.dcm")
            with pytest.raises(ImageError, match="frame 1 cannot be decoded"):
                frames_of(tmp_path / "b.dcm")


def test_a_scan_header_that_counts_no_coefficients(samples: Path, tmp_path: Path) -> None:
    """Some encoders write 0 for the last of them in sequential JPEG of 12 bits; decoders complain, and go on."""
    odd = pydicom.dcmread(samples / "JPEG-lossy.dcm")
    usual = pydicom.dcmread(samples / "JPGExtended.dcm")
    frame, expected = (next(generate_frames(one.PixelData, number_of_frames=1)) for one in (odd, usual))
    dataset = a_dataset(np.zeros((odd.Rows, odd.Columns), np.uint16), BitsStored=12, HighBit=11)
    found = []
    for content in (frame, expected):
        compressed(dataset, "1.2.840.10008.1.2.4.51", [content], tmp_path / "a.dcm")
        found.append(frames_of(tmp_path / "a.dcm"))
    assert np.array_equal(*found)
    compressed(dataset, "1.2.840.10008.1.2.4.51", [frame[: len(frame) * 2 // 3] + b"\xff\xd9"], tmp_path / "b.dcm")
    with pytest.raises(ImageError, match="frame 1 cannot be decoded"):
        frames_of(tmp_path / "b.dcm")
