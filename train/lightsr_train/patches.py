"""Drawing batches of patches."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from lightsr.upscaler import IntensityMap
from numpy.typing import NDArray

from lightsr_train.data import BLOCK_PX, MIN_ERROR_SHARE, Pair
from lightsr_train.degradation import BICUBIC, affected, parse, signal_of
from lightsr_train.oversampling import ZOOMS, Oversampled, oversampled, source_px


class Batch(NamedTuple):
    """Patches of one step.

    Parameters
    ----------
    low : ndarray, shape (batch, 1, patch_px, patch_px), float32
    high : ndarray, shape (batch, 1, scale * patch_px, scale * patch_px), float32
        In the unit of `low`.
    weight : ndarray, shape (batch, 1, 1, 1), float32
        Differences from `high` are multiplied by it, and then count in bicubic errors of
        their image, so that every image weighs alike.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    weight: NDArray[np.float32]


class PatchSampler:
    """Draws batches of patches: modality, then patient, then image, each with equal chance unless weighted.

    A patch depends on the seed, the step and its number alone, so that a resumed run sees
    what a straight one sees, and so do many processes that share the batches.

    Parameters
    ----------
    pairs : sequence of Pair
    scale : int
    patch_px : int
        Side of a low-resolution patch.
    batch : int
    seed : int
    unit : bool
        Whether patches are mapped to about [0, 1] by the `IntensityMap` of their whole
        low-resolution image, as the runtime does for networks with fixed ranges.
        Otherwise they are shifted by their own mean and divided by their image's bicubic
        error, which an equivariant network cannot see and the loss can.
    hard_share : dict of str to float, optional
        For a modality, share of the patches whose place is drawn by `Pair.hardness`, so that
        rare sharp edges, which most of the squared error comes from, are seen often enough.
    modality_weight : dict of str to float, optional
        For a modality, how often it is drawn beside the others, each of which counts 1.
    mix : dict of str to float, optional
        Share of every degradation, in the order of `Pair.lows`.
    margin_px : int
        Low-resolution pixels by which pictures go on beyond their edges, by their edge values as on
        the device. The loss must leave out so much of a patch.
    edge_share : float
        Share of the patches that are moved to an edge of their picture, where they begin in this margin.
    oversampled_share : float
        Share of the patches that are cut from the picture enlarged, of which bicubic reduction then makes
        the input; see `oversampling`.
    """

    def __init__(
        self,
        pairs: Iterable[Pair],
        *,
        scale: int,
        patch_px: int,
        batch: int,
        seed: int,
        unit: bool = False,
        hard_share: dict[str, float] | None = None,
        modality_weight: dict[str, float] | None = None,
        mix: dict[str, float] | None = None,
        margin_px: int = 0,
        edge_share: float = 0.0,
        oversampled_share: float = 0.0,
    ) -> None:
        self.scale = scale
        self.patch_px = patch_px
        self.batch = batch
        self.seed = seed
        self.unit = unit
        self.hard_share = hard_share or {}
        self.margin_px = margin_px
        self.edge_share = edge_share
        self.oversampled_share = oversampled_share
        mix = mix or {BICUBIC: 1.0}
        self.effects = [parse(text).varying for text in mix]
        self.shares = np.cumsum(list(mix.values())) / sum(mix.values())
        groups: dict[str, dict[str, list[Pair]]] = {}
        for pair in pairs:
            groups.setdefault(pair.origin.modality, {}).setdefault(pair.origin.subject, []).append(pair)
        self.groups = [list(subjects.values()) for subjects in groups.values()]
        weights = [(modality_weight or {}).get(modality, 1.0) for modality in groups]
        self.chances = np.cumsum(weights) / sum(weights) if len(set(weights)) > 1 else None
        self._facts: dict[tuple[int, int, Any], Any] = {}

    def draw(self, step: int, *, first: int = 0, every: int = 1) -> Batch:
        """Batch of a step, or of it only the patches `first`, ``first + every`` and so on.

        Which patches it holds does not depend on `unit`.
        """
        patches = [self._patch(np.random.default_rng((self.seed, step, i))) for i in range(first, self.batch, every)]
        low, high, weight = (np.stack(part)[:, None] for part in zip(*patches, strict=True))
        return Batch(low, high, weight[..., None, None])

    def _patch(self, random: np.random.Generator) -> tuple[NDArray[np.float32], NDArray[np.float32], np.floating[Any]]:
        if self.chances is None:
            group = int(random.integers(len(self.groups)))
        else:
            group = int(np.searchsorted(self.chances[:-1], random.random(), side="right"))
        subjects = self.groups[group]
        images = subjects[random.integers(len(subjects))]
        pair = images[random.integers(len(images))]
        if self.oversampled_share and random.random() < self.oversampled_share:
            kind = 0
            low, high, error = self._oversampled(pair, random)
        else:
            kind = int(np.searchsorted(self.shares, random.random(), side="right"))
            kind = min(kind, len(pair.lows) - 1)
            low, high = self._cut(pair, kind, random)
            error = pair.error
        turns, mirrored = int(random.integers(4)), bool(random.integers(2))
        low, high = np.rot90(low, turns), np.rot90(high, turns)
        if mirrored:
            low, high = low[::-1], high[::-1]
        offset, span = float(low.mean()), error
        if self.unit:
            mapping = self._fact(pair, kind, IntensityMap.of)
            offset, span = mapping.offset, mapping.span
        return _mapped(low, offset, span), _mapped(high, offset, span), np.float32(span / error)

    def _cut(self, pair: Pair, kind: int, random: np.random.Generator) -> tuple[NDArray[Any], NDArray[Any]]:
        """A patch of a picture under one degradation, low and high."""
        whole, size = pair.lows[kind], self.patch_px
        top, left = self._place(pair, whole, random)
        low = _inside(whole, top, left, size)
        if self.effects[kind]:
            signal = self._fact(pair, kind, signal_of)
            low = affected(low, self.effects[kind], random, signal)
        low = _extended(low, whole.shape, top, left, size)
        top, left, size = (self.scale * length for length in (top, left, size))
        return low, _extended(_inside(pair.high, top, left, size), pair.high.shape, top, left, size)

    def _oversampled(self, pair: Pair, random: np.random.Generator) -> Oversampled:
        """A patch of a picture that was enlarged before."""
        zoom = int(random.choice(ZOOMS))
        side = source_px(self.patch_px, self.scale, zoom)
        for _ in range(8):
            top, left = random.integers(np.subtract(pair.high.shape, side) + 1)
            source = _inside(pair.high, top, left, side)
            if source.min() != source.max():
                break
        found = oversampled(source, self.patch_px, self.scale, zoom, random)
        least = MIN_ERROR_SHARE * self._fact(pair, 0, signal_of).span
        return found._replace(error=max(found.error, least))

    def _fact(self, pair: Pair, kind: int, of: Any) -> Any:
        """Something of a whole low-resolution picture, worked out once."""
        key = id(pair), kind, of
        if key not in self._facts:
            self._facts[key] = of(pair.lows[kind])
        return self._facts[key]

    def _place(self, pair: Pair, whole: NDArray[Any], random: np.random.Generator) -> tuple[int, int]:
        """Top left corner of a patch, low-resolution pixels."""
        for _ in range(8):  # a flat patch teaches nothing; an all but empty picture still ends
            top, left = self._corner(pair, random)
            low = _inside(whole, top, left, self.patch_px)
            if low.min() != low.max():
                break
        return top, left

    def _corner(self, pair: Pair, random: np.random.Generator) -> tuple[int, int]:
        last = np.subtract(pair.low.shape, self.patch_px)
        corner = random.integers(last + 1)
        if random.random() < self.hard_share.get(pair.origin.modality, 0.0):
            chosen = np.searchsorted(np.cumsum(pair.hardness), random.random() * float(pair.hardness.sum()))
            block = np.unravel_index(min(int(chosen), pair.hardness.size - 1), pair.hardness.shape)
            spare = max(0, self.patch_px - BLOCK_PX)  # the block lies anywhere in the patch
            corner = np.clip(np.multiply(block, BLOCK_PX) - random.integers(spare + 1, size=2), 0, last)
        if self.edge_share and random.random() < self.edge_share:
            axis = random.integers(2)
            corner[axis] = random.choice((-self.margin_px, last[axis] + self.margin_px))
        return int(corner[0]), int(corner[1])


def _inside(picture: NDArray[Any], top: int, left: int, size: int) -> NDArray[Any]:
    """What a square has of a picture."""
    return picture[max(0, top) : top + size, max(0, left) : left + size]


def _extended(part: NDArray[Any], shape: tuple[int, ...], top: int, left: int, size: int) -> NDArray[Any]:
    """What a square has of a picture of that shape, going on by the picture's edge to the whole square."""
    beyond = [(max(0, -first), max(0, first + size - n)) for first, n in zip((top, left), shape, strict=True)]
    return np.pad(part, beyond, mode="edge") if any(map(any, beyond)) else part


def _mapped(part: NDArray[Any], offset: float, span: float) -> NDArray[np.float32]:
    return np.asarray((part - offset) / span, dtype=np.float32)
