"""A study goes into an archive, its results beside it, and both come out as they went in.

By QIDO-RS and WADO-RS where Orthanc has its DICOMweb plugin, by its own REST API else.
"""

import io
import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from tests.runtime.dicom_files import a_dataset, save

from . import archive
from .archive import Archive
from .corpus import command_line
from .report import Ledger

pytestmark = pytest.mark.oracle

REAL = ("CT_small.dcm", "MR_small.dcm", "examples_palette.dcm", "examples_ybr_color.dcm", "693_J2KI.dcm")
"""Of pydicom: CT, MR, palette ultrasound, a lossy colour cine, lossy JPEG 2000; a study each."""

FORMS = {"CT_small.dcm": "rle", "MR_small.dcm": "j2k-lossless"}
"""As what the results of some are stored; the others uncompressed."""

SLICES = 3
"""Of a made series beside the real ones."""


@dataclass(frozen=True)
class Stored:
    """A file and its result, both in the archive."""

    source: Path
    result: Path

    def datasets(self) -> tuple[Any, Any]:
        """Both, as pydicom reads the files that were stored."""
        return pydicom.dcmread(self.source), pydicom.dcmread(self.result)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Archive]:
    with archive.started(tmp_path_factory.mktemp("orthanc")) as running:
        yield running


@pytest.fixture(scope="module")
def stored(server: Archive, samples: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Stored]:
    """First the originals, then what the command line makes of them."""
    home = tmp_path_factory.mktemp("study")
    for form in ("none", *FORMS.values()):
        (home / form).mkdir()
    for name in REAL:
        shutil.copy(samples / name, home / FORMS.get(name, "none") / name)
    for number in range(SLICES):
        made = a_dataset(
            np.random.default_rng(number).integers(-900, 900, (40, 48)).astype(np.int16),
            SOPInstanceUID=f"1.2.3.4.{number}",
            InstanceNumber=number + 1,
            ImagePositionPatient=[10, 20, 30 + 5 * number],
        )
        save(made, home / "none" / f"slice{number}.dcm")
    for path in sorted(home.rglob("*.dcm")):
        assert server.store(path)["Status"] == "Success"
    found = []
    for form in ("none", *FORMS.values()):
        options = [] if form == "none" else ["--compress", form]
        outcomes, _ = command_line(home / form, home / f"{form} enlarged", *options)
        for outcome in outcomes:
            assert outcome["status"] == "done", outcome["message"]
            found.append(Stored(home / form / outcome["input"], home / f"{form} enlarged" / outcome["output"]))
            assert server.store(found[-1].result)["Status"] == "Success"
    assert len(found) == len(REAL) + SLICES
    return found


def retrieved(server: Archive, dataset: Any) -> bytes:
    """File of an instance, as the archive gives it back."""
    if server.dicomweb:
        path = f"/studies/{dataset.StudyInstanceUID}/series/{dataset.SeriesInstanceUID}"
        (content,) = server.parts(f"{path}/instances/{dataset.SOPInstanceUID}", "application/dicom")
        return content
    return server.request(f"/instances/{by_rest(server, 'Instance', dataset.SOPInstanceUID)}/file")[1]


def by_rest(server: Archive, level: str, uid: str) -> str:
    """Orthanc's own name of a study, series or instance."""
    status, content, _ = server.request("/tools/lookup", str(uid).encode())
    assert status == 200
    (name,) = {entry["ID"] for entry in json.loads(content) if entry["Type"] == level}
    return str(name)


def series_in(server: Archive, study: str) -> dict[str, str]:
    """Series of a study and their descriptions, by QIDO-RS or by REST."""
    if server.dicomweb:
        found = server.json(
            f"{archive.DICOMWEB}/studies/{study}/series?includefield=0008103E", Accept="application/dicom+json"
        )
        return {entry["0020000E"]["Value"][0]: (entry.get("0008103E", {}).get("Value") or [""])[0] for entry in found}
    parts = server.json(f"/studies/{by_rest(server, 'Study', study)}/series")
    tags = [part["MainDicomTags"] for part in parts]
    return {part["SeriesInstanceUID"]: part.get("SeriesDescription", "") for part in tags}


def test_both_series_are_found_and_retrieved(server: Archive, stored: list[Stored], ledger: Ledger) -> None:
    failures = []
    for entry in stored:
        source, result = entry.datasets()
        series = series_in(server, source.StudyInstanceUID)
        if set(series) != {source.SeriesInstanceUID, result.SeriesInstanceUID}:
            failures.append(f"{entry.source.name}: {len(series)} series")
        if not series.get(result.SeriesInstanceUID, "").endswith("[AI-SR x2]"):
            failures.append(f"{entry.source.name}: another description")
        for name, path, dataset in (("source", entry.source, source), ("result", entry.result, result)):
            content = retrieved(server, dataset)
            if content != path.read_bytes():
                failures.append(f"{entry.source.name}: {name} is not byte for byte what was stored")
            if not np.array_equal(pydicom.dcmread(io.BytesIO(content)).pixel_array, dataset.pixel_array):
                failures.append(f"{entry.source.name}: {name} has other pixels")
    how = "by QIDO-RS and WADO-RS" if server.dicomweb else "by REST alone"
    ledger.settle("archive", 2 * len(stored), failures, measured=how)


def test_what_the_archive_says_of_a_result(server: Archive, stored: list[Stored]) -> None:
    """By WADO-RS's metadata: where it is from, and that it is no primary picture."""
    if not server.dicomweb:
        pytest.skip("Orthanc has no DICOMweb plugin (Debian: orthanc-dicomweb)")
    for entry in stored:
        source, result = entry.datasets()
        path = f"/studies/{result.StudyInstanceUID}/series/{result.SeriesInstanceUID}/metadata"
        found = server.json(archive.DICOMWEB + path, Accept="application/dicom+json")
        (said,) = [item for item in found if item["00080018"]["Value"] == [result.SOPInstanceUID]]
        assert said["00080008"]["Value"][0] == "DERIVED"
        assert "not for primary diagnosis" in said["00082111"]["Value"][0]
        (reference,) = said["00082112"]["Value"]
        assert reference["00081155"]["Value"] == [source.SOPInstanceUID]
        assert said["00280010"]["Value"] == [2 * source.Rows]


def test_frames_by_dicomweb(server: Archive, stored: list[Stored]) -> None:
    """Of the cine the last one, of an uncompressed result, as bytes."""
    if not server.dicomweb:
        pytest.skip("Orthanc has no DICOMweb plugin (Debian: orthanc-dicomweb)")
    (cine,) = [entry for entry in stored if entry.source.name == "examples_ybr_color.dcm"]
    _, result = cine.datasets()
    frames = result.pixel_array
    assert len(frames) > 1
    path = f"/studies/{result.StudyInstanceUID}/series/{result.SeriesInstanceUID}/instances/{result.SOPInstanceUID}"
    (content,) = server.parts(f"{path}/frames/{len(frames)}", "application/octet-stream")
    assert content == frames[-1].tobytes()


def test_the_same_work_again_is_there_already(server: Archive, stored: list[Stored], tmp_path: Path) -> None:
    """In another form, too: the archive keeps one instance, whichever it got first."""
    for entry in stored:
        if entry.source.name in FORMS:
            (tmp_path / "in").mkdir(exist_ok=True)
            shutil.copy(entry.source, tmp_path / "in" / entry.source.name)
    outcomes, _ = command_line(tmp_path / "in", tmp_path / "out")
    assert len(outcomes) == len(FORMS)
    before = server.json("/statistics")["CountInstances"]
    for outcome in outcomes:
        assert server.store(tmp_path / "out" / outcome["output"])["Status"] == "AlreadyStored"
    assert server.json("/statistics")["CountInstances"] == before == 2 * len(stored)


def test_the_core_alone_says_the_same(server: Archive, stored: list[Stored]) -> None:
    """Its own REST API, which is asked where the DICOMweb plugin is missing."""
    core = replace(server, dicomweb=False)
    for entry in stored[:: len(stored) - 1]:
        for dataset in entry.datasets():
            study = dataset.StudyInstanceUID
            assert series_in(core, study) == series_in(server, study)
            assert retrieved(core, dataset) == retrieved(server, dataset)


def test_another_picture_shows(server: Archive, stored: list[Stored], tmp_path: Path) -> None:
    """What is retrieved is the instance of that UID, not what was compared with it."""
    _, result = stored[0].datasets()
    changed = bytearray(stored[0].result.read_bytes())
    changed[-1000] ^= 1
    (tmp_path / "changed.dcm").write_bytes(changed)
    assert server.store(tmp_path / "changed.dcm")["Status"] == "AlreadyStored"
    content = retrieved(server, result)
    assert content == stored[0].result.read_bytes()
    assert content != bytes(changed)


def test_parts_of_an_answer() -> None:
    content = b"--x\r\nContent-Type: a\r\n\r\n\n\r\n--y\r\n\r\n--x\r\nContent-Type: b\r\n\r\n\x00\r\n--x--\r\n"
    assert archive.parts_of(content, "x") == [b"\n\r\n--y\r\n", b"\x00"]
