"""Curves and sample pictures for TensorBoard, where that is installed.

The samples are pictures of held-back patients, and stay: the folder is its owner's alone.
"""

from pathlib import Path
from typing import Any

import numpy as np
from lightsr.errors import OutputError
from lightsr.resample import interpolate
from numpy.typing import NDArray

from lightsr_train.data import Pair
from lightsr_train.validation import Enlarge, centre, chosen

FOLDER = "tensorboard"
"""In the run folder."""

SAMPLE_PX = 192
"""Side of a sample picture, high-resolution pixels."""


class Board:
    """Writes scalars and pictures into ``RUN/tensorboard``; does nothing without TensorBoard.

    Raises
    ------
    OutputError
        The folder cannot be written.
    """

    def __init__(self, run: Path) -> None:
        self._writer: Any = None
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            return
        folder = run / FOLDER
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._writer = SummaryWriter(str(folder))
        except OSError as error:
            raise OutputError(f"{folder}: cannot be written: {error.strerror}") from error

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """Points of curves, by name."""
        if self._writer:
            for name, value in values.items():
                self._writer.add_scalar(name, value, step)

    def pictures(self, step: int, pairs: list[Pair], scale: int, enlarge: Enlarge) -> None:
        """Bicubic interpolation, the network and the truth side by side: the first held-back image of each modality."""
        if not self._writer:
            return
        for modality, images in chosen(pairs).items():
            low, high = centre(images[0], scale, SAMPLE_PX // scale)
            row = np.hstack([interpolate(low, scale), enlarge(low), high])
            self._writer.add_image(f"sample/{modality}", _grey(row, high), step, dataformats="HW")

    def close(self) -> None:
        """Write what is left."""
        if self._writer:
            self._writer.close()


def _grey(row: NDArray[Any], high: NDArray[Any]) -> NDArray[np.uint8]:
    """Values as 0 to 255 between the truth's 1st and 99th percentile."""
    bottom, top = np.percentile(high, (1, 99))
    return np.asarray(np.clip(255 * (row - bottom) / max(top - bottom, 1e-9), 0, 255), dtype=np.uint8)
