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

from lightsr import endings, files
from lightsr.errors import LightsrError, OutputError, install
from lightsr.progress import redraws

from lightsr_bench.arguments import parser

if TYPE_CHECKING:
    from lightsr_bench.networks import Network


def main(argv: list[str] | None = None) -> int:
    """Run `lightsr-bench`; returns the exit status."""
    argv = sys.argv[1:] if argv is None else argv
    p = parser()
    arguments = p.parse_args(argv)
    if arguments.command == "export" and arguments.scale and not arguments.network:
        p.error("--scale is for --network; a checkpoint has its own")
    arguments.argv = argv
    logging.basicConfig(format="lightsr-bench: %(message)s", level=logging.WARNING)
    commands = {
        "device": _device,
        "quality": _quality,
        "export": _export,
        "training": _training,
        "experiment": _experiment,
        "tables": _tables,
        "compare": _compare,
    }
    enough = "; on a device, pip install onnx psutil" if arguments.command == "device" else ""
    try:
        return endings.guarded(
            "lightsr-bench",
            lambda: commands[arguments.command](arguments),
            debug=arguments.debug,
            install=f"{install('bench')}{enough}",
        )
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


def _quieten_exporter() -> None:
    """torch's exporter reports every operator library that is not installed; importing torch resets its loggers."""
    import torch.onnx  # noqa: F401

    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", category=FutureWarning, module="copyreg")


def _write(arguments: argparse.Namespace, content: dict[str, Any]) -> None:
    """A result file, where one is asked for."""
    if arguments.json:
        from lightsr_bench import documents

        with files.new_file(arguments.json, overwrite=arguments.force) as file:
            file.write(documents.dumps(content))


def _device(arguments: argparse.Namespace) -> int:
    from lightsr_bench import architectures, device, device_report, limits, networks, target

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
    _write(arguments, device_report.document(report, arguments.argv, options))
    if warning := device_report.busy_warning(report):
        print(f"lightsr-bench: {warning}", file=sys.stderr)
    if report.interrupted:
        raise KeyboardInterrupt
    return 3 if report.failed else 0


def _training(arguments: argparse.Namespace) -> int:
    from lightsr_bench import learning

    _quieten_exporter()
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
    _write(arguments, content)
    if report.interrupted:
        raise KeyboardInterrupt
    return 3 if report.failures else 0


def _experiment(arguments: argparse.Namespace) -> int:
    from lightsr_bench import experiment, experiment_report

    _quieten_exporter()
    _check_targets(arguments.json, force=arguments.force)
    found = experiment.read(arguments.config)
    if arguments.only:
        found = experiment.only(found, arguments.only)
    content = experiment.run(
        found, arguments.out, arguments.eval, arguments.argv, limit=arguments.images, progress=_progress
    )
    _progress("")
    _write(arguments, content)
    print(experiment_report.text(content))
    return 0


def _tables(arguments: argparse.Namespace) -> int:
    from lightsr_bench import tables

    changed = tables.renew(arguments.page, arguments.results)
    print(f"{arguments.page}: {len(changed)} tables: {', '.join(changed)}")
    return 0


def _emulate(arguments: argparse.Namespace, found: "Sequence[Network]") -> int:
    from lightsr_bench import emulation, emulator

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
    _write(arguments, content)
    if interrupted:
        raise KeyboardInterrupt
    return 3 if any(row.error or not row.agrees for row in rows) else 0


def _progress(text: str) -> None:
    """Show what is being done, on a terminal only; an empty text wipes it."""
    if redraws(sys.stderr):
        print(f"\r\x1b[K{text[: shutil.get_terminal_size().columns - 1]}", end="", file=sys.stderr, flush=True)


def _quality(arguments: argparse.Namespace) -> int:
    from lightsr.cpus import available_cpus

    from lightsr_bench import methods, pictures, quality_report, scoring

    _check_targets(arguments.json, force=arguments.force)
    if arguments.pictures:
        pictures.prepare(arguments.pictures, overwrite=arguments.force)
    selection = methods.select(arguments.models, scale=arguments.scale, threads=arguments.threads or available_cpus())
    report = scoring.measure(
        arguments.data,
        selection,
        scale=arguments.scale,
        degradation=arguments.degradation,
        limit=arguments.images,
        progress=_progress,
    )
    _progress("")
    if report.images:
        print(quality_report.text(report, by_source=arguments.by_source))
        _write(arguments, quality_report.document(report, arguments.argv))
    if report.interrupted:
        raise KeyboardInterrupt
    if arguments.pictures:
        pictures.draw(arguments.pictures, arguments.data, report, selection, overwrite=arguments.force)
    return 3 if report.failures else 0


def _export(arguments: argparse.Namespace) -> int:
    from lightsr_bench import device, exporting, exporting_report

    _quieten_exporter()
    _check_targets(arguments.json, force=arguments.force)
    named = [(name, arguments.scale or 2) for name in arguments.network]
    subjects = exporting.subjects(arguments.checkpoints, named)
    report = exporting_report.run(subjects, side_px=arguments.side, rounds=arguments.rounds, progress=_progress)
    _progress("")
    if report.measurements or report.failures:
        print(exporting_report.text(report, kernels=arguments.kernels))
        _write(arguments, exporting_report.document(report, arguments.argv))
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
