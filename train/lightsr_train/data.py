"""Folders of images: reading, splitting by patient, drawing patches."""

import csv
import hashlib
import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from lightsr import files
from lightsr.errors import ImageError, LightsrError
from lightsr.image import Image
from lightsr.resample import interpolate
from lightsr.upscaler import IntensityMap
from numpy.typing import NDArray

from lightsr_train.degradation import crop_to_multiple, degrade

logger = logging.getLogger(__name__)

MANIFEST = "manifest.csv"
"""Optional table beside the images, or above them: path, modality, source, patient_id, licence."""

MODALITIES = frozenset({"CT", "MR", "US", "XR", "CR", "DX", "MG", "PT", "NM", "XA", "RF"})
"""Names by which a first-level folder says a modality (DICOM PS3.3 C.7.3.1.1.1; XR for any X-ray)."""

MIN_ERROR_SHARE = 0.002
"""Least bicubic error that an image is weighed by, as a share of its intensity range.

A nearly band-limited image has hardly any error; without a floor its rounding
noise would outweigh everything else.
"""


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
    high : ndarray, shape (scale * h, scale * w)
    low : ndarray, shape (h, w)
    error : float
        Root-mean-square error of bicubic interpolation, stored values; losses are
        divided by it, so that every image, whatever its unit, weighs alike.
    """

    path: Path
    origin: Origin
    high: NDArray[Any] = field(repr=False)
    low: NDArray[Any] = field(repr=False)
    error: float


@dataclass(frozen=True)
class Collection:
    """Images of one or more folders, and the files that had to be left out with the reason."""

    pairs: tuple[Pair, ...]
    skipped: tuple[str, ...]

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


def read_manifest(folder: Path) -> dict[Path, dict[str, str]]:
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


def load(folders: Iterable[Path], scale: int, *, min_side_px: int) -> Collection:
    """Read every image below `folders` and degrade it once.

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

    Returns
    -------
    Collection

    Raises
    ------
    DataError
        A folder is missing, or holds no image that can be used.
    """
    pairs: list[Pair] = []
    skipped: list[str] = []
    for folder in folders:
        if not folder.is_dir():
            raise DataError(f"{folder}: no such folder; --data takes a folder of images")
        manifest = read_manifest(folder)
        before = len(pairs)
        for path in image_files(folder):
            try:
                pair = _pair(path, folder, manifest.get(path.resolve(), {}), scale, min_side_px)
            except LightsrError as error:
                skipped.append(str(error))
                logger.warning("skipped: %s", error)
            else:
                pairs.append(pair)
        if len(pairs) == before:
            raise DataError(f"{folder}: no image that can be used; PNG, JPEG and DICOM are read")
    return Collection(tuple(pairs), tuple(skipped))


def _pair(path: Path, folder: Path, row: dict[str, str], scale: int, min_side_px: int) -> Pair:
    image = files.read(path)
    high = crop_to_multiple(image.plane(), scale)
    if min(high.shape) < scale * min_side_px:
        raise ImageError(
            f"{path}: {image.size[0]}x{image.size[1]} pixels; "
            f"at least {scale * min_side_px} a side are needed; --patch makes patches smaller"
        )
    low = degrade(high, scale)
    difference = interpolate(low, scale) - high
    error = float(np.sqrt(np.mean(np.square(difference, dtype=np.float64))))
    bottom, top = np.percentile(high, (0.1, 99.9))
    if top <= bottom:
        raise ImageError(f"{path}: hardly any pixel differs from the others; nothing can be learned from it")
    return Pair(path, origin(path, folder, row, image), high, low, max(error, MIN_ERROR_SHARE * (top - bottom)))


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


class Batch(NamedTuple):
    """Patches of one step.

    Parameters
    ----------
    low : ndarray, shape (batch, 1, patch_px, patch_px), float32
    high : ndarray, shape (batch, 1, scale * patch_px, scale * patch_px), float32
        In the unit of `low`.
    weight : ndarray, shape (batch, 1, 1, 1), float32
        Differences from `high` are multiplied by it, and then count in bicubic errors of
        their image, so that every image weighs alike.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    weight: NDArray[np.float32]


class PatchSampler:
    """Draws batches of patches: modality, then patient, then image, each with equal chance.

    The batch of a step depends on the seed and the step alone, so that a resumed run
    sees what a straight one sees.

    Parameters
    ----------
    pairs : sequence of Pair
    scale : int
    patch_px : int
        Side of a low-resolution patch.
    batch : int
    seed : int
    unit : bool
        Whether patches are mapped to about [0, 1] by the `IntensityMap` of their whole
        low-resolution image, as the runtime does for networks with fixed ranges.
        Otherwise they are shifted by their own mean and divided by their image's bicubic
        error, which an equivariant network cannot see and the loss can.
    """

    def __init__(
        self, pairs: Iterable[Pair], *, scale: int, patch_px: int, batch: int, seed: int, unit: bool = False
    ) -> None:
        self.scale = scale
        self.patch_px = patch_px
        self.batch = batch
        self.seed = seed
        groups: dict[str, dict[str, list[tuple[Pair, IntensityMap | None]]]] = {}
        for pair in pairs:
            mapping = IntensityMap.of(pair.low) if unit else None
            groups.setdefault(pair.origin.modality, {}).setdefault(pair.origin.subject, []).append((pair, mapping))
        self.groups = [list(subjects.values()) for subjects in groups.values()]

    def draw(self, step: int) -> Batch:
        """Batch of a step; which patches it holds does not depend on `unit`."""
        random = np.random.default_rng((self.seed, step))
        size, side = self.patch_px, self.patch_px * self.scale
        low = np.empty((self.batch, 1, size, size), dtype=np.float32)
        high = np.empty((self.batch, 1, side, side), dtype=np.float32)
        weight = np.empty((self.batch, 1, 1, 1), dtype=np.float32)
        for i in range(self.batch):
            subjects = self.groups[random.integers(len(self.groups))]
            images = subjects[random.integers(len(subjects))]
            pair, mapping = images[random.integers(len(images))]
            low_patch, high_patch = self._patch(pair, random)
            offset, span = (mapping.offset, mapping.span) if mapping else (float(low_patch.mean()), pair.error)
            low[i, 0] = (low_patch - offset) / span
            high[i, 0] = (high_patch - offset) / span
            weight[i] = span / pair.error
        return Batch(low, high, weight)

    def _patch(self, pair: Pair, random: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
        size, scale = self.patch_px, self.scale
        for _ in range(8):  # a flat patch teaches nothing; an all but empty picture still ends
            top = int(random.integers(pair.low.shape[0] - size + 1))
            left = int(random.integers(pair.low.shape[1] - size + 1))
            low = pair.low[top : top + size, left : left + size]
            if low.min() != low.max():
                break
        high = pair.high[scale * top : scale * (top + size), scale * left : scale * (left + size)]
        turns, mirrored = int(random.integers(4)), bool(random.integers(2))
        low, high = np.rot90(low, turns), np.rot90(high, turns)
        return (low[::-1], high[::-1]) if mirrored else (low, high)
