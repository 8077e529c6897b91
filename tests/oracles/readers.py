"""DCMTK and GDCM: do other readers see the same pixels?

DCMTK has to understand the whole description of uncompressed pixels to code them by run lengths,
one byte of one sample at a time; GDCM has to, to decode them. Neither can make good what
the other mistakes. Of what is compressed already, each decodes what it can: DCMTK run
lengths, GDCM these and JPEG 2000.
"""

from pathlib import Path

import numpy as np
import pydicom
from lightsr.syntaxes import EXPLICIT, J2K_LOSSLESS, RLE

from . import tools

PROGRAMS = ("dcmcrle", "dcmdrle", "gdcmconv")

GDCM = ("GDCM", "gdcmconv", "--raw")

STEPS = {
    EXPLICIT: ((("DCMTK", "dcmcrle"), GDCM),),
    RLE: ((("DCMTK", "dcmdrle"),), (GDCM,)),
    J2K_LOSSLESS: ((GDCM,),),
}
"""For each transfer syntax: by whom, and how, its pixels come out uncompressed."""


def pixels(path: Path) -> np.ndarray:
    """Stored values as pydicom reads them."""
    return pydicom.dcmread(path).pixel_array


def disagreement(path: Path, scratch: Path) -> str:
    """What is wrong with the pixels of a file, seen by others; "" where they agree with pydicom."""
    expected = pixels(path)
    syntax = pydicom.dcmread(path, specific_tags=[]).file_meta.TransferSyntaxUID
    for number, steps in enumerate(STEPS.get(syntax, STEPS[EXPLICIT])):
        seen = path
        for step, (reader, *command) in enumerate(steps):
            made = scratch / f"{number}{step}.dcm"
            made.unlink(missing_ok=True)
            if tools.run(*command, seen, made)[0] or not made.is_file():
                return f"not read by {reader}"
            seen = made
        found = pixels(seen)
        if found.dtype != expected.dtype or not np.array_equal(found, expected):
            return "other pixels"
    return ""
