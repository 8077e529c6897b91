"""Copies of DICOM data sets, without what cannot be carried over into another instance.

Clauses are of PS3.3 of the DICOM standard unless another part is named.
"""

import copy
import re
from pathlib import Path
from typing import Any

import numpy as np

from lightsr.errors import ImageError

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

FIRST_PIXEL_TAG = 0x7FE00000
"""From here on elements describe how the source's pixels were encoded, or would stand behind ours (C.7.6.3)."""


def decoded_copy(source: Any) -> Any:
    """Copy of a data set that remembers nothing of how the source was encoded; see `decoded`."""
    return decoded(copy.deepcopy(source))


def decoded(read: Any) -> Any:
    """What was read of a data set, without a memory of how it was encoded; `read` itself is used up.

    pydicom decodes elements when they are first used, and keeps the bytes of words
    (OW and the like) as they were read; a big-endian source needs both done before it
    can be written in another order (PS3.5, 7.3 and A.3).
    """
    from pydicom.dataset import Dataset

    big = not read.original_encoding[1]
    word_bytes = {"OW": 2, "OF": 4, "OL": 4, "OD": 8, "OV": 8}

    def decode(parent: Any, element: Any) -> None:
        if big and element.VR in word_bytes and isinstance(element.value, bytes):
            words = np.frombuffer(element.value, dtype=f">u{word_bytes[element.VR]}")
            element.value = words.astype(words.dtype.newbyteorder("<")).tobytes()
        elif big and element.VR == "UN":  # nobody knows how to turn these
            del parent[element.tag]

    # Private elements may hold pixel coordinates, whole images or names; nobody need decode them.
    for tag in [t for t in read.keys() if t.is_private]:  # noqa: SIM118 (a Dataset yields elements, and decodes them)
        del read[tag]
    read.walk(decode)
    dataset = Dataset()
    for element in read:
        dataset.add(element)
    return dataset


def strip(dataset: Any) -> None:
    """Remove private attributes and what holds for the source instance alone, in place."""
    dataset.remove_private_tags()
    for name in REMOVED:
        if name in dataset:
            delattr(dataset, name)
    for tag in [t for t in dataset.keys() if t >= FIRST_PIXEL_TAG]:  # noqa: SIM118
        del dataset[tag]


def check_texts(dataset: Any, path: Path, inherited: Any = None) -> None:
    """Refuse text that would be written as other text than was read: it is not in the character set it claims.

    Parameters
    ----------
    dataset : pydicom.Dataset
    path : Path
        For messages.
    inherited : str or list of str, optional
        Specific Character Set of the data set around an item, which holds where it has none.

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
                check_texts(item, path, stated)
        elif element.VR in TEXT_VRS and element.value:
            texts = [element.value] if element.VM == 1 else list(element.value)
            for text in (part for value in texts for part in re.split(r"[\^=]", str(value))):
                if decode_bytes(encode_string(text, encodings), encodings, set()) != text or "\ufffd" in text:
                    raise ImageError(
                        f"{path}: {element.keyword or element.tag} holds text that is not in the file's character set "
                        "and would be changed; mend its SpecificCharacterSet first"
                    )
