"""Broken files of every format, and broken circumstances, through the command: one line each, nothing left behind."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from lightsr import files

from . import broken
from .asserted import COMMAND, MAX_MIB, MAX_SECONDS, OPTIONS, assert_one_line, assert_within_limits, left
from .broken import BROKEN, GOOD
from .broken.foreign import NAMED
from .broken.rasters import a_png
from .measured import Command, command, run

ALONE = [
    *(name for name in BROKEN if " cut " not in name),
    *(name for name in BROKEN if " cut " in name and name.endswith(("half of its data", "the length", "the end"))),
]
"""Those that are also given to the command singly; the others end in the same few lines of each reader."""

pytestmark = pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="measures with Linux's /proc")


def file_name(name: str) -> str:
    """Of a case: its words, and the suffix that it needs."""
    return re.sub(r"\W+", "-", name).strip("-").lower() + (BROKEN.get(name) or GOOD[name]).suffix


@pytest.fixture(scope="module")
def broken_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Every broken file, in one folder."""
    folder = tmp_path_factory.mktemp("broken")
    return {name: case.write(folder / file_name(name)) for name, case in {**BROKEN, **GOOD}.items()}


@pytest.fixture(scope="module")
def lightsr_infer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    with command(tmp_path_factory.mktemp("said")) as started:
        yield started


def test_there_are_many() -> None:
    """As many as the page says, of every kind."""
    page = (Path(__file__).parents[2] / "docs" / "robustness.md").read_text()
    assert len(BROKEN) >= 700
    assert f"makes {len(BROKEN)} broken files" in page
    assert f"and {len(ALONE)} of them singly" in page
    parts = (broken.PNG, broken.JPEG, broken.TIFF, broken.NIFTI, broken.NPY, broken.DICOM)
    rows = re.findall(r"\| (\d+) \| (\d+|-) \|", page)
    assert rows[:6] == [(str(len(part)), str(sum(" cut " in name for name in part))) for part in parts]
    assert rows[6] == (str(len(broken.FOREIGN)), "-")


@pytest.mark.parametrize("name", ALONE)
def test_a_broken_file(name: str, broken_files: dict[str, Path], lightsr_infer: Command, tmp_path: Path) -> None:
    suffix = BROKEN[name].suffix.replace(".jpg", ".png")  # a JPEG's result is a PNG
    temporary, target = tmp_path / "tmp", tmp_path / "out" / f"out{suffix}"
    temporary.mkdir()
    measured = lightsr_infer([str(broken_files[name]), str(target), *OPTIONS], temporary)
    assert_one_line(measured, broken_files[name], BROKEN[name].says)
    assert (measured.status, left(temporary), left(tmp_path)) == (1, [], [])
    assert_within_limits(measured)


@pytest.mark.parametrize("name", GOOD)
def test_what_is_a_picture_all_the_same(
    name: str, broken_files: dict[str, Path], lightsr_infer: Command, tmp_path: Path
) -> None:
    target = tmp_path / "out" / f"out{GOOD[name].suffix}"
    measured = lightsr_infer([str(broken_files[name]), str(target), *OPTIONS], tmp_path)
    assert (measured.status, measured.err, left(tmp_path)) == (0, "", [f"out/{target.name}"])
    assert target.stat().st_size < 10_000
    assert_within_limits(measured)


@pytest.mark.parametrize("jobs", [1, 2])
def test_a_folder_goes_on_after_each(jobs: int, broken_files: dict[str, Path], tmp_path: Path) -> None:
    folder, out, temporary = tmp_path / "in", tmp_path / "out", tmp_path / "tmp"
    folder.mkdir()
    temporary.mkdir()
    chosen = broken_files if jobs == 1 else {name: broken_files[name] for name in (*ALONE[::7], *GOOD)}
    for path in chosen.values():
        (folder / path.name).hardlink_to(path)
    for name in ("00-first.png", "zz-last.png"):
        (folder / name).write_bytes(a_png())
    done = {"00-first.png", "zz-last.png"} | {broken_files[name].name for name in GOOD}
    environment = {**os.environ, "TMPDIR": str(temporary)}
    arguments = [*COMMAND, str(folder), str(out), *OPTIONS, "--jobs", str(jobs)]
    measured = run(arguments, timeout=5 * MAX_SECONDS, env=environment)
    *lines, summary = (line for line in measured.err.splitlines() if "--jobs 1 instead" not in line)
    named = [re.match(rf"lightsr-infer: {folder}/([^:]*): ", line)[1] for line in lines]  # type: ignore[index]
    said = dict(zip(named, lines, strict=True))
    assert len(said) == len(named)
    for name, path in chosen.items():
        assert (name in GOOD) != (path.name in said)
        assert name in GOOD or BROKEN[name].says in said[path.name]
    assert summary == f"{len(done)} enlarged, 0 already there, {len(named)} failed or refused"
    assert (measured.status, left(out), left(temporary)) == (3, sorted(done), [])
    assert measured.peak_mib <= MAX_MIB * jobs
    assert measured.cpu_seconds <= 30


@pytest.mark.parametrize("suffix", NAMED)
def test_a_picture_under_another_name(suffix: str, lightsr_infer: Command, tmp_path: Path) -> None:
    """Under its own name it is mirrored as what it is; a name given for the result must promise that."""
    folder = tmp_path / "in"
    folder.mkdir()
    source = folder / f"a{suffix}"
    source.write_bytes(NAMED[suffix]())
    measured = lightsr_infer([str(folder), str(tmp_path / "out"), *OPTIONS], tmp_path)
    assert (measured.status, left(tmp_path / "out")) == (0, [source.name])
    assert files.detect(tmp_path / "out" / source.name).name == files.detect(source).name
    target = tmp_path / "b.dcm"
    measured = lightsr_infer([str(source), str(target), *OPTIONS], tmp_path)
    assert_one_line(measured, target, "give it a name that ends in")
    assert (measured.status, target.exists()) == (1, False)


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A good file in a folder of its own."""
    path = tmp_path / "in" / "a.png"
    path.parent.mkdir()
    path.write_bytes(a_png())
    return path


SPECIAL = {
    "/dev/zero": "not a regular file",
    "/dev/null": "not a regular file",
    "/dev/stdin": "not a regular file",
    "/proc/self/mem": "cannot be read",
    "/proc/version": "neither PNG",
    "/proc/self/fdinfo": "no file that matches",
    "/nowhere": "no such file or folder",
    "/dev/null/a.png": "no such file or folder",
}
"""Inputs that are no files, or only look like one."""


@pytest.mark.parametrize("path", SPECIAL)
def test_an_input_that_is_no_file(path: str, lightsr_infer: Command, tmp_path: Path) -> None:
    """`/proc/self/fdinfo` is a folder, of which no file has the name that is asked for."""
    measured = lightsr_infer([path, str(tmp_path / "out" / "a.png"), *OPTIONS, "--glob", "*.png"], tmp_path)
    assert_one_line(measured, Path(path), SPECIAL[path])
    assert (measured.status, left(tmp_path)) == (1, [])
    assert_within_limits(measured)


def test_a_pipe_is_not_waited_for(source: Path, lightsr_infer: Command, tmp_path: Path) -> None:
    """Nobody ever writes into it, nor reads from it."""
    pipe = tmp_path / "pipe.png"
    os.mkfifo(pipe)
    for arguments in ([pipe, tmp_path / "b.png"], [source, pipe], [source, pipe, "--force"]):
        measured = lightsr_infer([*map(str, arguments), *OPTIONS], tmp_path)
        assert_one_line(measured, pipe, "not a regular file")
        assert measured.status == 1
        assert measured.seconds < MAX_SECONDS / 4
    measured = lightsr_infer([str(source), str(tmp_path / "b.png"), *OPTIONS, "--manifest", str(pipe)], tmp_path)
    assert_one_line(measured, pipe, "no regular file")
    assert pipe.is_fifo()
    assert left(tmp_path) == ["in/a.png", "pipe.png"]


def a_loop(path: Path) -> Path:
    """A link to itself."""
    path.symlink_to(path.name)
    return path


def a_long_way_round(path: Path) -> Path:
    """Links to each other."""
    path.symlink_to(f"{path.name}-1")
    path.with_name(f"{path.name}-1").symlink_to(path.name)
    return path


@pytest.mark.parametrize("make", [a_loop, a_long_way_round])
def test_links_that_go_round(
    make: Callable[[Path], Path], source: Path, lightsr_infer: Command, tmp_path: Path
) -> None:
    loop = make(tmp_path / "loop.png")
    for arguments, says in (
        ([loop, tmp_path / "b.png"], "no such file"),
        ([source, loop], "exists"),
        ([source, loop / "b.png"], "cannot be made"),
        ([source.parent, loop / "b"], ""),
        ([source, tmp_path / "b.png", "--manifest", loop], "cannot be written"),
        ([source.parent, tmp_path / "b", "--manifest", loop], "cannot be written"),
    ):
        measured = lightsr_infer([*map(str, arguments), *OPTIONS], tmp_path)
        assert re.fullmatch(r"lightsr-infer: [^\n]*loop\.png[^\n]*\n", measured.err)
        assert says in measured.err
        assert "unexpected" not in measured.err
        assert measured.status == (3 if arguments[0] == source.parent and "--manifest" not in arguments else 1)
    assert left(tmp_path) == sorted({"in/a.png", "loop.png", *(path.name for path in tmp_path.glob("loop*"))})


def test_a_folder_in_the_place_of_a_file(source: Path, lightsr_infer: Command, tmp_path: Path) -> None:
    for name in ("out/a.png", "model.onnx", "manifest.jsonl"):
        (tmp_path / name).mkdir(parents=True)
    for more, where, says in (
        ([], "out/a.png", "not a regular file"),
        (["--force"], "out/a.png", "not a regular file"),
        (["--skip-existing"], "out/a.png", "not a regular file"),
    ):
        measured = lightsr_infer([str(source.parent), str(tmp_path / "out"), *OPTIONS, *more], tmp_path)
        assert_one_line(measured, tmp_path / where, says)
        assert measured.status == 3
    measured = lightsr_infer(
        [str(source), str(tmp_path / "b"), "--manifest", str(tmp_path / "manifest.jsonl")], tmp_path
    )
    assert_one_line(measured, tmp_path / "manifest.jsonl", "Is a directory")
    measured = lightsr_infer([str(source), str(tmp_path / "b"), "--model", str(tmp_path / "model.onnx")], tmp_path)
    assert (measured.status, measured.err.count("\n")) == (1, 1)
    assert "model.onnx" in measured.err
    measured = lightsr_infer([str(source.parent), str(source), *OPTIONS], tmp_path)
    assert_one_line(measured, source, "a folder of images needs a folder to go to")
    assert left(tmp_path) == ["in/a.png"]


@pytest.fixture(scope="module")
def under_the_rules() -> list[str]:
    """What stands in front of a command for which permissions shall hold: root may override them."""
    if os.name != "posix" or os.geteuid() != 0:
        return []
    words = [shutil.which("setpriv") or "setpriv", "--bounding-set=-dac_override,-dac_read_search"]
    if shutil.which("setpriv") is None or subprocess.run([*words, "true"], check=False, capture_output=True).returncode:
        pytest.skip("root may do everything, and here this cannot be taken away (setpriv of util-linux)")
    return words


@pytest.mark.parametrize(
    ("locked", "permissions", "arguments", "says", "status"),
    [
        ("in/a.png", 0o000, ["in/a.png", "out/b.png"], "in/a.png: cannot be read: Permission denied", 1),
        ("in", 0o000, ["in", "out"], "in: cannot be searched: Permission denied", 3),
        ("in", 0o000, ["in/a.png", "out/b.png"], "in/a.png: Permission denied", 1),
        ("in", 0o600, ["in", "out"], "", 3),
        ("out", 0o500, ["in/a.png", "out/b.png"], "out/b.png: cannot be written: Permission denied", 1),
        ("out", 0o500, ["in", "out"], "out/a.png: cannot be written: Permission denied", 3),
        ("out", 0o500, ["in", "out/new"], "out/new: cannot be made: Permission denied", 3),
        ("out", 0o000, ["in/a.png", "out/b.png"], "out/b.png: Permission denied", 1),
        ("out", 0o500, ["in/a.png", "b.png", "--manifest", "out/m"], "out/m: cannot be written: Permission denied", 1),
    ],
)
def test_what_may_not_be_done(
    locked: str,
    permissions: int,
    arguments: list[str],
    says: str,
    status: int,
    under_the_rules: list[str],
    source: Path,
    tmp_path: Path,
) -> None:
    (tmp_path / "out").mkdir()
    given = [word if word.startswith("--") else str(tmp_path / word) for word in arguments]
    (tmp_path / locked).chmod(permissions)
    try:
        measured = run([*under_the_rules, *COMMAND, *given, *OPTIONS], timeout=MAX_SECONDS)
    finally:
        (tmp_path / locked).chmod(0o700)
    assert re.fullmatch(r"lightsr-infer: [^\n]+\n", measured.err), measured.err
    assert says in measured.err
    assert "unexpected" not in measured.err
    assert (measured.status, measured.out, left(tmp_path)) == (status, "", ["in/a.png"])
    assert_within_limits(measured)


NAMES = {
    "a line\nand another": b"a line\nand another.png",
    "a carriage return": b"safe\rlightsr-infer: 9 enlarged.png",
    "escapes": b"\x1b[2J\x1b]0;title\x07\x1b[31m.png",
    "C1 controls": "\x9b31m\x85.png".encode(),
    "a separator of lines": "a\u2028b\u2029c.png".encode(),
    "text from right to left": "a\u202egnp.exe.png".encode(),
    "bytes that are no UTF-8": b"\xff\xfe\x80.png",
    "half a character": "\u00e9".encode()[:1] + b".png",
    "a surrogate": b"\xed\xa0\x80.png",
    "spaces alone": b"  .png",
    "an option": b"--force.png",
    "quotes and dollars": b"'\"$(reboot)`reboot`;&|<>*?[a].png",
    "percent signs and braces": b"%s%n{0}{name}.png",
    "255 bytes": b"x" * 251 + b".png",
    "a colon": b"C:a: b: c.png",
    "emoji": "\U0001f468\u200d\u2695\ufe0f.png".encode(),
}


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
@pytest.mark.parametrize("jobs", ["1", "2"])
@pytest.mark.parametrize("locale", ["C", "C.UTF-8"])
def test_any_name(jobs: str, locale: str, tmp_path: Path) -> None:
    """Good files and broken ones of the same names; a line stays a line, a manifest tells the names exactly."""
    folder, out = tmp_path / "in", tmp_path / "out"
    for part, content in (("good", a_png()), ("bad", b"x")):
        (folder / part).mkdir(parents=True)
        for name in NAMES.values():
            Path(os.fsdecode(os.fsencode(folder / part) + b"/" + name)).write_bytes(content)
    manifest = tmp_path / "m.jsonl"
    environment = {**os.environ, "LC_ALL": locale, "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    arguments = [*COMMAND, str(folder), str(out), *OPTIONS, "--jobs", jobs, "--manifest", str(manifest)]
    measured = run(arguments, timeout=MAX_SECONDS, env=environment)
    said = [line for line in measured.err.splitlines() if "--jobs 1 instead" not in line]
    assert len(said) == len(NAMES) + 1
    assert said[-1] == f"{len(NAMES)} enlarged, 0 already there, {len(NAMES)} failed or refused"
    assert len(measured.out.splitlines()) == len(NAMES)
    shown = measured.out + measured.err
    assert not set(shown) & {chr(code) for code in (*range(10), *range(11, 32), *range(127, 160), 0x2028, 0x202E)}
    assert {os.fsencode(path.name) for path in (out / "good").iterdir()} == set(NAMES.values())
    assert left(out / "bad") == []
    records = [json.loads(line) for line in manifest.read_text("ascii").splitlines()]
    expected = {part + b"/" + name for part in (b"good", b"bad") for name in NAMES.values()}
    assert {os.fsencode(record["input"]) for record in records} == expected
    assert measured.status == 3


@pytest.mark.skipif(sys.platform != "linux", reason="names of any bytes")
@pytest.mark.parametrize("name", NAMES)
def test_any_name_alone(name: str, lightsr_infer: Command, tmp_path: Path) -> None:
    """As a name of what is there and is broken, of what is not there, and in wrong usage."""
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/" + NAMES[name]))
    for content in (None, b"x"):
        if content:
            path.write_bytes(content)
        measured = lightsr_infer([str(path), str(tmp_path / "b.png"), *OPTIONS], tmp_path)
        assert len(measured.err.splitlines()) == 1
        assert measured.err[:-1].replace("\u200d", "").replace("\ufe0f", "").isprintable()
        assert measured.status == 1
    measured = lightsr_infer(["a", "b", str(path), *OPTIONS], tmp_path)
    assert measured.status == 2
    assert "Traceback" not in measured.err
    assert not set(measured.err) & {"\x1b", "\x07", "\r", "\u2028", "\u202e"}
