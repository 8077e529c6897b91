"""What would be uploaded: built, looked into, and installed where nothing else is. `make release-check` runs it."""

import email
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import venv
import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import lightsr
import pytest

pytestmark = pytest.mark.release

ROOT = Path(__file__).parents[1]

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

PACKAGES = {"lightsr": "runtime", "lightsr_train": "train", "lightsr_export": "export", "lightsr_bench": "benchmarks"}

NAME = f"lightsr-{lightsr.__version__}"

SUFFIXES = {".py", ".typed", ".onnx", ".md", ".json"}
"""Ends of names in the wheel: no checkpoints, no results, no pictures."""

SOURCES = {"lightsr_bench/instructions.c"}
"""What is compiled where it is needed."""

MAX_WHEEL_BYTES = 8 * 2**20
"""A device may fetch it over a slow line."""

LEFT_OUT = {".ci"}
"""Tracked folders that no source distribution needs."""


@dataclass(frozen=True)
class Built:
    """Distributions, and the wheel as it is made without a source distribution in between."""

    sdist: Path
    wheel: Path
    direct: Path


def environment() -> dict[str, str]:
    """Of the commands here: pinned versions, and nothing of this checkout on the path."""
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("PYTHON", "LIGHTSR_", "VIRTUAL_ENV"))
    }
    return kept | {"PIP_CONSTRAINT": str(ROOT / "constraints.txt"), "PIP_DISABLE_PIP_VERSION_CHECK": "1"}


def run(*command: str | Path, cwd: Path, status: int = 0) -> subprocess.CompletedProcess[str]:
    words = list(map(str, command))
    done = subprocess.run(words, cwd=cwd, env=environment(), capture_output=True, text=True, check=False)
    assert done.returncode == status, done.stdout + done.stderr
    return done


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    through, direct = tmp_path_factory.mktemp("dist"), tmp_path_factory.mktemp("direct")
    run(sys.executable, "-m", "build", "--outdir", through, ROOT, cwd=through)
    run(sys.executable, "-m", "build", "--wheel", "--outdir", direct, ROOT, cwd=direct)
    assert {path.name for path in through.iterdir()} == {f"{NAME}.tar.gz", f"{NAME}-py3-none-any.whl"}
    wheel = f"{NAME}-py3-none-any.whl"
    return Built(through / f"{NAME}.tar.gz", through / wheel, direct / wheel)


@pytest.fixture(scope="module")
def content(built: Built) -> dict[str, bytes]:
    """Of the wheel, by name."""
    with zipfile.ZipFile(built.wheel) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_the_source_distribution_makes_the_same_wheel(built: Built) -> None:
    assert built.wheel.read_bytes() == built.direct.read_bytes()


def test_the_source_distribution_is_what_is_tracked(built: Built) -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("no checkout that says what is tracked")
    listed = run("git", "-c", "core.quotePath=false", "ls-files", cwd=ROOT).stdout.splitlines()
    tracked = {name for name in listed if name.partition("/")[0] not in LEFT_OUT}
    with tarfile.open(built.sdist) as archive:
        packed = {name.removeprefix(f"{NAME}/") for name in archive.getnames()}
    assert packed - tracked == {"PKG-INFO"}, "untracked files would be uploaded"
    assert tracked - packed == set()


def test_the_wheel_holds_the_packages_and_nothing_else(content: dict[str, bytes]) -> None:
    sources = {
        f"{package}/{path.relative_to(ROOT / folder / package).as_posix()}"
        for package, folder in PACKAGES.items()
        for path in (ROOT / folder / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    inside = {name for name in content if not name.startswith(f"{NAME}.dist-info/")}
    assert inside == sources
    assert {PurePosixPath(name).suffix for name in inside if name not in SOURCES} == SUFFIXES
    assert [name for name in content if "test" in PurePosixPath(name).name and name != "lightsr/selftest.py"] == []
    assert {name for name in inside if name.endswith("py.typed")} == {f"{package}/py.typed" for package in PACKAGES}


def test_the_models_are_whole_and_have_cards(content: dict[str, bytes]) -> None:
    listed = json.loads(content["lightsr/models/models.json"])
    names = {"lightsr/models/models.json"}
    for entry in listed:
        stem = f"lightsr/models/{entry['name']}-x{entry['scale']}"
        model, card = f"{stem}-{entry['precision']}.onnx", f"{stem}-card.md"
        assert hashlib.sha256(content[model]).hexdigest() == entry["sha256"]
        assert f"| {PurePosixPath(model).name} | " in content[card].decode()
        assert f"| {entry['sha256'][:16]}... |" in content[card].decode()
        names |= {model, card}
    assert {name for name in content if name.startswith("lightsr/models/")} == names


def test_the_wheel_is_small_and_says_what_it_is(built: Built, content: dict[str, bytes]) -> None:
    assert built.wheel.stat().st_size < MAX_WHEEL_BYTES
    said = email.message_from_bytes(content[f"{NAME}.dist-info/METADATA"])
    assert (said["Name"], said["Version"], said["License-Expression"]) == ("lightsr", lightsr.__version__, "Apache-2.0")
    assert content[f"{NAME}.dist-info/licenses/LICENSE"] == (ROOT / "LICENSE").read_bytes()
    needed = {re.split(r"[<>=!~ ]", item)[0] for item in said.get_all("Requires-Dist") if "extra ==" not in item}
    assert needed == {"numpy", "onnxruntime", "pydicom", "pillow"}
    assert set(said.get_all("Provides-Extra")) == set(PROJECT["optional-dependencies"])
    entries = content[f"{NAME}.dist-info/entry_points.txt"].decode()
    assert all(f"{name} = {target}\n" in f"{entries}\n" for name, target in PROJECT["scripts"].items())


@pytest.fixture(scope="module")
def device(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the programs of a virtual environment that holds the wheel and what it needs."""
    home = tmp_path_factory.mktemp("device") / "venv"
    venv.create(home, with_pip=True)
    programs = home / ("Scripts" if os.name == "nt" else "bin")
    run(programs / "python", "-m", "pip", "install", "--quiet", built.wheel, cwd=home)
    return programs


def test_a_device_gets_what_it_needs_and_no_more(device: Path) -> None:
    code = (
        "import json, lightsr; from importlib import metadata; print(json.dumps([lightsr.__file__, "
        "[d.metadata['Name'] for d in metadata.distributions()], metadata.requires('onnxruntime')]))"
    )
    path, names, by_onnxruntime = json.loads(run(device / "python", "-c", code, cwd=device).stdout)
    assert Path(path).is_relative_to(device.parent)
    allowed = {"lightsr", "numpy", "onnxruntime", "pydicom", "pillow", "pip", "setuptools"}
    allowed |= {re.split(r"[<>=!~;\[ ]", item)[0] for item in by_onnxruntime}
    found = {re.sub(r"[-_.]+", "-", name).lower() for name in names}
    assert found <= {re.sub(r"[-_.]+", "-", name).lower() for name in allowed}
    assert found >= {"lightsr", "numpy", "onnxruntime", "pydicom", "pillow"}


def test_it_works_there(device: Path, tmp_path: Path, samples: Path) -> None:
    infer = device / "lightsr-infer"
    assert run(infer, "--version", cwd=tmp_path).stdout.startswith(f"lightsr {lightsr.__version__}\n")
    said = run(infer, "--self-test", "--threads", "1", cwd=tmp_path).stdout
    assert said.count("gives on this machine what it gave at export") == 12
    shutil.copy(samples / "CT_small.dcm", tmp_path / "ct.dcm")
    assert "128x128 -> 256x256" in run(infer, "ct.dcm", "sharper.dcm", cwd=tmp_path).stdout
    import pydicom

    derived = pydicom.dcmread(tmp_path / "sharper.dcm")
    assert derived.pixel_array.shape == (256, 256)
    assert derived.ManufacturerModelName == "lightsr"


@pytest.mark.parametrize(
    ("command", "extra"),
    [
        (["lightsr-train", "--data", ".", "--out", "run"], "train"),
        (["lightsr-export", "run", "-o", "models"], "export"),
        (["lightsr-bench", "device"], "bench"),
    ],
)
def test_what_is_not_there_names_its_extra(command: list[str], extra: str, device: Path, tmp_path: Path) -> None:
    program, *words = command
    assert run(device / program, "--help", cwd=tmp_path).stdout.startswith(f"usage: {program} ")
    said = run(device / program, *words, cwd=tmp_path, status=1)
    assert re.fullmatch(rf"{program}: \w+ is not installed; pip install 'lightsr\[{extra}\]'.*\n", said.stderr)
    assert list(tmp_path.iterdir()) == []
