"""Command line of the runtime: `lightsr-infer`."""

from __future__ import annotations

import argparse
import sys

from lightsr.arguments import Parser

TYPE_CHECKING = False
if TYPE_CHECKING:  # what follows is not needed to show the help
    from pathlib import Path
    from typing import Any

    from lightsr.options import DicomOptions
    from lightsr.sharding import Shard


DICOM_OPTIONS = (
    *("force_read", "allow_mammography", "series_offset", "suffix", "equipment", "as_capture", "compress"),
)
"""Names of `lightsr.options.DicomOptions`."""

INSTEAD = {
    **dict.fromkeys(("-i", "--in", "--input"), "IN is the first word that is no option"),
    **dict.fromkeys(("-o", "--out", "--output"), "OUT is the word behind IN"),
    **dict.fromkeys(("-s", "-x", "--upscale", "--factor"), "--scale 2, 3, 4 or 8 says how much"),
    **dict.fromkeys(("-f", "-y", "--overwrite"), "--force overwrites files that are there already"),
    **dict.fromkeys(("-r", "-R", "--recursive"), "folders are searched deeply"),
    **dict.fromkeys(("--gpu", "--device", "--cuda"), "the CPU does the work, and --threads says how much of it"),
    "-m": "--model names the model",
    "-j": "--jobs says how many processes",
    "-v": "each file is named as it is done; --debug tells more of errors",
}
"""What there is in place of options that people know from elsewhere."""


def parser() -> argparse.ArgumentParser:
    """Arguments of `lightsr-infer`."""
    p = Parser(
        prog="lightsr-infer",
        description="Enlarge medical images by super-resolution: DICOM, NIfTI, TIFF, PNG and NPY, each to its "
        "own kind, and JPEG to PNG.",
        examples=(
            "lightsr-infer scan.dcm sharper.dcm",
            "lightsr-infer study sharper --jobs 4 --skip-existing --manifest sharper.jsonl",
            "lightsr-infer photo.png larger.png --scale 4 --precision fp32 --threads 1",
        ),
        closing="Exit status: 0 done, 1 failed, 2 wrong usage, 3 some inputs failed or were refused (each named). "
        "Derived images are not for primary diagnosis.",
        surplus="IN and OUT are one file or folder each; for many files give their folder, of which --glob '*.dcm' "
        "takes some, and a name with spaces needs quotes",
        instead=INSTEAD,
    )
    p.add_argument("input", metavar="IN", nargs="?", type=_path, help="file or folder")
    p.add_argument("output", metavar="OUT", nargs="?", help="file or folder; a folder is mirrored")
    p.add_argument("--scale", type=int, choices=(2, 3, 4, 8), help="enlargement (default 2)")
    p.add_argument("--model", metavar="NAME|FILE.onnx", help="bundled model or model file")
    p.add_argument("--precision", choices=("int8", "fp32"), help="of the model (default int8)")
    p.add_argument("--threads", type=positive, metavar="N", help="of each job (default all CPUs; 1 on shared machines)")
    memory = p.add_mutually_exclusive_group()
    memory.add_argument(
        "--max-memory",
        type=_size,
        metavar="SIZE",
        help="of the whole command with all its processes, such as 256M (default a quarter of what is available)",
    )
    memory.add_argument(
        "--tile", type=_tile, metavar="N", help="tile side, low-resolution pixels, whatever memory that takes"
    )
    existing = p.add_mutually_exclusive_group()
    existing.add_argument("--skip-existing", action="store_true", help="leave files that are there already")
    existing.add_argument("--force", action="store_true", help="overwrite files that are there already")
    _add_dicom_options(p)
    _add_options_of_many(p)
    p.add_argument(
        "--json",
        action="store_true",
        help="results as JSON lines on standard output, also of --list-models and the like (docs/json.md)",
    )
    other = p.add_argument_group("instead of IN and OUT")
    other.add_argument("--demo", type=_path, metavar="DIR", help="enlarge sample images that come with pydicom")
    other.add_argument("--list-models", action="store_true", help="bundled models")
    other.add_argument("--info", metavar="MODEL", help="card of a model")
    other.add_argument(
        "--self-test", nargs="?", const="", metavar="MODEL", help="check one model, or all bundled, on this machine"
    )
    p.add_argument("--debug", action="store_true", help="show tracebacks, without what libraries quote")
    p.add_argument("--version", action=_Version, help="versions of lightsr and what it runs on, and the CPU")
    return p


class _Version(argparse.Action):
    """Prints what `lightsr.machine` tells, which is looked up only when it is asked for."""

    def __init__(self, option_strings: list[str], dest: str, help: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from lightsr import machine

        parser._print_message("\n".join([*machine.lines(), ""]), sys.stdout)
        parser.exit()


def _add_dicom_options(p: argparse.ArgumentParser) -> None:
    group = p.add_argument_group("DICOM files and results")
    group.add_argument(
        "--force-read",
        action="store_const",
        const=True,
        help="also read DICOM data sets without the 128-byte preamble; uncompressed, little-endian",
    )
    group.add_argument(
        "--allow-mammography",
        action="store_const",
        const=True,
        help="also enlarge mammograms for presentation, of which no bundled model has seen one",
    )
    group.add_argument(
        "--series-offset", type=_series_offset, metavar="N", help="added to the series number (default 1000)"
    )
    group.add_argument(
        "--suffix", type=_suffix, metavar="TEXT", help="ends the series description (default ' [AI-SR x2]' by scale)"
    )
    group.add_argument(
        "--equipment",
        choices=("lightsr", "keep"),
        help="whom the result names as its equipment: lightsr (default), or still the scanner",
    )
    group.add_argument(
        "--as-sc",
        action="store_const",
        const=True,
        dest="as_capture",
        help="write secondary captures: no position, no ultrasound regions, no acquisition parameters",
    )
    group.add_argument(
        "--compress",
        choices=("rle", "j2k-lossless"),
        help="store the pixels compressed, without loss (default uncompressed); j2k-lossless needs pylibjpeg-openjpeg",
    )


def _add_options_of_many(p: argparse.ArgumentParser) -> None:
    group = p.add_argument_group("many files")
    group.add_argument("--glob", metavar="G", default="*", help="in a folder, only files whose name matches")
    group.add_argument(
        "--jobs",
        type=positive,
        default=1,
        metavar="N",
        help="processes that share the CPUs (default 1); each takes the memory of one",
    )
    group.add_argument(
        "--shard",
        type=_shard,
        metavar="I/N",
        help="part I of N of the files, by a hash of their relative path, as in --shard $SLURM_ARRAY_TASK_ID/16",
    )
    group.add_argument(
        "--manifest", type=_path, metavar="FILE.jsonl", help="append what became of each file, with SHA-256, as it ends"
    )


def _path(text: str) -> Path:
    from pathlib import Path

    return Path(text)


def _shard(text: str) -> Shard:
    from lightsr.sharding import Shard

    try:
        return Shard.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def positive(text: str, least: int = 1) -> int:
    """A whole number of at least `least`; raises `argparse.ArgumentTypeError` for other texts."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"'{text}': a whole number, at least {least}, is needed")
    return int(text)


def _size(text: str) -> int:
    from lightsr.budget import parse_size

    try:
        size = parse_size(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    if size < 2**20 and text.isdecimal():
        raise argparse.ArgumentTypeError(f"'{text}': so many bytes are too few; did you mean {text}M?")
    return size


def _tile(text: str) -> int:
    return positive(text, 16)


def _series_offset(text: str) -> int:
    offset = positive(text, 0)
    _options(series_offset=offset)
    return offset


def _suffix(text: str) -> str:
    _options(suffix=text)
    return text


def _options(**chosen: Any) -> DicomOptions:
    """What was chosen, checked where the meaning of each is known."""
    from lightsr.options import DicomOptions

    try:
        return DicomOptions(**chosen)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def main(argv: list[str] | None = None) -> int:
    """Run `lightsr-infer`; returns the exit status."""
    p = parser()
    arguments = p.parse_args(argv)
    modes = [arguments.demo, arguments.list_models, arguments.info, arguments.self_test is not None]
    if sum(bool(mode) for mode in modes) > 1:
        p.error("--demo, --list-models, --info and --self-test exclude each other")
    if any(modes) and arguments.input is not None:
        p.error("IN and OUT do not go with --demo, --list-models, --info or --self-test")
    chosen = {name: value for name in DICOM_OPTIONS if (value := getattr(arguments, name)) is not None}
    if any(modes) and chosen:
        p.error("options of DICOM files go with IN and OUT only")
    if any(modes) and (arguments.max_memory or arguments.jobs > 1 or arguments.shard or arguments.manifest):
        p.error("options of many files, and --max-memory, go with IN and OUT only")
    if arguments.demo is not None and (arguments.model or arguments.scale or arguments.precision):
        p.error("--demo shows the default model in every precision; --model, --scale, --precision do not go with it")
    if not any(modes) and arguments.output is None:
        p.error("IN and OUT are needed, in this order (or --demo DIR to see what it does)")
    from lightsr import commands

    return commands.run(arguments, _options(**chosen), sys.argv[1:] if argv is None else argv)


if __name__ == "__main__":
    sys.exit(main())
