"""Whether int8 is as good as fp32, judged on held-back patients in clinical ranges."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from lightsr import files
from lightsr_train import protocol
from lightsr_train.data import Pair
from lightsr_train.protocol import Score
from numpy.typing import NDArray

MAX_DROP_DB = 0.05
"""Mean loss of PSNR by int8 in a data range that is allowed by default."""

SINGLE_IMAGE_FACTOR = 3.0
"""Times the allowed mean that any single image may lose."""

Enlarge = Callable[[NDArray[Any]], NDArray[Any]]
"""Low-resolution stored values to high-resolution ones of the same type."""


class Judge:
    """Held-back images, read and prepared once.

    Parameters
    ----------
    pairs : iterable of Pair
        Images too small to be judged are left out.
    scale : int
    """

    def __init__(self, pairs: Iterable[Pair], scale: int) -> None:
        self.scale = scale
        self.pairs = [pair for pair in pairs if min(pair.high.shape) >= protocol.least_side_px(scale)]
        self._truths = [self._truth(pair) for pair in self.pairs]

    def _truth(self, pair: Pair) -> tuple[Any, tuple[protocol.Range, ...]]:
        image = files.read(pair.path)

        def to_unit(stored: NDArray[Any]) -> NDArray[np.float64]:
            return protocol.to_unit(stored, image, pair.origin.modality)

        return to_unit, protocol.ranges(pair.origin.modality, to_unit(pair.high))

    def scores(self, enlarge: Enlarge, *, with_ssim: bool = False) -> list[Score]:
        """Scores of every image in every of its data ranges, in a fixed order."""
        found = []
        for pair, (to_unit, ranges) in zip(self.pairs, self._truths, strict=True):
            truth, result = to_unit(pair.high), to_unit(enlarge(pair.low))
            found += [protocol.score(truth, result, each, self.scale, with_ssim=with_ssim) for each in ranges]
        return found


@dataclass(frozen=True)
class Loss:
    """What int8 loses in one data range, dB.

    Parameters
    ----------
    range : str
    images : int
    mean_db, worst_db : float
        Of PSNR; positive is a loss.
    """

    range: str
    images: int
    mean_db: float
    worst_db: float


@dataclass(frozen=True)
class Verdict:
    """Losses beside what is allowed.

    Parameters
    ----------
    losses : tuple of Loss
    allowed_db : float
        Of the mean in a range; a single image may lose `SINGLE_IMAGE_FACTOR` times that.
    """

    losses: tuple[Loss, ...]
    allowed_db: float

    @property
    def severity(self) -> float:
        """Largest loss as a multiple of what is allowed; at most 1 passes.

        >>> Verdict((Loss("MR", 3, 0.04, 0.18),), 0.05).severity
        1.2
        """
        worst = (max(loss.mean_db, loss.worst_db / SINGLE_IMAGE_FACTOR) for loss in self.losses)
        return round(max(worst, default=0.0) / self.allowed_db, 9)

    @property
    def passes(self) -> bool:
        """Whether something was judged, and nothing lost more than is allowed."""
        return bool(self.losses) and self.severity <= 1

    def __str__(self) -> str:
        return ", ".join(f"{loss.range} {loss.mean_db:.3f} (worst {loss.worst_db:.2f})" for loss in self.losses)


def verdict(before: Sequence[Score], after: Sequence[Score], *, allowed_db: float = MAX_DROP_DB) -> Verdict:
    """Compare scores of the same images in the same order.

    Parameters
    ----------
    before, after : sequence of Score
        Of fp32 and of int8.
    allowed_db : float
    """
    drops: dict[str, list[float]] = {}
    for first, second in zip(before, after, strict=True):
        drops.setdefault(first.range, []).append(first.psnr_db - second.psnr_db)
    return Verdict(
        tuple(Loss(name, len(values), float(np.mean(values)), max(values)) for name, values in sorted(drops.items())),
        allowed_db,
    )
