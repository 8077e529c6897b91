"""Which CT and MR images are pictures to be made sharper, by what they say that they are."""

from pathlib import Path

import pytest
from lightsr import dicom
from lightsr.errors import ImageError
from pydicom.dataset import Dataset

from .dicom_files import a_dataset, save


def refusal(dataset: Dataset, folder: Path) -> str:
    with pytest.raises(ImageError) as caught:
        dicom.read(save(dataset, folder / "a.dcm"))
    return str(caught.value)


@pytest.mark.filterwarnings("ignore:Invalid value for VR CS")
@pytest.mark.parametrize(
    ("kind", "types", "what"),
    [
        ("MR", ["DERIVED", "PRIMARY", "PERFUSION", "RELCBV", "DIS2D"], "RELCBV, a perfusion map"),
        ("MR", ["DERIVED", "SECONDARY", "rCBF Basic"], "RCBF BASIC, a perfusion map"),
        ("CT", ["DERIVED", "SECONDARY", "AXIAL", "MTT"], "MTT, a perfusion map"),
        ("MR", ["DERIVED", "PRIMARY", "DIFFUSION", "ADC", "ND"], "ADC, a diffusion map"),
        ("MR", ["DERIVED", "PRIMARY", "QMAP", "T2"], "QMAP, a phase, complex or quantitative map"),
        ("MR", ["DERIVED", "PRIMARY", "OTHER", "Z_SCORE"], "Z_SCORE, a statistical map"),
        ("MR", ["ORIGINAL", "PRIMARY", "MODULUS SUBTRACT"], "MODULUS SUBTRACT, a difference or ratio"),
        ("MR", ["ORIGINAL", "PRIMARY", "PERFUSION", "NONE", "ND"], ""),  # dynamic images, of which maps are made
        ("MR", ["DERIVED", "SECONDARY", "PROJECTION IMAGE", "CSA MIP"], ""),
        ("CT", ["DERIVED", "PRIMARY", "AXIAL", "MEAN"], ""),
    ],
)
def test_maps_of_one_frame_are_refused(kind: str, types: list[str], what: str, tmp_path: Path) -> None:
    """As those of enhanced images are, be the word the standard's or a scanner's."""
    uids = {"MR": "1.2.840.10008.5.1.4.1.1.4", "CT": "1.2.840.10008.5.1.4.1.1.2"}
    dataset = a_dataset(SOPClassUID=uids[kind], Modality=kind, ImageType=types)
    if what:
        assert f"a {kind} image of type {what}; ordinary images are allowed" in refusal(dataset, tmp_path)
    else:
        assert dicom.read(save(dataset, tmp_path / "a.dcm")).modality == kind


@pytest.mark.parametrize("value", ["R", "REAL", "I", "IMAGINARY", "P"])
def test_parts_of_complex_images_are_no_pictures(value: str, tmp_path: Path) -> None:
    dataset = a_dataset(SOPClassUID="1.2.840.10008.5.1.4.1.1.4", Modality="MR")
    dataset.ImageType = ["ORIGINAL", "PRIMARY", value]
    assert f"of type {value}, a phase, complex or quantitative map" in refusal(dataset, tmp_path)
