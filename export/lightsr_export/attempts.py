"""From a float model to an int8 one that passes the gate, by ever stronger means.

First the range of every feature map is chosen by measurement; then the layers in which
rounding hurts most stay in float; then, if asked for, weights and ranges are fine-tuned.
No stronger means is tried where a weaker one passes.
"""

import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from lightsr.upscaler import IntensityMap
from lightsr_train.degradation import rounded
from lightsr_train.patches import PatchSampler
from lightsr_train.protocol import Score
from numpy.typing import NDArray

from lightsr_export import finetune, quantise, ranges
from lightsr_export.equalise import equalised
from lightsr_export.finetune import Tuning
from lightsr_export.gate import Enlarge, Judge, Verdict, verdict
from lightsr_export.graph import run, session
from lightsr_export.profile import multiply_adds
from lightsr_export.ranges import Range
from lightsr_export.rewrite import AGREEMENT

logger = logging.getLogger(__name__)

PERCENTILES = (100.0, 99.9999, 99.999)
"""Ranges that are tried: shares of the calibration values, in percent, within each end."""

FLOAT_SHARE = 0.25
"""Most of the body's multiply-adds that layers kept in float may have."""

LEAST_GAIN = 0.02
"""Share of the error that a layer in float must take away to be worth its time."""

PROBES = 12
"""Calibration inputs on which the layers' sensitivity is measured."""


@dataclass(frozen=True)
class Attempt:
    """An int8 model and what the gate says of it.

    Parameters
    ----------
    means : str
        What was done: "ranges", "float layers" or "fine-tuning".
    percentile : float
        Of the ranges.
    keep : tuple of str
        Convolutions of the body that stay in float, by the name of their weights.
    verdict : Verdict
    model : ModelProto
    ranges : dict of Range
    """

    means: str
    percentile: float
    keep: tuple[str, ...]
    verdict: Verdict
    model: onnx.ModelProto = field(repr=False)
    ranges: dict[str, Range] = field(repr=False)


def enlarge_with(model: onnx.ModelProto) -> Enlarge:
    """A model as a function of stored values, mapped and rounded as the runtime does; of whole pictures, no tiles."""
    runner = session(model)

    def enlarge(low: NDArray[Any]) -> NDArray[Any]:
        mapping = IntensityMap.of(low)
        unit = (low.astype(np.float32) - np.float32(mapping.offset)) / np.float32(mapping.span)
        high = runner.run(None, {"lr": unit[None, None]})[0][0, 0] * np.float32(mapping.span)
        high += np.float32(mapping.offset)
        return rounded(high, low.dtype)

    return enlarge


class Search:
    """One float model, what it is calibrated on, and the images that judge it.

    Parameters
    ----------
    model : ModelProto
        In float.
    inputs : sequence of ndarray, shape (1, 1, h, w), float32
        Calibration images of training patients, mapped to about [0, 1].
    judge : Judge
        Images of held-back patients.
    allowed_db : float
        What the gate allows.
    tell : callable
        Told what is being done.

    Raises
    ------
    ExportError
        The model has no integer form, or there are no calibration images.
    """

    def __init__(
        self,
        model: onnx.ModelProto,
        inputs: Sequence[NDArray[np.float32]],
        judge: Judge,
        *,
        allowed_db: float,
        tell: Callable[[str], None] = logger.info,
    ) -> None:
        self.judge = judge
        self.allowed_db = allowed_db
        self.tell = tell
        self.inputs = list(inputs)
        body = quantise.body_nodes(model)  # before anything that takes long
        self.before: list[Score] = judge.scores(enlarge_with(model))
        self.model = self._equalised(model, body)
        self.body = quantise.body_nodes(self.model)
        self.spreads = quantise.spreads(self.model, self.inputs)

    def _equalised(self, model: onnx.ModelProto, body: list[onnx.NodeProto]) -> onnx.ModelProto:
        """The model with channels in one range, unless that changes what it computes."""
        names = quantise.activations(body)
        candidate = equalised(model, body, ranges.peaks(model, names, self.inputs))
        probe = self.inputs[0]
        difference = float(np.abs(run(candidate, probe) - run(model, probe)).max())
        if difference <= AGREEMENT:
            return candidate
        logger.warning("pass 'equalise' is left out: it changes the result by %.1e of the range", difference)
        return model

    def ranges(self, percentile: float) -> dict[str, Range]:
        """Ranges of all feature maps."""
        return quantise.ranges_of(self.model, self.spreads, percentile)

    def attempt(
        self,
        means: str,
        percentile: float,
        found: dict[str, Range],
        keep: Sequence[str] = (),
        float_model: onnx.ModelProto | None = None,
    ) -> Attempt:
        """Quantise and judge.

        Parameters
        ----------
        means : str
            See `Attempt`, as for `percentile`.
        percentile : float
        found : dict of Range
            Of all feature maps.
        keep : sequence of str
            Weights of the layers that stay in float.
        float_model : ModelProto, optional
            Where it is another than the search's, as after fine-tuning.
        """
        model = quantise.quantised(float_model or self.model, found, self._nodes(keep))
        judged = verdict(self.before, self.judge.scores(enlarge_with(model)), allowed_db=self.allowed_db)
        return Attempt(means, percentile, tuple(keep), judged, model, found)

    def _nodes(self, keep: Sequence[str]) -> list[str]:
        """Names of the nodes with these weights."""
        return [node.name for node in self.body if node.op_type == "Conv" and node.input[1] in keep]

    def by_ranges(self) -> Iterable[Attempt]:
        """All of the body in integers, with one percentile after the other."""
        for percentile in PERCENTILES:
            self.tell(f"int8: ranges that hold {percentile:g} % of the values")
            yield self.attempt("ranges", percentile, self.ranges(percentile))

    def by_float_layers(self, best: Attempt) -> Iterable[Attempt]:
        """The most sensitive layers in float, one more each time."""
        self.tell("int8: measuring which layers suffer most")
        work = multiply_adds(self.model, self.inputs[0])
        shares = {node.input[1]: work[node.output[0]] for node in self.body if node.op_type == "Conv"}
        total = sum(shares.values())
        keep: list[str] = []
        for layer in self.sensitive_layers(best):
            if sum(shares[name] for name in (*keep, layer)) > FLOAT_SHARE * total:
                continue
            keep.append(layer)
            self.tell(f"int8: with {', '.join(map(layer_name, keep))} in float")
            yield self.attempt("float layers", best.percentile, best.ranges, keep)

    def sensitive_layers(self, best: Attempt) -> list[str]:
        """Layers by the error that goes when they alone stay in float, most first."""
        probes = self.inputs[:: max(1, len(self.inputs) // PROBES)]
        truth = run_all(self.model, probes)
        error = _error(run_all(best.model, probes), truth)
        gains = {}
        for node in self.body:
            if node.op_type == "Conv":
                model = quantise.quantised(self.model, best.ranges, [node.name])
                gains[node.input[1]] = error - _error(run_all(model, probes), truth)
        ordered = sorted(gains, key=lambda name: -gains[name])
        return [name for name in ordered if gains[name] > LEAST_GAIN * error]

    def by_tuning(self, best: Attempt, sampler: PatchSampler, tuning: Tuning) -> Attempt:
        """Weights and ranges fine-tuned with the rounding in place, from ranges that hold everything."""
        keep = self._nodes(best.keep)
        layers = {node.name for node in self.body if node.op_type == "Conv"} - set(keep)
        whole = self.ranges(100.0)
        model, found = finetune.finetuned(
            quantise.with_exact_stem(self.model),
            layers,
            {name: whole[name] for name in quantise.activations(self.body, keep)},
            sampler,
            tuning,
            tell=lambda step, loss: self.tell(f"int8: fine-tuning, step {step:,}/{tuning.steps:,}  loss {loss:.4f}"),
        )
        return self.attempt("fine-tuning", 100.0, ranges.shared_ranges(self.body, whole | found), best.keep, model)

    def until_it_passes(
        self, sampler: Callable[[], PatchSampler], tuning: Tuning | None
    ) -> tuple[list[Attempt], Attempt]:
        """One means after the other, until one passes.

        Parameters
        ----------
        sampler : callable
            Gives patches of training patients; called if it comes to fine-tuning.
        tuning : Tuning or None
            None does without.

        Returns
        -------
        (list of Attempt, Attempt)
            All in their order, and the best of them, which passes or not.
        """
        tried = list(self.by_ranges())
        if not _best(tried).verdict.passes:
            for attempt in self.by_float_layers(_best(tried)):
                tried.append(attempt)
                if attempt.verdict.passes:
                    break
        if not _best(tried).verdict.passes and tuning:
            tried.append(self.by_tuning(_best(tried), sampler(), tuning))
        return tried, _best(tried)


def _best(tried: Sequence[Attempt]) -> Attempt:
    return min(tried, key=lambda attempt: attempt.verdict.severity)


def run_all(model: onnx.ModelProto, inputs: Iterable[NDArray[np.float32]]) -> list[NDArray[np.float32]]:
    """Outputs (1, 1, scale * h, scale * w) for all inputs (1, 1, h, w), which may differ in size; float32."""
    runner = session(model)
    return [runner.run(None, {"lr": lr})[0] for lr in inputs]


def _error(found: list[NDArray[np.float32]], truth: list[NDArray[np.float32]]) -> float:
    """Sum over pictures of the mean squared difference."""
    return float(sum(np.mean(np.square(a - b)) for a, b in zip(found, truth, strict=True)))


def layer_name(weight: str) -> str:
    """Name of a layer from that of its weights.

    >>> layer_name("blocks.0.fuse.weight.multiplied")
    'blocks.0.fuse'
    """
    return weight.split(".weight")[0]
