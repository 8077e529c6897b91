from pathlib import Path

import numpy as np
import pytest
from lightsr import raster
from lightsr.errors import OutputError
from lightsr_bench import methods, pictures, scoring

from tests.benchmarks.made import write
from tests.benchmarks.test_methods import network


def test_pictures_of_the_worst_and_the_median_image(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    rows, columns = np.mgrid[:120, :120]
    for i in range(5):
        noisy = 100 + 60 * np.sin(rows / 9) * np.cos(columns / 6) + random.normal(0, 1 + 4 * i, rows.shape)
        write(tmp_path / "images" / "US" / "clinic" / f"{i}.png", noisy.clip(0, 255).astype(np.uint8))
    path = network(tmp_path / "nets" / "peer.onnx")
    selection = methods.select([str(path)], scale=2, threads=1)
    report = scoring.measure(tmp_path / "images", selection, scale=2)
    gains = sorted((s.gain_db, s.path) for s in report.scores if s.method == "peer")
    chosen = pictures.choose(report)
    assert {name: s.path for name, s in chosen.items()} == {"us-worst": gains[0][1], "us-median": gains[2][1]}
    target = tmp_path / "pictures"
    pictures.prepare(target, overwrite=False)
    written = pictures.draw(target, tmp_path / "images", report, selection, overwrite=False)
    assert sorted(path.name for path in target.iterdir()) == sorted(path.name for path in written)
    picture = raster.read(target / "us-worst.png").pixels
    truth = raster.read(tmp_path / "images" / gains[0][1]).pixels
    low = scoring.degrade(truth, 2).repeat(2, 0).repeat(2, 1)
    panels = [picture[26 : 26 + 480 : 4, left : left + 480 : 4, 0] for left in range(12, picture.shape[1], 492)]
    assert len(panels) == 4  # input, bicubic, peer, truth; each of 120 pixels shown fourfold
    np.testing.assert_array_equal(panels[0], low)
    np.testing.assert_array_equal(panels[2], low)  # the peer repeats pixels
    np.testing.assert_array_equal(panels[3], truth)
    assert picture[-480:].std() > 20  # the details
    with pytest.raises(OutputError, match="--force overwrites it"):
        pictures.prepare(target, overwrite=False)
    pictures.prepare(target, overwrite=True)


def test_large_pictures_are_shown_reduced(tmp_path: Path) -> None:
    write(tmp_path / "a.png", np.random.default_rng(0).integers(0, 9, (1008, 1200)).astype(np.uint8))
    path = network(tmp_path / "nets" / "peer.onnx")
    selection = methods.select([str(path)], scale=2, threads=1)
    report = scoring.measure(tmp_path, selection, scale=2, limit=1)
    (written,) = pictures.draw(tmp_path / "nets", tmp_path, report, selection, overwrite=False)
    assert written.name == "image-worst.png"
    assert raster.read(written).pixels.shape[1] == 4 * (600 + 12) + 12
