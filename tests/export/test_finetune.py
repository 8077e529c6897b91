import dataclasses

import numpy as np
import onnx
import pytest
import torch
from lightsr.card import golden_input
from lightsr_export import graph, quantise
from lightsr_export.finetune import QuantisedGraph, Tuning, finetuned, rounded_weight
from lightsr_export.ranges import WEIGHT_LIMIT
from lightsr_train.patches import PatchSampler

from .conftest import a_baseline, a_folder, pairs_of, simplified
from .test_quantise import measured


def layers_of(model: onnx.ModelProto) -> set[str]:
    return {node.name for node in quantise.body_nodes(model) if node.op_type == "Conv"}


@pytest.mark.parametrize(("family", "allowed"), [("", 0.1), ("srdense", 0.1), ("srcnn", 0.1), ("residual", 0.8)])
def test_it_computes_what_int8_computes(family: str, allowed: float, model: onnx.ModelProto) -> None:
    floats = quantise.with_exact_stem(simplified(a_baseline(family)) if family else model)
    found = measured(floats)
    names = quantise.activations(quantise.body_nodes(floats))
    simulated = QuantisedGraph(floats, layers_of(floats), {name: found[name] for name in names})
    lr = golden_input(5, (24, 32))
    with torch.no_grad():
        values = simulated(torch.from_numpy(lr)).numpy()
    int8, exact = graph.run(quantise.quantised(floats, found), lr), graph.run(floats, lr)
    apart = np.abs(values - int8)
    # Sums end on the border between two levels now and then, above all those of two maps whose
    # scales are powers of two apart, and may round to the other; unrelated errors would give 1.4.
    assert np.mean(apart) < allowed * np.mean(np.abs(int8 - exact))


def test_weights_are_rounded_and_gradients_pass() -> None:
    weight = torch.randn(4, 3, 3, 3, requires_grad=True)
    rounded = rounded_weight(weight)
    levels = rounded.detach() / (weight.detach().abs().amax(dim=(1, 2, 3), keepdim=True) / WEIGHT_LIMIT)
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    rounded.sum().backward()
    assert torch.equal(weight.grad, torch.ones_like(weight))  # type: ignore[arg-type]


def test_tuning_lowers_the_loss_of_int8(model: onnx.ModelProto, tmp_path_factory: pytest.TempPathFactory) -> None:
    pairs = pairs_of(a_folder(tmp_path_factory.mktemp("images")))
    sampler = PatchSampler(pairs, scale=2, patch_px=24, batch=4, seed=0, unit=True)
    floats = quantise.with_exact_stem(model)
    found = measured(floats)
    names = quantise.activations(quantise.body_nodes(floats))
    chosen = {name: found[name] for name in names}
    # Ranges far too narrow, which tuning can widen.
    narrow = {key: dataclasses.replace(value, low=value.low / 8, high=value.high / 8) for key, value in chosen.items()}
    shared = {id(chosen[name]): narrow[name] for name in names}
    narrow = {name: shared[id(chosen[name])] for name in names}
    told: list[float] = []
    tuning = Tuning(steps=200, learning_rate=1e-3, range_rate=2e-2, average=0.9)
    tuned, learned = finetuned(
        floats, layers_of(floats), narrow, sampler, tuning, tell=lambda step, loss: told.append(loss)
    )
    assert len(told) == 2
    assert told[-1] < told[0]
    assert learned.keys() == narrow.keys()
    assert any(learned[name].high > 1.2 * narrow[name].high for name in names)
    batch = sampler.draw(1000)

    def error(source: onnx.ModelProto, spans: dict) -> float:
        return float(
            np.mean(np.square(batch.weight * (graph.run(quantise.quantised(source, spans), batch.low) - batch.high)))
        )

    assert error(tuned, found | learned) < error(floats, found | narrow)


def test_stem_filters_still_sum_to_zero(model: onnx.ModelProto) -> None:
    floats = quantise.with_exact_stem(model)
    simulated = QuantisedGraph(floats, layers_of(floats), {})
    with torch.no_grad():
        simulated.gains["stem/weight"].normal_()
    tuned, _ = simulated.result(floats, {})
    weight = next(onnx.numpy_helper.to_array(t) for t in tuned.graph.initializer if t.name == "stem.weight")
    assert np.abs(weight.sum(axis=(1, 2, 3))).max() < 1e-6
    exact = quantise.exact_stem(weight)
    assert (exact.sum(axis=(1, 2, 3), dtype=np.float64) == 0).all()
