"""A run over many files: which, how, in how many processes, and what is told about each."""

import contextlib
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from lightsr import files, manifest, strays
from lightsr.budget import shown
from lightsr.cpus import available_cpus
from lightsr.errors import OutputError
from lightsr.folders import Job, mirrored, real
from lightsr.manifest import Manifest, ModelIdentity
from lightsr.memory import PARENT_BYTES
from lightsr.pipeline import Outcome
from lightsr.progress import Console
from lightsr.sharding import Shard
from lightsr.worker import Setup, attempt, identity


class Stopped(KeyboardInterrupt):
    """The run was interrupted; the message tells how far it came and how to go on."""


@dataclass(frozen=True)
class Request:
    """What a run is asked to do.

    Parameters
    ----------
    source, target : Path
        File or folder.
    pattern : str
        Shell pattern of the files' names in a folder.
    shard : Shard, optional
        Of the files, the part that is done here.
    jobs : int
        Worker processes at most; with one the work is done in this process.
    manifest : Path, optional
    as_json : bool
        Records on standard output instead of lines.
    command : tuple of str
        Arguments that go on with it.
    """

    source: Path
    target: Path
    pattern: str = "*"
    shard: Shard | None = None
    jobs: int = 1
    manifest: Path | None = None
    as_json: bool = False
    command: tuple[str, ...] = ()


def run(request: Request, setup: Setup) -> Counter[str]:
    """Enlarge the files, and tell what became of each, in their order.

    Parameters
    ----------
    request : Request
    setup : Setup

    Returns
    -------
    Counter
        How many came to which `lightsr.pipeline.Status`.

    Raises
    ------
    LightsrError
        Nothing can be done at all, or not any more.
    Stopped
        On a KeyboardInterrupt.
    """
    found = list(mirrored(request.source, request.target, request.pattern))
    top = request.source if request.source.is_dir() else request.source.parent
    shard = request.shard
    chosen = [job for job in found if shard is None or shard.holds(job.source.relative_to(top))]
    with contextlib.ExitStack() as stack:
        log = stack.enter_context(_manifest(request.manifest, request, found)) if request.manifest else None
        console = Console(len(chosen))
        stack.callback(console.end)
        if shard is not None and not request.as_json:
            console.error(f"lightsr-infer: shard {shard.index}/{shard.count}: {len(chosen)} of {len(found)} files")
        del found  # a kilobyte a file
        if log is not None and log.torn:
            console.error(f"lightsr-infer: {log.path}: its last line was cut off when a run ended, and was removed")
        strays.remove({job.target.parent for job in chosen})
        return _Run(request, setup, chosen, console, log).all()


def _manifest(path: Path, request: Request, found: Sequence[Job]) -> Manifest:
    """Open the manifest where it is in nobody's way."""
    place, source, target = real(path), request.source, request.target
    results = (result for job in found for result in (job.target, *files.other_results(job.target)))
    if source.is_dir():
        if place.is_relative_to(real(source)):
            raise OutputError(f"{path}: the manifest lies inside the input folder; choose a place beside it")
        top = real(target)
        clash = place.is_relative_to(top) and target / place.relative_to(top) in results
    else:
        clash = place in (real(source), *map(real, results))
    if clash:
        raise OutputError(f"{path}: the manifest would be one file with an input or its result; choose another")
    return Manifest(path)


class _Run:
    """State of a run: what is finished, told and counted."""

    def __init__(
        self, request: Request, setup: Setup, jobs: Sequence[Job], console: Console, log: Manifest | None
    ) -> None:
        self.request, self.setup, self.jobs = request, setup, jobs
        self.console, self.log = console, log
        self.model = ModelIdentity("", "")
        self.counts: Counter[str] = Counter()
        self._waiting: dict[int, Outcome] = {}
        self._told = 0

    def all(self) -> Counter[str]:
        """Do it."""
        try:
            if self.jobs:
                self._work()
        except KeyboardInterrupt as error:
            self._tell_rest()
            raise Stopped(self._how_to_go_on()) from error
        if len(self.jobs) > 1 and not self.request.as_json:
            counts = self.counts
            failed = counts["failed"] + counts["refused"]
            self.console.end()
            self.console.error(
                f"{counts['done']} enlarged, {counts['skipped']} already there, {failed} failed or refused"
            )
        return self.counts

    def _work(self) -> None:
        if min(self.request.jobs, len(self.jobs)) > 1 and self._work_in_processes():
            return
        upscaler = self.setup.load()
        self.model = identity(upscaler)
        for index, job in enumerate(self.jobs):
            self.console.working(job.source.name)
            self._take(index, attempt(job, upscaler, self.setup))

    def _work_in_processes(self) -> bool:
        """Do the work in several processes, if CPUs and memory are enough for more than one."""
        from lightsr.jobs import share  # one process needs it for nothing

        asked, count, cpus, limit = self.request.jobs, len(self.jobs), available_cpus(), self.setup.max_memory
        how = share(asked, self.setup.threads, files=count, cpus=cpus, max_memory=limit)
        if how.workers < min(asked, count):
            by_memory = share(asked, self.setup.threads, files=count, cpus=cpus).workers > how.workers
            what = (
                f"memory that may be used: {shown(limit)}"
                if by_memory and limit
                else f"CPUs that may be used here: {cpus}"
            )
            self.console.error(
                f"lightsr-infer: --jobs {how.workers} instead of {asked}, with --threads {how.threads}: {what}"
            )
        if how.workers == 1:
            return False
        setup = replace(self.setup, threads=how.threads, max_memory=how.max_memory)
        crowded = self._in_processes(range(count), setup, how.workers)
        if crowded and limit is not None:
            self.console.error(
                f"lightsr-infer: files that need more memory than one of {how.workers} jobs may use: {len(crowded)}; "
                "now one at a time"
            )
            alone = replace(self.setup, threads=self.setup.threads or cpus, max_memory=limit - PARENT_BYTES)
            self._in_processes(crowded, alone, 1)
        return True

    def _in_processes(self, indices: Sequence[int], setup: Setup, workers: int) -> list[int]:
        """Do some of the files; returns those that would need more than one worker's share of the memory."""
        from lightsr.jobs import Finished, Note, Pool

        crowded: list[int] = []
        shared = workers > 1 and setup.max_memory is not None

        def take(finished: Finished) -> None:
            index = indices[finished.index]
            if shared and finished.outcome.reason == "memory":
                crowded.append(index)
            else:
                self._take(index, finished.outcome)

        these = [self.jobs[index] for index in indices]
        with Pool(setup, these, workers, model=self.model if self.model.name else None) as pool:
            try:
                for event in pool.events():
                    if isinstance(event, Finished):
                        take(event)
                    elif isinstance(event, ModelIdentity):
                        self.model = event
                    elif isinstance(event, Note):
                        self.console.error(f"lightsr-infer: {event.text}")
                    else:
                        self.console.draw()
            except KeyboardInterrupt:
                pool.stop()
                for finished in pool.finished_meanwhile():
                    take(finished)
                raise
        return sorted(crowded)

    def _take(self, index: int, outcome: Outcome) -> None:
        """A file is finished: into the manifest now, to the others in its turn."""
        if self.log is not None:
            self.log.append(self._record(outcome))
        self.counts[outcome.status] += 1
        self.console.count(worked=outcome.status != "skipped")
        self._waiting[index] = outcome
        while self._told in self._waiting:
            self._tell(self._waiting.pop(self._told))
            self._told += 1

    def _record(self, outcome: Outcome) -> dict[str, Any]:
        return manifest.record(outcome, self.request.source, self.request.target, self.model)

    def _tell_rest(self) -> None:
        """Before an early end: what was finished out of its turn."""
        for index in sorted(self._waiting):
            self._tell(self._waiting.pop(index))

    def _tell(self, outcome: Outcome) -> None:
        if self.request.as_json:
            self.console.out(manifest.line(self._record(outcome)))
        if outcome.status in ("failed", "refused"):
            self.console.error(f"lightsr-infer: {outcome.message}")
        elif outcome.status == "done" and not self.request.as_json:
            (h, w), (sh, sw) = outcome.size_in, outcome.size_out
            frames = f", {outcome.frames} frames" if outcome.frames > 1 else ""
            size = f"{w}x{h} -> {sw}x{sh}{frames}"
            self.console.out(f"{outcome.source} -> {outcome.target}  {size}  {outcome.milliseconds:.0f} ms")

    def _how_to_go_on(self) -> str:
        words = list(self.request.command)
        if self.setup.overwrite:
            how = "from the start with"
        else:
            how = "go on with"
            if not self.setup.skip_existing:
                words.append("--skip-existing")
        finished = f"{self.counts.total()} of {len(self.jobs)} files are finished, nothing else was written"
        return f"{finished}; {how}: {shlex.join(['lightsr-infer', *words])}"
