"""The work on one file after another: in this process, or in one of several that `lightsr.jobs` starts.

A worker process reads what it is asked from standard input and answers on standard output, a JSON
object a line. It ends when its standard input does, so it does not outlive its parent however
that ended, and removes what it had not finished.
"""

import contextlib
import dataclasses
import json
import logging
import os
import queue
import signal
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, BinaryIO

from lightsr.card import Precision
from lightsr.errors import LightsrError
from lightsr.folders import Job
from lightsr.manifest import ModelIdentity
from lightsr.options import DEFAULTS, DicomOptions
from lightsr.pipeline import Outcome, enlarge_file
from lightsr.upscaler import TILE_PX, load

if TYPE_CHECKING:
    from lightsr.upscaler import Upscaler

END_SECONDS = 10
"""How long a worker that lost its parent may take to remove what it had not finished."""


@dataclass(frozen=True)
class Setup:
    """What is done with every file of a run.

    Parameters
    ----------
    model, scale, precision, threads, tile
        As `lightsr.load` takes them.
    max_memory : int, optional
        Bytes that this process and those that it starts may have at their peak.
    overwrite, skip_existing, digests, options
        As `lightsr.pipeline.enlarge_file` takes them.
    debug : bool
        Show the traceback of an error that lightsr does not know.
    """

    model: str | None = None
    scale: int | None = None
    precision: Precision | None = None
    threads: int | None = None
    tile: int = TILE_PX
    max_memory: int | None = None
    overwrite: bool = False
    skip_existing: bool = False
    digests: bool = False
    options: DicomOptions = DEFAULTS
    debug: bool = False

    def load(self) -> "Upscaler":
        """Load the model.

        Raises
        ------
        LightsrError
            Of the model, or it does not fit into the memory allowed.
        """
        limited = {"tile": self.tile} if self.max_memory is None else {"max_memory": self.max_memory}
        try:
            return load(self.model, scale=self.scale, precision=self.precision, threads=self.threads, **limited)
        except ValueError as error:
            raise LightsrError(f"--max-memory: {error}", reason="memory") from error


def identity(upscaler: "Upscaler") -> ModelIdentity:
    """Which model that is."""
    card = upscaler.card
    return ModelIdentity(f"{card.name}-x{card.scale}-{card.precision}", upscaler.model.sha256)


def attempt(job: Job, upscaler: "Upscaler", setup: Setup) -> Outcome:
    """Enlarge one file; whatever is wrong with it comes back in the `Outcome`."""
    if job.problem:
        return Outcome(job.source, job.target, "failed", message=job.problem, reason="folder")
    try:
        return enlarge_file(
            job.source,
            job.target,
            upscaler,
            overwrite=setup.overwrite,
            skip_existing=setup.skip_existing,
            options=setup.options,
            digests=setup.digests,
        )
    except Exception as error:
        if setup.debug:
            from lightsr import traces

            traces.show(type(error), error, error.__traceback__)
        # Only the kind: a foreign message may quote what it choked on, a patient's data.
        message = f"{job.source}: unexpected {type(error).__name__}; --debug shows where"
        return Outcome(job.source, job.target, "failed", message=message, reason="unexpected")


def packed(value: Any) -> bytes:
    """A dataclass as a line; names that are no text go through as lone surrogates."""
    return json.dumps(dataclasses.asdict(value), default=os.fspath).encode("ascii") + b"\n"


def outcome_of(content: dict[str, Any]) -> Outcome:
    """What `packed` made a line of."""
    paths = {name: Path(content[name]) for name in ("source", "target")}
    sizes = {name: tuple(content[name]) for name in ("size_in", "size_out")}
    return Outcome(**{**content, **paths, **sizes})


class _Heard(logging.Handler):
    """Keeps what the library logs for the parent, which says once what all workers would."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def main() -> None:
    """Answer requests until standard input ends; the process ends with it."""
    status = 1
    try:
        status = _work()
    finally:
        os._exit(status)  # the thread that listens would be in the way of a longer goodbye


def _work() -> int:
    for name in ("SIGINT", "SIGHUP"):  # the parent decides what becomes of these
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # nothing that a library prints is taken for an answer
    content = json.loads(requests.readline())
    setup = Setup(**{**content, "options": DicomOptions(**content["options"])})
    try:
        upscaler, notes = _loaded(setup)
    except Exception as error:
        text = str(error) if isinstance(error, LightsrError) else f"unexpected {type(error).__name__} in a worker"
        _answer(answers, json.dumps({"error": text}).encode("ascii") + b"\n")
        return 1
    start = dataclasses.asdict(identity(upscaler)) | {"notes": notes}
    _answer(answers, json.dumps(start).encode("ascii") + b"\n")
    signal.signal(signal.SIGTERM, _stop)
    try:
        _serve(requests, answers, upscaler, setup)
    except KeyboardInterrupt:
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # asked for twice, once is enough
        return 128 + signal.SIGTERM
    return 0


def _loaded(setup: Setup) -> tuple["Upscaler", list[str]]:
    """The model, and what was logged about it."""
    heard, logger = _Heard(), logging.getLogger("lightsr")
    logger.addHandler(heard)
    try:
        return setup.load(), heard.lines
    finally:
        logger.removeHandler(heard)


def _serve(requests: BinaryIO, answers: BinaryIO, upscaler: "Upscaler", setup: Setup) -> None:
    waiting: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    busy = threading.Event()
    threading.Thread(target=_listen, args=(requests, waiting, busy), daemon=True).start()
    while request := waiting.get():
        content = json.loads(request)
        job = Job(Path(content["source"]), Path(content["target"]), content["problem"])
        _answer(answers, packed(attempt(job, upscaler, setup)), busy)


def _listen(requests: BinaryIO, waiting: "queue.SimpleQueue[bytes]", busy: threading.Event) -> None:
    """Hand requests over; when there can be no more and one is in hand, nobody waits for its answer."""
    while request := requests.readline():
        busy.set()
        waiting.put(request)
    waiting.put(b"")
    if not busy.is_set():
        return
    if hasattr(signal, "pthread_kill"):
        main_thread = threading.main_thread().ident
        assert main_thread is not None
        signal.pthread_kill(main_thread, signal.SIGTERM)  # as a signal, it also ends a wait for the system
    time.sleep(END_SECONDS)
    os._exit(1)


def _answer(answers: BinaryIO, line: bytes, busy: threading.Event | None = None) -> None:
    """Send a line; the parent asks again only when it has it."""
    if busy is not None:
        busy.clear()
    with contextlib.suppress(BrokenPipeError):  # the parent is gone; standard input tells so too
        answers.write(line)
        answers.flush()


def _stop(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    main()
