"""The training loop."""

import copy
import json
import logging
import math
import os
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lightsr
import numpy as np
import torch
from lightsr import files
from lightsr.errors import OutputError
from lightsr.resample import interpolate
from lightsr.tiling import TilePlan
from lightsr.upscaler import IntensityMap
from numpy.typing import NDArray
from torch import Tensor, nn

from lightsr_train import checkpoint, data
from lightsr_train.contract import Network
from lightsr_train.data import Pair
from lightsr_train.degradation import BICUBIC
from lightsr_train.networks import build, dimensions
from lightsr_train.settings import RunConfig, TrainingConfig

logger = logging.getLogger(__name__)

STATE_FILE = "state.pt"
"""In the run folder: all that resuming needs."""

LOG_FILE = "log.jsonl"
"""In the run folder: one line a validation."""

VALIDATION_SIDE_PX = 512
"""Side of the centre part of a held-back image that validation measures, high-resolution pixels."""

VALIDATION_IMAGES = 8
"""Most held-back images measured per modality."""


@dataclass(frozen=True)
class Progress:
    """What a run tells while it goes.

    Parameters
    ----------
    step, steps : int
    loss : float
        Mean since the last report.
    gain_db : dict
        PSNR over bicubic interpolation on held-back patients, by modality, of the
        averaged weights; empty between validations.
    seconds_left : float
    """

    step: int
    steps: int
    loss: float
    gain_db: dict[str, float]
    seconds_left: float


def schedule(step: int, config: TrainingConfig) -> float:
    """Learning rate of a step: linear warm-up, then a cosine that ends near zero."""
    if step < config.warmup:
        return config.learning_rate * (step + 1) / config.warmup
    done = (step - config.warmup) / max(1, config.steps - config.warmup)
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * min(1.0, done)))


def loss_between(sr: Tensor, high: Tensor, *, margin: int, squared: bool, weight: Tensor | float = 1.0) -> Tensor:
    """Mean absolute or squared error, without `margin` high-resolution pixels at the border.

    Differences are multiplied by `weight` first, which broadcasts, as of a `data.Batch`.
    """
    inner = slice(margin, -margin or None)
    difference = weight * (sr[..., inner, inner] - high[..., inner, inner])
    return difference.square().mean() if squared else difference.abs().mean()


Enlarge = Callable[[NDArray[Any]], NDArray[np.float32]]
"""Low-resolution stored values (h, w) to high-resolution ones in the same unit, not rounded."""


def gain_over_bicubic(enlarge: Enlarge, pairs: Iterable[Pair], scale: int) -> dict[str, float]:
    """Mean PSNR gain over bicubic interpolation by modality, dB.

    Measured on rounded values of the centre of at most `VALIDATION_IMAGES` images a
    modality, scale + 2 pixels cropped at the border. The data range cancels out.
    """
    chosen: dict[str, list[Pair]] = {}
    for pair in pairs:
        chosen.setdefault(pair.origin.modality, []).append(pair)
    gains: dict[str, float] = {}
    inner = (slice(scale + 2, -(scale + 2)),) * 2
    for modality, images in sorted(chosen.items()):
        stride = -(-len(images) // VALIDATION_IMAGES)
        values = []
        for pair in images[::stride]:
            low, high = centre(pair, scale, VALIDATION_SIDE_PX // scale)
            errors = [
                np.mean(np.square(np.rint(picture)[inner] - high[inner], dtype=np.float64))
                for picture in (interpolate(low, scale), enlarge(low))
            ]
            values.append(10 * math.log10(max(errors[0], 1e-12) / max(errors[1], 1e-12)))
        gains[modality or "image"] = float(np.mean(values))
    return gains


def enlarge_with(network: Network, device: torch.device) -> Enlarge:
    """The network as a function of stored values, extended and mapped to about [0, 1] as the runtime does a file."""

    @torch.no_grad()
    def enlarge(low: NDArray[Any]) -> NDArray[np.float32]:
        mapping = IntensityMap.of(low)
        rows, columns = low.shape
        alignment = network.alignment_px
        plan = TilePlan.for_picture(
            (rows, columns), tile=max(rows, columns) + alignment, halo=network.halo_px, alignment=alignment
        )
        (whole,) = plan
        unit = torch.from_numpy((plan.read(low, whole) - mapping.offset) / mapping.span)[None, None].to(device)
        result = plan.core(network(unit)[0, 0].cpu().numpy(), whole, network.config.scale)
        return result * mapping.span + mapping.offset

    return enlarge


def centre(pair: Pair, scale: int, side_px: int) -> tuple[Any, Any]:
    """Centre of a pair, at most `side_px` low-resolution pixels a side."""
    top, left = (max(0, (n - side_px) // 2) for n in pair.low.shape)
    low = pair.low[top : top + side_px, left : left + side_px]
    high = pair.high[scale * top :, scale * left :][: scale * low.shape[0], : scale * low.shape[1]]
    return low, high


class Trainer:
    """One training run in a folder.

    Parameters
    ----------
    config : RunConfig
    collection : data.Collection
    run : Path
        Folder for checkpoints; made where it is missing.
    initial : dict of Tensor, optional
        Weights to start from.
    """

    def __init__(
        self,
        config: RunConfig,
        collection: data.Collection,
        run: Path,
        *,
        initial: dict[str, Tensor] | None = None,
    ) -> None:
        self.config = config
        self.settings = config.training
        self.run = run
        self.sources = collection.sources
        self.device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        training, self.held_back = data.hold_back(collection.pairs, self.settings.hold_back)
        torch.manual_seed(self.settings.seed)
        self.network: Network = build(config.family, asdict(config.network))
        self.sampler = data.PatchSampler(
            training,
            scale=config.network.scale,
            patch_px=self.settings.patch_px,
            batch=self.settings.batch,
            seed=self.settings.seed,
            unit=self.network.intensity == "unit",
        )
        if initial is not None:
            self.network.load_state_dict(initial)
        self.network.to(self.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.averaged = copy.deepcopy(self.network).eval()
        self.optimiser = torch.optim.Adam(self.network.parameters(), lr=self.settings.learning_rate)
        self.step = 0
        self.gain_db: dict[str, float] = {}

    def resume(self) -> None:
        """Continue from the run folder's last state.

        Raises
        ------
        checkpoint.CheckpointError
            There is none, or it belongs to other settings.
        """
        path = self.run / STATE_FILE
        state = checkpoint.read_tensors(path)
        # Dimensions that are younger than the state have their default.
        known = {**asdict(type(self.config.network)()), **state["settings"]["network"]}
        if {**state["settings"], "network": known} != self._settings():
            raise checkpoint.CheckpointError(
                f"{path}: made with other settings or data; resume with those, or train into a new folder"
            )
        self.network.load_state_dict(state["network"])
        self.averaged.load_state_dict(state["averaged"])
        self.optimiser.load_state_dict(state["optimiser"])
        self.step = state["step"]
        self.gain_db = state["gain_db"]

    def train(self, report: Callable[[Progress], None], should_stop: Callable[[], bool]) -> bool:
        """Train until the last step or until `should_stop` says so; either way the state is saved.

        Returns
        -------
        bool
            Whether the last step was reached.
        """
        self._open_run()
        settings = self.settings
        started, first = time.monotonic(), self.step
        losses: list[float] = []
        while self.step < settings.steps and not should_stop():
            losses.append(self._optimise())
            self.step += 1
            validated = self.step % settings.validate_every == 0 or self.step == settings.steps
            if validated:
                self.gain_db = gain_over_bicubic(
                    enlarge_with(self.averaged, self.device), self.held_back, self.config.network.scale
                )
                self.save()
                self._log(float(np.mean(losses)))
            if validated or self.step % 100 == 0:
                pace = (time.monotonic() - started) / (self.step - first)
                gain = self.gain_db if validated else {}
                left = pace * (settings.steps - self.step)
                report(Progress(self.step, settings.steps, float(np.mean(losses)), gain, left))
                losses.clear()
        self.save()
        return self.step >= settings.steps

    def _open_run(self) -> None:
        """Make the run folder, and note where the images are, for the export."""
        try:
            self.run.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"{self.run}: cannot be made: {error.strerror}; --out takes a folder") from error
        folders = json.dumps([str(folder.resolve()) for folder in self.config.data])
        with files.new_file(self.run / checkpoint.FOLDERS_FILE, overwrite=True) as file:
            file.write(folders.encode())

    def _optimise(self) -> float:
        settings = self.settings
        low, high, weight = (torch.from_numpy(a).to(self.device) for a in self.sampler.draw(self.step))
        for group in self.optimiser.param_groups:
            group["lr"] = schedule(self.step, settings)
        squared = self.step >= settings.steps * (1 - settings.squared_share)
        margin = settings.margin_px * self.config.network.scale
        loss = loss_between(self.network(low), high, margin=margin, squared=squared, weight=weight)
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(self.network.parameters(), settings.clip)
        self.optimiser.step()
        decay = min(settings.average, (self.step + 1) / (self.step + 10))
        with torch.no_grad():
            for kept, current in zip(self.averaged.parameters(), self.network.parameters(), strict=True):
                kept.lerp_(current, 1 - decay)
        return float(loss.item())

    def _settings(self) -> dict[str, Any]:
        return {
            "family": self.config.family,
            "network": asdict(self.config.network),
            "training": asdict(self.settings),
            "sources": self.sources,
        }

    def save(self) -> None:
        """Write state and model into the run folder, each atomically."""
        state = {
            "format": checkpoint.FORMAT,
            "settings": self._settings(),
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimiser": self.optimiser.state_dict(),
            "step": self.step,
            "gain_db": self.gain_db,
        }
        checkpoint.save_atomically(state, self.run / STATE_FILE)
        checkpoint.save(self.result(), self.run / checkpoint.MODEL_FILE)

    def result(self) -> checkpoint.Checkpoint:
        """The averaged network with its provenance."""
        weights = {k: v.detach().cpu().contiguous().clone() for k, v in self.averaged.state_dict().items()}
        provenance = {
            "lightsr": lightsr.__version__,
            "torch": str(torch.__version__),
            "step": self.step,
            "training": asdict(self.settings),
            "degradations": [BICUBIC],
            "sources": self.sources,
            "held_back_gain_db": self.gain_db,
        }
        return checkpoint.Checkpoint(
            self.config.name, self.config.family, dimensions(self.network), weights, provenance
        )

    def _log(self, loss: float) -> None:
        line = {"step": self.step, "loss": loss, "gain_db": self.gain_db}
        with (self.run / LOG_FILE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + os.linesep)
