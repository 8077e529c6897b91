"""A checkpoint in, verified model files out."""

import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from lightsr import files
from lightsr.card import ModelCard, Precision, check_name
from lightsr.errors import OutputError
from lightsr.model import Model
from lightsr.upscaler import IntensityMap, Upscaler
from lightsr_train import checkpoint, data
from lightsr_train.data import Pair
from lightsr_train.networks import parameter_count
from lightsr_train.training import gain_over_bicubic
from numpy.typing import NDArray

from lightsr_export import graph, quantise
from lightsr_export.golden import golden
from lightsr_export.rewrite import FLOAT_PARTS

logger = logging.getLogger(__name__)

CALIBRATION_IMAGES = 16
"""Most calibration images per modality."""

CALIBRATION_SIDE_PX = 128
"""Side of the centre part that is taken of each, low-resolution pixels."""


@dataclass(frozen=True)
class Exported:
    """One model file that was written.

    Parameters
    ----------
    path : Path
    card : ModelCard
    bytes : int
    difference : float
        fp32: largest difference between onnxruntime and torch, as a share of the range.
    """

    path: Path
    card: ModelCard
    bytes: int
    difference: float


def export(
    source: Path,
    folder: Path,
    *,
    calibration: Path | None = None,
    int8: bool = True,
    overwrite: bool = False,
    tell: Callable[[str], None] = logger.info,
) -> list[Exported]:
    """Export a trained network.

    Parameters
    ----------
    source : Path
        Run folder or checkpoint of lightsr-train.
    folder : Path
        Gets ``NAME-xS-fp32.onnx``, ``NAME-xS-int8.onnx`` and ``NAME-xS-card.md``; made
        where it is missing.
    calibration : Path, optional
        Folder of training images for int8; by default the run's own.
    int8 : bool
        Whether to write the quantised file too.
    overwrite : bool
    tell : callable
        Told what is being done.

    Returns
    -------
    list of Exported

    Raises
    ------
    lightsr.LightsrError
        No such checkpoint, no images to calibrate on, a result that is not proven right,
        or files that exist already. Nothing is then written.
    """
    trained = checkpoint.load(source)
    check_name(trained.name)
    network = trained.network()
    config = network.config
    stem = f"{trained.name}-x{config.scale}"
    precisions: tuple[Precision, ...] = ("fp32", "int8") if int8 else ("fp32",)
    targets = {precision: folder / f"{stem}-{precision}.onnx" for precision in precisions}
    card_path = folder / f"{stem}-card.md"
    if not overwrite:
        files.refuse_existing([*targets.values(), card_path])
    pairs: list[Pair] = []
    if int8:
        folders = [calibration] if calibration else checkpoint.data_folders(source)
        tell(f"reading calibration images from {', '.join(map(str, folders))}")
        # The same images as in training, so that the same patients are held back.
        patch_px = trained.provenance["training"]["patch_px"]
        pairs = list(data.load(folders, config.scale, min_side_px=patch_px).pairs)

    tell("exporting to ONNX")
    model = graph.to_onnx(network)
    graph.checked(model, network)
    tell("simplifying")
    model = graph.simplified(model, network)
    difference = graph.checked(model, network)
    models: dict[Precision, onnx.ModelProto] = {"fp32": model}
    training, held_back = data.hold_back(pairs, trained.provenance["training"]["hold_back"])
    if int8:
        tell("calibrating int8")
        ranges = quantise.calibrate(model, calibration_inputs(training))
        models["int8"] = quantise.quantised(model, ranges)

    card = ModelCard(
        name=trained.name,
        scale=config.scale,
        precision="fp32",
        halo_px=config.halo_px,
        alignment_px=config.unshuffle,
        intensity="any",
        consistency=config.consistency,
        degradations=tuple(trained.provenance["degradations"]),
        sources=trained.provenance["sources"],
        checkpoint_sha256=checkpoint.sha256(source),
        parameters=parameter_count(network),
        metrics={},
        golden=golden(model, "fp32"),
    )
    results = []
    contents = []
    for precision in precisions:
        tell(f"measuring {precision}")
        if precision == "int8":
            card = replace(
                card,
                precision="int8",
                intensity="unit",
                float_parts=FLOAT_PARTS,
                golden=golden(models["int8"], "int8"),
            )
        metrics = {"steps": trained.provenance["step"]}
        if held_back:
            metrics["held_back_gain_db"] = _gain(models[precision], card, held_back)
        card = replace(card, metrics=metrics)
        content = _with_card(models[precision], card)
        contents.append((targets[precision], content))
        results.append(Exported(targets[precision], card, len(content), difference))
    contents.append((card_path, card_text(results).encode()))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}; -o takes a folder") from error
    for path, content in contents:
        with files.new_file(path, overwrite=overwrite) as file:
            file.write(content)
    return results


def _with_card(model: onnx.ModelProto, card: ModelCard) -> bytes:
    content: bytes = graph.with_metadata(model, card.to_metadata()).SerializeToString(deterministic=True)
    return content


def _gain(model: onnx.ModelProto, card: ModelCard, pairs: list[Pair]) -> dict[str, float]:
    """What the device's own runtime gains with this model on held-back patients."""
    upscaler = Upscaler(Model(_with_card(model, card), card.name))

    def enlarge(low: NDArray[Any]) -> NDArray[np.float32]:
        return upscaler(low.astype(np.float32))

    gain = gain_over_bicubic(enlarge, pairs, card.scale)
    return {modality: round(value, 3) for modality, value in gain.items()}


def calibration_inputs(pairs: list[Pair]) -> Iterator[NDArray[np.float32]]:
    """Centres of low-resolution training images, each mapped to [0, 1] as the runtime maps a file."""
    by_modality: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_modality.setdefault(pair.origin.modality, []).append(pair)
    for images in by_modality.values():
        for pair in images[:: -(-len(images) // CALIBRATION_IMAGES)]:
            mapping = IntensityMap.of(pair.low)
            top, left = (max(0, (n - CALIBRATION_SIDE_PX) // 2) for n in pair.low.shape)
            part = pair.low[top : top + CALIBRATION_SIDE_PX, left : left + CALIBRATION_SIDE_PX]
            yield ((part - np.float32(mapping.offset)) / np.float32(mapping.span))[None, None]


def card_text(results: list[Exported]) -> str:
    """The card as Markdown, one for all precisions of a model."""
    card = results[0].card
    lines = [
        f"# {card.name} x{card.scale}",
        "",
        "A light dense network of lightsr for medical super-resolution. Its results are derived images, "
        "not for primary diagnosis.",
        "",
        f"- enlargement: {card.scale}; parameters: {card.parameters:,}; training steps: {card.metrics['steps']:,}",
        f"- degradations trained for: {', '.join(card.degradations)}",
        f"- consistency step: lambda = {card.consistency}",
        f"- sees {card.halo_px} low-resolution pixels around each; tiles are aligned to {card.alignment_px}",
        f"- checkpoint: sha256 {card.checkpoint_sha256}",
        "",
        "| file | KiB | intensity | in float | gain over bicubic on held-back patients, dB |",
        "| --- | --- | --- | --- | --- |",
    ]
    for result in results:
        gain = result.card.metrics.get("held_back_gain_db", {})
        lines.append(
            f"| {result.path.name} | {result.bytes / 1024:.0f} | {result.card.intensity} | "
            f"{', '.join(result.card.float_parts) or 'everything'} | "
            f"{', '.join(f'{name} {value:+.2f}' for name, value in gain.items()) or 'not measured'} |"
        )
    lines += [
        "",
        f"onnxruntime and torch differ by at most {results[0].difference:.1e} of the input's range.",
        "",
        "Trained on (modality, collection, licence, images):",
        "",
    ]
    for source in card.sources:
        licence = source["licence"] or "licence not stated"
        lines.append(f"- {source['modality']}: {source['source']}, {licence}, {source['images']}")
    return "\n".join([*lines, ""])
