"""Every file of the pydicom wheel, and of LIGHTSR_DATA where it is set, on its whole way: each is decoded once."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from lightsr import files
from lightsr.errors import ImageError
from pydicom.dataset import Dataset
from pydicom.pixels import apply_color_lut, iter_pixels

from .dicom_files import enlarged, real_files


def test_every_real_file_is_refused_or_decoded_as_by_others_and_written(samples: Path) -> None:
    counts = dict.fromkeys(("refused", "DICOM", "compared", "compressed"), 0)
    for path in real_files(samples):
        try:
            assert files.detect(path).name == "DICOM", path
            source, result, pixels = enlarged(path)
        except ImageError as error:
            check_refusal(path, str(error))
            counts["refused"] += 1
            continue
        assert np.array_equal(result.pixel_array, pixels), path
        assert result.get("PatientID") == source.get("PatientID"), path
        assert not [element for element in result if element.tag.is_private], path
        counts["DICOM"] += 1
        theirs = decoded_by_pydicom(source)
        if theirs is not None:
            frames_first = pixels.reshape(len(theirs), *pixels.shape[-theirs[0].ndim :])
            assert np.array_equal(frames_first[:, ::2, ::2], theirs), path
            counts["compared"] += 1
            counts["compressed"] += source.file_meta.TransferSyntaxUID.is_compressed
    least = {"refused": 50, "DICOM": 60, "compared": 60, "compressed": 20}
    assert not {kind: count for kind, count in counts.items() if count < least[kind]}, counts


def check_refusal(path: Path, message: str) -> None:
    """One line, and no long value of the header in it."""
    said = message.removeprefix(str(path))
    assert "\n" not in said
    assert not set(long_values(path)) & set(said.replace("'", " ").split())


def long_values(path: Path) -> list[str]:
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True)
    except Exception:
        return []
    names = ("PatientName", "PatientID", "AccessionNumber", "StudyInstanceUID", "SOPInstanceUID", "StudyDate")
    return [str(header.get(name)) for name in names if len(str(header.get(name, ""))) > 5]


def decoded_by_pydicom(dataset: Dataset) -> list[np.ndarray[Any, Any]] | None:
    """Frames by other code than ours: pydicom's own plugins, in this process; None where these fail."""
    try:
        frames = list(iter_pixels(dataset))
    except Exception:
        return None  # a plugin is missing, or lacks what is needed
    if dataset.PhotometricInterpretation == "PALETTE COLOR":
        frames = [apply_color_lut(frame, dataset) for frame in frames]
        frames = [(frame >> 8 if frame.dtype == np.uint16 else frame) for frame in frames]
    return frames
