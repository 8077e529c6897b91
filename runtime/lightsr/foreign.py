"""Formats that people have and that are not read: what a file is, and how to go on."""

from lightsr.signatures import GZIP_MAGIC

NIFTI = "convert it to NIfTI (3D Slicer, SimpleITK)"
PNG = "convert it to PNG"
UNPACK = "unpack it, and give the file or folder"

FORMATS: tuple[tuple[dict[int, bytes], str, str], ...] = (
    ({0: b"PK\x03\x04"}, "a ZIP archive (so are .npz, .docx and .pt)", f"{UNPACK}; of arrays an .npy is read"),
    ({257: b"ustar"}, "a tar archive", UNPACK),
    ({0: b"7z\xbc\xaf\x27\x1c"}, "a 7z archive", UNPACK),
    ({0: b"Rar!\x1a\x07"}, "a RAR archive", UNPACK),
    ({0: GZIP_MAGIC}, "a gzip file without a NIfTI inside", UNPACK),
    ({0: b"NRRD00"}, "an NRRD", NIFTI),
    ({0: b"ObjectType"}, "a MetaImage (.mha, .mhd)", NIFTI),
    ({0: b"NDims"}, "a MetaImage (.mha, .mhd)", NIFTI),
    ({0: b"\x89HDF\r\n\x1a\n"}, "an HDF5 file (.h5, MINC 2, new .mat)", f"{NIFTI}, or save its arrays as .npy"),
    ({0: b"CDF\x01"}, "a NetCDF file (MINC 1)", NIFTI),
    ({0: b"MATLAB 5.0 MAT-file"}, "a MATLAB file", "save its arrays as .npy (scipy.io, numpy)"),
    ({0: b"\x5c\x01\0\0"}, "an Analyze header", NIFTI),
    ({0: b"\0\0\x01\x5c"}, "an Analyze header", NIFTI),
    ({0: b"\0\0\0\x0cjP  \r\n\x87\n"}, "a JPEG 2000 file", f"{PNG}; inside DICOM it is read"),
    ({0: b"\xff\x4f\xff\x51"}, "a JPEG 2000 codestream", f"{PNG}; inside DICOM it is read"),
    ({0: b"GIF8"}, "a GIF", PNG),
    ({0: b"RIFF", 8: b"WEBP"}, "a WebP", PNG),
    ({0: b"BM", 6: b"\0\0\0\0"}, "a BMP", PNG),
    ({0: b"%PDF-"}, "a PDF", "give the pictures themselves; a report needs no enlarging"),
)
"""Which bytes stand where in a file, what it is then, and what to do."""


OF_THE_REST = "convert it, or leave it out with --glob"
"""What to do with any other file."""


def named(head: bytes) -> tuple[str, str]:
    """What a file is called, "" where nobody knows, and what to do with it.

    Parameters
    ----------
    head : bytes
        First bytes of a file that is of no format that is read.

    >>> named(b"NRRD0005")
    ('an NRRD', 'convert it to NIfTI (3D Slicer, SimpleITK)')
    """
    for marks, name, cure in FORMATS:
        if all(head.startswith(mark, place) for place, mark in marks.items()):
            return name, cure
    return "", OF_THE_REST
