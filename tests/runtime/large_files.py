"""Pictures of 16 bits as large as wanted, written row by row."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from .dicom_files import a_cine, a_dataset, save

KINDS = ("dcm", "tif", "nii", "npy")


def bands(rows: int, columns: int) -> Iterator[bytes]:
    """Rows of a picture with edges and slopes, some at a time, little-endian uint16."""
    across = np.arange(columns)
    step = max(1, 2**18 // columns)
    for top in range(0, rows, step):
        down = np.arange(top, min(top + step, rows))[:, None]
        yield (across * 7 % 101 + 900 + (across // 50 + down // 60) % 2 * 700 + down % 37).astype("<u2").tobytes()


def write(path: Path, rows: int, columns: int, *, frames: int = 1) -> Path:
    """Write a picture in the format that the name's end says, of DICOM also a cine of equal frames."""
    {"dcm": _dicom, "tif": _tiff, "nii": _nifti, "npy": _npy}[path.suffix[1:]](path, rows, columns, frames)
    return path


def _dicom(path: Path, rows: int, columns: int, frames: int) -> None:
    small = np.zeros((2, 2), np.uint16)
    dataset = a_dataset(small) if frames == 1 else a_cine(small[None], NumberOfFrames=frames)
    dataset.Rows, dataset.Columns = rows, columns
    content = save(dataset, path).read_bytes()
    element = b"\xe0\x7f\x10\x00OW\0\0"
    with path.open("wb") as file:
        file.write(content[: content.index(element)] + element)
        file.write((2 * rows * columns * frames).to_bytes(4, "little"))
        for _ in range(frames):
            file.writelines(bands(rows, columns))


def _tiff(path: Path, rows: int, columns: int, frames: int) -> None:
    tifffile = __import__("tifffile")
    step = max(1, 2**18 // columns)
    tifffile.imwrite(
        path, bands(rows, columns), shape=(rows, columns), dtype="<u2", rowsperstrip=step, photometric=1, metadata=None
    )


def _nifti(path: Path, rows: int, columns: int, frames: int) -> None:
    nibabel = __import__("nibabel")
    # Results of the largest at x4 are wider than NIfTI-1 can say.
    header = nibabel.Nifti2Header() if 4 * max(rows, columns) > 32_767 else nibabel.Nifti1Header()
    header.set_data_dtype(np.uint16)
    header.set_data_shape((columns, rows))
    header["vox_offset"] = len(header.binaryblock) + 4
    if len(header.binaryblock) == 348:  # of a NIfTI-1, whose magic would be that of a pair
        header["magic"] = b"n+1"
    with path.open("wb") as file:
        file.write(header.binaryblock + b"\0" * 4)
        file.writelines(bands(rows, columns))


def _npy(path: Path, rows: int, columns: int, frames: int) -> None:
    with path.open("wb") as file:
        header = {"descr": "<u2", "fortran_order": False, "shape": (rows, columns)}
        np.lib.format.write_array_header_1_0(file, header)
        file.writelines(bands(rows, columns))
