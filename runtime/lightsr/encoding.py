"""Pixel Data of a result: uncompressed, or frame by frame compressed without loss (PS3.5, 8 and A.4).

Nothing here holds more than a frame: what is written waits in a file until the header in front of it
is known. Clauses are of PS3.5 of the DICOM standard unless another part is named.
"""

import importlib.util
import shutil
import struct
from array import array
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lightsr.errors import ImageError, OutputError
from lightsr.options import Compression
from lightsr.syntaxes import EXPLICIT, J2K_LOSSLESS, RLE

SYNTAXES: dict[Compression, str] = {"none": EXPLICIT, "rle": RLE, "j2k-lossless": J2K_LOSSLESS}
"""Transfer syntax of every form."""

MAX_PIXEL_BYTES = 2**32 - 2
"""Length of Pixel Data, and of one fragment, which is written in 32 bits and must be even (7.1.2)."""

MAX_OFFSET = 2**32 - 1
"""Largest entry of a Basic Offset Table (A.4); beyond it an Extended Offset Table is needed (PS3.3 C.7.6.3.1.8)."""

MIN_J2K_SIDE = 32
"""Pixels of a side below which OpenJPEG does not encode six resolutions, which pylibjpeg-openjpeg always wants."""

ITEM, SEQUENCE_END = 0xE000, 0xE0DD
"""Elements of group FFFE that stand around fragments (7.5)."""

BAND_BYTES = 2**20
"""How much of a plane is compressed by run lengths at a time: numbers about it take 30 times as much."""

RLE_BYTES, RLE_COPIES = 36 * 2**20, 4
"""Memory that run lengths take: for numbers about a part of a plane, and as many times the frame."""

J2K_BYTES, J2K_COPIES = 32 * 2**20, 16
"""Memory that JPEG 2000 takes: the encoder, and as many times the frame, of which it holds 32-bit numbers."""

LONGEST_RUN = 128
"""Bytes that one RLE segment's head can stand for (G.3.1)."""


SHORTEST_RUN = 3
"""Equal bytes that are worth a head of their own."""


def check(compression: Compression) -> None:
    """Raise `OutputError` where what encodes this form is not installed."""
    if compression == "j2k-lossless" and importlib.util.find_spec("openjpeg") is None:
        raise OutputError(
            "--compress j2k-lossless: its encoder is missing: pip install pylibjpeg-openjpeg, or take rle"
        )


class PixelData:
    """Pixel Data that waits in a file.

    Parameters
    ----------
    waiting : binary file
        Empty; read and written.
    dataset : pydicom.Dataset
        With the Image Pixel attributes of every frame; its Photometric Interpretation becomes
        what the form demands (8.2.4).
    frames : int
    compression : {"none", "rle", "j2k-lossless"}
    path : Path
        For messages.

    Raises
    ------
    ImageError
        The picture is too large, or too small, for this form.
    OutputError
        See `check`.
    """

    def __init__(self, waiting: Any, dataset: Any, frames: int, compression: Compression, path: Path) -> None:
        check(compression)
        self._waiting, self._dataset, self._frames, self._compression = waiting, dataset, frames, compression
        self._path, self._lengths = path, array("Q")
        word_bytes = dataset.BitsAllocated // 8
        self._frame_bytes = dataset.Rows * dataset.Columns * dataset.SamplesPerPixel * word_bytes
        self._vr = b"OW" if word_bytes == 2 and compression == "none" else b"OB"
        most = self._frame_bytes * (frames if compression == "none" else 1)
        if most > MAX_PIXEL_BYTES:
            instead = "--scale" if compression != "none" or frames == 1 else "--scale, or --compress"
            raise ImageError(
                f"{path}: would become {most / 2**30:.1f} GiB of pixels, of which DICOM holds less than 4; "
                f"choose a smaller {instead}"
            )
        if compression == "j2k-lossless":
            if min(dataset.Rows, dataset.Columns) < MIN_J2K_SIDE:
                raise ImageError(
                    f"{path}: would become {dataset.Columns}x{dataset.Rows} pixels; --compress j2k-lossless needs "
                    f"{MIN_J2K_SIDE} a side; take rle"
                )
            if dataset.PhotometricInterpretation == "RGB":
                dataset.PhotometricInterpretation = "YBR_RCT"

    @property
    def syntax(self) -> str:
        """Transfer syntax UID."""
        return SYNTAXES[self._compression]

    def add(self, pixels: NDArray[Any]) -> memoryview:
        """Put a frame behind those before it; uncompressed, any number of its rows.

        Parameters
        ----------
        pixels : ndarray, shape (Rows, Columns[, 3]), uint8, int8, uint16 or int16

        Returns
        -------
        memoryview
            Its bytes as they would stand uncompressed.

        Raises
        ------
        ImageError
            Its compressed form is longer than a fragment can be.
        ValueError
            A part of a frame where frames are compressed.
        """
        little = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<"))
        native = little.data.cast("B")
        if self._compression == "none":
            self._waiting.write(native)
            return native
        if len(native) != self._frame_bytes:
            raise ValueError(f"{len(native)} bytes of an enlarged frame; the header says {self._frame_bytes}")
        if self._compression == "rle":
            content = rle(little)
        else:
            content = j2k(little, int(self._dataset.BitsStored))
        length = len(content) + len(content) % 2
        if length > MAX_PIXEL_BYTES:
            raise ImageError(f"{self._path}: would become frames of more than 4 GiB; choose a smaller --scale")
        self._waiting.write(_item(ITEM, length) + content + b"\0" * (length - len(content)))
        self._lengths.append(length)
        return native

    def append_to(self, file: BinaryIO) -> None:
        """Write it as the last elements of a data set in explicit little endian.

        Raises
        ------
        ValueError
            Pixels are missing, or there are too many.
        """
        length = self._frame_bytes * self._frames
        if self._compression == "none":
            if self._waiting.tell() != length:
                raise ValueError(f"{self._waiting.tell()} bytes of enlarged pixels; the header says {length}")
            file.write(_long_element(0x0010, self._vr, length + length % 2))
            self._copy_to(file)
            file.write(b"\0" * (length % 2))
            return
        if len(self._lengths) != self._frames:
            raise ValueError(f"{len(self._lengths)} enlarged frames; the header says {self._frames}")
        basic, extended = offset_tables(self._lengths)
        if extended:
            for element, table in ((0x0001, extended), (0x0002, self._lengths)):
                content = _little(table, "Q")
                file.write(_long_element(element, b"OV", len(content)) + content)
        content = _little(basic, "I")
        file.write(_long_element(0x0010, self._vr, 2**32 - 1) + _item(ITEM, len(content)) + content)
        self._copy_to(file)
        file.write(_item(SEQUENCE_END, 0))

    def _copy_to(self, file: BinaryIO) -> None:
        self._waiting.seek(0)
        shutil.copyfileobj(self._waiting, file, 2**20)


def compressing_bytes(frame_bytes: int, compression: Compression) -> int:
    """Memory that compressing a frame takes, with the frame: measured, rounded up."""
    if compression == "none":
        return 0
    if compression == "rle":
        return RLE_BYTES + RLE_COPIES * frame_bytes
    return J2K_BYTES + J2K_COPIES * frame_bytes


def offset_tables(lengths: "array[int]") -> tuple["array[int]", "array[int]"]:
    """Where every frame's item begins, counted from the first one's.

    Parameters
    ----------
    lengths : array of uint64
        Of the fragments, one a frame, without their items' eight bytes; even.

    Returns
    -------
    basic, extended : array of uint64
        One of them is empty: the second, as long as 32 bits hold every offset (A.4).

    Examples
    --------
    >>> offset_tables(array("Q", [6, 4, 2]))
    (array('Q', [0, 14, 26]), array('Q'))
    """
    offsets = array("Q", [0])
    for length in lengths[:-1]:
        offsets.append(offsets[-1] + 8 + length)
    return (offsets, array("Q")) if offsets[-1] <= MAX_OFFSET else (array("Q"), offsets)


def _little(numbers: "array[int]", kind: str) -> bytes:
    return struct.pack(f"<{len(numbers)}{kind}", *numbers)


def _long_element(element: int, vr: bytes, length: int) -> bytes:
    """Head of an element of group 7FE0 in explicit little endian (7.1.2)."""
    return struct.pack("<HH2sHI", 0x7FE0, element, vr, 0, length)


def _item(element: int, length: int) -> bytes:
    return struct.pack("<HHI", 0xFFFE, element, length)


def j2k(pixels: NDArray[Any], stored: int) -> bytes:
    """Frame as a JPEG 2000 codestream, reversible, of `stored` bits precision (8.2.4).

    Parameters
    ----------
    pixels : ndarray, shape (h, w[, 3]), uint8, int8, or little-endian uint16 or int16
        Colour is RGB and goes through the reversible component transformation.
    stored : int
        Bits of a value, its sign included; all values lie within.
    """
    from openjpeg.utils import encode_buffer

    colour = pixels.ndim == 3
    kind = pixels.dtype.kind
    # A word of 16 bits that holds 8 is a byte to the encoder.
    narrow = pixels.astype(f"{kind}1") if stored <= 8 else pixels
    encoded: bytes = encode_buffer(
        narrow.tobytes(),
        pixels.shape[1],
        pixels.shape[0],
        3 if colour else 1,
        stored,
        kind == "i",
        photometric_interpretation=1 if colour else 2,
        use_mct=colour,
    )
    return encoded


def rle(pixels: NDArray[Any]) -> bytes:
    """Frame as RLE segments, one for each byte of a pixel, the most significant first (annex G).

    Parameters
    ----------
    pixels : ndarray, shape (h, w[, 3]), uint8, int8, or little-endian uint16 or int16
    """
    height, width = pixels.shape[:2]
    size = pixels.dtype.itemsize
    planes = pixels.view(np.uint8).reshape(height, width, -1, size)
    samples = planes.shape[2]
    segments = [_segment(planes[:, :, sample, byte]) for sample in range(samples) for byte in reversed(range(size))]
    starts = [64]
    for segment in segments[:-1]:
        starts.append(starts[-1] + len(segment))
    head = [len(segments), *starts, *[0] * (15 - len(segments))]
    return struct.pack("<16I", *head) + b"".join(segments)


def _segment(plane: NDArray[np.uint8]) -> bytes:
    rows = max(1, BAND_BYTES // plane.shape[1])
    bands = (pack(plane[top : top + rows]) for top in range(0, plane.shape[0], rows))
    content = b"".join(bands)
    return content + b"\0" * (len(content) % 2)


def pack(plane: NDArray[np.uint8]) -> bytes:
    """Bytes of a plane by run lengths, every row by itself (G.3.1).

    Runs of three and more are repeated, everything between them stands as it is, both in parts
    of at most 128.

    Parameters
    ----------
    plane : ndarray of uint8, shape (h, w)

    Examples
    --------
    >>> pack(np.array([[7, 8, 9, 5, 5, 5, 5]], np.uint8)).hex()
    '02070809fd05'
    """
    width, values = plane.shape[1], np.ascontiguousarray(plane).ravel()
    count = len(values)
    row_start = np.zeros(count, bool)
    row_start[::width] = True
    begins = row_start.copy()
    begins[1:] |= values[1:] != values[:-1]
    lengths = np.diff(np.flatnonzero(begins), append=count)
    repeated = np.repeat(lengths >= SHORTEST_RUN, lengths)
    # A part begins where a repeated run does, and where bytes between such runs do.
    begins &= repeated
    begins |= row_start
    begins[1:] |= repeated[1:] != repeated[:-1]
    starts = np.flatnonzero(begins)
    lengths = np.diff(starts, append=count)
    # Parts of at most 128; what is left of a run, be it one byte, is a part like others.
    parts = -(-lengths // LONGEST_RUN)
    first = np.cumsum(parts) - parts
    within = np.arange(parts.sum()) - np.repeat(first, parts)
    starts = np.repeat(starts, parts) + LONGEST_RUN * within
    lengths = np.minimum(np.repeat(lengths, parts) - LONGEST_RUN * within, LONGEST_RUN)
    same = repeated[starts]
    stored = np.where(same, 1, lengths)
    out = np.empty(len(starts) + stored.sum(), np.uint8)
    heads = np.cumsum(1 + stored) - 1 - stored
    is_head = np.zeros(len(out), bool)
    is_head[heads] = True
    out[is_head] = np.where(same, (257 - lengths) & 0xFF, lengths - 1)
    kept = np.ones(count, bool)
    kept[repeated] = False
    kept[starts[same]] = True
    out[~is_head] = values[kept]
    return out.tobytes()
