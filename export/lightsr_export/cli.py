"""Command line of the export: `lightsr-export`."""

import argparse
import logging
import shlex
import sys
import time
import warnings
from pathlib import Path

from lightsr import __version__, endings
from lightsr.arguments import Parser
from lightsr.cli import positive
from lightsr.errors import install

MAX_ALLOWED_DB = 10.0
"""Largest loss that can be allowed: beyond it, int8 destroys the picture."""


def parser() -> argparse.ArgumentParser:
    """Arguments of `lightsr-export`."""
    p = Parser(
        prog="lightsr-export",
        description="Export a trained network to verified fp32 and int8 ONNX files, with a report of what they cost, "
        "gain and lose.",
        examples=(
            "lightsr-export runs/mine -o models",
            "lightsr-export runs/mine -o models --qat --force",
            "lightsr-export train/checkpoints/tiny-x2.pt -o models --calibration images --max-psnr-drop 0.21",
        ),
        closing="Exit status: 0 done, 1 failed, 2 wrong usage, 3 no int8 file, because it failed the gate "
        "or has no integer form. "
        "Next: lightsr-infer IN OUT --model DIR/NAME-x2-int8.onnx",
        surplus="one run or checkpoint is exported at a time, and -o names the folder for the files",
        instead={
            "--data": "--calibration names a folder of images",
            "--int8": "int8 is made unless --no-int8 is given",
        },
    )
    p.add_argument("run", type=Path, metavar="RUN_OR_CHECKPOINT", help="run folder or checkpoint of lightsr-train")
    p.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder for the files")
    p.add_argument(
        "--calibration",
        type=Path,
        metavar="DIR",
        help="training images to calibrate and judge int8 on (default those of the run)",
    )
    p.add_argument(
        "--max-psnr-drop",
        type=_decibels,
        metavar="DB",
        help="PSNR that int8 may lose in the mean of a data range of held-back patients (default 0.05); "
        "a single image may lose three times as much",
    )
    p.add_argument(
        "--qat", action="store_true", help="fine-tune with the rounding in place where int8 fails otherwise; minutes"
    )
    p.add_argument("--qat-steps", type=positive, metavar="N", help="steps of --qat (default 4000)")
    p.add_argument("--no-int8", action="store_true", help="write fp32 only")
    p.add_argument("--force", action="store_true", help="overwrite files that are there already")
    p.add_argument("--json", action="store_true", help="the report as JSON on standard output")
    p.add_argument("--debug", action="store_true", help="show tracebacks")
    p.add_argument("--version", action="version", version=f"lightsr-export {__version__}")
    return p


def _decibels(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= MAX_ALLOWED_DB:
        raise argparse.ArgumentTypeError(f"'{text}': a number above 0, up to {MAX_ALLOWED_DB:g}, is needed")
    return value


def main(argv: list[str] | None = None) -> int:
    """Run `lightsr-export`; returns the exit status."""
    p = parser()
    arguments = p.parse_args(argv)
    for_int8 = ("calibration", "max_psnr_drop", "qat", "qat_steps")
    for name in for_int8:
        if arguments.no_int8 and getattr(arguments, name):
            p.error(f"--{name.replace('_', '-')} is for int8; it does not go with --no-int8")
    if arguments.qat_steps and not arguments.qat:
        p.error("--qat-steps is for --qat; give both")
    logging.basicConfig(format="lightsr-export: %(message)s", level=logging.WARNING)
    try:
        return endings.guarded(
            "lightsr-export", lambda: _export(arguments, argv), debug=arguments.debug, install=install("export")
        )
    except KeyboardInterrupt:
        print("lightsr-export: stopped; no new file is left", file=sys.stderr)
        return 130


def _export(arguments: argparse.Namespace, argv: list[str] | None) -> int:
    warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")
    from lightsr_export.export import Options, export
    from lightsr_export.finetune import Tuning
    from lightsr_export.gate import MAX_DROP_DB
    from lightsr_export.report import summary

    # torch's exporter reports every operator library that is not installed; importing it sets its level.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    tuning = Tuning(steps=arguments.qat_steps or Tuning.steps) if arguments.qat else None
    start = time.monotonic()
    options = Options(
        calibration=arguments.calibration,
        int8=not arguments.no_int8,
        allowed_db=arguments.max_psnr_drop or MAX_DROP_DB,
        tuning=tuning,
        overwrite=arguments.force,
    )
    report = export(
        arguments.run,
        arguments.out,
        options,
        tell=lambda text: print(f"{time.monotonic() - start:4.0f} s  {text}", file=sys.stderr),
    )
    print(report.to_json() if arguments.json else summary(report))
    for warning in report.warnings:
        print(f"lightsr-export: {warning}", file=sys.stderr)
    if report.taken and report.refusal and not tuning:
        again = [*(sys.argv[1:] if argv is None else argv), "--qat", *([] if arguments.force else ["--force"])]
        print(f"next: lightsr-export {shlex.join(again)}", file=sys.stderr)
    best = report.files[-1] if report.speedup > 1 else report.files[0]
    path = shlex.quote(str(arguments.out / best.name))
    print(f"next: lightsr-infer IN OUT --model {path}", file=sys.stderr)
    print(f"next: lightsr-bench device {path}", file=sys.stderr)
    return 3 if report.refusal else 0


if __name__ == "__main__":
    sys.exit(main())
