"""DICOM in: single-frame images with uncompressed pixels, as stored values.

Whatever would have to be guessed is refused. Messages hold technical values only,
never what an attribute says about a patient; pydicom's own warnings and errors quote
values and are therefore never passed on.
"""

import contextlib
import hashlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast, get_args

import numpy as np
from numpy.typing import NDArray

from lightsr.errors import ImageError
from lightsr.image import Image, Photometric

PREAMBLE_BYTES = 128
"""Free bytes before the letters DICM (PS3.10, 7.1)."""

MAX_META_BYTES = 65_536
"""Longest file meta information that is searched for the transfer syntax."""

MAX_PIXELS = 100_000_000
"""Pixels above which an image is refused."""

TRANSFER_SYNTAXES = {
    "1.2.840.10008.1.2": "Implicit VR Little Endian",
    "1.2.840.10008.1.2.1": "Explicit VR Little Endian",
    "1.2.840.10008.1.2.2": "Explicit VR Big Endian",
}
"""Uncompressed transfer syntaxes (PS3.5, A.1 to A.3)."""

SOP_CLASSES = {
    "1.2.840.10008.5.1.4.1.1.1": "CR",
    "1.2.840.10008.5.1.4.1.1.1.1": "DX",
    "1.2.840.10008.5.1.4.1.1.2": "CT",
    "1.2.840.10008.5.1.4.1.1.4": "MR",
    "1.2.840.10008.5.1.4.1.1.6": "US",
    "1.2.840.10008.5.1.4.1.1.6.1": "US",
    "1.2.840.10008.5.1.4.1.1.7": "SC",
}
"""Single-frame image storage classes that are understood (PS3.4, B.5), and what they are called."""

REFUSED_IMAGE_TYPES = {
    "CT": {
        "LOCALIZER": "a localizer",
        "MAT_SPECIFIC": "a multi-energy map",
        "MAT_REMOVED": "a multi-energy map",
        "MAT_FRACTIONAL": "a multi-energy map",
        "MAT_VALUE_BASED": "a multi-energy map",
        "EFF_ATOMIC_NUM": "a multi-energy map",
        "ELECTRON_DENSITY": "a multi-energy map",
    },
    "MR": dict.fromkeys(
        (
            *(
                "R",
                "REAL",
                "I",
                "IMAGINARY",
                "P",
                "PHASE",
                "PHASE MAP",
                "PHASE_MAP",
                "VELOCITY",
                "VELOCITY MAP",
                "VELOCITY_MAP",
            ),
            *("T1 MAP", "T1_MAP", "T2 MAP", "T2_MAP", "T2_STAR_MAP", "R2_MAP", "R2_STAR_MAP", "B0 MAP"),
            *("DIFFUSION MAP", "DIFFUSION_MAP", "ADC", "ADC_MAP", "FA", "FA_MAP"),
        ),
        "a phase, complex or quantitative map",
    ),
}
"""Image Type values whose pixels are no picture to be made sharper (PS3.3 C.8.2.1.1.1, C.8.3.1.1.1)."""

OWN_MODEL_NAME = "lightsr"
"""Manufacturer's Model Name by which our own results are recognised."""

DECIDING_TAGS = (
    *("SOPClassUID", "NumberOfFrames", "ImageType", "PresentationIntentType", "ModalityLUTSequence"),
    *("ManufacturerModelName", "ContributingEquipmentSequence", "FloatPixelData", "DoubleFloatPixelData"),
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
)
"""Attributes that say whether a file is read at all, and how many bytes its pixels take (PS3.3 C.7.6.3)."""

MAX_OTHER_BYTES = 64 * 2**20
"""Length of everything beside the pixels above which a file is refused."""

_LONG_LENGTH_VRS = frozenset(
    {b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"}
)


def is_dicom(head: bytes) -> bool:
    """Whether a file that begins with `head` (at least 132 bytes) is DICOM (PS3.10, 7.1)."""
    return head[PREAMBLE_BYTES : PREAMBLE_BYTES + 4] == b"DICM"


def transfer_syntax(path: Path) -> str:
    """Transfer syntax UID from the file meta information, read without pydicom.

    pydicom inflates a deflated data set without bound while it opens the file; this
    looks first.

    Raises
    ------
    ImageError
        No file meta information, none that says the transfer syntax, or one that says it twice.
    """
    with path.open("rb") as file:
        content = file.read(PREAMBLE_BYTES + 4 + MAX_META_BYTES)
    position, found = PREAMBLE_BYTES + 4, []
    while position + 8 <= len(content) and content[position : position + 2] == b"\x02\x00":
        element, vr = content[position + 2 : position + 4], content[position + 4 : position + 6]
        wide = vr in _LONG_LENGTH_VRS
        start = position + (12 if wide else 8)
        length = int.from_bytes(content[start - (4 if wide else 2) : start], "little")
        if element == b"\x10\x00":
            found.append(content[start : start + min(length, 64)].rstrip(b"\0 ").decode("ascii", "replace"))
        position = start + length
    if position > len(content):
        raise ImageError(f"{path}: file meta information that is damaged or too long; nothing was read from it")
    if len(found) > 1:  # readers differ in which one they believe
        raise ImageError(f"{path}: DICOM with {len(found)} transfer syntaxes; exactly one is allowed")
    if not found:
        raise ImageError(f"{path}: DICOM without a transfer syntax in its file meta information; nothing was read")
    return found[0]


def _syntax_for_pydicom(path: Path) -> str:
    """Transfer syntax that pydicom goes by: it also reads file meta information that breaks the rules."""
    from pydicom.filereader import read_file_meta_info

    return str(read_file_meta_info(path).get("TransferSyntaxUID", ""))


def read(path: Path) -> Image:
    """Read a DICOM file.

    Parameters
    ----------
    path : Path
        CT, MR, CR, DX, US or secondary capture of one frame; MONOCHROME1 or 2 of 8 to
        16 bits, or RGB of 8; uncompressed.

    Returns
    -------
    Image
        Stored values as uint8, uint16 or int16. The value range is that of the values
        that are no padding. `header` is the pydicom data set without its pixels.

    Raises
    ------
    ImageError
        Anything else, damaged, or not understood.
    """
    syntax = transfer_syntax(path)
    try:
        with silenced():
            if syntax != _syntax_for_pydicom(path):
                raise ImageError(f"{path}: its file meta information can be read in two ways; nothing was read from it")
            if syntax not in TRANSFER_SYNTAXES:
                raise ImageError(
                    f"{path}: transfer syntax {_syntax_name(syntax)}; uncompressed pixels are allowed "
                    f"({', '.join(TRANSFER_SYNTAXES.values())}); decompress it first"
                )
            return _read(path)
    except ImageError:
        raise
    except RecursionError as error:
        raise ImageError(f"{path}: its sequences are nested too deeply; nothing was read from it") from error
    except MemoryError as error:
        raise ImageError(f"{path}: says that it is larger than this machine's memory") from error
    except Exception as error:  # pydicom raises many kinds on damaged files, and their texts quote values
        raise ImageError(f"{path}: damaged DICOM ({type(error).__name__}); nothing was read from it") from error


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Keep pydicom's warnings and log messages, which quote values, from whoever listens."""
    logger = logging.getLogger("pydicom")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _syntax_name(uid: str) -> str:
    from pydicom.uid import UID

    known = UID(uid)
    return str(known.name) if known.name != uid and known.is_transfer_syntax else "that is not known"


def _read(path: Path) -> Image:
    import pydicom

    deciding = pydicom.dcmread(path, stop_before_pixels=True, specific_tags=list(DECIDING_TAGS))
    kind = _check_kind(deciding, path)
    shape, dtype, photometric = _check_pixel_description(deciding, path)
    _check_size(path, int(np.prod(shape)) * dtype.itemsize)
    header = pydicom.dcmread(path, stop_before_pixels=True)
    pixels = _stored_values(pydicom.dcmread(path), path, shape, dtype, _number(header, "BitsStored", path))
    padding, padding_range = None, _padding_range(header, dtype, path) if photometric != "RGB" else None
    if padding_range:
        padding = (pixels >= padding_range[0]) & (pixels <= padding_range[1])
    if photometric == "RGB":
        value_range = (0, 255)
    else:
        real = pixels if padding is None else pixels[~padding]
        if not real.size:
            raise ImageError(f"{path}: every pixel is padding; nothing can be enlarged")
        value_range = (int(real.min()), int(real.max()))
    return Image(
        pixels,
        value_range,
        photometric,
        path,
        padding=padding if padding is not None and padding.any() else None,
        padding_range=padding_range,
        modality=str(header.get("Modality", "")) or kind,
        subject=_subject(header),
        header=header,
    )


def _check_size(path: Path, needed: int) -> None:
    """Refuse a file much longer than the `needed` bytes of its pixels before it is read whole."""
    length = path.stat().st_size
    if length > needed + MAX_OTHER_BYTES:
        raise ImageError(
            f"{path}: {length // 2**20} MiB for {needed // 2**20} MiB of pixels; "
            f"at most {MAX_OTHER_BYTES // 2**20} MiB beside them are allowed"
        )


def _check_kind(header: Any, path: Path) -> str:
    """Refuse what is no picture of the kinds that are understood; returns the kind's name."""
    uid = str(header.get("SOPClassUID", ""))
    if uid not in SOP_CLASSES:
        from pydicom.uid import UID

        name = UID(uid).name if uid else ""
        found = f"'{name}'" if name and name != uid else "an unknown SOP class"
        allowed = ", ".join(dict.fromkeys(SOP_CLASSES.values()))
        raise ImageError(f"{path}: {found}; single-frame {allowed} images are allowed")
    kind = SOP_CLASSES[uid]
    frames = header.get("NumberOfFrames")
    if frames not in (None, "", 1):
        raise ImageError(f"{path}: several frames; one frame is allowed")
    types = [str(value).upper() for value in _values(header, "ImageType")]
    for value in types:
        if value in REFUSED_IMAGE_TYPES.get(kind, {}):
            what = REFUSED_IMAGE_TYPES[kind][value]
            raise ImageError(f"{path}: a {kind} image of type {value}, {what}; ordinary images are allowed")
    if str(header.get("PresentationIntentType", "")).upper() == "FOR PROCESSING":
        raise ImageError(f"{path}: an image for processing; FOR PRESENTATION is allowed")
    if header.get("ModalityLUTSequence"):
        raise ImageError(f"{path}: has a Modality LUT; a rescale slope and intercept are allowed")
    equipment = [header, *(header.get("ContributingEquipmentSequence") or [])]
    if any(str(item.get("ManufacturerModelName", "")) == OWN_MODEL_NAME for item in equipment):
        raise ImageError(f"{path}: is a result of lightsr already; enlarge the original")
    if "FloatPixelData" in header or "DoubleFloatPixelData" in header:
        raise ImageError(f"{path}: pixels in floating point; integers are allowed")
    return kind


def _check_pixel_description(header: Any, path: Path) -> tuple[tuple[int, ...], np.dtype[Any], Photometric]:
    """Shape, dtype and photometric interpretation that the header promises (PS3.3 C.7.6.3.1)."""
    rows, columns = (_number(header, name, path) for name in ("Rows", "Columns"))
    if rows < 1 or columns < 1 or rows * columns > MAX_PIXELS:
        raise ImageError(
            f"{path}: {columns}x{rows} pixels; at least one and at most {MAX_PIXELS // 1_000_000} million are allowed"
        )
    photometric = str(header.get("PhotometricInterpretation", ""))
    if photometric not in get_args(Photometric):
        raise ImageError(
            f"{path}: photometric interpretation {photometric[:16] or 'missing'}; "
            f"{', '.join(get_args(Photometric))} are allowed"
        )
    samples = _number(header, "SamplesPerPixel", path)
    if samples != (3 if photometric == "RGB" else 1):
        raise ImageError(f"{path}: {samples} samples per pixel with {photometric}")
    allocated, stored, high_bit, signed = (
        _number(header, name, path) for name in ("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation")
    )
    allowed = allocated in (8, 16) and 8 <= stored <= allocated and high_bit == stored - 1 and signed in (0, 1)
    if not allowed or (signed and allocated == 8) or (samples == 3 and (allocated, signed) != (8, 0)):
        raise ImageError(
            f"{path}: {stored} of {allocated} bits, high bit {high_bit}, {'signed' if signed else 'unsigned'}, "
            f"{photometric}; grey of 8 to 16 bits (signed only in 16) and RGB of 8 unsigned bits are allowed"
        )
    dtype = np.dtype({(8, 0): np.uint8, (16, 0): np.uint16, (16, 1): np.int16}[allocated, signed])
    shape = (rows, columns, 3) if samples == 3 else (rows, columns)
    return shape, dtype, cast(Photometric, photometric)


def _stored_values(
    dataset: Any, path: Path, shape: tuple[int, ...], dtype: np.dtype[Any], bits_stored: int
) -> NDArray[Any]:
    """Pixels of an uncompressed data set, checked for their length and their unused bits (PS3.5, 8)."""
    if "PixelData" not in dataset:
        raise ImageError(f"{path}: has no pixels, or ends before them")
    stated = getattr(dataset.get_item("PixelData"), "length", None)  # before pydicom decodes the element
    content: bytes = dataset.PixelData
    needed = int(np.prod(shape)) * dtype.itemsize
    if stated not in (None, len(content)) or len(content) not in (needed, needed + needed % 2):
        raise ImageError(f"{path}: {len(content)} bytes of pixels; its size needs {needed}; it is damaged")
    big = not dataset.original_encoding[1]
    if big and dtype.itemsize == 1 and dataset["PixelData"].VR == "OW":
        raise ImageError(f"{path}: big-endian 8-bit pixels in 16-bit words; little-endian is allowed")
    values = np.frombuffer(content, dtype.newbyteorder(">" if big else "<"), count=needed // dtype.itemsize)
    pixels: NDArray[Any] = values.astype(dtype)
    if len(shape) == 3 and _number(dataset, "PlanarConfiguration", path) == 1:
        pixels = np.ascontiguousarray(pixels.reshape(3, *shape[:2]).transpose(1, 2, 0))
    pixels = pixels.reshape(shape)
    unused = 8 * dtype.itemsize - bits_stored
    if unused:
        extended = (pixels << unused) >> unused  # of a signed type this repeats the sign
        if not np.array_equal(extended, pixels):
            raise ImageError(
                f"{path}: values outside its {bits_stored} stored bits, perhaps an overlay in the unused ones; "
                "values within them are allowed"
            )
    return pixels


def _padding_range(header: Any, dtype: np.dtype[Any], path: Path) -> tuple[int, int] | None:
    """Values between Pixel Padding Value and Pixel Padding Range Limit (PS3.3 C.7.5.1.1.2)."""
    if header.get("PixelPaddingValue") is None:
        return None
    value = _in_type(_number(header, "PixelPaddingValue", path), dtype)
    limit = value
    if header.get("PixelPaddingRangeLimit") is not None:
        limit = _in_type(_number(header, "PixelPaddingRangeLimit", path), dtype)
    return min(value, limit), max(value, limit)


def _in_type(value: int, dtype: np.dtype[Any]) -> int:
    """A padding value that was written with the other signedness, as the pixels' type holds it."""
    limits = np.iinfo(dtype)
    if value > limits.max:
        return value - (limits.max - int(limits.min) + 1)
    return value + (limits.max - int(limits.min) + 1) if value < limits.min else value


def _subject(header: Any) -> str:
    patient = str(header.get("PatientID", "") or "")
    if not patient:
        return ""
    issuer = str(header.get("IssuerOfPatientID", "") or "")
    return hashlib.sha256(f"{issuer}\0{patient}".encode()).hexdigest()[:16]


def _number(dataset: Any, name: str, path: Path) -> int:
    value = dataset.get(name)
    if not isinstance(value, int):
        found = "missing" if value is None else "no single whole number"
        raise ImageError(f"{path}: its {name} is {found}; nothing was read from it")
    return int(value)


def _values(dataset: Any, name: str) -> list[Any]:
    value = dataset.get(name)
    if value is None or value == "":
        return []
    return [value] if isinstance(value, str) else list(value)
