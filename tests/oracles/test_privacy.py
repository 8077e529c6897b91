import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runtime.dicom_files import SECRET, a_dataset, save

from . import corpus as corpora
from . import privacy
from .corpus import Corpus
from .report import Ledger

pytestmark = pytest.mark.oracle


def test_nothing_about_a_person_is_said(corpus: Corpus, ledger: Ledger, tmp_path: Path) -> None:
    failures = []
    for collection, folder in corpus.folders.items():
        sources = corpora.files(folder)
        out = tmp_path / collection
        lines = say(folder, out)
        targets = {out / source.relative_to(folder): source for source in sources}
        assert {path for path in out.rglob("*") if path.is_file()} <= targets.keys()  # no name but the source's
        lines += [entry.message for entry in corpus.tried if entry.collection == collection]
        said = privacy.Said(tuple(lines), {source: privacy.values(source) for source in sources}, targets)
        assert sum(str(source) in line for line in lines for source in sources) >= len(sources)
        if count := said.leaks():
            failures.append(f"{collection}: {count} values")
    ledger.settle("privacy", len(corpus.tried), failures)


def say(folder: Path, out: Path) -> list[str]:
    """What the command line says, by `--json` and without, with the warnings that Python would show."""
    command = [sys.executable, "-W", "always", "-m", "lightsr.cli", str(folder), str(out)]
    command += ["--model", "tiny", "--threads", "1"]
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8"}
    first, second = (
        subprocess.run([*command, *options], capture_output=True, text=True, check=False, env=environment)
        for options in (["--json"], ["--skip-existing"])
    )
    outcomes = [json.loads(line) for line in first.stdout.splitlines()]
    assert outcomes
    # Times and sizes are left out: a birth date could be found in a time by chance.
    texts = [
        f"{outcome['source']} {outcome['target']} {outcome['status']} {outcome['message']}" for outcome in outcomes
    ]
    return [*texts, *f"{first.stderr}\n{second.stdout}\n{second.stderr}".splitlines()]


def test_what_is_said_shows(tmp_path: Path) -> None:
    path = save(a_dataset(AccessionNumber="4711-0815"), tmp_path / "a.dcm")
    secrets = privacy.values(path)
    assert {SECRET, "Secret", "19500101", "4711-0815"} <= secrets
    other = tmp_path / "b.dcm"
    files = {path: secrets, other: {"First"}}
    for line, expected in (
        (f"{path}: damaged", 0),
        (f"{path}: First", 0),
        (f"{other}: First", 1),
        ("First", 1),
        ("for secret", 1),
        ("warning: odd value 19500101", 1),
        (f"{path}: 4711-0815", 1),
        (f"{tmp_path / 'out.dcm'}: 4711-0815", 1),
    ):
        assert privacy.Said((line,), files, {tmp_path / "out.dcm": path}).leaks() == expected, line


def test_a_library_that_says_what_it_reads_is_heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "in").mkdir()
    path = save(a_dataset(), tmp_path / "in" / "a.dcm")
    (tmp_path / "sitecustomize.py").write_text(
        "import warnings\n"
        "import lightsr.pipeline as pipeline\n"
        "enlarge = pipeline.enlarge\n"
        "def enlarge_aloud(image, upscaler):\n"
        "    warnings.warn(f'odd value {image.header.AccessionNumber}')\n"
        "    return enlarge(image, upscaler)\n"
        "pipeline.enlarge = enlarge_aloud\n"
    )

    def count(out: Path) -> int:
        return privacy.Said(tuple(say(tmp_path / "in", out)), {path: privacy.values(path)}, {}).leaks()

    assert not count(tmp_path / "silent")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    assert count(tmp_path / "aloud")
