"""What a user may choose about DICOM files and results."""

import json
from dataclasses import dataclass
from typing import Literal, get_args

Equipment = Literal["lightsr", "keep"]

Compression = Literal["none", "rle", "j2k-lossless"]

MAX_SUFFIX = 64
"""Characters of Series Description (LO; PS3.5, 6.2), which the suffix must fit into."""

MAX_SERIES_OFFSET = 2**31 - 1
"""Largest Series Number (IS; PS3.5, 6.2)."""


@dataclass(frozen=True)
class DicomOptions:
    """Choices of the DICOM reader and writer.

    Parameters
    ----------
    series_offset : int
        Added to Series Number, from 0 to `MAX_SERIES_OFFSET`, so that the derived series
        stands beside its source. A sum that Series Number cannot hold leaves it empty.
    suffix : str, optional
        Stands at the end of Series Description as it is, and is never cut; the source's own
        description is where both do not fit. 1 to 64 printable ASCII characters without a
        backslash, which would part two values. By default " [AI-SR x2]", with the scale.
    equipment : {"lightsr", "keep"}
        Whom General Equipment names (PS3.3 C.7.5.1): what made this image, as the standard
        wants it, or still the scanner, for hanging protocols that go by it. Contributing
        Equipment names both either way.
    as_capture : bool
        Write a secondary capture image; see `lightsr.capture`.
    force_read : bool
        Read data sets without the preamble of a DICOM file, too; see `lightsr.bare`.
    allow_mammography : bool
        Read mammograms for presentation, too.
    compress : {"none", "rle", "j2k-lossless"}
        How the pixels are stored; nothing is lost in any form. A form is no other instance:
        archives change it as they send, and what it says is the same (PS3.3 C.7.6.1.1.2).

    Raises
    ------
    ValueError
        A value is not allowed.
    """

    series_offset: int = 1000
    suffix: str | None = None
    equipment: Equipment = "lightsr"
    as_capture: bool = False
    force_read: bool = False
    allow_mammography: bool = False
    compress: Compression = "none"

    def __post_init__(self) -> None:
        if not 0 <= self.series_offset <= MAX_SERIES_OFFSET:
            raise ValueError(f"series offset {self.series_offset}; 0 to {MAX_SERIES_OFFSET} is allowed")
        if self.suffix is not None:
            text = self.suffix
            if not (text.isascii() and text.isprintable() and text.strip() and "\\" not in text):
                raise ValueError("a suffix is printable ASCII text without a backslash, not spaces alone")
            if len(text) > MAX_SUFFIX:
                raise ValueError(f"a suffix of {len(text)} characters; {MAX_SUFFIX} are allowed")
        if self.equipment not in get_args(Equipment):
            raise ValueError(f"equipment '{self.equipment}'; {' or '.join(get_args(Equipment))} is allowed")
        if self.compress not in get_args(Compression):
            raise ValueError(f"compression '{self.compress}'; {', '.join(get_args(Compression))} are allowed")

    def series_suffix(self, scale: int) -> str:
        """Suffix of Series Description.

        >>> DicomOptions().series_suffix(4)
        ' [AI-SR x4]'
        """
        return f" [AI-SR x{scale}]" if self.suffix is None else self.suffix

    def identity(self, scale: int) -> tuple[str, ...]:
        """Parts of a result's UIDs: every choice that makes another data set of the same pixels.

        Two results that differ in anything but the time must not share a UID (PS3.5, 9), so
        every option that changes one counts, and none where all are as by default.

        >>> DicomOptions().identity(2)
        ()
        >>> DicomOptions(equipment="keep").identity(2)
        ('{"equipment": "keep"}',)
        """
        chosen = {
            "as_capture": self.as_capture,
            "equipment": self.equipment,
            "series_offset": self.series_offset,
            "suffix": self.series_suffix(scale),
        }
        usual = {
            "as_capture": DEFAULTS.as_capture,
            "equipment": DEFAULTS.equipment,
            "series_offset": DEFAULTS.series_offset,
            "suffix": DEFAULTS.series_suffix(scale),
        }
        changed = {name: value for name, value in chosen.items() if value != usual[name]}
        return (json.dumps(changed),) if changed else ()


DEFAULTS = DicomOptions()
"""What is done where nothing is chosen."""
