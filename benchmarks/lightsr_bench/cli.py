"""Command line of the benchmarks: `lightsr-bench`."""

import argparse
import dataclasses
import logging
import shutil
import sys
import tempfile
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lightsr import __version__, files
from lightsr.cli import positive
from lightsr.errors import LightsrError, OutputError

if TYPE_CHECKING:
    from lightsr_bench.networks import Network


def parser() -> argparse.ArgumentParser:
    """Arguments of `lightsr-bench`."""
    p = argparse.ArgumentParser(prog="lightsr-bench", description="Measure lightsr models beside what people use.")
    p.add_argument("--version", action="version", version=f"lightsr-bench {__version__}")
    commands = p.add_subparsers(dest="command", required=True)
    _add_device(commands)
    _add_quality(commands)
    _add_export(commands)
    _add_training(commands)
    _add_experiment(commands)
    _add_compare(commands)
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
    d.add_argument("--rounds", type=positive, default=3, metavar="N", help="processes a network (default 3)")
    d.add_argument("--seconds", type=float, default=1.0, metavar="S", help="least duration of a round (default 1)")
    d.add_argument("--limit", metavar="memory=256M,cpus=1", help="imitate a smaller machine")
    d.add_argument(
        "--emulate",
        metavar="CPU",
        help="run on an emulated Arm processor (cortex-a53, cortex-a72, cortex-a76): are the results right there, "
        "how much memory, how many instructions; no times",
    )
    _add_output(d)


def _add_compare(commands: Any) -> None:
    c = commands.add_parser(
        "compare",
        help="results beside each other",
        description="Put results of several targets and models into one Markdown page and one figure.",
    )
    c.add_argument("results", nargs="+", type=Path, metavar="FILE.json", help="of device and quality --json")
    c.add_argument("--markdown", type=Path, metavar="FILE.md", help="the page (default: standard output)")
    c.add_argument("--figure", type=Path, metavar="FILE.png", help="latency and memory against PSNR")
    c.add_argument("--force", action="store_true", help="overwrite files")
    c.add_argument("--debug", action="store_true", help="show tracebacks")


def _add_quality(commands: Any) -> None:
    q = commands.add_parser(
        "quality",
        help="PSNR and SSIM on real images",
        description="Measure how close networks come to real images whose resolution was reduced, "
        "beside interpolation. --json and --pictures write files, everything else goes to the terminal.",
    )
    q.add_argument(
        "models",
        nargs="*",
        metavar="MODEL",
        help="bundled name, .onnx or .pb file, or a folder of them (default: all bundled at the scale)",
    )
    q.add_argument("--data", type=Path, required=True, metavar="DIR", help="folder of images")
    q.add_argument("--scale", type=int, choices=(2, 3, 4, 8), default=2, help="enlargement (default 2)")
    q.add_argument(
        "--degradation",
        default="bicubic",
        type=_degradation,
        metavar="KIND",
        help="how the input is made: bicubic (default), area, gaussian or kspace, and with + jpeg, gaussian-noise, "
        "rician-noise or poisson-noise, each with its strength after a colon, such as kspace+rician-noise:0.02",
    )
    q.add_argument("--by-source", action="store_true", help="a second table, per source")
    q.add_argument("--pictures", type=Path, metavar="DIR", help="the worst and the median image of every modality")
    q.add_argument("--limit", type=positive, metavar="N", help="only about N images, spread evenly")
    q.add_argument("--threads", type=positive, metavar="N", help="CPU threads of the networks (default all)")
    _add_output(q)


def _add_export(commands: Any) -> None:
    e = commands.add_parser(
        "export",
        help="what exporting a trained network gains",
        description="Time networks straight from torch, as lightsr-export makes them, and in int8 with ranges of "
        "made-up pictures: one thread, in turns. Without any network: tiny and base at x2, tiny at x4.",
    )
    e.add_argument(
        "checkpoints",
        nargs="*",
        type=Path,
        metavar="CHECKPOINT",
        help="checkpoint or run folder of lightsr-train",
    )
    e.add_argument(
        "--network", action="append", default=[], metavar="NAME", help="named network with random weights; repeatable"
    )
    e.add_argument("--scale", type=int, choices=(2, 3, 4, 8), help="of --network (default 2)")
    e.add_argument("--side", type=positive, default=256, metavar="PX", help="of the low-resolution input (default 256)")
    e.add_argument("--rounds", type=positive, default=30, metavar="N", help="timed runs of each form (default 30)")
    e.add_argument("--kernels", type=positive, default=12, metavar="N", help="of each graph, in tables (default 12)")
    _add_output(e)


def _add_training(commands: Any) -> None:
    t = commands.add_parser(
        "training",
        help="how fast networks learn, and in how much memory",
        description="Train networks, each in a process of its own with its own learning rate, until they are ahead of "
        "bicubic interpolation on held-back patients: steps per second, peak memory, seconds.",
    )
    t.add_argument(
        "--data", type=Path, action="append", required=True, metavar="DIR", help="folder of images; repeatable"
    )
    t.add_argument("--network", action="append", metavar="NAME", help="repeatable (default: all)")
    t.add_argument("--scale", type=int, choices=(2, 3, 4, 8), default=2, help="enlargement (default 2)")
    t.add_argument("--modality", default="MR", metavar="NAME", help="whose held-back patients count (default MR)")
    t.add_argument("--target", type=float, default=1.0, metavar="DB", help="PSNR over bicubic (default 1)")
    t.add_argument("--max-seconds", type=float, default=600.0, metavar="S", help="of training (default 600)")
    t.add_argument("--steps", type=positive, default=15_000, metavar="N", help="of the schedule (default 15000)")
    t.add_argument("--validate-every", type=positive, default=100, metavar="N", help="steps (default 100)")
    t.add_argument("--threads", type=positive, default=1, metavar="N", help="CPU threads (default 1)")
    _add_output(t)


def _add_experiment(commands: Any) -> None:
    x = commands.add_parser(
        "experiment",
        help="train variants of networks and compare them",
        description="Train every variant that a TOML file names, export each, time all in turns, and measure their "
        "quality. Finished variants in --out are not trained again; an interrupted one goes on.",
    )
    x.add_argument("config", type=Path, metavar="FILE.toml", help="see train/experiments")
    x.add_argument("--out", type=Path, required=True, metavar="DIR", help="run folders, one a variant")
    x.add_argument("--eval", type=Path, required=True, metavar="DIR", help="folder of images to report on")
    x.add_argument("--limit", type=positive, metavar="N", help="only about N of these images, spread evenly")
    _add_output(x)
    t = commands.add_parser(
        "tables",
        help="renew the tables of a page",
        description="Put tables of results into a Markdown page, between <!-- table NAME --> and <!-- end -->.",
    )
    t.add_argument("page", type=Path, metavar="FILE.md")
    t.add_argument("results", nargs="*", type=Path, metavar="FILE.json", help="of experiment and training --json")
    t.add_argument("--debug", action="store_true", help="show tracebacks")


def _add_output(p: argparse.ArgumentParser) -> None:
    p.add_argument("--json", type=Path, metavar="FILE", help="results, to a file")
    p.add_argument("--force", action="store_true", help="overwrite files")
    p.add_argument("--debug", action="store_true", help="show tracebacks")


def _degradation(text: str) -> str:
    from lightsr_train.degradation import parse

    try:
        parse(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def _numbers(text: str) -> list[int]:
    return [positive(part) for part in text.split(",")]


def _threads(text: str) -> list[str]:
    return [part if part == "all" else str(positive(part)) for part in text.split(",")]


def main(argv: list[str] | None = None) -> int:
    """Run `lightsr-bench`; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    p = parser()
    arguments = p.parse_args(argv)
    if arguments.command == "export" and arguments.scale and not arguments.network:
        p.error("--scale is for --network; a checkpoint has its own")
    arguments.argv = argv
    logging.basicConfig(format="lightsr-bench: %(message)s", level=logging.WARNING)
    try:
        commands = {
            "device": _device,
            "quality": _quality,
            "export": _export,
            "training": _training,
            "experiment": _experiment,
            "tables": _tables,
            "compare": _compare,
        }
        return commands[arguments.command](arguments)
    except LightsrError as error:
        if arguments.debug:
            raise
        print(f"lightsr-bench: {error}", file=sys.stderr)
        return 1
    except ModuleNotFoundError as error:
        if arguments.debug:
            raise
        name = (error.name or "a package").split(".")[0]
        enough = " (on a device: pip install onnx psutil)" if arguments.command == "device" else ""
        print(f"lightsr-bench: {name} is not installed; pip install 'lightsr[bench]'{enough}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("lightsr-bench: stopped", file=sys.stderr)
        return 130


def _check_targets(*paths: Path | None, force: bool) -> None:
    """Refuse files that could not be written later, before hours are spent on what goes into them."""
    for path in filter(None, paths):
        if not path.parent.is_dir():
            raise OutputError(f"{path}: cannot be written: there is no such folder")
        if not force:
            files.refuse_existing([path])


def _device(arguments: argparse.Namespace) -> int:
    from lightsr_bench import architectures, device, device_report, documents, limits, networks, target

    _check_targets(arguments.json, force=arguments.force)
    limited = limits.parse(arguments.limit) if arguments.limit else limits.Limits()
    with tempfile.TemporaryDirectory() as folder:
        models = [
            str(architectures.write(model, arguments.scale or 2, Path(folder)))
            if model in architectures.ARCHITECTURES
            else model
            for model in arguments.models
        ]
        found = networks.find(models, scale=arguments.scale)
        if arguments.emulate:
            return _emulate(arguments, found)
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


def _training(arguments: argparse.Namespace) -> int:
    from lightsr_bench import documents, learning

    _check_targets(arguments.json, force=arguments.force)
    goal = learning.Goal(
        scale=arguments.scale,
        modality=arguments.modality,
        target_db=arguments.target,
        max_seconds=arguments.max_seconds,
        steps=arguments.steps,
        validate_every=arguments.validate_every,
        threads=arguments.threads,
    )
    report = learning.run(arguments.network or learning.DEFAULTS, arguments.data, goal, progress=_progress)
    _progress("")
    content = learning.document(report, arguments.argv)
    print(learning.text(content))
    if arguments.json:
        with files.new_file(arguments.json, overwrite=arguments.force) as file:
            file.write(documents.dumps(content))
    if report.interrupted:
        raise KeyboardInterrupt
    return 3 if report.failures else 0


def _experiment(arguments: argparse.Namespace) -> int:
    from lightsr_bench import documents, experiment

    _check_targets(arguments.json, force=arguments.force)
    found = experiment.read(arguments.config)
    content = experiment.run(
        found, arguments.out, arguments.eval, arguments.argv, limit=arguments.limit, progress=_progress
    )
    _progress("")
    print(experiment.text(content))
    if arguments.json:
        with files.new_file(arguments.json, overwrite=arguments.force) as file:
            file.write(documents.dumps(content))
    return 0


def _tables(arguments: argparse.Namespace) -> int:
    from lightsr_bench import tables

    changed = tables.renew(arguments.page, arguments.results)
    print(f"{arguments.page}: {len(changed)} tables: {', '.join(changed)}")
    return 0


def _emulate(arguments: argparse.Namespace, found: "Sequence[Network]") -> int:
    from lightsr_bench import documents, emulation, emulator

    processor = emulator.find(arguments.emulate)
    rows: list[emulation.EmulatedRow] = []
    interrupted = False
    try:
        rows.extend(emulation.emulate([(n.name, n.path) for n in found], processor, progress=_progress))
    except KeyboardInterrupt:
        interrupted = True
    _progress("")
    content = emulation.document(rows, processor, arguments.argv, interrupted=interrupted)
    print(emulation.section(content))
    if arguments.json:
        with files.new_file(arguments.json, overwrite=arguments.force) as file:
            file.write(documents.dumps(content))
    if interrupted:
        raise KeyboardInterrupt
    return 3 if any(row.error or not row.agrees for row in rows) else 0


def _progress(text: str) -> None:
    """Show what is being done, on a terminal only; an empty text wipes it."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}", end="", file=sys.stderr, flush=True)


def _quality(arguments: argparse.Namespace) -> int:
    from lightsr.model import available_cpus

    from lightsr_bench import documents, methods, pictures, quality_report, scoring

    _check_targets(arguments.json, force=arguments.force)
    if arguments.pictures:
        pictures.prepare(arguments.pictures, overwrite=arguments.force)
    selection = methods.select(arguments.models, scale=arguments.scale, threads=arguments.threads or available_cpus())
    report = scoring.measure(
        arguments.data,
        selection,
        scale=arguments.scale,
        degradation=arguments.degradation,
        limit=arguments.limit,
        progress=_progress,
    )
    _progress("")
    if report.images:
        print(quality_report.text(report, by_source=arguments.by_source))
        if arguments.json:
            with files.new_file(arguments.json, overwrite=arguments.force) as file:
                file.write(documents.dumps(quality_report.document(report, arguments.argv)))
    if report.interrupted:
        raise KeyboardInterrupt
    if arguments.pictures:
        pictures.draw(arguments.pictures, arguments.data, report, selection, overwrite=arguments.force)
    return 3 if report.failures else 0


def _export(arguments: argparse.Namespace) -> int:
    from lightsr_bench import device, documents, exporting, exporting_report

    # torch's exporter reports every operator library that is not installed; importing torch resets its loggers.
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")
    _check_targets(arguments.json, force=arguments.force)
    named = [(name, arguments.scale or 2) for name in arguments.network]
    subjects = exporting.subjects(arguments.checkpoints, named)
    report = exporting_report.run(subjects, side_px=arguments.side, rounds=arguments.rounds, progress=_progress)
    _progress("")
    if report.measurements or report.failures:
        print(exporting_report.text(report, kernels=arguments.kernels))
        if arguments.json:
            with files.new_file(arguments.json, overwrite=arguments.force) as file:
                file.write(documents.dumps(exporting_report.document(report, arguments.argv)))
    if warning := device.busy_warning(report.other_load_cpus):
        print(f"lightsr-bench: {warning}", file=sys.stderr)
    if report.interrupted:
        raise KeyboardInterrupt
    return 3 if report.failures else 0


def _compare(arguments: argparse.Namespace) -> int:
    import os

    from lightsr_bench import compare, figure

    _check_targets(arguments.markdown, arguments.figure, force=arguments.force)
    comparison = compare.load(arguments.results)
    if arguments.figure:
        drawn = figure.draw(comparison)
        if drawn is None:
            raise LightsrError("no network with both quality and latency among these results; nothing to draw")
        with files.new_file(arguments.figure, overwrite=arguments.force) as file:
            file.write(drawn)
    address = ""
    if arguments.figure:
        home = arguments.markdown.parent if arguments.markdown else Path()
        address = Path(os.path.relpath(arguments.figure, home)).as_posix()
    page = compare.markdown(comparison, figure=address)
    if arguments.markdown:
        with files.new_file(arguments.markdown, overwrite=arguments.force) as file:
            file.write(page.encode())
    else:
        print(page, end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
