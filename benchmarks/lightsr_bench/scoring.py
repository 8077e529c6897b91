"""Measuring quality: every method on every image of a folder."""

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from lightsr import files
from lightsr.errors import ImageError, LightsrError
from lightsr.image import Image
from lightsr_train import protocol
from lightsr_train.data import DataError, Origin, check_folder, image_files, origin, read_manifest
from lightsr_train.degradation import crop_to_multiple, degrade
from numpy.typing import NDArray

from lightsr_bench.methods import Failure, Selection, reason
from lightsr_bench.quality import Score, with_gains
from lightsr_bench.quality_report import Measured, Report

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Truth:
    """An image that results are compared to.

    Parameters
    ----------
    image : Image
        What was read.
    stored : ndarray, shape (h, w), uint8, uint16, int16 or float32
        Its stored values, cropped.
    origin : Origin
    """

    image: Image
    stored: NDArray[Any]
    origin: Origin

    def unit(self, stored: NDArray[Any]) -> NDArray[np.float64]:
        """Stored values, of any shape and real dtype, in the unit in which they are judged."""
        return protocol.to_unit(stored, self.image, self.origin.modality)

    @cached_property
    def known(self) -> NDArray[np.float64]:
        """Its values in that unit, shape (h, w)."""
        return self.unit(self.stored)

    @cached_property
    def ranges(self) -> tuple[protocol.Range, ...]:
        """Data ranges in which it is judged."""
        return protocol.ranges(self.origin.modality, self.known)

    @property
    def lossy(self) -> bool:
        """Whether the file was compressed with loss before (DICOM PS3.3 C.7.6.1.1.5)."""
        header = self.image.header
        return files.detect(self.image.source).name == "JPEG" or (
            getattr(header, "LossyImageCompression", None) == "01"
        )


def read_truth(path: Path, folder: Path, row: dict[str, str], scale: int) -> Truth:
    """Read an image.

    Parameters
    ----------
    path : Path
    folder : Path
        Above it; its modality and source may come from the names in between.
    row : dict
        Of the manifest, or empty.
    scale : int

    Raises
    ------
    lightsr.ImageError
        It cannot be read or judged.
    """
    image = files.read(path)
    least = protocol.least_side_px(scale)
    if min(image.size) < least:
        raise ImageError(f"{path}: {image.size[0]}x{image.size[1]} pixels; at least {least} a side are needed")
    stored = crop_to_multiple(image.plane(), protocol.CROP_MULTIPLE)
    truth = Truth(image, stored, origin(path, folder, row, image))
    if any(data_range.high <= data_range.low for data_range in truth.ranges):
        raise ImageError(f"{path}: hardly any value above 0; there is no data range to judge it in")
    return truth


def measure(
    folder: Path,
    selection: Selection,
    *,
    scale: int,
    degradation: str = "bicubic",
    limit: int | None = None,
    progress: Callable[[str], None] = lambda text: None,
) -> Report:
    """Score every method on every image below `folder`.

    Parameters
    ----------
    folder : Path
        Modality, source and patient come from a manifest, the file, or the folders' names.
    selection : Selection
    scale : int
    degradation : str
    limit : int, optional
        Measure only every n-th image, so that about this many remain.
    progress : callable
        Told what is being measured.

    Returns
    -------
    Report
        Of the images that were finished until Ctrl-C, if that came.

    Raises
    ------
    DataError
        No such folder, or no image in it.
    """
    check_folder(folder)
    manifest = read_manifest(folder)
    paths = list(image_files(folder))
    if limit:
        paths = paths[:: max(1, len(paths) // limit)]
    run = _Run(folder, selection, scale, degradation, progress)
    interrupted = False
    try:
        for i, path in enumerate(paths):
            run.add(path, manifest.get(path.resolve(), {}), f"{i + 1} of {len(paths)}: {path.relative_to(folder)}")
    except KeyboardInterrupt:
        interrupted = True
    if not run.images and not interrupted:
        raise DataError(
            f"{folder}: no image that can be measured among {len(paths)} files; DICOM, PNG, JPEG, TIFF, NIfTI and NPY "
            f"of one frame are read, of at least {protocol.least_side_px(scale)} pixels a side"
        )
    return Report(
        scale,
        degradation,
        selection.networks,
        tuple(run.images),
        tuple(run.scores),
        (*selection.failures, *run.failures),
        run.digest.hexdigest(),
        interrupted,
    )


class _Run:
    """What is found while images are measured, always of whole images."""

    def __init__(
        self,
        folder: Path,
        selection: Selection,
        scale: int,
        degradation: str,
        progress: Callable[[str], None],
    ) -> None:
        self.folder = folder
        self.methods = selection.methods
        self.network_paths = {network.name: network.path for network in selection.networks}
        self.scale = scale
        self.degradation: str = degradation
        self.progress = progress
        self.images: list[Measured] = []
        self.scores: list[Score] = []
        self.failures: list[Failure] = []
        self.digest = hashlib.sha256()

    def add(self, path: Path, row: dict[str, str], label: str) -> None:
        """Measure all methods on one image, or note why not."""
        name = path.relative_to(self.folder).as_posix()
        self.progress(label)
        try:
            truth = read_truth(path, self.folder, row, self.scale)
        except LightsrError as error:
            self._fail([Failure("", name, reason(error, path))])
            return
        low = degrade(truth.stored, self.scale, self.degradation)
        scores: list[Score] = []
        failures: list[Failure] = []
        for method, enlarge in self.methods.items():
            self.progress(f"{label}, {method}")
            try:
                result = truth.unit(enlarge(low))
            except LightsrError as error:
                failures.append(Failure(method, name, reason(error, self.network_paths.get(method, path))))
            else:
                scores += _scores(truth, result, method, name, self.scale)
        self._fail(failures)
        self.images.append(
            Measured(name, truth.origin.modality, truth.origin.source, truth.origin.subject, truth.lossy)
        )
        self.scores += with_gains(scores)
        self.digest.update(f"{name} {truth.stored.dtype.name} {truth.stored.shape}\n".encode())
        self.digest.update(np.ascontiguousarray(truth.stored, truth.stored.dtype.newbyteorder("<")).tobytes())

    def _fail(self, failures: list[Failure]) -> None:
        if failures:
            self.progress("")
        for failure in failures:
            logger.warning("failed: %s", failure)
        self.failures += failures


def _scores(truth: Truth, result: NDArray[np.float64], method: str, path: str, scale: int) -> Iterator[Score]:
    """Scores of a result in every data range, still without the gain."""
    for data_range in truth.ranges:
        found = protocol.score(truth.known, result, data_range, scale)
        yield Score(
            found.range,
            truth.origin.source,
            path,
            truth.origin.subject,
            method,
            found.psnr_db,
            found.ssim,
            0.0,
            found.rmse,
        )
