"""The training loop of one stage."""

import copy
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightsr
import torch
from lightsr import files
from lightsr.errors import LightsrError, OutputError
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from lightsr_train import checkpoint, data
from lightsr_train.ahead import Ahead
from lightsr_train.board import Board
from lightsr_train.contract import Network
from lightsr_train.dense import LightDense
from lightsr_train.networks import build, dimensions
from lightsr_train.objective import Objective, warm_start
from lightsr_train.pace import Pace
from lightsr_train.patches import PatchSampler
from lightsr_train.processes import Processes
from lightsr_train.settings import RunConfig, SettingsError, Stage, TrainingConfig
from lightsr_train.validation import enlarge_with, gain_over_bicubic
from lightsr_train.workers import WorkerError

STATE_FILE = "state.pt"
"""In the run folder: all that resuming needs."""

LOG_FILE = "log.jsonl"
"""In the run folder: a line every `REPORT_EVERY` steps and every validation."""

REPORT_EVERY = 100
"""Steps between reports."""


class TrainingError(LightsrError):
    """A run that has gone wrong."""


@dataclass(frozen=True)
class Progress:
    """What a run tells while it goes.

    Parameters
    ----------
    stage : str
    step, steps : int
        Of the stage.
    loss : float
        Mean since the last report.
    gain_db : dict
        PSNR over bicubic interpolation on held-back patients, by modality, of the
        averaged weights; empty between validations.
    steps_per_second : float
        Since the last report, validations left out.
    waiting_share : float
        Share of that time in which the network waited for patches.
    seconds_left : float
        Of the stage.
    """

    stage: str
    step: int
    steps: int
    loss: float
    gain_db: dict[str, float]
    steps_per_second: float
    waiting_share: float
    seconds_left: float


class Trainer:
    """Training of one stage in a run folder; raises `SettingsError` for settings that do not go together.

    Parameters
    ----------
    config : RunConfig
    collection : data.Collection
        Pictures at the stage's scale, one low-resolution picture for every degradation.
    run : Path
        Folder for checkpoints; made where it is missing.
    stage : Stage, optional
        The last one by default.
    initial : checkpoint.Checkpoint, optional
        Network to start from; see `objective.warm_start`.
    processes : Processes, optional
        This process alone by default.
    """

    def __init__(
        self,
        config: RunConfig,
        collection: data.Collection,
        run: Path,
        *,
        stage: Stage | None = None,
        initial: checkpoint.Checkpoint | None = None,
        processes: Processes | None = None,
    ) -> None:
        self.config = config
        self.stage = stage or config.last
        self.settings = settings = self.stage.training
        self.run = run
        self.sources = collection.sources
        self.images = collection.digest
        self.processes = processes or Processes()
        self.device = self.processes.device
        if settings.batch % self.processes.count:
            count = self.processes.count
            raise SettingsError(f"batch is {settings.batch}; with {count} processes a multiple of that is needed")
        training, self.held_back = data.hold_back(collection.pairs, settings.hold_back)
        torch.manual_seed(settings.seed)
        self.network: Network = build(config.family, asdict(self.stage.network))
        self.sampler = PatchSampler(
            training,
            scale=self.stage.network.scale,
            patch_px=settings.patch_px,
            batch=settings.batch,
            seed=settings.seed,
            unit=self.network.intensity == "unit",
            hard_share=settings.hard_share,
            modality_weight=settings.modality_weight,
            mix=settings.degradations,
            margin_px=settings.margin_px,
            edge_share=settings.edge_share,
            oversampled_share=settings.oversampled_share,
        )
        self.objective = Objective(self.network, settings)
        if initial is not None:
            warm_start(self.objective, dict(initial.weights), scale=int(initial.dimensions["scale"]))
        self._freeze()
        self.averaged = copy.deepcopy(self.network).eval().to(self.device)
        if settings.precision == "bfloat16":
            if not isinstance(self.network, LightDense):
                raise SettingsError(
                    f'precision is "bfloat16"; {config.family} carries the picture itself through its convolutions, '
                    'which would round it; "float32" is needed'
                )
            self.network.precision = torch.bfloat16
        self.objective.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.learned = [p for p in self.objective.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(self.learned, lr=settings.learning_rate, fused=self.device.type == "cuda")
        self.loss_of = self._loss_of()
        self.step = 0
        self.seconds = self.processor_seconds = 0.0
        self.gain_db: dict[str, float] = {}
        self.history = checkpoint.history(initial)

    def _freeze(self) -> None:
        for part in self.settings.frozen:
            found = [p for name, p in self.network.named_parameters() if f"{name}.".startswith(f"{part}.")]
            if not found:
                parts = ", ".join(name for name, _ in self.network.named_children())
                raise SettingsError(f"frozen names '{part}', which the network does not have; it has {parts}")
            for parameter in found:
                parameter.requires_grad_(False)
        if not any(p.requires_grad for p in self.network.parameters()):
            raise SettingsError("frozen names all that could be learned; leave some part free")

    def _loss_of(self) -> Callable[..., Tensor]:
        """The objective, as one process or many run it, compiled or not."""
        objective: nn.Module = self.objective
        if self.processes.count > 1:
            ids = [self.device.index] if self.device.type == "cuda" else None
            objective = DistributedDataParallel(objective, device_ids=ids)
        if self.settings.compile:
            objective = torch.compile(objective)  # type: ignore[assignment]
        return objective

    def resume(self, state: dict[str, Any]) -> None:
        """Continue from a state of this stage, as `save` wrote it.

        Raises
        ------
        checkpoint.CheckpointError
            It belongs to other settings.
        """
        if "objective" not in state:
            raise checkpoint.CheckpointError(
                f"{self.run / STATE_FILE}: made by an older version; train into a new folder, "
                f"with --init {self.run} to start from what it has learned"
            )
        # Dimensions and settings that are younger than the state: as they were then.
        found = {"images": self.images, "init": "", **state.get("settings", {})}
        found["network"] = {**asdict(type(self.stage.network)()), **found.get("network", {})}
        unset = {"edge_share": 0.0, "oversampled_share": 0.0}
        found["training"] = {**asdict(TrainingConfig()), **unset, **found.get("training", {})}
        if found != self._settings():
            raise checkpoint.CheckpointError(
                f"{self.run / STATE_FILE}: made with other settings or data; resume with those, "
                "or train into a new folder"
            )
        self.objective.load_state_dict(state["objective"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]
        self.seconds = state["seconds"]
        self.processor_seconds = state.get("processor_seconds", 0.0)  # states of older versions have none
        self.gain_db = state["gain_db"]
        self.history = state.get("history", self.history)

    def train(self, report: Callable[[Progress], None], should_stop: Callable[[], bool]) -> bool:
        """Train until the last step or until `should_stop` says so; either way the state is saved.

        Returns
        -------
        bool
            Whether the last step was reached.

        Raises
        ------
        TrainingError
            The loss is no finite number any more.
        """
        self._open_run()
        settings, first = self.settings, self.processes.first
        board = Board(self.run) if first else None
        ahead = Ahead(
            self.sampler,
            steps=settings.steps,
            first=self.processes.rank,
            every=self.processes.count,
            drawers=self.processes.drawers,
            device=self.device,
        )
        pace = Pace(self.step)
        losses: list[Tensor] = []
        try:
            while self.step < settings.steps and not self.processes.any(should_stop()):
                waited = time.perf_counter()
                try:
                    batch = ahead.draw(self.step)
                except WorkerError:
                    # What ends this run may end its workers first. Beside other processes there is no vote out of turn.
                    if self.processes.count == 1 and should_stop():
                        break
                    raise
                pace.waited += time.perf_counter() - waited
                losses.append(self._optimise(*batch))
                self.step += 1
                validated = self.step % settings.validate_every == 0 or self.step == settings.steps
                if not validated and self.step % REPORT_EVERY:
                    continue
                loss = float(torch.stack(losses).mean())
                losses.clear()
                if not math.isfinite(loss):
                    raise TrainingError(
                        f"{self.run}: the loss is {loss} at step {self.step:,} of stage {self.stage.name}; what was "
                        "saved before is kept; lower learning_rate, or clip, and start anew or from that"
                    )
                per_second, waiting = self._lap(pace)
                if first:
                    if validated:
                        self._validate(board)
                    left = (settings.steps - self.step) / per_second
                    gain = self.gain_db if validated else {}
                    self._tell(
                        Progress(self.stage.name, self.step, settings.steps, loss, gain, per_second, waiting, left),
                        board,
                        report,
                    )
                pace.go_on()
        finally:
            ahead.close()
            if board:
                board.close()
        self._lap(pace)
        if first:
            self.save()
        self.processes.wait()
        return self.step >= settings.steps

    def _lap(self, pace: Pace) -> tuple[float, float]:
        """Count the time since the last lap; steps a second and share spent waiting in it."""
        per_second, waiting, spent, worked = pace.lap(self.step)
        self.seconds += spent
        self.processor_seconds += worked
        return per_second, waiting

    def _open_run(self) -> None:
        """Make the run folder, and note where the images are, for the export."""
        try:
            self.run.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.run}: cannot be made: {error.strerror}; --out takes a folder") from error
        if self.processes.first:
            folders = json.dumps([str(folder.resolve()) for folder in self.config.data])
            with files.new_file(self.run / checkpoint.FOLDERS_FILE, overwrite=True, permissions=0o600) as file:
                file.write(folders.encode())

    def _optimise(self, low: Tensor, high: Tensor, weight: Tensor) -> Tensor:
        settings = self.settings
        for group in self.optimiser.param_groups:
            group["lr"] = settings.learning_rate_at(self.step)
        squared = self.step >= settings.steps * (1 - settings.squared_share)
        kind = "squared" if squared else settings.loss
        loss = self.loss_of(low, high, weight, kind, settings.dual_weight_at(self.step))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.learned, settings.clip)
        self.optimiser.step()
        decay = min(settings.average, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            kept: list[Tensor] = list(self.averaged.parameters())
            torch._foreach_lerp_(kept, list[Tensor](self.network.parameters()), 1 - decay)
        return loss.detach()

    def _validate(self, board: Board | None) -> None:
        enlarge = enlarge_with(self.averaged, self.device)
        self.gain_db = gain_over_bicubic(enlarge, self.held_back, self.stage.network.scale)
        self.save()
        if board:
            board.pictures(self.step, self.held_back, self.stage.network.scale, enlarge)

    def _tell(self, progress: Progress, board: Board | None, report: Callable[[Progress], None]) -> None:
        """Into the log, to TensorBoard and to the caller."""
        rate = self.settings.learning_rate_at(self.step)
        line = {
            "stage": self.stage.name,
            "step": progress.step,
            "loss": progress.loss,
            "learning_rate": rate,
            "seconds": round(self.seconds, 1),
            "processor_seconds": round(self.processor_seconds, 1),
            "steps_per_second": round(progress.steps_per_second, 2),
            "waiting_share": round(progress.waiting_share, 4),
            **({"gain_db": progress.gain_db} if progress.gain_db else {}),
        }
        try:
            with (self.run / LOG_FILE).open("a", encoding="utf-8") as file:
                file.write(json.dumps(line) + "\n")
        except OSError as error:
            raise OutputError(f"{self.run / LOG_FILE}: cannot be written: {error.strerror}") from error
        if board:
            gains = {f"gain_db/{name}": value for name, value in progress.gain_db.items()}
            values = {"loss": progress.loss, "learning_rate": rate, "steps_per_second": progress.steps_per_second}
            board.scalars(progress.step, {f"{self.stage.name}/{k}": v for k, v in (values | gains).items()})
        report(progress)

    def _settings(self) -> dict[str, Any]:
        return {
            "family": self.config.family,
            "network": asdict(self.stage.network),
            "training": asdict(self.settings),
            "sources": self.sources,
            "images": self.images,
            "init": Path(self.config.init).name,
        }

    def save(self) -> None:
        """Write state and model into the run folder, each atomically."""
        state = {
            "format": checkpoint.FORMAT,
            "stage": self.stage.name,
            "settings": self._settings(),
            "objective": self.objective.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "seconds": self.seconds,
            "processor_seconds": self.processor_seconds,
            "gain_db": self.gain_db,
            "history": self.history,
        }
        checkpoint.save_atomically(state, self.run / STATE_FILE)
        checkpoint.save(self.result(), self.run / checkpoint.MODEL_FILE)

    def result(self) -> checkpoint.Checkpoint:
        """The averaged network with its provenance."""
        weights = {k: v.detach().cpu().contiguous().clone() for k, v in self.averaged.state_dict().items()}
        provenance = {
            "lightsr": lightsr.__version__,
            "torch": str(torch.__version__),
            "stage": self.stage.name,
            "step": self.step,
            "training": asdict(self.settings),
            "stages": [
                {"name": each.name, "scale": each.network.scale, "steps": each.training.steps}
                for each in self.config.stages
            ],
            "init": Path(self.config.init).name,
            "history": self.history,
            "degradations": list(self.settings.degradations),
            "sources": self.sources,
            "held_back_gain_db": self.gain_db,
        }
        return checkpoint.Checkpoint(
            self.config.name, self.config.family, dimensions(self.network), weights, provenance
        )
