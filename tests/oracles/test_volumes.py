"""Two ways to an enlarged volume: DICOM first, or NIfTI first. dcm2niix goes between them."""

from pathlib import Path
from typing import Literal

import lightsr
import nibabel
import numpy as np
import pydicom
import pytest
from lightsr.pipeline import enlarge_file

from . import tools
from .field_of_view import TOLERANCE_MM, moved_mm, volume
from .test_field_of_view import oblique_series

pytestmark = pytest.mark.oracle


def a_series(folder: Path) -> Path:
    """An oblique series whose slices have one range, five pixels at each of its ends: every file has one scale."""
    for number, path in enumerate(sorted(oblique_series(folder).iterdir())):
        dataset = pydicom.dcmread(path)
        rows, columns = np.mgrid[: dataset.Rows, : dataset.Columns]
        pixels = (450 + 300 * np.sin(rows / 3 + number) * np.cos(columns / 4)).astype(np.int16)
        pixels[2:7, 5], pixels[2:7, 9] = 0, 900
        dataset.PixelData = pixels.tobytes()
        dataset.save_as(path)
    return folder


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("scale", [2, 4])
def test_both_ways_lead_to_one_volume(scale: int, precision: Literal["fp32", "int8"], tmp_path: Path) -> None:
    tools.need("dcm2niix")
    upscaler = lightsr.load("tiny", scale=scale, precision=precision, threads=1)
    series, larger = a_series(tmp_path / "series"), tmp_path / "larger"
    for path in sorted(series.iterdir()):
        assert enlarge_file(path, larger / path.name, upscaler).status == "done"
    by_dicom, source = volume(larger, tmp_path / "by-dicom"), volume(series, tmp_path / "source")
    target = tmp_path / "result.nii"
    outcome = enlarge_file(tmp_path / "source" / "volume.nii", target, upscaler)
    assert outcome.status == "done", outcome.message
    by_nifti = nibabel.load(target)
    assert isinstance(by_nifti, nibabel.Nifti1Image)
    assert by_nifti.shape == by_dicom.shape == (32 * scale, 24 * scale, 5)
    assert np.array_equal(np.asanyarray(by_nifti.dataobj), np.asanyarray(by_dicom.dataobj))
    assert moved_mm(by_dicom, by_nifti) < TOLERANCE_MM
    assert moved_mm(source, by_nifti) < TOLERANCE_MM
    assert np.abs(by_nifti.affine - by_dicom.affine).max() < TOLERANCE_MM
    qforms = [image.header.get_qform(coded=True) for image in (by_nifti, by_dicom)]
    assert qforms[0][1] == qforms[1][1]
    assert np.abs(qforms[0][0] - qforms[1][0]).max() < TOLERANCE_MM
