"""Command line of the runtime: `lightsr-infer`."""

import argparse
import dataclasses
import hashlib
import io
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, NoReturn

from lightsr.errors import LightsrError
from lightsr.options import DicomOptions
from lightsr.progress import escaped, say
from lightsr.sharding import Shard

DONE, FAILED, SOME_FAILED = 0, 1, 3
"""Exit statuses; argparse gives 2 for wrong usage."""


def parser() -> argparse.ArgumentParser:
    """Arguments of `lightsr-infer`."""
    p = _Parser(
        prog="lightsr-infer",
        description="Enlarge medical images by super-resolution: DICOM, NIfTI, TIFF, PNG and NPY, each to its "
        "own kind, and JPEG to PNG.",
        epilog="Example: lightsr-infer study sharper --jobs 4 --skip-existing --manifest sharper.jsonl. "
        "Exit status: 0 done, 1 failed, 2 wrong usage, 3 some inputs failed or were refused (each named). "
        "Derived images are not for primary diagnosis.",
    )
    p.add_argument("input", metavar="IN", nargs="?", type=Path, help="file or folder")
    p.add_argument("output", metavar="OUT", nargs="?", help="file or folder; a folder is mirrored")
    p.add_argument("--scale", type=int, choices=(2, 3, 4, 8), help="enlargement (default 2)")
    p.add_argument("--model", metavar="NAME|FILE.onnx", help="bundled model or model file")
    p.add_argument("--precision", choices=("int8", "fp32"), help="of the model (default int8)")
    p.add_argument("--threads", type=positive, metavar="N", help="of each job (default all CPUs; 1 on shared machines)")
    p.add_argument("--tile", type=_tile, metavar="N", help="tile side, low-resolution pixels (default 256)")
    existing = p.add_mutually_exclusive_group()
    existing.add_argument("--skip-existing", action="store_true", help="leave results that are there already")
    existing.add_argument("--force", action="store_true", help="overwrite results that are there already")
    _add_dicom_options(p)
    _add_options_of_many(p)
    p.add_argument("--json", action="store_true", help="results as JSON lines on standard output")
    other = p.add_argument_group("instead of IN and OUT")
    other.add_argument("--demo", type=Path, metavar="DIR", help="enlarge sample images that come with pydicom")
    other.add_argument("--list-models", action="store_true", help="bundled models")
    other.add_argument("--info", metavar="MODEL", help="card of a model")
    other.add_argument(
        "--self-test", nargs="?", const="", metavar="MODEL", help="check one model, or all bundled, on this machine"
    )
    p.add_argument("--debug", action="store_true", help="show tracebacks, without what libraries quote")
    p.add_argument("--version", action=_Version, help="versions of lightsr and what it runs on, and the CPU")
    return p


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        """Names that a shell put in place of a pattern are among what it quotes."""
        super().error(escaped(message))


class _Version(argparse.Action):
    """Prints what `lightsr.machine` tells, which is looked up only when it is asked for."""

    def __init__(self, option_strings: list[str], dest: str, help: str) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from lightsr import machine

        print("\n".join(machine.lines()))
        parser.exit()


class _Log(logging.Handler):
    """Shows what the library logs, in one line as everything else."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"lightsr-infer: {record.getMessage()}", sys.stderr)


_log = _Log(logging.WARNING)


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
        help="store the pixels compressed, without loss (default uncompressed); j2k-lossless needs 'lightsr[dicom]'",
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
        "--manifest", type=Path, metavar="FILE.jsonl", help="append what became of each file, with SHA-256, as it ends"
    )


def _shard(text: str) -> Shard:
    try:
        return Shard.parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def positive(text: str, least: int = 1) -> int:
    """A whole number of at least `least`, for argparse."""
    if not text.isdecimal() or int(text) < least:
        raise argparse.ArgumentTypeError(f"'{text}': a whole number, at least {least}, is needed")
    return int(text)


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
    options = {field.name: getattr(arguments, field.name) for field in dataclasses.fields(DicomOptions)}
    chosen = {name: value for name, value in options.items() if value is not None}
    if any(modes) and chosen:
        p.error("options of DICOM files go with IN and OUT only")
    if any(modes) and (arguments.jobs > 1 or arguments.shard or arguments.manifest):
        p.error("options of many files go with IN and OUT only")
    if arguments.demo is not None and (arguments.model or arguments.scale or arguments.precision):
        p.error("--demo shows the default model in every precision; --model, --scale, --precision do not go with it")
    if not any(modes) and arguments.output is None:
        p.error("IN and OUT are needed (or --demo DIR)")
    _prepare_process()
    try:
        if arguments.demo is not None:
            return _demo(arguments)
        if arguments.list_models:
            return _list_models(arguments)
        if arguments.info is not None:
            return _info(arguments)
        if arguments.self_test is not None:
            return _self_test(arguments)
        return _infer(arguments, _options(**chosen), sys.argv[1:] if argv is None else argv)
    except LightsrError as error:
        if arguments.debug:
            raise
        say(f"lightsr-infer: {error}", sys.stderr)
        return FAILED
    except KeyboardInterrupt as stop:
        _listen_no_more()
        how_far = str(stop) or "what was finished is complete, nothing else was written"
        say(f"lightsr-infer: stopped; {how_far}", sys.stderr)
        return 128 + _ended_by.get("signal", signal.SIGINT)
    except BrokenPipeError:
        # Python would complain once more when it empties the closed stream at the end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print("lightsr-infer: standard output was closed; stopped before the remaining files", file=sys.stderr)
        return FAILED
    except OSError as error:
        if arguments.debug:
            raise
        where = f"{error.filename}: " if error.filename else ""
        say(f"lightsr-infer: {where}{error.strerror or type(error).__name__}", sys.stderr)
        return FAILED
    except Exception as error:
        if arguments.debug:
            raise
        # Only the kind: a foreign message may quote what it choked on, a patient's data.
        print(f"lightsr-infer: unexpected {type(error).__name__}; --debug shows where", file=sys.stderr)
        return FAILED


def _prepare_process() -> None:
    """End as on Ctrl-C when asked to, show warnings, print any file's name on any terminal, no foreign tracebacks."""
    sys.excepthook = _show
    logging.getLogger("lightsr").addHandler(_log)  # once, however often it is added
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) != signal.SIG_IGN:  # nohup ignores SIGHUP on purpose
            signal.signal(number, _terminate)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def _show(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    from lightsr import traces  # needed when something is wrong

    traces.show(kind, error, trace)


_ended_by: dict[str, int] = {}


def _terminate(number: int, frame: FrameType | None) -> None:
    _ended_by["signal"] = number
    raise KeyboardInterrupt


def _listen_no_more() -> None:
    """Let nothing interrupt the last line."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _infer(arguments: argparse.Namespace, options: DicomOptions, command: Sequence[str]) -> int:
    from lightsr import batch, encoding
    from lightsr.worker import Setup

    encoding.check(options.compress)
    output = Path(arguments.output)
    if arguments.output.endswith("/") and arguments.input.is_file():  # a folder, be it there yet or not
        output /= arguments.input.name
    setup = Setup(
        model=arguments.model,
        scale=arguments.scale,
        precision=arguments.precision,
        threads=arguments.threads,
        overwrite=arguments.force,
        skip_existing=arguments.skip_existing,
        digests=arguments.json or arguments.manifest is not None,
        options=options,
        debug=arguments.debug,
        **({"tile": arguments.tile} if arguments.tile else {}),
    )
    request = batch.Request(
        arguments.input,
        output,
        pattern=arguments.glob,
        shard=arguments.shard,
        jobs=arguments.jobs,
        manifest=arguments.manifest,
        as_json=arguments.json,
        command=tuple(command),
    )
    counts = batch.run(request, setup)
    if not counts["failed"] + counts["refused"]:
        return DONE
    return FAILED if arguments.input.is_file() else SOME_FAILED


def _demo(arguments: argparse.Namespace) -> int:
    from lightsr.demo import run

    rows = run(arguments.demo, threads=arguments.threads, overwrite=arguments.force)
    if arguments.json:
        for row in rows:
            print(json.dumps(dataclasses.asdict(row), default=str))
        return DONE
    print(f"{'image':<16}{'model':<12}{'size in':>10}{'size out':>11}{'ms':>7}{'peak MiB':>10}  written")
    for row in rows:
        (h, w), (sh, sw) = row.size_in, row.size_out
        sizes = f"{f'{w}x{h}':>10}{f'{sw}x{sh}':>11}"
        print(f"{row.image:<16}{row.model:<12}{sizes}{row.milliseconds:>7.0f}{row.peak_mib:>10.0f}  {row.target}")
    print(f"\nSide by side (input, bicubic, lightsr): {arguments.demo}/*.png")
    print("Derived images are not for primary diagnosis; the originals stay what they are.")
    return DONE


def _list_models(arguments: argparse.Namespace) -> int:
    from lightsr.model import bundled_models

    for entry in bundled_models():
        if arguments.json:
            print(json.dumps(dataclasses.asdict(entry)))
        else:
            print(f"{entry.name:<8} x{entry.scale}  {entry.precision}")
    return DONE


def _info(arguments: argparse.Namespace) -> int:
    from lightsr import onnxfile
    from lightsr.card import ModelCard
    from lightsr.model import find, label_of, read

    found = find(arguments.info, scale=arguments.scale, precision=arguments.precision)
    content = read(found)
    summary = onnxfile.inspect(content)
    card: dict[str, Any] = dataclasses.asdict(ModelCard.from_metadata(summary.metadata))
    del card["golden"]
    card = {"file": label_of(found), "sha256": hashlib.sha256(content).hexdigest()} | card
    card |= {"bytes": len(content), "opset": summary.opset, "operators": summary.operators}
    if arguments.json:
        print(json.dumps(card))
        return DONE
    for key, value in card.items():
        print(f"{key:<18} {value if isinstance(value, str | int | float) else json.dumps(value)}")
    return DONE


def _self_test(arguments: argparse.Namespace) -> int:
    from lightsr import machine
    from lightsr.model import Model, bundled_models, find

    if arguments.self_test:
        chosen = [find(arguments.self_test, scale=arguments.scale, precision=arguments.precision)]
    else:
        chosen = list(bundled_models())
    print("\n".join(machine.lines()))
    failed = 0
    for entry in chosen:
        try:
            model = Model.open(entry, threads=arguments.threads)
        except LightsrError as error:
            failed += 1
            say(f"lightsr-infer: {error}", sys.stderr)
        else:
            print(f"{model.label}: gives on this machine what it gave at export")
    return FAILED if failed else DONE


if __name__ == "__main__":
    sys.exit(main())
