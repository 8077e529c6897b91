"""Made-up training images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from lightsr import raster


@pytest.fixture(scope="session")
def waves() -> Callable[[Path, tuple[int, int]], Path]:
    """Fills a folder with one 16-bit picture of each of three patients: waves with a little grain."""

    def write(folder: Path, shape: tuple[int, int]) -> Path:
        random = np.random.default_rng(0)
        rows, columns = np.indices(shape)
        for patient in range(3):
            picture = 2000 * (1 + np.sin(rows / (3 + patient)) * np.cos(columns / 4)) + random.integers(0, 5, shape)
            (folder / f"p{patient}").mkdir()
            with (folder / f"p{patient}" / "0.png").open("wb") as file:
                raster.write_png(picture.astype(np.uint16), file)
        return folder

    return write
