"""The process of its own in which compressed frames are decoded, under limits.

Decoders are C code that reads whatever a stranger wrote. This process has no file open but
its two pipes, can write to no other, and may use so much memory and time; when it dies, one
file is refused. It imports the one decoder that it needs, and neither numpy nor pydicom for its
own sake. `lightsr.decoder` starts it and talks to it.
"""

import contextlib
import io
import json
import struct
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

REQUEST = struct.Struct("<Q")
"""In front of a compressed frame: its length."""

REPLY = struct.Struct("<BQ")
"""In front of what was decoded: `DECODED` or `FAILED`, and its length."""

DECODED, FAILED = 0, 1


@dataclass(frozen=True)
class Task:
    """What is to be decoded.

    Parameters
    ----------
    uid, codec : str
        Of the transfer syntax.
    rows, columns, samples, allocated, stored : int
        Of every frame, as the data set says.
    signed : bool
    photometric : str
    keep_colour : bool
        JPEG: samples as they are stored, without the decoder's own idea of their colours.
    memory_bytes : int
        Address space that the process may use.
    seconds : int
        Processor time that a frame may take.
    """

    uid: str
    codec: str
    rows: int
    columns: int
    samples: int
    allocated: int
    stored: int
    signed: bool
    photometric: str
    keep_colour: bool
    memory_bytes: int
    seconds: int


def main() -> None:
    """Decode frames from standard input to standard output until there are no more."""
    source, target = sys.stdin.buffer, sys.stdout.buffer
    task = Task(**json.loads(source.readline()))
    _limit_process(task)
    decode = _DECODERS[task.codec](task)
    while True:
        head = source.read(REQUEST.size)
        if len(head) < REQUEST.size:
            return
        (length,) = REQUEST.unpack(head)
        content = source.read(length)
        _limit_time(task)
        try:
            decoded, status = decode(content), DECODED
        except MemoryError:
            decoded, status = b"MemoryError", FAILED
        except Exception as error:  # only its kind: texts may quote the file
            decoded, status = type(error).__name__.encode(), FAILED
        _send(target, status, decoded)


def _send(target: BinaryIO, status: int, content: bytes | bytearray) -> None:
    target.write(REPLY.pack(status, len(content)))
    target.write(content)
    target.flush()


def _limit_process(task: Task) -> None:
    """No files, no core dump (it would hold the picture), so much memory; nothing of it on Windows."""
    try:
        import resource
    except ImportError:
        return
    for kind, most in (
        (resource.RLIMIT_AS, task.memory_bytes),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
    ):
        with contextlib.suppress(ValueError, OSError):  # systems differ in what they can limit
            resource.setrlimit(kind, (most, most))


def _limit_time(task: Task) -> None:
    """So many seconds more than were used up to here."""
    try:
        import resource
    except ImportError:
        return
    with contextlib.suppress(ValueError, OSError):
        _, hard = resource.getrlimit(resource.RLIMIT_CPU)
        resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1 + task.seconds, hard))


Decode = Callable[[bytes], bytes | bytearray]


def _pillow(task: Task) -> Decode:
    """JPEG and JPEG 2000; values of the latter stand at the top of their word, signed ones moved up by half."""
    from PIL import Image

    from lightsr import jpegs

    formats = ("JPEG",) if task.codec == "JPEG" else ("JPEG2000",)

    def decode(content: bytes) -> bytes:
        with Image.open(io.BytesIO(content), formats=formats) as picture:
            if picture.size != (task.columns, task.rows):
                raise ValueError("size")
            if task.keep_colour:
                picture.draft("YCbCr", picture.size)
            return picture.tobytes()

    return decode if task.codec == "J2K" else lambda content: jpegs.checked(content, decode)


def _jpeg_ls(task: Task) -> Decode:
    import jpeg_ls

    def decode(content: bytes) -> bytearray:
        decoded: bytearray = jpeg_ls.decode_pixel_data(content)[0]
        return decoded

    return decode


def _openjpeg(task: Task) -> Decode:
    import openjpeg

    def decode(content: bytes) -> bytearray:
        decoded: bytearray = openjpeg.decode_pixel_data(content, version=2)
        return decoded

    return decode


def _gdcm(task: Task) -> Decode:
    import gdcm

    from lightsr import jpegs

    def decode(content: bytes) -> bytes:
        fragment = gdcm.Fragment()
        fragment.SetByteStringValue(content)
        fragments = gdcm.SequenceOfFragments.New()
        fragments.AddFragment(fragment)
        element = gdcm.DataElement(gdcm.Tag(0x7FE0, 0x0010))
        element.SetValue(fragments.__ref__())
        image = gdcm.Image()
        image.SetNumberOfDimensions(2)
        image.SetDimensions((task.columns, task.rows, 1))
        image.SetDataElement(element)
        kind = gdcm.PhotometricInterpretation.GetPIType(task.photometric)
        image.SetPhotometricInterpretation(gdcm.PhotometricInterpretation(kind))
        if task.samples > 1:
            image.SetPlanarConfiguration(0)
        image.SetTransferSyntax(gdcm.TransferSyntax(gdcm.TransferSyntax.GetTSType(task.uid)))
        word = (task.samples, task.allocated, task.stored, task.stored - 1, int(task.signed))
        image.SetPixelFormat(gdcm.PixelFormat(*word))
        # Its Python layer hands bytes over as text.
        text = image.GetBuffer()
        if text is None:
            raise ValueError("of which GDCM makes nothing")
        decoded: bytes = text.encode("utf-8", "surrogateescape")
        return decoded

    kinds = (jpegs.LOSSLESS,) if task.codec == "JPEG lossless" else jpegs.FRAMES
    return lambda content: jpegs.checked(content, decode, kinds, scan_by_scan=True)


def _rle(task: Task) -> Decode:
    """By pylibjpeg-rle where it is installed, which gives the same and is faster; RLE loses nothing."""
    try:
        import rle
    except ImportError:
        return lambda content: decode_rle(content, task)
    how: dict[str, Any] = {"rows": task.rows, "columns": task.columns, "bits_allocated": task.allocated}

    def decode(content: bytes) -> bytearray:
        decoded: bytearray = rle.decode_pixel_data(content, version=2, **how)
        return decoded

    return decode


def decode_rle(content: bytes, task: Task) -> bytearray:
    """Frame of RLE segments (PS3.5, annex G), whose header was checked.

    Parameters
    ----------
    content : bytes
    task : Task

    Returns
    -------
    bytearray
        One plane after the other, each of little-endian words.
    """
    count, size = task.rows * task.columns, task.allocated // 8
    segments = struct.unpack_from("<16I", content)
    edges = [*segments[1 : 1 + segments[0]], len(content)]
    frame = bytearray(count * size * task.samples)
    for index in range(segments[0]):
        sample, byte = divmod(index, size)
        first = sample * count * size + size - 1 - byte  # the most significant byte comes first
        frame[first : (sample + 1) * count * size : size] = unpack(content[edges[index] : edges[index + 1]], count)
    return frame


def unpack(segment: bytes, count: int) -> bytearray:
    """First `count` bytes that an RLE segment stands for (PS3.5, G.3.2).

    >>> unpack(bytes([2, 7, 8, 9, 256 - 3, 5]), 7).hex()
    '07080905050505'

    Raises
    ------
    IndexError
        It stands for fewer.
    """
    out = bytearray()
    position = 0
    while len(out) < count:
        head = segment[position]
        if head < 128:
            out += segment[position + 1 : position + 2 + head]
            position += 2 + head
        elif head > 128:
            out += segment[position + 1 : position + 2] * (257 - head)
            position += 2
        else:
            position += 1
    return out[:count]


_DECODERS: dict[str, Callable[[Task], Decode]] = {
    "RLE": _rle,
    "JPEG": _pillow,
    "J2K": _pillow,
    "JPEG-LS": _jpeg_ls,
    "HTJ2K": _openjpeg,
    "JPEG lossless": _gdcm,
    "JPEG of 12 bits": _gdcm,
}

if __name__ == "__main__":
    main()
