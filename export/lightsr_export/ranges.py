"""Ranges that feature maps take, and the levels that int8 makes of them."""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from lightsr_export.errors import ExportError
from lightsr_export.graph import session

LEVELS = 255
"""Steps of an unsigned 8-bit activation."""

WEIGHT_LIMIT = 63
"""Largest weight magnitude: seven bits.

x86 processors without VNNI add pairs of products in 16 bits; 2 * 255 * 63 fits, so that
they compute what all others compute, to the last bit. With eight bits they would clip.
"""

JOINING = ("Concat", "DepthToSpace")
"""Operators whose output holds the values of their inputs."""

SLACK = 1e-4
"""Part of a power of two by which a scale may be exceeded: what is one already must stay one."""

LEAST_SHARE = 0.25
"""Share of the largest value below which no percentile narrows a range."""

BINS = 1024
"""Steps in which values above `LEAST_SHARE` are counted."""


@dataclass(frozen=True)
class Range:
    """Values that a tensor takes.

    Parameters
    ----------
    low, high : float
        `low` at most 0, `high` at least 0, so that zero is a level.
    """

    low: float
    high: float

    def union(self, other: "Range") -> "Range":
        """Smallest range that holds both."""
        return Range(min(self.low, other.low), max(self.high, other.high))

    @property
    def scale(self) -> float:
        """Width of a level."""
        return max(self.high - self.low, 1e-12) / LEVELS

    def with_scale(self, scale: float) -> "Range":
        """The range from the same lowest value on with levels of another width."""
        return Range(self.low, self.low + LEVELS * scale)

    def parameters(self) -> tuple[np.float32, np.uint8]:
        """Scale and zero point."""
        return np.float32(self.scale), np.uint8(np.clip(np.rint(-self.low / self.scale), 0, LEVELS))


def values(
    model: onnx.ModelProto, names: Sequence[str], inputs: Iterable[NDArray[np.float32]]
) -> Iterator[dict[str, NDArray[np.float32]]]:
    """Feature maps, each (channels, pixels), of one input after the other.

    Parameters
    ----------
    model : ModelProto
        In float.
    names : sequence of str
    inputs : iterable of ndarray, shape (1, 1, h, w), float32
    """
    probe = onnx.ModelProto()
    probe.CopyFrom(model)
    present = {value.name for value in probe.graph.output}
    probe.graph.output.extend(
        helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in names if name not in present
    )
    run = session(probe)
    for lr in inputs:
        found = run.run(list(names), {"lr": lr})
        yield {name: value.reshape(value.shape[1], -1) for name, value in zip(names, found, strict=True)}


def peaks(
    model: onnx.ModelProto, names: Sequence[str], inputs: Iterable[NDArray[np.float32]]
) -> dict[str, NDArray[np.float64]]:
    """Largest magnitude of every channel of feature maps.

    Parameters
    ----------
    model : ModelProto
        In float.
    names : sequence of str
        Of the feature maps.
    inputs : iterable of ndarray, shape (1, 1, h, w), float32

    Returns
    -------
    dict of ndarray, shape (channels,), float64

    Raises
    ------
    ExportError
        No inputs.
    """
    largest: dict[str, NDArray[np.float64]] = {}
    for found in values(model, names, inputs):
        for name, value in found.items():
            peak = np.maximum(value.max(axis=1), -value.min(axis=1)).astype(np.float64)
            largest[name] = np.maximum(largest.get(name, 0.0), peak)
    if not largest:
        raise ExportError("no calibration images")
    return largest


@dataclass(frozen=True)
class Spread:
    """How the values of a feature map are spread.

    Parameters
    ----------
    count : int
    low, high : float
        Lowest and highest value, 0 where that lies between them.
    below, above : ndarray, shape (BINS,)
        How many values lie in each of `BINS` steps from `LEAST_SHARE` of `low`, or of `high`, to the whole of it.
    """

    count: int
    low: float
    high: float
    below: NDArray[np.int64]
    above: NDArray[np.int64]

    @classmethod
    def empty(cls, low: float, high: float) -> "Spread":
        """Of nothing yet."""
        return cls(0, low, high, np.zeros(BINS, np.int64), np.zeros(BINS, np.int64))

    def with_values(self, found: NDArray[np.float32]) -> "Spread":
        """With these values, of any shape, counted too."""
        return Spread(
            self.count + found.size,
            self.low,
            self.high,
            self.below + _tail(-found, -self.low),
            self.above + _tail(found, self.high),
        )

    def range(self, percentile: float) -> "Range":
        """Range that holds so many percent of the values below its upper end, and above its lower one."""
        allowed = self.count * (1 - percentile / 100)
        return Range(self.low * _kept(self.below, allowed), self.high * _kept(self.above, allowed))


def _tail(found: NDArray[np.float32], top: float) -> NDArray[np.int64]:
    if top <= 0:
        return np.zeros(BINS, np.int64)
    large = found[found > LEAST_SHARE * top]
    return np.histogram(large, BINS, (LEAST_SHARE * top, top * (1 + 1e-6)))[0]


def _kept(tail: NDArray[np.int64], allowed: float) -> float:
    """Share of the end that stays when at most `allowed` values may lie beyond."""
    beyond = np.cumsum(tail[::-1])
    dropped = int(np.searchsorted(beyond, allowed, side="right"))
    return 1 - (1 - LEAST_SHARE) * dropped / BINS


def spread_values(
    model: onnx.ModelProto, names: Sequence[str], inputs: Iterable[NDArray[np.float32]]
) -> dict[str, Spread]:
    """How the values of feature maps are spread.

    Parameters
    ----------
    model : ModelProto
        In float.
    names : sequence of str
    inputs : iterable of ndarray, shape (1, 1, h, w), float32
        Gone through twice.
    """
    inputs = list(inputs)
    ends: dict[str, tuple[float, float]] = {}
    for found in values(model, names, inputs):
        for name, value in found.items():
            low, high = ends.get(name, (0.0, 0.0))
            ends[name] = min(low, float(value.min())), max(high, float(value.max()))
    result = {name: Spread.empty(*end) for name, end in ends.items()}
    for found in values(model, names, inputs):
        result |= {name: result[name].with_values(value) for name, value in found.items()}
    return result


def shared_ranges(body: Iterable[onnx.NodeProto], ranges: Mapping[str, Range]) -> dict[str, Range]:
    """Ranges with one range for all maps that are joined, and scales that suit additions.

    A concatenation of maps with one scale is a copy; otherwise every part would be
    rescaled. Dense wiring joins all that it concatenates into one group.

    An addition of integers multiplies both inputs by the ratio of their scale to the
    output's and adds, in float32, fused on some processors and not on others. With scales
    that are powers of two apart all of it is exact, and the sum rounds to the same level
    everywhere.

    Parameters
    ----------
    body : iterable of NodeProto
    ranges : dict of Range
        Of feature maps; those that only concatenate others may be missing.

    Returns
    -------
    dict of Range
        One object for all maps of a group.
    """
    body = list(body)
    joined = [name for node in body if node.op_type in JOINING for name in node.output]
    group, sums = Sets((*ranges, *joined)), Sets((*ranges, *joined))
    for node in body:
        if node.op_type in JOINING:
            for name in node.input:
                group.unite(name, node.output[0])
                sums.unite(name, node.output[0])
        elif node.op_type == "Add":
            for name in node.input:
                sums.unite(name, node.output[0])
    merged: dict[str, Range] = {}
    for name, found in ranges.items():
        root = group.find(name)
        merged[root] = merged[root].union(found) if root in merged else found
    units: dict[str, float] = {}
    for root, found in merged.items():
        unit = units.setdefault(sums.find(root), float(np.float32(found.scale)))
        if unit != float(np.float32(found.scale)):
            merged[root] = found.with_scale(unit * 2.0 ** math.ceil(math.log2(found.scale / unit) - SLACK))
    return {name: merged[group.find(name)] for name in group.parents}


class Sets:
    """Disjoint sets of names."""

    def __init__(self, names: Iterable[str]) -> None:
        self.parents = {name: name for name in names}

    def find(self, name: str) -> str:
        """The name that stands for a set."""
        while self.parents[name] != name:
            name = self.parents[name]
        return name

    def unite(self, first: str, second: str) -> None:
        """Make one set of two."""
        self.parents[self.find(first)] = self.find(second)
