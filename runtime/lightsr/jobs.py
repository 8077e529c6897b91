"""Several worker processes, each with the model, that share the CPUs and may be lost.

Workers are started as programs of their own, not forked: onnxruntime has threads. One that dies
takes the file with it that it had in hand, and another takes its place.
"""

import collections
import contextlib
import json
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any

from lightsr import strays
from lightsr.errors import LightsrError, ModelError
from lightsr.folders import Job
from lightsr.manifest import ModelIdentity
from lightsr.memory import PARENT_BYTES
from lightsr.pipeline import Outcome
from lightsr.worker import Setup, outcome_of, packed

STOP_SECONDS = 15
"""How long workers may take to remove the files in hand, one tile of the network included."""

TICK_SECONDS = 0.5
"""How often whoever waits for results is woken: for the clock of a bar, and for Ctrl-C on Windows."""

LEAST_WORKER_BYTES = 128 * 2**20
"""Memory below which no further worker is started: tiles would become small, and time be lost around them."""

_START = "import sys; sys.path[:] = sys.argv[1:]; from lightsr.worker import main; main()"
"""Isolated from its surroundings (-I), a worker imports from where its parent does."""


@dataclass(frozen=True)
class Share:
    """How many workers there are, and what each may use.

    Parameters
    ----------
    workers : int
    threads : int
        Of each worker.
    max_memory : int, optional
        Bytes of each worker.
    """

    workers: int
    threads: int
    max_memory: int | None = None


def share(asked: int, threads: int | None, *, files: int, cpus: int, max_memory: int | None = None) -> Share:
    """Workers and threads whose product is not above the CPUs, and for all of which there is memory.

    Parameters
    ----------
    asked : int
        Workers at most.
    threads : int, optional
        Of each worker, where somebody has chosen.
    files : int
    cpus : int
        That all of them may use together.
    max_memory : int, optional
        Bytes that all of them may have together, and the process that hands files out.

    >>> share(4, None, files=100, cpus=8)
    Share(workers=4, threads=2, max_memory=None)
    >>> share(8, None, files=100, cpus=2)
    Share(workers=2, threads=1, max_memory=None)
    >>> share(4, 3, files=100, cpus=8)
    Share(workers=2, threads=3, max_memory=None)
    >>> share(4, None, files=1, cpus=8)
    Share(workers=1, threads=8, max_memory=None)
    >>> share(4, 1, files=100, cpus=8, max_memory=300 * 2**20)
    Share(workers=2, threads=1, max_memory=138412032)
    """
    workers = max(1, min(asked, files, cpus // (threads or 1)))
    if max_memory is not None and workers > 1:
        workers = max(1, min(workers, (max_memory - PARENT_BYTES) // LEAST_WORKER_BYTES))
        if workers > 1:
            max_memory = (max_memory - PARENT_BYTES) // workers
    return Share(workers, threads or max(1, cpus // workers), max_memory)


@dataclass(frozen=True)
class Finished:
    """A file that is done with: which of the jobs, and what became of it."""

    index: int
    outcome: Outcome


@dataclass(frozen=True)
class Note:
    """Something that whoever runs it should know."""

    text: str


Event = Finished | Note | ModelIdentity | LightsrError


class Pool:
    """Workers that take files in turns.

    A context: workers start as it is entered and are gone when it is left. If it is left
    early, they remove what they had not finished; left by a second interrupt, they are killed,
    and it is removed for them.

    Parameters
    ----------
    setup : Setup
    jobs : sequence of Job
    workers : int
        No more than there are jobs.
    model : ModelIdentity, optional
        Which model it must be, where some files were done with it already.
    """

    def __init__(self, setup: Setup, jobs: Sequence[Job], workers: int, *, model: ModelIdentity | None = None) -> None:
        self._request = packed(setup)
        self._jobs = jobs
        self._pending = collections.deque(range(len(jobs)))
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._model = model
        self._stopping = False
        self._problem = ""
        self._workers: dict[int, _Worker] = {}
        slots = range(min(workers, len(jobs)))
        self._threads = [threading.Thread(target=self._serve, args=(slot,), daemon=True) for slot in slots]
        self._done = [threading.Event() for _ in slots]
        self._running = len(slots)

    def __enter__(self) -> "Pool":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def events(self) -> Iterator[ModelIdentity | Finished | Note | None]:
        """What happens, as it happens, until every file is done with.

        Yields
        ------
        ModelIdentity
            Once, before anything else, unless it was known.
        Finished
        Note
        None
            Nothing, for half a second.

        Raises
        ------
        LightsrError
            No worker can be started, or the model changed meanwhile.
        """
        left = len(self._jobs)
        while left:
            try:
                event = self._events.get(timeout=TICK_SECONDS)
            except queue.Empty:
                yield None
                continue
            if isinstance(event, LightsrError):
                raise event
            left -= isinstance(event, Finished)
            yield event

    def finished_meanwhile(self) -> Iterator[Finished]:
        """What was finished before `stop` and nobody has asked for yet."""
        with contextlib.suppress(queue.Empty):
            while True:
                event = self._events.get_nowait()
                if isinstance(event, Finished):
                    yield event

    def stop(self) -> None:
        """Hand out nothing more, end the workers, and leave nothing unfinished behind."""
        with self._lock:
            self._stopping = True
            workers = list(self._workers.values())
        try:
            for worker in workers:
                worker.end()
            self._wait(STOP_SECONDS)
        except KeyboardInterrupt:  # once more: at once
            pass
        for worker in workers:
            worker.kill()
        self._wait(STOP_SECONDS)

    def _wait(self, seconds: float) -> None:
        """Until every thread has cleared up behind its worker, or so long.

        Not by `Thread.join`: up to Python 3.12 an interrupt during it marks a thread as ended that goes on.
        """
        deadline = time.monotonic() + seconds
        for done in self._done:
            while not done.wait(TICK_SECONDS) and time.monotonic() < deadline:
                pass

    def _serve(self, slot: int) -> None:
        """One worker after the other, as long as there are files."""
        try:
            while (index := self._next()) is not None:
                worker = self._workers.get(slot)
                try:
                    if worker is None:
                        worker = self._started(slot)
                except _NotStartedError as error:
                    self._give_back(index, error)
                    break
                outcome = worker.ask(self._jobs[index])
                if outcome is None:
                    outcome = self._lost(slot, self._jobs[index])
                if outcome is not None:
                    self._events.put(Finished(index, outcome))
        except LightsrError as error:
            self._events.put(error)
        except Exception as error:
            self._events.put(LightsrError(f"unexpected {type(error).__name__} while files were handed out"))
        finally:
            with self._lock:
                self._running -= 1
                worker = self._workers.pop(slot, None)
                deserted = bool(self._pending) and not self._running and not self._stopping
            if worker is not None:
                worker.close()
            if deserted:
                self._events.put(LightsrError(f"{self._problem}; fewer --jobs need less memory"))
            self._done[slot].set()

    def _next(self) -> int | None:
        with self._lock:
            return self._pending.popleft() if self._pending and not self._stopping else None

    def _started(self, slot: int) -> "_Worker":
        with self._lock:
            if self._stopping:
                raise _NotStartedError("stopped")
            worker = self._workers[slot] = _Worker(self._request)
        try:
            model, notes = worker.started()
        except BaseException:
            with self._lock:
                del self._workers[slot]
            worker.close()
            raise
        with self._lock:
            if self._model is None:
                self._model = model
                self._events.put(model)
                for text in notes:
                    self._events.put(Note(text))
            elif model != self._model:
                raise ModelError("the model was changed while files were enlarged; start again")
        return worker

    def _give_back(self, index: int, error: "_NotStartedError") -> None:
        """Let another worker have the file, if there is one."""
        with self._lock:
            self._pending.appendleft(index)
            self._problem = str(error)
            if self._running > 1 and not self._stopping:
                self._events.put(Note(f"{error}; going on with fewer"))

    def _lost(self, slot: int, job: Job) -> Outcome | None:
        """What becomes of the file that a dead worker had in hand."""
        with self._lock:
            worker = self._workers.pop(slot)
            stopping = self._stopping
        how = worker.close()
        strays.remove([job.target.parent])
        if stopping:
            return None
        message = f"{job.source}: its worker ended early ({how}); nothing was written"
        return Outcome(job.source, job.target, "failed", message=message, reason="worker")


class _NotStartedError(LightsrError):
    """A worker could not be started."""


class _Worker:
    """One process.

    Parameters
    ----------
    request : bytes
        Its `Setup`, as a line.
    """

    def __init__(self, request: bytes) -> None:
        folders = [str(Path(folder).absolute()) for folder in sys.path if folder]
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-I", "-c", _START, *folders],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                # A group of its own: Ctrl-C in a terminal reaches the parent alone, which decides.
                process_group=0,
                creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
            )
        except OSError as error:
            raise _NotStartedError(f"a worker cannot be started: {error.strerror}") from error
        self._send(request)

    def started(self) -> tuple[ModelIdentity, list[str]]:
        """Wait until it has loaded the model; which that is, and what was logged about it.

        Raises
        ------
        LightsrError
        """
        answer = self._answer()
        if answer is None:
            raise _NotStartedError(f"a worker ended before it had loaded the model ({self.close()})")
        if "error" in answer:
            raise ModelError(str(answer["error"]))
        return ModelIdentity(answer["name"], answer["sha256"]), answer["notes"]

    def ask(self, job: Job) -> Outcome | None:
        """What became of a file, None if the worker died of it."""
        self._send(packed(job))
        answer = self._answer()
        return None if answer is None else outcome_of(answer)

    def end(self) -> None:
        """Ask it to remove what it has not finished, and to end."""
        self._process.terminate()

    def kill(self) -> None:
        """End it now."""
        self._process.kill()

    def close(self) -> str:
        """Wait for its end, and say how it came."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            code = self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            code = self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        if code >= 0:
            return f"status {code}"
        with contextlib.suppress(ValueError):
            name = signal.Signals(-code).name
            return f"{name}, as when memory runs out" if name == "SIGKILL" else name
        return f"signal {-code}"

    def _send(self, line: bytes) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # it died; its silence will tell
            self._process.stdin.write(line)
            self._process.stdin.flush()

    def _answer(self) -> dict[str, Any] | None:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line.endswith(b"\n"):
            return None
        content: dict[str, Any] = json.loads(line)
        return content
