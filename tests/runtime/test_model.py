import hashlib
import json
import os
import subprocess
import sys
from importlib import resources
from pathlib import Path

import lightsr
import numpy as np
import onnx
import onnxruntime
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


def test_the_bytes_that_were_checked_are_those_that_run(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded: list[object] = []
    session = onnxruntime.InferenceSession

    def spied(content: object, *rest: object, **options: object) -> object:
        loaded.append(content)
        return session(content, *rest, **options)

    monkeypatch.setattr(onnxruntime, "InferenceSession", spied)
    entry = model.bundled_models()[0]
    Model.open(entry, threads=1)
    [content] = loaded
    assert isinstance(content, bytes), "a path would be read again"
    assert hashlib.sha256(content).hexdigest() == entry.sha256


@pytest.mark.parametrize(
    ("name", "scale", "message"), [("nano", 2, "tiny x2 x4, in"), ("tiny", 8, "not bundled"), ("x.onnx", 2, "no such")]
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


def with_wrong_golden(content: bytes, **changes: str) -> bytes:
    """The same network, under a card that expects another result; and other entries of its card."""
    changed_model = onnx.load_from_string(content)
    for entry in changed_model.metadata_props:
        if entry.key == "lightsr.golden":
            golden = json.loads(entry.value)
            golden |= {"digest": "0" * 64} if "digest" in golden else {"values": [9.0] * len(golden["values"])}
            entry.value = json.dumps(golden)
        elif (key := entry.key.removeprefix("lightsr.")) in changes:
            entry.value = json.dumps(changes[key])
    patched: bytes = changed_model.SerializeToString()
    return patched


@pytest.fixture
def pair(tmp_path: Path) -> Path:
    """Folder with an int8 model that fails its self-test, and its fp32 form."""
    (tmp_path / "mine-x2-int8.onnx").write_bytes(with_wrong_golden(bundled_bytes("int8")))
    (tmp_path / "mine-x2-fp32.onnx").write_bytes(bundled_bytes("fp32"))
    return tmp_path


@pytest.mark.parametrize("precision", [None, "int8"])
def test_fp32_takes_the_place_of_int8_that_fails(
    precision: str | None, pair: Path, picture: np.ndarray, caplog: pytest.LogCaptureFixture
) -> None:
    upscaler = lightsr.load(pair / "mine-x2-int8.onnx", precision=precision, threads=1)  # type: ignore[arg-type]
    assert upscaler.card.precision == "fp32"
    assert upscaler.model.name == "tiny x2 fp32"
    assert upscaler.model.sha256 == hashlib.sha256(bundled_bytes("fp32")).hexdigest()
    [line] = caplog.messages
    assert "mine-x2-int8.onnx fails its self-test on this machine; " in line
    assert line.endswith("mine-x2-fp32.onnx is used instead")
    assert np.array_equal(upscaler(picture), lightsr.load("tiny", precision="fp32", threads=1)(picture))


def test_nothing_takes_the_place_of_a_failed_fp32_model(pair: Path) -> None:
    failed = with_wrong_golden(bundled_bytes("fp32"))
    (pair / "mine-x2-fp32.onnx").write_bytes(failed)
    for name in ("mine-x2-fp32.onnx", "mine-x2-int8.onnx"):
        with pytest.raises(
            lightsr.SelfTestError, match=r"fp32\.onnx: fails its self-test.*try another version of onnx"
        ):
            lightsr.load(pair / name, threads=1)


def test_int8_alone_fails(pair: Path) -> None:
    (pair / "mine-x2-fp32.onnx").unlink()
    with pytest.raises(lightsr.SelfTestError, match="try the fp32 model or another version"):
        lightsr.load(pair / "mine-x2-int8.onnx", threads=1)
    renamed = (pair / "mine-x2-int8.onnx").rename(pair / "other.onnx")
    with pytest.raises(lightsr.SelfTestError, match=r"other\.onnx: fails"):
        lightsr.load(renamed, threads=1)


@pytest.mark.parametrize("changes", [{"checkpoint": "ab" * 32}, {"name": "other"}])
def test_another_network_takes_nobodys_place(changes: dict[str, str], pair: Path) -> None:
    path = pair / "mine-x2-int8.onnx"
    path.write_bytes(with_wrong_golden(bundled_bytes("int8"), **changes))
    with pytest.raises(lightsr.SelfTestError, match=r"mine-x2-fp32\.onnx is another network"):
        lightsr.load(path, threads=1)


@pytest.mark.parametrize("field", ["precision", "scale"])
def test_a_file_that_is_not_what_was_asked_for_does_not_fall_back(field: str, pair: Path) -> None:
    asked = {"precision": "fp32"} if field == "precision" else {"scale": 4}
    (pair / "good-int8.onnx").write_bytes(bundled_bytes("int8"))
    with pytest.raises(ModelError, match="was asked for"):
        lightsr.load(pair / "good-int8.onnx", threads=1, **asked)  # type: ignore[arg-type]


def test_a_card_may_not_allow_any_result() -> None:
    content = onnx.load_from_string(bundled_bytes("fp32"))
    for entry in content.metadata_props:
        if entry.key == "lightsr.golden":
            entry.value = json.dumps(json.loads(entry.value) | {"tolerance": 5.0})
    with pytest.raises(ModelError, match="allows its self-test to be wrong by 5; 0.1 is allowed"):
        Model(content.SerializeToString(), "lenient", threads=1)


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


@pytest.mark.skipif(sys.platform != "linux", reason="looks at where onnxruntime leaves an identifier on Linux")
@pytest.mark.parametrize(
    ("program", "ours"),
    [("lightsr.load('tiny')", [".cache/lightsr/self-tests.json"]), ("lightsr.cli.main(['--self-test'])", [])],
)
def test_onnxruntime_reports_nothing_to_its_maker(program: str, ours: list[str], tmp_path: Path) -> None:
    """Its telemetry starts with the import and first of all writes an identifier below the home folder."""
    removed = ["CI", "GITHUB_ACTIONS", "TF_BUILD", "ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME", "LIGHTSR_CACHE"]
    environment = {name: value for name, value in os.environ.items() if name not in removed} | {"HOME": str(tmp_path)}
    code = f"import lightsr.cli; {program}; import os, sys; assert 'onnxruntime' in sys.modules"
    code += "; assert os.environ['ORT_DISABLE_TELEMETRY'] == '1'"
    subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True)
    assert [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()] == ours
