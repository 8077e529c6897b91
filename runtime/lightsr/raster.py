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

from lightsr import jpegs, pngs, stored
from lightsr.errors import ImageError
from lightsr.image import MAX_PIXELS, Frames, Image, Photometric
from lightsr.signatures import PNG_SIGNATURE as PNG_SIGNATURE
from lightsr.signatures import is_jpeg, is_png

PILLOW_BYTES = 12 * 2**20
"""Memory that Pillow takes, with the libraries that decode."""

PILLOW_RGB_BYTES = 4
"""Of a pixel of colour, as Pillow holds it."""

PNG_ENCODER_BYTES = 2**20
"""Memory that encoding takes beside the pixels."""

PNG_HEADER_END = 33
"""Length of the signature and the IHDR chunk, which comes first."""

PER_METRE = 1
"""Unit of pHYs; 0 gives the ratio of a pixel's sides alone (specification, 11.3.4.3)."""

MAX_PNG_INTEGER = 2**31 - 1

INCH_M = 0.0254


@contextlib.contextmanager
def opened(path: Path, *, options: Any = None, room: int | None = None) -> Iterator[Frames]:
    """Open a PNG or JPEG, a file of one frame, which is decoded as a whole when it is asked for.

    Parameters
    ----------
    path : Path
        Grey PNG of 8 or 16 bits, RGB PNG of 8 bits, grey or RGB JPEG.
    options, room : object
        Of DICOM files; without effect here.

    Yields
    ------
    Frames
        uint8 or uint16 pixels, the value range of the dtype.

    Raises
    ------
    ImageError
        The file is damaged, too large, or of a kind whose values would change; also when the
        frame is read.
    """
    with path.open("rb") as file:
        start = file.read(len(PNG_SIGNATURE))
    jpeg_bytes = _jpeg_bytes(path) if is_jpeg(start) else 0
    physical = pngs.check(path) if is_png(start) else None
    with _told_as_image_errors(path), _pillow(path, path) as picture:
        if jpeg_bytes:
            physical = _density(picture.info)
        rows, columns, mode = picture.height, picture.width, picture.mode
    decoded: list[Image] = []

    def make(_: int) -> Image:
        if not decoded:
            decoded.append(_image(path, physical, jpeg_bytes))
        return decoded[0]

    dtype = np.dtype(np.uint16 if mode == "I;16" else np.uint8)
    photometric: Photometric = "RGB" if mode == "RGB" else "MONOCHROME2"
    pixel_bytes = PILLOW_RGB_BYTES + 3 * 3 if mode == "RGB" else 4 * dtype.itemsize  # on their way from Pillow to numpy
    content = 2 * path.stat().st_size if jpeg_bytes else 0
    yield Frames(
        path,
        1,
        (rows, columns),
        photometric,
        make,
        header={"physical": physical},
        dtype=dtype,
        held_bytes=PILLOW_BYTES + content + rows * columns * pixel_bytes,
    )


def read(path: Path) -> Image:
    """Read a PNG or JPEG; see `opened`."""
    with opened(path) as frames:
        return frames.only()


def _image(path: Path, physical: tuple[int, int, int] | None, jpeg_bytes: int) -> Image:
    pixels = _read_jpeg(path, jpeg_bytes) if jpeg_bytes else _decoded(path, path)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{path}: values of type {pixels.dtype}; uint8 and uint16 are allowed")
    photometric: Photometric = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    top = int(np.iinfo(pixels.dtype).max)
    return Image(pixels, (0, top), photometric, path, header={"physical": physical})


@contextlib.contextmanager
def _told_of_jpeg(path: Path) -> Iterator[None]:
    try:
        yield
    except ValueError as error:
        raise ImageError(f"{path}: a JPEG {error}; nothing was read from it") from error


def _jpeg_bytes(path: Path) -> int:
    """Bytes of a JPEG that may belong to its picture, by its frame header; what lies far behind them is not read."""
    with _told_of_jpeg(path), path.open("rb") as file:
        size = jpegs.frame(file.read(jpegs.MAX_OTHER_BYTES + jpegs.MAX_SEGMENT_BYTES))
    if size.rows * size.columns > MAX_PIXELS:
        raise ImageError(
            f"{path}: {size.columns}x{size.rows} pixels; at most {MAX_PIXELS // 1_000_000} million are allowed"
        )
    return 2 * jpegs.MAX_OTHER_BYTES + jpegs.MAX_SEGMENT_BYTES + 2 * len(size.sampling) * size.rows * size.columns


def _read_jpeg(path: Path, most: int) -> NDArray[Any]:
    """Pixels of a JPEG of which nothing is missing in its first `most` bytes."""
    with path.open("rb") as file:
        content = file.read(most)
    with _told_of_jpeg(path):
        return jpegs.checked(content, lambda part: _decoded(io.BytesIO(part), path))


@contextlib.contextmanager
def _told_as_image_errors(path: Path) -> Iterator[None]:
    """Turn what a damaged file makes Pillow raise into one line."""
    from PIL import Image as PillowImage
    from PIL import UnidentifiedImageError

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of sizes below MAX_PIXELS, of damaged EXIF, which changes no pixel
            yield
    except PillowImage.DecompressionBombError as error:
        raise ImageError(f"{path}: more than {MAX_PIXELS // 1_000_000} million pixels") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, struct.error) as error:
        raise ImageError(f"{path}: a damaged or truncated PNG or JPEG; nothing was read from it") from error


@contextlib.contextmanager
def _pillow(source: Path | io.BytesIO, path: Path) -> Iterator[Any]:
    """Pillow's picture, not yet decoded, of a kind that is read."""
    from PIL import Image as PillowImage

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
        yield picture


def _decoded(source: Path | io.BytesIO, path: Path) -> NDArray[Any]:
    """Pixels as Pillow gives them."""
    with _told_as_image_errors(path), _pillow(source, path) as picture:
        picture.load()
        _check_upright(picture, path)
        return np.array(picture)


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

    chunk = b""
    if physical is not None:  # Pillow writes none but square pixels
        chunk = b"pHYs" + struct.pack(">IIB", *physical)
        chunk = struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
    PillowImage.fromarray(np.ascontiguousarray(pixels)).save(_Inserting(file, chunk), format="PNG")  # type: ignore[arg-type]


class _Inserting:
    """A file that is written, with something put in behind a PNG's header."""

    def __init__(self, file: BinaryIO, inserted: bytes) -> None:
        self._file, self._inserted = file, inserted
        self._head: bytes | None = b""

    def write(self, content: bytes) -> int:
        """Write it all; what stands before the place is kept back until it is complete."""
        if self._head is None:
            self._file.write(content)
            return len(content)
        self._head += content
        if len(self._head) >= PNG_HEADER_END:
            self._file.write(self._head[:PNG_HEADER_END] + self._inserted + self._head[PNG_HEADER_END:])
            self._head = None
        return len(content)

    def flush(self) -> None:
        """Hand everything on."""
        self._file.flush()


def write(
    frames: Frames, enlarged: Iterable[NDArray[Any]], *, scale: int, producer: Any, options: Any = None, file: BinaryIO
) -> None:
    """Write the only frame of a file, whose `enlarged` bands are put together first, as PNG.

    Bands are those of `lightsr.files.Format.write`, of shape (n, scale * w[, 3]), uint8 or uint16. Pixels
    per metre grow by `scale`, the ratio of a pixel's sides stays; texts and other metadata of the source
    are left out, since nobody knows what they say about the patient.
    """
    physical = (frames.header or {}).get("physical")
    if physical is not None and physical[2] == PER_METRE:
        across, down = physical[0] * scale, physical[1] * scale
        physical = (across, down, PER_METRE) if max(across, down) <= MAX_PNG_INTEGER else None
    (pixels,) = stored.whole(enlarged, scale * frames.size[0])
    write_png(pixels, file, physical=physical)


def writing_bytes(frames: Frames, scale: int, options: Any = None) -> int:
    """Memory that `write` takes: the whole result, of colour also as Pillow holds it."""
    pixel_bytes = 3 + PILLOW_RGB_BYTES if frames.photometric == "RGB" else frames.dtype.itemsize
    return scale**2 * frames.size[0] * frames.size[1] * pixel_bytes + PNG_ENCODER_BYTES
