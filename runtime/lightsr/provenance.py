"""What a derived DICOM image says about its origin: how, by what and from what it was made.

Clauses are of PS3.3 of the DICOM standard unless another part is named.
"""

import copy
import datetime
import uuid
from dataclasses import dataclass
from typing import Any

from lightsr.image import Frames
from lightsr.options import Equipment
from lightsr.syntaxes import TRANSFER_SYNTAXES

UID_NAMESPACE = uuid.UUID("6b1f7f5e-52a4-5d0e-9c0e-0f3b6d7c2a11")
"""Namespace of our name-based UUIDs, under the root 2.25 (PS3.5, B.2)."""

MAX_DERIVATION = 1024
"""Characters of Derivation Description (ST; PS3.5, 6.2)."""


@dataclass(frozen=True)
class Producer:
    """What made the picture.

    Parameters
    ----------
    name : str
        Of the model.
    precision : str
    sha256 : str
        Of the model's file.
    version : str
        Of lightsr.
    """

    name: str
    precision: str
    sha256: str
    version: str


def uid_of(*parts: str) -> str:
    """Name-based UID: equal parts give equal UIDs on every machine."""
    return f"2.25.{uuid.uuid5(UID_NAMESPACE, '|'.join(parts)).int}"


def texts(source: Any, name: str) -> list[str]:
    """Values of a text element; some writers put a backslash, which parts values, into a single one."""
    value = source.get(name)
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str) else [str(part) for part in value]


def state(dataset: Any, frames: Frames, *, scale: int, producer: Producer, equipment: Equipment = "lightsr") -> None:
    """Say that, how and from what the image was derived (C.7.6.1.1.2, C.7.6.1.1.3, C.12.4).

    Parameters
    ----------
    dataset : pydicom.Dataset
        Of the derived file; changed in place.
    frames : Frames
        The source.
    scale : int
    producer : Producer
    equipment : {"lightsr", "keep"}
        Whom General Equipment names; see `lightsr.options.DicomOptions`.
    """
    source = frames.header
    dataset.ImageType = ["DERIVED", *(texts(source, "ImageType")[1:] or ["PRIMARY"])]
    if frames.groups is None:  # else every frame says it by itself
        derive(dataset, [dataset], source, scale=scale, producer=producer)
    if str(source.get("ContentQualification", "")) != "SERVICE":
        dataset.ContentQualification = "RESEARCH"  # C.8.13.2.1.1
    _set_equipment(dataset, source, producer, equipment)
    if frames.lossy_ratio is not None:
        _set_lossy_history(dataset, source, frames.lossy_ratio)


def derive(target: Any, earlier: list[Any], source: Any, *, scale: int, producer: Producer, frame: int = 0) -> None:
    """Say how and from what a picture was derived (C.12.4, C.7.6.16.2.6).

    Parameters
    ----------
    target : pydicom.Dataset
        That says it; changed in place.
    earlier : list of pydicom.Dataset
        What was said of the source, to which this is added.
    source : pydicom.Dataset
    scale : int
    producer : Producer
    frame : int
        Of the source, counted from 1, or 0 for all of it.
    """
    from pydicom.dataset import Dataset

    made = (
        f"lightsr {producer.version} AI super-resolution x{scale}, model {producer.name} {producer.precision} "
        f"sha256:{producer.sha256[:12]}, not for primary diagnosis"
    )
    said = "; ".join(filter(None, (str(item.get("DerivationDescription", "") or "") for item in earlier)))
    said = said[: max(0, MAX_DERIVATION - len(made) - 2)]
    codes = [code for item in earlier for code in item.get("DerivationCodeSequence") or []]
    target.DerivationDescription = f"{said}; {made}" if said else made
    target.DerivationCodeSequence = [
        *codes,
        _code("113085", "Spatial resampling"),
        _code("123110", "Artificial Intelligence"),
    ]
    reference = Dataset()
    reference.ReferencedSOPClassUID = source.SOPClassUID
    reference.ReferencedSOPInstanceUID = source.SOPInstanceUID
    if frame:
        reference.ReferencedFrameNumber = frame
    reference.SpatialLocationsPreserved = "YES"
    reference.PurposeOfReferenceCodeSequence = [_code("121322", "Source image for image processing operation")]
    target.SourceImageSequence = [reference]


def _set_equipment(dataset: Any, source: Any, producer: Producer, equipment: Equipment) -> None:
    """General Equipment names what made this instance; the scanner is a contributor (C.7.5.1, C.12.1.1.5).

    Contributors are both named whatever General Equipment keeps: by them our own results are known.
    """
    from pydicom.dataset import Dataset

    scanner = Dataset()
    scanner.PurposeOfReferenceCodeSequence = [_code("109101", "Acquisition Equipment")]
    for name in (
        *("Manufacturer", "InstitutionName", "InstitutionAddress", "StationName", "InstitutionalDepartmentName"),
        *("ManufacturerModelName", "DeviceSerialNumber", "SoftwareVersions"),
        *("DateOfLastCalibration", "TimeOfLastCalibration"),
    ):
        if name in source:
            scanner[name] = copy.deepcopy(source[name])
    if not scanner.get("Manufacturer"):
        scanner.Manufacturer = "Unknown"  # required to have a value (C.12.1.1.5)
    processor = Dataset()
    processor.PurposeOfReferenceCodeSequence = [_code("109102", "Processing Equipment")]
    processor.Manufacturer = "lightsr"
    processor.ManufacturerModelName = "lightsr"
    processor.SoftwareVersions = [producer.version, f"{producer.name} {producer.precision}"]
    processor.DeviceUID = uid_of("model", producer.sha256)
    processor.ContributionDateTime = datetime.datetime.now().astimezone().strftime("%Y%m%d%H%M%S%z")
    processor.ContributionDescription = "AI super-resolution"
    dataset.ContributingEquipmentSequence = [
        *(dataset.get("ContributingEquipmentSequence") or []),
        scanner,
        processor,
    ]
    if equipment == "keep":
        return
    dataset.Manufacturer = "lightsr"
    dataset.ManufacturerModelName = "lightsr"
    dataset.SoftwareVersions = [producer.version, f"{producer.name} {producer.precision}"]
    for name in ("DeviceSerialNumber", "DeviceUID", "DateOfLastCalibration", "TimeOfLastCalibration"):
        if name in dataset:
            delattr(dataset, name)


def _code(value: str, meaning: str) -> Any:
    """Item of a code sequence, DICOM's own scheme (8.8)."""
    from pydicom.dataset import Dataset

    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


def _set_lossy_history(dataset: Any, source: Any, ratio: float) -> None:
    """What lossy compression has taken stays taken, whatever the result is stored as (C.7.6.1.1.5).

    A file under a transfer syntax that may be lossless is believed when it says that it is.
    """
    syntax = TRANSFER_SYNTAXES[str(source.file_meta.TransferSyntaxUID)]
    always = syntax.codec == "JPEG"
    if str(source.get("LossyImageCompression", "")) == "00" and not always:
        return
    dataset.LossyImageCompression = "01"
    if not dataset.get("LossyImageCompressionMethod"):
        dataset.LossyImageCompressionMethod = syntax.lossy
        dataset.LossyImageCompressionRatio = f"{ratio:.2f}"
