"""What `import lightsr` costs, and what a type checker sees of it."""

import subprocess
import sys
from pathlib import Path

import lightsr
import pytest


@pytest.mark.parametrize("module", ["lightsr", "lightsr.cli", "lightsr.machine"])
def test_importing_needs_the_standard_library_alone(module: str) -> None:
    script = (
        f"import sys; before = set(sys.modules); import {module}\n"
        "names = {name.partition('.')[0] for name in set(sys.modules) - before}\n"
        "print(sorted(names - sys.stdlib_module_names - {'lightsr'}))\n"
    )
    found = subprocess.run([sys.executable, "-I", "-c", path_to_lightsr() + script], capture_output=True, text=True)
    assert found.stdout.strip() == "[]", found.stderr


def test_importtime_shows_no_numpy() -> None:
    command = [sys.executable, "-X", "importtime", "-c", path_to_lightsr() + "import lightsr, lightsr.cli"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stderr
    assert "lightsr.cli" in told
    for name in ("numpy", "onnxruntime", "pydicom", "PIL"):
        assert name not in told


def path_to_lightsr() -> str:
    return f"import sys; sys.path.insert(0, {str(Path(lightsr.__file__).parents[1])!r})\n"


def test_public_names_are_there_before_and_after_their_first_use() -> None:
    script = (
        "import lightsr\n"
        "assert set(lightsr.__all__) <= set(dir(lightsr))\n"
        "for name in lightsr.__all__: getattr(lightsr, name)\n"
        "from lightsr import *\n"
        "assert load is lightsr.load and Tally is lightsr.Tally\n"
    )
    subprocess.run([sys.executable, "-c", path_to_lightsr() + script], check=True)
    with pytest.raises(AttributeError, match="module 'lightsr' has no attribute 'laod'"):
        _ = lightsr.laod  # type: ignore[attr-defined]


def test_a_type_checker_sees_types_and_mistakes(tmp_path: Path) -> None:
    pytest.importorskip("mypy")
    program = tmp_path / "program.py"
    names = sorted(set(lightsr.__all__) - {"__version__"})
    program.write_text(
        "import lightsr\nimport numpy as np\n"
        "upscaler = lightsr.load('base', scale=4, precision='int8', threads=2, max_memory='256M')\n"
        "reveal_type(upscaler)\n"
        "reveal_type(upscaler.bands([np.zeros((1, 4), np.uint8)]))\n"
        + "".join(f"reveal_type(lightsr.{name})\n" for name in names)
        + "lightsr.load('base', precision='int4')\n"
        "lightsr.laod('base')\n"
    )
    command = [sys.executable, "-m", "mypy", "--strict", "--config-file", "", str(program)]
    environment = {"MYPYPATH": str(Path(lightsr.__file__).parents[1]), "PATH": "", "MYPY_CACHE_DIR": str(tmp_path)}
    told = subprocess.run(command, env=environment, capture_output=True, text=True).stdout
    assert 'Revealed type is "lightsr.upscaler.Upscaler"' in told, told
    assert "Iterator" in told
    assert '"Any"' not in told
    assert 'Argument "precision" to "load" has incompatible type' in told
    assert 'Module has no attribute "laod"' in told
    assert sum("program.py" in line and ": error:" in line for line in told.splitlines()) == 2
