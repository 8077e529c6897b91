"""Quality: everything that a run of `lightsr-bench quality` found, its result file and its text."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from lightsr_train import protocol
from lightsr_train.degradation import DESCRIPTIONS

from lightsr_bench import documents
from lightsr_bench.documents import DocumentError
from lightsr_bench.methods import Failure, by_method
from lightsr_bench.networks import Network
from lightsr_bench.quality import Score, summarise, table, with_gains

DECIMALS = 4
"""Of scores in result files."""


@dataclass(frozen=True)
class Measured:
    """An image that was measured.

    Parameters
    ----------
    path : str
        Relative to the folder that was measured.
    modality, source, patient : str
        As in `Score`; "" where nothing says the modality.
    lossy : bool
        The file was compressed with loss before.
    """

    path: str
    modality: str
    source: str
    patient: str
    lossy: bool


@dataclass(frozen=True)
class Report:
    """Everything a run found.

    Parameters
    ----------
    scale : int
    degradation : str
    networks : tuple of Network
    images : tuple of Measured
    scores : tuple of Score
    failures : tuple of Failure
    digest : str
        sha256 over the images' paths and pixels.
    interrupted : bool
    """

    scale: int
    degradation: str
    networks: tuple[Network, ...]
    images: tuple[Measured, ...]
    scores: tuple[Score, ...]
    failures: tuple[Failure, ...]
    digest: str
    interrupted: bool = False

    @property
    def protocol(self) -> dict[str, Any]:
        """What must be equal where results are compared."""
        return {
            "scale": self.scale,
            "degradation": self.degradation,
            "border_px": protocol.border_px(self.scale),
            "crop_multiple_px": protocol.CROP_MULTIPLE,
            "ranges": protocol.RANGES,
            "images": len(self.images),
            "patients": len({image.patient for image in self.images}),
            "lossy_images": sum(image.lossy for image in self.images),
            "digest": self.digest,
        }


def describe(facts: Mapping[str, Any]) -> str:
    """How it was measured, in words.

    Parameters
    ----------
    facts : mapping
        `Report.protocol`.
    """
    degradation = facts["degradation"]
    lossy = facts["lossy_images"]
    return (
        f"x{facts['scale']}, {facts['images']} images of {facts['patients']} patients"
        + (f", {lossy} of them from files that had been compressed with loss" if lossy else "")
        + f". The truth is the whole image, cropped to multiples of {facts['crop_multiple_px']} px; the input is made "
        f"from it by {DESCRIPTIONS.get(degradation, degradation)}, without a shift, and rounded to the image's type, "
        f"as results are; {facts['border_px']} px are cropped at the border. Data ranges: {facts['ranges']}. RMSE is "
        "in HU for CT, in stored values elsewhere. Networks that are not lightsr's get pictures divided by their own "
        "maximum, 8-bit ones by 255. The 95 % interval is that of the mean paired difference to bicubic, clustered by "
        "patient; - where there is only one."
    )


def text(report: Report, *, by_source: bool = False) -> str:
    """Everything, as the terminal shows it."""
    parts = [describe(report.protocol), table(summarise(report.scores), report.failures)]
    if by_source:
        parts.append(table(summarise(report.scores, by_source=True)))
    skipped = [f"- {failure}" for failure in report.failures if not failure.method]
    if skipped:
        parts.append("\n".join([f"skipped, {len(skipped)} in all:", *skipped]))
    return "\n\n".join(parts)


def document(report: Report, arguments: Sequence[str]) -> dict[str, Any]:
    """Result file of a run.

    Scores stand in columns, one entry a method and data range. Patients are numbered: a
    digest of an identifier that can be guessed would give it away.

    Parameters
    ----------
    report : Report
    arguments : sequence of str
        Of the command line.
    """
    patients: dict[str, int] = {}
    for image in report.images:
        patients.setdefault(image.patient, len(patients))
    place = {image.path: i for i, image in enumerate(report.images)}
    columns: dict[tuple[str, str], list[Score]] = {}
    for score in report.scores:
        columns.setdefault((score.method, score.range), []).append(score)
    return documents.new("quality", arguments, interrupted=report.interrupted) | {
        "protocol": report.protocol,
        "networks": [_network_entry(network) for network in report.networks],
        "images": [asdict(image) | {"patient": patients[image.patient]} for image in report.images],
        "scores": [
            {
                "method": method,
                "range": data_range,
                "image": [place[score.path] for score in scores],
                "psnr_db": [round(score.psnr_db, DECIMALS) for score in scores],
                "ssim": [round(score.ssim, DECIMALS) for score in scores],
                "rmse": [round(score.rmse, DECIMALS) for score in scores],
            }
            for (method, data_range), scores in columns.items()
        ],
        "failures": {method: documents.public(why) for method, why in by_method(report.failures).items()},
        "skipped": [documents.public(str(failure)) for failure in report.failures if not failure.method],
    }


def _network_entry(network: Network) -> dict[str, Any]:
    content = network.path.read_bytes()
    return {
        "name": network.name,
        "file_kib": round(len(content) / 1024, 1),
        "sha256": hashlib.sha256(content).hexdigest(),
        "engine": network.engine,
    }


def from_document(content: Mapping[str, Any]) -> list[Score]:
    """Scores of a result file.

    Raises
    ------
    DocumentError
        Not what `document` writes.
    """
    try:
        images = [Measured(**image | {"patient": str(image["patient"])}) for image in content["images"]]
        return with_gains(
            Score(e["range"], images[i].source, images[i].path, images[i].patient, e["method"], psnr_db, ssim, 0, rmse)
            for e in content["scores"]
            for i, psnr_db, ssim, rmse in zip(e["image"], e["psnr_db"], e["ssim"], e["rmse"], strict=True)
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise DocumentError(f"incomplete quality results ({type(error).__name__}: {error}); measure again") from error
