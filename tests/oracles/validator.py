"""dciodvfy (dicom3tools): does a file follow the definition of its object?

Real files have errors of their own, which a result inherits with what it keeps. So the
errors of source and result are compared, and only those count that are new.
"""

import re
import tempfile
from pathlib import Path

import pydicom

from . import tools

PROGRAMS = ("dciodvfy", "dcmconv")

ERROR = re.compile(r"Error - (?:<(?P<path>/[^>]*)> - )?(?P<text>.*)")

NOT_AN_ERROR = re.compile(r"Attribute present when condition unsatisfied .* Module=<MRPulseSequence>")
"""What the version of 2022 finds wrong with derived enhanced MR images, and the standard does not.

Every attribute of this module is required of ORIGINAL or MIXED ones and "may be present otherwise" (PS3.3 C.8.13.4).
"""

COPIES = (
    (
        re.compile(
            r"^.*/(?:SourceImageSequence|ReferencedSOPSequence)\(.*/Referenced(SOP\w+UID)\(\w+,\w+\)(\[\d+\])?$"
        ),
        r"/\1\2",
    ),
    (re.compile(r"^/SourceImageEvidenceSequence\(.*/((?:Study|Series)InstanceUID)\(\w+,\w+\)$"), r"/\1"),
    (re.compile(r"^/ContributingEquipmentSequence\(0018,a001\)\[\d+\]/(\w+)\(\w+,\w+\)$"), r"/\1"),
)
"""Attributes that a result repeats because they say where it is from: their paths, and where the source has them.

This is all that is put right before messages are compared. Values in them stay: what a
result keeps it keeps to the letter, and what it sets anew must be without error.
"""


def errors(path: Path) -> set[tuple[str, str]]:
    """Errors of a file: path of the attribute without numbers of tags, and what is wrong."""
    status, said = tools.run("dciodvfy", "-new", path)
    if status not in (0, 1) or not said.strip():
        return {("", f"dciodvfy ended with status {status}")}
    matches = (ERROR.match(line) for line in said.splitlines())
    return {
        (match["path"] or "", match["text"]) for match in matches if match and not NOT_AN_ERROR.match(match["text"])
    }


def source_errors(path: Path) -> set[tuple[str, str]]:
    """Errors of a source; a deflated one, which dciodvfy cannot read, is inflated first."""
    syntax = pydicom.dcmread(path, specific_tags=[], force=True).file_meta.get("TransferSyntaxUID")
    if syntax is None or not syntax.is_deflated:
        return errors(path)
    with tempfile.TemporaryDirectory() as scratch:
        inflated = Path(scratch) / "inflated.dcm"
        status, _ = tools.run("dcmconv", "+te", path, inflated)
        return {("", f"dcmconv ended with status {status}")} if status else errors(inflated)


def new_errors(source: Path, result: Path) -> list[str]:
    """Errors that the result has and its source has not; without values, which may be a patient's."""
    known = {(_plain(path), text) for path, text in source_errors(source)}
    found = []
    for path, text in sorted(errors(result)):
        origins = [re.sub(pattern, to, path) for pattern, to in COPIES if pattern.match(path)]
        if not {(_plain(place), text) for place in (path, *origins)} & known:
            found.append(f"{_plain(path)}: {re.sub('<[^>]*>?', '<...>', text)}")
    return found


def _plain(path: str) -> str:
    return re.sub(r"\([0-9a-f]{4},[0-9a-f]{4}\)", "", path)
