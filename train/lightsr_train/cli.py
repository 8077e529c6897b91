"""Command line of training: `lightsr-train`."""

import argparse
import dataclasses
import logging
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from lightsr import __version__, endings
from lightsr.arguments import Parser
from lightsr.cli import positive
from lightsr.errors import install
from lightsr.progress import redraws

if TYPE_CHECKING:
    from lightsr_train.settings import RunConfig
    from lightsr_train.training import Trainer


INSTEAD = {
    **dict.fromkeys(("--epochs", "--iterations", "-n"), "--steps says how long a stage is"),
    **dict.fromkeys(("--model", "--arch"), "--network names what is trained, --init what it starts from"),
    **dict.fromkeys(("-d", "-i", "--input", "--dataset"), "--data names a folder of images"),
    **dict.fromkeys(
        ("--lr", "--learning-rate", "--batch", "--batch-size", "--seed", "--loss"),
        "the file of --config holds all settings, see docs/training.md",
    ),
    **dict.fromkeys(("--gpu", "--device", "--cuda"), "a GPU that torch finds is used"),
    **dict.fromkeys(("--force", "--overwrite"), "a run is never replaced; choose another --out"),
}
"""What there is in place of options that people know from elsewhere."""


NO_HELD_BACK = (
    "no patient is held back, so the gain is not measured and int8 cannot be judged later; "
    "images of at least two are needed, each in a folder of its own"
)


def parser() -> argparse.ArgumentParser:
    """Arguments of `lightsr-train`."""
    p = Parser(
        prog="lightsr-train",
        description="Train a light super-resolution network on folders of medical images.",
        examples=(
            "lightsr-train --data images --scale 2 --out runs/mine",
            "lightsr-train --data images --init base --scale 2 --out runs/tuned",
            "lightsr-train --config train/configs/base-x4.toml --out runs/base-x4 --resume",
        ),
        closing="Exit status: 0 trained, 1 failed, 2 wrong usage, 130 or 143 stopped, and --resume goes on. "
        "Next: lightsr-export RUN -o DIR",
        surplus="folders of images go with --data, each with its own",
        instead=INSTEAD,
    )
    p.add_argument(
        "--data",
        type=Path,
        action="append",
        metavar="DIR",
        help="folder of DICOM, PNG, JPEG, TIFF, NIfTI or NPY of one frame; repeatable",
    )
    p.add_argument("--scale", type=int, default=None, choices=(2, 3, 4, 8), help="enlargement (default 2)")
    p.add_argument(
        "--network",
        metavar="NAME",
        default=None,
        help="named network: tiny (default), base, srcnn, fsrcnn, espcn, residual or srdense",
    )
    p.add_argument("--config", type=Path, metavar="FILE.toml", help="take everything from a file")
    p.add_argument("-o", "--out", type=Path, required=True, metavar="RUN", help="run folder: checkpoints and log")
    p.add_argument("--steps", type=positive, metavar="N", help="optimiser steps of a stage")
    p.add_argument("--patch", type=positive, metavar="PX", help="side of a low-resolution training patch")
    p.add_argument(
        "--init",
        metavar="NAME|FILE",
        help="start from a released model, such as base, or a checkpoint, without the stages it has been through",
    )
    p.add_argument("--resume", action="store_true", help="go on with the run in RUN")
    p.add_argument("--threads", type=positive, metavar="N", help="CPU threads (default all)")
    p.add_argument(
        "--workers",
        type=partial(positive, least=0),
        metavar="N",
        help="processes that read images and draw patches, 0 for none "
        "(default: up to 8 read; on a GPU up to 8 draw, on a CPU a thread)",
    )
    p.add_argument("--debug", action="store_true", help="show tracebacks")
    p.add_argument("--version", action="version", version=f"lightsr-train {__version__}")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run `lightsr-train`; returns the exit status."""
    p = parser()
    arguments = p.parse_args(argv)
    if arguments.config and (arguments.network or arguments.scale):
        p.error("--config already says --network and --scale")
    if not arguments.config and not arguments.data:
        p.error("--data DIR or --config FILE.toml is needed")
    logging.basicConfig(format="lightsr-train: %(message)s", level=logging.WARNING)
    try:
        return endings.guarded(
            "lightsr-train", lambda: _train(arguments), debug=arguments.debug, install=install("train")
        )
    except KeyboardInterrupt:  # while images are read; later the loop stops between two steps
        if (arguments.out / "state.pt").exists():
            told = "between two steps; --resume goes on"
        elif (arguments.out / "data.json").exists():  # a second signal, at once: the first one would have saved
            from lightsr_train import stages, store

            store.remove(arguments.out / stages.STORE_FOLDER)
            told = "before anything was saved; the same command begins anew"
        else:
            told = "before the first step; nothing was written"
        print(f"lightsr-train: stopped {told}", file=sys.stderr)
        return 130


def _config(arguments: argparse.Namespace) -> "RunConfig":
    from lightsr_train import released
    from lightsr_train.runfile import read_run
    from lightsr_train.settings import SettingsError, from_preset, of_network

    if arguments.config:
        config = read_run(arguments.config)
    elif arguments.init and not arguments.network:  # the network that is to be trained on
        initial = released.find(arguments.init, arguments.scale or 2)
        scale = arguments.scale or int(initial.dimensions["scale"])
        config = of_network(initial.name, initial.family, initial.dimensions, scale)
    else:
        config = from_preset(arguments.network or "tiny", arguments.scale or 2)
    changes = {"steps": arguments.steps, "patch_px": arguments.patch}
    given = {key: value for key, value in changes.items() if value is not None}
    try:
        config = config.with_training(**given)
    except ValueError as error:
        raise SettingsError(f"--steps, --patch: {error}") from error
    data = tuple(arguments.data) if arguments.data else config.data
    if not data:
        raise SettingsError(f'{arguments.config}: names no data; add data = ["DIR"] or give --data DIR')
    return dataclasses.replace(config, data=data, init=arguments.init or config.init)


def _train(arguments: argparse.Namespace) -> int:
    config = _config(arguments)
    import torch

    from lightsr_train import data, stages
    from lightsr_train.networks import parameter_count
    from lightsr_train.processes import joined
    from lightsr_train.training import STATE_FILE, Progress, Trainer

    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    _check_place(arguments.out, config.data, begun=(arguments.out / STATE_FILE).exists(), resume=arguments.resume)
    stop = _StopOnSignal()
    live = redraws(sys.stderr)

    def begin(trainer: Trainer, collection: data.Collection) -> None:
        stop.at_once = False
        held = len({pair.origin.subject for pair in trainer.held_back})
        print(
            f"{len(collection.pairs)} images, {len(collection.skipped)} skipped, "
            f"{len(trainer.held_back)} images of {held} patients held back; "
            f"{config.name}, stage {trainer.stage.name}, {parameter_count(trainer.network):,} parameters, "
            f"{trainer.device}, from step {trainer.step:,} to {trainer.settings.steps:,}",
            file=sys.stderr,
            flush=True,
        )
        if not held:
            print(NO_HELD_BACK, file=sys.stderr)

    def report(progress: Progress) -> None:
        stop.at_once = progress.step == progress.steps  # the next stage's images may be read next
        gain = "  ".join(f"{name} {value:+.2f}" for name, value in progress.gain_db.items())
        text = (
            f"{progress.stage}  step {progress.step:,}/{progress.steps:,}  loss {progress.loss:.4f}  "
            f"{progress.steps_per_second:.1f} steps/s, {progress.waiting_share:.0%} waiting  "
            f"{_duration(progress.seconds_left)} left" + (f"  dB over bicubic: {gain}" if gain else "")
        )
        if live:
            print(f"\r\x1b[K{text}", end="\n" if gain else "", file=sys.stderr, flush=True)
        elif gain or progress.step % 1000 == 0:
            print(text, file=sys.stderr, flush=True)

    with joined(arguments.workers) as processes:
        if processes.first:
            print(f"reading {', '.join(map(str, config.data))}", file=sys.stderr, flush=True)
        trainer = stages.train(
            config,
            arguments.out,
            resume=arguments.resume,
            processes=processes,
            begin=begin,
            report=report,
            should_stop=lambda: stop.wanted,
        )
    finished = trainer.stage == trainer.config.last and trainer.step >= trainer.settings.steps
    if processes.first:
        _say_the_end(arguments.out, trainer, finished=finished)
    return 0 if finished else 128 + (stop.signal or signal.SIGTERM)


def _check_place(run: Path, folders: Sequence[Path], *, begun: bool, resume: bool) -> None:
    """Refuse a run folder that is not what it should be, before images are read."""
    from lightsr.folders import real

    from lightsr_train.data import check_folder
    from lightsr_train.settings import SettingsError

    if begun and not resume:
        raise SettingsError(f"{run}: holds a run; --resume goes on with it, or choose another --out")
    if resume and not begun:
        raise SettingsError(f"{run}: holds no run that could go on; begin one without --resume, or name its folder")
    for folder in folders:
        check_folder(folder)
        if not begun and real(run).is_relative_to(real(folder)):
            raise SettingsError(f"{run}: lies in the training images of {folder}; choose an --out beside them")


def _say_the_end(run: Path, trainer: "Trainer", *, finished: bool) -> None:
    if finished:
        print(f"{run}: trained; next: lightsr-export {run} -o DIR", file=sys.stderr)
        return
    print(
        f"\n{run}: stopped in stage {trainer.stage.name} at step {trainer.step:,}, saved; --resume goes on",
        file=sys.stderr,
    )


class _StopOnSignal:
    """Remembers Ctrl-C or SIGTERM, so that the loop can end between two steps; a second one ends at once.

    While `at_once` is true, as images are read, the first one does too.
    """

    def __init__(self) -> None:
        self.signal = 0
        self.at_once = True
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._remember)

    @property
    def wanted(self) -> bool:
        return self.signal != 0

    def _remember(self, number: int, frame: FrameType | None) -> None:
        if self.at_once or self.signal:
            raise endings.Stopped
        self.signal = number


def _duration(seconds: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(seconds)) if seconds < 86_400 else f"{seconds / 86_400:.1f} days"


if __name__ == "__main__":
    sys.exit(main())
