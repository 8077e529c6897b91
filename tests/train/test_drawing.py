from pathlib import Path
from xml.etree import ElementTree

import pytest
from lightsr_train import drawing
from lightsr_train.dense import LightDense
from lightsr_train.dimensions import NetworkConfig


def texts(svg: str) -> list[str]:
    return [element.text or "" for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


def test_the_picture_in_the_documentation_is_of_this_network(tmp_path: Path) -> None:
    assert drawing.main(["base", "4", str(tmp_path / "n.svg")]) == 0
    root = Path(__file__).parents[2]
    assert (tmp_path / "n.svg").read_text() == (root / "docs" / "network.svg").read_text()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (
            NetworkConfig(2, channels=16, growth=16, expansion=2, layers=2, blocks=1, unshuffle=2),
            {"6x6, zero-sum", "16 @ 1/2x", "12x12 / 4, 16 -> 1", "1x1, 32 -> 32, ReLU, 3x3, 32 -> 16", "1x1, 48 -> 16"},
        ),
        (
            NetworkConfig(
                4, channels=16, wiring="plain", expansion=0, layers=1, blocks=2, stage_channels=4, unshuffle=1
            ),
            {"3x3, 16 -> 16, ReLU", "6x6 / 2, 16 -> 4, ReLU", "6x6 / 2, 4 -> 4, 1x1 -> 1", "4 @ 2x", "1 @ 4x"},
        ),
        (
            NetworkConfig(2, skip="none", equivariant=False, subpixel=True, consistency=0.0, branches=True),
            {"6x6", "sub-pixel", "1 @ 2x"},
        ),
    ],
)
def test_every_part_is_there(config: NetworkConfig, expected: set[str]) -> None:
    found = texts(drawing.draw(LightDense(config), "a network"))
    assert expected <= set(found)
    assert ("skip" in found) == (config.skip != "none")
    assert sum(text.startswith("layer ") for text in found) == config.layers
    assert sum(text.startswith("block ") for text in found) == config.blocks


@pytest.mark.parametrize("arguments", [[], ["base", "x", "f"], ["huge", "2", "f"], ["fsrcnn", "2", "f"]])
def test_wrong_arguments(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert drawing.main(arguments) == 2
    assert "NAME SCALE FILE.svg are needed" in capsys.readouterr().err
