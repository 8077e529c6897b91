"""Variants of networks and of their training, trained alike and compared: `lightsr-bench experiment`."""

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from lightsr import processor
from lightsr.card import check_name
from lightsr.cpus import available_cpus
from lightsr.errors import LightsrError
from lightsr_export import export, profile
from lightsr_export.errors import IntegerFormError
from lightsr_export.report import versions
from lightsr_train import checkpoint, runfile, stages, store
from lightsr_train.degradation import BICUBIC, parse
from lightsr_train.folders import OccupiedError
from lightsr_train.processes import Processes, usual_readers
from lightsr_train.settings import RunConfig
from lightsr_train.training import LOG_FILE, STATE_FILE

from lightsr_bench import device, documents, forms, methods, quality, scoring

SIDE_PX = 256
"""Side of the picture that is timed, low-resolution pixels."""

ROUNDS = 12
"""Timed runs of each network."""


class ExperimentError(LightsrError):
    """An experiment that cannot be read."""


@dataclass(frozen=True)
class Variant:
    """One network and the way it is trained.

    Parameters
    ----------
    name : str
    note : str
        What is different about it.
    config : RunConfig
    """

    name: str
    note: str
    config: RunConfig


@dataclass(frozen=True)
class Experiment:
    """What is compared.

    Parameters
    ----------
    title : str
    variants : tuple of Variant
        All of one scale.
    curves : bool
        Whether its table tells what equal times of training give, too.
    degradations : tuple of str
        Under which all are measured besides bicubic reduction.
    left_out : tuple of str
        Names of variants that its file has too.
    """

    title: str
    variants: tuple[Variant, ...]
    curves: bool = False
    degradations: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    @property
    def scale(self) -> int:
        """Of every variant."""
        return self.variants[0].config.last.network.scale


@dataclass(frozen=True)
class _Here:
    """Circumstances of the timing; an interrupted experiment has no results."""

    processor: str
    versions: dict[str, str]
    other_load_cpus: float
    interrupted: bool = False


def read(path: Path) -> Experiment:
    """The experiment that a TOML file describes.

    ``[common]`` is a configuration of lightsr-train; every ``[[variant]]`` has a ``name``, a
    ``note``, and what differs from it. At the top stand a ``title``, whether the table has ``curves``, and
    further ``degradations`` to measure under.

    Raises
    ------
    ExperimentError, SettingsError
        Missing or malformed; a setting that is unknown or out of range.
    """
    content = runfile.read_toml(path)
    unknown = set(content) - {"title", "curves", "degradations", "common", "variant"}
    tables, common = content.get("variant", []), content.get("common", {})
    with_curves, degradations = content.get("curves", False), content.get("degradations", [])
    proper = (
        isinstance(with_curves, bool)
        and isinstance(common, dict)
        and isinstance(degradations, list)
        and isinstance(tables, list)
        and all(isinstance(table, dict) for table in tables)
    )
    if unknown or not proper or not tables:
        raise ExperimentError(
            f"{path}: a table [common] and tables [[variant]] are needed, title, curves (true or false) and "
            "degradations (a list) are allowed, and nothing else"
        )
    for text in degradations:
        try:
            parse(str(text))
        except ValueError as error:
            raise ExperimentError(f"{path}: degradations: {error}") from error
    variants = []
    for table in tables:
        own = dict(table)
        name, note = str(own.get("name", "")), str(own.pop("note", ""))
        check_name(name)
        config = runfile.run_from(_merged(common, own), path)
        if not config.data:
            raise ExperimentError(f'{path}: {name} names no data; add data = ["DIR"] to [common]')
        variants.append(Variant(name, note, config))
    names = [variant.name for variant in variants]
    if len(set(names)) < len(names):
        raise ExperimentError(f"{path}: two variants have one name ({', '.join(names)}); give each its own")
    if len({variant.config.last.network.scale for variant in variants}) > 1:
        raise ExperimentError(f"{path}: its variants have several scales; one experiment has one")
    title = str(content.get("title", path.stem))
    return Experiment(title, tuple(variants), with_curves, tuple(map(str, degradations)))


def only(experiment: Experiment, names: Sequence[str]) -> Experiment:
    """The experiment with these variants alone.

    Raises
    ------
    ExperimentError
        It has no such variant.
    """
    known = [variant.name for variant in experiment.variants]
    if strange := [name for name in names if name not in known]:
        raise ExperimentError(f"--only {strange[0]}: no such variant; there are {', '.join(known)}")
    chosen = tuple(variant for variant in experiment.variants if variant.name in names)
    return replace(experiment, variants=chosen, left_out=tuple(name for name in known if name not in names))


WHOLE = frozenset({"degradations", "hard_share", "modality_weight"})
"""Tables that are one value: a variant's replaces the common one."""


def _merged(common: Mapping[str, Any], own: Mapping[str, Any]) -> dict[str, Any]:
    """Tables within tables are merged; everything else of `own` replaces that of `common`.

    A variant of another family takes no dimensions from `common` but the scale.
    """
    result = dict(common)
    if own.get("family", common.get("family")) != common.get("family"):
        network = common.get("network", {})
        result["network"] = {key: network[key] for key in ("scale",) if key in network}
    for key, value in own.items():
        both = isinstance(value, dict) and isinstance(result.get(key), dict) and key not in WHOLE
        result[key] = _merged(result[key], value) if both else value
    return result


def run(
    experiment: Experiment,
    out: Path,
    folder: Path,
    arguments: Sequence[str],
    *,
    limit: int | None = None,
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Train what is not trained yet, then time and measure everything.

    Parameters
    ----------
    experiment : Experiment
    out : Path
        Gets a run folder for every variant.
    folder : Path
        Images to report on.
    arguments : sequence of str
        Of the command line.
    limit : int, optional
        Measure only about so many images.
    progress : callable
        Told what is being done.

    Returns
    -------
    dict
        The result file's content.

    Raises
    ------
    ExperimentError
        `folder` does not exist, or a variant's run is of other settings.
    """
    if not folder.is_dir():  # told now, not after the training
        raise ExperimentError(f"{folder}: no such folder; --eval takes a folder of images")
    rows = []
    models: dict[str, onnx.ModelProto] = {}
    paths: dict[str, Path] = {}
    for variant in experiment.variants:
        run_folder = out / variant.name
        _train(variant, run_folder, out / stages.STORE_FOLDER, progress)
        progress(f"exporting {variant.name}")
        exported = run_folder / "exported"
        export.export(run_folder, exported, export.Options(int8=False, overwrite=True), tell=progress)
        (paths[variant.name],) = exported.glob("*-fp32.onnx")
        fp32 = onnx.load(paths[variant.name])
        models[f"{variant.name}/fp32"] = fp32
        with suppress(IntegerFormError):  # then it has times in fp32 alone
            models[f"{variant.name}/int8"] = forms.in_integers(fp32)
        rows.append(_row(variant, fp32, run_folder))
    store.remove(out / stages.STORE_FOLDER)
    progress("timing all in turns")
    others = device.Bystanders()
    lr = np.random.default_rng(0).random((1, 1, SIDE_PX, SIDE_PX), dtype=np.float32)
    timed = profile.paired_latency(models, lr, rounds=ROUNDS)
    load = others.cpus()
    for row in rows:
        for form in ("fp32", "int8"):
            key = f"{row['name']}/{form}"
            row[f"{form}_ms"] = timed.minimum_ms.get(key)
            row[f"{form}_median_ms"] = timed.median_ms.get(key)
    selection = methods.select([str(path) for path in paths.values()], scale=experiment.scale, threads=available_cpus())
    measured = _quality(selection, experiment.scale, BICUBIC, folder, limit, progress)
    under = {
        text: _quality(selection, experiment.scale, text, folder, limit, progress) for text in experiment.degradations
    }
    for row in rows:
        method = f"{row['name']}-x{experiment.scale}-fp32"
        row["quality"] = measured.get(method, [])
        row["under"] = {text: found.get(method, []) for text, found in under.items()}
    return documents.measured(
        "experiment",
        arguments,
        _Here(processor.describe().label, versions(), load),
        protocol={"scale": experiment.scale, "side_px": SIDE_PX, "rounds": ROUNDS, "threads": 1, "limit": limit},
        content={
            "title": experiment.title,
            "curves": experiment.curves,
            "degradations": list(experiment.degradations),
            "left_out": list(experiment.left_out),
            "interpolation": {name: measured[name] for name in methods.interpolations(experiment.scale)},
            "variants": rows,
        },
    )


def trained_by(config: RunConfig, made: checkpoint.Checkpoint) -> bool:
    """Whether a finished network was trained by these settings, in all stages of which it has a record."""
    if made.family != config.family or made.dimensions != asdict(config.last.network):
        return False
    been_through = checkpoint.history(made)
    wanted = config.stages
    if config.init or "history" not in made.provenance:
        been_through, wanted = been_through[-1:], wanted[-1:]
    return [(each["stage"], each["scale"], each["training"]) for each in been_through] == [
        (stage.name, stage.network.scale, asdict(stage.training)) for stage in wanted
    ]


def _train(variant: Variant, folder: Path, images: Path, progress: Callable[[str], None]) -> None:
    state = folder / STATE_FILE
    last = variant.config.last
    if state.exists() and stages.stage_file(folder, last).exists():
        if not trained_by(variant.config, checkpoint.load(folder)):
            raise ExperimentError(f"{folder}: was trained with other settings; choose another --out, or remove it")
        return
    try:
        stages.train(
            variant.config,
            folder,
            images=images,
            resume=state.exists(),
            processes=Processes(readers=usual_readers()),
            report=lambda p: progress(f"training {variant.name}: {p.stage}, step {p.step:,} of {p.steps:,}"),
        )
    except OccupiedError:  # the pictures are the other process's
        raise
    except LightsrError:  # it cannot go on, and leaves no pictures behind
        store.remove(images)
        raise


def _row(variant: Variant, fp32: onnx.ModelProto, folder: Path) -> dict[str, Any]:
    trained = checkpoint.load(folder)
    lr = np.zeros((1, 1, SIDE_PX, SIDE_PX), np.float32)
    lines = [json.loads(line) for line in (folder / LOG_FILE).read_text(encoding="utf-8").splitlines()]
    seconds = {line["stage"]: line["processor_seconds"] for line in lines}
    return {
        "name": variant.name,
        "note": variant.note,
        "family": trained.family,
        "dimensions": trained.dimensions,
        "parameters": profile.parameters(fp32),
        "macs_per_px": profile.macs_per_output_px(fp32, lr, trained.dimensions["scale"]),
        "steps": sum(stage.training.steps for stage in variant.config.stages),
        "seconds": sum(seconds.values()),
        "held_back_gain_db": trained.provenance["held_back_gain_db"],
        "curve": [
            {
                "stage": line["stage"],
                "step": line["step"],
                "seconds": line["processor_seconds"],
                "gain_db": line["gain_db"],
            }
            for line in lines
            if "gain_db" in line
        ],
    }


def _quality(
    selection: methods.Selection,
    scale: int,
    degradation: str,
    folder: Path,
    limit: int | None,
    progress: Callable[[str], None],
) -> dict[str, list[dict[str, Any]]]:
    """PSNR, SSIM and gain by data range, of every method by its name."""
    report = scoring.measure(folder, selection, scale=scale, degradation=degradation, limit=limit, progress=progress)
    found: dict[str, list[dict[str, Any]]] = {}
    for summary in quality.summarise(report.scores):
        found.setdefault(summary.method, []).append(
            {
                "range": summary.group,
                "images": summary.images,
                "psnr_db": summary.psnr_db,
                "ssim": summary.ssim,
                "gain_db": summary.gain_db,
                "worst_db": summary.worst_gain_db,
            }
        )
    return found
