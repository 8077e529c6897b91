import numpy as np
import onnx
import pytest
from lightsr.card import golden_input
from lightsr_export import graph, quantise, ranges
from lightsr_export.equalise import LARGEST_RATIO, equalised

from .conftest import a_baseline, simplified


def inputs() -> list[np.ndarray]:
    return [golden_input(seed, (40, 44)) for seed in range(1, 5)]


def peaks(model: onnx.ModelProto) -> dict[str, np.ndarray]:
    return ranges.peaks(model, quantise.activations(quantise.body_nodes(model)), inputs())


@pytest.mark.parametrize("family", ["", "residual", "srdense", "srcnn"])
def test_channels_get_one_range_and_the_result_stays(family: str, model: onnx.ModelProto) -> None:
    before = simplified(a_baseline(family)) if family else model
    body = quantise.body_nodes(before)
    after = equalised(before, body, peaks(before))
    lr = golden_input(9, (31, 45))
    assert np.allclose(graph.run(after, lr), graph.run(before, lr), atol=1e-5)

    def used(model: onnx.ModelProto) -> float:
        """Mean share of a map's range that its channels use, those that never speak left out."""
        last = quantise.body_nodes(model)[-1].output[0]
        shares = [peak[peak > 1e-6] / peak.max() for name, peak in peaks(model).items() if name != last]
        return float(np.mean(np.concatenate(shares)))

    assert used(after) > 1.2 * used(before)


def test_one_range_for_all_but_silent_channels(model: onnx.ModelProto) -> None:
    body = quantise.body_nodes(model)
    found = peaks(equalised(model, body, peaks(model)))
    for name, peak in found.items():
        if name != body[-1].output[0]:
            assert peak.max() == pytest.approx(1.0, abs=1e-4)
            assert (peak[peak > 0] > 0.99 / LARGEST_RATIO).any()


def test_a_silent_channel_is_not_blown_up(model: onnx.ModelProto) -> None:
    found = peaks(model)
    name = next(iter(found))
    silent = {**found, name: np.where(np.arange(len(found[name])) == 0, 1e-20, found[name])}
    after = equalised(model, quantise.body_nodes(model), silent)
    assert all(np.isfinite(onnx.numpy_helper.to_array(tensor)).all() for tensor in after.graph.initializer)
    lr = golden_input(9, (31, 45))
    assert np.allclose(graph.run(after, lr), graph.run(model, lr), atol=1e-5)
