"""What a change must not lose unnoticed: work, operators, size and quality of the bundled models. No times."""

from pathlib import Path
from typing import Literal

import numpy as np
import pydicom
import pytest
from lightsr import load
from lightsr.resample import interpolate
from lightsr_bench import costs, networks
from lightsr_train import protocol
from lightsr_train.degradation import crop_to_multiple, degrade

MACS_PER_PX = {"tiny": 2960, "base": 16850}

PARAMETERS = {"tiny": 11_850, "base": 67_350}

FILE_KIB = {"tiny-x2-fp32": 58, "tiny-x2-int8": 26, "base-x2-fp32": 276, "base-x2-int8": 87}

INTEGER_OPERATORS = {"tiny": (6, 1), "base": (9, 3)}
"""QLinearConv and QLinearConcat; the tail is in float."""

GAIN_DB = {
    "tiny": {"CT_small.dcm": 2.7, "examples_overlay.dcm": 2.4, "examples_rgb_color.dcm": 0.65},
    "base": {"CT_small.dcm": 2.7, "examples_overlay.dcm": 2.8, "examples_rgb_color.dcm": 0.75},
}
"""Least gain over bicubic interpolation on pictures of pydicom's wheel, a CT, an MR and an ultrasound."""


@pytest.fixture(scope="module", params=sorted(FILE_KIB))
def measured(request: pytest.FixtureRequest) -> tuple[str, costs.Costs]:
    family = request.param.split("-")[0]
    (network,) = (n for n in networks.find([family], scale=2) if n.name == request.param)
    return network.name, costs.of(network)


def test_work_and_size(measured: tuple[str, costs.Costs]) -> None:
    name, found = measured
    family = name.split("-")[0]
    assert found.macs_per_px <= MACS_PER_PX[family]
    assert found.file_kib <= FILE_KIB[name]
    assert found.parameters <= PARAMETERS[family]


def test_the_graph_is_optimised_as_it_was(measured: tuple[str, costs.Costs]) -> None:
    """An operator that falls out of its fused or integer form costs more than any wall clock would tell."""
    name, found = measured
    plain = {operator.split(":")[-1]: count for operator, count in found.operators.items()}
    if name.endswith("fp32"):
        assert plain["Conv"] + plain.get("FusedConv", 0) <= 21
        assert "Relu" not in plain
        assert "ConvTranspose" not in plain
        return
    assert (plain["QLinearConv"], plain["QLinearConcat"]) == INTEGER_OPERATORS[name.split("-")[0]]
    assert (plain["QuantizeLinear"], plain["DequantizeLinear"]) == (1, 1)
    assert plain["Conv"] <= 7  # stem, skip, tail, four of the consistency step
    assert plain.get("Transpose", 0) <= 2


@pytest.mark.parametrize("model", ["tiny", "base"])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("name", GAIN_DB["tiny"])
def test_quality(name: str, precision: Literal["fp32", "int8"], model: str, samples: Path) -> None:
    pixels = pydicom.dcmread(samples / name).pixel_array
    truth = crop_to_multiple(pixels[..., 1] if pixels.ndim == 3 else pixels, 24)
    low = degrade(truth, 2)
    span = float(np.percentile(truth, 99.9) - truth.min())
    inner = np.s_[4:-4, 4:-4]
    upscaler = load(model, scale=2, precision=precision, threads=1)
    ours, theirs = (
        protocol.psnr_db(truth[inner].astype(float), picture[inner].astype(float), data_range=span)
        for picture in (upscaler(low), interpolate(low, 2))
    )
    assert ours - theirs > GAIN_DB[model][name]
