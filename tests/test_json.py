"""What the commands give as JSON fits the schemas in docs/schemas, which docs/json.md shows."""

import copy
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from lightsr.cli import main
from lightsr.pipeline import REASONS
from lightsr_bench import documents

from tests.schemas import NAMES, PAGE, ROOT, fit, problems, renewed, schema

RESULTS = sorted((ROOT / "docs" / "results").rglob("*.json"))


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import pydicom

    folder = tmp_path_factory.mktemp("study")
    shutil.copy(Path(pydicom.__file__).parent / "data" / "test_files" / "CT_small.dcm", folder / "ct.dcm")
    (folder / "notes.txt").write_text("Tuesday\n")
    return folder


def test_every_reason_is_in_the_schema() -> None:
    assert schema("infer-record")["properties"]["reason"]["enum"] == [*REASONS, None]


def test_records_of_files_and_of_the_manifest(study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    manifest = tmp_path / "m.jsonl"
    command = [
        str(study),
        str(tmp_path / "o"),
        "--model",
        "tiny",
        "--threads",
        "1",
        "--manifest",
        str(manifest),
        "--json",
    ]
    found = []
    for more, status in ((["--skip-existing"], 3), (["--skip-existing"], 3), ([], 3)):
        assert main([*command, *more]) == status
        found += fit(capsys.readouterr().out, "infer-record")
    assert fit(manifest.read_text(), "infer-record") == found
    assert {(entry["status"], entry["reason"]) for entry in found} == {
        ("done", None),
        ("refused", "image"),
        ("skipped", None),
        ("failed", "exists"),
    }


def test_what_the_modes_say(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--list-models", "--json"]) == 0
    assert len(fit(capsys.readouterr().out, "infer-model")) == 12
    for model in ("tiny", "base"):
        assert main(["--info", model, "--json"]) == 0
        assert len(fit(capsys.readouterr().out, "infer-card")) == 1
    assert main(["--self-test", "tiny", "--threads", "1", "--json"]) == 0
    (entry,) = fit(capsys.readouterr().out, "infer-self-test")
    assert (entry["model"], entry["passes"], entry["message"]) == ("tiny-x2-int8.onnx", True, None)


def test_a_self_test_that_fails(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("lightsr.card.Golden.agrees", lambda *_: False)
    assert main(["--self-test", "tiny", "--threads", "1", "--json"]) == 1
    said = capsys.readouterr()
    (entry,) = fit(said.out, "infer-self-test")
    assert not entry["passes"]
    assert said.err == f"lightsr-infer: {entry['message']}\n"


def test_the_demonstration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from lightsr import demo

    monkeypatch.setattr(demo, "SAMPLES", {"ct": demo.SAMPLES["ct"]})
    assert main(["--demo", str(tmp_path / "demo"), "--threads", "1", "--json"]) == 0
    assert {entry["image"] for entry in fit(capsys.readouterr().out, "infer-demo")} == {"ct"}


@pytest.mark.parametrize("path", RESULTS, ids=lambda path: path.stem)
def test_results_of_the_benchmarks(path: Path) -> None:
    content = json.loads(path.read_text(encoding="utf-8"))
    assert problems(content, f"bench-{content['kind']}") == []


def test_every_kind_of_result_has_a_schema_of_its_version() -> None:
    assert {name for name in NAMES if name.startswith("bench-")} == {f"bench-{kind}" for kind in documents.FORMATS}
    for kind, version in documents.FORMATS.items():
        assert schema(f"bench-{kind}")["properties"]["format"]["const"] == version


def objects(node: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every object with keys of its own inside a schema."""
    if "properties" in node:
        yield node
    for value in (*node.get("properties", {}).values(), node.get("items"), node.get("additionalProperties")):
        if isinstance(value, dict):
            yield from objects(value)


@pytest.mark.parametrize("name", NAMES)
def test_a_schema_is_one_and_is_strict(name: str) -> None:
    content = schema(name)
    Draft202012Validator.check_schema(content)
    assert "format" in content["required"]
    for node in objects(content):
        assert node["additionalProperties"] is False
        assert set(node["properties"]) - set(node["required"]) <= {"held_back_gain_db", "degradations", "under"}


def test_a_key_more_or_less_fails() -> None:
    content = json.loads((ROOT / "docs" / "results" / "device-xeon.json").read_text(encoding="utf-8"))
    for place in (content, content["target"], content["rows"][0], content["networks"][-1]):
        place["more"] = 1
        assert any("'more' was unexpected" in problem for problem in problems(content, "bench-device"))
        del place["more"]
        for key, value in copy.copy(place).items():
            del place[key]
            assert any(f"'{key}' is a required property" in problem for problem in problems(content, "bench-device"))
            place[key] = value
    assert problems(content, "bench-device") == []
    assert problems(content | {"format": 2}, "bench-device") != []


def test_the_page_shows_the_schemas() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert renewed(page) == page, "python -m tests.schemas renews it"
    for name in NAMES:
        assert f"<!-- schema {name} -->" in page
        assert f"`docs/schemas/{name}.schema.json`" in page
