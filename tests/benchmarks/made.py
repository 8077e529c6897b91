"""Made images and the methods that are measured on them."""

from pathlib import Path

import numpy as np
from lightsr import raster
from lightsr_bench import methods
from lightsr_bench.methods import Selection


def write(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("wb") as file:
        raster.write_png(values, file)


def interpolations(**others: methods.Method) -> Selection:
    return Selection(methods.interpolations(2) | others)
