import json
from pathlib import Path

import pytest
from lightsr_bench import documents
from lightsr_bench.documents import DocumentError


def test_a_document_is_read_back(tmp_path: Path) -> None:
    content = documents.new("device", ["device", "tiny"]) | {"rows": [{"a": 1}, {"a": 2}], "empty": [], "x": "µ"}
    path = tmp_path / "a.json"
    path.write_bytes(documents.dumps(content))
    assert documents.read(path) == content
    assert '  {"a": 1},\n  {"a": 2}\n' in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not a JSON file"),
        ("[]", r"not a result of lightsr-bench"),
        ('{"kind": "poem"}', "not a result of lightsr-bench"),
        ('{"kind": "device", "format": 99}', "device results of format 99; this version compares 1; measure again"),
    ],
)
def test_what_is_no_document_is_refused(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(text)
    with pytest.raises(DocumentError, match=rf"a\.json: {message}"):
        documents.read(path)
    with pytest.raises(DocumentError, match=r"none\.json: cannot be read: No such file"):
        documents.read(tmp_path / "none.json")


def test_commands_name_folders_by_variables(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LIGHTSR_DATA", str(tmp_path / "data"))
    monkeypatch.delenv("LIGHTSR_PEERS", raising=False)
    shown = documents.command_line(["quality", "--data", str(tmp_path / "data" / "eval"), "two words", "tiny"])
    assert shown == "lightsr-bench quality --data $LIGHTSR_DATA/eval 'two words' tiny"
    assert documents.command_line([str(tmp_path / "data")]) == "lightsr-bench $LIGHTSR_DATA"


def test_commands_leave_out_what_changes_nothing() -> None:
    shown = documents.command_line(["quality", "--force", "--pictures", "/home/me", "--debug", "--pictures=/a", "tiny"])
    assert shown == "lightsr-bench quality tiny"


def test_floats_are_rounded_to_significant_digits() -> None:
    value = {"a": [1.23456789, (1234567.0, 3)], "b": "x"}
    assert documents.rounded(value) == {"a": [1.235, [1235000.0, 3]], "b": "x"}
    assert json.dumps(documents.rounded(0.1 + 0.2)) == "0.3"
