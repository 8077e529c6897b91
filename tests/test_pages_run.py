"""Commands that the pages show are run, in the order of the page, on small images and with few steps."""

import itertools
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest
from lightsr import raster
from lightsr_bench import experiment
from lightsr_export import export, report

from .runtime import large_files
from .test_commands import MAINS, ROOT, SOURCES, commands

QUICKLY = {
    "lightsr-train": "--steps 2 --patch 16",
    "lightsr-export": "--max-psnr-drop 9",
    "lightsr-bench quality": "tiny",
    "lightsr-bench device": "tiny --size 32 --threads 1 --rounds 1 --seconds 0.01",
    "lightsr-bench export": "--side 32 --rounds 2",
    "lightsr-bench training": "--network espcn --steps 4 --max-seconds 2 --validate-every 2",
}
"""What is added to a command, so that it ends soon."""

EXPERIMENT = """
[common]
family = "espcn"
data = ["{images}"]
[common.network]
scale = 2
[common.training]
steps = 2
batch = 2
patch_px = 16
margin_px = 2
validate_every = 2
[[variant]]
name = "a"
"""

PAGES = sorted((page for page in SOURCES if page.name != "benchmarks.md"), key=lambda page: page.name != "README.md")
"""All but the one whose commands come from the results, each with the one that measured it (test_compare)."""


def first_shown(page: Path) -> list[list[str]]:
    """Commands of a page that no earlier page shows."""
    earlier = PAGES[: PAGES.index(page)]
    known = [words for other in earlier for words in commands(other.read_text(encoding="utf-8"))]
    return [words for words in commands(page.read_text(encoding="utf-8")) if words not in known]


@pytest.fixture
def home(tmp_path: Path, samples: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages take for granted, to be in."""
    for name in ("scan", "ct", "study/a", "study/b", "IN/a", "var/in/a"):
        path = tmp_path / f"{name}.dcm"
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(samples / "CT_small.dcm", path)
    for name in ("t1.nii.gz", "film.tif", "slide.tif", "photos/a.tif"):
        path = tmp_path / name.removesuffix(".gz")
        path.parent.mkdir(exist_ok=True)
        large_files.write(path, 40, 60)
    subprocess.run(["gzip", tmp_path / "t1.nii"], check=True)
    random = np.random.default_rng(0)
    rows, columns = np.indices((128, 120))
    for patient in range(3):
        waves = 110 + 80 * np.sin(rows / (3 + patient)) * np.cos(columns / 5) + random.integers(0, 9, rows.shape)
        for folder in ("images", "DIR", "data/train"):
            path = tmp_path / folder / "CT" / f"p{patient}" / "0.png"
            path.parent.mkdir(parents=True)
            with path.open("wb") as file:
                raster.write_png(waves.astype(np.uint8), file)
    for name in ("a.png", "photos/a.png"):
        shutil.copy(tmp_path / "images" / "CT" / "p0" / "0.png", tmp_path / name)
    (tmp_path / "FILE.toml").write_text(EXPERIMENT.format(images=tmp_path / "images"))
    for part in ("configs", "checkpoints"):
        shutil.copytree(ROOT / "train" / part, tmp_path / "train" / part)
    monkeypatch.setattr(experiment, "SIDE_PX", 64)
    for module in (export, report):
        monkeypatch.setattr(module, "LATENCY_SIDE_PX", 64)
    monkeypatch.setenv("LIGHTSR_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def quickly(words: list[str], home: Path) -> tuple[str, list[str]]:
    """Program and arguments of a command, with paths inside `home`, and ending soon: of tiny instead of base."""
    program, *arguments = (word.replace("/var/lib/lightsr", str(home / "var")) for word in words)
    arguments = [word.replace("$LIGHTSR_DATA", str(home / "data")) for word in arguments]
    if program != "lightsr-infer" or "--model" in arguments:
        arguments = [re.sub(r"\bbase\b", "tiny", word) for word in arguments]
    added = [QUICKLY[start] for start in QUICKLY if f"{program} {arguments[0]} ".startswith(f"{start} ")]
    return program, arguments + shlex.split(" ".join(added))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_do_what_the_page_says(
    page: Path, home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in first_shown(page):
        program, arguments = quickly(words, home)
        if page.name != "README.md":  # whose commands follow each other
            shutil.rmtree("sharper", ignore_errors=True)
        try:
            status = MAINS[program](arguments)
        except SystemExit as end:  # of --version
            status = int(end.code or 0)
        said = capsys.readouterr()
        assert status == 0, f"{page.name}: {shlex.join([program, *arguments])}\n{said.out}\n{said.err}"
        for place in outputs(program, arguments):
            assert place.exists(), f"{page.name}: {shlex.join(words)} left no {place}"


def outputs(program: str, arguments: list[str]) -> list[Path]:
    """What a command is asked to write."""
    named = {"-o", "--out", "--json", "--manifest", "--markdown", "--figure", "--pictures"}
    places = [Path(value) for option, value in itertools.pairwise(arguments) if option in named and value[0] != "-"]
    positional = list(itertools.takewhile(lambda word: not word.startswith("-"), arguments))
    return places + [Path(name) for name in positional[1:] if program == "lightsr-infer" and "--shard" not in arguments]


def test_what_many_processes_share(home: Path) -> None:
    """The line for xargs, with two parts instead of 16."""
    (line,) = re.findall(r"^    (seq 16 \| xargs .*)$", (ROOT / "docs" / "runtime.md").read_text(), re.MULTILINE)
    line = line.replace("seq 16", "seq 2").replace("/16", "/2")
    program = f"{shlex.quote(sys.executable)} -m lightsr.cli"
    subprocess.run(["bash", "-c", line.replace("lightsr-infer", program)], check=True, capture_output=True)
    assert sorted(path.name for path in (home / "sharper").iterdir()) == ["a.dcm", "b.dcm"]


def test_targets_of_make_are_there() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for source in SOURCES:
        for target in re.findall(r"(?:^    |`)(?:\w+=\w+ )?make ([\w-]+)", source.read_text(), re.MULTILINE):
            assert f"\n{target}:" in makefile, f"{source.name}: make {target}"


def test_extras_are_there() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for source in SOURCES:
        for extras in re.findall(r"(?:lightsr|\.)\[([\w,]+)\]'", source.read_text()):
            assert set(extras.split(",")) <= project["optional-dependencies"].keys(), f"{source.name}: [{extras}]"


def test_the_output_that_the_page_of_export_shows() -> None:
    """It is that of the bundled model, whose card holds the same figures."""
    page = (ROOT / "docs" / "export.md").read_text(encoding="utf-8")
    shown = page[page.index("    $ lightsr-export") :].partition("\n\n")[0]
    card = (ROOT / "runtime" / "lightsr" / "models" / "base-x2-card.md").read_text(encoding="utf-8")
    figures = re.findall(r"\d+\.\d\d+", shown)
    assert len(figures) >= 15
    assert [figure for figure in figures if figure not in card] == []
