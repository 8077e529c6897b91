"""Transfer syntaxes of DICOM that can be read (PS3.5, annex A), and what decodes them."""

import dataclasses
import importlib.util
from dataclasses import dataclass


@dataclass(frozen=True)
class TransferSyntax:
    """How a data set and its pixels are encoded.

    Parameters
    ----------
    uid, name : str
    implicit, little : bool
        Value representations left out; byte order.
    codec : str
        What the pixels are compressed with, a key of `DECODERS`, or "".
    lossy : str
        Defined term of Lossy Image Compression Method (PS3.3 C.7.6.1.1.5.1), where values may be lost.
    """

    uid: str
    name: str
    implicit: bool = False
    little: bool = True
    codec: str = ""
    lossy: str = ""


IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"

DEFLATED, RLE = "1.2.840.10008.1.2.1.99", "1.2.840.10008.1.2.5"

_JPEG = "1.2.840.10008.1.2.4."

JPEG_EXTENDED = f"{_JPEG}51"
J2K_LOSSLESS = f"{_JPEG}90"

TRANSFER_SYNTAXES = {
    syntax.uid: syntax
    for syntax in (
        TransferSyntax(IMPLICIT, "Implicit VR Little Endian", implicit=True),
        TransferSyntax(EXPLICIT, "Explicit VR Little Endian"),
        TransferSyntax("1.2.840.10008.1.2.2", "Explicit VR Big Endian", little=False),
        TransferSyntax(DEFLATED, "Deflated Explicit VR Little Endian"),
        TransferSyntax(RLE, "RLE Lossless", codec="RLE"),
        TransferSyntax(f"{_JPEG}50", "JPEG Baseline", codec="JPEG", lossy="ISO_10918_1"),
        TransferSyntax(JPEG_EXTENDED, "JPEG Extended", codec="JPEG", lossy="ISO_10918_1"),
        TransferSyntax(f"{_JPEG}57", "JPEG Lossless", codec="JPEG lossless"),
        TransferSyntax(f"{_JPEG}70", "JPEG Lossless, First-Order Prediction", codec="JPEG lossless"),
        TransferSyntax(f"{_JPEG}80", "JPEG-LS Lossless", codec="JPEG-LS"),
        TransferSyntax(f"{_JPEG}81", "JPEG-LS Near-Lossless", codec="JPEG-LS", lossy="ISO_14495_1"),
        TransferSyntax(J2K_LOSSLESS, "JPEG 2000 Lossless", codec="J2K"),
        TransferSyntax(f"{_JPEG}91", "JPEG 2000", codec="J2K", lossy="ISO_15444_1"),
        TransferSyntax(f"{_JPEG}201", "HTJ2K Lossless", codec="HTJ2K"),
        TransferSyntax(f"{_JPEG}202", "HTJ2K Lossless RPCL", codec="HTJ2K"),
        TransferSyntax(f"{_JPEG}203", "HTJ2K", codec="HTJ2K", lossy="ISO_15444_15"),
    )
}
"""Transfer syntaxes that can be read."""

ALLOWED = "uncompressed, deflated, RLE, JPEG, JPEG-LS, JPEG 2000 and HTJ2K are allowed"

DECODERS = {
    "RLE": ("", ""),
    "JPEG": ("PIL", "pillow"),
    "J2K": ("PIL", "pillow"),
    "JPEG-LS": ("jpeg_ls", "pyjpegls"),
    "HTJ2K": ("openjpeg", "pylibjpeg-openjpeg"),
    "JPEG lossless": ("gdcm", "python-gdcm"),
    "JPEG of 12 bits": ("gdcm", "python-gdcm"),
}
"""For each codec the one package that decodes it, and what pip installs it by; RLE needs none.

One each, so that a result does not depend on what else is installed. Pillow decodes JPEG
2000 because its OpenJPEG is newer than that of pylibjpeg-openjpeg, which alone has HTJ2K.
"""


def of_bits(syntax: TransferSyntax, stored: int) -> TransferSyntax:
    """`syntax` with the codec that reads values of `stored` bits; of more than 8, JPEG Extended takes another."""
    longer = syntax.uid == JPEG_EXTENDED and stored > 8
    return dataclasses.replace(syntax, codec="JPEG of 12 bits") if longer else syntax


def missing_decoder(syntax: TransferSyntax) -> str:
    """What pip would have to install for `syntax`, or ""."""
    module, installed_by = DECODERS.get(syntax.codec, ("", ""))
    return installed_by if module and importlib.util.find_spec(module) is None else ""


def name_of(uid: str) -> str:
    """What the standard calls a transfer syntax, be it in the table or not."""
    from pydicom.uid import UID  # a table of names; nothing of the file is parsed

    known = UID(uid)
    return str(known.name) if known.name != uid and known.is_transfer_syntax else "that is not known"
