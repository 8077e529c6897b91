"""Trains one network in a process of its own and tells what that took; `learning` starts it.

Reads a request, a JSON object, from standard input, and writes one line of JSON for every
validation and one at the end.
"""

import dataclasses
import json
import logging
import sys
import threading
from pathlib import Path
from typing import Any

PERIOD_S = 0.02
"""Between two looks at the memory in use."""


class AnonymousMemory:
    """Watches the process's own memory; pages of the mapped training pictures are not counted."""

    def __init__(self) -> None:
        self.peak_mib = 0.0
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._stop.wait(PERIOD_S):
            self.peak_mib = max(self.peak_mib, resident_mib())

    def close(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join()


def resident_mib() -> float:
    """Resident memory of this process that no file backs, MiB (Linux: RssAnon, proc(5)).

    Raises
    ------
    OSError
        The kernel does not tell it.
    """
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) / 1024
    raise OSError("/proc/self/status: has no RssAnon")


def tell(line: dict[str, Any]) -> None:
    """A line for the process that started this one."""
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def main() -> int:
    """Train as the request on standard input says."""
    request: dict[str, Any] = json.load(sys.stdin)
    import torch
    from lightsr_train import store
    from lightsr_train.settings import DEFAULT_MIX, from_preset
    from lightsr_train.training import Progress, Trainer
    from lightsr_train.validation import enlarge_with, gain_over_bicubic

    logging.disable(logging.WARNING)  # skipped files are named by lightsr-train
    torch.set_num_threads(request["threads"])
    folders = tuple(Path(folder) for folder in request["data"])
    config = from_preset(request["network"], request["scale"]).with_training(
        steps=request["steps"], validate_every=request["validate_every"], degradations=dict(DEFAULT_MIX)
    )
    config = dataclasses.replace(config, stages=config.stages[-2:-1], data=folders)  # the last one only adds to it
    training = config.last.training
    collection = store.collection(
        Path(request["store"]),
        folders,
        config.last.network.scale,
        min_side_px=training.patch_px,
        degradations=list(training.degradations),
    )
    modality = request["modality"]
    before = resident_mib()
    trainer = Trainer(config, collection, Path(request["run"]))
    # Looking at the others would take longer than training.
    trainer.held_back = [pair for pair in trainer.held_back if (pair.origin.modality or "image") == modality]
    if not trainer.held_back:
        tell({"error": f"no {modality} image of a held-back patient; --modality names another"})
        return 1
    reached: list[float] = []

    def report(progress: Progress) -> None:
        if progress.gain_db:
            tell({"step": progress.step, "seconds": trainer.seconds, "gain_db": progress.gain_db})
            if not reached and progress.gain_db[modality] >= request["target_db"]:
                reached.append(trainer.seconds)

    memory = AnonymousMemory()
    trainer.train(report, lambda: bool(reached) or trainer.seconds > request["max_seconds"])
    memory.close()
    if trainer.step % request["validate_every"] and trainer.step < request["steps"]:  # time was up between two looks
        gain = gain_over_bicubic(
            enlarge_with(trainer.averaged, trainer.device), trainer.held_back, config.last.network.scale
        )
        report(Progress(trainer.stage.name, trainer.step, request["steps"], 0.0, gain, 0.0, 0.0, 0.0))
    found = {
        "steps": trainer.step,
        "seconds": trainer.seconds,
        "memory_mib": memory.peak_mib - before,
        "reached_seconds": reached[0] if reached else None,
    }
    tell(found)
    return 0


if __name__ == "__main__":
    sys.exit(main())
