"""Results beside each other, as PNG: the worst and the median image of every modality."""

from pathlib import Path

import numpy as np
from lightsr import demo, files, raster
from lightsr.errors import OutputError
from lightsr_train.data import read_manifest
from lightsr_train.degradation import degrade
from numpy.typing import NDArray

from lightsr_bench.methods import BASELINE, Selection
from lightsr_bench.quality import Score
from lightsr_bench.quality_report import Report
from lightsr_bench.scoring import read_truth

UNCHANGED = "nearest"
"""The method that shows the input's own pixels."""

SHOWN_MODELS = 3
"""Models in a picture at most, the first of the command line."""

DETAIL_PX = 96
"""Least side of the magnified detail, high-resolution pixels."""

DETAIL_SHARE = 8
"""A larger image's detail is this part of its shorter side."""


def prepare(folder: Path, *, overwrite: bool) -> None:
    """Make the folder for pictures, before hours are spent on what they show.

    Raises
    ------
    OutputError
        It cannot be made, or holds pictures and `overwrite` is false.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        present = sorted(folder.glob("*.png"))
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}") from error
    if not overwrite:
        files.refuse_existing(present)


def choose(report: Report) -> dict[str, Score]:
    """Images to show, by the name of the picture.

    Returns
    -------
    dict of Score
        Score of the first network that has any, on the image whose gain over the baseline
        is the least and on that whose gain is the median, of every modality in its first
        data range.
    """
    shown: dict[str, Score] = {}
    modality_of = {image.path: image.modality for image in report.images}
    names = [network.name for network in report.networks]
    first = next((name for name in names if any(score.method == name for score in report.scores)), None)
    for modality in sorted(set(modality_of.values())):
        scores = [s for s in report.scores if s.method == first and modality_of[s.path] == modality]
        scores = sorted((s for s in scores if s.range == scores[0].range), key=lambda score: score.gain_db)
        label = modality.lower() or "image"
        if scores:
            shown[f"{label}-worst"] = scores[0]
        if len(scores) > 1:
            shown[f"{label}-median"] = scores[len(scores) // 2]
    return shown


def draw(target: Path, folder: Path, report: Report, selection: Selection, *, overwrite: bool) -> list[Path]:
    """Draw input, bicubic, the first models and truth at one window, and a detail of each.

    Parameters
    ----------
    target : Path
        Folder for the pictures.
    folder : Path
        The one that was measured.
    report : Report
    selection : Selection
    overwrite : bool

    Returns
    -------
    list of Path
        The files that were written.
    """
    manifest = read_manifest(folder)
    written = []
    for name, score in choose(report).items():
        row = manifest.get((folder / score.path).resolve(), {})
        picture = _picture(folder, row, score, report, selection)
        written.append(target / f"{name}.png")
        with files.new_file(written[-1], overwrite=overwrite) as file:
            raster.write_png(picture, file)
    return written


def _picture(
    folder: Path, row: dict[str, str], score: Score, report: Report, selection: Selection
) -> NDArray[np.uint8]:
    truth = read_truth(folder / score.path, folder, row, report.scale)
    window = next(data_range for data_range in truth.ranges if data_range.name == score.range)
    low = degrade(truth.stored, report.scale, report.degradation)
    psnr_db = {s.method: s.psnr_db for s in report.scores if (s.path, s.range) == (score.path, score.range)}
    panels = {"input": selection.methods[UNCHANGED](low)}
    for name in (BASELINE, *(network.name for network in report.networks[:SHOWN_MODELS])):
        if name in psnr_db:
            panels[f"{name}, {psnr_db[name]:.2f} dB"] = selection.methods[name](low)
    panels["truth"] = truth.stored
    units = {name: truth.unit(stored) for name, stored in panels.items()}
    inverted = truth.image.photometric == "MONOCHROME1"
    shown = {name: demo.shade(unit, window.low, window.high, inverted=inverted) for name, unit in units.items()}
    side = max(DETAIL_PX, min(truth.stored.shape) // DETAIL_SHARE) // report.scale
    top, left = demo.busiest(np.clip(truth.unit(low), window.low, window.high), side)
    return demo.side_by_side(shown, report.scale * top, report.scale * left, report.scale * side)
