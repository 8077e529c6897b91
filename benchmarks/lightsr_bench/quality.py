"""Quality on real images: scores, and their summaries per modality and source."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from lightsr_bench.methods import BASELINE, Failure, by_method

CONFIDENCE = 0.95
"""Of the intervals."""


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
    patient : str
        Tells patients apart without naming them.
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
    patient: str
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
    images, patients : int
    psnr_db, ssim, rmse : float
        Means over the images.
    gain_db : float
        Mean of the paired differences to the baseline.
    interval_db : float or None
        Half the width of its 95 % interval; None where there is one patient only.
    worst_gain_db : float
    worst_path : str
    """

    group: str
    method: str
    images: int
    patients: int
    psnr_db: float
    ssim: float
    rmse: float
    gain_db: float
    interval_db: float | None
    worst_gain_db: float
    worst_path: str


def with_gains(scores: Iterable[Score]) -> list[Score]:
    """Scores with the gain over the baseline on the same image in the same range."""
    scores = list(scores)
    known = {(score.path, score.range): score.psnr_db for score in scores if score.method == BASELINE}
    return [replace(score, gain_db=score.psnr_db - known[score.path, score.range]) for score in scores]


def half_interval(values: Sequence[float], clusters: Sequence[str]) -> float | None:
    """Half the width of the 95 % interval of a mean whose values come in clusters.

    Images of one patient resemble each other; each tells less than an image of another
    patient would. The cluster-robust variance of the mean allows for that.

    Parameters
    ----------
    values : sequence of float
    clusters : sequence of str
        Of each value.

    Returns
    -------
    float or None
        None for fewer than two clusters.

    References
    ----------
    K.-Y. Liang, S. L. Zeger, "Longitudinal data analysis using generalized linear
    models", Biometrika 73(1), 1986; with the correction G / (G - 1) and Student's t
    with G - 1 degrees of freedom for G clusters.

    >>> round(half_interval([1.0, 2.0, 3.0], ["a", "b", "c"]), 3)  # 4.303 * 1 / sqrt(3)
    2.484
    >>> half_interval([1.0, 2.0], ["a", "a"]) is None
    True
    """
    from scipy.stats import t

    mean = float(np.mean(values))
    sums: dict[str, float] = {}
    for value, cluster in zip(values, clusters, strict=True):
        sums[cluster] = sums.get(cluster, 0.0) + value - mean
    count = len(sums)
    if count < 2:
        return None
    variance = count / (count - 1) * math.fsum(part**2 for part in sums.values()) / len(values) ** 2
    return float(t.ppf((1 + CONFIDENCE) / 2, count - 1)) * math.sqrt(variance)


def summarise(scores: Iterable[Score], *, by_source: bool = False) -> list[Summary]:
    """Means by data range, or by data range and source, in the order of the methods."""
    groups: dict[tuple[str, str], list[Score]] = {}
    order: dict[str, int] = {}
    for score in scores:
        group = f"{score.range}, {score.source}" if by_source else score.range
        groups.setdefault((group, score.method), []).append(score)
        order.setdefault(score.method, len(order))
    keys = sorted(groups, key=lambda key: (key[0], order[key[1]]))
    return [_summary(group, method, groups[group, method]) for group, method in keys]


def _summary(group: str, method: str, scores: list[Score]) -> Summary:
    gains = [score.gain_db for score in scores]
    patients = [score.patient for score in scores]
    worst = min(scores, key=lambda score: score.gain_db)
    return Summary(
        group,
        method,
        len(scores),
        len(set(patients)),
        float(np.mean([score.psnr_db for score in scores])),
        float(np.mean([score.ssim for score in scores])),
        float(np.mean([score.rmse for score in scores])),
        float(np.mean(gains)),
        half_interval(gains, patients),
        worst.gain_db,
        worst.path,
    )


def table(summaries: Iterable[Summary], failures: Iterable[Failure] = ()) -> str:
    """Markdown table, with a row for every method that failed somewhere."""
    lines = [
        "| range | method | images | patients | PSNR dB | SSIM | RMSE | over bicubic dB | 95 % interval "
        "| worst dB | worst image |",
        "| --- | --- " + "| ---: " * 8 + "| --- |",
    ]
    lines += [
        f"| {s.group} | {s.method} | {s.images} | {s.patients} | {s.psnr_db:.2f} | {s.ssim:.4f} | {s.rmse:.2f} | "
        + ("- | - | - | - |" if s.method == BASELINE else _gain_cells(s))
        for s in summaries
    ]
    lines += [f"| - | {method} | failed: {why} " + "| " * 8 + "|" for method, why in by_method(failures).items()]
    return "\n".join(lines)


def _gain_cells(summary: Summary) -> str:
    gain, half = summary.gain_db, summary.interval_db
    interval = "-" if half is None else f"{gain - half:+.2f} to {gain + half:+.2f}"
    return f"{gain:+.2f} | {interval} | {summary.worst_gain_db:+.2f} | {summary.worst_path} |"
