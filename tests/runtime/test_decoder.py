"""Compressed frames: what comes out is what went in, and nothing bad comes out of bad ones."""

import base64
import importlib.util
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from lightsr import decoder, dicom, memory
from lightsr.errors import ImageError
from pydicom.dataset import Dataset

from .dicom_files import a_cine, a_dataset, compressed, encoded, rle

RLE = "1.2.840.10008.1.2.5"
JPEG = "1.2.840.10008.1.2.4.50"
JPEG_EXTENDED = "1.2.840.10008.1.2.4.51"
JPEG_LOSSLESS = "1.2.840.10008.1.2.4.70"
JPEG_LS = "1.2.840.10008.1.2.4.80"
J2K = "1.2.840.10008.1.2.4.90"
HTJ2K = "1.2.840.10008.1.2.4.201"

ULTRASOUND = "1.2.840.10008.5.1.4.1.1.6.1"


def frames_of(path: Path) -> np.ndarray:
    with dicom.opened(path) as frames:
        return np.stack([image.pixels for image in frames])


def refusal_of(path: Path) -> str:
    with pytest.raises(ImageError) as caught:
        frames_of(path)
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    assert "Doe" not in message
    return message


@pytest.fixture
def grey() -> np.ndarray:
    rows, columns = np.mgrid[:40, :60]
    return ((rows - 20) ** 2 + 3 * columns).astype(np.uint8)


@pytest.fixture
def colour(grey: np.ndarray) -> np.ndarray:
    return np.stack([grey, grey[::-1], 255 - grey], axis=-1)


def ultrasound(pixels: np.ndarray, **changes: Any) -> Dataset:
    return a_dataset(pixels, SOPClassUID=ULTRASOUND, **changes)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "uint16", "int16"])
def test_rle(dtype: str, tmp_path: Path) -> None:
    limits = np.iinfo(dtype)
    values = np.random.default_rng(0).integers(limits.min, limits.max, (9, 11)).astype(dtype)
    values[3] = limits.max
    path = compressed(a_dataset(values), RLE, [rle(values[None])], tmp_path / "a.dcm")
    assert np.array_equal(frames_of(path)[0], values)


def test_rle_of_few_bits(tmp_path: Path) -> None:
    values = np.array([[-2048, 2047], [-1, 0]], np.int16)
    dataset = a_dataset(values, BitsStored=12, HighBit=11)
    assert np.array_equal(frames_of(compressed(dataset, RLE, [rle(values[None])], tmp_path / "a.dcm"))[0], values)
    beyond = rle(np.array([[[4096, 0], [0, 0]]], np.int16))
    assert "outside its 12 stored bits" in refusal_of(compressed(dataset, RLE, [beyond], tmp_path / "b.dcm"))


@pytest.mark.parametrize("table", [True, False])
def test_rle_cine_in_colour(table: bool, colour: np.ndarray, tmp_path: Path) -> None:
    stored = np.stack([colour, colour // 2, 255 - colour])
    frames = [rle(frame.transpose(2, 0, 1)) for frame in stored]
    path = compressed(a_cine(stored), RLE, frames, tmp_path / "a.dcm", table=table)
    assert np.array_equal(frames_of(path), stored)


def test_rle_without_the_extra_package(colour: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The child imports from where its parent does; there, pylibjpeg-rle is not to be found."""
    path = compressed(ultrasound(colour), RLE, [rle(colour.transpose(2, 0, 1))], tmp_path / "a.dcm")
    (tmp_path / "rle.py").write_text("raise ImportError")
    monkeypatch.syspath_prepend(str(tmp_path))
    assert np.array_equal(frames_of(path)[0], colour)


def test_jpeg_2000_without_loss(grey: np.ndarray, colour: np.ndarray, tmp_path: Path) -> None:
    path = tmp_path / "a.dcm"
    assert np.array_equal(frames_of(compressed(a_dataset(grey), J2K, [encoded(grey, "JPEG2000")], path))[0], grey)
    deep = grey.astype(np.uint16) * 257
    assert np.array_equal(frames_of(compressed(a_dataset(deep), J2K, [encoded(deep, "JPEG2000")], path))[0], deep)
    for photometric, mct in (("RGB", 0), ("YBR_RCT", 1)):
        dataset = ultrasound(colour, PhotometricInterpretation=photometric)
        path = compressed(dataset, J2K, [encoded(colour, "JPEG2000", mct=mct)], path)
        assert np.array_equal(frames_of(path)[0], colour)
        with dicom.opened(path) as frames:
            assert frames.photometric == "RGB"
            assert frames.lossy_ratio is None


@pytest.mark.parametrize("photometric", ["YBR_FULL", "YBR_FULL_422"])
def test_jpeg_in_colour(photometric: str, tmp_path: Path) -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[:16], pixels[16:] = (200, 40, 40), (20, 90, 220)
    dataset = ultrasound(pixels, PhotometricInterpretation=photometric)
    path = compressed(dataset, JPEG, [encoded(pixels, "JPEG", quality=95)], tmp_path / "a.dcm")
    found = frames_of(path)[0].astype(int)
    assert np.abs(found[:12] - pixels[:12]).max() <= 4
    assert np.abs(found[20:] - pixels[20:]).max() <= 4
    with dicom.opened(path) as frames:
        assert frames.lossy_ratio is not None
        assert frames.lossy_ratio > 2


def test_jpeg_stored_as_rgb_is_not_converted(tmp_path: Path) -> None:
    pixels = np.zeros((32, 32, 3), np.uint8)
    pixels[...] = (200, 40, 90)
    content = encoded(pixels, "JPEG", quality=95, keep_rgb=True)
    path = compressed(ultrasound(pixels), JPEG, [content], tmp_path / "a.dcm")
    assert np.abs(frames_of(path)[0].astype(int) - pixels).max() <= 2
    dataset = ultrasound(pixels, PhotometricInterpretation="YBR_FULL")
    message = refusal_of(compressed(dataset, JPEG, [content], tmp_path / "b.dcm"))
    assert "its header says YBR_FULL, its JPEG pixels RGB; both must be the same" in message
    message = refusal_of(compressed(ultrasound(pixels), JPEG, [encoded(pixels, "JPEG")], tmp_path / "c.dcm"))
    assert "its header says RGB, its JPEG pixels YBR" in message


def test_jpeg_ls(tmp_path: Path, grey: np.ndarray, colour: np.ndarray) -> None:
    jpeg_ls = pytest.importorskip("jpeg_ls", reason="pyjpegls is not installed (pip install 'lightsr[dicom]')")
    path = tmp_path / "a.dcm"
    signed = grey.astype(np.int16) - 100
    content = bytes(jpeg_ls.encode_array(signed.view(np.uint16)))
    assert np.array_equal(frames_of(compressed(a_dataset(signed), JPEG_LS, [content], path))[0], signed)
    few = (signed & 0xFFF).astype(np.uint16)
    content = bytes(jpeg_ls.encode_array(few))
    dataset = a_dataset(signed, BitsStored=12, HighBit=11)
    assert np.array_equal(frames_of(compressed(dataset, JPEG_LS, [content], path))[0], signed)
    for interleave in (0, 1, 2):
        stored = colour.transpose(2, 0, 1) if interleave == 0 else colour
        content = bytes(jpeg_ls.encode_array(np.ascontiguousarray(stored), interleave_mode=interleave))
        assert np.array_equal(frames_of(compressed(ultrasound(colour), JPEG_LS, [content], path))[0], colour)


HTJ2K_FRAMES = {
    "unsigned": (
        "/0//UQApQAAAAAAQAAAADAAAAAAAAAAAAAAAEAAAAAwAAAAAAAAAAAABDwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCI"
        "kJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAH4AAf+TwAAmq/oFB3QAAMAAE0AAEwBa/AKH"
        "dAB8/gKHdADAABPAABMAKlT8AgJ0AHX9AAI0AMAAFTAABVgQEBCgYjGCdgCyZcuW/cAxgb62AMAAKyAAFog4juM4/ueKenCCdwDA"
        "QCAQCAQC+ghAe/YhAey6AP/Z"
    ),
    "signed": (
        "/0//UQApQAAAAAAQAAAADAAAAAAAAAAAAAAAEAAAAAwAAAAAAAAAAAABjwEB/1AACAACAAAACv9SAAwAAgABAAUEBEAB/1wAEyCI"
        "kJCQkJCQkJCQkJCQiIiI/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAAH4AAf+TwAAmS/oDB3QAAMAAE0AAEwBa/AKH"
        "dAB8/gKHdADAABPAABMAKlT8AgJ0AHX9AAI0AMAAFTAABVgQEBCgYjGCdgCyZcuW/cAxgb62AMAAKyAAFog4juM4/ueKenCCdwDA"
        "QCAQCAQC+ghAe/YhAey6AP/Z"
    ),
    "colour": (
        "/0//UQAvQAAAAAAQAAAADAAAAAAAAAAAAAAAEAAAAAwAAAAAAAAAAAADBwEBBwEBBwEB/1AACAACAAAAA/9SAAwAAgABAQUEBEAB"
        "/1wAEyBQWFhYWFhYWFhYWFhYUFBQ/2QAFwABT3BlbkpQSCBWZXIgMC4yNi4zLv+QAAoAAAAAARkAAf+TwBKAxQEHdADAEoDrAAd0"
        "AMASgPoAR3QAAAAAwAlgBKDCAId0AOgAB3QAwAlgBKDtAId0APAAx3QAwAkgBKAAh3QAmAEHdADACYAA/AACdADACYC1/gACdADA"
        "CaAEYP9/AAJ0AAYzAMAKmAE8AJAAAOAAlZi1tgCqqsBJvrUAwAdUAMAJ4ASgmfmjI8J1AKrHvrQAwAngBUj/f6MjwnUApmmawAAB"
        "vrYAwBUQBacAV4AA+Oep6eJ2AAAAACAQCP4r76vo/PPOkUcdvAAAAwzwA0223pttsO23GwDAFVAEwNu2/eeAp6dCdwAA+666lQDA"
        "FVAFaG3b/ueAp6dCdwAQAAAA/vpye/fJ7LgA/9k="
    ),
}
"""12 x 16 pixels by OpenJPH: no package that is installed here encodes HTJ2K."""


@pytest.mark.parametrize("kind", HTJ2K_FRAMES)
def test_htj2k(kind: str, tmp_path: Path) -> None:
    pytest.importorskip("openjpeg", reason="pylibjpeg-openjpeg is not installed (pip install 'lightsr[dicom]')")
    rows, columns = np.mgrid[:12, :16]
    if kind == "colour":
        values = np.stack([rows * 9, columns * 7, rows + columns], axis=-1).astype(np.uint8)
        dataset = ultrasound(values, PhotometricInterpretation="YBR_RCT")
    else:
        values = ((rows * 97 + columns * 61) % 4096).astype(np.uint16)
        dataset = a_dataset(values if kind == "unsigned" else (values := values.astype(np.int16) - 2000))
    path = compressed(dataset, HTJ2K, [base64.b64decode(HTJ2K_FRAMES[kind])], tmp_path / "a.dcm")
    assert np.array_equal(frames_of(path)[0], values)


@pytest.fixture
def a_jpeg_cine(tmp_path: Path, grey: np.ndarray) -> Path:
    stored = np.stack([grey, grey // 2, grey // 3])
    return compressed(a_cine(stored), JPEG, [encoded(frame, "JPEG") for frame in stored], tmp_path / "cine.dcm")


def child_of(frames: Any) -> "subprocess.Popen[bytes]":
    child = frames.make.words._child
    assert isinstance(child, subprocess.Popen)
    return child


def test_one_child_for_a_file_that_ends_with_it(a_jpeg_cine: Path) -> None:
    with dicom.opened(a_jpeg_cine) as frames:
        assert frames.make.words._child is None
        frames[0]
        child = child_of(frames)
        frames[2]
        assert child_of(frames) is child
        assert child.poll() is None
    assert child.poll() is not None


def test_a_child_that_dies(a_jpeg_cine: Path) -> None:
    with dicom.opened(a_jpeg_cine) as frames:
        frames[0]
        child_of(frames).kill()
        with pytest.raises(ImageError, match=r"frame 2 made its decoder end early \((signal|status) "):
            frames[1]


@pytest.mark.skipif(os.name != "posix", reason="signals of POSIX")
def test_a_child_that_hangs(a_jpeg_cine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with dicom.opened(a_jpeg_cine) as frames:
        frames[0]
        child_of(frames).send_signal(signal.SIGSTOP)
        monkeypatch.setattr(decoder, "WALL_FACTOR", 0.05)
        started = time.monotonic()
        with pytest.raises(ImageError, match="frame 2 took longer to decode than the 20 s allowed"):
            frames[1]
        assert time.monotonic() - started < 10


limited = pytest.mark.skipif(sys.platform != "linux", reason="limits of a process as Linux keeps them")


@limited
def test_a_decoder_that_needs_too_much_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decoder, "BASE_MEMORY_BYTES", 40 * 2**20)
    monkeypatch.setattr(decoder, "MEMORY_PER_SAMPLE_BYTES", 0)
    pixels = np.zeros((3000, 3000), np.uint16)
    pixels[:50] = np.random.default_rng(0).integers(0, 2**16, (50, 3000))  # empty ones are refused earlier
    path = compressed(a_dataset(pixels), J2K, [encoded(pixels, "JPEG2000")], tmp_path / "a.dcm")
    message = refusal_of(path)
    assert "frame 1 needs more than the 40 MiB allowed for decoding its size" in message


@limited
def test_the_memory_that_is_allowed_is_enough(tmp_path: Path) -> None:
    pixels = np.add.outer(np.arange(2500) * 9, np.arange(2500) * 7).astype(np.uint16)
    pixels[:50] = np.random.default_rng(0).integers(0, 2**16, (50, 2500))
    path = compressed(a_dataset(pixels), J2K, [encoded(pixels, "JPEG2000")], tmp_path / "a.dcm")
    assert np.array_equal(frames_of(path)[0], pixels)


def test_few_bytes_are_no_large_picture(tmp_path: Path) -> None:
    """Of one frame or of all together; a small one may be as empty as it likes."""
    path = tmp_path / "a.dcm"
    empty = np.zeros((1400, 1400), np.uint16)
    content = encoded(empty, "JPEG2000")
    assert not frames_of(compressed(a_dataset(empty), J2K, [content], path)).any()
    message = refusal_of(compressed(a_cine(np.stack([empty] * 2)), J2K, [content] * 2, path))
    assert (
        f"{2 * (len(content) + len(content) % 2)} compressed bytes for 7 MiB of pixels; at most 4 MiB and 256"
        in message
    )


@limited
@pytest.mark.parametrize(
    ("attempt", "expected"),
    [
        ("bytearray(2**31)", "needs more than the"),
        ("open('/tmp/lightsr-test-written', 'wb').write(b'x' * 10)", r"cannot be decoded \(OSError\)|end early"),
        ("os.kill(os.getpid(), 11)", r"made its decoder end early \(signal 11\)"),
        ("os._exit(3)", r"made its decoder end early \(status 3\)"),
        ("exec('while True: pass')", "took longer to decode than the 1 s allowed"),
        ("b'much too short'", "decodes to 14 bytes; 2400 are needed"),
    ],
)
def test_a_decoder_that_was_taken_over(
    attempt: str, expected: str, grey: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package in place of pylibjpeg-rle tries what a stranger's code would try."""
    (tmp_path / "rle.py").write_text(
        f"import os\ndef decode_pixel_data(content, version, rows, columns, bits_allocated):\n    return {attempt}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(decoder, "BASE_SECONDS", 1)
    monkeypatch.setattr(decoder, "WALL_FACTOR", 60)  # the child must stop itself
    path = compressed(a_dataset(grey), RLE, [rle(grey[None])], tmp_path / "a.dcm")
    before, started = memory.peak_mib(), time.monotonic()
    with pytest.raises(ImageError, match=expected):
        frames_of(path)
    assert memory.peak_mib() < before + 20
    assert time.monotonic() - started < 50  # less than the parent would wait
    written = Path("/tmp/lightsr-test-written")
    if written.exists():  # opened before the limit told
        assert written.stat().st_size == 0
        written.unlink()


@pytest.mark.parametrize(
    ("syntax", "module", "named"),
    [
        (JPEG_LS, "jpeg_ls", r"JPEG-LS Lossless, for which a decoder is missing: pip install pyjpegls"),
        (HTJ2K, "openjpeg", r"HTJ2K Lossless, for which a decoder is missing: pip install pylibjpeg-openjpeg"),
        (JPEG_LOSSLESS, "gdcm", r"JPEG Lossless, .* a decoder is missing: pip install python-gdcm"),
        (JPEG_EXTENDED, "gdcm", r"JPEG Extended, .* a decoder is missing: pip install python-gdcm"),
    ],
)
def test_missing_decoders_are_named(
    syntax: str, module: str, named: str, grey: np.ndarray, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == module else found(name))
    path = compressed(a_dataset(grey.astype(np.uint16)), syntax, [b"\xff\xd8"], tmp_path / "a.dcm")
    with pytest.raises(ImageError, match=named):
        frames_of(path)


def test_native_files_need_no_child(tmp_path: Path, samples: Path) -> None:
    script = (
        "import sys, pathlib; from lightsr import dicom\n"
        "with dicom.opened(pathlib.Path(sys.argv[1])) as frames: frames[0]\n"
        "print('subprocess' in sys.modules, 'lightsr.decoder' in sys.modules)\n"
    )
    lines = [
        subprocess.run([sys.executable, "-c", script, str(samples / name)], capture_output=True, text=True, check=True)
        for name in ("CT_small.dcm", "MR_small_RLE.dcm")
    ]
    assert [line.stdout.split()[1] for line in lines] == ["False", "True"]


def damaged_frames(content: bytes) -> Iterator[bytes]:
    dice = np.random.default_rng(0)
    for _ in range(9):
        changed = bytearray(content)
        for place in dice.integers(0, len(changed), 3):
            changed[place] = dice.integers(0, 256)
        yield bytes(changed)
    for length in dice.integers(2, len(content), 5):
        yield content[:length]


@pytest.mark.parametrize("syntax", [RLE, JPEG, J2K])
def test_damaged_frames_are_decoded_or_refused(syntax: str, grey: np.ndarray, tmp_path: Path) -> None:
    content = {RLE: rle(grey[None]), JPEG: encoded(grey, "JPEG"), J2K: encoded(grey, "JPEG2000")}[syntax]
    outcomes = {"read": 0, "refused": 0}
    for index, frame in enumerate(damaged_frames(content)):
        path = compressed(a_dataset(grey), syntax, [frame], tmp_path / f"{index}.dcm")
        try:
            assert frames_of(path).shape == (1, 40, 60)
            outcomes["read"] += 1
        except ImageError as error:
            assert "\n" not in str(error)
            outcomes["refused"] += 1
    assert outcomes["refused"] >= 3
