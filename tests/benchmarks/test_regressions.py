"""What a change must not lose unnoticed: work, operators, size and quality of the bundled models. No times."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal

import numpy as np
import pydicom
import pytest
from lightsr import load
from lightsr.resample import interpolate
from lightsr_bench import costs, networks
from lightsr_train import data, protocol
from lightsr_train.degradation import crop_to_multiple, degrade, rounded
from lightsr_train.validation import chosen

MACS_PER_PX = {"tiny-x2": 3110, "base-x2": 17100, "base-x3": 7950, "tiny-x4": 1910, "base-x4": 5920, "base-x8": 2570}

PARAMETERS = {
    "tiny-x2": 17_030,
    "base-x2": 76_050,
    "base-x3": 88_700,
    "tiny-x4": 30_550,
    "base-x4": 94_700,
    "base-x8": 108_600,
}

FILE_KIB = {
    "tiny-x2-fp32": 80,
    "tiny-x2-int8": 48,
    "base-x2-fp32": 312,
    "base-x2-int8": 123,
    "base-x3-fp32": 361,
    "base-x3-int8": 172,
    "tiny-x4-fp32": 132,
    "tiny-x4-int8": 48,
    "base-x4-fp32": 384,
    "base-x4-int8": 140,
    "base-x8-fp32": 440,
    "base-x8-int8": 145,
}

INTEGER_OPERATORS = {
    "tiny-x2": (6, 1),
    "base-x2": (9, 3),
    "base-x3": (9, 3),
    "tiny-x4": (8, 1),
    "base-x4": (10, 3),
    "base-x8": (12, 3),
}
"""QLinearConv and QLinearConcat; in base x2 to x4 and tiny x2 the tail is in float."""

TRANSPOSES = {"base-x8": 5}
"""Most changes of layout in int8, where they are more than two: x8 has three deconvolutions in a row."""

GAIN_DB = {
    "tiny": {"CT_small.dcm": 2.7, "examples_overlay.dcm": 2.4, "examples_rgb_color.dcm": 0.65},
    "base": {"CT_small.dcm": 2.7, "examples_overlay.dcm": 2.8, "examples_rgb_color.dcm": 0.75},
}
"""Least gain over bicubic interpolation on pictures of pydicom's wheel, a CT, an MR and an ultrasound."""


EDGE_RATIO = {"tiny": 1.12, "base": 1.0}
"""Largest error at the edge of a picture over that of bicubic interpolation."""


OVERSAMPLED_GAIN_DB = {
    "tiny": {"CT": 3.8, "MR": 5.2, "US": -0.6, "XR": 0.7},
    "base": {"CT": 4.2, "MR": 5.9, "US": 0.2, "XR": 1.0},
}
"""Least mean gain over bicubic interpolation on pictures that were enlarged three times before."""


@pytest.fixture(scope="module", params=sorted(FILE_KIB))
def measured(request: pytest.FixtureRequest) -> tuple[str, costs.Costs]:
    family, scale, _ = request.param.split("-")
    (network,) = (n for n in networks.find([family], scale=int(scale[1:])) if n.name == request.param)
    return network.name, costs.of(network)


def test_work_and_size(measured: tuple[str, costs.Costs]) -> None:
    name, found = measured
    model = name.rpartition("-")[0]
    assert found.macs_per_px <= MACS_PER_PX[model]
    assert found.file_kib <= FILE_KIB[name]
    assert found.parameters <= PARAMETERS[model]


def test_the_graph_is_optimised_as_it_was(measured: tuple[str, costs.Costs]) -> None:
    """An operator that falls out of its fused or integer form costs more than any wall clock would tell."""
    name, found = measured
    plain = {operator.split(":")[-1]: count for operator, count in found.operators.items()}
    if name.endswith("fp32"):
        assert plain["Conv"] + plain.get("FusedConv", 0) <= 21
        assert "Relu" not in plain
        assert "ConvTranspose" not in plain
        return
    assert (plain["QLinearConv"], plain["QLinearConcat"]) == INTEGER_OPERATORS[name.rpartition("-")[0]]
    assert plain["QuantizeLinear"] == 1
    assert plain["DequantizeLinear"] <= 2
    assert plain["Conv"] <= 7  # stem, skip, tail, four of the consistency step
    assert plain.get("Transpose", 0) <= TRANSPOSES.get(name.rpartition("-")[0], 2)


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


@pytest.fixture(scope="module")
def held_back(medical_data: Path, tmp_path_factory: pytest.TempPathFactory) -> list[data.Pair]:
    """Pictures of patients that no network was trained on.

    Who these are follows from the manifest, so that these pictures alone are read.
    """
    train, nothing = medical_data / "train", np.empty((0, 0), np.float32)
    rows = {path: row for path, row in data.read_manifest(train).items() if path.is_relative_to(train.resolve())}
    everybody = [
        data.Pair(path, data.Origin(row["modality"], "", "", subject_of(row)), nothing, (nothing,), 1.0, nothing)
        for path, row in rows.items()
    ]
    home = tmp_path_factory.mktemp("held-back")
    (home / data.MANIFEST).symlink_to(medical_data.resolve() / data.MANIFEST)
    for pair in data.hold_back(everybody, 0.1)[1]:
        link = home / "train" / pair.path.relative_to(train.resolve())
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(pair.path)
    return list(data.load([home / "train"], 2, min_side_px=48).pairs)


def subject_of(row: dict[str, str]) -> str:
    return data.digest(f"{row['source']}/{row['patient_id']}")


def border(low: np.ndarray, enlarge: Callable[[np.ndarray], np.ndarray], depth_px: int) -> np.ndarray:
    """An enlarged picture of which only what becomes of the outermost row and column is computed; inside it is NaN.

    `depth_px` is how far the network sees, and more; strips begin at even pixels, as tiles do.
    """
    rows, columns = low.shape
    bottom, right = (max(0, side - depth_px) // 2 * 2 for side in low.shape)
    whole = np.full((2 * rows, 2 * columns), np.nan)
    whole[:2], whole[-2:] = enlarge(low[:depth_px])[:2], enlarge(low[bottom:])[-2:]
    whole[:, :2], whole[:, -2:] = enlarge(low[:, :depth_px])[:, :2], enlarge(low[:, right:])[:, -2:]
    return whole


@pytest.mark.parametrize("model", ["tiny", "base"])
@pytest.mark.parametrize("shape", [(70, 91), (9, 64)])
def test_a_border_is_that_of_the_whole_picture(model: str, shape: tuple[int, int]) -> None:
    upscaler = load(model, scale=2, precision="fp32", threads=1)
    low = np.random.default_rng(0).random(shape, np.float32)
    found, whole = border(low, upscaler, upscaler.card.halo_px + 2), upscaler(low)
    assert np.isnan(found).sum() == (2 * shape[0] - 4) * (2 * shape[1] - 4)
    np.testing.assert_allclose(found[~np.isnan(found)], whole[~np.isnan(found)], atol=1e-6)


@pytest.mark.parametrize("model", ["tiny", "base"])
def test_the_outermost_row_and_column(model: str, held_back: list[data.Pair]) -> None:
    """Root-mean-square error there, over that of bicubic interpolation, in the mean of held-back images."""
    upscaler = load(model, scale=2, precision="fp32")
    depth_px = upscaler.card.halo_px + 2
    ratios: dict[str, list[float]] = {}
    for pair in held_back:
        low = pair.low.astype(np.float32)
        ours, theirs = (
            np.sqrt(np.nanmean(np.square(border(low, enlarge, depth_px) - pair.high)))
            for enlarge in (upscaler, lambda picture: interpolate(picture, 2))
        )
        if theirs:
            ratios.setdefault(pair.origin.modality, []).append(float(ours / theirs))
    for modality in ("CT", "US", "XR"):  # in MR there is black
        assert np.mean(ratios[modality]) < EDGE_RATIO[model]


@pytest.mark.parametrize("model", ["tiny", "base"])
def test_pictures_that_hold_less_than_their_pixels(model: str, held_back: list[data.Pair]) -> None:
    """Held-back pictures enlarged by bicubic interpolation and rounded: a network must not sharpen the rounding."""
    upscaler = load(model, scale=2, precision="fp32")
    inner = np.s_[4:-4, 4:-4]
    for modality, pairs in chosen(held_back).items():
        gains = []
        for pair in pairs[:4]:
            middle = tuple(slice((n - 128) // 2, (n + 128) // 2) for n in pair.high.shape)
            truth = rounded(interpolate(pair.high[middle], 3), pair.high.dtype)
            low = degrade(truth, 2)
            ours, theirs = (
                np.mean(np.square(np.rint(picture)[inner] - truth[inner], dtype=np.float64))
                for picture in (upscaler(low), interpolate(low, 2))
            )
            gains.append(10 * np.log10(theirs / ours))
        assert np.mean(gains) > OVERSAMPLED_GAIN_DB[model][modality]
