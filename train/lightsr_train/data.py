"""Folders of images: reading, degrading, splitting by patient."""

import csv
import hashlib
import logging
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from lightsr import files
from lightsr.errors import ImageError, LightsrError
from lightsr.image import Image
from lightsr.options import DicomOptions
from lightsr.resample import interpolate
from numpy.typing import NDArray

from lightsr_train import workers
from lightsr_train.degradation import BICUBIC, Chain, crop_to_multiple, degrade, parse

logger = logging.getLogger(__name__)

MANIFEST = "manifest.csv"
"""Optional table beside the images, or above them: path, modality, source, patient_id, licence."""

MODALITIES = frozenset({"CT", "MR", "US", "XR", "CR", "DX", "MG", "PT", "NM", "XA", "RF"})
"""Names by which a first-level folder says a modality (DICOM PS3.3 C.7.3.1.1.1; XR for any X-ray)."""

READ = DicomOptions(allow_mammography=True)
"""A model for mammograms can only be had from mammograms."""

MIN_ERROR_SHARE = 0.002
"""Least bicubic error that an image is weighed by, as a share of its intensity range.

A nearly band-limited image has hardly any error; without a floor its rounding
noise would outweigh everything else.
"""


FEW_IMAGES = 32
"""Fewer of a folder are read before other processes have started."""

Rows = dict[Path, dict[str, str]]
"""Of a manifest, by the resolved path of their image."""

BLOCK_PX = 8
"""Low-resolution pixels, along one axis, of the blocks that hard patches are drawn by."""


class DataError(LightsrError):
    """A training folder that holds nothing to train on."""


@dataclass(frozen=True)
class Origin:
    """Where an image comes from.

    Parameters
    ----------
    modality : str
        Images are drawn equally often from every modality.
    source : str
        Collection, for the card.
    licence : str
        Licence of the collection, for the card; "" where unknown.
    subject : str
        Digest that tells patients apart without naming them.
    """

    modality: str
    source: str
    licence: str
    subject: str


@dataclass(frozen=True)
class Pair:
    """A picture at both resolutions, in stored values.

    Parameters
    ----------
    path : Path
    origin : Origin
    high : ndarray, shape (scale * h, scale * w), uint8, uint16, int16 or float32
    lows : tuple of ndarray, each of shape (h, w), dtype of `high`
        One for every degradation, before its noise.
    error : float
        Root-mean-square error of bicubic interpolation of the first, stored values; losses are
        divided by it, so that every image, whatever its unit, weighs alike.
    hardness : ndarray, shape (h // `BLOCK_PX`, w // `BLOCK_PX`), float32
        Squared error of bicubic interpolation in every block, as a share of all.
    """

    path: Path
    origin: Origin
    high: NDArray[Any] = field(repr=False)
    lows: tuple[NDArray[Any], ...] = field(repr=False)
    error: float
    hardness: NDArray[np.float32] = field(repr=False)

    @property
    def low(self) -> NDArray[Any]:
        """The first of `lows`, which progress is measured on: shape (h, w), dtype of `high`."""
        return self.lows[0]


@dataclass(frozen=True)
class Collection:
    """Images of one or more folders, and the files that had to be left out with the reason."""

    pairs: tuple[Pair, ...]
    skipped: tuple[str, ...]

    @property
    def digest(self) -> str:
        """Stands for the images and their patients; that of other images is another."""
        facts = sorted((pair.origin.subject, *pair.high.shape, repr(pair.error)) for pair in self.pairs)
        return digest(repr(facts))

    @property
    def sources(self) -> list[dict[str, Any]]:
        """Collections with licence and image count, for the card."""
        counts: dict[tuple[str, str, str], int] = {}
        for pair in self.pairs:
            key = (pair.origin.modality, pair.origin.source, pair.origin.licence)
            counts[key] = counts.get(key, 0) + 1
        return [
            {"modality": modality, "source": source, "licence": licence, "images": count}
            for (modality, source, licence), count in sorted(counts.items())
        ]


def digest(text: str) -> str:
    """Sixteen hexadecimal digits that stand for `text`."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def image_files(folder: Path) -> Iterator[Path]:
    """Files below `folder` in a fixed order, hidden ones and tables left out."""
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            if not name.startswith(".") and Path(name).suffix.lower() not in (".csv", ".txt", ".md", ".json"):
                yield Path(root, name)


def check_folder(folder: Path) -> None:
    """Raise `DataError` where there is no such folder, or no file in it that could be an image."""
    if not folder.is_dir():
        what = "a file" if folder.exists() else "no such folder"
        raise DataError(f"{folder}: {what}; a folder of images is needed")
    if next(image_files(folder), None) is None:
        raise DataError(f"{folder}: no image that can be used, nor any other file; a folder of images is needed")


def read_manifest(folder: Path) -> Rows:
    """Rows of the `MANIFEST` in `folder` or the two folders above it, by resolved path.

    Raises
    ------
    DataError
        There is one that cannot be read.
    """
    for home in (folder, *list(folder.resolve().parents)[:2]):
        table = home / MANIFEST
        if table.is_file():
            try:
                with table.open(newline="", encoding="utf-8") as file:
                    rows = csv.DictReader(file)
                    if "path" not in (rows.fieldnames or ()):
                        return {}
                    return {(home / row["path"]).resolve(): row for row in rows if row["path"]}
            except (OSError, ValueError, csv.Error) as error:
                raise DataError(f"{table}: no table in UTF-8 ({type(error).__name__}); mend or remove it") from error
    return {}


def load(
    folders: Iterable[Path], scale: int, *, min_side_px: int, degradations: Sequence[str] = (BICUBIC,)
) -> Collection:
    """Read every image below `folders` and degrade it once in every way.

    Parameters
    ----------
    folders : iterable of Path
        Searched deeply. The modality comes from a manifest, the file, or the first
        folder level if that has a modality's name; the patient from the manifest, a
        DICOM PatientID, or else the first folder level below that. Where neither says
        anything, as of files that lie side by side, all are taken for one patient.
    scale : int
    min_side_px : int
        Smallest low-resolution side that can be used.
    degradations : sequence of str
        As `degradation.parse` reads them; noise comes later, with every patch anew.

    Returns
    -------
    Collection

    Raises
    ------
    DataError
        A folder is missing, or holds no image that can be used.
    """
    skipped: list[str] = []
    pairs = read(folders, scale, min_side_px=min_side_px, degradations=degradations, skipped=skipped)
    return Collection(tuple(pairs), tuple(skipped))


def read(
    folders: Iterable[Path],
    scale: int,
    *,
    min_side_px: int,
    degradations: Sequence[str],
    skipped: list[str],
    readers: int = 0,
) -> Iterator[Pair]:
    """`load` one image after the other; reasons for those left out are added to `skipped`.

    With `readers`, so many other processes read a few images ahead; a few images in all are not worth starting them.

    Raises
    ------
    DataError
        A folder is missing, or holds no image that can be used; once it is its turn.
    """
    chains = [parse(text).fixed for text in degradations]
    for folder in folders:
        check_folder(folder)
        manifest = read_manifest(folder)
        usable = False

        def pair(path: Path, folder: Path = folder, rows: Rows = manifest) -> Pair | str:
            try:
                return _pair(path, folder, rows.get(path.resolve(), {}), scale, min_side_px, chains)
            except LightsrError as error:
                return str(error)

        paths = list(image_files(folder))
        for found in workers.in_order(pair, paths, readers if len(paths) >= FEW_IMAGES else 0):
            if isinstance(found, str):
                skipped.append(found)
                logger.warning("skipped: %s", found)
            else:
                usable = True
                yield found
        if not usable:
            raise DataError(
                f"{folder}: no image that can be used; DICOM, PNG, JPEG, TIFF, NIfTI and NPY of one frame are read, "
                f"of at least {scale * min_side_px} pixels a side"
            )


def _pair(path: Path, folder: Path, row: dict[str, str], scale: int, min_side_px: int, chains: Sequence[Chain]) -> Pair:
    image = files.read(path, options=READ)
    high = crop_to_multiple(image.plane(), scale)
    if min(high.shape) < scale * min_side_px:
        raise ImageError(
            f"{path}: {image.size[0]}x{image.size[1]} pixels; "
            f"at least {scale * min_side_px} a side are needed; --patch makes patches smaller"
        )
    lows = tuple(degrade(high, scale, chain) for chain in chains)
    squared = np.square(interpolate(lows[0], scale) - high, dtype=np.float64)
    error = float(np.sqrt(np.mean(squared)))
    bottom, top = np.percentile(high, (0.1, 99.9))
    if top <= bottom:
        raise ImageError(f"{path}: hardly any pixel differs from the others; nothing can be learned from it")
    least = MIN_ERROR_SHARE * (top - bottom)
    return Pair(path, origin(path, folder, row, image), high, lows, max(error, least), _hardness(squared, scale))


def _hardness(squared: NDArray[np.float64], scale: int) -> NDArray[np.float32]:
    """Sums of high-resolution errors over whole blocks, as shares."""
    side = scale * BLOCK_PX
    rows, columns = (n // side for n in squared.shape)
    blocks = squared[: rows * side, : columns * side].reshape(rows, side, columns, side).sum(axis=(1, 3))
    return np.asarray(blocks / max(blocks.sum(), 1e-30), dtype=np.float32)


def origin(path: Path, folder: Path, row: dict[str, str], image: Image) -> Origin:
    """Where an image below `folder` comes from, by its manifest's row, itself and its folders."""
    below = path.relative_to(folder).parts[:-1]
    named = below[0] if below and below[0] in MODALITIES else ""
    # A folder below may bear a patient's name, and the source is written on the model's card.
    source = row.get("source") or folder.resolve().name
    patient = row.get("patient_id")
    if patient:
        subject = digest(f"{source}/{patient}")
    else:
        # Of the path only what lies below `folder`: a copy elsewhere is split alike.
        subject = image.subject or digest("/".join(below[bool(named) :][:1]))
    return Origin(row.get("modality") or image.modality or named, source, row.get("licence") or "", subject)


def hold_back(pairs: Iterable[Pair], share: float) -> tuple[list[Pair], list[Pair]]:
    """Split into training and held-back pairs; no patient is in both.

    Of every modality with two patients or more, about `share` of the patients are
    held back, at least one and never all. The choice depends on the patients' digests
    alone, so a later run on the same images, or an export, finds the same ones.

    Returns
    -------
    (training, held back) : two lists of Pair
    """
    by_modality: dict[str, dict[str, list[Pair]]] = {}
    for pair in pairs:
        by_modality.setdefault(pair.origin.modality, {}).setdefault(pair.origin.subject, []).append(pair)
    held: set[str] = set()
    for _, subjects in sorted(by_modality.items()):
        count = min(len(subjects) - 1, max(1, round(share * len(subjects)))) if share else 0
        for subject in sorted(subjects, key=digest):
            # One patient may be in several modalities; none of these may be left without anybody.
            if len(held & subjects.keys()) < count and not any(
                images.keys() <= held | {subject} for images in by_modality.values()
            ):
                held.add(subject)
    training = [p for s in by_modality.values() for k, ps in s.items() if k not in held for p in ps]
    validation = [p for s in by_modality.values() for k, ps in s.items() if k in held for p in ps]
    return training, validation
