"""NPY: one numpy array, a picture of grey values or of colours. numpy alone reads and writes it."""

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lightsr import stored
from lightsr.errors import ImageError
from lightsr.image import Frames, Image, Photometric
from lightsr.signatures import NPY_MAGIC as NPY_MAGIC

MAX_HEADER = 10_000
"""Bytes of a header that are parsed; numpy's own bound for files that nobody vouches for."""


TURNED_COPIES = 3
"""Of an array in Fortran order: as it was read, turned, and in this machine's byte order."""


@contextlib.contextmanager
def opened(path: Path, *, options: Any = None, room: int | None = None) -> Iterator[Frames]:
    """Open an NPY file.

    Parameters
    ----------
    path : Path
        An array of shape (h, w) of uint8, int8, uint16, int16 or float32, or of shape (h, w, 3) of
        uint8, which is RGB; of any byte order, in C or Fortran order. Format 1.0, 2.0 or 3.0
        (numpy.lib.format).
    options, room : object
        Of DICOM files; without effect here.

    Yields
    ------
    Frames
        One; `header` is the dtype as stored. Rows in C order can be read by themselves.

    Raises
    ------
    ImageError
        Anything else, or damaged. Objects are never loaded.
    """
    with contextlib.ExitStack() as stack:
        with stored.told_as_image_errors(path, "NPY"):
            stream = stack.enter_context(path.open("rb"))
            shape, fortran, dtype = _header(stream, path)
            _check(shape, dtype, path)
            offset, total = stream.tell(), stored.length_of(stream)
            needed = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
            if total - offset != needed:
                raise ImageError(
                    f"{path}: {total - offset} bytes of values; its shape needs {needed}; "
                    "one whole array is allowed, and nothing behind it"
                )
        size, channels = (shape[0], shape[1]), 3 if len(shape) == 3 else 1
        values = stored.Plain(path, dtype, size, channels, offset)

        where = stored.place(0, 1)

        def band(frame: int, top: int, bottom: int) -> NDArray[Any]:
            with stored.told_as_image_errors(path, "NPY"):
                rows = values.rows(stream, frame, top, bottom)
            if channels == 1:
                stored.finite(rows, path, where=where, top=top)
            return rows

        def turned() -> NDArray[Any]:
            """Whole array in Fortran order: its first index runs fastest."""
            with stored.told_as_image_errors(path, "NPY"):
                stream.seek(offset)
                content = np.frombuffer(stream.read(needed), dtype)
                return stored.native(np.ascontiguousarray(content.reshape(shape, order="F")))

        def make(frame: int) -> Image:
            pixels = turned() if fortran else band(frame, 0, size[0])
            return stored.image(pixels, photometric, path, where=where, header=dtype)

        photometric: Photometric = "RGB" if channels == 3 else "MONOCHROME2"
        yield Frames(
            path,
            1,
            size,
            photometric,
            make,
            header=dtype,
            band=None if fortran else band,
            dtype=stored.native_type(dtype),
            held_bytes=TURNED_COPIES * needed if fortran else 0,
        )


def _header(stream: BinaryIO, path: Path) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(stream)
    if version not in ((1, 0), (2, 0), (3, 0)):
        raise ImageError(f"{path}: NPY of version {version[0]}.{version[1]}; 1.0, 2.0 and 3.0 are allowed")
    length = int.from_bytes(stream.read(2 if version == (1, 0) else 4), "little")
    if length > MAX_HEADER:  # numpy reads all of it before it looks
        raise ImageError(f"{path}: an NPY with a header of {length} bytes; at most {MAX_HEADER} are allowed")
    stream.seek(len(NPY_MAGIC) + 2)
    if version == (1, 0):
        return np.lib.format.read_array_header_1_0(stream, max_header_size=MAX_HEADER)
    # 3.0 differs in the encoding of names, which plain types do not have
    return np.lib.format.read_array_header_2_0(stream, max_header_size=MAX_HEADER)


def _check(shape: tuple[int, ...], dtype: np.dtype[Any], path: Path) -> None:
    colour = len(shape) == 3 and shape[2] == 3 and dtype == np.uint8
    if any(type(side) is not int for side in shape):
        raise ImageError(f"{path}: a damaged NPY: a side that is no whole number")
    if len(shape) != 2 and not colour:
        raise ImageError(
            f"{path}: an array of {len(shape)} axes, {_named(dtype)}; (rows, columns), or (rows, columns, 3) of uint8, "
            "is allowed; nothing says which axes of others are a picture's: save its pictures one by one"
        )
    if dtype.name not in stored.DTYPES or dtype.hasobject:
        raise ImageError(
            f"{path}: values of type {_named(dtype)}; {', '.join(stored.DTYPES)} are allowed; "
            "convert it without losing values first"
        )
    stored.check_size(shape[0], shape[1], path)


def _named(dtype: np.dtype[Any]) -> str:
    """A type's name; that of a structured type would quote the names of its fields."""
    return "object" if dtype.hasobject else "structure" if dtype.names or dtype.subdtype else dtype.name


def write(
    frames: Frames, enlarged: Iterable[NDArray[Any]], *, scale: int, producer: Any, options: Any = None, file: BinaryIO
) -> None:
    """Write the `enlarged` bands of the only frame as NPY 1.0 in C order, in the dtype and byte order of its source.

    Bands are those of `lightsr.files.Format.write`, of shape (n, scale * w[, 3]).
    """
    rows, columns, *samples = frames.shape
    shape = (scale * rows, scale * columns, *samples)
    header = {"descr": np.lib.format.dtype_to_descr(frames.header), "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(file, header)
    for band in enlarged:
        file.write(np.ascontiguousarray(band, frames.header).data.cast("B"))


def writing_bytes(frames: Frames, scale: int, options: Any = None) -> int:
    """Memory that `write` takes beside the bands: none."""
    return 0
