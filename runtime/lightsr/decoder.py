"""Compressed frames to stored words, by a child process that may be lost."""

import contextlib
import dataclasses
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lightsr.codestream import Codestream, checked
from lightsr.decoding import DECODED, REPLY, REQUEST, Task
from lightsr.errors import ImageError, PackageError
from lightsr.fragments import Part
from lightsr.pixels import PixelDescription
from lightsr.syntaxes import TransferSyntax, missing_decoder, of_bits

BASE_MEMORY_BYTES = 256 * 2**20
"""Address space of the child with its decoder, of which most is never touched."""

MEMORY_PER_SAMPLE_BYTES = 24
"""More of it for each value of a frame: a JPEG 2000 decoder holds several 32-bit numbers for one."""

BASE_SECONDS, SECONDS_PER_MEGASAMPLE = 20, 10
"""Processor time that a frame may take."""

WALL_FACTOR = 4
"""Times as much may pass on a busy machine."""

CHILD_BYTES = 72 * 2**20
"""Resident memory of the child with its libraries, beside the frame."""

CHILD_SAMPLE_BYTES = 16
"""More of it for each value of a frame."""

COPIES = 4
"""Of a frame here: as it comes, as words, as values, in colours."""

PLAIN_BYTES, MAX_COMPRESSION = 4 * 2**20, 256
"""So many bytes of pixels may come of any compressed bytes, further ones of no less than one in so many.

An empty picture of any size takes some hundred bytes of JPEG 2000; a patient takes a tenth of his pixels.
"""

_START = "import sys; sys.path[:] = sys.argv[1:]; from lightsr.decoding import main; main()"
"""Isolated from its surroundings (-I), the child imports from where its parent does."""


class Decoder:
    """Decodes the frames of one file.

    Parameters
    ----------
    file : binary file
    frames : list of list of (int, int)
        Offset and length of every frame's fragments.
    syntax : TransferSyntax
    of : PixelDescription
    path : Path
        For messages.
    """

    def __init__(
        self, file: BinaryIO, frames: list[list[Part]], syntax: TransferSyntax, of: PixelDescription, path: Path
    ) -> None:
        self.file, self.frames, self.syntax, self.of, self.path = file, frames, syntax, of, path
        self._child: subprocess.Popen[bytes] | None = None
        self._colour = ""
        samples = of.rows * of.columns * of.samples
        self._seconds = BASE_SECONDS + SECONDS_PER_MEGASAMPLE * samples // 10**6
        self._memory_bytes = BASE_MEMORY_BYTES + MEMORY_PER_SAMPLE_BYTES * samples

    def __call__(self, index: int) -> NDArray[Any]:
        """Words of the frame `index`, counted from 0, shape `of.shape`, uint8 or uint16.

        Raises
        ------
        ImageError
            Its header does not fit the data set, or it cannot be decoded within the limits.
        """
        content = self._content(index)
        found = checked(content, self.syntax, self.of, self.path)
        return words(self._decoded(content, found, index), found, self.syntax, self.of)

    def _content(self, index: int) -> bytes:
        parts = self.frames[index]
        length, most = sum(length for _, length in parts), 2 * self.of.frame_bytes + 2**20
        if length > most:
            raise ImageError(
                f"{self.path}: frame {index + 1} of {length} compressed bytes; at most {most} are allowed for its size"
            )
        content = bytearray()
        for offset, length in parts:
            self.file.seek(offset)
            content += self.file.read(length)
        return bytes(content)

    def _decoded(self, content: bytes, found: Codestream, index: int) -> bytes:
        if self._child is None:
            self._child, self._colour = self._start(found), found.colour
        if found.colour != self._colour:  # the child was told once
            raise ImageError(
                f"{self.path}: frame {index + 1} says other things about its colours than others; one is allowed"
            )
        child = self._child
        expected = self.of.rows * self.of.columns * self.of.samples * word_bytes(found, self.syntax, self.of)
        too_late = threading.Event()

        def end() -> None:
            too_late.set()
            child.kill()

        timer = threading.Timer(WALL_FACTOR * self._seconds, end)
        timer.daemon = True
        timer.start()
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(REQUEST.pack(len(content)))
            child.stdin.write(content)
            child.stdin.flush()
            head = child.stdout.read(REPLY.size)
            if len(head) < REPLY.size:
                raise self._lost(index, too_late=too_late.is_set())
            status, length = REPLY.unpack(head)
            if status != DECODED:
                raise self._refused(child.stdout.read(min(length, 40)), index)
            if length != expected:
                self.close()  # what it sent was not read: nothing can be asked of it any more
                self._child = None
                raise ImageError(
                    f"{self.path}: frame {index + 1} decodes to {length} bytes; {expected} are needed; it is damaged"
                )
            decoded = child.stdout.read(length)
            if len(decoded) < length:
                raise self._lost(index, too_late=too_late.is_set())
            return decoded
        except BrokenPipeError:
            raise self._lost(index, too_late=too_late.is_set()) from None
        finally:
            timer.cancel()

    def _start(self, found: Codestream) -> "subprocess.Popen[bytes]":
        of = self.of
        task = Task(
            uid=self.syntax.uid,
            codec=self.syntax.codec,
            rows=of.rows,
            columns=of.columns,
            samples=of.samples,
            allocated=of.allocated,
            stored=of.stored,
            signed=of.signed,
            photometric=of.photometric,
            keep_colour=of.samples == 3 and found.colour != "RGB",
            memory_bytes=self._memory_bytes,
            seconds=self._seconds,
        )
        folders = [str(Path(folder).absolute()) for folder in sys.path if folder]
        child = subprocess.Popen(
            [sys.executable, "-I", "-c", _START, *folders],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            # Threads of a mathematics library would only take address space.
            env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
        )
        assert child.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # told when the first frame is asked for
            child.stdin.write(json.dumps(dataclasses.asdict(task)).encode() + b"\n")
            child.stdin.flush()
        return child

    def _refused(self, kind: bytes, index: int) -> ImageError:
        name = kind.decode("ascii", "replace")
        if name == "MemoryError":
            limit = f"{self._memory_bytes // 2**20} MiB"
            return ImageError(
                f"{self.path}: frame {index + 1} needs more than the {limit} allowed for decoding its size"
            )
        return ImageError(f"{self.path}: frame {index + 1} cannot be decoded ({name}); it is damaged")

    def _lost(self, index: int, *, too_late: bool) -> ImageError:
        assert self._child is not None
        code = self._child.wait()
        if too_late or code == -getattr(signal, "SIGXCPU", 0):
            return ImageError(
                f"{self.path}: frame {index + 1} took longer to decode than the {self._seconds} s allowed for its size"
            )
        how = f"signal {-code}" if code < 0 else f"status {code}"
        return ImageError(f"{self.path}: frame {index + 1} made its decoder end early ({how}); nothing was written")

    def close(self) -> None:
        """End the child."""
        if self._child is None:
            return
        self._child.kill()
        with contextlib.suppress(BrokenPipeError):
            self._child.communicate()


@contextlib.contextmanager
def started(
    file: BinaryIO, frames: list[list[Part]], syntax: TransferSyntax, of: PixelDescription, path: Path
) -> Iterator[Decoder]:
    """A `Decoder` of these parameters whose child, started at the first frame, ends with the context.

    Raises
    ------
    PackageError
        The package that decodes `syntax` is not installed.
    ImageError
        So few bytes cannot be a picture of this size.
    """
    stored, needed = sum(length for parts in frames for _, length in parts), of.frames * of.frame_bytes
    if needed > PLAIN_BYTES + MAX_COMPRESSION * stored:
        raise ImageError(
            f"{path}: {stored} compressed bytes for {needed >> 20} MiB of pixels; at most {PLAIN_BYTES >> 20} MiB and "
            f"{MAX_COMPRESSION} times the bytes are allowed; decompress it first, if it is a picture"
        )
    syntax = of_bits(syntax, of.stored)
    missing = missing_decoder(syntax)
    if missing:
        raise PackageError(f"{path}: {syntax.name}, for which a decoder is missing: pip install {missing}")
    decoder = Decoder(file, frames, syntax, of, path)
    try:
        yield decoder
    finally:
        decoder.close()


def held_bytes(of: PixelDescription, compressed_bytes: int) -> int:
    """Resident memory that decoding a frame takes, here and in the child.

    Parameters
    ----------
    of : PixelDescription
    compressed_bytes : int
        Of the largest frame.
    """
    samples = of.rows * of.columns * of.samples
    return CHILD_BYTES + CHILD_SAMPLE_BYTES * samples + COPIES * of.frame_bytes + 3 * compressed_bytes


def word_bytes(found: Codestream, syntax: TransferSyntax, of: PixelDescription) -> int:
    """Bytes of a value as the decoder gives it."""
    if syntax.codec in ("RLE", "JPEG lossless", "JPEG of 12 bits"):
        return of.allocated // 8
    return 1 if found.precision <= 8 else 2


def words(decoded: bytes, found: Codestream, syntax: TransferSyntax, of: PixelDescription) -> NDArray[Any]:
    """Words of a frame, as the data set would hold them uncompressed.

    Parameters
    ----------
    decoded : bytes
        As `lightsr.decoding` gives them.
    found : Codestream
    syntax : TransferSyntax
    of : PixelDescription

    Returns
    -------
    ndarray, shape `of.shape`, uint8 or uint16
    """
    size = word_bytes(found, syntax, of)
    values = np.frombuffer(decoded, f"<u{size}")
    if found.by_plane:
        values = values.reshape(of.samples, of.rows, of.columns).transpose(1, 2, 0)
    values = values.reshape(of.shape)
    unused = 8 * size - found.precision
    if syntax.codec == "J2K":
        # Pillow fills words from the top, and moves signed values up by half of their range.
        values = (values >> unused).astype(np.int32) - (1 << found.precision - 1 if found.signed else 0)
    elif of.signed and unused:  # a JPEG-LS or lossless JPEG picture knows no signs
        values = (values << unused).view(f"i{size}") >> unused
    elif of.signed:
        values = values.view(f"i{size}")
    return np.ascontiguousarray(values.astype(f"i{of.allocated // 8}" if of.signed else f"u{of.allocated // 8}")).view(
        f"u{of.allocated // 8}"
    )
