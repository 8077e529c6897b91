"""Enhanced CT and MR images made for a test, valid but for what the test changes."""

from collections.abc import Callable
from typing import Any

import numpy as np
from pydicom.dataset import Dataset

from .dicom_files import a_dataset, finished

CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2.1",
    "MR": "1.2.840.10008.5.1.4.1.1.4.1",
    "legacy CT": "1.2.840.10008.5.1.4.1.1.2.2",
    "legacy MR": "1.2.840.10008.5.1.4.1.1.4.4",
}

OBLIQUE = (0.96, 0.28, 0.0, -0.224, 0.768, -0.6)
"""Orientation in no plane of the body: a mistaken row for a column shows."""


def item(**values: Any) -> Dataset:
    """Data set of attributes by keyword."""
    dataset = Dataset()
    for name, value in values.items():
        setattr(dataset, name, value)
    return dataset


def group(**values: Any) -> list[Dataset]:
    """The one item of a functional group."""
    return [item(**values)]


def code(value: str, meaning: str, scheme: str = "DCM") -> list[Dataset]:
    """The one item of a code sequence."""
    return group(CodeValue=value, CodingSchemeDesignator=scheme, CodeMeaning=meaning)


def position(index: int) -> list[float]:
    """Where frame `index` of `an_enhanced` begins, mm."""
    return [
        round(float(value), 6) for value in np.array([-31.5, 47.25, 12.125]) + 3 * index * np.array([0.2, 0.6, 0.8])
    ]


def an_enhanced(
    pixels: np.ndarray,
    kind: str = "CT",
    *,
    shared: dict[str, Any] | None = None,
    own: Callable[[int], dict[str, Any]] | None = None,
    **changes: Any,
) -> Dataset:
    """Enhanced image of (n, h, w) pixels, in an oblique plane with rows 0.8 and columns 1.1 mm apart.

    Parameters
    ----------
    pixels : ndarray
    kind : str
        A key of `CLASSES`.
    shared, own : dict, and callable that gives one for a frame's index
        Functional groups besides the usual ones or instead of them, by keyword; None takes one away.
    **changes
        Attributes; None takes one away.
    """
    dataset = a_dataset(pixels[0], SOPClassUID=CLASSES[kind], Modality=kind[-2:], NumberOfFrames=len(pixels))
    for name in (
        *("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"),
        *("RescaleSlope", "RescaleIntercept", "RescaleType", "WindowCenter", "WindowWidth"),
    ):
        delattr(dataset, name)
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "VOLUME", "NONE"]
    described = {"PixelPresentation": "MONOCHROME", "VolumetricProperties": "VOLUME"}
    described["VolumeBasedCalculationTechnique"] = "NONE"
    if kind[-2:] == "MR":
        described |= {"ComplexImageComponent": "MAGNITUDE", "AcquisitionContrast": "T1"}
    dataset.update(item(**described))
    dataset.BurnedInAnnotation, dataset.LossyImageCompression, dataset.ContentQualification = "NO", "00", "PRODUCT"
    dataset.DeviceSerialNumber, dataset.SoftwareVersions, dataset.PresentationLUTShape = "0815", "1", "IDENTITY"
    dataset.ContentDate, dataset.ContentTime, dataset.AcquisitionContextSequence = "20200101", "120000", []
    dataset.DimensionOrganizationSequence = group(DimensionOrganizationUID="1.2.3.8")
    dataset.DimensionIndexSequence = group(
        DimensionOrganizationUID="1.2.3.8", DimensionIndexPointer=0x00209057, FunctionalGroupPointer=0x00209111
    )
    frame_type = group(FrameType=list(dataset.ImageType), **described)
    of_all = {
        "PixelMeasuresSequence": group(PixelSpacing=[0.8, 1.1], SliceThickness=3),
        "PlaneOrientationSequence": group(ImageOrientationPatient=list(OBLIQUE)),
        "FrameAnatomySequence": group(AnatomicRegionSequence=code("T-D3000", "Chest", "SRT"), FrameLaterality="U"),
        "PixelValueTransformationSequence": group(RescaleIntercept=-1024, RescaleSlope=1, RescaleType="HU"),
        "FrameVOILUTSequence": group(WindowCenter=40, WindowWidth=400),
        f"{kind[-2:]}ImageFrameTypeSequence": frame_type,
        "IrradiationEventIdentificationSequence": group(IrradiationEventUID="1.2.3.7"),
    }
    per_frame = []
    for index in range(len(pixels)):
        of_one = {
            "FrameContentSequence": group(
                StackID="1", InStackPositionNumber=index + 1, DimensionIndexValues=[index + 1], FrameAcquisitionNumber=1
            ),
            "PlanePositionSequence": group(ImagePositionPatient=position(index)),
        }
        per_frame.append(_with(of_one, own(index) if own else {}))
    dataset.SharedFunctionalGroupsSequence = [_with(of_all, shared or {})]
    dataset.PerFrameFunctionalGroupsSequence = per_frame
    return finished(dataset, pixels, changes)


def _with(usual: dict[str, Any], changes: dict[str, Any]) -> Dataset:
    return item(**{name: value for name, value in (usual | changes).items() if value is not None})
