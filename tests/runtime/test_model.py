import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

import lightsr
import numpy as np
import onnx
import pytest
from lightsr import model
from lightsr.errors import ModelError
from lightsr.model import Model


def bundled_bytes(precision: str) -> bytes:
    return (resources.files("lightsr") / "models" / f"tiny-x2-{precision}.onnx").read_bytes()


def test_bundled_models_are_small_and_load() -> None:
    entries = model.bundled_models()
    sizes = [len(model.read(entry)) for entry in entries]
    assert {(entry.name, entry.scale, entry.precision) for entry in entries} >= {
        ("base", 2, "fp32"),
        ("base", 2, "int8"),
        ("tiny", 2, "fp32"),
        ("tiny", 2, "int8"),
    }
    assert max(sizes) <= 2**20
    assert sum(sizes) <= 6 * 2**20
    for entry in entries:
        loaded = Model.open(entry, threads=1)
        assert (loaded.card.name, loaded.card.scale, loaded.card.precision) == (
            entry.name,
            entry.scale,
            entry.precision,
        )
        assert loaded.card.sources
        assert all(source["licence"] for source in loaded.card.sources)


def test_bundled_files_hold_no_path_of_the_machine_that_made_them() -> None:
    for precision in ("fp32", "int8"):
        content = bundled_bytes(precision)
        assert b"/home" not in content
        assert b"/work" not in content
        assert b"site-packages" not in content


def test_default_is_the_best_bundled_one_in_int8() -> None:
    upscaler = lightsr.load(threads=1)
    assert upscaler.card.precision == "int8"
    assert upscaler.scale == 2


def test_a_changed_bundled_file_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = model.bundled_models()[0]
    wrong = model.BundledModel(entry.name, entry.scale, entry.precision, "0" * 64)
    with pytest.raises(ModelError, match="damaged since it was installed"):
        model.read(wrong)


@pytest.mark.parametrize(
    ("name", "scale", "message"), [("nano", 2, "tiny x2 int8"), ("tiny", 8, "not bundled"), ("x.onnx", 2, "no such")]
)
def test_unknown_models(name: str, scale: int, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        lightsr.load(name, scale=scale)


def test_a_file_is_loaded_by_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.onnx"
    path.write_bytes(bundled_bytes("fp32"))
    assert lightsr.load(path, threads=1).card.precision == "fp32"
    assert lightsr.load(str(path), threads=1).model.label == str(path)


def changed(precision: str, initializer: str, factor: float) -> bytes:
    content = onnx.load_from_string(bundled_bytes(precision))
    for tensor in content.graph.initializer:
        if tensor.name == initializer:
            values = onnx.numpy_helper.to_array(tensor) * factor
            tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype("float32"), initializer))
            return content.SerializeToString()
    raise AssertionError(f"no {initializer}")


@pytest.mark.parametrize(
    ("precision", "initializer"), [("fp32", "skip.weight"), ("fp32", "tail.weight"), ("int8", "relu_6.scale")]
)
def test_a_model_that_computes_something_else_fails_its_self_test(precision: str, initializer: str) -> None:
    assert Model(changed(precision, initializer, 1.0), "same", threads=1).passes_self_test()
    with pytest.raises(ModelError, match="fails its self-test"):
        Model(changed(precision, initializer, 1.01), "other", threads=1)


def test_damaged_and_foreign_files(tmp_path: Path) -> None:
    content = bundled_bytes("fp32")
    for label, data in (("half", content[: len(content) // 2]), ("text", b"hello"), ("empty", b"")):
        path = tmp_path / f"{label}.onnx"
        path.write_bytes(data)
        with pytest.raises(ModelError, match=label) as caught:
            lightsr.load(path)
        assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="not a regular file"):
        model.read(tmp_path)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.onnx"
    with path.open("wb") as file:
        file.truncate(model.MAX_MODEL_BYTES + 1)
    with pytest.raises(ModelError, match="larger than"):
        model.read(path)


def test_the_device_needs_neither_torch_nor_onnx_nor_opencv() -> None:
    script = (
        "import sys\n"
        "for name in ('torch', 'onnx', 'cv2', 'scipy', 'nibabel', 'lightsr_train', 'lightsr_export'):\n"
        "    sys.modules[name] = None\n"
        "import numpy as np, lightsr\n"
        "assert lightsr.load(threads=1)(np.zeros((8, 8), np.uint8)).shape == (16, 16)\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


def test_the_callers_floating_point_mode_is_left_alone(picture: np.ndarray) -> None:
    lightsr.load("tiny", scale=2, threads=1)(picture)
    assert np.float64(5e-324) * 1 > 0


def test_importing_lightsr_and_its_command_costs_nothing() -> None:
    script = (
        "import sys, lightsr, lightsr.cli\n"
        "heavy = {'numpy', 'onnxruntime', 'pydicom', 'PIL'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.skipif(sys.platform != "linux", reason="looks at where onnxruntime leaves an identifier on Linux")
@pytest.mark.parametrize("program", ["lightsr.load('tiny')", "lightsr.cli.main(['--self-test'])"])
def test_onnxruntime_reports_nothing_to_its_maker(program: str, tmp_path: Path) -> None:
    """Its telemetry starts with the import and first of all writes an identifier below the home folder."""
    ours = ["CI", "GITHUB_ACTIONS", "TF_BUILD", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME"]
    environment = {name: value for name, value in os.environ.items() if name not in ours} | {"HOME": str(tmp_path)}
    code = f"import lightsr.cli; {program}; import os, sys; assert 'onnxruntime' in sys.modules"
    code += "; assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []
