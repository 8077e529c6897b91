import os
from pathlib import Path

import pytest

from tests.runtime.dicom_files import SECRET, a_dataset, save

from . import privacy
from .corpus import Corpus, command_line
from .report import Ledger

pytestmark = pytest.mark.oracle


def test_nothing_about_a_person_is_said(corpus: Corpus, ledger: Ledger) -> None:
    failures = []
    for collection, folder in corpus.folders.items():
        tried = [entry for entry in corpus.tried if entry.collection == collection]
        # No name of a file or folder is there that the source had not.
        out = Path(os.path.commonpath([entry.target for entry in tried if entry.converted]))
        made = {path.name for path in out.rglob("*")}
        assert made <= {path.name for path in folder.rglob("*")}
        assert len(corpus.said[collection]) > len(tried)
        said = privacy.Said(
            corpus.said[collection],
            {entry.source: privacy.values(entry.source) for entry in tried},
            {entry.target: entry.source for entry in tried},
        )
        if count := said.leaks():
            failures.append(f"{collection}: {count} values")
    ledger.settle("privacy", len(corpus.tried), failures)


def test_what_is_said_shows(tmp_path: Path) -> None:
    path = save(a_dataset(AccessionNumber="4711-0815"), tmp_path / "a.dcm")
    secrets = privacy.values(path)
    assert {SECRET, "Secret", "19500101", "4711-0815"} <= secrets
    other = tmp_path / "b.dcm"
    files = {path: secrets, other: {"Zacharias"}}
    for line, expected in (
        (f"{path}: damaged", 0),
        (f"{path}: Zacharias", 0),
        (f"{other}: Zacharias", 1),
        ("Zacharias", 1),
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
        "enlarged = pipeline.enlarged_bands\n"
        "def enlarged_aloud(frames, upscaler, **options):\n"
        "    warnings.warn(f'odd value {frames.header.AccessionNumber}')\n"
        "    return enlarged(frames, upscaler, **options)\n"
        "pipeline.enlarged_bands = enlarged_aloud\n"
    )

    def count(out: Path) -> int:
        return privacy.Said(command_line(tmp_path / "in", out)[1], {path: privacy.values(path)}, {}).leaks()

    assert not count(tmp_path / "silent")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    assert count(tmp_path / "aloud")
