"""Secrets planted in DICOM files, one for each kind of value and place, and the search for them."""

import re
from collections.abc import Iterable

from pydicom.dataset import Dataset

PLANTED = {
    "StationAETitle": "ZQAETITLE",
    "PatientAge": "093Y",
    "PatientSex": "ZQSEX",
    "PatientBirthDate": "19370214",
    "PatientWeight": "7261.935",
    "AcquisitionDateTime": "19370215040506",
    "ReferencedFrameNumber": "73519264",
    "PatientID": "ZQ-4711",
    "PatientComments": "Zqcomment",
    "PatientName": "Zqfamily^Zqgiven",
    "AccessionNumber": "ZQACCESS",
    "InstitutionAddress": "Zqstreet 4711",
    "PatientBirthTime": "040507.1937",
    "LongCodeValue": "Zqunlimited",
    "InstanceCreatorUID": "1.2.826.0.73519",
    "RetrieveURI": "https://zqhost.example/zqpath",
    "TextValue": "Zqtext",
}
"""Attributes of every value representation that is text (PS3.5, 6.2), and what a made file says there."""

_VRS = {
    "AE": "ZQPRIVAE",
    "AS": "094Y",
    "CS": "ZQPRIVCS",
    "DA": "19370216",
    "DS": "7261.936",
    "DT": "19370217040506",
    "IS": "73519265",
    "LO": "Zqprivlo",
    "LT": "Zqprivlt",
    "PN": "Zqprivpn",
    "SH": "Zqprivsh",
    "ST": "Zqprivst",
    "TM": "040508.1937",
    "UC": "Zqprivuc",
    "UI": "1.2.826.0.73520",
    "UR": "https://zqpriv.example",
    "UT": "Zqprivut",
    "OB": b"Zqprivob",
    "UN": b"Zqprivun",
}
"""Private elements of every such representation, and of two that may hold text."""

CREATOR = "ZQCREATOR"

PRIVATE = frozenset(
    {CREATOR, *(value.decode() if isinstance(value, bytes) else value for value in _VRS.values())}
    | {f"{value}N" for value in ("ZQPRIVCS", "Zqprivlo", "Zqprivpn")}
)
"""What stands in private elements alone, which no result may hold."""

SECRETS = (
    frozenset({part for value in PLANTED.values() for part in (value, *value.split("^"))} | PRIVATE)
    | {f"{value}N" for value in ("ZQ-4711", "Zqcomment", "ZQACCESS", "Zqtext")}
    | {"Doe^Secret", "Doe", "Secret", "SECRET1", "SECRET-4711", "19500101"}
)
"""All values that are planted, and the parts of names; what `dicom_files` and `attacks` say by themselves, too."""


def plant(dataset: Dataset) -> Dataset:
    """Plant them in a data set, in place: in itself, in private elements and in a sequence in a sequence."""
    for name, value in PLANTED.items():
        setattr(dataset, name, value)
    block = dataset.private_block(0x1011, CREATOR, create=True)
    for number, (vr, value) in enumerate(_VRS.items()):
        block.add_new(number, vr, value)
    inner, outer = Dataset(), Dataset()
    inner.PatientID, inner.PatientComments = "ZQ-4711N", "ZqcommentN"
    inner.AccessionNumber, inner.TextValue = "ZQACCESSN", "ZqtextN"
    private = inner.private_block(0x1013, CREATOR, create=True)
    for number, (vr, value) in enumerate((("CS", "ZQPRIVCSN"), ("LO", "ZqprivloN"), ("PN", "ZqprivpnN"))):
        private.add_new(number, vr, value)
    outer.RequestAttributesSequence = [inner]
    dataset.RequestAttributesSequence = [outer]
    return dataset


def found(text: str, secrets: Iterable[str] = SECRETS) -> set[str]:
    """Those that stand in a text, whatever their case, as whole words."""
    # What stands nowhere in the folded text, in which searching is quick, is no word of it either; dotted and dotless i
    # count as i where case is ignored, but not where it is folded.
    folded = text.translate({0x130: "i", 0x131: "i"}).casefold()
    return {
        secret
        for secret in secrets
        if secret.casefold() in folded
        and re.search(rf"(?<![\w.]){re.escape(secret)}(?![\w.])", text, flags=re.IGNORECASE)
    }
