"""DICOM in: frames of stored values, each read when it is asked for.

Whatever would have to be guessed is refused. Messages hold technical values only,
never what an attribute says about a patient; pydicom's own warnings and errors quote
values and are therefore never passed on.
"""

import collections
import contextlib
import hashlib
import logging
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from lightsr import functional_groups, gate, kinds, regions
from lightsr.colour import palette, rgb_from_palette, rgb_from_ybr
from lightsr.errors import ImageError
from lightsr.gate import Contents
from lightsr.image import Frames, Image, Photometric
from lightsr.native import Native
from lightsr.options import DEFAULTS, DicomOptions
from lightsr.pixels import GREY, PixelDescription, UnusedBits, described, number, values_of
from lightsr.regions import Region
from lightsr.syntaxes import DEFLATED

if TYPE_CHECKING:
    from lightsr.decoder import Decoder

DECIDING_TAGS = (
    *("SOPClassUID", "Modality", "NumberOfFrames", "ImageType", "PresentationIntentType", "ModalityLUTSequence"),
    *("ManufacturerModelName", "ContributingEquipmentSequence", "MaskSubtractionSequence"),
    *kinds.FUNCTIONAL_GROUPS,
    *("Rows", "Columns", "SamplesPerPixel", "PhotometricInterpretation", "PlanarConfiguration"),
    *("BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation"),
)
"""Attributes that say whether a file is read at all, and how many bytes its pixels take (PS3.3 C.7.6.3)."""

PYDICOM_BYTES = 16 * 2**20
"""Memory that pydicom takes, with a header."""


@contextlib.contextmanager
def opened(path: Path, *, options: DicomOptions = DEFAULTS, room: int | None = None) -> Iterator[Frames]:
    """Open a DICOM file.

    Parameters
    ----------
    path : Path
        CT, MR, CR, DX or MG of one frame; US, XA, secondary capture, enhanced CT or MR of one or many.
        Grey of 8 to 16 bits, colour of 8, or a palette; compressed where a decoder is installed.
    options : DicomOptions
        What else may be read.
    room : int, optional
        Bytes of memory for a deflated file, which is opened in memory.

    Yields
    ------
    Frames
        Of stored values as uint8, int8, uint16 or int16, colour as RGB. A frame's value
        range is that of its values that are no padding. `header` is the pydicom data set without its
        pixels.

    Raises
    ------
    ImageError
        Anything else, damaged, or not understood; also when a frame is read.
    """
    with contextlib.ExitStack() as stack:
        with _told_as_image_errors(path):
            contents = stack.enter_context(gate.opened(path, force=options.force_read, room=room))
            frames = _frames(contents, stack, options)
        yield frames


def read(path: Path) -> Image:
    """Read a DICOM file of one frame; see `opened`."""
    with opened(path) as frames:
        return frames.only()


@contextlib.contextmanager
def _told_as_image_errors(path: Path) -> Iterator[None]:
    """Turn whatever a damaged file makes pydicom raise into one line that quotes no value."""
    try:
        with silenced():
            yield
    except ImageError:
        raise
    except OSError as error:
        raise ImageError(f"{path}: cannot be read: {error.strerror or type(error).__name__}") from error
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


def _frames(contents: Contents, stack: contextlib.ExitStack, options: DicomOptions) -> Frames:
    import pydicom
    from pydicom.filereader import read_file_meta_info

    path = contents.path
    deciding = pydicom.dcmread(contents.header_stream(), stop_before_pixels=True, specific_tags=list(DECIDING_TAGS))
    # pydicom also reads file meta information that breaks the rules, and goes by what it finds there.
    meta = deciding.file_meta if contents.bare else read_file_meta_info(path)
    inflated = contents.bare and contents.syntax.uid == DEFLATED  # of which it sees the gate's alone
    if not inflated and contents.syntax.uid != str(meta.get("TransferSyntaxUID", "")):
        raise ImageError(f"{path}: its file meta information can be read in two ways; nothing was read from it")
    grouped = contents.frame_groups is not None
    kind = kinds.check(deciding, path, grouped=grouped, mammography=options.allow_mammography)
    if contents.pixels is None:
        raise ImageError(f"{path}: has no pixels, or ends before them")
    header = pydicom.dcmread(contents.header_stream(), stop_before_pixels=True)
    header.buffer = None  # of an inflated file: the whole content, which copies of the header would copy
    description = described(header, path)
    words: Native | Decoder
    ratio, held_bytes = None, PYDICOM_BYTES + contents.inflated_bytes
    if not contents.syntax.codec:
        words = Native.of(contents, contents.pixels, description)
    else:
        if contents.pixels.length is not None:
            raise ImageError(f"{path}: {contents.syntax.name} pixels that are not in items; it is damaged")
        from lightsr import decoder, fragments  # a process of its own: not for uncompressed pixels

        parts = fragments.by_frame(contents.pixels.fragments, description.frames, header, contents.stream, path)
        words = stack.enter_context(decoder.started(contents.stream, parts, contents.syntax, description, path))
        stored = [sum(length for _, length in frame) for frame in parts]
        if contents.syntax.lossy:
            ratio = description.frames * description.frame_bytes / max(sum(stored), 1)
        held_bytes += decoder.held_bytes(description, max(stored))
    groups, little = None, contents.syntax.little
    if kind in kinds.ENHANCED:
        element, stream = contents.frame_groups, contents.stream
        groups = functional_groups.of(header, element, stream, path, kind=kind, little=little)
    size = (description.rows, description.columns)
    try:
        located = regions.of(header, size)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from error
    make = _Maker(path, header, kind, description, words, located, groups, little=little)
    return Frames(
        path,
        description.frames,
        size,
        make.photometric,
        make,
        header=header,
        lossy_ratio=ratio,
        groups=groups,
        one_scale=groups is None or groups.one_scale,
        band=make.band if isinstance(words, Native) else None,
        dtype=description.dtype if make.photometric != "RGB" else np.dtype(np.uint8),
        padding_range=make.padding_range,
        regions=located,
        held_bytes=held_bytes,
    )


class _Maker:
    """Makes the `Image` of a frame.

    Parameters
    ----------
    path : Path
    header : pydicom.Dataset
    kind : str
    description : PixelDescription
    words : Native or Decoder
        Gives the words of a frame by its number, counted from 0.
    located : tuple of Region
        Of an ultrasound picture, the same in every frame (PS3.3 C.8.5.5).
    groups : FunctionalGroups or None
        Of an enhanced image; what they say of a frame is then the header of its `Image`.
    little : bool
        Byte order of the header.
    """

    def __init__(
        self,
        path: Path,
        header: Any,
        kind: str,
        description: PixelDescription,
        words: "Native | Decoder",
        located: tuple[Region, ...],
        groups: functional_groups.FunctionalGroups | None,
        *,
        little: bool,
    ) -> None:
        self.path, self.header, self.description, self.words = path, header, description, words
        self.regions, self.groups = located, groups
        self._bits: dict[int, UnusedBits] = collections.defaultdict(UnusedBits)
        self.modality = str(header.get("Modality", "")) or kind
        self.subject = _subject(header)
        grey = description.photometric in GREY
        self.photometric = cast(Photometric, description.photometric) if grey else "RGB"
        self.padding_range = _padding_range(header, description.dtype, path) if grey else None
        self.palette = palette(header, path, little=little) if description.photometric == "PALETTE COLOR" else None

    def __call__(self, index: int) -> Image:
        """Image of the frame `index`, counted from 0."""
        with _told_as_image_errors(self.path):
            values = values_of(self.words(index), self.description, self.path)
            header = self.header if self.groups is None else self.groups.flat(index)
            return self._image(self._coloured(values), header)

    def band(self, index: int, top: int, bottom: int) -> NDArray[Any]:
        """Stored values of the rows [top, bottom) of a frame, of a file whose rows can be read by themselves."""
        assert isinstance(self.words, Native)
        with _told_as_image_errors(self.path):
            words, rows = self.words.rows(index, top, bottom), replace(self.description, rows=bottom - top)
            return self._coloured(values_of(words, rows, self.path, self._bits[index]))

    def _coloured(self, values: NDArray[Any]) -> NDArray[Any]:
        """Stored values of grey, colours as RGB; J2K's own colours are RGB already."""
        if self.palette is not None:
            return rgb_from_palette(values, *self.palette)
        return rgb_from_ybr(values) if self.description.photometric in ("YBR_FULL", "YBR_FULL_422") else values

    def _image(self, pixels: NDArray[Any], header: Any) -> Image:
        padding = None
        if self.padding_range:
            padding = (pixels >= self.padding_range[0]) & (pixels <= self.padding_range[1])
        if pixels.ndim == 3:
            value_range = (0, 255)
        else:
            real = pixels if padding is None else pixels[~padding]
            if not real.size:
                if self.description.frames == 1:
                    raise ImageError(f"{self.path}: every pixel is padding; nothing can be enlarged")
                real = pixels  # one frame among others, which `lightsr.enlarging` leaves blank
            value_range = (int(real.min()), int(real.max()))
        return Image(
            pixels,
            value_range,
            self.photometric,
            self.path,
            padding=padding if padding is not None and padding.any() else None,
            padding_range=self.padding_range,
            modality=self.modality,
            subject=self.subject,
            regions=self.regions,
            header=header,
        )


def _padding_range(header: Any, dtype: np.dtype[Any], path: Path) -> tuple[int, int] | None:
    """Values between Pixel Padding Value and Pixel Padding Range Limit (PS3.3 C.7.5.1.1.2)."""
    if header.get("PixelPaddingValue") is None:
        return None
    value = _in_type(number(header, "PixelPaddingValue", path), dtype)
    limit = value
    if header.get("PixelPaddingRangeLimit") is not None:
        limit = _in_type(number(header, "PixelPaddingRangeLimit", path), dtype)
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
