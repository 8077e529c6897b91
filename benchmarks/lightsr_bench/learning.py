"""How fast networks learn, and in how much memory: the run of `lightsr-bench training`."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightsr import processor
from lightsr_export import profile
from lightsr_export.export import deployed
from lightsr_export.report import versions
from lightsr_train.contract import Network
from lightsr_train.data import check_folder
from lightsr_train.networks import PRESETS, build
from lightsr_train.settings import from_preset

from lightsr_bench import device, documents
from lightsr_bench.documents import DocumentError

DEFAULTS = tuple(PRESETS)
"""Networks that are trained where none is named."""

SIDE_PX = 64
"""Side of the picture on which multiply-adds are counted."""


@dataclass(frozen=True)
class Goal:
    """What is trained for, and for how long.

    Parameters
    ----------
    scale : int
    modality : str
        Its held-back patients are watched.
    target_db : float
        PSNR over bicubic interpolation that ends the training.
    max_seconds : float
        Training time that ends it too.
    steps : int
        Length of the schedule of learning rates.
    validate_every : int
        Steps between two looks at the held-back patients.
    threads : int
    """

    scale: int = 2
    modality: str = "MR"
    target_db: float = 1.0
    max_seconds: float = 600.0
    steps: int = 15_000
    validate_every: int = 100
    threads: int = 1


@dataclass(frozen=True)
class Row:
    """What a network took.

    Parameters
    ----------
    name : str
    parameters : int
        Of the network as it is exported.
    macs_per_px : float
        Multiply-adds per output pixel, as it is exported.
    learning_rate : float
    steps_per_second : float
        Validations left out.
    memory_mib : float
        Peak of the process's own memory over that before the network was made.
    reached_seconds : float or None
        Training time until the goal; None where it was not reached.
    steps : int
    gain_db : dict
        At the end, by modality.
    """

    name: str
    parameters: int
    macs_per_px: float
    learning_rate: float
    steps_per_second: float
    memory_mib: float
    reached_seconds: float | None
    steps: int
    gain_db: dict[str, float]


@dataclass(frozen=True)
class Report:
    """Everything a run found."""

    goal: Goal
    processor: str
    versions: dict[str, str]
    rows: tuple[Row, ...]
    failures: dict[str, str]
    other_load_cpus: float
    interrupted: bool = False


def run(names: Sequence[str], folders: Sequence[Path], goal: Goal, *, progress: Callable[[str], None]) -> Report:
    """Train one network after the other, each in a process of its own.

    Parameters
    ----------
    names : sequence of str
        Keys of `PRESETS`.
    folders : sequence of Path
        Training images.
    goal : Goal
    progress : callable
        Told what is being done.
    """
    for name in names:
        from_preset(name, goal.scale)  # a wrong name is told at once
    for folder in folders:
        check_folder(folder)
    rows: list[Row] = []
    failures: dict[str, str] = {}
    interrupted = False
    others = device.Bystanders()
    with tempfile.TemporaryDirectory() as scratch:
        try:
            for name in names:
                progress(f"training {name}")
                try:
                    rows.append(measure(name, folders, goal, Path(scratch) / "images", progress=progress))
                except DocumentError as error:
                    failures[name] = str(error)
        except KeyboardInterrupt:
            interrupted = True
    load = others.cpus()
    return Report(goal, processor.describe().label, versions(), tuple(rows), failures, load, interrupted)


def measure(name: str, folders: Sequence[Path], goal: Goal, store: Path, *, progress: Callable[[str], None]) -> Row:
    """Train one network.

    Raises
    ------
    DocumentError
        Its process failed.
    """
    config = from_preset(name, goal.scale)
    request = {
        **asdict(goal),
        "network": name,
        "run": str(store.parent / name),
        "data": [str(folder) for folder in folders],
        "store": str(store),
    }
    command = [sys.executable, "-m", "lightsr_bench.learner"]
    last: dict[str, Any] = {}
    gain: dict[str, float] = {}
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True) as process,
    ):
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request))
            process.stdin.close()
            for line in process.stdout:
                last = json.loads(line)
                gain = last.get("gain_db", gain)
                if "gain_db" in last:
                    progress(f"training {name}: step {last['step']:,}, {gain.get(goal.modality, 0):+.2f} dB")
            process.wait()
            errors.seek(0)
            said = errors.read().strip().splitlines()
        except BaseException:
            process.kill()
            raise
    if process.returncode or "steps" not in last:
        raise DocumentError(str(last.get("error") or (said[-1] if said else f"ended with status {process.returncode}")))
    model = deployed(as_if_trained(build(config.family, asdict(config.last.network))).eval())[0]
    lr = np.zeros((1, 1, SIDE_PX, SIDE_PX), np.float32)
    return Row(
        name=name,
        parameters=profile.parameters(model),
        macs_per_px=profile.macs_per_output_px(model, lr, goal.scale),
        learning_rate=config.stages[-2].training.learning_rate,
        steps_per_second=last["steps"] / last["seconds"],
        memory_mib=last["memory_mib"],
        reached_seconds=last["reached_seconds"],
        steps=last["steps"],
        gain_db=gain,
    )


def as_if_trained(network: Network) -> Network:
    """Every parameter a little different: of tensors that are equal, as before training, the export keeps one."""
    random = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=random), alpha=1e-3)
    return network


def document(report: Report, arguments: Sequence[str]) -> dict[str, Any]:
    """Result file of a run.

    Parameters
    ----------
    report : Report
    arguments : sequence of str
        Of the command line.
    """
    return documents.measured(
        "training",
        arguments,
        report,
        protocol=asdict(report.goal),
        content={
            "networks": [asdict(row) for row in report.rows],
            "failures": {name: documents.public(reason) for name, reason in report.failures.items()},
        },
    )


def text(content: Mapping[str, Any]) -> str:
    """The table of a result file, in Markdown."""
    goal = Goal(**content["protocol"])
    head = (
        f"x{goal.scale}, {goal.threads} thread(s) of {content['processor']}; learning rates end at {goal.steps:,} "
        f"steps; held-back patients are looked at every {goal.validate_every} steps, at most {goal.max_seconds:g} s"
    )
    columns = (
        "network",
        "parameters",
        "MAC per output px",
        "learning rate",
        "steps/s",
        "peak memory MiB",
        f"s to bicubic + {goal.target_db:g} dB on {goal.modality}",
        "steps",
    )
    lines = [f"| {' | '.join(columns)} |", "| --- |" + " ---: |" * (len(columns) - 1)]
    for row in (Row(**entry) for entry in content["networks"]):
        reached = f"{row.reached_seconds:.0f}" if row.reached_seconds is not None else "not reached"
        lines.append(
            f"| {row.name} | {row.parameters:,} | {row.macs_per_px:,.0f} | {row.learning_rate:g} | "
            f"{row.steps_per_second:.1f} | {row.memory_mib:.0f} | {reached} | {row.steps:,} |"
        )
    failures = [f"{name}: {reason}" for name, reason in content["failures"].items()]
    return "\n".join([f"`{content['command']}`", "", head, "", *lines, *([""] if failures else []), *failures])
