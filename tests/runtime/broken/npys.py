"""Broken NPY files."""

import io
from collections.abc import Iterator
from typing import Any

import numpy as np
from lightsr.npy import NPY_MAGIC

from .making import Broken, cut


def content_of(array: Any, version: tuple[int, int] = (1, 0)) -> bytes:
    """An NPY as numpy writes it."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.asanyarray(array), version=version, allow_pickle=True)
    return file.getvalue()


def header(text: str, version: int = 1) -> bytes:
    """Magic, version, length and the text of a header."""
    encoded = text.encode()
    return NPY_MAGIC + bytes((version, 0)) + len(encoded).to_bytes(2 if version == 1 else 4, "little") + encoded


def wholes() -> Iterator[bytes]:
    """Small valid files."""
    values = np.arange(24)
    for version in ((1, 0), (2, 0), (3, 0)):
        yield content_of(values.reshape(4, 6).astype(np.uint8), version)
    for dtype in ("|i1", ">u2", "<i2", "<f4"):
        yield content_of(values.reshape(4, 6).astype(dtype))
    yield content_of(np.asfortranarray(values.reshape(4, 6).astype(np.float32)))
    yield content_of(values.reshape(2, 4, 3).astype(np.uint8))


def _fields(content: bytes) -> Iterator[tuple[str, int]]:
    yield from (("its magic", 0), ("its major version", 6), ("its minor version", 7), ("the length of its header", 8))
    for name in ("'descr'", "'fortran_order'", "'shape'"):
        yield f"{name} in its header", content.index(name.encode())
    yield from (("the end of its header", content.index(b"}")), ("its values", content.index(b"\n") + 1))
    yield "half of its values", (content.index(b"\n") + 1 + len(content)) // 2


def _npy(says: str, text: str, values: bytes = b"1234", version: int = 1) -> Broken:
    return Broken(lambda: header(f"{{'descr': {text}}}\n", version) + values, says, ".npy")


def _values(says: str, value: float) -> Broken:
    array = np.ones((4, 6), np.float32)
    array[1, 2] = value
    return Broken(lambda: content_of(array), f"{says} at row 1, column 2;", ".npy")


_WHOLE = content_of(np.arange(24, dtype=np.uint16).reshape(4, 6))

NPY: dict[str, Broken] = {
    **cut("NPY", _WHOLE, _fields(_WHOLE), ".npy"),
    **cut(
        "NPY 2.0",
        content_of(np.zeros((4, 6), np.uint8), (2, 0)),
        [("its magic", 0), ("the length", 8), ("the header", 12)],
        ".npy",
    ),
    "NPY of 65535x65535 pixels": _npy("at most 128 million", "'|u1', 'fortran_order': False, 'shape': (65535, 65535)"),
    "NPY of 10000x10000 pixels": _npy("its shape needs", "'|u1', 'fortran_order': False, 'shape': (10000, 10000)"),
    "NPY of 10**30 rows": _npy("million", f"'|u1', 'fortran_order': False, 'shape': ({10**30}, 2)"),
    "NPY of -2 rows": _npy("pixels; at least one", "'|u1', 'fortran_order': False, 'shape': (-2, 4)"),
    "NPY of no row": _npy("pixels; at least one", "'|u1', 'fortran_order': False, 'shape': (0, 4)"),
    "NPY of True rows": _npy("no whole number", "'|u1', 'fortran_order': False, 'shape': (True, 4)"),
    "NPY of too few values": _npy("its shape needs 8", "'|u1', 'fortran_order': False, 'shape': (2, 4)"),
    "NPY of too many values": _npy("its shape needs 2", "'|u1', 'fortran_order': False, 'shape': (2, 1)"),
    "NPY of objects": _npy("type object", "'|O', 'fortran_order': False, 'shape': (2, 2)", b"cos\nsystem\n(S'x'\ntR."),
    "NPY of an array in each pixel": _npy("structure", "('|u1', (2, 2)), 'fortran_order': False, 'shape': (1, 1)"),
    "NPY of a thousand axes": _npy("axes", f"'|u1', 'fortran_order': False, 'shape': ({'1,' * 1000})"),
    "NPY whose header is code": Broken(lambda: header("__import__('os').abort()\n") + b"1234", "damaged NPY", ".npy"),
    "NPY whose header is nested": Broken(lambda: header("(" * 9000) + b"1234", "damaged NPY", ".npy"),
    "NPY whose header is long": Broken(
        lambda: header("{" + " " * 60_000 + "}") + b"1234", "a header of 60002 bytes", ".npy"
    ),
    "NPY whose header has 4 GiB": Broken(lambda: NPY_MAGIC + b"\2\0\xff\xff\xff\xffabc", "a header of", ".npy"),
    "NPY whose header has 4 GiB of a hole": Broken(
        lambda: NPY_MAGIC + b"\2\0\xff\xff\xff\xff", "a header of", ".npy", 5 << 30
    ),
    "NPY of version 9": Broken(lambda: NPY_MAGIC + b"\x09\0\x10\0abc", "version 9.0", ".npy"),
    "NPY that goes on as a hole": Broken(lambda: _WHOLE, "its shape needs 48", ".npy", 9 << 30),
    "NPY that holds NaN": _values("NaN", np.nan),
    "NPY that holds infinity": _values("infinity", np.inf),
    "NPY that holds a value beyond 1e30": _values("beyond 1e+30", -3e30),
}
