"""PNG and JPEG: 8- and 16-bit grey, 8-bit RGB. Pillow decodes and encodes."""

import contextlib
import io
import struct
import warnings
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lightsr import jpegs, pngs
from lightsr.errors import ImageError
from lightsr.image import MAX_PIXELS, Frames, Image, Photometric

PNG_SIGNATURE = pngs.SIGNATURE
JPEG_SIGNATURE = b"\xff\xd8\xff"

PNG_HEADER_END = 33
"""Length of the signature and the IHDR chunk, which comes first."""

PER_METRE = 1
"""Unit of pHYs; 0 gives the ratio of a pixel's sides alone (specification, 11.3.4.3)."""

MAX_PNG_INTEGER = 2**31 - 1

INCH_M = 0.0254


def is_png(head: bytes) -> bool:
    """Whether a file that begins with `head` is a PNG."""
    return head.startswith(PNG_SIGNATURE)


def is_jpeg(head: bytes) -> bool:
    """Whether a file that begins with `head` is a JPEG."""
    return head.startswith(JPEG_SIGNATURE)


@contextlib.contextmanager
def opened(path: Path, *, options: Any = None) -> Iterator[Frames]:
    """Open a PNG or JPEG, a file of one frame; see `read`."""
    yield Frames.of(read(path))


def read(path: Path) -> Image:
    """Read a PNG or JPEG.

    Parameters
    ----------
    path : Path
        Grey PNG of 8 or 16 bits, RGB PNG of 8 bits, grey or RGB JPEG.

    Returns
    -------
    Image
        uint8 or uint16 pixels, the value range of the dtype.

    Raises
    ------
    ImageError
        The file is damaged, too large, or of a kind whose values would change.
    """
    with path.open("rb") as file:
        start = file.read(len(PNG_SIGNATURE))
    if is_jpeg(start):
        pixels, physical = _read_jpeg(path)
    else:
        physical = pngs.check(path) if is_png(start) else None
        pixels = _decoded(path, path)[0]
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{path}: values of type {pixels.dtype}; uint8 and uint16 are allowed")
    photometric: Photometric = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    top = int(np.iinfo(pixels.dtype).max)
    return Image(pixels, (0, top), photometric, path, header={"physical": physical})


def _read_jpeg(path: Path) -> tuple[NDArray[Any], tuple[int, int, int] | None]:
    """Pixels of a JPEG of which nothing is missing, and their density; what lies far behind its pixels is not read."""
    density: tuple[int, int, int] | None = None

    def decode(content: bytes) -> NDArray[Any]:
        nonlocal density
        pixels, info = _decoded(io.BytesIO(content), path)
        density = _density(info)
        return pixels

    try:
        with path.open("rb") as file:
            content = file.read(jpegs.MAX_OTHER_BYTES + jpegs.MAX_SEGMENT_BYTES)
            size = jpegs.frame(content)
            if size.rows * size.columns > MAX_PIXELS:
                raise ImageError(
                    f"{path}: {size.columns}x{size.rows} pixels; at most {MAX_PIXELS // 1_000_000} million are allowed"
                )
            content += file.read(jpegs.MAX_OTHER_BYTES + 2 * len(size.sampling) * size.rows * size.columns)
        return jpegs.checked(content, decode), density
    except ValueError as error:
        raise ImageError(f"{path}: a JPEG {error}; nothing was read from it") from error


def _decoded(source: Path | io.BytesIO, path: Path) -> tuple[NDArray[Any], dict[Any, Any]]:
    """Pixels as Pillow gives them, and what it knows about the file."""
    from PIL import Image as PillowImage
    from PIL import UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes below MAX_PIXELS, of damaged EXIF, which changes no pixel
            with PillowImage.open(source, formats=("PNG", "JPEG")) as picture:
                if picture.width * picture.height > MAX_PIXELS:
                    raise ImageError(
                        f"{path}: {picture.width}x{picture.height} pixels; "
                        f"at most {MAX_PIXELS // 1_000_000} million are allowed"
                    )
                if getattr(picture, "n_frames", 1) > 1:
                    raise ImageError(f"{path}: several pictures in one file; a PNG or JPEG with one picture is allowed")
                if picture.mode not in ("L", "RGB", "I;16"):
                    raise ImageError(
                        f"{path}: pixel format {picture.mode}; 8- or 16-bit grey and 8-bit RGB are allowed; "
                        "convert it without losing values first"
                    )
                picture.load()
                _check_upright(picture, path)
                return np.array(picture), dict(picture.info)
    except PillowImage.DecompressionBombError as error:
        raise ImageError(f"{path}: more than {MAX_PIXELS // 1_000_000} million pixels") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, struct.error) as error:
        raise ImageError(f"{path}: a damaged or truncated PNG or JPEG; nothing was read from it") from error


def _check_upright(picture: Any, path: Path) -> None:
    """Refuse a picture that is to be shown turned or mirrored (EXIF Orientation, tag 0x0112): PNG cannot say so."""
    orientation = picture.getexif().get(0x0112, 1)
    if orientation not in (0, 1):
        raise ImageError(f"{path}: its EXIF says that it is to be shown turned or mirrored; turn its pixels first")


def _density(info: dict[Any, Any]) -> tuple[int, int, int] | None:
    """Physical size of a JPEG's pixels (JFIF 1.02, density) as pHYs has it."""
    across, down = info.get("jfif_density", (0, 0))
    unit = info.get("jfif_unit", 0)
    if min(across, down) < 1 or (unit == 0 and across == down):
        return None
    if unit == 0:
        return across, down, 0
    per_metre = 100 if unit == 2 else 1 / INCH_M
    return round(across * per_metre), round(down * per_metre), PER_METRE


def write_png(pixels: NDArray[Any], file: BinaryIO, *, physical: tuple[int, int, int] | None = None) -> None:
    """Write (h, w) uint8 or uint16, or (h, w, 3) uint8, as PNG without any metadata but `physical` (pHYs)."""
    from PIL import Image as PillowImage

    encoded = io.BytesIO()
    PillowImage.fromarray(np.ascontiguousarray(pixels)).save(encoded, format="PNG")
    content = encoded.getbuffer()
    file.write(content[:PNG_HEADER_END])
    if physical is not None:  # Pillow writes none but square pixels
        chunk = b"pHYs" + struct.pack(">IIB", *physical)
        file.write(struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk)))
    file.write(content[PNG_HEADER_END:])


def write(
    frames: Frames, enlarged: Iterable[NDArray[Any]], *, scale: int, producer: Any, options: Any = None, file: BinaryIO
) -> None:
    """Write the `enlarged` only frame of a file as PNG.

    Pixels per metre grow by `scale`, the ratio of a pixel's sides stays; texts and other
    metadata of the source are left out, since nobody knows what they say about the patient.
    """
    physical = (frames.header or {}).get("physical")
    if physical is not None and physical[2] == PER_METRE:
        across, down = physical[0] * scale, physical[1] * scale
        physical = (across, down, PER_METRE) if max(across, down) <= MAX_PNG_INTEGER else None
    (pixels,) = enlarged
    write_png(pixels, file, physical=physical)
