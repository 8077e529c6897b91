import dataclasses
import json

import numpy as np
import pytest
from lightsr.card import Golden, ModelCard, golden_digest, golden_input
from lightsr.errors import ModelError


def a_card(**changes: object) -> ModelCard:
    card = ModelCard(
        name="tiny",
        scale=2,
        precision="fp32",
        halo_px=6,
        alignment_px=2,
        intensity="any",
        consistency=1.0,
        degradations=("bicubic",),
        sources=[{"modality": "CT", "source": "a", "licence": "CC BY 4.0", "images": 3}],
        checkpoint_sha256="00",
        parameters=10,
        metrics={"steps": 5},
        golden=Golden(1, (4, 6), values=(0.25, 0.5), tolerance=1e-5),
    )
    return dataclasses.replace(card, **changes)


def test_a_card_survives_the_file() -> None:
    for card in (
        a_card(),
        a_card(precision="int8", intensity="unit", float_parts=("stem",), golden=Golden(3, (4, 6), digest="ab")),
    ):
        assert ModelCard.from_metadata(card.to_metadata()) == card


def test_no_card() -> None:
    with pytest.raises(ModelError, match="no lightsr card"):
        ModelCard.from_metadata({"author": "x"})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("format", 2, "format 2"),
        ("scale", 1, "scale 1"),
        ("scale", 10**9, "scale 1000000000"),
        ("scale", "two", "incomplete or damaged"),
        ("halo", 5, "no multiple"),
        ("halo", 10**6, "halo 1000000"),
        ("alignment", 0, "alignment 0"),
        ("precision", "fp16", "fp16"),
        ("golden", {"seed": 1, "shape": [4, 4]}, "no golden"),
        ("golden", {"seed": 1, "shape": [10**9, 4], "digest": "a"}, "golden rows"),
        ("golden", [], "incomplete or damaged"),
        ("name", "../../evil", "letters, digits"),
        ("name", "a" * 33, "letters, digits"),
        ("name", "a\n", "letters, digits"),
        ("degradations", ["a\x1b[31m"], "not printable"),
        ("float_parts", ["a" * 1000], "longer than 32"),
        ("metrics", {"a": float("nan")}, "its card is damaged"),
    ],
)
def test_a_wrong_card_is_refused(key: str, value: object, message: str) -> None:
    metadata = a_card().to_metadata() | {f"lightsr.{key}": json.dumps(value)}
    with pytest.raises(ModelError, match=message):
        ModelCard.from_metadata(metadata)


def test_a_damaged_card_is_refused() -> None:
    with pytest.raises(ModelError, match="damaged"):
        ModelCard.from_metadata(a_card().to_metadata() | {"lightsr.scale": "{"})


def test_golden_input_is_fixed() -> None:
    """Written down: a change here would fail the self-test of every model that is out there."""
    lr = golden_input(1, (5, 7))
    assert lr.shape == (1, 1, 5, 7)
    assert (lr * 256).astype(int)[0, 0, 0].tolist() == GOLDEN_ROW
    assert lr.min() >= 0
    assert lr.max() < 1


GOLDEN_ROW = [178, 183, 127, 145, 230, 250, 227]


def test_golden_values_and_digest_notice_a_change() -> None:
    output = np.linspace(0, 1, 48, dtype=np.float32).reshape(1, 1, 6, 8)
    values = tuple(float(v) for v in output.reshape(-1)[::7])
    fp32, int8 = Golden(1, (3, 4), values=values, tolerance=1e-5), Golden(1, (3, 4), digest=golden_digest(output))
    assert fp32.agrees(output)
    assert int8.agrees(output)
    assert fp32.agrees(output + np.float32(5e-6))
    assert not fp32.agrees(output + np.float32(2e-5))
    assert not int8.agrees(output + np.float32(0.02))
    assert not fp32.agrees(output[..., :-1])
    assert not fp32.agrees(np.full_like(output, np.nan))
