"""A derived image as a secondary capture, for archives that take no other derived images.

A secondary capture has a picture, its window and where it is from, but no place in the
patient: position, frame of reference, ultrasound regions and what was set at the scanner
belong to modules that its kinds do not have (PS3.3 A.8.1 to A.8.5), and go.
"""

from collections.abc import Iterable
from typing import Any

from lightsr import elements
from lightsr.errors import ImageError

CT = "1.2.840.10008.5.1.4.1.1.2"

SINGLE_FRAME = "1.2.840.10008.5.1.4.1.1.7"

MULTI_FRAME_BYTE = "1.2.840.10008.5.1.4.1.1.7.2"

MULTI_FRAME_WORD = "1.2.840.10008.5.1.4.1.1.7.3"

MULTI_FRAME_COLOUR = "1.2.840.10008.5.1.4.1.1.7.4"

KEPT_OF_GROUP_18 = frozenset(
    {
        *("BodyPartExamined", "ProtocolName", "PatientPosition"),  # General Series
        *("DeviceSerialNumber", "DeviceUID", "GantryID", "UDISequence", "ManufacturerDeviceClassUID"),
        *("SoftwareVersions", "DateOfLastCalibration", "TimeOfLastCalibration"),  # General Equipment
        *("ContributingEquipmentSequence", "ContentQualification"),  # SOP Common
        "NominalScannedPixelSpacing",
    }
)
"""Attributes that a secondary capture has of group 0018, which is otherwise about the acquisition."""

FRAME_ADVANCES = frozenset(
    {
        *("FrameTime", "FrameTimeVector", "PageNumberVector", "FrameLabelVector", "FramePrimaryAngleVector"),
        *("FrameSecondaryAngleVector", "SliceLocationVector", "DisplayWindowLabelVector"),
    }
)
"""What the frames of a secondary capture may advance by (C.8.6.3)."""

OF_SEVERAL_FRAMES = frozenset(
    {"NumberOfFrames", "FrameIncrementPointer", "StartTrim", "StopTrim", "RecommendedDisplayFrameRate"}
)
"""Attributes of the modules Cine and Multi-frame (C.7.6.5, C.7.6.6) outside group 0018."""

CINE_OF_GROUP_18 = FRAME_ADVANCES | {
    *("CineRate", "FrameDelay", "ImageTriggerDelay", "EffectiveDuration", "ActualFrameDuration"),
    "PreferredPlaybackSequencing",
}
"""Attributes of these modules, and of the vectors, in group 0018."""

REMOVED = (
    *("FrameOfReferenceUID", "PositionReferenceIndicator", "ImagePositionPatient", "ImageOrientationPatient"),
    *("SliceLocation", "TemporalPositionIdentifier", "NumberOfTemporalPositions", "TemporalResolution"),
    *("SynchronizationFrameOfReferenceUID", "UltrasoundColorDataPresent", "PresentationIntentType"),
    *("PixelIntensityRelationship", "PixelIntensityRelationshipSign", "RepresentativeFrameNumber"),
)
"""Attributes of modules about a place in space or time, of ultrasound and of projection X-ray."""

STAGES = range(0x00082120, 0x00082137)
"""Stages, views and event timers of an ultrasound examination (C.8.5.6)."""


def convert(dataset: Any, frames: int) -> None:
    """Make a derived data set one of a secondary capture (C.8.6), in place.

    Parameters
    ----------
    dataset : pydicom.Dataset
        Complete but for the pixels and the instance UID, which the new kind is part of.
    frames : int

    Raises
    ------
    ImageError
        Several frames whose pixels or frame times no kind of secondary capture can have;
        the caller knows the file.
    """
    several = frames > 1
    if "RescaleSlope" in dataset and not dataset.get("RescaleType"):  # what CT leaves unsaid (C.8.2.1, C.11.1)
        dataset.RescaleType = "HU" if dataset.SOPClassUID == CT else "US"
    dataset.SOPClassUID = _several(dataset) if several else SINGLE_FRAME
    kept = KEPT_OF_GROUP_18 | (CINE_OF_GROUP_18 if several else frozenset())
    gone = [*REMOVED, *(() if several else OF_SEVERAL_FRAMES)]
    for element in list(dataset):
        tag, keyword = element.tag, element.keyword
        acquired = tag.group == 0x18 and keyword not in kept
        drawn = several and tag.group in elements.OVERLAY_GROUPS  # the kinds of several frames have no such module
        counted = tag.group == 0x54 and (several or keyword != "ViewCodeSequence")  # which one frame may have (C.8.6.2)
        if acquired or drawn or counted or tag in STAGES or keyword in gone:
            del dataset[tag]
    dataset.ConversionType = "WSD"  # by a workstation (C.8.6.1)
    # Further values are defined by the kinds of the source alone (C.7.6.1.1.2).
    dataset.ImageType = list(dataset.ImageType)[:2]
    if "PatientOrientation" not in dataset:  # required, be it empty, without a position (C.7.6.1)
        dataset.PatientOrientation = None


def _several(dataset: Any) -> str:
    """Kind of a capture of several frames, and what it must say of its pixels (A.8.3, A.8.4, C.8.6.3)."""
    pointer = dataset.get("FrameIncrementPointer")
    tags: Iterable[int] = [pointer] if isinstance(pointer, int) else pointer or []
    advances = [dataset[tag].keyword if tag in dataset else "" for tag in tags]
    if not advances or not FRAME_ADVANCES.issuperset(advances):
        raise ImageError(
            "its frames do not advance by a frame time or another vector that a secondary capture may have; "
            "leave out --as-sc"
        )
    if dataset.get("BurnedInAnnotation") not in ("YES", "NO"):
        dataset.BurnedInAnnotation = "YES"  # must be said; nobody has looked (C.8.6.3)
    if dataset.SamplesPerPixel == 3:
        return MULTI_FRAME_COLOUR
    allocated, stored = int(dataset.BitsAllocated), int(dataset.BitsStored)
    bytes_, words = (allocated, stored) == (8, 8), allocated == 16 and 9 <= stored <= 16
    plain = str(dataset.PhotometricInterpretation) == "MONOCHROME2" and dataset.PixelRepresentation == 0
    slope, intercept = dataset.get("RescaleSlope"), dataset.get("RescaleIntercept")
    rescaled = slope not in (None, "", 1) or intercept not in (None, "", 0)
    if not (plain and (bytes_ or words)) or rescaled:
        raise ImageError(
            "grey frames that a secondary capture cannot have; unsigned MONOCHROME2 of 8 bits in bytes or 9 to 16 in "
            "words, without rescaling, is allowed; leave out --as-sc"
        )
    dataset.PresentationLUTShape = "IDENTITY"
    dataset.RescaleIntercept, dataset.RescaleSlope, dataset.RescaleType = 0, 1, "US"
    return MULTI_FRAME_BYTE if bytes_ else MULTI_FRAME_WORD
