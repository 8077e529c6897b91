import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightsr import raster
from lightsr_bench import cli, learning
from lightsr_export import profile
from lightsr_export.export import deployed
from lightsr_train.contract import Network
from lightsr_train.networks import PRESETS, build

from tests.schemas import problems


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Bands and waves that bicubic interpolation blurs, of three patients."""
    folder = tmp_path_factory.mktemp("images")
    rows, columns = np.mgrid[:120, :120]
    for patient in range(3):
        picture = 2000 * (1 + np.sin(rows / (2 + patient)) * np.sign(np.cos(columns / 5)))
        (folder / f"p{patient}").mkdir()
        with (folder / f"p{patient}" / "0.png").open("wb") as file:
            raster.write_png(picture.astype(np.uint16), file)
    return folder


@pytest.fixture(autouse=True)
def the_same_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that a network that is exported to count what it does is exported once (`exported_once`)."""
    build = learning.build

    def seeded(*arguments: Any) -> Network:
        torch.manual_seed(0)
        return build(*arguments)

    monkeypatch.setattr(learning, "build", seeded)


def test_the_command(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "training.json"
    arguments = ["training", "--data", str(images), "--modality", "image", "--json", str(file)]
    arguments += ["--validate-every", "20"]
    assert cli.main([*arguments, "--network", "tiny", "--target", "0.2", "--max-seconds", "40"]) == 0
    found = json.loads(file.read_text())
    assert problems(found, "bench-training") == []
    (tiny,) = found["networks"]
    assert 0 < tiny["reached_seconds"] < 40
    assert tiny["steps"] % 20 == 0
    assert tiny["gain_db"]["image"] >= 0.2
    assert capsys.readouterr().out.count("| tiny |") == 1
    # A goal that is not reached in that time, which is over long before the first look.
    short = ["--target", "20", "--max-seconds", "0.2", "--validate-every", "100000", "--force"]
    assert cli.main([*arguments, "--network", "espcn", *short]) == 0
    (espcn,) = json.loads(file.read_text())["networks"]
    assert espcn["reached_seconds"] is None
    assert "image" in espcn["gain_db"]
    for row in (tiny, espcn):
        assert row["steps_per_second"] > 1
        assert 5 < row["memory_mib"] < 2000
        assert row["parameters"] < 50_000
    # 5x5 to 64, 3x3 to 32, 3x3 to 4 channels, for four output pixels
    assert espcn["macs_per_px"] == pytest.approx((25 * 64 + 9 * 64 * 32 + 9 * 32 * 4) / 4, rel=0.01)
    text = capsys.readouterr().out
    assert "s to bicubic + 20 dB on image" in text
    assert text.count("not reached") == 1


def test_parameters_are_counted_as_after_training() -> None:
    """FSRCNN's slopes are all equal before it, and the exported graph would hold them once."""
    network = learning.as_if_trained(build(*PRESETS["fsrcnn"]).eval())
    assert profile.parameters(deployed(network)[0]) == 13_876  # as of the trained ones of baselines-x2


def test_what_fails_is_listed(images: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["training", "--data", str(images), "--network", "srcnn", "--network", "espcn"]) == 3
    told = capsys.readouterr().out
    places = [told.find(f"{name}: no MR image of a held-back patient; --modality") for name in ("srcnn", "espcn")]
    assert 0 < places[0] < places[1]
    assert cli.main(["training", "--data", str(images / "none"), "--network", "espcn"]) == 1
    assert "none: no such folder" in capsys.readouterr().err
    assert cli.main(["training", "--data", str(images), "--network", "huge"]) == 1
    assert "--network huge: unknown" in capsys.readouterr().err
