import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from lightsr import manifest
from lightsr.errors import OutputError
from lightsr.manifest import Manifest, ModelIdentity, record
from lightsr.pipeline import REASONS, Outcome

PAGE = Path(__file__).parents[2] / "docs" / "runtime.md"

MODEL = ModelIdentity("tiny-x2-int8", "ab" * 32)


def entry(name: str = "a.png") -> dict[str, object]:
    outcome = Outcome(Path("in") / name, Path("out") / name, "done", (4, 5), (8, 10), 1.5, 60.0, frames=1)
    return record(outcome, Path("in"), Path("out"), MODEL)


def test_names_are_relative_to_the_folders_of_the_command() -> None:
    assert entry("b/a.png")["input"] == entry("b/a.png")["output"] == "b/a.png"
    single = record(Outcome(Path("x/a.png"), Path("y/b.png"), "done"), Path("x/a.png"), Path("y/b.png"), MODEL)
    assert (single["input"], single["output"]) == ("a.png", "b.png")


def test_every_key_and_reason_is_on_the_page() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert not [name for name in (*entry(), *REASONS) if f"`{name}`" not in page]
    assert f"format {manifest.FORMAT}" in page


def test_a_line_is_there_when_it_is_written(tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    with Manifest(path) as log:
        for name in ("a.png", "b.png"):
            log.append(entry(name))
        rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert [row["input"] for row in rows] == ["a.png", "b.png"]
    assert all(line.startswith(manifest.START) for line in path.read_text().splitlines())
    if os.name == "posix":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("kept", [0, 1, 3])
@pytest.mark.parametrize("torn", [1, 9, 60, -1])
def test_a_torn_last_line_is_taken_away(kept: int, torn: int, tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    whole = "".join(f"{manifest.line(entry(f'{i}.png'))}\n" for i in range(kept))
    path.write_text(whole + f"{manifest.line(entry('torn.png'))}\n"[:torn])
    with Manifest(path) as log:
        assert log.torn
        log.append(entry("next.png"))
    assert path.read_text() == whole + f"{manifest.line(entry('next.png'))}\n"


def test_a_long_torn_line_is_taken_away(tmp_path: Path) -> None:
    """Longer than what is read at a time."""
    path = tmp_path / "m.jsonl"
    whole = f"{manifest.line(entry())}\n"
    path.write_text(whole + manifest.line(entry("x" * 200_000)))
    Manifest(path).close()
    assert path.read_text() == whole


@pytest.mark.parametrize(
    "content", [b"notes\n", b"x", b'{"format": 2, "input": "a"}\n', b"\x00" * 200, b'{"a": 1}\n', b"\n"]
)
def test_another_file_is_left_alone(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "m.jsonl"
    path.write_bytes(content)
    with pytest.raises(OutputError, match="is no manifest of format 1"):
        Manifest(path)
    assert path.read_bytes() == content


def test_what_cannot_be_a_manifest_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, message in (("pipe", "no regular file"), ("none/m", "No such file"), (".", "Is a directory")):
        with pytest.raises(OutputError, match=message):
            Manifest(tmp_path / name)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="/dev/full of Linux")
def test_a_full_disk_is_told(tmp_path: Path) -> None:
    with Manifest(tmp_path / "m.jsonl") as log:
        full = os.open("/dev/full", os.O_WRONLY)
        os.dup2(full, log._descriptor)
        os.close(full)
        with pytest.raises(OutputError, match="cannot be written: No space left"):
            log.append(entry())


@pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")
def test_two_runs_do_not_share_one(tmp_path: Path) -> None:
    code = "import sys; from pathlib import Path; from lightsr.manifest import Manifest; Manifest(Path(sys.argv[1]))"
    command = [sys.executable, "-c", code, str(tmp_path / "m.jsonl")]
    with Manifest(tmp_path / "m.jsonl"):
        second = subprocess.run(command, capture_output=True, text=True, check=False)
        assert "another run writes to it" in second.stderr
    assert subprocess.run(command, check=False).returncode == 0
