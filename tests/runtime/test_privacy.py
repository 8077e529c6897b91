"""Nothing that a file says about a person is said, logged, or becomes a name; see also `tests/oracles`."""

import datetime
import json
import os
import re
import sys
import warnings
from pathlib import Path

import pydicom
import pytest
from lightsr import geometry, traces
from lightsr.errors import ImageError
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset

from .attacks import ATTACKS
from .dicom_files import a_dataset, save
from .measured import Measured, run
from .planted import PRIVATE, SECRETS, found, plant

HEARD = """
import os, sys
log = os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
def hear(event, given):
    if event.split(".")[0] in ("open", "os", "subprocess", "tempfile", "shutil", "socket", "pathlib", "glob"):
        os.write(log, f"{{event}} {{given!r}}\\n".encode("utf-8", "backslashreplace"))
sys.addaudithook(hear)
"""
"""Writes down all names of files, arguments and environments that Python hands to the system (PEP 578)."""

GROUPS = (0x0008, 0x0010, 0x0012, 0x0018, 0x0020, 0x0032, 0x0038, 0x0040, 0x4008)
"""Whose attributes are about patients, studies, equipment, acquisition and visits."""

UNDERSTOOD = {
    *(*geometry.SPACINGS, *geometry.ENLARGED_EDGES, *geometry.ENLARGED_POINTS, *geometry.ENLARGED_LENGTHS),
    *("SpecificCharacterSet", "PresentationIntentType", "ContentQualification", "NumberOfFrames"),
}
"""Attributes of which lightsr itself makes something, so that not every value is allowed."""


def every_text() -> dict[str, str]:
    """A value of its own for every attribute of `GROUPS` that is text, by keyword."""
    values: dict[str, str] = {}
    for tag, (vr, *_, keyword) in DicomDictionary.items():
        n = len(values)
        day = datetime.date(1301, 1, 1) + datetime.timedelta(days=n)
        value = {
            **dict.fromkeys(("LO", "LT", "PN", "SH", "ST", "UC", "UT"), f"Zq{tag:08x}"),
            **dict.fromkeys(("AE", "CS"), f"ZQ{tag:08X}"),
            "AS": f"{n % 1000:03}Y",
            "DA": f"{day:%Y%m%d}",
            "DS": f"{n}.73519",
            "DT": f"{day:%Y%m%d}040507",
            "IS": f"7351{n:05}",
            "TM": f"040506.{n:06}",
            "UI": f"1.2.826.0.73519.{n}",
            "UR": f"https://zq{tag:08x}.example",
        }.get(vr)
        if tag >> 16 in GROUPS and keyword and value:
            values[keyword] = value
    return values


def a_talkative_file(path: Path) -> set[str]:
    """A CT with a value in every text attribute, the private ones too; returns the values that are nobody else's."""
    dataset = plant(a_dataset())
    values = {name: value for name, value in every_text().items() if name not in UNDERSTOOD and name not in dataset}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, value in values.items():
            setattr(dataset, name, value)
        save(dataset, path)
    return {value for value in values.values() if len(value) > 4}


@pytest.fixture(scope="module")
def folder(attack_files: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, set[str]]:
    """The valid file and every hostile one, and all values in them."""
    folder = tmp_path_factory.mktemp("told")
    values = a_talkative_file(folder / "0-valid.dcm")
    for path in attack_files.values():
        (folder / path.name).hardlink_to(path)
    return folder, values | SECRETS


def listened_to(folder: Path, home: Path, *options: str) -> tuple[Measured, str]:
    """Enlarge a folder; what that said, and what it handed to the system."""
    (home / "tmp").mkdir(parents=True)
    log = home / "heard"
    (home / "sitecustomize.py").write_text(HEARD.format(log=str(log)))
    environment = {**os.environ, "TMPDIR": str(home / "tmp"), "PYTHONIOENCODING": "utf-8"}
    environment["PYTHONPATH"] = os.pathsep.join([str(home), os.environ.get("PYTHONPATH", "")])
    command = [sys.executable, "-W", "always", "-m", "lightsr.cli", str(folder), str(home / "out")]
    measured = run([*command, "--model", "tiny", "--threads", "1", *options], timeout=600, env=environment)
    return measured, log.read_text()


def test_nothing_is_said(folder: tuple[Path, set[str]], tmp_path: Path) -> None:
    """In the lines, in JSON and in what --debug adds."""
    (sources, values), out = folder, tmp_path / "home" / "out"
    measured, heard = listened_to(sources, tmp_path / "home", "--json", "--debug")
    assert measured.status == 3
    said = measured.err + measured.out
    assert said.count("0-valid.dcm") >= 1
    assert "subprocess.Popen" in heard
    assert f"{sources}/0-valid.dcm" in heard
    assert not found(said, values)
    assert not found(heard, values)
    assert "Warning" not in said  # pydicom's quote values
    assert "Traceback" not in said
    results = {path.name for path in out.rglob("*")}
    assert results == {path.name for path in sources.iterdir()} & results
    assert len(results) == 1 + sum(not attack.says for attack in ATTACKS.values())
    assert not list((tmp_path / "home" / "tmp").iterdir())
    records = [json.loads(line) for line in measured.out.splitlines()]
    expected = {("done", None), ("refused", "image"), ("failed", "package")}  # the last without python-gdcm
    assert {("done", None), ("refused", "image")} <= {(r["status"], r["reason"]) for r in records} <= expected


def test_a_result_holds_what_its_source_says_but_nothing_private(tmp_path: Path) -> None:
    values = a_talkative_file(tmp_path / "a.dcm")
    command = [sys.executable, "-m", "lightsr.cli", str(tmp_path / "a.dcm"), str(tmp_path / "b.dcm"), "--model", "tiny"]
    assert run(command, timeout=120).status == 0
    content = (tmp_path / "b.dcm").read_bytes()
    assert not {secret for secret in PRIVATE if secret.encode() in content}
    assert sum(value.encode() in content for value in values) > 0.9 * len(values) > 800
    source, result = (pydicom.dcmread(tmp_path / name) for name in ("a.dcm", "b.dcm"))
    assert result.PatientName == source.PatientName
    assert result.RequestAttributesSequence[0].RequestAttributesSequence[0].TextValue == "ZqtextN"
    assert not [element.tag for element in result.iterall() if element.tag.is_private]


def test_the_search_can_fail(folder: tuple[Path, set[str]], tmp_path: Path) -> None:
    """Each kind of value is found, and a temporary file named after a patient is heard of."""
    values = folder[1]
    for value in (
        "Zq00100010x",
        "ZQAETITLE",
        "19370214",
        "7261.935",
        "1.2.826.0.73519",
        "https://zqhost.example/zqpath",
    ):
        assert found(f"a line about '{value}', and more", values | {"Zq00100010x"}), value
    assert not found("19370214123 and 1.2.826.0.735190 and a7261.935", values)
    (tmp_path / "in").mkdir()
    save(plant(a_dataset()), tmp_path / "in" / "a.dcm")
    (tmp_path / "leak.py").write_text(
        "import tempfile, lightsr.derive as derive\n"
        "honest = derive.derived\n"
        "def leaking(frames, **options):\n"
        "    tempfile.NamedTemporaryFile(prefix=str(frames.header.PatientID)).close()\n"
        "    return honest(frames, **options)\n"
        "derive.derived = leaking\n"
    )
    script = f"import sys; sys.path.insert(0, {str(tmp_path)!r})\n" + HEARD.format(log=str(tmp_path / "log"))
    script += "import leak, lightsr.cli; lightsr.cli.main(sys.argv[1:])"
    run([sys.executable, "-c", script, str(tmp_path / "in"), str(tmp_path / "out"), "--model", "tiny"], timeout=120)
    assert "ZQ-4711" in (tmp_path / "log").read_text()


def _fails(text: str) -> None:
    try:
        int(text)
    except ValueError as error:
        raise ImageError("a.dcm: damaged; nothing was read from it") from error


def test_tracebacks_show_places_and_no_texts() -> None:
    with pytest.raises(ImageError) as caught:
        _fails("Zqfamily")
    shown = traces.redacted(caught.value)
    assert re.search(r"int\(text\)\nValueError \(its text .*\)\n\nwhich led to\n\nTraceback:\n", shown)
    assert shown.endswith("ImageError: a.dcm: damaged; nothing was read from it\n")
    assert "Zq" not in shown.replace('_fails("Zqfamily")', "")


def test_debug_shows_places_and_no_texts(tmp_path: Path) -> None:
    """Of an error that nobody expected, raised where pydicom's objects are at hand."""
    (tmp_path / "in").mkdir()
    dataset: Dataset = plant(a_dataset())
    save(dataset, tmp_path / "in" / "a.dcm")
    (tmp_path / "sitecustomize.py").write_text(
        "import lightsr.pipeline as pipeline\n"
        "def enlarged(frames, upscaler, **options):\n"
        "    raise KeyError(str(frames.header.PatientName))\n"
        "pipeline.enlarged_bands = enlarged\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "lightsr.cli", str(tmp_path / "in"), str(tmp_path / "out"), "--model", "tiny"]
    measured = run([*command, "--debug"], timeout=120, env=environment)
    assert measured.status == 3
    assert "raise KeyError(str(frames.header.PatientName))\nKeyError (its text may quote the file" in measured.err
    assert not found(measured.err + measured.out)
    measured = run([*command, "--force"], timeout=120, env=environment)
    assert measured.err == f"lightsr-infer: {tmp_path / 'in' / 'a.dcm'}: unexpected KeyError; --debug shows where\n"
    assert measured.status == 3
