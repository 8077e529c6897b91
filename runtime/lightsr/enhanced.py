"""Enhanced CT and MR images out: functional groups of the enlarged frames (PS3.3 C.7.6.16).

Groups of frames are made and written one by one, since they grow with the number of frames.
Clauses are of PS3.3 of the DICOM standard unless another part is named.
"""

import copy
import shutil
import struct
from collections.abc import Iterator
from typing import Any, BinaryIO

from lightsr import geometry, provenance
from lightsr.copies import decoded, decoded_copy, strip
from lightsr.elements import FRAME_GROUPS
from lightsr.errors import ImageError
from lightsr.functional_groups import DERIVATION, FRAME_TYPES, MEASURES, ORIENTATION, POSITION, SHARED
from lightsr.image import Frames
from lightsr.options import DicomOptions
from lightsr.provenance import Producer, texts

RESAMPLED = "RESAMPLED"
"""Derived Pixel Contrast of pixels that were resampled, where the source's is NONE (C.8.16.1.4)."""

REMOVED = ("FramePixelShiftSequence", "ConversionSourceAttributesSequence")
"""Groups of places in old pixels, and of the image that a frame is a mere conversion of.

Besides them those of `lightsr.geometry.REMOVED`.
"""

DERIVED_FROM = ("DerivationDescription", "DerivationCodeSequence", "SourceImageSequence")
"""What an enhanced image says of every frame, and a single-frame image of itself (C.12.4)."""


def convert(dataset: Any, frames: Frames, *, scale: int, producer: Producer, options: DicomOptions) -> None:
    """Make a derived data set, complete but for its groups, that of an enhanced image, in place.

    Parameters
    ----------
    dataset : pydicom.Dataset
        Its shared groups still those of the source.
    frames : Frames
    scale : int
    producer : Producer
    options : DicomOptions

    Raises
    ------
    ImageError
        Options that an enhanced image cannot have, or geometry that cannot be what the
        standard says; the caller knows the file.
    """
    if options.as_capture:
        raise ImageError("an enhanced image, whose frames have places of their own; leave out --as-sc")
    dataset.ImageType = _derived_type(texts(dataset, "ImageType"))
    for name in DERIVED_FROM:
        if name in dataset:
            delattr(dataset, name)
    dataset.SourceImageEvidenceSequence = [_evidence(frames.header)]
    if options.equipment != "keep":
        # Required to have a value (C.7.5.2); a model has no serial number but its digest.
        dataset.DeviceSerialNumber = producer.sha256[:16]
    for shared in dataset.get(SHARED) or []:
        moves = _moves_together(frames.groups)
        place = frames.groups.plane(shared) if moves else None
        _enlarge(shared, scale, place)
        if not moves:
            shared.pop(POSITION, None)
        shared.pop(DERIVATION, None)


def frame_groups(frames: Frames, *, scale: int, producer: Producer) -> Iterator[Any]:
    """Groups of each enlarged frame.

    Parameters
    ----------
    frames : Frames
        The source.
    scale : int
    producer : Producer

    Yields
    ------
    pydicom.Dataset

    Raises
    ------
    ImageError
        Names the file.
    """
    from pydicom.dataset import Dataset

    groups = frames.groups
    source = decoded_copy(frames.header)
    source.remove_private_tags()
    shared = (source.get(SHARED) or [Dataset()])[0]
    for index, stored in enumerate(groups):
        try:
            place = groups.plane(stored)
            own = decoded(stored)
            if not _moves_together(groups) and POSITION in shared:
                setattr(own, POSITION, copy.deepcopy(list(shared.get(POSITION))))
            _enlarge(own, scale, place)
        except ImageError as error:
            raise ImageError(f"{frames.source}: frame {index + 1}: {error}") from error
        earlier = own.get(DERIVATION) or shared.get(DERIVATION) or [source]
        derivation = Dataset()
        provenance.derive(derivation, list(earlier), source, scale=scale, producer=producer, frame=index + 1)
        setattr(own, DERIVATION, [derivation])
        yield own


def _moves_together(groups: Any) -> bool:
    """Whether a position that all frames share is one of theirs still when each has moved by its own half pixel."""
    return all(name in groups.shared for name in (POSITION, ORIENTATION, MEASURES))


def _enlarge(groups: Any, scale: int, place: geometry.Plane | None) -> None:
    """Make groups of frames those of enlarged frames, in place."""
    groups.remove_private_tags()
    for name in (*REMOVED, *geometry.REMOVED):
        if name in groups:
            delattr(groups, name)
    for group in list(groups):
        for item in (group.value or []) if group.VR == "SQ" else []:
            if group.keyword == POSITION:
                if place is not None:
                    geometry.move(item, place, scale)
                continue
            strip(item)
            geometry.enlarge(item, scale)
            if group.keyword in FRAME_TYPES.values():
                item.FrameType = _derived_type(texts(item, "FrameType"))


def _derived_type(values: list[str]) -> list[str]:
    """Image Type or Frame Type of a derived image (C.8.16.1)."""
    kept = values[1:] or ["PRIMARY"]
    return ["DERIVED", *kept[:2], *(RESAMPLED if value == "NONE" else value for value in kept[2:3]), *kept[3:]]


def _evidence(source: Any) -> Any:
    """Item of Source Image Evidence Sequence, which names all that Source Image Sequences refer to (C.8.13.1)."""
    from pydicom.dataset import Dataset

    instance, series, study = Dataset(), Dataset(), Dataset()
    instance.ReferencedSOPClassUID, instance.ReferencedSOPInstanceUID = source.SOPClassUID, source.SOPInstanceUID
    series.SeriesInstanceUID, series.ReferencedSOPSequence = source.SeriesInstanceUID, [instance]
    study.StudyInstanceUID, study.ReferencedSeriesSequence = source.StudyInstanceUID, [series]
    return study


def write_item(own: Any, dataset: Any, file: Any) -> None:
    """Write the groups of one frame as an item of explicit length (PS3.5, 7.5.1).

    Parameters
    ----------
    own : pydicom.Dataset
    dataset : pydicom.Dataset
        That it will be part of.
    file : binary file
    """
    content = _encoded(own, dataset)
    file.write(struct.pack("<HHI", 0xFFFE, 0xE000, len(content)))
    file.write(content)


def behind_groups(dataset: Any) -> Any:
    """Take what stands behind the groups of frames, but for the pixels, out of a data set."""
    from pydicom.dataset import Dataset

    behind = Dataset()
    for tag in [tag for tag in dataset.keys() if tag > FRAME_GROUPS]:  # noqa: SIM118
        behind[tag] = dataset.pop(tag)
    return behind


def append(items: Any, behind: Any, dataset: Any, file: BinaryIO) -> None:
    """Write Per-Frame Functional Groups Sequence, and what stands behind it.

    Parameters
    ----------
    items : binary file
        What `write_item` wrote.
    behind : pydicom.Dataset
        See `behind_groups`.
    dataset : pydicom.Dataset
        That both are part of.
    file : binary file
    """
    length = items.tell()
    items.seek(0)
    file.write(struct.pack("<HH2sHI", FRAME_GROUPS >> 16, FRAME_GROUPS & 0xFFFF, b"SQ", 0, length))
    shutil.copyfileobj(items, file, 2**20)
    file.write(_encoded(behind, dataset))


def _encoded(part: Any, dataset: Any) -> bytes:
    """Elements in Explicit VR Little Endian, in the character set of the data set that they belong to."""
    from pydicom.charset import convert_encodings
    from pydicom.filebase import DicomBytesIO
    from pydicom.filewriter import write_dataset

    stated = dataset.get("SpecificCharacterSet")
    buffer = DicomBytesIO()
    buffer.is_implicit_VR, buffer.is_little_endian = False, True
    write_dataset(buffer, part, parent_encoding=convert_encodings(stated if stated is not None else "ISO_IR 6"))
    return buffer.getvalue()
