"""A whole run: one stage after the other, each from what the one before it has learned."""

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, TypeVar

from lightsr.errors import LightsrError, OutputError

from lightsr_train import checkpoint, folders, released, store
from lightsr_train.checkpoint import Checkpoint, CheckpointError
from lightsr_train.data import Collection
from lightsr_train.processes import Processes
from lightsr_train.settings import RunConfig, SettingsError, Stage
from lightsr_train.training import LOG_FILE, STATE_FILE, Progress, Trainer

T = TypeVar("T")

STORE_FOLDER = ".lightsr-images"
"""In the run folder, while it is not finished: the training pictures of the current stage."""

FREE_DIMENSIONS = frozenset({"scale", "consistency"})
"""Dimensions in which a network may differ from the one that it starts from."""


def of_scale(config: RunConfig, initial_scale: int) -> RunConfig:
    """The run without the stages that a network of `initial_scale` has already been through.

    A network of the run's own scale leaves the last stage, which then fine-tunes it.
    """
    scales = [stage.network.scale for stage in config.stages]
    if initial_scale == scales[-1]:
        return replace(config, stages=config.stages[-1:])
    done = max((i for i, scale in enumerate(scales) if scale == initial_scale), default=-1)
    return replace(config, stages=config.stages[done + 1 :])


def started(config: RunConfig) -> tuple[RunConfig, Checkpoint | None]:
    """The run's stages, and the network that the first of them starts from, as its `init` says.

    Raises
    ------
    LightsrError
        There is no such network, or it is of another family or other dimensions.
    """
    if not config.init:
        return config, None
    initial = released.find(config.init, config.last.network.scale)
    config = of_scale(config, int(initial.dimensions["scale"]))
    check_start(initial, config.family, config.stages[0])
    return config, initial


def stage_file(run: Path, stage: Stage) -> Path:
    """Where the finished network of a stage is kept, for the stage after it."""
    return run / f"stage-{stage.name}.pt"


def train(
    config: RunConfig,
    run: Path,
    *,
    images: Path | None = None,
    resume: bool = False,
    processes: Processes | None = None,
    begin: Callable[[Trainer, Collection], None] = lambda trainer, collection: None,
    report: Callable[[Progress], None] = lambda progress: None,
    should_stop: Callable[[], bool] = lambda: False,
) -> Trainer:
    """Train all stages, or go on where the run in the folder stopped.

    Parameters
    ----------
    config : RunConfig
        With `init`, stages that the network named there has been through are left out.
    run : Path
        Run folder.
    images : Path, optional
        Folder that keeps the training pictures, for runs that share them; by default the
        run folder has one of its own while it is not finished.
    resume : bool
    processes : Processes, optional
        This process alone by default.
    begin : callable
        Called before a stage's first step.
    report, should_stop : callable
        As `Trainer.train` takes them.

    Returns
    -------
    Trainer
        Of the stage that was reached; the run is finished if it is the last and at its last step.

    Raises
    ------
    LightsrError
        No usable images; a state that is missing, damaged or of other settings; a network
        that cannot be started from; another process trains in the run folder.
    """
    processes = processes or Processes()
    with ExitStack() as until_done:
        _by_first(processes, run, lambda: until_done.enter_context(folders.alone(run)))
        config, initial = started(config)
        state: dict[str, Any] | None = checkpoint.read_tensors(run / STATE_FILE) if resume else None
        number = _position(config, state, run / STATE_FILE)
        anew = state is None
        while True:
            stage = config.stages[number]
            place = images or run / STORE_FOLDER
            fresh = not place.exists()
            try:
                collection = _images(config, stage, place, processes)
                trainer = Trainer(config, collection, run, stage=stage, initial=initial, processes=processes)
                if state is not None:
                    trainer.resume(state)
                    state = None
            except BaseException:  # nothing has begun: leave the folder as it was
                if fresh and processes.first and images is None:
                    store.remove(place)
                raise
            if processes.first:
                if anew:
                    _remove_log(run)
                begin(trainer, collection)
            anew = False
            if not trainer.train(report, should_stop):
                return trainer
            initial = trainer.result()
            if processes.first:
                checkpoint.save(initial, stage_file(run, stage))
            number += 1
            if number == len(config.stages):
                if processes.first and images is None:
                    store.remove(place)
                return trainer


def _remove_log(run: Path) -> None:
    """That of a run which ended before anything was saved; only once another one does begin."""
    try:
        (run / LOG_FILE).unlink(missing_ok=True)
    except OSError as error:
        raise OutputError(f"{run / LOG_FILE}: cannot be written: {error.strerror}") from error


def _position(config: RunConfig, state: dict[str, Any] | None, path: Path) -> int:
    """Index of the stage that a state belongs to."""
    if state is None:
        return 0
    names = [stage.name for stage in config.stages]
    name = state.get("stage", names[-1])
    if name not in names:
        raise CheckpointError(
            f"{path}: is of a stage '{name}'; this run has {', '.join(names)}; resume with its settings"
        )
    return names.index(name)


def _images(config: RunConfig, stage: Stage, place: Path, processes: Processes) -> Collection:
    """Pictures of a stage; the first process reads them, the others map what it wrote."""

    def collection() -> Collection:
        return store.collection(
            place,
            config.data,
            stage.network.scale,
            min_side_px=stage.training.patch_px,
            degradations=list(stage.training.degradations),
            readers=processes.readers,
        )

    return _by_first(processes, place, collection) or collection()


def _by_first(processes: Processes, folder: Path, action: Callable[[], T]) -> T | None:
    """What the first process has from `action` in a folder, and None in the others; where it fails, all of them do."""
    result: T | None = None
    failure: LightsrError | None = None
    if processes.first:
        try:
            result = action()
        except LightsrError as error:
            failure = error
    if processes.any(failure is not None):
        raise failure or OutputError(f"{folder}: the first process failed there; its own message says why")
    return result


def check_start(initial: Checkpoint, family: str, stage: Stage) -> None:
    """Refuse a network that a stage cannot start from: of another family or dimensions, but for the scale.

    Raises
    ------
    SettingsError
    """
    if initial.family != family:
        raise SettingsError(f"{initial.name}: is of the family {initial.family}; this run trains {family}")
    differing = [
        f"{name} {initial.dimensions[name]}, not {value}"
        for name, value in asdict(stage.network).items()
        if name not in FREE_DIMENSIONS and initial.dimensions[name] != value
    ]
    if differing:
        raise SettingsError(f"{initial.name}: its dimensions differ from those of this run: {', '.join(differing)}")
