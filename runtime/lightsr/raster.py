"""PNG and JPEG: 8- and 16-bit grey, 8-bit RGB. Pillow decodes and encodes."""

import contextlib
import struct
import warnings
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lightsr import stored
from lightsr.errors import ImageError
from lightsr.image import MAX_PIXELS, Frames, Image, Photometric

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"

PNG_COLOUR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
"""IHDR colour types (PNG specification, 11.2.1)."""


ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))
"""First column and row, and steps, of the passes of an interlaced PNG (specification, 8.2)."""

PNG_HEADER_END = 33
"""Length of the signature and the IHDR chunk, which comes first."""

PER_METRE = 1
"""Unit of pHYs; 0 gives the ratio of a pixel's sides alone (specification, 11.3.4.3)."""

MAX_PNG_INTEGER = 2**31 - 1

INCH_M = 0.0254

PILLOW_BYTES = 12 * 2**20
"""Memory that Pillow takes, with the libraries that decode."""

PILLOW_RGB_BYTES = 4
"""Of a pixel of colour, as Pillow holds it."""

PNG_ENCODER_BYTES = 2**20
"""Memory that encoding takes beside the pixels."""

READ_BYTES = 1 << 16
"""How much of a chunk is read at a time."""

INFLATE_BYTES = 1 << 20
"""How much of a compressed stream is opened at a time when its length is checked."""


def is_png(head: bytes) -> bool:
    """Whether a file that begins with `head` is a PNG."""
    return head.startswith(PNG_SIGNATURE)


def is_jpeg(head: bytes) -> bool:
    """Whether a file that begins with `head` is a JPEG."""
    return head.startswith(JPEG_SIGNATURE)


@contextlib.contextmanager
def opened(path: Path, *, options: Any = None) -> Iterator[Frames]:
    """Open a PNG or JPEG, a file of one frame, which is decoded as a whole when it is asked for.

    Parameters
    ----------
    path : Path
        Grey PNG of 8 or 16 bits, RGB PNG of 8 bits, grey or RGB JPEG.
    options : object
        Those of DICOM files; without effect here.

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
    physical = _checked_png(path)
    with _told_as_image_errors(path), _pillow(path) as picture:
        if picture.format == "JPEG":
            physical = _density(picture.info)
        rows, columns, mode = picture.height, picture.width, picture.mode
    decoded: list[Image] = []

    def make(_: int) -> Image:
        if not decoded:
            decoded.append(_decoded(path, physical))
        return decoded[0]

    dtype = np.dtype(np.uint16 if mode == "I;16" else np.uint8)
    photometric: Photometric = "RGB" if mode == "RGB" else "MONOCHROME2"
    pixel_bytes = PILLOW_RGB_BYTES + 3 * 3 if mode == "RGB" else 4 * dtype.itemsize  # on their way from Pillow to numpy
    yield Frames(
        path,
        1,
        (rows, columns),
        photometric,
        make,
        header={"physical": physical},
        dtype=dtype,
        held_bytes=PILLOW_BYTES + rows * columns * pixel_bytes,
    )


def read(path: Path) -> Image:
    """Read a PNG or JPEG; see `opened`."""
    with opened(path) as frames:
        return frames.only()


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
def _pillow(path: Path) -> Iterator[Any]:
    """Pillow's picture, not yet decoded, of a kind that is read."""
    from PIL import Image as PillowImage

    with PillowImage.open(path, formats=("PNG", "JPEG")) as picture:
        if picture.width * picture.height > MAX_PIXELS:
            raise ImageError(
                f"{path}: {picture.width}x{picture.height} pixels; "
                f"at most {MAX_PIXELS // 1_000_000} million are allowed"
            )
        if getattr(picture, "n_frames", 1) > 1:
            raise ImageError(f"{path}: an animated PNG; a PNG with one picture is allowed")
        if picture.mode not in ("L", "RGB", "I;16"):
            raise ImageError(
                f"{path}: pixel format {picture.mode}; 8- or 16-bit grey and 8-bit RGB are allowed; "
                "convert it without losing values first"
            )
        yield picture


def _decoded(path: Path, physical: tuple[int, int, int] | None) -> Image:
    with _told_as_image_errors(path), _pillow(path) as picture:
        picture.load()
        _check_upright(picture, path)
        pixels: NDArray[Any] = np.array(picture)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{path}: values of type {pixels.dtype}; uint8 and uint16 are allowed")
    photometric: Photometric = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    top = int(np.iinfo(pixels.dtype).max)
    return Image(pixels, (0, top), photometric, path, header={"physical": physical})


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


def _checked_png(path: Path) -> tuple[int, int, int] | None:
    """Refuse a PNG that Pillow would silently change; returns its pixels' physical size (pHYs), if it states one.

    These are 16-bit colour, grey of 1, 2 or 4 bits, transparency, and a compressed stream
    that ends whole but before the last row.
    """
    with path.open("rb") as file:
        if file.read(len(PNG_SIGNATURE)) != PNG_SIGNATURE:
            return None
        png = _Png(file, path)
        whole = _inflates_to(png.pixels(), lambda: _raw_length(png.header) if png.header else 0)
    if png.header and not whole:
        raise ImageError(f"{path}: a PNG whose pixels end early; nothing was read from it")
    return png.physical


class _Png:
    """Chunks of a PNG, looked at one after the other; none is kept."""

    def __init__(self, file: BinaryIO, path: Path) -> None:
        self._file, self._path = file, path
        self.header = b""
        self.physical: tuple[int, int, int] | None = None

    def pixels(self) -> Iterator[bytes]:
        """Compressed pixels (IDAT), a part at a time, up to the end of the file; refuses what is met on the way."""
        while len(head := self._file.read(8)) == 8:
            length, kind = struct.unpack(">I4s", head)
            end = self._file.tell() + length + 4
            if kind == b"IHDR" and length == 13 and not self.header:
                header = self._file.read(13)
                if len(header) < 13:
                    return
                self.header = header
                _check_png_header(header, self._path)
            elif kind == b"tRNS":
                raise ImageError(f"{self._path}: a PNG with a transparent value; only opaque pictures are allowed")
            elif kind == b"pHYs" and length == 9:
                data = self._file.read(9)
                self.physical = struct.unpack(">IIB", data) if len(data) == 9 else None
            elif kind == b"IDAT":
                while (left := end - 4 - self._file.tell()) and (part := self._file.read(min(left, READ_BYTES))):
                    yield part
            self._file.seek(end)


def _check_png_header(header: bytes, path: Path) -> None:
    width, height, depth, colour = struct.unpack(">IIBB", header[:10])
    name = PNG_COLOUR_TYPES.get(colour, f"colour type {colour}")
    if (colour, depth) not in {(0, 8), (0, 16), (2, 8)}:
        raise ImageError(
            f"{path}: a PNG of {depth}-bit {name}; 8- or 16-bit grey and 8-bit RGB are allowed; "
            "convert it without losing values first"
        )
    if width * height > MAX_PIXELS:
        raise ImageError(f"{path}: {width}x{height} pixels; at most {MAX_PIXELS // 1_000_000} million are allowed")


def _inflates_to(parts: Iterable[bytes], needed: Callable[[], int]) -> bool:
    """Whether a zlib stream holds at least `needed` bytes; it is opened no further, and none are kept."""
    stream = zlib.decompressobj()
    length = 0
    try:
        for part in parts:
            while part and length < needed():
                length += len(stream.decompress(part, INFLATE_BYTES))
                part = stream.unconsumed_tail
    except zlib.error:
        return False
    return length + len(stream.flush()) >= needed()


def _raw_length(header: bytes) -> int:
    """Bytes of all rows with their filter bytes, for each pass of an interlaced picture (PNG specification, 8)."""
    width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", header)
    pixel = depth // 8 * (3 if colour == 2 else 1)
    passes = ADAM7 if interlaced else ((0, 0, 1, 1),)
    total = 0
    for left, top, across, down in passes:
        columns, rows = -(-(width - left) // across), -(-(height - top) // down)
        total += rows * (1 + columns * pixel) if columns > 0 and rows > 0 else 0
    return total


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

    Pixels per metre grow by `scale`, the ratio of a pixel's sides stays; texts and other
    metadata of the source are left out, since nobody knows what they say about the patient.
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
