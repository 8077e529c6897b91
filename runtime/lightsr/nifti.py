"""NIfTI-1 and NIfTI-2 in one file, plain or gzipped: volumes that are enlarged in their plane.

The plane is that of the array's first two axes; everything beyond them is a row of frames. The
first axis runs along the rows of a frame, the second upwards, as viewers of NIfTI show it: the
last line of the array is the frame's first row. A volume that dcm2niix made of a DICOM series is
then seen as its DICOM images are.

References
----------
NIfTI-1 and NIfTI-2 data formats, https://nifti.nimh.nih.gov; field names are theirs.
"""

import contextlib
import gzip
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from lightsr import gzips, stored
from lightsr.errors import ImageError, PackageError
from lightsr.image import Frames, Image
from lightsr.signatures import GZIP_MAGIC, NIFTI_BYTES, nifti_version

MAX_SIDE = {1: 2**15 - 1, 2: 2**31 - 1}
"""Largest size of an axis: dim is of 16 bits in version 1; 31 are far more than memory holds."""

TYPES = {2: "uint8", 256: "int8", 512: "uint16", 4: "int16", 16: "float32"}
"""What is enlarged, by its code in datatype."""

OTHER_TYPES = {1: "1-bit", 8: "int32", 768: "uint32", 64: "float64", 1024: "int64", 1280: "uint64", 128: "RGB24"}

INTENTS = {0: "none", 1001: "estimate", 1011: "dimensionless", 2001: "time series"}
"""Codes in intent_code whose values are intensities; others are labels, statistics or vectors."""

FREE_TEXTS = ("data_type", "db_name", "descrip", "aux_file", "intent_name", "unused_str")
"""Fields in which scanners and converters write what they like, names of patients among it."""

MAX_PIXEL_RATIO = 1.25
"""How much longer than wide voxels may be in a plane across which they are no longer; beyond, slices lie in it."""

OWN_TEXT = b"lightsr "
"""How descrip of a result of ours begins."""

NIBABEL_BYTES = 24 * 2**20
"""Memory that nibabel takes."""

GZIPPED_COPIES = 3
"""Of a slice that is read from inside gzip, which gives no row by itself."""

GZIP_LEVEL = 1
"""Of results: as nibabel writes them; more costs a small device more time than it saves room."""


@dataclass(frozen=True)
class Header:
    """What the writer needs of a source.

    Parameters
    ----------
    fields : nibabel.nifti1.Nifti1Header
        A Nifti2Header in version 2; its extensions are not read.
    version : int
    gzipped : bool
    """

    fields: Any
    version: int
    gzipped: bool

    @property
    def scaling(self) -> tuple[float, float]:
        """Slope and intercept of what stored values mean; a slope of 0 or none says that they mean themselves."""
        slope, intercept = self.fields.get_slope_inter()
        return (1.0, 0.0) if slope is None else (float(slope), float(intercept))


@contextlib.contextmanager
def opened(path: Path, *, options: Any = None, room: int | None = None) -> Iterator[Frames]:
    """Open a NIfTI.

    Parameters
    ----------
    path : Path
        Of two to four dimensions, of a type in `TYPES`, either byte order, plain or gzipped.
    options, room : object
        Of DICOM files; without effect here.

    Yields
    ------
    Frames
        In the order of the file: slices, then times. `header` is a `Header`. Rows of a
        plain file can be read by themselves.

    Raises
    ------
    ImageError
        Anything else, damaged, or not intensities.
    """
    with contextlib.ExitStack() as stack:
        with stored.told_as_image_errors(path, "NIfTI"):
            file = stack.enter_context(path.open("rb"))
            gzipped = file.read(len(GZIP_MAGIC)) == GZIP_MAGIC
            length = stored.length_of(file)
            file.seek(0)
            stream: Any = stack.enter_context(gzip.GzipFile(fileobj=file)) if gzipped else file
            start = gzips.head(file, NIFTI_BYTES[2]) if gzipped else file.read(NIFTI_BYTES[2])
            file.seek(0)
            header = Header(*_fields(start, path), gzipped)
            count, values = _layout(header.fields, header.version, path)
            _check_length(file, values.offset + count * values.frame_bytes, length, gzipped, path)

        def band(frame: int, top: int, bottom: int) -> NDArray[Any]:
            with stored.told_as_image_errors(path, "NIfTI"):
                rows = values.rows(stream, frame, values.size[0] - bottom, values.size[0] - top)[::-1]
            stored.finite(rows, path, where=voxel(header.fields, frame), top=top)
            return rows

        def make(frame: int) -> Image:
            pixels = np.ascontiguousarray(band(frame, 0, values.size[0]))
            return stored.image(pixels, "MONOCHROME2", path, where=voxel(header.fields, frame), header=header)

        yield Frames(
            path,
            count,
            values.size,
            "MONOCHROME2",
            make,
            header=header,
            band=None if gzipped else band,
            dtype=stored.native_type(values.dtype),
            held_bytes=NIBABEL_BYTES + (GZIPPED_COPIES * values.frame_bytes if gzipped else 0),
        )


def voxel(fields: Any, frame: int) -> Callable[[int, int], str]:
    """How pixels of a frame are named: by the array's own indices, counted from 0."""
    sides = [int(side) for side in fields["dim"][1 : int(fields["dim"][0]) + 1]]
    beyond = "".join(f", {int(index)}" for index in np.unravel_index(frame, sides[2:], order="F")) if sides[2:] else ""
    return lambda row, column: f"voxel ({column}, {sides[1] - 1 - row}{beyond})"


def _nibabel(path: Path) -> Any:
    try:
        import nibabel
    except ImportError as error:
        raise PackageError(f"{path}: a NIfTI, which needs nibabel; pip install nibabel") from error
    return nibabel


def _fields(start: bytes, path: Path) -> tuple[Any, int]:
    """Header as nibabel has it, without its checks, which mend silently; and its version."""
    nibabel = _nibabel(path)
    version = nifti_version(start)
    if not version or len(start) < NIFTI_BYTES[version]:
        raise ImageError(f"{path}: a NIfTI header that ends early; nothing was read from it")
    if start[344:347] == b"ni1" or start[4:7] == b"ni2":
        raise ImageError(f"{path}: a NIfTI header without its values, half of a pair; one .nii file is allowed")
    size = NIFTI_BYTES[version]
    order = next((o for o in "<>" if np.frombuffer(start[:4], f"{o}i4")[0] == size), None)
    if order is None:
        raise ImageError(f"{path}: a NIfTI-{version} whose sizeof_hdr is not {size}; it is damaged")
    kind = nibabel.nifti1.Nifti1Header if version == 1 else nibabel.nifti2.Nifti2Header
    return kind(start[:size], endianness=order, check=False), version


def _layout(fields: Any, version: int, path: Path) -> tuple[int, stored.Plain]:
    """Number of frames, and where their values are."""
    rank = int(fields["dim"][0])
    if not 2 <= rank <= 7:
        raise ImageError(f"{path}: a NIfTI of {rank} dimensions; 2 to 4 are allowed")
    sides = [int(side) for side in fields["dim"][1 : rank + 1]]
    if min(sides) < 1:
        raise ImageError(f"{path}: a NIfTI with an axis of {min(sides)} voxels; at least one is needed")
    if max(sides[4:], default=1) > 1:
        raise ImageError(f"{path}: a NIfTI of {rank} dimensions; 2 to 4 are allowed, since a fifth holds vectors")
    code, intent = int(fields["datatype"]), int(fields["intent_code"])
    if code not in TYPES:
        raise ImageError(
            f"{path}: a NIfTI of {OTHER_TYPES.get(code, f'type {code}')} values; {', '.join(TYPES.values())} "
            "are allowed; convert it without losing values first"
        )
    if intent not in INTENTS:
        raise ImageError(
            f"{path}: a NIfTI with intent code {intent}: labels, statistics or vectors, between which nothing lies; "
            f"images of intensities (code {', '.join(map(str, INTENTS))}) are allowed"
        )
    if bytes(fields["descrip"].item()).startswith(OWN_TEXT):
        raise ImageError(f"{path}: is a result of lightsr already; enlarge the original")
    dtype = np.dtype(TYPES[code]).newbyteorder(fields.endianness)
    if int(fields["bitpix"]) != 8 * dtype.itemsize:
        raise ImageError(f"{path}: a NIfTI of {TYPES[code]} with {int(fields['bitpix'])} bits a voxel; it is damaged")
    offset = float(fields["vox_offset"])
    if not offset.is_integer() or not NIFTI_BYTES[version] + 4 <= offset < 2**53:
        raise ImageError(f"{path}: a NIfTI whose vox_offset is not behind its header; it is damaged")
    stored.check_size(sides[1], sides[0], path)
    _check_geometry(fields, path)
    return math.prod(sides[2:]), stored.Plain(path, dtype, (sides[1], sides[0]), 1, int(offset))


def _check_geometry(fields: Any, path: Path) -> None:
    """Refuse what states a position or a scaling that is none: it could not be carried over."""
    slope, intercept = float(fields["scl_slope"]), float(fields["scl_inter"])
    if slope < 0:
        raise ImageError(f"{path}: a NIfTI with an scl_slope below 0, a picture inverted; invert its values first")
    if slope and math.isfinite(slope) and not math.isfinite(intercept):
        raise ImageError(f"{path}: a NIfTI whose scl_inter is no number; mend it first")
    spacing = np.asarray(fields["pixdim"][:4], dtype=float)
    for name, code in (("qform", int(fields["qform_code"])), ("sform", int(fields["sform_code"]))):
        if code < 0:
            raise ImageError(f"{path}: a NIfTI with {name}_code {code}; it is damaged")
    if not np.isfinite(spacing).all() or (spacing[1:3] < 0).any():
        raise ImageError(f"{path}: a NIfTI whose pixdim is no size of voxels; it is damaged")
    across = _slices_along(fields)
    if across in (1, 2):
        raise ImageError(
            f"{path}: a NIfTI whose slices lie along axis {across}, by dim_info or by the size of voxels; the plane of "
            "axes 1 and 2 is enlarged: bring the slices to axis 3 first"
        )
    try:
        affines = [fields.get_qform(coded=True)[0], fields.get_sform(coded=True)[0]]
    except ValueError as error:
        raise ImageError(f"{path}: a NIfTI whose quaternion is no rotation; mend its qform first") from error
    if not all(affine is None or np.isfinite(affine).all() for affine in affines):
        raise ImageError(f"{path}: a NIfTI whose affine holds NaN or infinity; mend it first")


def _slices_along(fields: Any) -> int:
    """Axis, counted from 1, along which slices lie: by dim_info, else by voxels much longer along it than in a plane.

    dcm2niix turns some sagittal volumes so that slices lie along the first axis, and leaves dim_info as it was.
    """
    stated = int(fields["dim_info"]) >> 4 & 3
    if stated in (1, 2) or int(fields["dim"][0]) < 3 or int(fields["dim"][3]) < 2:
        return stated
    spacing = [float(value) for value in fields["pixdim"][1:4]]
    longest, shortest = max(spacing[:2]), min(spacing[:2])
    if longest >= spacing[2] > 0 and longest > MAX_PIXEL_RATIO * shortest > 0:
        return 1 + spacing.index(longest)
    return stated


def _check_length(file: BinaryIO, needed: int, length: int, gzipped: bool, path: Path) -> None:
    """The file must end with its last value. A gzipped one is opened without keeping anything, check sums and all.

    It is opened no further than its header says, so a bomb costs time and no memory.
    """
    early = f"{path}: a NIfTI that ends before its last value; its header and content disagree"
    if gzipped and needed > stored.MAX_INFLATION * length:
        raise ImageError(early)
    if gzipped:
        length = gzips.length(file, needed)
        file.seek(0)
    if length < needed:
        raise ImageError(early)
    if length > needed:
        more = "more" if gzipped else f"{length - needed} bytes"
        raise ImageError(f"{path}: a NIfTI with {more} behind its last value; its header and content disagree")


def write(
    frames: Frames, enlarged: Iterable[NDArray[Any]], *, scale: int, producer: Any, options: Any = None, file: BinaryIO
) -> None:
    """Write the `enlarged` bands of all frames as NIfTI of the source's version, type and byte order, gzipped or not.

    Bands are those of `lightsr.files.Format.write`, of shape (n, scale * w). Kept are units, scaling and
    display range (scl_slope, scl_inter, cal_min, cal_max), codes of position, timing and slice order. Free
    texts and extensions are not: nobody knows what they say about the patient.

    Raises
    ------
    ImageError
        An axis would become longer than the format can say.
    """
    source: Header = frames.header
    rows, columns = (scale * side for side in frames.size)
    if max(rows, columns) > MAX_SIDE[source.version]:
        raise ImageError(
            f"{frames.source}: would become {columns}x{rows}; NIfTI-{source.version} holds at most "
            f"{MAX_SIDE[source.version]:,} a side; choose a smaller --scale"
        )
    fields = derived(source, scale=scale, producer=producer)
    dtype = np.dtype(TYPES[int(fields["datatype"])]).newbyteorder(fields.endianness)
    if not source.gzipped:
        file.write(fields.binaryblock + b"\0" * 4)
        _write_upwards(file, enlarged, rows, dtype)
        return
    # Without name and time.
    with gzip.GzipFile("", "wb", GZIP_LEVEL, file, mtime=0) as stream:
        stream.write(fields.binaryblock + b"\0" * 4)
        for pixels in stored.whole(enlarged, rows):
            stream.write(np.ascontiguousarray(pixels[::-1], dtype).data.cast("B"))


def writing_bytes(frames: Frames, scale: int, options: Any = None) -> int:
    """Memory that `write` takes beside the bands: inside gzip, a slice from its last row on."""
    return 2 * scale**2 * frames.frame_bytes if frames.header.gzipped else 0


def _write_upwards(file: BinaryIO, bands: Iterable[NDArray[Any]], rows: int, dtype: np.dtype[Any]) -> None:
    """Write frames of `rows` rows whose bands come downwards: what comes last stands first."""
    start, done = file.tell(), 0
    for band in bands:
        row_bytes = band.shape[1] * dtype.itemsize
        frame, top = divmod(done, rows)
        file.seek(start + (frame * rows + rows - top - len(band)) * row_bytes)
        file.write(np.ascontiguousarray(band[::-1], dtype).data.cast("B"))
        done += len(band)
    file.seek(0, 2)


def derived(source: Header, *, scale: int, producer: Any) -> Any:
    """Header of the result: voxels `scale` times smaller in plane, the field of view where it was.

    The new first voxel lies half an old voxel back and half a new one forth along both axes.
    """
    fields = source.fields.copy()
    shift = (0.5 / scale - 0.5) * np.array([1.0, 1.0, 0.0])
    if int(fields["qform_code"]) > 0:
        affine = fields.get_qform(coded=False)
        place = affine[:3, :3] @ shift + affine[:3, 3]
        fields["qoffset_x"], fields["qoffset_y"], fields["qoffset_z"] = place
    if int(fields["sform_code"]) > 0:
        affine = fields.get_sform(coded=False)
        affine[:3, 3] += affine[:3, :3] @ shift
        affine[:3, :2] /= scale
        fields["srow_x"], fields["srow_y"], fields["srow_z"] = affine[:3]
    fields["pixdim"][1:3] /= scale
    fields["dim"][1:3] *= scale
    fields["vox_offset"] = NIFTI_BYTES[source.version] + 4
    for name in FREE_TEXTS:
        if name in fields.keys():  # noqa: SIM118
            fields[name] = b""
    fields["descrip"] = f"lightsr {producer.version} AI super-resolution x{scale}, not for primary diagnosis".encode()
    if source.version == 1:
        fields["extents"], fields["session_error"] = 0, 0
    return fields
