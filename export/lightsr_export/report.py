"""What an export made and measured: `report.json` for machines, `card.md` for people."""

import dataclasses
import json
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import numpy as np
from lightsr.card import Golden, ModelCard, Precision
from lightsr_train.protocol import RANGES, Score

from lightsr_export.gate import SINGLE_IMAGE_FACTOR, Verdict
from lightsr_export.profile import Kernel, Paired

FORMAT = 1
"""Version of the report's layout."""

LATENCY_SIDE_PX = 256
"""Side of the picture whose enlargement is timed, low-resolution pixels."""

KERNELS = 12
"""Kernels that the report lists, the slowest first."""

UNITS = {"CT": "HU"}
"""Of root-mean-square errors by the first word of a data range; others are in stored values."""


@dataclass(frozen=True)
class Quality:
    """Means over held-back images in one data range.

    Parameters
    ----------
    range : str
    images : int
    psnr_db, ssim, rmse : float
    unit : str
        Of `rmse`.
    """

    range: str
    images: int
    psnr_db: float
    ssim: float
    rmse: float
    unit: str


def quality(scores: Sequence[Score]) -> tuple[Quality, ...]:
    """Means by data range."""
    found = []
    for name in sorted({score.range for score in scores}):
        chosen = [score for score in scores if score.range == name]
        psnr, ssim, rmse = (
            float(np.mean([getattr(score, field) for score in chosen])) for field in ("psnr_db", "ssim", "rmse")
        )
        found.append(
            Quality(name, len(chosen), round(psnr, 3), round(ssim, 5), round(rmse, 4), UNITS.get(name.split()[0], ""))
        )
    return tuple(found)


@dataclass(frozen=True)
class FileReport:
    """One model file.

    Parameters
    ----------
    name : str
    precision : {"fp32", "int8"}
    bytes : int
    sha256 : str
    parameters : int
        Numbers in its weights, after all rewrites.
    macs_per_px : float
        Multiply-adds of convolutions for one output pixel.
    minimum_ms, median_ms : float
        To enlarge one picture, one thread.
    operators : dict of int
        Of the graph that onnxruntime makes of it on this machine.
    kernels : tuple of Kernel
        The slowest.
    float_parts : tuple of str
        int8: parts and layers in float.
    quality : tuple of Quality
    golden : str
        What its self-test demands; it passed here, or there would be no file.
    """

    name: str
    precision: Precision
    bytes: int
    sha256: str
    parameters: int
    macs_per_px: float
    minimum_ms: float
    median_ms: float
    operators: dict[str, int]
    kernels: tuple[Kernel, ...]
    float_parts: tuple[str, ...]
    quality: tuple[Quality, ...]
    golden: str


@dataclass(frozen=True)
class Trial:
    """One way in which int8 was tried.

    Parameters
    ----------
    means : str
        "ranges", "float layers" or "fine-tuning".
    percentile : float
        Of the calibration values, within each end of a range.
    float_layers : tuple of str
        Of the body.
    verdict : Verdict
    """

    means: str
    percentile: float
    float_layers: tuple[str, ...]
    verdict: Verdict

    @property
    def sentence(self) -> str:
        """What was done, in words.

        >>> Trial("float layers", 99.99, ("tail",), Verdict((), 0.05)).sentence
        'ranges that hold 99.99 % of the values, tail in float'
        """
        parts = [f"ranges that hold {self.percentile:g} % of the values"]
        if self.float_layers:
            parts.append(f"{', '.join(self.float_layers)} in float")
        if self.means == "fine-tuning":
            parts.append("fine-tuned")
        return ", ".join(parts)


@dataclass(frozen=True)
class Report:
    """An export.

    Parameters
    ----------
    card : ModelCard
        Of the fp32 file.
    rewrites : tuple of str
        Passes that changed the network or its graph.
    difference : float
        Largest between torch and onnxruntime in fp32, as a share of the input's range.
    files : tuple of FileReport
    trials : tuple of Trial
        Of int8, in their order. Empty without int8.
    taken : Trial or None
        The best of them, whether it passes or not.
    refusal : str
        Why there is no int8 file though it was asked for; "" otherwise.
    speedup : float
        Median over interleaved runs of fp32's time divided by int8's; 0 without int8.
    processor : str
    versions : dict of str
    """

    card: ModelCard
    rewrites: tuple[str, ...]
    difference: float
    files: tuple[FileReport, ...]
    trials: tuple[Trial, ...]
    taken: Trial | None
    refusal: str
    speedup: float
    processor: str
    versions: dict[str, str]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user must know before using these files."""
        found = []
        if self.refusal:
            found.append(f"no int8 file: {self.refusal}")
        if self.speedup and self.speedup <= 1:
            found.append(
                f"int8 is not faster than fp32 on this machine: {1 / self.speedup:.2f} times its time; "
                "use the fp32 file here"
            )
        return tuple(found)

    def to_json(self) -> str:
        """The report as JSON, one object."""
        fields: dict[str, Any] = {
            "format": FORMAT,
            "name": self.card.name,
            "scale": self.card.scale,
            "checkpoint": {
                "sha256": self.card.checkpoint_sha256,
                "parameters": self.card.parameters,
                "degradations": self.card.degradations,
                "sources": self.card.sources,
                **self.card.metrics,
            },
            "rewrites": self.rewrites,
            "difference_to_torch": self.difference,
            "processor": self.processor,
            "threads": 1,
            "latency_input_px": [LATENCY_SIDE_PX, LATENCY_SIDE_PX],
            "versions": self.versions,
            "data_ranges": RANGES,
            "files": [dataclasses.asdict(file) for file in self.files],
            "int8": {
                "passes": self.taken is not None and self.taken.verdict.passes,
                "taken": self.trials.index(self.taken) if self.taken else None,
                "speedup": self.speedup,
                "trials": [
                    {
                        "what": trial.sentence,
                        "means": trial.means,
                        "percentile": trial.percentile,
                        "float_layers": trial.float_layers,
                        "severity": trial.verdict.severity,
                        "losses_db": [dataclasses.asdict(loss) for loss in trial.verdict.losses],
                    }
                    for trial in self.trials
                ],
                "allowed_db": self.taken.verdict.allowed_db if self.taken else None,
            },
            "warnings": self.warnings,
        }
        return json.dumps(fields, indent=1) + "\n"


def versions() -> dict[str, str]:
    """Versions of what made and measured the files."""
    return {
        "python": platform.python_version(),
        **{name: metadata.version(name) for name in ("lightsr", "torch", "onnx", "onnxsim", "onnxruntime")},
    }


def self_test(golden: Golden) -> str:
    """A self-test in words.

    >>> self_test(Golden(3, (17, 24), digest="ab"))
    'seed 3, 17x24: equal digest'
    """
    rows, columns = golden.shape
    demand = "equal digest" if golden.digest else f"within {golden.tolerance:g} of the range"
    return f"seed {golden.seed}, {rows}x{columns}: {demand}"


def latencies(paired: Paired, name: str) -> tuple[float, float]:
    """Minimum and median of one model, ms."""
    return round(paired.minimum_ms[name], 3), round(paired.median_ms[name], 3)


def summary(report: Report) -> str:
    """A table for a terminal."""
    lines = [f"{'file':28} {'KiB':>5} {'ms':>7} {'median':>7}  " + "PSNR on held-back patients, dB"]
    for file in report.files:
        scores = "  ".join(f"{q.range} {q.psnr_db:.2f}" for q in file.quality)
        lines.append(
            f"{file.name:28} {file.bytes / 1024:5.0f} {file.minimum_ms:7.2f} {file.median_ms:7.2f}  {scores}".rstrip()
        )
    lines.append(
        f"one thread of {report.processor}, {LATENCY_SIDE_PX}x{LATENCY_SIDE_PX} pixels; "
        f"torch and onnxruntime differ by {report.difference:.0e} of the range"
    )
    if trial := report.taken:
        state = "passes" if trial.verdict.passes else "FAILS"
        lines.append(
            f"int8 {state} the gate of {trial.verdict.allowed_db:g} dB: {trial.sentence}; loses {trial.verdict}"
        )
    if report.speedup:
        lines.append(f"int8 is {report.speedup:.2f} times as fast as fp32")
    return "\n".join(lines)


def card_text(report: Report) -> str:
    """The card as Markdown, one for all precisions of a model."""
    card = report.card
    lines = [
        f"# {card.name} x{card.scale}",
        "",
        "A network of lightsr for medical super-resolution. Its results are derived images, not for primary diagnosis.",
        "",
        f"- enlargement: {card.scale}; parameters: {card.parameters:,}; training steps: {card.metrics['steps']:,}",
        f"- degradations trained for: {', '.join(card.degradations)}",
        f"- consistency step: {f'lambda = {card.consistency}' if card.consistency else 'none'}",
        f"- sees {card.halo_px} low-resolution pixels around each; tiles are aligned to {card.alignment_px}",
        f"- checkpoint: sha256 {card.checkpoint_sha256}",
        f"- exact rewrites: {', '.join(report.rewrites) or 'none'}; torch and onnxruntime differ by at most "
        f"{report.difference:.1e} of the input's range",
        "",
        *_files(report),
        "",
        *_quality(report),
        *_int8(report),
        "",
        "Trained on (modality, collection, licence, images):",
        "",
    ]
    for source in card.sources:
        licence = source["licence"] or "licence not stated"
        lines.append(f"- {source['modality']}: {source['source']}, {licence}, {source['images']}")
    return "\n".join([*lines, ""])


def _files(report: Report) -> list[str]:
    lines = [
        "| file | KiB | parameters | multiply-adds per output pixel | ms, minimum | ms, median | sha256 |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {file.name} | {file.bytes / 1024:.0f} | {file.parameters:,} | {file.macs_per_px:,.0f} | "
        f"{file.minimum_ms:.2f} | {file.median_ms:.2f} | {file.sha256[:16]}... |"
        for file in report.files
    ]
    speed = f" int8 is {report.speedup:.2f} times as fast (median of the pairs)." if report.speedup else ""
    return [
        *lines,
        "",
        f"Times: {LATENCY_SIDE_PX}x{LATENCY_SIDE_PX} low-resolution pixels on one thread of {report.processor}, "
        f"onnxruntime {report.versions['onnxruntime']}, runs interleaved.{speed}",
        *(f"\n**{warning}**" for warning in report.warnings),
    ]


def _quality(report: Report) -> list[str]:
    if not report.files or not report.files[0].quality:
        return []
    lines = [
        "On held-back patients of the training data:",
        "",
        "| data range | images | " + " | ".join(f"{file.precision} PSNR, SSIM, error" for file in report.files) + " |",
        "| --- | --- |" + " --- |" * len(report.files),
    ]
    for row in zip(*(file.quality for file in report.files), strict=True):
        cells = " | ".join(f"{q.psnr_db:.2f} dB, {q.ssim:.4f}, {q.rmse:.2f} {q.unit}".rstrip() for q in row)
        lines.append(f"| {row[0].range} | {row[0].images} | {cells} |")
    return [*lines, "", f"Data ranges: {RANGES}. Error: root mean square.", ""]


def _int8(report: Report) -> list[str]:
    taken = report.taken
    if taken is None:
        return []
    allowed_db = taken.verdict.allowed_db
    lines = [
        "int8 expects values in [0, 1]: the runtime maps each file or cine by one offset and range. It may lose "
        f"{allowed_db:g} dB of PSNR in the mean of a data range, {SINGLE_IMAGE_FACTOR * allowed_db:g} in a single "
        "image, against fp32.",
        *(
            f"In float: {', '.join(file.float_parts)}, and additions behind the tail."
            for file in report.files
            if file.float_parts
        ),
        "",
        "| tried | loss in dB, mean (worst image) | gate |",
        "| --- | --- | --- |",
    ]
    for trial in report.trials:
        lines.append(f"| {trial.sentence} | {trial.verdict} | {'passes' if trial.verdict.passes else 'fails'} |")
    return [*lines, "", f"Taken: {taken.sentence}." if not report.refusal else "None was taken."]
