"""Broken NIfTI files, plain and gzipped."""

import gzip
import zlib
from collections.abc import Iterator
from typing import Any

import nibabel
import numpy as np

from .making import Broken, cut, fixed, patched

HEADER_BYTES = {1: 348, 2: 540}

VALUES = np.random.default_rng(2).integers(0, 999, (9, 8, 2)).astype(np.int16)


def a_volume(values: np.ndarray = VALUES, *, version: int = 1, order: str = "<", **fields: Any) -> bytes:
    """A NIfTI of `values`; `fields` are set without a check."""
    kind = nibabel.Nifti1Image if version == 1 else nibabel.Nifti2Image
    header = kind.header_class(endianness=order)
    header.set_data_dtype(values.dtype.newbyteorder(order))
    header = kind(values, np.diag([0.8, 0.9, 2.0, 1.0]), header=header).header
    header["vox_offset"], header["magic"] = HEADER_BYTES[version] + 4, b"n+1" if version == 1 else b"n+2"
    for name, value in fields.items():
        header[name] = value
    content = values.astype(header.get_data_dtype() if "datatype" not in fields else values.dtype).tobytes(order="F")
    return bytes(header.binaryblock) + bytes(4) + content


def packed(content: bytes) -> bytes:
    """The same inside gzip, always of the same bytes."""
    return gzip.compress(content, mtime=0)


def bomb(declared: tuple[int, ...], inflated: int) -> bytes:
    """A small gzip of zeros behind a header."""
    header = nibabel.Nifti1Header()
    header.set_data_dtype(np.uint8)
    header.set_data_shape(declared)
    header["vox_offset"], header["magic"] = 352, b"n+1"
    packer = zlib.compressobj(1, wbits=31)
    parts = [packer.compress(header.binaryblock + b"\0" * 4)]
    parts += [packer.compress(bytes(1 << 20)) for _ in range(inflated >> 20)]
    return b"".join([*parts, packer.flush()])


def wholes() -> Iterator[bytes]:
    """Small valid files, not compressed."""
    for version in (1, 2):
        yield a_volume(version=version)
        yield a_volume(version=version, order=">")
    yield a_volume(VALUES.astype(np.float32))
    yield a_volume(VALUES[..., 0].astype(np.uint8), scl_slope=0.5, scl_inter=-3)
    yield a_volume(VALUES.reshape(9, 8, 1, 2), sform_code=1, qform_code=1, cal_max=900)


def _fields(version: int) -> Iterator[tuple[str, int]]:
    """Those of a header, as nibabel knows them, and what follows it."""
    kind = nibabel.nifti1.header_dtype if version == 1 else nibabel.nifti2.header_dtype
    yield from ((name, kind.fields[name][1]) for name in kind.names)
    yield "the extension flag", HEADER_BYTES[version]
    yield "its first value", HEADER_BYTES[version] + 4
    yield "its second slice", HEADER_BYTES[version] + 4 + VALUES[..., 0].nbytes


GZIP_FIELDS = (("magic", 0), ("method", 2), ("flags", 3), ("time", 4), ("kind", 8), ("system", 9), ("its data", 10))
"""RFC 1952, 2.3."""


def _gzip_fields(content: bytes) -> Iterator[tuple[str, int]]:
    yield from GZIP_FIELDS
    yield "half of its data", len(content) // 2
    yield from (("its check sum", len(content) - 8), ("its length", len(content) - 4))


def _volume(says: str, **fields: Any) -> Broken:
    return Broken(lambda: a_volume(**fields), says, ".nii")


def _packed(says: str, content: bytes) -> Broken:
    return Broken(fixed(content), says, ".nii.gz")


def _both(name: str, says: str, **fields: Any) -> dict[str, Broken]:
    """A NIfTI with these fields, as version 1 and 2, and the first gzipped."""
    return {
        f"NIfTI-1 {name}": Broken(lambda: a_volume(**fields), says, ".nii"),
        f"NIfTI-2 {name}": Broken(lambda: a_volume(version=2, **fields), says, ".nii"),
        f"gzipped NIfTI-1 {name}": Broken(lambda: packed(a_volume(**fields)), says, ".nii.gz"),
    }


def _not_finite(value: float) -> np.ndarray:
    values = VALUES.astype(np.float32)
    values[5, 1, 1] = value
    return values


def _sides(*sides: int) -> list[int]:
    return [len(sides), *sides, *[1] * (7 - len(sides))]


def _dotted(count: int) -> bytes:
    """A gzipped NIfTI with `count` empty members behind it."""
    return packed(a_volume()) + packed(b"") * count


NIFTI: dict[str, Broken] = {
    **cut("NIfTI-1", a_volume(), _fields(1), ".nii"),
    **cut("NIfTI-2", a_volume(version=2), _fields(2), ".nii"),
    **cut("gzipped NIfTI-1", a_volume(), list(_fields(1))[::4], ".nii.gz", packed),
    **cut("gzipped NIfTI-2", a_volume(version=2), list(_fields(2))[::4], ".nii.gz", packed),
    **cut("gzip of a NIfTI", packed(a_volume()), _gzip_fields(packed(a_volume())), ".nii.gz"),
    **_both("of 32767x32767 voxels", "at most 128 million", dim=_sides(32_767, 32_767)),
    **_both("of 10000x10000x30000 voxels", "ends before", dim=_sides(10_000, 10_000, 30_000)),
    **_both("of more slices than it has", "ends before", dim=_sides(9, 8, 3)),
    **_both("of fewer slices than it has", "behind its last value", dim=_sides(9, 8, 1)),
    **_both("of -1 columns", "an axis of -1", dim=_sides(-1, 8, 2)),
    **_both("of no slice", "an axis of 0", dim=_sides(9, 8, 0)),
    **_both("of 99 dimensions", "of 99 dimensions", dim=[99, 9, 8, 2, 1, 1, 1, 1]),
    **_both("of an unknown type", "type 7 values", datatype=7),
    **_both("of 0 bits", "0 bits a voxel", bitpix=0),
    **_both("whose values begin behind the file", "ends before", vox_offset=1 << 40),
    **_both("whose values begin in its header", "vox_offset", vox_offset=16),
    **_both("with a slope that is no number", "scl_inter is no number", scl_slope=2, scl_inter=np.nan),
    **_both("whose place is no number", "NaN or infinity", sform_code=1, srow_x=[np.nan, 0, 0, 0]),
    **_both("that holds NaN", "NaN at voxel (5, 1, 1)", values=_not_finite(np.nan)),
    **_both("that holds infinity", "infinity at voxel (5, 1, 1)", values=_not_finite(-np.inf)),
    **_both("that holds a value beyond 1e30", "at voxel (5, 1, 1)", values=_not_finite(3e30)),
    "NIfTI-2 of 65535x65535 voxels": _volume("at most 128 million", version=2, dim=_sides(65_535, 65_535)),
    "NIfTI-2 of 2**62 columns": _volume("million", version=2, dim=_sides(2**62, 8)),
    "NIfTI-1 whose values begin at NaN": _volume("vox_offset", vox_offset=np.nan),
    "NIfTI-1 that goes on as a hole": Broken(a_volume, "behind its last value", ".nii", 9 << 30),
    "NIfTI bomb behind its last value": Broken(lambda: bomb((64, 64), 300 << 20), "behind its last value", ".nii.gz"),
    "NIfTI bomb of 8000x8000x4000 voxels": Broken(lambda: bomb((8000, 8000, 4000), 1 << 20), "ends before", ".nii.gz"),
    "NIfTI bomb, cut": Broken(lambda: bomb((8000, 8000, 8), 300 << 20), "ends before", ".nii.gz"),
    "gzipped NIfTI that goes on as a hole": Broken(lambda: packed(a_volume()), "damaged", ".nii.gz", 1 << 30),
    "gzipped NIfTI with zeros and a byte behind": _packed("damaged", packed(a_volume()) + bytes(9 << 20) + b"x"),
    "gzipped NIfTI with 300000 empty members": Broken(lambda: _dotted(300_000), "damaged", ".nii.gz"),
    "gzipped NIfTI with something behind": _packed("damaged", packed(a_volume()) + b"something"),
    "gzipped NIfTI with a wrong check sum": _packed("damaged", patched(packed(a_volume()), -8, b"\0\0\0\0")),
    "gzip of a gzipped NIfTI": _packed("neither", packed(packed(a_volume()))),
}
