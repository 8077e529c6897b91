"""A checkpoint in, verified model files and a report out."""

import hashlib
import logging
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from lightsr import files, processor
from lightsr.card import ModelCard, Precision, check_name
from lightsr.errors import OutputError
from lightsr.model import Model
from lightsr.upscaler import IntensityMap, Upscaler
from lightsr_train import checkpoint, data
from lightsr_train.contract import Network
from lightsr_train.data import Pair
from lightsr_train.networks import parameter_count
from lightsr_train.patches import PatchSampler
from lightsr_train.validation import gain_over_bicubic
from numpy.typing import NDArray

from lightsr_export import graph, profile
from lightsr_export import report as report_module
from lightsr_export.attempts import Attempt, Search, enlarge_with, layer_name
from lightsr_export.errors import ExportError, GoldenError, IntegerFormError
from lightsr_export.finetune import Tuning
from lightsr_export.gate import MAX_DROP_DB, Judge
from lightsr_export.golden import golden
from lightsr_export.report import LATENCY_SIDE_PX, FileReport, Report, Trial, card_text
from lightsr_export.rewrite import FLOAT_PARTS, STEM, rewritten

logger = logging.getLogger(__name__)

CALIBRATION_IMAGES = 16
"""Most calibration images per modality."""

FP32_EXPONENT = 0.25
"""How far the weight of an image in fine-tuning leans to what the gate judges; see `weighed`."""

LEAST_ERROR = 0.01
"""Least error of fp32 for fine-tuning, as a share of bicubic interpolation's."""

CALIBRATION_SIDE_PX = 512
"""Side of the centre part that is taken of each, low-resolution pixels."""


@dataclass(frozen=True)
class Options:
    """How to export.

    Parameters
    ----------
    calibration : Path, optional
        Folder of training images for int8; by default the run's own.
    int8 : bool
        Whether to make the quantised file too.
    allowed_db : float
        Loss of int8 that is allowed in the mean of a data range; see `gate`.
    tuning : Tuning, optional
        How to fine-tune where the gate fails otherwise; by default that is not done.
    overwrite : bool
    """

    calibration: Path | None = None
    int8: bool = True
    allowed_db: float = MAX_DROP_DB
    tuning: Tuning | None = None
    overwrite: bool = False


def export(
    source: Path, folder: Path, options: Options = Options(), *, tell: Callable[[str], None] = logger.info
) -> Report:
    """Export a trained network.

    Parameters
    ----------
    source : Path
        Run folder or checkpoint of lightsr-train.
    folder : Path
        Gets ``NAME-xS-fp32.onnx``, ``NAME-xS-int8.onnx``, ``report.json`` and ``card.md``;
        made where it is missing. The int8 file is left out where it fails the gate.
    options : Options
    tell : callable
        Told what is being done.

    Returns
    -------
    Report

    Raises
    ------
    lightsr.LightsrError
        No such checkpoint, no images to calibrate or to judge on, a result that is not
        proven right, or files that exist already: nothing is then written. A file that
        cannot be written: then none is new; those that were replaced before stay so.
    """
    trained = checkpoint.load(source)
    check_name(trained.name)
    network = trained.network()
    stem = f"{trained.name}-x{network.config.scale}"
    precisions: tuple[Precision, ...] = ("fp32", "int8") if options.int8 else ("fp32",)
    targets: dict[Precision, Path] = {precision: folder / f"{stem}-{precision}.onnx" for precision in ("fp32", "int8")}
    report_path, card_path = folder / "report.json", folder / "card.md"
    if folder.exists() and not folder.is_dir():
        raise OutputError(f"{folder}: is no folder; -o takes one")
    if not options.overwrite:
        files.refuse_existing([*(targets[precision] for precision in precisions), report_path, card_path])
    training, held_back = _images(source, trained, options, tell) if options.int8 else ([], [])

    tell("rewriting the network and exporting it to ONNX")
    model, rewrites, difference = deployed(network)
    models: dict[Precision, onnx.ModelProto] = {"fp32": model}
    tried: list[Attempt] = []
    taken: Attempt | None = None
    refusal = ""
    judge = Judge(held_back, network.config.scale)
    if options.int8 and not judge.pairs:
        raise ExportError(
            f"all {len(held_back)} images of held-back patients are too small to judge int8 on; "
            "give larger ones with --calibration, or --no-int8"
        )
    if options.int8:
        try:
            tried, taken = _attempts(model, training, judge, trained, options, tell)
            if taken.verdict.passes:
                self_test = golden(taken.model, "int8", network.config.scale)
                models["int8"] = taken.model
            else:
                refusal = f"it fails the gate of {options.allowed_db:g} dB: {taken.verdict}"
        except (IntegerFormError, GoldenError) as error:
            refusal = str(error)

    card = ModelCard(
        name=trained.name,
        scale=network.config.scale,
        precision="fp32",
        halo_px=network.halo_px,
        alignment_px=network.alignment_px,
        intensity=network.intensity,
        consistency=network.consistency,
        degradations=tuple(trained.provenance["degradations"]),
        sources=trained.provenance["sources"],
        checkpoint_sha256=checkpoint.sha256(source),
        parameters=parameter_count(network),
        metrics={"steps": trained.provenance["step"]},
        golden=golden(model, "fp32", network.config.scale),
    )
    cards = {"fp32": card}
    if taken and "int8" in models:
        cards["int8"] = replace(
            card,
            precision="int8",
            intensity="unit",
            float_parts=float_parts(taken),
            golden=self_test,
        )
    contents = {}
    for precision in models:
        tell(f"measuring {precision}")
        if held_back:
            gain = _gain(models[precision], cards[precision], held_back)
            cards[precision] = replace(cards[precision], metrics=card.metrics | {"held_back_gain_db": gain})
        contents[precision] = _with_card(models[precision], cards[precision])
    tell("timing")
    measured, speedup = _measured(
        {precision: (targets[precision].name, content) for precision, content in contents.items()}, judge
    )
    report = Report(
        card=cards["fp32"],
        rewrites=tuple(rewrites),
        difference=difference,
        files=measured,
        trials=tuple(_trial(attempt) for attempt in tried),
        taken=_trial(taken) if taken else None,
        refusal=refusal,
        speedup=speedup,
        processor=processor.describe().label,
        versions=report_module.versions(),
    )
    _write(
        {
            **{targets[precision]: content for precision, content in contents.items()},
            report_path: report.to_json().encode(),
            card_path: card_text(report).encode(),
        },
        folder,
        overwrite=options.overwrite,
    )
    if options.overwrite and "int8" not in models and targets["int8"].exists():
        targets["int8"].unlink()  # it would pass for this network's
        tell(f"{targets['int8']}: removed, for it was of an older export")
    return report


def deployed(network: Network) -> tuple[onnx.ModelProto, list[str], float]:
    """The network as the float graph that devices run.

    Returns
    -------
    (ModelProto, list of str, float)
        The model, the passes that changed it, and the largest difference to torch as a share of the range.

    Raises
    ------
    ExportError
        onnxruntime and torch disagree.
    """
    module, applied = rewritten(network)
    model = graph.to_onnx(module)
    graph.checked(model, network)
    model, more = graph.simplified(model, network)
    return model, [*applied, *more], graph.checked(model, network)


def _images(
    source: Path, trained: checkpoint.Checkpoint, options: Options, tell: Callable[[str], None]
) -> tuple[list[Pair], list[Pair]]:
    """Images of training patients to calibrate on, and of held-back ones to judge."""
    settings = trained.provenance["training"]
    if not settings["hold_back"]:
        raise ExportError(
            f"{source}: was trained without held-back patients (hold_back = 0), so nothing could judge int8; "
            "use --no-int8, or train with some held back"
        )
    folders = [options.calibration] if options.calibration else checkpoint.data_folders(source)
    names = ", ".join(map(str, folders))
    tell(f"reading images from {names}")
    # The same images as in training, so that the same patients are held back.
    pairs = data.load(folders, trained.dimensions["scale"], min_side_px=settings["patch_px"]).pairs
    training, held_back = data.hold_back(pairs, settings["hold_back"])
    if not training or not held_back:
        raise ExportError(
            f"{names}: {len(training)} images of training patients and {len(held_back)} of held-back ones; "
            "int8 needs some of both; give images of two patients and more, each in a folder of its own, with "
            "--calibration, or --no-int8"
        )
    return training, held_back


def _attempts(
    model: onnx.ModelProto,
    training: list[Pair],
    judge: Judge,
    trained: checkpoint.Checkpoint,
    options: Options,
    tell: Callable[[str], None],
) -> tuple[list[Attempt], Attempt]:
    tell("int8: calibrating")
    search = Search(model, list(calibration_inputs(training)), judge, allowed_db=options.allowed_db, tell=tell)
    settings = trained.provenance["training"]

    def sampler() -> PatchSampler:
        block_px = trained.network().alignment_px
        tell("int8: measuring what fp32 gets wrong in every training image")
        return PatchSampler(
            weighed(training, model),
            scale=trained.dimensions["scale"],
            patch_px=settings["patch_px"] // block_px * block_px,
            batch=settings["batch"],
            seed=settings["seed"],
            unit=True,
            margin_px=(options.tuning or Tuning()).margin_px,
            edge_share=settings.get("edge_share", 0.0),
            oversampled_share=settings.get("oversampled_share", 0.0),
        )

    return search.until_it_passes(sampler, options.tuning)


def weighed(pairs: list[Pair], model: onnx.ModelProto) -> list[Pair]:
    """Pairs for fine-tuning, where an error counts between those of bicubic interpolation and of fp32.

    The gate weighs by what fp32 gets wrong, training by bicubic interpolation's error. The first
    alone gave up ultrasound for CT, the second CT for ultrasound.
    """
    enlarge = enlarge_with(model)
    found = []
    for pair in pairs:
        error = float(np.sqrt(np.mean(np.square(enlarge(pair.low).astype(np.float64) - pair.high))))
        relative = max(error / pair.error, LEAST_ERROR)
        found.append(replace(pair, error=pair.error * relative**FP32_EXPONENT))
    return found


def float_parts(attempt: Attempt) -> tuple[str, ...]:
    """What an int8 model computes in float, by name: of `FLOAT_PARTS` those that it has, and layers."""
    present = {tensor.name.split(".")[0] for tensor in attempt.model.graph.initializer}
    return (
        STEM,
        *(part for part in FLOAT_PARTS if part != STEM and part in present),
        *map(layer_name, attempt.keep),
    )


def _trial(attempt: Attempt) -> Trial:
    return Trial(attempt.means, attempt.percentile, tuple(map(layer_name, attempt.keep)), attempt.verdict)


def _measured(models: dict[Precision, tuple[str, bytes]], judge: Judge) -> tuple[tuple[FileReport, ...], float]:
    """What the finished files measure, and how many times as fast int8 is; 0 without."""
    lr = np.random.default_rng(0).random((1, 1, LATENCY_SIDE_PX, LATENCY_SIDE_PX), dtype=np.float32)
    paired = profile.paired_latency({precision: content for precision, (_, content) in models.items()}, lr)
    found = []
    for precision, (name, content) in models.items():
        minimum_ms, median_ms = report_module.latencies(paired, precision)
        model = Model(content, name)
        found.append(
            FileReport(
                name=name,
                precision=precision,
                bytes=len(content),
                sha256=hashlib.sha256(content).hexdigest(),
                parameters=profile.parameters(content),
                macs_per_px=profile.macs_per_output_px(content, lr, model.card.scale),
                minimum_ms=minimum_ms,
                median_ms=median_ms,
                operators=profile.optimised_operators(content),
                kernels=tuple(profile.kernels(content, lr)[: report_module.KERNELS]),
                float_parts=model.card.float_parts,
                quality=report_module.quality(judge.scores(Upscaler(model), with_ssim=True)),
                golden=report_module.self_test(model.card.golden),
            )
        )
    return tuple(found), round(paired.ratio("fp32", "int8"), 3) if "int8" in models else 0.0


def _write(contents: dict[Path, bytes], folder: Path, *, overwrite: bool) -> None:
    """Write all files, each whole or not at all; where one fails, those that were new go again."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{folder}: cannot be made: {error.strerror}; -o takes a folder") from error
    new = [path for path in contents if not path.exists()]
    written: list[Path] = []
    try:
        for path, content in contents.items():
            with files.new_file(path, overwrite=overwrite) as file:
                file.write(content)
            written.append(path)
    except BaseException:
        for path in set(new).intersection(written):
            path.unlink(missing_ok=True)
        raise


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
    """Centres of low-resolution training images, each mapped to [0, 1] as the runtime maps a file.

    Yields
    ------
    ndarray, shape (1, 1, h, w), float32
        Sides of at most `CALIBRATION_SIDE_PX`.
    """
    by_modality: dict[str, list[Pair]] = {}
    for pair in pairs:
        by_modality.setdefault(pair.origin.modality, []).append(pair)
    for images in by_modality.values():
        for pair in images[:: -(-len(images) // CALIBRATION_IMAGES)]:
            mapping = IntensityMap.of(pair.low)
            top, left = (max(0, (n - CALIBRATION_SIDE_PX) // 2) for n in pair.low.shape)
            part = pair.low[top : top + CALIBRATION_SIDE_PX, left : left + CALIBRATION_SIDE_PX]
            yield ((part - np.float32(mapping.offset)) / np.float32(mapping.span))[None, None]
