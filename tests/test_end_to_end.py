"""Train a few steps, export, infer: the whole path, by its commands, on real images."""

from pathlib import Path

import lightsr.cli
import lightsr_export.cli
import lightsr_train.cli
import numpy as np
import pydicom
import pytest
from lightsr import raster

CONFIG = """
name = "little"
[network]
channels = 16
layers = 1
blocks = 1
[training]
steps = 30
batch = 4
patch_px = 16
margin_px = 2
warmup = 5
validate_every = 15
"""


def test_train_export_infer(
    tmp_path: Path, samples: Path, capsys: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    images = tmp_path / "images"
    images.mkdir()
    random = np.random.default_rng(0)
    for patient in range(3):  # so that some are held back
        (images / f"p{patient}").mkdir()
        waves = 2000 + 900 * np.sin(np.mgrid[:90, :80][0] / (3 + patient)) + random.integers(0, 40, (90, 80))
        with (images / f"p{patient}" / "waves.png").open("wb") as file:
            raster.write_png(waves.astype(np.uint16), file)
    for name in ("CT_small.dcm", "examples_overlay.dcm", "examples_rgb_color.dcm"):
        (images / name).write_bytes((samples / name).read_bytes())
    (images / "broken.dcm").write_bytes((samples / "CT_small.dcm").read_bytes()[:9000])
    (tmp_path / "c.toml").write_text(CONFIG)

    command = ["--config", str(tmp_path / "c.toml"), "--data", str(images), "--out", str(tmp_path / "run")]
    assert lightsr_train.cli.main(command) == 0
    told = capsys.readouterr().err
    assert "6 images, 1 skipped" in told
    assert "broken.dcm" in caplog.text

    assert lightsr_export.cli.main([str(tmp_path / "run"), "-o", str(tmp_path / "models")]) == 0
    assert "little-x2-int8.onnx" in capsys.readouterr().out
    card = (tmp_path / "models" / "card.md").read_text()
    assert "training steps: 30" in card

    for precision in ("fp32", "int8"):
        model = tmp_path / "models" / f"little-x2-{precision}.onnx"
        out = tmp_path / precision
        assert lightsr.cli.main([str(images), str(out), "--glob", "[!b]*.dcm", "--model", str(model)]) == 0
        source, derived = (pydicom.dcmread(folder / "examples_overlay.dcm") for folder in (images, out))
        assert derived.pixel_array.shape == (600, 968)
        assert derived.SOPInstanceUID != source.SOPInstanceUID
        blurred = derived.pixel_array.reshape(300, 2, 484, 2).mean(axis=(1, 3))
        error = blurred - source.pixel_array
        assert np.sqrt(np.mean(error**2)) < 0.02 * np.ptp(source.pixel_array)
    assert (tmp_path / "models" / "little-x2-fp32.onnx").stat().st_size < 2**20
