"""Coverage-guided fuzzing of every reader (atheris, libFuzzer); `make fuzz` runs it, `pytest` does not.

    python -m tests.fuzz.readers [--seconds N] [--folder DIR] [READER ...]
    python -m tests.fuzz.readers --try FILE READER

A reader may refuse what it gets, by a `LightsrError` of one line that names the file; or give
pictures that are in order. Everything else is a finding: another exception, a picture that is not
what its file says, more memory or time than so small a file may take. Findings go to
DIR/READER-found (build/fuzz by default): the file itself, and beside it what happened.
"""

import argparse
import gzip
import hashlib
import importlib.util
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SECONDS = 60
"""For each reader."""

MAX_BYTES = 8192
"""Of an input. Deflate makes a thousand times as much of it at most, which is no bomb yet."""

MEMORY_MIB = 640
"""Of the fuzzing process, with libFuzzer's tables and inputs; `test_broken_inputs.py` measures the command itself."""

INPUT_SECONDS = 10
"""For one input."""

LOOKED_INTO = ("lightsr", "PIL", "pydicom", "nibabel", "gzip")
"""Packages whose branches guide."""

IMPORTED = (
    *("lightsr.files", "lightsr.decoder", "lightsr.decoding", "lightsr.fragments", "lightsr.functional_groups"),
    *("PIL.PngImagePlugin", "PIL.JpegImagePlugin", "pydicom.filereader"),
)
"""What reads; imported where it is instrumented."""


@dataclass(frozen=True)
class Reader:
    """What is fuzzed.

    Parameters
    ----------
    suffix : str
    seeds : callable
        Gives small valid files.
    prepared : callable
        Makes a file of an input: what no mutation finds, a check sum, is put right.
    """

    suffix: str
    seeds: Callable[[], Iterable[bytes]]
    prepared: Callable[[bytes], bytes] = bytes


def packed(content: bytes) -> bytes:
    """An input as it is where it is gzip, else inside gzip."""
    return content if content.startswith(b"\x1f\x8b") else gzip.compress(content, 1, mtime=0)


def readers() -> dict[str, Reader]:
    """All of them, by name."""
    from tests.runtime.broken import dicoms, npys, rasters, tiffs, volumes

    def rasters_of(mark: bytes) -> Callable[[], Iterator[bytes]]:
        return lambda: (content for content in rasters.wholes() if content.startswith(mark))

    def gzipped() -> Iterator[bytes]:
        yield from volumes.wholes()
        yield from map(volumes.packed, volumes.wholes())

    return {
        "png": Reader(".png", rasters_of(b"\x89PNG"), rasters.with_checksums),
        "jpeg": Reader(".jpg", rasters_of(b"\xff\xd8")),
        "tiff": Reader(".tif", tiffs.wholes),
        "nifti": Reader(".nii", volumes.wholes),
        "nifti-gz": Reader(".nii.gz", gzipped, packed),
        "npy": Reader(".npy", npys.wholes),
        "dicom": Reader(".dcm", dicoms.wholes),
    }


def looked_at(path: Path) -> None:
    """Read all that a file holds as the command would; a refusal is fine.

    Raises
    ------
    Exception
        Of whatever kind: a finding.
    """
    from lightsr import files
    from lightsr.errors import LightsrError
    from lightsr.options import DicomOptions

    try:
        with files.opened(path, DicomOptions(force_read=True, allow_mammography=True)) as frames:
            assert frames.count >= 1
            for number in range(min(frames.count, 3)):
                in_order(frames, number)
    except LightsrError as error:
        assert str(path) in str(error)
        assert len(str(error).splitlines()) == 1
        assert str(error).isprintable()


def in_order(frames: Any, number: int) -> None:
    """Whether a frame is what its file says, and its bands are those of the frame."""
    import numpy as np
    from lightsr.arrays import DTYPES

    image = frames[number]
    assert image.size == frames.size
    assert image.photometric == frames.photometric
    assert image.pixels.dtype in DTYPES
    assert np.isfinite(image.pixels).all()
    low, high = image.value_range
    real = image.pixels if image.padding is None else image.pixels[~image.padding]
    assert real.size == 0 or low <= real.min() <= real.max() <= high
    if frames.band:
        half = image.size[0] // 2
        parts = [frames.band(number, 0, half), frames.band(number, half, image.size[0])]
        assert np.array_equal(np.concatenate(parts), image.pixels)


def decode_here() -> None:
    """Compressed DICOM: run lengths in this process, nothing else at all; a child for each input would cost too much.

    Everything around the decoder, the checks of its input among them, stays as it is.
    """
    from lightsr import decoder
    from lightsr.decoding import Task, decode_rle
    from lightsr.errors import ImageError

    def decoded(self: Any, content: bytes, found: Any, index: int) -> bytes:
        of = self.of
        if self.syntax.codec != "RLE":
            raise ImageError(f"{self.path}: not decoded while it is fuzzed")
        task = Task("", "RLE", of.rows, of.columns, of.samples, of.allocated, of.stored, of.signed, "", False, 0, 0)
        try:
            return bytes(decode_rle(content, task))
        except Exception as error:  # the child tells it so
            raise self._refused(type(error).__name__.encode(), index) from error

    decoder.Decoder._decoded = decoded  # type: ignore[method-assign]


def fuzz(name: str, found: Path, scratch: Path, options: list[str]) -> None:
    """Fuzz a reader in this process, which libFuzzer ends."""
    import atheris

    with atheris.instrument_imports(include=list(LOOKED_INTO), enable_loader_override=False):
        for module in (*IMPORTED, *(["nibabel"] if name.startswith("nifti") else [])):
            importlib.import_module(module)
    reader = readers()[name]
    decode_here()
    place = scratch / f"a{reader.suffix}"

    def one(content: bytes) -> None:
        prepared = reader.prepared(content)
        place.write_bytes(prepared)
        try:
            looked_at(place)
        except Exception:
            kept = found / hashlib.sha256(prepared).hexdigest()[:16]
            kept.with_suffix(reader.suffix).write_bytes(prepared)
            kept.with_suffix(".txt").write_text(traceback.format_exc())
            raise

    atheris.Setup([sys.argv[0], *options], one)
    atheris.Fuzz()


def run(name: str, seconds: int, folder: Path) -> bool:
    """Fuzz a reader in a process of its own; whether nothing was found."""
    seeds, corpus, found = (folder / f"{name}-{part}" for part in ("seeds", "corpus", "found"))
    for made in (seeds, corpus, found):
        made.mkdir(parents=True, exist_ok=True)
    before = set(found.iterdir())
    for number, content in enumerate(readers()[name].seeds()):
        (seeds / str(number)).write_bytes(content)
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={MAX_BYTES}",
        f"-rss_limit_mb={MEMORY_MIB}",
        f"-timeout={INPUT_SECONDS}",
        f"-artifact_prefix={found}/libfuzzer-",
        "-print_final_stats=1",
        "-verbosity=0",
        "-close_fd_mask=1",
    ]
    command = [sys.executable, "-m", "tests.fuzz.readers", "--one", name, "--folder", str(found)]
    started = time.monotonic()
    in_memory = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=in_memory) as scratch:
        arguments = ["--scratch", scratch, "--", *options, str(corpus), str(seeds)]
        finished = subprocess.run([*command, *arguments], stderr=subprocess.PIPE, check=False)
    said = finished.stderr.decode("utf-8", "replace")
    (folder / f"{name}.log").write_text(said)
    executions = next((line.split()[-1] for line in said.splitlines() if "number_of_executed_units" in line), "?")
    new = sorted(path.name for path in set(found.iterdir()) - before)
    quiet = finished.returncode == 0 and not new
    what = "nothing found" if quiet else f"FOUND, see {found} and {folder / name}.log"
    print(f"{name:<10}{executions:>10} executions in {time.monotonic() - started:.0f} s: {what}", flush=True)
    return quiet


def main() -> int:
    """Fuzz what is asked for."""
    p = argparse.ArgumentParser(description="Fuzz the readers; needs atheris of lightsr[fuzz].")
    p.add_argument("--seconds", type=int, default=int(os.environ.get("FUZZ_SECONDS", SECONDS)))
    p.add_argument("--folder", type=Path, default=Path("build/fuzz"))
    p.add_argument("--one", help=argparse.SUPPRESS)
    p.add_argument("--scratch", type=Path, help=argparse.SUPPRESS)
    p.add_argument("--try", dest="tried", type=Path, metavar="FILE", help="read this file once, and show what happens")
    p.add_argument("rest", nargs="*", metavar="READER", help="by default each in turn")
    arguments = p.parse_args()
    if arguments.one:
        fuzz(arguments.one, arguments.folder, arguments.scratch, arguments.rest)
        return 0
    if arguments.tried:
        decode_here()
        looked_at(arguments.tried)
        return 0
    if importlib.util.find_spec("atheris") is None:
        print("atheris is not installed: pip install 'lightsr[fuzz]'", file=sys.stderr)
        return 1
    names = arguments.rest or list(readers())
    unknown = sorted(set(names) - set(readers()))
    if unknown:
        p.error(f"no reader {', '.join(unknown)}; there are {', '.join(readers())}")
    quiet = [run(name, arguments.seconds, arguments.folder) for name in names]
    return int(not all(quiet))


if __name__ == "__main__":
    sys.exit(main())
