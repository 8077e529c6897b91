"""Golden self-tests: what a model must give, on any machine, for a seeded input."""

import numpy as np
import onnx
from lightsr.card import GOLDEN_STEP, GOLDEN_STRIDE, Golden, Precision, golden_digest, golden_input

from lightsr_export.errors import ExportError
from lightsr_export.graph import run

SHAPE = (17, 24)
"""Rows and columns of the input: one odd side, several tiles of no use."""

TOLERANCE = 1e-5
"""Difference that fp32 may show on another processor, in units of the input range."""

MARGIN = 1e-5
"""Distance that int8's output keeps from where rounding would change the digest."""

SEEDS = 200
"""Inputs tried until one keeps `MARGIN`."""


def golden(model: onnx.ModelProto, precision: Precision) -> Golden:
    """A self-test for a model.

    fp32 must come within `TOLERANCE`. int8 must give the same digest: its integers are
    equal on all processors, and what floating point around them may differ by stays
    clear of the digest's rounding because the input is chosen so.

    Raises
    ------
    ExportError
        No input that suits was found.
    """
    if precision == "fp32":
        output = run(model, golden_input(1, SHAPE))
        values = tuple(float(value) for value in output.reshape(-1)[::GOLDEN_STRIDE])
        return Golden(1, SHAPE, values=values, tolerance=TOLERANCE)
    for seed in range(1, SEEDS + 1):
        output = run(model, golden_input(seed, SHAPE))
        steps = output.astype(np.float64) / GOLDEN_STEP
        clearance = np.abs(steps - np.floor(steps) - 0.5).min() * GOLDEN_STEP
        if clearance > MARGIN:
            return Golden(seed, SHAPE, digest=golden_digest(output))
    raise ExportError("no golden input keeps clear of rounding; not exported")
