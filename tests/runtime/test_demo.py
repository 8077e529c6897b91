import json
from pathlib import Path

import numpy as np
import pydicom
import pytest
from lightsr import demo, raster
from lightsr.cli import main


def test_the_demonstration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "demo"
    assert main(["--demo", str(folder), "--threads", "1", "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {(row["image"], row["model"]) for row in rows} == {
        (image, model) for image in ("ct", "mr", "us") for model in ("fp32", "int8")
    }
    for row in rows:
        derived = pydicom.dcmread(row["target"])
        assert list(derived.pixel_array.shape[:2]) == row["size_out"] == [2 * n for n in row["size_in"]]
        assert row["milliseconds"] > 0
        assert 30 < row["peak_mib"] < 500
    for name in ("ct", "mr", "us"):
        picture = raster.read(folder / f"{name}.png").pixels
        assert picture.shape[2:] == ((3,) if name == "us" else ())
        assert min(picture.shape[:2]) > 400
        assert picture.std() > 20
    assert main(["--demo", str(folder)]) == 1
    assert "--force" in capsys.readouterr().err


def test_the_busiest_part_is_found() -> None:
    plane = np.zeros((200, 300))
    plane[100:130:2, 180:220] = 50
    plane[:20:2] = 250
    top, left = demo.busiest(plane, 64)
    assert top <= 100 <= 130 <= top + 64
    assert left <= 185 <= 215 <= left + 64
    assert demo.busiest(np.eye(30), 64) == (0, 0)
