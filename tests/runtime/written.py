"""A PNG of an array."""

from pathlib import Path

import numpy as np
from lightsr import raster


def write_png(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        raster.write_png(pixels, file)
