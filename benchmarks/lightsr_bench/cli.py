"""Command line of the benchmarks: `lightsr-bench`."""

import argparse
import dataclasses
import json
import logging
import sys
from pathlib import Path
from typing import get_args

from lightsr import __version__, files
from lightsr.card import Precision
from lightsr.errors import LightsrError


def parser() -> argparse.ArgumentParser:
    """Arguments of `lightsr-bench`."""
    p = argparse.ArgumentParser(prog="lightsr-bench", description="Measure lightsr models beside what people use.")
    p.add_argument("--version", action="version", version=f"lightsr-bench {__version__}")
    commands = p.add_subparsers(dest="command", required=True)
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


def main(argv: list[str] | None = None) -> int:
    """Run `lightsr-bench`; returns the exit status."""
    arguments = parser().parse_args(argv)
    logging.basicConfig(format="lightsr-bench: %(message)s", level=logging.WARNING)
    try:
        return _quality(arguments)
    except LightsrError as error:
        if arguments.debug:
            raise
        print(f"lightsr-bench: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lightsr-bench: stopped", file=sys.stderr)
        return 130


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
