"""Functional groups of enhanced CT and MR images: what holds for all frames, and what for one (PS3.3 C.7.6.16).

Groups of frames grow with their number, so that those of one frame at a time are read from
the file; what holds for all of them is part of the header. Clauses are of PS3.3 of the DICOM
standard.
"""

import hashlib
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

from lightsr import geometry, kinds
from lightsr.elements import FrameGroupsElement
from lightsr.errors import ImageError
from lightsr.provenance import texts

SHARED = "SharedFunctionalGroupsSequence"

PER_FRAME = "PerFrameFunctionalGroupsSequence"

MEASURES, POSITION, ORIENTATION = "PixelMeasuresSequence", "PlanePositionSequence", "PlaneOrientationSequence"
"""Spacing, position and orientation (C.7.6.16.2.1, C.7.6.16.2.3, C.7.6.16.2.4)."""

RESCALE, WINDOW = "PixelValueTransformationSequence", "FrameVOILUTSequence"
"""Rescale slope and intercept, and window (C.7.6.16.2.9, C.7.6.16.2.10)."""

MAPPING = "RealWorldValueMappingSequence"
"""What stored values stand for in the world, several mappings perhaps (C.7.6.16.2.11)."""

DERIVATION = "DerivationImageSequence"
"""How and from what a frame was derived (C.7.6.16.2.6)."""

FRAME_TYPES = {"CT": "CTImageFrameTypeSequence", "MR": "MRImageFrameTypeSequence"}
"""Group that says what a frame is (C.8.15.3.1, C.8.13.5.1)."""

VOLUME_PLACES = ("PlanePositionVolumeSequence", "PlaneOrientationVolumeSequence", "PlanePositionSlideSequence")
"""Places in volumes and on slides, which enhanced CT and MR images do not have."""

CONCATENATION = (
    *("ConcatenationUID", "SOPInstanceUIDOfConcatenationSource"),
    *("InConcatenationNumber", "InConcatenationTotalNumber", "ConcatenationFrameOffsetNumber"),
)
"""Attributes of an image that is one part of several (C.7.6.16.2.2.4)."""


class FunctionalGroups:
    """Functional groups of one opened file.

    Parameters
    ----------
    header : pydicom.Dataset
        Without Per-Frame Functional Groups Sequence.
    element : FrameGroupsElement
    stream : binary file
    path : Path
        For messages.
    little : bool
        Byte order.

    Raises
    ------
    ImageError
        The groups that all frames share are there more than once.
    """

    def __init__(self, header: Any, element: FrameGroupsElement, stream: BinaryIO, path: Path, *, little: bool) -> None:
        from pydicom.charset import convert_encodings
        from pydicom.dataset import Dataset

        self.path, self._element, self._stream, self._little = path, element, stream, little
        stated = header.get("SpecificCharacterSet")
        self.character_set = stated
        self._encodings = convert_encodings(stated if stated is not None else "ISO_IR 6")
        self._root = Dataset()  # implicit VR leaves out whether numbers in items are signed (PS3.5, A.1)
        self._root.PixelRepresentation = header.PixelRepresentation
        items = header.get(SHARED) or []
        if len(items) > 1:
            raise ImageError(f"{path}: {len(items)} items of {SHARED}; at most one is allowed; it is damaged")
        self.shared: Any = items[0] if items else Dataset()
        self.one_scale = True

    def __len__(self) -> int:
        return len(self._element.items) // 2

    def frame(self, index: int) -> Any:
        """Groups of the frame `index` alone, counted from 0: a data set of its own at every call.

        Raises
        ------
        ImageError
            The file became shorter.
        """
        from pydicom.filereader import read_dataset

        offset, length = self._element.items[2 * index], self._element.items[2 * index + 1]
        self._stream.seek(offset)
        content = self._stream.read(length)
        if len(content) != length:
            raise ImageError(f"{self.path}: became shorter while it was read")
        item = read_dataset(
            BytesIO(content),
            self._element.implicit,
            self._little,
            bytelength=length,
            parent_encoding=self._encodings,
            at_top_level=False,
        )
        setattr(self._root, PER_FRAME, [item])  # hands its Pixel Representation down
        return item

    def __iter__(self) -> Iterator[Any]:
        return (self.frame(index) for index in range(len(self)))

    def of(self, own: Any, name: str) -> Any:
        """The one item of a group that holds for a frame whose own groups are `own`; None without it.

        Raises
        ------
        ImageError
            It has several.
        """
        items = own.get(name) or self.shared.get(name) or []
        if len(items) > 1:
            raise ImageError(f"{self.path}: {len(items)} items of {name} for one frame; one is allowed; it is damaged")
        return items[0] if items else None

    def flat(self, index: int) -> Any:
        """Spacing, place, rescaling and window of the frame `index`, as a single-frame image states them."""
        from pydicom.dataset import Dataset

        own, found = self.frame(index), Dataset()
        for name in (MEASURES, POSITION, ORIENTATION, RESCALE, WINDOW):
            for element in self.of(own, name) or ():
                found.add(element)
        return found

    def plane(self, own: Any) -> geometry.Plane | None:
        """Where a frame lies in the patient."""
        return geometry.plane(self.of(own, POSITION), self.of(own, ORIENTATION), self.of(own, MEASURES))


def of(
    header: Any, element: FrameGroupsElement | None, stream: BinaryIO, path: Path, *, kind: str, little: bool
) -> FunctionalGroups:
    """Functional groups of an enhanced image, all of which were looked at.

    Parameters
    ----------
    header : pydicom.Dataset
        Without Per-Frame Functional Groups Sequence.
    element : FrameGroupsElement or None
    stream : binary file
        That `element` lies in.
    path : Path
        For messages.
    kind : str
        One of `lightsr.kinds.ENHANCED`.
    little : bool
        Byte order.

    Returns
    -------
    FunctionalGroups
        Its `one_scale` is False where the frames' rescaling differs, or what their values stand for.

    Raises
    ------
    ImageError
        Missing, contradicting themselves, or those of frames that are no pictures to be made
        sharper.
    """
    count = 0 if element is None else len(element.items) // 2
    frames = int(header.get("NumberOfFrames") or 1)
    if element is None or count != frames:
        raise ImageError(
            f"{path}: functional groups of {count} frames, and {frames} frames; those of every frame are needed"
        )
    for name in CONCATENATION:
        if header.get(name) not in (None, ""):
            raise ImageError(f"{path}: is a part of a concatenation; put its parts together first")
    groups = FunctionalGroups(header, element, stream, path, little=little)
    rescales = set()
    for number, own in enumerate(groups, start=1):
        try:
            rescales.add(_checked(groups, own, kind))
        except ImageError as error:
            raise ImageError(f"{path}: frame {number}: {str(error).removeprefix(f'{path}: ')}") from error
    groups.one_scale = len(rescales) == 1
    return groups


def _checked(groups: FunctionalGroups, own: Any, kind: str) -> tuple[str, ...]:
    """Look at the groups of a frame; returns what its values mean, to be compared with those of others."""
    twice = [tag for tag in own.keys() & groups.shared.keys() if not tag.is_private]
    if twice:
        raise ImageError(f"functional group {min(twice)} of its own and of all frames; either is allowed")
    for name in VOLUME_PLACES:
        if own.get(name) or groups.shared.get(name):
            raise ImageError(f"has {name}, a position without a patient; one in a patient is allowed")
    groups.plane(own)
    frame_type = groups.of(own, FRAME_TYPES[kinds.ENHANCED[kind]])
    if frame_type is None or not frame_type.get("FrameType"):
        raise ImageError("its FrameType is missing; nothing says what it shows")
    kinds.check_frame(
        kind,
        texts(frame_type, "FrameType"),
        component=str(frame_type.get("ComplexImageComponent", "")),
        presentation=str(frame_type.get("PixelPresentation", "")),
    )
    return _rescale(groups.of(own, RESCALE)) + _mappings(own.get(MAPPING))


def _rescale(item: Any) -> tuple[str, ...]:
    """What the stored values of a frame mean, in a form that is equal where they mean the same."""
    if item is None:
        return ()
    numbers = []
    for name in ("RescaleIntercept", "RescaleSlope"):
        try:
            numbers.append(float(item.get(name)))
        except (TypeError, ValueError) as error:
            raise ImageError(f"its {name} is missing or not 1 number; one is needed") from error
    if not numbers[1]:
        raise ImageError("its RescaleSlope is 0, so that all its values mean the same; another is needed")
    return (*map(repr, numbers), str(item.get("RescaleType", "")))


def _mappings(items: Any) -> tuple[str, ...]:
    """A frame's own mappings to real world values, without the range that each is for; shared ones are equal anyway."""
    found = []
    for item in items or ():
        units = (item.get("MeasurementUnitsCodeSequence") or [{}])[0]
        numbers = [str(item.get(name)) for name in ("RealWorldValueSlope", "RealWorldValueIntercept")]
        table = item.get("RealWorldValueLUTData")
        if table is not None:
            digest = hashlib.sha256(
                repr(list(table) if isinstance(table, Sequence) else table).encode("ascii")
            ).hexdigest()
            numbers += [str(item.get("RealWorldValueFirstValueMapped")), digest]
        found.append(repr((*numbers, str(units.get("CodeValue")), str(units.get("CodingSchemeDesignator")))))
    return tuple(found)
