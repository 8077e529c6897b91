"""DICOM out: the data set of an enlarged image, which says what it is and where it is from.

Clauses are of PS3.3 of the DICOM standard unless another part is named.
"""

import copy
import datetime
import hashlib
import re
import shutil
import struct
import tempfile
import uuid
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lightsr import capture, geometry, provenance
from lightsr.dicom import silenced
from lightsr.errors import ImageError, LightsrError
from lightsr.image import Frames
from lightsr.options import DEFAULTS, DicomOptions
from lightsr.provenance import UID_NAMESPACE, texts, uid_of
from lightsr.provenance import Producer as Producer

OUTPUT_VERSION = 1
"""Version of what `write` makes of a source; part of the new UIDs."""

IMPLEMENTATION_CLASS_UID = f"2.25.{uuid.uuid5(UID_NAMESPACE, 'implementation').int}"

IMPLEMENTATION_VERSION = "LIGHTSR"

MAX_DESCRIPTION = 64
"""Characters of Series Description (LO; PS3.5, 6.2)."""

TEXT_VRS = frozenset({"LO", "LT", "PN", "SH", "ST", "UC", "UT"})
"""Value representations that Specific Character Set applies to (PS3.5, 6.1.2.2)."""

REMOVED = (
    *("DigitalSignaturesSequence", "MACParametersSequence", "EncryptedAttributesSequence"),
    *("DataSetTrailingPadding", "StorageMediaFileSetID", "StorageMediaFileSetUID"),
    *("ConversionSourceAttributesSequence", "AlternateRepresentationSequence"),
    *("InstanceCreatorUID", "SOPInstanceStatus", "SOPAuthorizationDateTime", "SOPAuthorizationComment"),
    *("AuthorizationEquipmentCertificationNumber", "ReferencedPerformedProcedureStepSequence"),
    *("PresentationLUTSequence", "PixelDataAreaOriginRelativeToFOV"),
)
"""Attributes that hold for the source instance alone."""


HARMLESS_UID = re.compile(r"[0-9A-Za-z][0-9A-Za-z.-]{0,63}")
"""A UID (PS3.5, 9.1), or what some who remove names put in its place; never a path, a line end or an escape."""

TEMPORARY_PREFIX = ".lightsr-"
"""Start of the names of files that are still being written, and of temporary ones where these need a name."""

PALETTE_TAGS = range(0x00281100, 0x00281300)
"""Palette tables, their descriptors and identifiers (C.7.9)."""

PIXEL_COMPONENT_TAGS = range(0x00186044, 0x0018605B)
"""Calibration of an ultrasound region's samples (C.8.5.5): organization, mask, ranges, tables."""

FIRST_PIXEL_TAG = 0x7FE00000
"""From here on elements describe how the source's pixels were encoded, or would stand behind ours (C.7.6.3)."""

MAX_PIXEL_BYTES = 2**32 - 2
"""Length of Pixel Data, which is written in 32 bits and must be even (PS3.5, 7.1.2)."""

IN_MEMORY_BYTES = 4 * 2**20
"""Enlarged pixels that wait for their header in memory; more wait in a file without a name."""


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

    Each frame goes to a temporary file as it comes, since the header in front of them
    says what they are: its instance UID depends on every pixel.

    Parameters
    ----------
    frames : Frames
        The source, as `lightsr.dicom.opened` gave it; left as it is.
    enlarged : iterable of ndarray, each of shape (scale * h, scale * w[, 3]), dtype of the source
        Enlarged stored values of every frame, in turn; one at a time is needed.
    scale : int
    producer : Producer
    options : DicomOptions
    file : binary file

    Raises
    ------
    ImageError
        The source is damaged, says something that cannot be carried over unchanged, or
        would become larger than DICOM can hold.
    """
    with silenced():
        try:
            dataset = derived(frames, scale=scale, producer=producer, options=options)
        except LightsrError:
            raise
        except Exception as error:  # pydicom decodes an element only now, and its texts quote values
            raise ImageError(f"{frames.source}: damaged DICOM ({type(error).__name__}); nothing was written") from error
    word_bytes = dataset.BitsAllocated // 8
    length = dataset.Rows * dataset.Columns * dataset.SamplesPerPixel * word_bytes * frames.count
    if length > MAX_PIXEL_BYTES:
        raise ImageError(
            f"{frames.source}: would become {length / 2**30:.1f} GiB of pixels, of which DICOM holds less than 4; "
            "choose a smaller --scale"
        )
    name = getattr(file, "name", None)
    folder = str(Path(name).parent) if isinstance(name, str | Path) else None
    with tempfile.SpooledTemporaryFile(IN_MEMORY_BYTES, prefix=TEMPORARY_PREFIX, dir=folder) as waiting:
        content = hashlib.sha256()
        for pixels in enlarged:
            part = np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("<")).data.cast("B")
            content.update(part)
            waiting.write(part)
        if waiting.tell() != length:
            raise ValueError(f"{waiting.tell()} bytes of enlarged pixels; the header says {length}")
        made_by = _made_by(scale, producer, options)
        dataset.SOPInstanceUID = uid_of(
            str(frames.header.SOPInstanceUID), *made_by, producer.version, content.hexdigest()
        )
        _set_file_meta(dataset)
        with silenced():
            dataset.save_as(file, implicit_vr=False, little_endian=True, enforce_file_format=True)
        waiting.seek(0)
        _append_pixels(waiting, length, b"OB" if word_bytes == 1 else b"OW", file)


def _append_pixels(content: Any, length: int, vr: bytes, file: BinaryIO) -> None:
    """Pixel Data as the last element: native, little endian, of even length (PS3.5, 7.1.2 and 8.1.1)."""
    file.write(struct.pack("<HH2sHI", 0x7FE0, 0x0010, vr, 0, length + length % 2))
    shutil.copyfileobj(content, file, 2**20)
    file.write(b"\0" * (length % 2))


def derived(frames: Frames, *, scale: int, producer: Producer, options: DicomOptions = DEFAULTS) -> Any:
    """Data set of an enlarged file, without pixels and without its own instance UID; see `write`."""
    source, path = frames.header, frames.source
    for name in ("SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"):
        if not source.get(name):
            raise ImageError(f"{path}: its {name} is missing, so nothing can be derived from it; mend it first")
        if not HARMLESS_UID.fullmatch(str(source.get(name))):  # a path, say, which the result would hand on
            raise ImageError(
                f"{path}: its {name} is no UID; at most 64 digits, letters, dots and hyphens are allowed; mend it first"
            )
    dataset = _decoded_copy(source)
    _check_texts(dataset, path)
    dataset.remove_private_tags()
    for name in REMOVED:
        if name in dataset:
            delattr(dataset, name)
    for tag in [t for t in dataset.keys() if t >= FIRST_PIXEL_TAG]:  # noqa: SIM118
        del dataset[tag]
    dataset.Rows, dataset.Columns = (scale * side for side in frames.size)
    try:
        geometry.enlarge(dataset, scale)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    _check_frame_times(dataset, source, path)
    _set_series(dataset, source, scale, producer, options)
    provenance.state(dataset, frames, scale=scale, producer=producer, equipment=options.equipment)
    _set_pixel_description(dataset, frames)
    if options.as_capture:
        try:
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


def _decoded_copy(source: Any) -> Any:
    """Copy of a data set that remembers nothing of how the source was encoded.

    pydicom decodes elements when they are first used, and keeps the bytes of words
    (OW and the like) as they were read; a big-endian source needs both done before it
    can be written in another order (PS3.5, 7.3 and A.3).
    """
    from pydicom.dataset import Dataset

    big = not source.original_encoding[1]
    word_bytes = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}

    def decode(parent: Any, element: Any) -> None:
        if big and element.VR in word_bytes and isinstance(element.value, bytes):
            words = np.frombuffer(element.value, dtype=f">u{word_bytes[element.VR]}")
            element.value = words.astype(words.dtype.newbyteorder("<")).tobytes()
        elif big and element.VR == "UN":  # nobody knows how to turn these
            del parent[element.tag]

    copied = copy.deepcopy(source)
    # Private elements may hold pixel coordinates, whole images or names; nobody need decode them.
    for tag in [t for t in copied.keys() if t.is_private]:  # noqa: SIM118 (a Dataset yields elements, and decodes them)
        del copied[tag]
    copied.walk(decode)
    dataset = Dataset()
    for element in copied:
        dataset.add(element)
    return dataset


def _check_texts(dataset: Any, path: Path, inherited: Any = None) -> None:
    """Refuse text that would be written as other text than was read: it is not in the character set it claims.

    Raises
    ------
    ImageError
        Names the attribute, never the text.
    """
    from pydicom.charset import convert_encodings, decode_bytes, encode_string

    stated = dataset.get("SpecificCharacterSet", inherited)  # items inherit it (PS3.3 C.12.1.1.2)
    encodings = convert_encodings(stated if stated is not None else "ISO_IR 6")
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value or []:
                _check_texts(item, path, stated)
        elif element.VR in TEXT_VRS and element.value:
            texts = [element.value] if element.VM == 1 else list(element.value)
            for text in (part for value in texts for part in re.split(r"[\^=]", str(value))):
                if decode_bytes(encode_string(text, encodings), encodings, set()) != text or "\ufffd" in text:
                    raise ImageError(
                        f"{path}: {element.keyword or element.tag} holds text that is not in the file's character set "
                        "and would be changed; mend its SpecificCharacterSet first"
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


def _set_file_meta(dataset: Any) -> None:
    """Fresh file meta information and a preamble of zeros (PS3.10, 7.1)."""
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import UID, ExplicitVRLittleEndian

    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = UID(IMPLEMENTATION_CLASS_UID)
    meta.ImplementationVersionName = IMPLEMENTATION_VERSION
    dataset.file_meta = meta
    dataset.preamble = b"\0" * 128
