"""The files that the oracles look at, and what lightsr makes of each."""

import functools
import importlib.util
import json
import math
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import lightsr
import pydicom
from lightsr.options import Compression, DicomOptions
from lightsr.pipeline import enlarge_file
from lightsr.upscaler import Upscaler

REASONS = (
    (r"neither PNG, JPEG, |without its 128-byte preamble|an empty file", "not DICOM with a preamble"),
    (r"so nothing can be derived", "no UIDs"),
    (
        r"transfer syntax that is not known|transfer syntaxes;|without a transfer syntax|file meta",
        "transfer syntax unclear",
    ),
    (r"transfer syntax .*decompress it first", "other compression"),
    (r"for which a decoder is missing", "decoder not installed"),
    (r"enhanced MR, .* images are allowed|a DICOMDIR|has functional groups", "other kind of object"),
    (r"a mammogram, of which", "mammogram"),
    (r"of several frames", "several frames in one place"),
    (
        r"of type .*ordinary images are allowed|for processing|mask subtraction",
        "localizer, map, subtraction or image for processing",
    ),
    (r"has a Modality LUT", "Modality LUT"),
    (r"result of lightsr already", "own result"),
    (r"photometric interpretation|samples per pixel|planar configuration|uncompressed YBR", "colour model"),
    (r"of \d+ bits, high bit|floating point|stored bits", "number or use of bits"),
    (r"8-bit pixels in 16-bit words|\d unsigned bits are allowed", "number or use of bits"),
    (r"palettes? (of|that|with)|segmented palettes|palette values in", "palette unclear"),
    (r"(must be the same|must go together|contradict each other about)", "header and compressed pixels contradict"),
    (r"its \w+ is (missing|no single whole number)|has no pixels|every pixel is padding", "no pixels, or undescribed"),
    (
        r"functional groups of \d+ frames, and|frames' functional|functional group \(|items of \w+(;| for one)"
        r"|FrameType is missing|part of a concatenation|not 1 number|its RescaleSlope is 0",
        "functional groups unclear",
    ),
    (r"not \d (positive )?numbers|position without|region without", "geometry unclear"),
    (r"frames advance by", "frame times unclear"),
    (r"not in the file's character set", "text not in its character set"),
    (
        r"million are allowed|[GM]iB are allowed|would become|short values|MiB of text|"
        r"\d (elements|deep|fragments|regions|frames; fewer|frames; at most)|times the bytes are allowed",
        "too large",
    ),
    (
        r"damaged|bytes of pixels; its size needs|its decoder|decode|compressed pixels|nested too deeply|there twice|"
        r"is no UID|bytes behind the end",
        "damaged",
    ),
)
"""What the message of a refusal matches, and the short name of its reason; the first match counts."""

OTHER_SCALES = (3, 4, 8)
"""Scales besides 2, for one file of every kind and collection."""

FORMS: tuple[Compression, ...] = ("rle", "j2k-lossless")
"""How the same files are compressed, at scale 2."""

MAX_PIXELS = 32_000_000
"""Of all frames of a result together, above which it is not made, but of a source at scale 2, uncompressed."""

OPTIONS = DicomOptions(force_read=True, allow_mammography=True)
"""With which every file is read: whatever can be converted is judged."""

TOO_SMALL = "needs 32 a side; take rle"
"""What is said of pictures that JPEG 2000 is not for."""

MODELS = {2: "tiny", 3: "base", 4: "tiny", 8: "base"}
"""Bundled model for each scale: the smallest there is."""


@dataclass(frozen=True)
class Conversion:
    """What became of one file at one scale.

    Parameters
    ----------
    collection : str
        Where the file is from.
    source, target : Path
    scale : int
    converted : bool
    message : str
        Why it was refused.
    compress : str
        As what its pixels were to be stored.
    """

    collection: str
    source: Path
    target: Path
    scale: int
    converted: bool
    message: str = ""
    compress: Compression = "none"

    @property
    def label(self) -> str:
        """File and scale, for a list of failures."""
        form = "" if self.compress == "none" else f" {self.compress}"
        return f"{self.collection}/{self.source.name} x{self.scale}{form}"

    @property
    def reason(self) -> str:
        """Short name of the reason for a refusal, "" where there is none for it."""
        text = self.message.replace(str(self.source), "")
        return next((name for pattern, name in REASONS if re.search(pattern, text)), "")


@dataclass(frozen=True)
class Corpus:
    """Every file of every collection at scale 2, and some at other scales.

    Parameters
    ----------
    folders : dict of str to Path
        Of the sources, by collection.
    tried : tuple of Conversion
        All at scale 2.
    others : tuple of Conversion
        Converted, at other scales.
    compressed : tuple of Conversion
        Converted at scale 2, in every form.
    said : dict of str to tuple of str
        What the command line said, by collection.
    """

    folders: dict[str, Path]
    tried: tuple[Conversion, ...]
    others: tuple[Conversion, ...]
    compressed: tuple[Conversion, ...]
    said: dict[str, tuple[str, ...]]

    @property
    def converted(self) -> list[Conversion]:
        """All results, at every scale and in every form."""
        return [*(entry for entry in self.tried if entry.converted), *self.others, *self.compressed]

    def __iter__(self) -> Iterator[Conversion]:
        return iter(self.converted)


@functools.cache
def upscaler_of(scale: int) -> lightsr.Upscaler:
    """The smallest bundled network of a scale, for files that are judged by their geometry, not by the pictures."""
    return lightsr.load("tiny" if scale in (2, 4) else "base", scale=scale, threads=1)


def collections(samples: Path) -> dict[str, Path]:
    """Folders of files: pydicom's own, those of pydicom-data and of LIGHTSR_DATA where they are there."""
    folders = {"pydicom": samples}
    package = importlib.util.find_spec("data_store")  # what PyPI's pydicom-data installs
    if package is not None and package.origin:
        folders["pydicom-data"] = Path(package.origin).parent / "data"
    home = Path(os.environ.get("LIGHTSR_DATA", "-"))
    folders |= {name: home / name for name in ("series", "reader") if (home / name).is_dir()}
    return folders


def files(folder: Path) -> list[Path]:
    """All files of a collection."""
    return sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)


def convert_all(folders: dict[str, Path], out: Path, upscalers: Callable[[int], Any]) -> Corpus:
    """Take every file through the command line, and some through `enlarge_file` at other scales and compressed.

    Parameters
    ----------
    folders : dict of str to Path
    out : Path
        Folder for the results.
    upscalers : callable
        `Upscaler` of a scale.
    """
    tried: list[Conversion] = []
    others: list[Conversion] = []
    compressed: list[Conversion] = []
    said: dict[str, tuple[str, ...]] = {}
    for collection, folder in folders.items():
        results = out / "x2" / collection
        outcomes, said[collection] = command_line(folder, results)
        kinds: set[tuple[Any, ...]] = set()
        for outcome in outcomes:
            source, done = folder / outcome["input"], outcome["status"] == "done"
            tried.append(Conversion(collection, source, results / outcome["output"], 2, done, outcome["message"] or ""))
            pixels = outcome["frames"] * math.prod(outcome["size_in"] or ())
            if not done:
                continue
            kind = _kind(tried[-1].target)
            wanted = [
                *((scale, OPTIONS) for scale in OTHER_SCALES),
                *((2, replace(OPTIONS, compress=c)) for c in FORMS),
            ]
            for scale, options in wanted:
                if pixels * scale**2 > MAX_PIXELS or (scale, options.compress, *kind) in kinds:
                    continue
                kinds.add((scale, options.compress, *kind))
                form = "" if options.compress == "none" else f"-{options.compress}"
                target = out / f"x{scale}{form}" / collection / source.relative_to(folder)
                result = enlarge_file(source, target, cast(Upscaler, upscalers(scale)), options=options)
                if TOO_SMALL in result.message:
                    continue
                done = result.status == "done"
                entry = Conversion(collection, source, target, scale, done, result.message, options.compress)
                (compressed if form else others).append(entry)
    return Corpus(folders, tuple(tried), tuple(others), tuple(compressed), said)


def command_line(folder: Path, out: Path, *chosen: str) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Enlarge a folder by x2; outcomes, and all lines that were said, by `--json` and without it.

    `chosen` are more options. Warnings that Python would hide are shown. Of the outcomes, times and sizes are left
    out of the lines: a birth date could be found in a time by chance.
    """
    command = [sys.executable, "-W", "always", "-m", "lightsr.cli", str(folder), str(out)]
    command += ["--model", "tiny", "--threads", "1", "--force-read", "--allow-mammography", *chosen]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    first, second = (
        subprocess.run([*command, *options], capture_output=True, text=True, check=False, env=environment)
        for options in (["--json"], ["--skip-existing"])
    )
    outcomes = [json.loads(line) for line in first.stdout.splitlines()]
    lines = [  # with whole paths, by which it is known which file a line is about
        f"{folder / outcome['input']} {out / outcome['output']} {outcome['status']} {outcome['message'] or ''}"
        for outcome in outcomes
    ]
    return outcomes, (*lines, *f"{first.stderr}\n{second.stdout}\n{second.stderr}".splitlines())


def _kind(path: Path) -> tuple[str, ...]:
    header = pydicom.dcmread(path, stop_before_pixels=True)
    names = ("SOPClassUID", "PhotometricInterpretation", "BitsAllocated", "PixelRepresentation")
    cine = int(header.get("NumberOfFrames") or 1) > 1
    return (*(str(header.get(name)) for name in names), str(cine))
