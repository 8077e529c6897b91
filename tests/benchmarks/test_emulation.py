import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from lightsr_bench import documents, emulation, emulator, guest, networks
from lightsr_bench.emulation import EmulatedRow
from lightsr_bench.emulator import CPUS, EmulationError, Emulator
from onnx import TensorProto, helper, numpy_helper

from tests.schemas import problems

QEMU = """#!/bin/sh
# Stands for qemu: runs the guest's program with this machine's Python.
case "$*" in
  --version) echo "qemu-aarch64 version 9.9.9 (test)"; exit ;;
  "-cpu help") printf 'Available CPUs:\\n  cortex-a53\\n  cortex-a76\\n'; exit ;;
  --help) echo "-plugin    QEMU_PLUGIN   [file=]<file>"; exit ;;
esac
for argument; do
  case "$argument" in *,out=*) printf '5\\n17005\\n33389\\n50000\\n' > "${argument##*,out=}" ;; esac
done
while [ "$1" != -sP ]; do shift; done
exec PYTHON "$@"
"""


def tool(folder: Path, text: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "qemu-aarch64").write_text(text)
    (folder / "qemu-aarch64").chmod(0o755)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that looks prepared, and a program that looks like qemu on PATH."""
    tool(tmp_path / "bin", QEMU.replace("PYTHON", sys.executable))
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=os.pathsep)
    monkeypatch.delenv(emulator.ROOT_VARIABLE, raising=False)
    folder = tmp_path / "root"
    for name in ("system/usr", "system/lib", "packages/onnxruntime"):
        (folder / name).mkdir(parents=True)
    (folder / "ready").write_text(f"{emulator.ROOT_FORMAT}\n")
    return folder


def network(channels: int = 1, *, name: str = "in", size: int | str = "h", quantised: bool = False) -> bytes:
    """Nearest enlargement by 2, without a card."""
    nodes = [helper.make_node("Resize", [name, "", "scales"], ["out"], mode="nearest")]
    initialisers = [numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")]
    if quantised:
        nodes[0].output[0] = "enlarged"
        nodes += [
            helper.make_node("QuantizeLinear", ["enlarged", "step", "zero"], ["integers"]),
            helper.make_node("DequantizeLinear", ["integers", "step", "zero"], ["out"]),
        ]
        initialisers.append(numpy_helper.from_array(np.float32(1 / 256), "step"))
        initialisers.append(numpy_helper.from_array(np.uint8(0), "zero"))
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", channels, size, "w"])],
        [helper.make_tensor_value_info("out", TensorProto.FLOAT, ["n", channels, "high", "wide"])],
        initialisers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString())


def test_a_missing_emulator_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EmulationError, match=r"^qemu-aarch64.*missing.*apt-get install qemu-user$"):
        emulator.find("cortex-a76", tmp_path)


def test_an_unknown_processor_is_refused_with_those_that_are_known(root: Path) -> None:
    with pytest.raises(EmulationError, match=r"'pentium'.*cortex-a53, cortex-a72, cortex-a76"):
        emulator.find("pentium", root)
    with pytest.raises(EmulationError, match=r"'cortex-a72': unknown to .*9\.9\.9.*newer qemu"):
        emulator.find("cortex-a72", root)


def test_a_missing_root_names_the_command_that_makes_it(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = r"bash benchmarks/arm64-root\.sh"
    with pytest.raises(EmulationError, match=rf"LIGHTSR_ARM_ROOT is not set.*{command} DIR"):
        emulator.find("cortex-a76")
    monkeypatch.setenv(emulator.ROOT_VARIABLE, str(root))
    assert emulator.find("cortex-a76").root == root
    (root / "packages/onnxruntime").rmdir()
    with pytest.raises(EmulationError, match=rf"wheels of onnxruntime are missing.*{command} {root}"):
        emulator.find("cortex-a76")
    (root / "ready").write_text("0\n")
    with pytest.raises(EmulationError, match=rf"unfinished.*{command} {root}"):
        emulator.find("cortex-a76")
    (root / "ready").unlink()
    with pytest.raises(EmulationError, match="unfinished"):
        emulator.find("cortex-a76", root)


def test_what_the_emulator_can_do_is_known_before_it_runs(root: Path) -> None:
    found = emulator.find("cortex-a53", root)
    assert (found.cpu, found.version, found.root, found.counts) == ("cortex-a53", "9.9.9", root, False)
    (root / "instructions.so").touch()
    assert emulator.find("cortex-a53", root).counts


def test_an_environment_takes_what_it_is_given(root: Path) -> None:
    found = emulator.find("cortex-a76", root)
    (root / "system/usr/bin").mkdir()
    (root / "system/usr/bin/python3.11").touch()
    (root / "system/usr/bin/python3").symlink_to("python3.11")
    tool(root / "a folder", '#!/bin/sh\nprintf "%s\\n" "$@"\n')
    speaking = dataclasses.replace(found, qemu=root / "a folder/qemu-aarch64")
    for _ in range(2):  # one that was made before is made again
        interpreter = speaking.environment(root / "an environment")
    said = subprocess.run([interpreter, "-I", "-c", "a  b"], capture_output=True, text=True, check=True).stdout
    program, world = str(root / "system/usr/bin/python3"), str(root / "an environment/world")
    assert said.splitlines() == ["-L", world, "-cpu", "cortex-a76", "-0", str(interpreter), program, "-I", "-c", "a  b"]
    assert "0xd0b" in (root / "an environment/world/proc/cpuinfo").read_text()
    (packages,) = (root / "an environment/lib/python3.11/site-packages").iterdir()
    assert packages.read_text().splitlines() == [str(root / "packages"), str(root / "tests")]


def test_what_an_emulated_python_starts_is_emulated(tmp_path: Path) -> None:
    try:
        interpreter = emulator.find("cortex-a76").environment(tmp_path / "environment")
    except EmulationError as error:
        pytest.skip(str(error))
    leaf = "import platform, sys, numpy; print(platform.machine(), sys.executable, numpy.__file__)"
    for options in ([], ["-I"]):
        script = leaf
        for _ in range(2):
            script = (
                f"import subprocess, sys; subprocess.run([sys.executable, *{options}, '-c', {script!r}], check=True)"
            )
        said = subprocess.run([interpreter, "-c", script], capture_output=True, text=True, check=True).stdout.split()
        assert said[:2] == ["aarch64", str(interpreter)]
        assert Path(said[2]).is_relative_to(Path(os.environ[emulator.ROOT_VARIABLE]).resolve())


@pytest.mark.parametrize(
    ("cpu", "part", "dot_product"),
    [
        ("cortex-a53", "0xd03", False),
        ("cortex-a72", "0xd08", False),
        ("cortex-a76", "0xd0b", True),
        ("neoverse-v1", "0xd40", True),
    ],
)
def test_cpuinfo_tells_what_the_processor_can_do(cpu: str, part: str, dot_product: bool) -> None:
    text = CPUS[cpu].cpuinfo()
    blocks = [dict(line.split("\t: ") for line in block.splitlines() if "\t: " in line) for block in text.split("\n\n")]
    assert [block["processor"] for block in blocks] == ["0", "1", "2", "3"]
    assert {block["CPU part"] for block in blocks} == {part}
    assert {block["CPU implementer"] for block in blocks} == {"0x41"}
    assert ("asimddp" in blocks[0]["Features"].split()) == dot_product
    assert "asimd" in blocks[0]["Features"].split()


def test_outputs_are_compared_over_their_range() -> None:
    here = [np.array([[0.0, 1.0]], np.float32), np.array([[-100.0, 100.0]], np.float32)]
    assert emulation.compare(here, [array.copy() for array in here]) == (True, 0.0, True)
    identical, difference, close = emulation.compare(here, [here[0], here[1] + np.float32(1e-3)])
    assert (identical, close) == (False, True)
    assert difference == pytest.approx(1e-3, rel=0.01)
    assert not emulation.compare(here, [here[0] + np.float32(2e-5), here[1]])[2]
    assert emulation.compare([np.float32([[0.0]])], [np.float32([[-0.0]])]) == (False, 0.0, True)
    assert emulation.compare(here, [here[0], here[1] * np.float32(np.nan)]) == (False, None, False)
    infinite = [np.array([[np.inf, 1.0]], np.float32)]
    assert emulation.compare(here[:1], infinite) == (False, None, False)
    assert emulation.compare(infinite, [infinite[0] + np.array([[0, 1e-6]], np.float32)]) == (False, None, False)
    with pytest.raises(EmulationError, match="gives"):
        emulation.compare(here, [here[1].T, here[0].T])


def test_marks_that_do_not_fit_the_runs_are_an_error() -> None:
    with pytest.raises(EmulationError, match="2 marks"):
        emulation.least_between_marks("1\n2\n")


def test_networks_of_any_kind_have_a_row_and_broken_ones_an_error(root: Path) -> None:
    (root / "instructions.so").touch()
    said: list[str] = []
    models: list[tuple[str, bytes | Path]] = [
        ("grey", network(quantised=True)),
        ("colour", network(3, name="x")),
        ("junk", b"no network"),
        ("missing", root / "missing.onnx"),
        ("fixed", network(size=20)),
        ("two channels", network(2)),
        *((n.name, n.path) for n in networks.find(["tiny"], scale=2)),
    ]
    rows = list(emulation.emulate(models, emulator.find("cortex-a76", root), progress=said.append))
    assert [row.name for row in rows] == [name for name, _ in models]
    assert said[0] == "grey on cortex-a76"
    by_name = {row.name: row for row in rows}
    for name in ("grey", "colour", "tiny-x2-int8", "tiny-x2-fp32"):
        row = by_name[name]
        assert (row.error, row.identical, row.agrees, row.max_abs_difference) == (None, True, True, 0.0)
        assert row.instructions_per_output_px == 16384 / 128**2
        assert row.peak_rss_mib is not None
        assert row.peak_rss_mib > 10
        assert row.onnxruntime
    assert by_name["colour"].operators == {"Resize": 1}
    precisions = {name: by_name[name].precision for name in ("grey", "colour", "tiny-x2-int8", "tiny-x2-fp32")}
    assert precisions == {"grey": "int8", "colour": "fp32", "tiny-x2-int8": "int8", "tiny-x2-fp32": "fp32"}
    assert "does not load" in str(by_name["junk"].error)
    assert "missing.onnx" in str(by_name["missing"].error)
    assert "does not run on this machine" in str(by_name["fixed"].error)
    assert "[n, 1 or 3, h, w] is needed" in str(by_name["two channels"].error)


def test_sides_follow_the_alignment_of_the_card() -> None:
    (picture,) = emulation._pictures(1, [emulation.ODD_SIZE_PX], 4)
    assert picture.shape == (1, 1, 40, 52)
    assert picture.dtype == np.float32
    assert 0 <= picture.min() < picture.max() <= 1


@pytest.mark.parametrize(
    ("crash", "message"),
    [("kill -SEGV $$", "SIGSEGV on cortex-a76"), ("echo no luck >&2; exit 3", "status 3 on cortex-a76: no luck")],
)
def test_a_guest_that_crashes_is_a_row(root: Path, crash: str, message: str) -> None:
    found = emulator.find("cortex-a76", root)
    tool(root / "crash", f"#!/bin/sh\n{crash}\n")
    broken = Emulator(found.cpu, root / "crash/qemu-aarch64", found.version, root, counts=False)
    (row,) = emulation.emulate([("grey", network())], broken)
    assert str(row.error).endswith(message)
    assert row == EmulatedRow("grey", error=row.error)


def test_what_fails_in_the_guest_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.onnx").write_bytes(b"no network")
    monkeypatch.setattr(sys, "argv", ["guest.py", str(tmp_path)])
    assert guest.main() == 0
    assert "Protobuf" in json.loads((tmp_path / "guest.json").read_text())["error"]


def test_the_page_says_what_agrees_and_why_there_are_no_milliseconds(root: Path) -> None:
    rows = [
        EmulatedRow("a", "int8", 0.0, True, True, 150.0, 1234.5678, "1.2", {"Conv": 2}),
        EmulatedRow("b", "int8", 0.5, False, False, 150.0, None, "1.2"),
        EmulatedRow("c", "fp32", 1e-7, False, True, 150.0, 12.0, "1.2"),
        EmulatedRow("d", "fp32", None, False, False, 150.0, 12.0, "1.2"),
        EmulatedRow("e", error="does not load"),
    ]
    content = emulation.document(rows, emulator.find("cortex-a76", root), ["device", "--emulate", "cortex-a76"])
    (root / "result.json").write_bytes(documents.dumps(content))
    content = documents.read(root / "result.json")
    assert problems(content, "bench-emulation") == []
    assert (content["cpu"], content["boards"], content["qemu"]) == ("cortex-a76", "Raspberry Pi 5", "9.9.9")
    assert (content["onnxruntime"], content["size_px"], len(content["rows"])) == ("1.2", 64, 5)
    text = emulation.section(content)
    assert text.startswith("## cortex-a76 (Raspberry Pi 5), emulated\n")
    assert "| a | int8 | bit for bit | 0 | 150 | 1,235 |" in text
    assert "| b | int8 | **no** | 0.5 | 150 | not counted |" in text
    assert "| c | fp32 | yes | 1e-07 | 150 | 12 |" in text
    assert "| d | fp32 | **no** | not finite |" in text
    assert "| e | | failed: does not load | | | |" in text
    assert "no milliseconds" in text
    assert "emulator's process" in text


def test_int8_has_the_same_integers_on_an_emulated_raspberry_pi(tmp_path: Path) -> None:
    try:
        found = emulator.find("cortex-a76")
    except EmulationError as error:
        pytest.skip(str(error))
    (path,) = (n.path for n in networks.find(["tiny"], scale=2) if n.name == "tiny-x2-int8")
    (row,) = emulation.emulate([("tiny", path)], found, size_px=24)
    assert row.error is None
    assert row.precision == "int8"
    assert row.agrees
    assert "com.microsoft:QLinearConv" in row.operators
    if found.counts:
        assert row.instructions_per_output_px is not None
        assert 100 < row.instructions_per_output_px < 10_000
