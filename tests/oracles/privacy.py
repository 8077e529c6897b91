"""What a file says about a person, and whether any of it was said aloud."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightsr
import pydicom

ATTRIBUTES = (
    *(
        "PatientName",
        "PatientID",
        "IssuerOfPatientID",
        "PatientBirthDate",
        "PatientBirthName",
        "PatientMotherBirthName",
    ),
    *("OtherPatientIDs", "OtherPatientNames", "PatientAddress", "PatientTelephoneNumbers", "MilitaryRank"),
    *("AccessionNumber", "StudyID", "StudyDescription", "StudyDate", "AdmissionID", "PatientComments", "EthnicGroup"),
    *("ReferringPhysicianName", "PerformingPhysicianName", "NameOfPhysiciansReadingStudy", "OperatorsName"),
    *("PhysiciansOfRecord", "RequestingPhysician", "ResponsiblePerson", "AdditionalPatientHistory", "Occupation"),
    *("InstitutionName", "InstitutionAddress", "InstitutionalDepartmentName", "StationName", "DeviceSerialNumber"),
    *("StudyInstanceUID", "SeriesInstanceUID", "SOPInstanceUID", "FrameOfReferenceUID", "ProtocolName"),
)
"""Attributes that name a person, or point to one (PS3.15, E.1, names most of them)."""

MIN_CHARACTERS = 4
"""Shorter values are found by chance."""


def values(path: Path) -> set[str]:
    """Values of `ATTRIBUTES` at any depth of a file, and the parts of names."""
    try:
        dataset = pydicom.dcmread(path, stop_before_pixels=True, force=True)
        return {value for value in _values(dataset) if len(value) >= MIN_CHARACTERS}
    except Exception:  # what pydicom cannot read at all has no value that lightsr could have read with it
        return set()


def _values(dataset: Any) -> set[str]:
    found: set[str] = set()
    for element in dataset:
        if element.VR == "SQ":
            for item in element.value or []:
                found |= _values(item)
        elif element.keyword in ATTRIBUTES and element.value:
            texts = [element.value] if element.VM == 1 else list(element.value)
            for text in map(str, texts):
                found |= {part.strip() for part in (text, *re.split(r"[\^=]", text))}
    return found


def own_words() -> set[str]:
    """Words that lightsr's modules hold: a patient called Unknown has no monopoly of "an unknown SOP class"."""
    folder = Path(lightsr.__file__).parent
    return {word for path in folder.glob("*.py") for word in re.findall(r"\w+", path.read_text().casefold())}


def leaks(text: str, secrets: Iterable[str]) -> int:
    """How many of the values stand in a text, as whole words."""
    candidates = {secret.casefold() for secret in secrets}
    found = {secret for secret in candidates if re.search(rf"(?<!\w){re.escape(secret)}(?!\w)", text.casefold())}
    return len(found - own_words() if found else found)


@dataclass(frozen=True)
class Said:
    """All that was said about files whose names the user knows.

    Parameters
    ----------
    lines : tuple of str
    files : dict of Path to set of str
        Sources with their values.
    targets : dict of Path to Path
        Results with their sources.
    """

    lines: tuple[str, ...]
    files: dict[Path, set[str]]
    targets: dict[Path, Path]

    def leaks(self) -> int:
        """How many values were said.

        A line about a file is searched for the values of that file, any other line for
        all: "First" is somebody's name and a word in the name of a transfer syntax.
        """
        everything = set().union(*self.files.values())
        owners = {str(path): path for path in self.files} | {str(path): source for path, source in self.targets.items()}
        names = sorted(owners, key=len, reverse=True)
        count = 0
        for line in self.lines:
            about = [name for name in names if name in line]
            for name in about:
                line = line.replace(name, "")
            count += leaks(line, self.files[owners[about[0]]] if about else everything)
        return count
