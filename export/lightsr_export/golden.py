"""Golden self-tests: what a model must give, on any machine, for a seeded input."""

import numpy as np
import onnx
from lightsr.card import GOLDEN_STEP, GOLDEN_STRIDE, Golden, Precision, golden_digest, golden_input

from lightsr_export.errors import GoldenError
from lightsr_export.graph import session
from lightsr_export.quantise import has_exact_stem

SHAPES = {2: (17, 24), 3: (11, 16), 4: (9, 11), 8: (5, 5)}
"""Rows and columns of the input by enlargement: some odd, and outputs of about as many pixels.

The more pixels there are, the fewer inputs keep all of them clear of rounding.
"""

TOLERANCE = 1e-5
"""Difference that fp32 may show on another processor, in units of the input range."""

MARGIN = 1e-5
"""Distance that int8's output keeps from where rounding would change the digest."""

INEXACT_TOLERANCE = 0.05
"""Difference that int8 may show on another processor where its stem's sums are not exact."""

SEEDS = 400
"""Inputs tried until one keeps `MARGIN`."""


def golden(model: onnx.ModelProto, precision: Precision, scale: int) -> Golden:
    """A self-test for a model.

    fp32 must come within `TOLERANCE`. int8 must give the same digest: its integers are
    equal on all processors, and what floating point around them may differ by stays
    clear of the digest's rounding because the input is chosen so. Where the stem has a bias
    or sees no zero-sum (baselines), a level may fall otherwise; then a tolerance holds.

    Parameters
    ----------
    model : ModelProto
        In the form that is written.
    precision : {"fp32", "int8"}
    scale : int
        Key of `SHAPES`.

    Raises
    ------
    GoldenError
        No input that suits was found.
    """
    shape, runner = SHAPES[scale], session(model)
    if precision == "fp32" or not has_exact_stem(model):
        output = runner.run(None, {"lr": golden_input(1, shape)})[0]
        values = tuple(float(value) for value in output.reshape(-1)[::GOLDEN_STRIDE])
        return Golden(1, shape, values=values, tolerance=TOLERANCE if precision == "fp32" else INEXACT_TOLERANCE)
    for seed in range(1, SEEDS + 1):
        output = runner.run(None, {"lr": golden_input(seed, shape)})[0]
        steps = output.astype(np.float64) / GOLDEN_STEP
        clearance = np.abs(steps - np.floor(steps) - 0.5).min() * GOLDEN_STEP
        if clearance > MARGIN:
            return Golden(seed, shape, digest=golden_digest(output))
    raise GoldenError("no input for its self-test keeps clear of rounding")
