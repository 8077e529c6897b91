"""DICOM files made for a test, native and compressed, and every real one there is."""

import io
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from lightsr import derive, dicom
from lightsr.options import DEFAULTS, DicomOptions
from PIL import Image as PillowImage
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import UID, ExplicitVRLittleEndian

SECRET = "Doe^Secret"
"""In every attribute of a made file that could say something about a patient."""

PRODUCER = derive.Producer("tiny", "int8", "ab" * 32, "0.1.0")


def a_dataset(pixels: np.ndarray | None = None, **changes: Any) -> Dataset:
    """A CT of 6 x 8 pixels, or of `pixels`; `changes` are attributes, None removes one."""
    if pixels is None:
        pixels = np.arange(48, dtype=np.int16).reshape(6, 8) - 10
    dataset = Dataset()
    dataset.SOPClassUID = UID("1.2.840.10008.5.1.4.1.1.2")
    dataset.SOPInstanceUID, dataset.SeriesInstanceUID, dataset.StudyInstanceUID = "1.2.3.4", "1.2.3", "1.2"
    dataset.FrameOfReferenceUID = "1.2.9"
    dataset.PatientName, dataset.PatientID, dataset.PatientBirthDate = SECRET, SECRET, "19500101"
    dataset.AccessionNumber, dataset.StudyDescription, dataset.InstitutionName = "SECRET1", SECRET, SECRET
    dataset.Modality, dataset.Manufacturer, dataset.ManufacturerModelName = "CT", "Scanmaker", "Scan 1"
    dataset.SeriesNumber, dataset.InstanceNumber, dataset.SeriesDescription = 5, 7, "Thorax"
    dataset.ImageType = ["ORIGINAL", "PRIMARY", "AXIAL"]
    dataset.ImagePositionPatient, dataset.ImageOrientationPatient = [10, 20, 30], [1, 0, 0, 0, 1, 0]
    dataset.PixelSpacing, dataset.SliceThickness = [0.8, 1.1], 5
    dataset.RescaleSlope, dataset.RescaleIntercept, dataset.RescaleType = 1, -1024, "HU"
    dataset.WindowCenter, dataset.WindowWidth = 40, 400
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    colour = pixels.ndim == 3
    dataset.SamplesPerPixel = 3 if colour else 1
    dataset.PhotometricInterpretation = "RGB" if colour else "MONOCHROME2"
    if colour:
        dataset.PlanarConfiguration = 0
    dataset.BitsAllocated = dataset.BitsStored = 8 * pixels.dtype.itemsize
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    return finished(dataset, pixels, changes)


def finished(dataset: Dataset, pixels: np.ndarray, changes: dict[str, Any]) -> Dataset:
    """The data set with these pixels and changes; what is changed to None goes."""
    content = np.ascontiguousarray(pixels).tobytes()
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = "OW" if pixels.dtype.itemsize == 2 else "OB"
    for name, value in changes.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    return dataset


def a_cine(frames: np.ndarray, **changes: Any) -> Dataset:
    """An ultrasound cine of (n, h, w[, 3]) pixels that advances by a frame time."""
    dataset = a_dataset(frames[0], SOPClassUID="1.2.840.10008.5.1.4.1.1.3.1", Modality="US", NumberOfFrames=len(frames))
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(dataset, name)
    for name in ("RescaleSlope", "RescaleIntercept", "RescaleType", "FrameOfReferenceUID"):
        delattr(dataset, name)
    dataset.FrameTime, dataset.CineRate = 40, 25
    dataset.FrameIncrementPointer = 0x00181063
    content = np.ascontiguousarray(frames).tobytes()
    dataset.PixelData = content + b"\0" * (len(content) % 2)
    dataset["PixelData"].VR = "OW" if frames.dtype.itemsize == 2 else "OB"
    for name, value in changes.items():
        setattr(dataset, name, value)
    return dataset


def a_mammogram(pixels: np.ndarray | None = None, **changes: Any) -> Dataset:
    """A left mediolateral oblique view, magnified and partial, with all that its class requires (PS3.3 A.27)."""
    if pixels is None:
        pixels = (np.arange(48, dtype=np.uint16) * 80).reshape(6, 8)
    dataset = a_dataset(pixels, SOPClassUID="1.2.840.10008.5.1.4.1.1.1.2", Modality="MG", SeriesDescription="L MLO")
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness"):
        delattr(dataset, name)
    dataset.FrameOfReferenceUID, dataset.PositionReferenceIndicator = "1.2.9", None
    dataset.PatientSex, dataset.StudyID, dataset.StudyDate, dataset.StudyTime = "F", "1", "20200102", "101112"
    dataset.ReferringPhysicianName, dataset.ContentDate, dataset.ContentTime = None, "20200102", "101112"
    dataset.PresentationIntentType, dataset.ImageType = "FOR PRESENTATION", ["ORIGINAL", "PRIMARY", ""]
    dataset.BitsStored, dataset.HighBit, dataset.BurnedInAnnotation, dataset.LossyImageCompression = 12, 11, "NO", "00"
    dataset.RescaleIntercept, dataset.RescaleType, dataset.PresentationLUTShape = 0, "US", "IDENTITY"
    dataset.PixelIntensityRelationship, dataset.PixelIntensityRelationshipSign = "LOG", 1
    dataset.WindowCenter, dataset.WindowWidth = 2048, 4096
    dataset.PatientOrientation, dataset.ImageLaterality = ["P", "F"], "L"
    dataset.ImagerPixelSpacing, dataset.EstimatedRadiographicMagnificationFactor = [0.07, 0.1], 1.75
    dataset.DetectorType, dataset.FieldOfViewOrigin, dataset.FieldOfViewRotation = "DIRECT", [3, 4], "0"
    dataset.FieldOfViewHorizontalFlip, dataset.DetectorElementSpacing = "NO", [0.07, 0.1]
    dataset.PositionerType, dataset.PositionerPrimaryAngle = "MAMMOGRAPHIC", 45
    dataset.OrganExposed, dataset.BodyPartThickness, dataset.CompressionForce = "BREAST", 52, 90
    dataset.BreastImplantPresent, dataset.PartialView = "NO", "YES"
    dataset.PartialViewCodeSequence = [a_code("255561001", "Medial"), a_code("255549009", "Anterior")]
    dataset.AnatomicRegionSequence = [a_code("76752008", "Breast")]
    view = a_code("399368009", "medio-lateral oblique")
    view.ViewModifierCodeSequence = [a_code("399163009", "Magnification")]
    dataset.ViewCodeSequence = [view]
    dataset.AcquisitionContextSequence = []
    for name, value in changes.items():
        setattr(dataset, name, value)
    return dataset


def a_code(value: str, meaning: str) -> Dataset:
    """An item of a code sequence, of SNOMED CT."""
    code = Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "SCT", meaning
    return code


def a_region(left: int, top: int, right: int, bottom: int, **values: int | float) -> Dataset:
    """An item of Sequence of Ultrasound Regions; its corners as they are stored."""
    item = Dataset()
    item.RegionLocationMinX0, item.RegionLocationMinY0 = left, top
    item.RegionLocationMaxX1, item.RegionLocationMaxY1 = right, bottom
    item.RegionSpatialFormat, item.RegionDataType, item.RegionFlags = 1, 1, 0
    item.PhysicalUnitsXDirection = item.PhysicalUnitsYDirection = 3
    item.PhysicalDeltaX, item.PhysicalDeltaY = 0.01, -0.02
    for name, value in values.items():
        setattr(item, name, value)
    return item


def save(dataset: Dataset, path: Path, syntax: str = ExplicitVRLittleEndian) -> Path:
    """Write a data set under a transfer syntax, whatever that says about its pixels."""
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3.4"
    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    known = UID(syntax)
    implicit = known.is_transfer_syntax and known.is_implicit_VR
    little = not known.is_transfer_syntax or known.is_little_endian
    pydicom.dcmwrite(path, dataset, implicit_vr=implicit, little_endian=little, force_encoding=True)
    content = path.read_bytes()
    if content[128:132] != b"DICM":
        path.unlink()
        dataset.preamble = b"\0" * 128
        pydicom.dcmwrite(path, dataset, implicit_vr=implicit, little_endian=little, force_encoding=True)
    return path


def real_files(samples: Path) -> Iterator[Path]:
    """Every file of the pydicom wheel, and of LIGHTSR_DATA where it is set."""
    folders = [samples]
    home = Path(os.environ.get("LIGHTSR_DATA", "-"))
    folders += [home / name for name in ("reader", "series") if (home / name).is_dir()]
    for folder in folders:
        yield from (path for path in sorted(folder.rglob("*")) if path.is_file())


def compressed(dataset: Dataset, syntax: str, frames: list[bytes], path: Path, *, table: bool = True) -> Path:
    """Write `frames`, each in one fragment, as the pixels of `dataset` under a compressed transfer syntax."""
    return encapsulated(dataset, syntax, encapsulate(frames, has_bot=table), path)


def encapsulated(dataset: Dataset, syntax: str, content: bytes, path: Path) -> Path:
    """Write `content`, items and all, as compressed pixels."""
    dataset.PixelData = content
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    return save(dataset, path, syntax)


def rle(planes: np.ndarray) -> bytes:
    """An RLE frame of (samples, h, w) values: one segment for each byte, the most significant first."""
    segments = []
    for plane in planes:
        for shift in reversed(range(0, 8 * planes.dtype.itemsize, 8)):
            segments.append(_packed(((plane.astype(np.int64) >> shift) & 0xFF).astype(np.uint8)))
    starts = 64 + np.cumsum([0, *(len(segment) for segment in segments[:-1])])
    head = [len(segments), *starts.tolist(), *[0] * (15 - len(segments))]
    return struct.pack("<16I", *head) + b"".join(segments)


def _packed(plane: np.ndarray) -> bytes:
    """A segment of an RLE frame, row by row: runs of two and more, everything else as it is."""
    out = bytearray()
    for row in plane:
        position = 0
        while position < len(row):
            end = position + 1
            while end < len(row) and end - position < 128 and row[end] == row[position]:
                end += 1
            if end - position > 1:
                out += bytes((257 - (end - position), row[position]))
            else:
                out += bytes((0, row[position]))
            position = end
    return bytes(out) + b"\0" * (len(out) % 2)


def encoded(pixels: np.ndarray, kind: str, **options: Any) -> bytes:
    """Pixels as Pillow's "JPEG" or "JPEG2000"."""
    buffer = io.BytesIO()
    extra = {"no_jp2": True} if kind == "JPEG2000" else {}
    PillowImage.fromarray(pixels).save(buffer, format=kind, **extra, **options)
    return buffer.getvalue()


def enlarged(
    path: Path, scale: int = 2, producer: derive.Producer = PRODUCER, options: DicomOptions = DEFAULTS
) -> tuple[Any, Any, np.ndarray]:
    """Source as pydicom reads it, result likewise, and the pixels that were written."""
    with dicom.opened(path) as frames:
        pixels = [image.pixels.repeat(scale, 0).repeat(scale, 1) for image in frames]
        buffer = io.BytesIO()
        derive.write(frames, pixels, scale=scale, producer=producer, options=options, file=buffer)
    buffer.seek(0)
    return pydicom.dcmread(path), pydicom.dcmread(buffer), np.array(pixels) if len(pixels) > 1 else pixels[0]
