import json
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
from lightsr import raster
from lightsr_bench import cli, experiment, experiment_report, tables
from lightsr_bench.documents import DocumentError
from lightsr_bench.experiment import ExperimentError
from lightsr_export import export, report
from lightsr_train import folders, stages, store
from lightsr_train.checkpoint import Checkpoint
from lightsr_train.dimensions import NetworkConfig
from lightsr_train.settings import RunConfig, SettingsError, Stage, TrainingConfig

from tests.schemas import problems

SMALL = """
title = "little"
curves = true
degradations = ["kspace", "gaussian+jpeg:50"]
[common]
data = ["{images}"]
[common.network]
scale = 2
channels = 16
growth = 16
layers = 1
blocks = 1
[common.training]
steps = 4
batch = 2
patch_px = 16
margin_px = 2
validate_every = 2
[[variant]]
name = "one-shot"
note = "gathers once"
network = {{ wiring = "one-shot", expansion = 0 }}
training = {{ steps = 6 }}
[[variant]]
name = "espcn"
family = "espcn"
"""


@pytest.fixture(autouse=True)
def timed_on_a_small_picture(monkeypatch: pytest.MonkeyPatch) -> None:
    """What the times are is no matter here."""
    monkeypatch.setattr(experiment, "SIDE_PX", 64)
    for module in (export, report):
        monkeypatch.setattr(module, "LATENCY_SIDE_PX", 64)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    folder = tmp_path / "images"
    rows, columns = np.mgrid[:96, :96]
    for patient in range(3):
        (folder / f"p{patient}").mkdir(parents=True)
        picture = 2000 * (1 + np.sin(rows / (2 + patient)) * np.sign(np.cos(columns / 5)))
        with (folder / f"p{patient}" / "0.png").open("wb") as file:
            raster.write_png(picture.astype(np.uint16), file)
    return folder


def test_the_commands(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, result, page = tmp_path / "little.toml", tmp_path / "little.json", tmp_path / "page.md"
    config.write_text(SMALL.format(images=images))
    arguments = ["experiment", str(config), "--out", str(tmp_path / "runs"), "--eval", str(images)]
    assert cli.main([*arguments, "--json", str(result)]) == 0
    first = json.loads(result.read_text())
    assert problems(first, "bench-experiment") == []
    assert [row["name"] for row in first["variants"]] == ["one-shot", "espcn"]
    assert [row["steps"] for row in first["variants"]] == [6, 4]
    assert [point["step"] for point in first["variants"][0]["curve"]] == [2, 4, 6]
    assert first["degradations"] == ["kspace", "gaussian+jpeg:50"]
    for row in first["variants"]:
        assert row["quality"][0]["images"] == 3
        found = [row["quality"], row["under"]["kspace"], row["under"]["gaussian+jpeg:50"]]
        assert len({entries[0]["psnr_db"] for entries in found}) == 3
        assert 0 < row["fp32_ms"] <= row["fp32_median_ms"]
        assert (row["int8_ms"] is None) == (row["name"] == "espcn")
    before = (tmp_path / "runs" / "one-shot" / "model.pt").stat().st_mtime_ns
    capsys.readouterr()
    assert cli.main([*arguments, "--json", str(result), "--force"]) == 0
    assert (tmp_path / "runs" / "one-shot" / "model.pt").stat().st_mtime_ns == before
    again = json.loads(result.read_text())
    assert [row["quality"] for row in again["variants"]] == [row["quality"] for row in first["variants"]]
    page.write_text("words\n<!-- table little -->\nold\n<!-- end -->\nmore words\n")
    assert cli.main(["tables", str(page), str(result)]) == 0
    text = page.read_text()
    assert text.startswith("words\n")
    assert text.endswith("<!-- end -->\nmore words\n")
    assert "old" not in text
    assert "| one-shot | gathers once |" in text
    assert "last fifth of the steps" in text
    kspace = first["variants"][0]["under"]["kspace"][0]
    assert f"| kspace | {kspace['range']} | {kspace['gain_db']:+.2f} | " in text
    assert tables.renewed(text, [result])[0] == text


def test_a_missing_folder_to_report_on_is_told_before_anything_is_trained(images: Path, tmp_path: Path) -> None:
    (tmp_path / "little.toml").write_text(SMALL.format(images=images))
    found = experiment.read(tmp_path / "little.toml")
    with pytest.raises(ExperimentError, match="none: no such folder; --eval takes a folder of images"):
        experiment.run(found, tmp_path / "runs", tmp_path / "none", [], progress=lambda text: None)
    assert not (tmp_path / "runs").exists()


def test_some_variants_alone(images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "little.toml"
    config.write_text(SMALL.format(images=images))
    arguments = ["experiment", str(config), "--out", str(tmp_path / "runs"), "--eval", str(images), "--only"]
    assert cli.main([*arguments, "espcn"]) == 0
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["espcn"]
    assert "Not in this run: one-shot" in capsys.readouterr().out
    assert cli.main([*arguments, "espcm"]) == 1
    assert "--only espcm: no such variant; there are one-shot, espcn" in capsys.readouterr().err
    config.write_text(SMALL.format(images=images).replace("steps = 4", "steps = 5"))
    assert cli.main([*arguments, "espcn"]) == 1
    assert "espcn: was trained with other settings; choose another --out, or remove it" in capsys.readouterr().err


def test_a_network_is_known_by_all_that_it_went_through() -> None:
    training = TrainingConfig(steps=4)
    first = Stage("x2", NetworkConfig(scale=2, stage_channels=16), training)
    last = Stage("x4", NetworkConfig(scale=4, stage_channels=16), training)
    config = RunConfig("net", "light-dense", (first, last))

    def made(family: str = "light-dense", **before: object) -> Checkpoint:
        record = {"stage": "x2", "scale": 2, "step": 4, "training": asdict(training), "init": "", **before}
        own = {"stage": "x4", "step": 4, "training": asdict(training), "init": "", "history": [record]}
        return Checkpoint("net", family, asdict(last.network), {}, own)

    assert experiment.trained_by(config, made())
    assert not experiment.trained_by(config, made("fsrcnn"))
    assert not experiment.trained_by(config, made(training=asdict(TrainingConfig(steps=5))))
    assert not experiment.trained_by(config, made(scale=4))
    assert not experiment.trained_by(replace(config, stages=(last,)), made())
    assert experiment.trained_by(replace(config, stages=(last,), init="base"), made())
    older = made()
    del older.provenance["history"]
    assert experiment.trained_by(config, older)
    assert not experiment.trained_by(replace(config, stages=(first,)), older)


def test_a_variant_that_another_process_trains_is_refused_and_its_pictures_stay(
    images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "little.toml").write_text(SMALL.format(images=images))
    runs = tmp_path / "runs"
    pictures = runs / stages.STORE_FOLDER / store.PIXELS_FILE
    pictures.parent.mkdir(parents=True)
    pictures.touch()
    arguments = ["experiment", str(tmp_path / "little.toml"), "--out", str(runs), "--eval", str(images)]
    with folders.alone(runs / "espcn"):
        assert cli.main([*arguments, "--only", "espcn"]) == 1
    assert "espcn: another process trains there" in capsys.readouterr().err
    assert pictures.exists()


def test_the_front() -> None:
    def row(name: str, ms: float | None, *psnr_db: float) -> dict[str, object]:
        return {"name": name, "fp32_ms": ms, "quality": [{"psnr_db": value} for value in psnr_db]}

    rows = [row("fast", 1, 30, 30), row("good", 9, 40, 40), row("beaten", 9, 39, 40), row("mixed", 5, 20, 50)]
    assert experiment_report.on_front([*rows, row("none", None, 50, 50)], "fp32_ms") == {"fast", "good", "mixed"}


def test_places_and_files_must_match(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(json.dumps({"kind": "emulation", "format": 1}))
    with pytest.raises(DocumentError, match="the page has places for b"):
        tables.renewed("<!-- table b -->\n<!-- end -->", [])
    with pytest.raises(DocumentError, match=r"a\.json"):
        tables.renewed("", [tmp_path / "a.json"])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (('title = "little"', 'colour = "red"'), ExperimentError, "and nothing else"),
        (
            ("curves = true", "curves = 1"),
            ExperimentError,
            "curves .true or false. and degradations .a list. are allowed",
        ),
        (
            ('"kspace", "gaussian', '"kspase", "gaussian'),
            ExperimentError,
            "degradations: degradation 'kspase': 'kspase' is not one",
        ),
        (('name = "one-shot"', 'name = "espcn"'), ExperimentError, "two variants have one name"),
        (("expansion = 0", "scale = 3"), ExperimentError, "several scales"),
        (("steps = 6", "step = 6"), SettingsError, "has no setting 'step'"),
        (('family = "espcn"', 'family = "gan"'), SettingsError, "family 'gan'"),
        (("[common]", "[common"), SettingsError, "not a TOML file"),
    ],
)
def test_wrong_experiments(change: tuple[str, str], error: type[Exception], message: str, tmp_path: Path) -> None:
    path = tmp_path / "wrong.toml"
    path.write_text(SMALL.format(images="x").replace(*change))
    with pytest.raises(error, match=message) as caught:
        experiment.read(path)
    assert "wrong.toml" in str(caught.value)


def test_the_experiments_of_the_project_can_be_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIGHTSR_DATA", "/x")
    paths = sorted((Path(__file__).parents[2] / "train" / "experiments").glob("*.toml"))
    assert len(paths) >= 5
    for path in paths:
        found = experiment.read(path)
        assert found.scale == int(path.stem[-1])
        assert f"--json docs/results/experiments/{path.stem}.json" in path.read_text()


@pytest.mark.parametrize(("page", "folder"), [("experiments.md", "experiments"), ("export.md", "export")])
def test_the_pages_have_these_results(page: str, folder: str) -> None:
    """Renew them with `make bench`."""
    docs = Path(__file__).parents[2] / "docs"
    text = (docs / page).read_text()
    assert tables.renewed(text, sorted((docs / "results" / folder).glob("*.json")))[0] == text
