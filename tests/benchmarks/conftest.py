"""A folder of made images."""

from pathlib import Path

import numpy as np
import pytest

from tests.benchmarks.made import write
from tests.exported_once import exported_once, exports

__all__ = ["exported_once", "exports"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:150, :130]
    for modality, offset, gain in (("CT", 900, 150), ("MR", 300, 250), ("US", 120, 80)):
        values = offset + gain * np.sin(rows / 5) * np.cos(columns / 7) + random.normal(0, 2, rows.shape)
        dtype, top = (np.uint8, 255) if modality == "US" else (np.uint16, 65535)
        write(tmp_path / "images" / modality / "clinic" / "a.png", np.clip(values, 0, top).astype(dtype))
    return tmp_path / "images"
