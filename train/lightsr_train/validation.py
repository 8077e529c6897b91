"""How far a network is ahead of bicubic interpolation on held-back patients."""

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from lightsr.resample import interpolate
from lightsr.tiling import TilePlan
from lightsr.upscaler import IntensityMap
from numpy.typing import NDArray

from lightsr_train.contract import Network
from lightsr_train.data import Pair

IMAGES = 8
"""Most held-back images measured per modality."""

Enlarge = Callable[[NDArray[Any]], NDArray[np.float32]]
"""Low-resolution stored values (h, w) to high-resolution ones in the same unit, not rounded."""


def chosen(pairs: Iterable[Pair]) -> dict[str, list[Pair]]:
    """At most `IMAGES` images of every modality, evenly spread."""
    found: dict[str, list[Pair]] = {}
    for pair in pairs:
        found.setdefault(pair.origin.modality or "image", []).append(pair)
    return {modality: images[:: -(-len(images) // IMAGES)] for modality, images in sorted(found.items())}


def gain_over_bicubic(enlarge: Enlarge, pairs: Iterable[Pair], scale: int) -> dict[str, float]:
    """Mean PSNR gain over bicubic interpolation by modality, dB.

    Measured on rounded values of the `chosen` images, scale + 2 pixels cropped at the
    border. The data range cancels out.
    """
    gains: dict[str, float] = {}
    inner = (slice(scale + 2, -(scale + 2)),) * 2
    for modality, images in chosen(pairs).items():
        values = []
        for pair in images:
            low, high = pair.low, pair.high
            errors = [
                np.mean(np.square(np.rint(picture)[inner] - high[inner], dtype=np.float64))
                for picture in (interpolate(low, scale), enlarge(low))
            ]
            values.append(10 * math.log10(max(errors[0], 1e-12) / max(errors[1], 1e-12)))
        gains[modality] = float(np.mean(values))
    return gains


def enlarge_with(network: Network, device: torch.device) -> Enlarge:
    """The network as a function of stored values, extended and mapped to about [0, 1] as the runtime does a file."""

    @torch.no_grad()
    def enlarge(low: NDArray[Any]) -> NDArray[np.float32]:
        mapping = IntensityMap.of(low)
        rows, columns = low.shape
        alignment = network.alignment_px
        plan = TilePlan.for_picture(
            (rows, columns), tile=max(rows, columns) + alignment, halo=network.halo_px, alignment=alignment
        )
        (whole,) = plan
        unit = torch.from_numpy((plan.read(low, whole) - mapping.offset) / mapping.span)[None, None].to(device)
        result = plan.core(network(unit)[0, 0].cpu().numpy(), whole, network.config.scale)
        return result * mapping.span + mapping.offset

    return enlarge


def centre(pair: Pair, scale: int, side_px: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Centre of a pair, at most `side_px` low-resolution pixels a side: views of its first `lows` and its `high`.

    Shapes (h, w) and (scale * h, scale * w), in their dtype.
    """
    top, left = (max(0, (n - side_px) // 2) for n in pair.low.shape)
    low = pair.low[top : top + side_px, left : left + side_px]
    high = pair.high[scale * top :, scale * left :][: scale * low.shape[0], : scale * low.shape[1]]
    return low, high
