"""What `lightsr-infer` does once its arguments are understood."""

import argparse
import dataclasses
import hashlib
import io
import json
import logging
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any

from lightsr import endings
from lightsr.errors import LightsrError
from lightsr.options import DicomOptions
from lightsr.progress import say

DONE, FAILED, SOME_FAILED = 0, endings.FAILED, 3
"""Exit statuses; argparse gives 2 for wrong usage."""

FORMAT: dict[str, Any] = {"format": 1}
"""Start of what the modes print with `--json`; docs/json.md says when the number changes."""


class _Log(logging.Handler):
    """Shows what the library logs, in one line as everything else."""

    def emit(self, record: logging.LogRecord) -> None:
        say(f"lightsr-infer: {record.getMessage()}", sys.stderr)


_log = _Log(logging.WARNING)


def run(arguments: argparse.Namespace, options: DicomOptions, command: Sequence[str]) -> int:
    """Do what the arguments say.

    Parameters
    ----------
    arguments : argparse.Namespace
        As `lightsr.cli.parser` gives them.
    options : DicomOptions
    command : sequence of str
        The words that they were made of.

    Returns
    -------
    int
        Exit status.
    """
    _prepare_process()
    try:
        return endings.guarded(
            "lightsr-infer",
            lambda: _status(arguments, options, command),
            debug=arguments.debug,
            unread="stopped before the remaining files",
        )
    except KeyboardInterrupt as stop:
        _listen_no_more()
        how_far = str(stop) or "what was finished is complete, nothing else was written"
        say(f"lightsr-infer: stopped; {how_far}", sys.stderr)
        return 128 + _ended_by.get("signal", signal.SIGINT)


def _status(arguments: argparse.Namespace, options: DicomOptions, command: Sequence[str]) -> int:
    if arguments.demo is not None:
        return _demo(arguments)
    if arguments.list_models:
        return _list_models(arguments)
    if arguments.info is not None:
        return _info(arguments)
    if arguments.self_test is not None:
        return _self_test(arguments)
    return _infer(arguments, options, command)


def _prepare_process() -> None:
    """End as on Ctrl-C when asked to, show warnings, print any file's name on any terminal, no foreign tracebacks."""
    sys.excepthook = _show
    logging.getLogger("lightsr").addHandler(_log)  # once, however often it is added
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
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
    raise endings.Stopped


def _listen_no_more() -> None:
    """Let nothing interrupt the last line."""
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)


def _infer(arguments: argparse.Namespace, options: DicomOptions, command: Sequence[str]) -> int:
    from lightsr import batch, encoding
    from lightsr.budget import default_limit
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
        max_memory=None if arguments.tile else arguments.max_memory or default_limit(),
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
            print(json.dumps(FORMAT | dataclasses.asdict(row), default=str))
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
            print(json.dumps(FORMAT | dataclasses.asdict(entry)))
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
        print(json.dumps(FORMAT | card))
        return DONE
    for key, value in card.items():
        print(f"{key:<18} {value if isinstance(value, str | int | float) else json.dumps(value)}")
    return DONE


def _self_test(arguments: argparse.Namespace) -> int:
    from lightsr import machine, processor
    from lightsr.model import Model, bundled_models, find, label_of

    if arguments.self_test:
        chosen = [find(arguments.self_test, scale=arguments.scale, precision=arguments.precision)]
    else:
        chosen = list(bundled_models())
    if not arguments.json:
        print("\n".join(machine.lines()))
    where = {"versions": machine.versions(), "processor": processor.describe().label}
    failed = 0
    for entry in chosen:
        message = None
        try:
            Model.open(entry, threads=arguments.threads)
        except LightsrError as error:
            failed += 1
            message = str(error)
            say(f"lightsr-infer: {message}", sys.stderr)
        if arguments.json:
            told = {"model": label_of(entry), "passes": message is None, "message": message}
            print(json.dumps(FORMAT | told | where))
        elif message is None:
            print(f"{label_of(entry)}: gives on this machine what it gave at export")
    return FAILED if failed else DONE
