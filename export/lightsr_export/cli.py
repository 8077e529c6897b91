"""Command line of the export: `lightsr-export`."""

import argparse
import dataclasses
import json
import logging
import sys
import warnings
from pathlib import Path

from lightsr import __version__
from lightsr.errors import LightsrError


def parser() -> argparse.ArgumentParser:
    """Arguments of `lightsr-export`."""
    p = argparse.ArgumentParser(
        prog="lightsr-export",
        description="Export a trained network to verified fp32 and int8 ONNX files with their card.",
        epilog="Next: lightsr-infer IN OUT --model DIR/NAME-x2-int8.onnx",
    )
    p.add_argument("run", type=Path, metavar="RUN_OR_CHECKPOINT", help="run folder or checkpoint of lightsr-train")
    p.add_argument("-o", "--out", type=Path, required=True, metavar="DIR", help="folder for the model files")
    p.add_argument(
        "--calibration", type=Path, metavar="DIR", help="training images for int8 (default: those of the run)"
    )
    p.add_argument("--no-int8", action="store_true", help="write fp32 only")
    p.add_argument("--force", action="store_true", help="overwrite files that are there already")
    p.add_argument("--json", action="store_true", help="result as JSON on standard output")
    p.add_argument("--debug", action="store_true", help="show tracebacks")
    p.add_argument("--version", action="version", version=f"lightsr-export {__version__}")
    return p


def main(argv: list[str] | None = None) -> int:
    """Run `lightsr-export`; returns the exit status."""
    p = parser()
    arguments = p.parse_args(argv)
    if arguments.no_int8 and arguments.calibration:
        p.error("--calibration is for int8; it does not go with --no-int8")
    logging.basicConfig(format="lightsr-export: %(message)s", level=logging.WARNING)
    try:
        return _export(arguments)
    except LightsrError as error:
        if arguments.debug:
            raise
        print(f"lightsr-export: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if arguments.debug:
            raise
        print(f"lightsr-export: {error.name} is not installed; pip install 'lightsr[export]'", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lightsr-export: stopped; nothing was written", file=sys.stderr)
        return 130


def _export(arguments: argparse.Namespace) -> int:
    # torch's exporter reports every operator library that is not installed.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")
    from lightsr_export.export import export

    results = export(
        arguments.run,
        arguments.out,
        calibration=arguments.calibration,
        int8=not arguments.no_int8,
        overwrite=arguments.force,
        tell=lambda text: print(text, file=sys.stderr),
    )
    if arguments.json:
        print(json.dumps([dataclasses.asdict(result) for result in results], default=str))
        return 0
    for result in results:
        gain = result.card.metrics.get("held_back_gain_db", {})
        text = "  ".join(f"{name} {value:+.2f}" for name, value in gain.items())
        print(
            f"{result.path}  {result.bytes / 1024:.0f} KiB" + (f"  dB over bicubic, held back: {text}" if text else "")
        )
    print(f"next: lightsr-infer IN OUT --model {results[-1].path}", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
