"""Command line of the benchmarks: `lightsr-bench`."""

import argparse
import dataclasses
import json
import logging
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, get_args

from lightsr import __version__, files
from lightsr.card import Precision
from lightsr.errors import LightsrError


def parser() -> argparse.ArgumentParser:
    """Arguments of `lightsr-bench`."""
    p = argparse.ArgumentParser(prog="lightsr-bench", description="Measure lightsr models beside what people use.")
    p.add_argument("--version", action="version", version=f"lightsr-bench {__version__}")
    commands = p.add_subparsers(dest="command", required=True)
    _add_device(commands)
    q = commands.add_parser("quality", help="PSNR and SSIM on real images")
    q.add_argument("models", nargs="*", metavar="MODEL", help="bundled name or .onnx file (default: all bundled)")
    q.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of images")
    q.add_argument("--scale", type=int, choices=(2, 3, 4, 8), default=2, help="enlargement (default 2)")
    q.add_argument(
        "--degradation",
        choices=("bicubic", "area"),
        default="bicubic",
        help="how the input is made (default bicubic)",
    )
    q.add_argument("--by-source", action="store_true", help="a second table, per source")
    q.add_argument("--limit", type=int, metavar="N", help="only about N images, spread evenly")
    q.add_argument("--threads", type=int, metavar="N", help="CPU threads of the models (default all)")
    q.add_argument("--json", type=Path, metavar="FILE", help="every score, to a file")
    q.add_argument("--force", action="store_true", help="overwrite FILE")
    q.add_argument("--debug", action="store_true", help="show tracebacks")
    return p


def _add_device(commands: Any) -> None:
    d = commands.add_parser(
        "device",
        help="latency and memory on this machine",
        description="Measure latency and memory of networks on this machine, each in fresh processes, in turns.",
    )
    d.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="bundled name, .onnx or .pb file, a folder of them, or fsrcnn, espcn, srcnn: "
        "these architectures for one channel with random weights (default: all bundled)",
    )
    d.add_argument("--scale", type=int, choices=(2, 3, 4, 8), help="of bundled models and architectures (default 2)")
    d.add_argument("--size", type=_numbers, default=[128, 256, 512], metavar="PX,...", help="(default 128,256,512)")
    d.add_argument("--threads", type=_threads, default=["1", "2", "all"], metavar="N,...", help="(default 1,2,all)")
    d.add_argument("--rounds", type=_positive, default=3, metavar="N", help="processes a network (default 3)")
    d.add_argument("--seconds", type=float, default=1.0, metavar="S", help="least duration of a round (default 1)")
    d.add_argument("--limit", metavar="memory=256M,cpus=1", help="imitate a smaller machine")
    _add_output(d)


def _add_output(p: argparse.ArgumentParser) -> None:
    p.add_argument("--json", type=Path, metavar="FILE", help="results, to a file")
    p.add_argument("--force", action="store_true", help="overwrite files")
    p.add_argument("--debug", action="store_true", help="show tracebacks")


def _positive(text: str) -> int:
    if not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"'{text}': a whole number above 0 is needed")
    return int(text)


def _numbers(text: str) -> list[int]:
    return [_positive(part) for part in text.split(",")]


def _threads(text: str) -> list[str]:
    return [part if part == "all" else str(_positive(part)) for part in text.split(",")]


def main(argv: list[str] | None = None) -> int:
    """Run `lightsr-bench`; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    arguments = parser().parse_args(argv)
    arguments.argv = argv
    logging.basicConfig(format="lightsr-bench: %(message)s", level=logging.WARNING)
    try:
        return {"device": _device, "quality": _quality}[arguments.command](arguments)
    except LightsrError as error:
        if arguments.debug:
            raise
        print(f"lightsr-bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lightsr-bench: stopped", file=sys.stderr)
        return 130


def _device(arguments: argparse.Namespace) -> int:
    from lightsr_bench import architectures, device, device_report, documents, limits, networks, target

    if arguments.json and not arguments.force:
        files.refuse_existing([arguments.json])
    limited = limits.parse(arguments.limit) if arguments.limit else limits.Limits()
    with tempfile.TemporaryDirectory() as folder:
        models = [
            str(architectures.write(model, arguments.scale or 2, Path(folder)))
            if model in architectures.ARCHITECTURES
            else model
            for model in arguments.models
        ]
        found = networks.find(models, scale=arguments.scale)
        found = [dataclasses.replace(n, random_weights=n.path.is_relative_to(folder)) for n in found]
        threads = device.thread_counts(arguments.threads, device.cpus_under(limited))
        options = {"sizes_px": arguments.size, "rounds": arguments.rounds, "seconds": arguments.seconds}
        report = device_report.run(
            found,
            target=target.describe(limited=limited.label),
            progress=_progress,
            threads=threads,
            limits=limited,
            **options,
        )
    _progress("")
    print(device_report.text(report))
    if arguments.json:
        content = device_report.document(report, arguments.argv, options)
        with files.new_file(arguments.json, overwrite=arguments.force) as file:
            file.write(documents.dumps(content))
    if warning := device_report.busy_warning(report):
        print(f"lightsr-bench: {warning}", file=sys.stderr)
    if report.interrupted:
        raise KeyboardInterrupt
    return 3 if report.failed else 0


def _progress(text: str) -> None:
    """Show what is being done, on a terminal only; an empty text wipes it."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}", end="", file=sys.stderr, flush=True)


def _quality(arguments: argparse.Namespace) -> int:
    from lightsr.upscaler import load

    from lightsr_bench import quality

    scale, threads = arguments.scale, arguments.threads
    if arguments.json and not arguments.force:
        files.refuse_existing([arguments.json])
    methods = quality.interpolations(scale)
    for name in arguments.models or ["tiny"]:
        precisions = ("int8",) if name.endswith(".onnx") else get_args(Precision)
        for precision in precisions:
            upscaler = load(name, scale=scale, precision=precision, threads=threads)
            if upscaler.scale != scale:
                raise LightsrError(f"{name}: enlarges by {upscaler.scale}; --scale {scale} was asked for")
            label = Path(name).stem if name.endswith(".onnx") else f"lightsr {name} {precision}"
            methods[label] = quality.model_method(upscaler)
    scores: list[quality.Score] = []
    for score in quality.measure(
        arguments.data, methods, scale=scale, degradation=arguments.degradation, limit=arguments.limit
    ):
        if sys.stderr.isatty() and (not scores or scores[-1].path != score.path):
            print(f"\r\x1b[K{score.path}", end="", file=sys.stderr, flush=True)
        scores.append(score)
    if sys.stderr.isatty():
        print("\r\x1b[K", end="", file=sys.stderr)
    images = len({score.path for score in scores})
    print(
        f"x{scale}, {images} images, degradation {arguments.degradation}, "
        f"border {scale + 2} px cropped, data ranges: CT in HU, MR 0 to its 99.9th percentile, 8-bit 0 to 255\n"
    )
    print(quality.table(quality.summarise(scores)))
    if arguments.by_source:
        print("\n" + quality.table(quality.summarise(scores, by_source=True)))
    if arguments.json:
        content = json.dumps([dataclasses.asdict(score) for score in scores], indent=0)
        with files.new_file(arguments.json, overwrite=arguments.force) as file:
            file.write(content.encode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
