"""Quality on real images: PSNR and SSIM per modality and source, beside interpolation."""

import logging
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, get_args

import numpy as np
from lightsr import Upscaler, files
from lightsr.errors import LightsrError
from lightsr.resample import Interpolation, interpolate
from lightsr_train.data import DataError, image_files, modality_and_source, read_manifest
from lightsr_train.degradation import Degradation, crop_to_multiple, degrade
from numpy.typing import NDArray

from lightsr_bench import protocol

logger = logging.getLogger(__name__)

BASELINE = "bicubic"
"""Method that the others are compared to."""

Method = Callable[[NDArray[Any]], NDArray[Any]]
"""Low-resolution stored values (h, w) to high-resolution ones of the same dtype."""


@dataclass(frozen=True)
class Score:
    """One method on one image in one data range.

    Parameters
    ----------
    range : str
    source : str
        Collection.
    path : str
        Relative to the folder that was measured.
    method : str
    psnr_db : float
    ssim : float
    gain_db : float
        PSNR less that of the baseline on the same image.
    rmse : float
        Root-mean-square error in the image's unit (HU for CT), clipped to the range.
    """

    range: str
    source: str
    path: str
    method: str
    psnr_db: float
    ssim: float
    gain_db: float
    rmse: float


@dataclass(frozen=True)
class Summary:
    """Scores of one method in one group of images.

    Parameters
    ----------
    group : str
    method : str
    images : int
    psnr_db, ssim, rmse : float
        Means.
    gain_db : float
        Mean of the paired differences to the baseline.
    gain_spread_db : float
        Their standard deviation.
    worst_gain_db : float
    """

    group: str
    method: str
    images: int
    psnr_db: float
    ssim: float
    rmse: float
    gain_db: float
    gain_spread_db: float
    worst_gain_db: float


def interpolations(scale: int) -> dict[str, Method]:
    """Nearest, bilinear and bicubic enlargement."""

    def method(kind: Interpolation) -> Method:
        def enlarge(low: NDArray[Any]) -> NDArray[Any]:
            limits = np.iinfo(low.dtype)
            return np.clip(np.rint(interpolate(low, scale, kind)), limits.min, limits.max).astype(low.dtype)

        return enlarge

    return {kind: method(kind) for kind in get_args(Interpolation)}


def model_method(upscaler: Upscaler) -> Method:
    """A model as a method."""

    def enlarge(low: NDArray[Any]) -> NDArray[Any]:
        return upscaler(low)

    return enlarge


def measure(
    folder: Path,
    methods: dict[str, Method],
    *,
    scale: int,
    degradation: Degradation,
    limit: int | None = None,
) -> Iterator[Score]:
    """Score every method on every image below `folder`.

    Parameters
    ----------
    folder : Path
        Modality and source come from a manifest, the file, or the folders' names.
    methods : dict of callable
        Must hold `BASELINE`.
    scale : int
    degradation : {"bicubic", "area"}
    limit : int, optional
        Measure only every n-th image, so that about this many remain.

    Yields
    ------
    Score

    Raises
    ------
    DataError
        No such folder, or no image in it.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; --data takes a folder of images")
    manifest = read_manifest(folder)
    paths = list(image_files(folder))
    if limit:
        paths = paths[:: max(1, len(paths) // limit)]
    read = 0
    for path in paths:
        try:
            image = files.read(path)
        except LightsrError as error:
            logger.warning("skipped: %s", error)
            continue
        truth = crop_to_multiple(image.plane(), protocol.CROP_MULTIPLE)
        if 0 in truth.shape:
            logger.warning("skipped: %s: smaller than %d pixels a side", path, protocol.CROP_MULTIPLE)
            continue
        read += 1
        row = manifest.get(path.resolve(), {})
        modality, source = modality_and_source(path, folder, row, image)
        low = degrade(truth, scale, degradation)
        unit = {name: protocol.to_unit(enlarge(low), image, modality) for name, enlarge in methods.items()}
        known = protocol.to_unit(truth, image, modality)
        for data_range in protocol.ranges(modality, known):
            yield from _scores(data_range, source, str(path.relative_to(folder)), known, unit, scale)
    if not read:
        raise DataError(f"{folder}: no image that can be measured; PNG, JPEG and DICOM are read")


def _scores(
    data_range: protocol.Range,
    source: str,
    path: str,
    truth: NDArray[np.float64],
    results: dict[str, NDArray[np.float64]],
    scale: int,
) -> Iterator[Score]:
    def prepare(picture: NDArray[np.float64]) -> NDArray[np.float64]:
        inner = protocol.crop_border(picture, scale)
        return np.clip(inner, data_range.low, data_range.high) if data_range.clip else inner

    span = data_range.high - data_range.low
    expected = prepare(truth)
    prepared = {method: prepare(result) for method, result in results.items()}
    psnr = {m: protocol.psnr_db(expected, result, data_range=span) for m, result in prepared.items()}
    for method, result in prepared.items():
        yield Score(
            data_range.name,
            source,
            path,
            method,
            psnr[method],
            protocol.ssim(expected, result, data_range=span),
            psnr[method] - psnr[BASELINE],
            float(np.sqrt(np.mean(np.square(expected - result)))),
        )


def summarise(scores: Iterable[Score], *, by_source: bool = False) -> list[Summary]:
    """Means by data range, or by data range and source, in the order of the methods."""
    groups: dict[tuple[str, str], list[Score]] = {}
    for score in scores:
        group = f"{score.range}, {score.source}" if by_source else score.range
        groups.setdefault((group, score.method), []).append(score)
    order = {group: i for i, group in enumerate(sorted({group for group, _ in groups}))}
    summaries = []
    for (group, method), members in sorted(groups.items(), key=lambda item: order[item[0][0]]):
        gains = [score.gain_db for score in members]
        summaries.append(
            Summary(
                group,
                method,
                len(members),
                float(np.mean([score.psnr_db for score in members])),
                float(np.mean([score.ssim for score in members])),
                float(np.mean([score.rmse for score in members])),
                float(np.mean(gains)),
                float(np.std(gains)),
                min(gains),
            )
        )
    return summaries


def table(summaries: Iterable[Summary]) -> str:
    """Markdown table."""
    lines = [
        "| range | method | images | PSNR dB | SSIM | RMSE | over bicubic dB (sd) | worst dB |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    lines += [
        f"| {s.group} | {s.method} | {s.images} | {s.psnr_db:.2f} | {s.ssim:.4f} | {s.rmse:.2f} | "
        f"{s.gain_db:+.2f} ({s.gain_spread_db:.2f}) | {s.worst_gain_db:+.2f} |"
        for s in summaries
    ]
    return "\n".join(lines)
