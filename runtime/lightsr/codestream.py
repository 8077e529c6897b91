"""What a compressed frame says about itself, read before any decoder sees it.

Decoders allocate what these headers say; a frame is decoded only where they state the
very size that the data set states.
"""

import itertools
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lightsr.errors import ImageError
from lightsr.pixels import PixelDescription
from lightsr.syntaxes import TransferSyntax

RLE_HEADER_BYTES = 64
RLE_MOST_PER_BYTE = 64
"""Bytes that a byte of an RLE segment can stand for: two bytes repeat one up to 128 times (PS3.5, G.3.1)."""

MAX_TILES = 65_535
"""Tiles of a JPEG 2000 image (ISO/IEC 15444-1, A.4.2)."""

TILE_HEADER_BYTES = 14
"""Of a tile-part at least: its header and the marker that ends it (ISO/IEC 15444-1, A.4.2 and A.4.3)."""

_JPEG_FRAMES = {0xC0: "baseline", 0xC1: "extended", 0xC3: "lossless", 0xF7: "JPEG-LS"}
"""Start-of-frame markers (ISO/IEC 10918-1, B.2.2; 14495-1, C.1.1), without FF."""

_OTHER_JPEG_FRAMES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC} - _JPEG_FRAMES.keys())

_ALLOWED_JPEG_FRAMES = {
    "1.2.840.10008.1.2.4.50": ("baseline",),
    "1.2.840.10008.1.2.4.51": ("baseline", "extended"),
    "1.2.840.10008.1.2.4.57": ("lossless",),
    "1.2.840.10008.1.2.4.70": ("lossless",),
    "1.2.840.10008.1.2.4.80": ("JPEG-LS",),
    "1.2.840.10008.1.2.4.81": ("JPEG-LS",),
}


@dataclass(frozen=True)
class Codestream:
    """Header of a compressed frame.

    Parameters
    ----------
    rows, columns, samples : int
    precision : int
        Bits of a sample.
    signed : bool
    by_plane : bool
        Whether the decoder gives one colour after the other.
    colour : str
        "" where it does not say; "RGB" or "YBR" what its samples are; "RCT" or "ICT" which
        transformation the decoder takes back by itself.
    """

    rows: int
    columns: int
    samples: int
    precision: int
    signed: bool = False
    by_plane: bool = False
    colour: str = ""


def checked(content: bytes, syntax: TransferSyntax, of: PixelDescription, path: Path) -> Codestream:
    """Header of the frame `content`, if it is that of the data set's pixels.

    Parameters
    ----------
    content : bytes
    syntax : TransferSyntax
    of : PixelDescription
    path : Path
        For messages.

    Raises
    ------
    ImageError
        Damaged, of another size or kind than the data set says, or of a colour space that contradicts it.
    """
    try:
        found = _READERS[syntax.codec](content, syntax, of)
    except (struct.error, IndexError):
        raise ImageError(f"{path}: compressed pixels that end inside their header; it is damaged") from None
    except ValueError as error:  # our own, below
        raise ImageError(f"{path}: compressed pixels {error}") from None
    size, stated = ((s.columns, s.rows, s.samples) for s in (found, of))
    if size != stated:
        raise ImageError(
            f"{path}: compressed pixels of {size[0]}x{size[1]}x{size[2]}, and a header that says "
            f"{stated[0]}x{stated[1]}x{stated[2]}; both must be the same"
        )
    # JPEG 2000 writers take what the values need; its samples are whole numbers with a sign all the same.
    least = 1 if syntax.codec in ("J2K", "HTJ2K") else of.stored
    if not least <= found.precision <= of.allocated:
        raise ImageError(
            f"{path}: compressed pixels of {found.precision} bits, and a header that says {of.stored} in "
            f"{of.allocated}; both must go together"
        )
    bits = {"JPEG": 8, "JPEG of 12 bits": 12}.get(syntax.codec)
    if bits is not None and (found.precision != bits or of.signed):
        raise ImageError(f"{path}: {syntax.name} of {found.precision} bits; {bits} unsigned bits are allowed")
    if syntax.lossy and of.photometric == "PALETTE COLOR":
        raise ImageError(f"{path}: palette values in {syntax.name}, which changes them; lossless is allowed")
    if syntax.codec in ("J2K", "HTJ2K") and found.signed != of.signed:
        raise ImageError(f"{path}: compressed pixels and header contradict each other about signed values")
    _check_colour(found, syntax, of, path)
    return found


def _check_colour(found: Codestream, syntax: TransferSyntax, of: PixelDescription, path: Path) -> None:
    """Whether photometric interpretation and codestream mean the same (PS3.5, 8.2)."""
    if of.samples == 1:
        return
    allowed = {
        "RGB": ("", "RGB", "RCT", "ICT"),  # what a decoder takes back by itself has left RGB behind
        "YBR_FULL": ("", "YBR"),
        "YBR_FULL_422": ("", "YBR") if syntax.codec == "JPEG" else (),
        "YBR_RCT": ("RCT",),
        "YBR_ICT": ("ICT",),
    }[of.photometric]
    if found.colour not in allowed:
        raise ImageError(
            f"{path}: its header says {of.photometric}, its {syntax.codec} pixels {found.colour or 'otherwise'}; "
            "both must be the same"
        )


def _rle(content: bytes, syntax: TransferSyntax, of: PixelDescription) -> Codestream:
    """Segments of an RLE frame (PS3.5, G.5): one for each byte of a pixel, none too short for its plane."""
    numbers = struct.unpack_from("<16I", content)
    segments = of.samples * of.allocated // 8
    if numbers[0] != segments:
        raise ValueError(f"in {numbers[0]} RLE segments; {segments} are needed")
    edges = [*numbers[1 : 1 + segments], len(content)]
    if edges[0] != RLE_HEADER_BYTES or any(numbers[1 + segments :]):
        raise ValueError("with a damaged RLE header")
    for start, end in itertools.pairwise(edges):
        if not start <= end <= len(content) or (end - start) * RLE_MOST_PER_BYTE < of.rows * of.columns:
            raise ValueError(f"in RLE segments that cannot hold {of.columns}x{of.rows} pixels; it is damaged")
    return Codestream(of.rows, of.columns, of.samples, of.allocated, of.signed, by_plane=True)


def _jpeg(content: bytes, syntax: TransferSyntax, of: PixelDescription) -> Codestream:
    """Frame header of a JPEG or JPEG-LS picture, and what its markers say about colour."""
    if content[:2] != b"\xff\xd8":
        raise ValueError(f"that are no {syntax.codec}; it is damaged")
    position, adobe, jfif = 2, -1, False
    while True:
        if content[position] != 0xFF:
            raise ValueError(f"with a damaged {syntax.codec} header")
        marker = content[position + 1]
        if marker == 0xFF:  # fill bytes
            position += 1
            continue
        length = struct.unpack_from(">H", content, position + 2)[0]
        body = content[position + 4 : position + 2 + length]
        if marker in _JPEG_FRAMES:
            break
        if marker in _OTHER_JPEG_FRAMES or marker in (0xD8, 0xD9, 0xDA) or length < 2:
            raise ValueError(f"with a {syntax.codec} header of another kind or damaged")
        if marker == 0xEE and body[:5] == b"Adobe" and len(body) >= 12:
            adobe = body[11]
        jfif |= marker == 0xE0 and body[:4] == b"JFIF"
        position += 2 + length
    kind = _JPEG_FRAMES[marker]
    if kind not in _ALLOWED_JPEG_FRAMES[syntax.uid]:
        raise ValueError(f"of kind {kind}, which is not {syntax.name}")
    precision, rows, columns, samples = struct.unpack_from(">BHHB", body)
    identifiers = bytes(body[6 + 3 * index] for index in range(samples))
    by_plane = kind == "JPEG-LS" and samples > 1 and _interleave(content, position + 2 + length) == 0
    colour = ""
    if samples == 3 and kind != "JPEG-LS":
        if jfif and adobe == 0:  # decoders differ in which of them they believe
            raise ValueError("whose JFIF and Adobe markers contradict each other about its colours")
        if adobe in (0, 1):
            colour = ("RGB", "YBR")[adobe]
        elif jfif or identifiers in (b"RGB", b"rgb"):
            colour = "YBR" if jfif else "RGB"
    return Codestream(rows, columns, samples, precision, by_plane=by_plane, colour=colour)


def _interleave(content: bytes, position: int) -> int:
    """Interleave mode of a JPEG-LS picture's first scan (ISO/IEC 14495-1, C.2.3)."""
    while content[position] == 0xFF and content[position + 1] != 0xDA:
        position += 2 + struct.unpack_from(">H", content, position + 2)[0]
    return content[position + 6 + 2 * content[position + 4]]


def _jpeg_2000(content: bytes, syntax: TransferSyntax, of: PixelDescription) -> Codestream:
    """Size and coding style of a JPEG 2000 codestream (ISO/IEC 15444-1, A.5.1 and A.6.1)."""
    if content[4:8] == b"jP  ":
        raise ValueError("in a JP2 file; a bare codestream is allowed")
    if content[:4] != b"\xff\x4f\xff\x51":
        raise ValueError("that are no JPEG 2000 codestream; it is damaged")
    right, bottom, left, top, tile_width, tile_height, tile_left, tile_top, samples = struct.unpack_from(
        ">8IH", content, 8
    )
    if not 1 <= samples <= 3 or not tile_width or not tile_height:
        raise ValueError("with a damaged JPEG 2000 header")
    components = {content[42 + 3 * index : 45 + 3 * index] for index in range(samples)}
    if len(components) != 1 or (component := components.pop())[1:] != b"\x01\x01":
        raise ValueError("of which the samples differ in size or precision")
    tiles = -(-(right - tile_left) // tile_width) * -(-(bottom - tile_top) // tile_height)
    if tiles > MAX_TILES:
        raise ValueError(f"in more than {MAX_TILES} tiles")
    colour = ""
    position = 4 + struct.unpack_from(">H", content, 4)[0]
    while content[position : position + 2] not in (b"\xff\x52", b"\xff\x90"):  # COD, or the first tile
        if content[position] != 0xFF:
            raise ValueError("with a damaged JPEG 2000 header")
        position += 2 + struct.unpack_from(">H", content, position + 2)[0]
    _check_tiles(content, position, tiles)
    if content[position + 1] == 0x52 and content[position + 8]:  # a multiple component transformation
        colour = "RCT" if content[position + 13] else "ICT"
    return Codestream(
        bottom - top, right - left, samples, (component[0] & 0x7F) + 1, signed=bool(component[0] & 0x80), colour=colour
    )


def _check_tiles(content: bytes, position: int, count: int) -> None:
    """Whether every tile is there, and whole: a decoder leaves black what is not (ISO/IEC 15444-1, A.4.2).

    Parameters
    ----------
    content : bytes
    position : int
        Of a marker of the main header, or of the first tile-part.
    count : int
        Tiles.
    """
    while content[position : position + 2] != b"\xff\x90":
        if content[position] != 0xFF:
            raise ValueError("with a damaged JPEG 2000 header")
        position += 2 + struct.unpack_from(">H", content, position + 2)[0]
    missing = set(range(count))
    while content[position : position + 2] == b"\xff\x90":
        tile, length = struct.unpack_from(">HI", content, position + 4)
        missing.discard(tile)
        if not length:  # up to the end, in the last part
            break
        if length < TILE_HEADER_BYTES or position + length > len(content):
            raise ValueError("of which a tile is cut off; it is damaged")
        position += length
    if missing:
        raise ValueError(f"of which {len(missing)} of {count} tiles are missing; it is damaged")


_READERS: dict[str, Callable[[bytes, TransferSyntax, PixelDescription], Codestream]] = {
    "RLE": _rle,
    "JPEG": _jpeg,
    "JPEG lossless": _jpeg,
    "JPEG of 12 bits": _jpeg,
    "JPEG-LS": _jpeg,
    "J2K": _jpeg_2000,
    "HTJ2K": _jpeg_2000,
}
"""By `TransferSyntax.codec`."""
