"""TIFF and BigTIFF: 8- and 16-bit and float grey, 8-bit RGB, one page or many of one kind.

Reading needs nothing but numpy: what a file claims is checked before it is believed, and a page is
read by strips or tiles. tifffile writes.

References
----------
TIFF Revision 6.0, Adobe 1992, of which tags are named by number; ImageJ: the texts in tag 270.
"""

import contextlib
import itertools
import json
import math
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lightsr import directories, segments, stored
from lightsr.directories import ByteOrder, Directory
from lightsr.errors import ImageError, PackageError
from lightsr.image import Frames, Image, Photometric

KINDS = {(1, 8): "uint8", (1, 16): "uint16", (2, 8): "int8", (2, 16): "int16", (3, 32): "float32"}
"""Type of a value by its format (339) and bits (258)."""

PHOTOMETRICS: dict[int, Photometric] = {0: "MONOCHROME1", 1: "MONOCHROME2", 2: "RGB"}

OTHER_PHOTOMETRICS = {3: "palette", 4: "mask", 5: "CMYK", 6: "YCbCr", 8: "CIELab", 32803: "colour filter array"}

SAME = (254, 256, 257, 258, 259, 262, 266, 274, 277, 282, 283, 284, 296, 317, 338, 339)
"""What all pages must agree in to be the frames of one recording."""

OTHER_KINDS = {
    330: "pages below its pages (a pyramid)",
    32997: "a volume in one page",
    33628: "a MetaMorph stack",
    33629: "a MetaMorph stack",
    34412: "a Zeiss LSM recording",
}
"""Tags of files that hold more than their pages say, or in another way."""

OWN_TEXT = "lightsr "
"""How Software (305) of a result of ours begins."""

NODATA = 42113
"""Tag in which GDAL says what stands for missing values."""

MAX_CLASSIC_BYTES = 2**32 - 2**25
"""Pixels of a classic TIFF, whose offsets are of 32 bits, with room for its directories."""

STRIP_BYTES = 1 << 18
"""About the length of a strip of a result, which is written strip by strip."""

TIFFFILE_BYTES = 16 * 2**20
"""Memory that tifffile takes."""

MAX_LONG = 2**32 - 1

IMAGEJ_NUMBERS = frozenset(
    {"images", "channels", "slices", "frames", "spacing", "finterval", "fps", "min", "max", "cf", "c0", "c1"}
)
"""Numbers in ImageJ's text that stay true: counts, distances across pages, calibration of values, display range."""

IMAGEJ_WORDS = re.compile(
    r"ImageJ=\d{1,2}(\.\d{1,3}){0,2}[a-z]?\d{0,2}|(hyperstack|loop)=(true|false)|mode=(grayscale|composite|color)"
    r"|unit=(\\u00B5m|um|micron|nm|mm|cm|m|inch|pixel|mm/pixel)"
)
"""Other lines of it that say nothing about a person."""


@dataclass(frozen=True)
class Header:
    """What the writer needs of a source.

    Parameters
    ----------
    order : {"<", ">"}
        Byte order.
    big : bool
        Whether it is a BigTIFF.
    dtype : numpy.dtype
    photometric : int
    resolution : (Fraction, Fraction) or None
        Pixels per unit across and down.
    unit : int
        1 none, 2 inch, 3 centimetre (296).
    subfile : int
        254.
    imagej : str
        What stays of ImageJ's description, or "".
    """

    order: ByteOrder
    big: bool
    dtype: np.dtype[Any]
    photometric: int
    resolution: tuple[Fraction, Fraction] | None
    unit: int
    subfile: int
    imagej: str


@contextlib.contextmanager
def opened(path: Path, *, options: Any = None, room: int | None = None) -> Iterator[Frames]:
    """Open a TIFF.

    Parameters
    ----------
    path : Path
        Grey of a type in `KINDS` or RGB of 8 bits; in strips or tiles, without compression or with
        deflate or PackBits; its pages, if several, alike in all of `SAME`.
    options, room : object
        Of DICOM files; without effect here.

    Yields
    ------
    Frames
        Its pages; `header` is a `Header`. Rows can be read by strips or tiles.

    Raises
    ------
    ImageError
        Anything else, or damaged; also when a frame is read.
    """
    with contextlib.ExitStack() as stack:
        with stored.told_as_image_errors(path, "TIFF"):
            stream = stack.enter_context(path.open("rb"))
            length = stored.length_of(stream)
            pages = directories.walk(stream, length, path)
            header = _header(pages, path)
            channels = 3 if header.photometric == 2 else 1
            layouts = [segments.of(page, header.dtype, channels, path) for page in pages]
            if sum(layout.count for layout in layouts) > segments.MAX_SEGMENTS:
                raise ImageError(
                    f"{path}: a TIFF of more than {segments.MAX_SEGMENTS:,} strips or tiles; it is damaged"
                )
            places = [segments.places(page, of, length) for page, of in zip(pages, layouts, strict=True)]
        photometric, count, size = PHOTOMETRICS[header.photometric], len(pages), layouts[0].size

        kept: dict[int, segments.Kept] = {}

        def band(frame: int, top: int, bottom: int) -> NDArray[Any]:
            if frame not in kept:  # of one page at a time
                kept.clear()
            with stored.told_as_image_errors(path, "TIFF"):
                rows = segments.rows(stream, layouts[frame], places[frame], top, bottom, kept.setdefault(frame, {}))
            where = stored.place(frame, count)
            if channels == 1:
                stored.finite(rows, path, where=where, top=top)
            _refuse_missing(rows, path, pages[frame], where, top)
            return rows

        def make(frame: int) -> Image:
            where = stored.place(frame, count)
            return stored.image(band(frame, 0, size[0]), photometric, path, where=where, header=header)

        yield Frames(
            path,
            count,
            size,
            photometric,
            make,
            header=header,
            band=band,
            dtype=stored.native_type(header.dtype),
            piece_rows=max(layout.segment[0] for layout in layouts if layout.tiled) if layouts[0].tiled else 1,
            held_bytes=TIFFFILE_BYTES + max(segments.held_bytes(layout) for layout in layouts),
        )


def _header(pages: list[Directory], path: Path) -> Header:
    first = pages[0]
    for number, page in enumerate(pages, start=1):
        for code, name in OTHER_KINDS.items():
            if code in page.tags:
                raise ImageError(f"{path}: a TIFF with {name}; plain pages are allowed; write them out first")
        different = next((code for code in SAME if not first.alike(page, code)), None)
        if different is not None:
            raise ImageError(
                f"{path}: a TIFF whose page {number} differs from the first in tag {different}; "
                "pages of one size and kind are allowed; split it first"
            )
    if first.text(305).startswith(OWN_TEXT):
        raise ImageError(f"{path}: is a result of lightsr already; enlarge the original")
    photometric = first.number(262, -1)
    dtype = _dtype(first, photometric, path)
    subfile = first.number(254, 0)
    if subfile & ~2 or first.number(255, 1) == 2:
        raise ImageError(f"{path}: a TIFF that says it is a reduced or masking picture; full ones are allowed")
    if first.number(274, 1) != 1:
        raise ImageError(f"{path}: a TIFF that is to be shown turned or mirrored (orientation); turn its pixels first")
    if first.number(266, 1) != 1:
        raise ImageError(f"{path}: a TIFF with the bits of its bytes reversed (fill order); write it anew first")
    big = directories.MARKS[_mark(first)][1]
    across, down = first.ratio(282), first.ratio(283)
    resolution = (across, down) if across and down else None
    values = first.number(256, 0) * first.number(257, 0) * (3 if photometric == 2 else 1)
    imagej = _imagej(first.text(270), len(pages), values, path)
    order = dtype.newbyteorder(first.order)
    return Header(first.order, big, order, photometric, resolution, first.number(296, 2), subfile, imagej)


def _mark(page: Directory) -> bytes:
    page.stream.seek(0)
    return page.stream.read(4)


def _dtype(page: Directory, photometric: int, path: Path) -> np.dtype[Any]:
    """Type of the values, refused where it is not one that is enlarged as it is."""
    if photometric not in PHOTOMETRICS:
        name = OTHER_PHOTOMETRICS.get(photometric, f"number {photometric}")
        raise ImageError(f"{path}: a TIFF with {name} colours; grey and RGB are allowed; convert it first")
    channels = page.number(277, 1)
    if channels != (3 if photometric == 2 else 1) or 338 in page.tags:
        raise ImageError(
            f"{path}: a TIFF of {channels} values a pixel, or with transparency; "
            "one of grey or three of RGB are allowed; convert it without losing values first"
        )
    bits = set(page.numbers(258, most=channels).tolist()) or {1}
    formats = set(page.numbers(339, most=channels).tolist()) or {1}
    kind = KINDS.get((min(formats), min(bits))) if len(formats) == len(bits) == 1 else None
    if kind is None or (photometric == 2 and kind != "uint8") or (photometric == 0 and kind == "float32"):
        raise ImageError(
            f"{path}: a TIFF with {('grey (0 is white)', 'grey', 'RGB')[photometric]} of "
            f"{'/'.join(map(str, sorted(bits)))} bits in format {'/'.join(map(str, sorted(formats)))}; "
            "grey of 8 or 16 bits, signed or not, float32 grey (0 is black) and RGB of 8 bits are allowed"
        )
    return np.dtype(kind)


def _imagej(text: str, pages: int, values: int, path: Path) -> str:
    """Lines of ImageJ's description that stay true and say nothing about a person; else "".

    Raises
    ------
    ImageError
        The description says that there are more pictures than pages, or is OME's.
    """
    if "<OME" in text:
        raise ImageError(f"{path}: an OME-TIFF, whose XML would no longer be true; write it as a plain TIFF first")
    stated = 0
    kept: list[str] = []
    if text.startswith("ImageJ="):
        for line in text.rstrip("\0").splitlines():
            name, _, value = line.partition("=")
            number = name in IMAGEJ_NUMBERS and re.fullmatch(r"-?\d{1,15}(\.\d{1,20})?(E-?\d{1,3})?", value)
            if number or IMAGEJ_WORDS.fullmatch(line):
                kept.append(line)
            if name == "images" and value.isdecimal():
                stated = int(value[:18])
    elif text.startswith("{"):  # tifffile's; one that cannot be parsed is not
        with contextlib.suppress(ValueError, TypeError, KeyError, RecursionError):
            stated = math.prod(json.loads(text.rstrip("\0"))["shape"]) // max(values, 1)
    if stated > pages:
        raise ImageError(f"{path}: a TIFF that says it holds more pictures than pages ({pages}); write all pages first")
    # Without its first line nobody would take the others for ImageJ's.
    return "".join(f"{line}\n" for line in kept) if kept and kept[0].startswith("ImageJ=") else ""


def _refuse_missing(
    rows: NDArray[Any], path: Path, page: Directory, where: Callable[[int, int], str], top: int
) -> None:
    """Refuse pixels that stand for missing values, as GDAL's tag says."""
    if NODATA not in page.tags:
        return
    try:
        value = float(page.text(NODATA).strip("\0 \n"))
    except ValueError as error:
        raise ImageError(f"{path}: a TIFF whose GDAL_NODATA is no number; remove it first") from error
    found = np.argwhere(rows == value)
    if found.size:
        missing = where(top + int(found[0][0]), int(found[0][1]))
        raise ImageError(f"{path}: a missing value (GDAL_NODATA) at {missing}; replace missing values first")


def write(
    frames: Frames, enlarged: Iterable[NDArray[Any]], *, scale: int, producer: Any, options: Any = None, file: BinaryIO
) -> None:
    """Write the `enlarged` bands of all frames as TIFF, without compression, in strips, in the source's byte order.

    Bands are those of `lightsr.files.Format.write`, of shape (n, scale * w[, 3]) and the source's dtype.
    Resolution, in pixels per unit, grows by `scale`, so that a pixel becomes smaller and the picture stays
    as large as it was. Texts of the source are left out but ImageJ's numbers.

    Raises
    ------
    PackageError
        tifffile is not installed.
    """
    try:
        import tifffile
    except ImportError as error:
        raise PackageError(f"{frames.source}: a TIFF, which tifffile writes; pip install tifffile") from error
    source: Header = frames.header
    rows, columns = (scale * side for side in frames.size)
    colour = frames.photometric == "RGB"
    row_bytes = columns * source.dtype.itemsize * (3 if colour else 1)
    big = source.big or frames.count * rows * row_bytes > MAX_CLASSIC_BYTES
    high = max(1, STRIP_BYTES // row_bytes)
    across, down = (_larger(ratio, scale) for ratio in source.resolution or (Fraction(0), Fraction(0)))
    resolution = (across, down) if source.resolution and across and down else None
    words = f"lightsr {producer.version} AI super-resolution x{scale}, not for primary diagnosis"
    strips = _strips(enlarged, rows, high, source.dtype)
    with tifffile.TiffWriter(file, bigtiff=big, byteorder=source.order) as writer:
        for number in range(frames.count):
            writer.write(
                itertools.islice(strips, -(-rows // high)),
                shape=(rows, columns, 3) if colour else (rows, columns),
                dtype=source.dtype,
                rowsperstrip=min(high, rows),
                photometric=source.photometric,
                planarconfig=1 if colour else None,
                subfiletype=source.subfile,
                resolution=resolution,
                resolutionunit=source.unit if resolution else 1,
                software=words,
                description=source.imagej if source.imagej and not number else None,
                metadata=None,
            )


def writing_bytes(frames: Frames, scale: int, options: Any = None) -> int:
    """Memory that `write` takes beside the bands: strips, which may be higher than them."""
    return 4 * max(STRIP_BYTES, scale * frames.frame_bytes // frames.size[0])


def _strips(bands: Iterable[NDArray[Any]], rows: int, high: int, dtype: np.dtype[Any]) -> Iterator[bytes]:
    """Strips of `high` rows, the last of each frame of `rows` rows perhaps lower, from bands of any height."""
    waiting, done = b"", 0
    for band in bands:
        row_bytes = band[0].nbytes
        content = np.ascontiguousarray(band, dtype).data.cast("B")
        while content:
            strip_bytes = min(high, rows - done) * row_bytes
            part = content[: strip_bytes - len(waiting)]
            waiting, content = waiting + part, content[len(part) :]
            if len(waiting) == strip_bytes:
                yield waiting
                waiting, done = b"", done + high if done + high < rows else 0


def _larger(ratio: Fraction, scale: int) -> tuple[int, int] | None:
    """`ratio` times `scale` as two numbers of 32 bits, None where it is too large for them."""
    larger = ratio * scale
    if larger > MAX_LONG:
        return None
    nearest = larger.limit_denominator(min(MAX_LONG, int(MAX_LONG / max(larger, Fraction(1)))))
    return nearest.numerator, nearest.denominator
