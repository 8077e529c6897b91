"""PNG and JPEG: 8- and 16-bit grey, 8-bit RGB. Pillow decodes and encodes."""

import struct
import warnings
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lightsr.errors import ImageError
from lightsr.image import Image, Photometric

MAX_PIXELS = 100_000_000
"""Pixels above which a PNG or JPEG is refused, before it is decoded."""

PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
JPEG_SIGNATURE = b"\xff\xd8\xff"

PNG_COLOUR_TYPES = {0: "grey", 2: "RGB", 3: "palette", 4: "grey with alpha", 6: "RGB with alpha"}
"""IHDR colour types (PNG specification, 11.2.1)."""


def is_png(head: bytes) -> bool:
    """Whether a file that begins with `head` is a PNG."""
    return head.startswith(PNG_SIGNATURE)


def is_jpeg(head: bytes) -> bool:
    """Whether a file that begins with `head` is a JPEG."""
    return head.startswith(JPEG_SIGNATURE)


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
    from PIL import Image as PillowImage
    from PIL import UnidentifiedImageError

    _check_png_header(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", PillowImage.DecompressionBombWarning)
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
                picture.load()
                pixels: NDArray[Any] = np.array(picture)
                resolution = picture.info.get("dpi")
    except (PillowImage.DecompressionBombError, PillowImage.DecompressionBombWarning) as error:
        raise ImageError(f"{path}: more than {MAX_PIXELS // 1_000_000} million pixels") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, struct.error) as error:
        raise ImageError(f"{path}: a damaged or truncated PNG or JPEG; nothing was read from it") from error
    if pixels.dtype not in (np.uint8, np.uint16):
        raise ImageError(f"{path}: values of type {pixels.dtype}; uint8 and uint16 are allowed")
    photometric: Photometric = "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    top = int(np.iinfo(pixels.dtype).max)
    return Image(pixels, (0, top), photometric, path, header={"dpi": resolution})


def _check_png_header(path: Path) -> None:
    """Refuse what Pillow would silently change: 16-bit colour, and grey of 1, 2 or 4 bits."""
    with path.open("rb") as file:
        head = file.read(26)
    if not head.startswith(PNG_SIGNATURE) or len(head) < 26:
        return
    depth, colour = head[24], head[25]
    name = PNG_COLOUR_TYPES.get(colour, f"colour type {colour}")
    if (colour, depth) not in {(0, 8), (0, 16), (2, 8)}:
        raise ImageError(
            f"{path}: a PNG of {depth}-bit {name}; 8- or 16-bit grey and 8-bit RGB are allowed; "
            "convert it without losing values first"
        )


def write_png(pixels: NDArray[Any], file: BinaryIO, *, dpi: tuple[float, float] | None = None) -> None:
    """Write (h, w) uint8 or uint16, or (h, w, 3) uint8, as PNG without any metadata but `dpi`."""
    from PIL import Image as PillowImage

    options: dict[str, Any] = {} if dpi is None else {"dpi": dpi}
    PillowImage.fromarray(np.ascontiguousarray(pixels)).save(file, format="PNG", **options)


def write(image: Image, pixels: NDArray[Any], *, scale: int, producer: Any, file: BinaryIO) -> None:
    """Write the enlarged `pixels` of `image` as PNG.

    The resolution in dots per inch grows by `scale`; texts and other metadata of the
    source are left out, since nobody knows what they say about the patient.
    """
    dpi = (image.header or {}).get("dpi")
    write_png(pixels, file, dpi=None if dpi is None else (dpi[0] * scale, dpi[1] * scale))
