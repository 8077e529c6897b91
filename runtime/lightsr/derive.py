"""DICOM out: the data set of an enlarged image, which says what it is and where it is from.

Clauses are of PS3.3 of the DICOM standard unless another part is named.
"""

import datetime
import hashlib
import re
import tempfile
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from lightsr import capture, encoding, enhanced, geometry, provenance, stored
from lightsr.copies import REMOVED as REMOVED
from lightsr.copies import check_texts, decoded_copy, strip
from lightsr.dicom import silenced
from lightsr.errors import ImageError, LightsrError
from lightsr.image import Frames
from lightsr.options import DEFAULTS, DicomOptions
from lightsr.provenance import UID_NAMESPACE, texts, uid_of
from lightsr.provenance import Producer as Producer
from lightsr.strays import TEMPORARY_PREFIX

OUTPUT_VERSION = 1
"""Version of what `write` makes of a source; part of the new UIDs."""

IMPLEMENTATION_CLASS_UID = f"2.25.{uuid.uuid5(UID_NAMESPACE, 'implementation').int}"

IMPLEMENTATION_VERSION = "LIGHTSR"

MAX_DESCRIPTION = 64
"""Characters of Series Description (LO; PS3.5, 6.2)."""

HARMLESS_UID = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]{0,63}")
"""A UID (PS3.5, 9.1), or what some who remove names put in its place; never a path, a line end or an escape."""

PALETTE_TAGS = range(0x00281100, 0x00281300)
"""Palette tables, their descriptors and identifiers (C.7.9)."""

PIXEL_COMPONENT_TAGS = range(0x00186044, 0x0018605B)
"""Calibration of an ultrasound region's samples (C.8.5.5): organization, mask, ranges, tables."""


IN_MEMORY_BYTES = 4 * 2**20
"""Enlarged pixels that wait for their header in memory; more wait in a file without a name."""

WAITING_BYTES = 2 * IN_MEMORY_BYTES
"""Memory of what waits: pixels, functional groups of frames, and a copy of either as it moves to a file."""


def write(
    frames: Frames,
    enlarged: Iterable[NDArray[Any]],
    *,
    scale: int,
    producer: Producer,
    options: DicomOptions = DEFAULTS,
    file: BinaryIO,
) -> None:
    """Write enlarged frames as DICOM.

    Bands go to a temporary file as they come, compressed frame by frame where that was chosen, since the
    header in front of them says what they are: its instance UID depends on every pixel.

    Parameters
    ----------
    frames : Frames
        The source, as `lightsr.dicom.opened` gave it; left as it is.
    enlarged : iterable of ndarray, each of shape (n, scale * w[, 3]), dtype of the source
        Enlarged stored values of every frame, in turn, each in bands from top to bottom that it
        shares with no other.
    scale : int
    producer : Producer
    options : DicomOptions
    file : binary file

    Raises
    ------
    ImageError
        The source is damaged, says something that cannot be carried over unchanged, or
        would become larger than DICOM can hold.
    OutputError
        What compresses the result is not installed.
    """
    with silenced():
        try:
            dataset = derived(frames, scale=scale, producer=producer, options=options)
        except LightsrError:
            raise
        except Exception as error:  # pydicom decodes an element only now, and its texts quote values
            raise ImageError(f"{frames.source}: damaged DICOM ({type(error).__name__}); nothing was written") from error
    name = getattr(file, "name", None)
    folder = str(Path(name).parent) if isinstance(name, str | Path) else None
    with _waiting(folder) as waiting, _waiting(folder) as groups:
        if frames.groups is not None:
            _write_groups(dataset, frames, scale, producer, groups)
        content = hashlib.sha256()
        pixel_data = encoding.PixelData(waiting, dataset, frames.count, options.compress, frames.source)
        rows = scale * frames.size[0]
        for pixels in enlarged if options.compress == "none" else stored.whole(enlarged, rows):
            content.update(pixel_data.add(pixels))
        made_by = _made_by(scale, producer, options)
        dataset.SOPInstanceUID = uid_of(
            str(frames.header.SOPInstanceUID), *made_by, producer.version, content.hexdigest()
        )
        _set_file_meta(dataset, pixel_data.syntax)
        with silenced():
            behind = enhanced.behind_groups(dataset) if frames.groups is not None else None
            dataset.save_as(file, implicit_vr=False, little_endian=True, enforce_file_format=True)
            if behind is not None:
                enhanced.append(groups, behind, dataset, file)
        pixel_data.append_to(file)


def writing_bytes(frames: Frames, scale: int, options: DicomOptions = DEFAULTS) -> int:
    """Memory that `write` takes beside the bands: what waits for its header, and a frame that is compressed."""
    return WAITING_BYTES + encoding.compressing_bytes(scale**2 * frames.frame_bytes, options.compress)


def _waiting(folder: str | None) -> "tempfile.SpooledTemporaryFile[bytes]":
    """A file without a name, for what must wait for what stands before it."""
    return tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES, prefix=TEMPORARY_PREFIX, dir=folder)


def _write_groups(dataset: Any, frames: Frames, scale: int, producer: Producer, file: Any) -> None:
    """Functional groups of every frame, in turn: those of a long series would not do in memory together."""
    with silenced():
        try:
            for own in enhanced.frame_groups(frames, scale=scale, producer=producer):
                check_texts(own, frames.source, dataset.get("SpecificCharacterSet"))
                enhanced.write_item(own, dataset, file)
        except LightsrError:
            raise
        except Exception as error:
            raise ImageError(f"{frames.source}: damaged DICOM ({type(error).__name__}); nothing was written") from error


def derived(frames: Frames, *, scale: int, producer: Producer, options: DicomOptions = DEFAULTS) -> Any:
    """Data set of an enlarged file, without pixels and without its own instance UID; see `write`.

    Raises
    ------
    ImageError
        Attributes that it is derived from are missing, damaged or contradict each other.
    """
    source, path = frames.header, frames.source
    for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        if not source.get(name):
            raise ImageError(f"{path}: its {name} is missing, so nothing can be derived from it; mend it first")
        if not HARMLESS_UID.fullmatch(str(source.get(name))):  # a path, say, which the result would hand on
            raise ImageError(
                f"{path}: its {name} is no UID; at most 64 digits, letters, dots and hyphens are allowed; mend it first"
            )
    dataset = decoded_copy(source)
    check_texts(dataset, path)
    strip(dataset)
    dataset.Rows, dataset.Columns = (scale * side for side in frames.size)
    try:
        geometry.enlarge(dataset, scale)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    _check_frame_times(dataset, source, path)
    _set_series(dataset, source, scale, producer, options)
    provenance.state(dataset, frames, scale=scale, producer=producer, equipment=options.equipment)
    _set_pixel_description(dataset, frames)
    try:
        if frames.groups is not None:
            enhanced.convert(dataset, frames, scale=scale, producer=producer, options=options)
        if options.as_capture:
            capture.convert(dataset, frames.count)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    return dataset


def _check_frame_times(dataset: Any, source: Any, path: Path) -> None:
    """What the frames advance by (C.7.6.6) must still be there."""
    pointer = source.get("FrameIncrementPointer")
    if pointer in (None, ""):
        return
    for tag in [pointer] if isinstance(pointer, int) else list(pointer):
        if tag in source and tag not in dataset:
            raise ImageError(
                f"{path}: its frames advance by the element {tag}, which cannot be kept; standard ones are allowed"
            )


def _made_by(scale: int, producer: Producer, options: DicomOptions) -> tuple[str, ...]:
    """Parts of the new UIDs besides the source's.

    With the digest of its pixels they make the instance: the same work done again is the
    same instance (C.12.4.1.1), and what is said otherwise is another.
    """
    return (producer.sha256, str(scale), str(OUTPUT_VERSION), *options.identity(scale))


def _set_series(dataset: Any, source: Any, scale: int, producer: Producer, options: DicomOptions) -> None:
    """New series in the same study (C.7.6.1.1.2).

    Its UID depends on source, model and options alone: slices that are enlarged one by one
    land in one series.
    """
    dataset.SeriesInstanceUID = uid_of(str(source.SeriesInstanceUID), *_made_by(scale, producer, options))
    if "SeriesNumber" in source:
        dataset.SeriesNumber = _series_number(source, options.series_offset)
    suffix = options.series_suffix(scale)
    description = " ".join(texts(source, "SeriesDescription"))
    dataset.SeriesDescription = (description[: MAX_DESCRIPTION - len(suffix)] + suffix).strip()
    now = datetime.datetime.now(_zone(source))
    for name in ("InstanceCreation", "Content"):
        setattr(dataset, f"{name}Date", now.strftime("%Y%m%d"))
        setattr(dataset, f"{name}Time", now.strftime("%H%M%S"))


def _series_number(source: Any, offset: int) -> int | None:
    """A number of its own for the derived series, empty where there is none to start from (PS3.5, 6.2: IS)."""
    try:
        number = int(source.SeriesNumber) + offset
    except (TypeError, ValueError):
        return None
    return number if number < 2**31 else None


def _zone(source: Any) -> datetime.tzinfo | None:
    """Time zone that holds for every time in the data set (C.12.1.1), else the device's own."""
    try:
        return datetime.datetime.strptime(str(source.TimezoneOffsetFromUTC), "%z").tzinfo
    except (AttributeError, ValueError):
        return None


def _set_pixel_description(dataset: Any, frames: Frames) -> None:
    """Values in the lowest bits of their words, colour as RGB, the samples of a pixel together (C.7.6.3)."""
    dataset.HighBit = dataset.BitsStored - 1
    if frames.photometric != "RGB":
        return
    dataset.PlanarConfiguration = 0
    if str(dataset.PhotometricInterpretation) == "RGB":
        return
    dataset.PhotometricInterpretation, dataset.SamplesPerPixel = "RGB", 3
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    for tag in [t for t in dataset.keys() if t in PALETTE_TAGS]:  # noqa: SIM118
        del dataset[tag]
    for name in ("PixelPaddingValue", "PixelPaddingRangeLimit"):  # a value of a palette, not a colour
        if name in dataset:
            delattr(dataset, name)
    for region in dataset.get("SequenceOfUltrasoundRegions") or []:
        # They say what the former samples measure (C.8.5.5.1.3 ff.).
        for tag in [t for t in region.keys() if t in PIXEL_COMPONENT_TAGS]:  # noqa: SIM118
            del region[tag]


def _set_file_meta(dataset: Any, syntax: str) -> None:
    """Fresh file meta information and a preamble of zeros (PS3.10, 7.1)."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = UID(syntax)
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION
    dataset.file_meta = meta
    dataset.preamble = b"\0" * 128
