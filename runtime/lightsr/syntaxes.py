"""Transfer syntaxes of DICOM that can be read (PS3.5, annex A)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TransferSyntax:
    """How a data set and its pixels are encoded.

    Parameters
    ----------
    uid, name : str
    implicit, little : bool
        Value representations left out; byte order.
    encapsulated : bool
        Whether the pixels are compressed, in fragments.
    """

    uid: str
    name: str
    implicit: bool = False
    little: bool = True
    encapsulated: bool = False


DEFLATED = "1.2.840.10008.1.2.1.99"

TRANSFER_SYNTAXES = {
    syntax.uid: syntax
    for syntax in (
        TransferSyntax("1.2.840.10008.1.2", "Implicit VR Little Endian", implicit=True),
        TransferSyntax("1.2.840.10008.1.2.1", "Explicit VR Little Endian"),
        TransferSyntax("1.2.840.10008.1.2.2", "Explicit VR Big Endian", little=False),
        TransferSyntax(DEFLATED, "Deflated Explicit VR Little Endian"),
    )
}
"""Transfer syntaxes that can be read."""

ALLOWED = "uncompressed and deflated are allowed"


def name_of(uid: str) -> str:
    """What the standard calls a transfer syntax, be it in the table or not."""
    from pydicom.uid import UID  # a table of names; nothing of the file is parsed

    known = UID(uid)
    return str(known.name) if known.name != uid and known.is_transfer_syntax else "that is not known"
