"""dcm2niix and nibabel: where in the patient a series lies."""

import itertools
from pathlib import Path

import nibabel
import numpy as np
import pydicom

from . import tools

TOLERANCE_MM = 1e-4
"""How far a corner may move: Image Position (Patient) is written with 16 characters, NIfTI holds 32-bit floats."""


def volume(series: Path, scratch: Path) -> nibabel.Nifti1Image:
    """The one volume that dcm2niix makes of a folder: of slices in files of their own, or of frames in one."""
    scratch.mkdir()
    # It would also turn 3D acquisitions, or not: where their parameters stand in private elements it cannot tell.
    status, _ = tools.run("dcm2niix", "-b", "n", "-z", "n", "-x", "i", "-f", "volume", "-o", scratch, series)
    # Where slices are not equally far apart, it also makes one of slices that are ("_Eq").
    made = [path.stem for path in sorted(scratch.glob("*.nii")) if "_Eq_" not in path.stem]
    assert (status, made) == (0, ["volume"]), f"dcm2niix: status {status}, {len(made)} volumes of one series"
    image = nibabel.load(scratch / "volume.nii")
    assert isinstance(image, nibabel.Nifti1Image)
    # It turns some volumes over, so that any axis may be that of the slices.
    frames = sum(int(pydicom.dcmread(path).get("NumberOfFrames", 1)) for path in series.iterdir())
    assert frames in image.shape, "dcm2niix left slices out"
    return image


def corners_mm(image: nibabel.Nifti1Image) -> np.ndarray:
    """Outer corners of the first and last voxels: (8, 3) mm.

    Centres would not do: those of a finer grid lie further out in the same field of view.
    """
    ends = [(-0.5, size - 0.5) for size in image.shape[:3]]
    return np.array([image.affine[:3] @ (*corner, 1) for corner in itertools.product(*ends)])


def moved_mm(source: nibabel.Nifti1Image, result: nibabel.Nifti1Image) -> float:
    """How far the corner lies that moved most."""
    return float(np.linalg.norm(corners_mm(source) - corners_mm(result), axis=1).max())
