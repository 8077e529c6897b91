"""DCMTK and GDCM: do other readers see the same pixels?

DCMTK has to understand the whole description of the pixels to code them by run lengths,
one byte of one sample at a time; GDCM has to, to decode them. Neither can make good what
the other mistakes.
"""

from pathlib import Path

import numpy as np
import pydicom

from . import tools

PROGRAMS = ("dcmcrle", "gdcmconv")


def pixels(path: Path) -> np.ndarray:
    """Stored values as pydicom reads them."""
    return pydicom.dcmread(path).pixel_array


def disagreement(path: Path, scratch: Path) -> str:
    """What is wrong with the pixels of a file, seen by others; "" where they agree with pydicom."""
    expected = pixels(path)
    coded, decoded = scratch / "coded.dcm", scratch / "decoded.dcm"
    coded.unlink(missing_ok=True)
    decoded.unlink(missing_ok=True)
    if tools.run("dcmcrle", path, coded)[0] or not coded.is_file():
        return "not read by DCMTK"
    if tools.run("gdcmconv", "--raw", coded, decoded)[0] or not decoded.is_file():
        return "not read by GDCM"
    seen = pixels(decoded)
    return "" if seen.dtype == expected.dtype and np.array_equal(seen, expected) else "other pixels"
