import subprocess
import sys
from pathlib import Path

import pytest
from lightsr import processor
from lightsr.processor import Processor

X86 = "processor : 0\nmodel name\t: A CPU\nflags\t\t: fpu avx2 avx512f {}\n\nprocessor : 1\nmodel name\t: Another\n"
ARM = (
    "processor : 0\nFeatures\t: fp asimd {}\nCPU implementer\t: 0x41\nCPU part\t: {}\n\nSerial\t\t: 0123456789abcdef\n"
)


def described(root: Path, cpuinfo: str, board: str = "") -> Processor:
    (root / "proc/device-tree").mkdir(parents=True)
    (root / "proc/cpuinfo").write_text(cpuinfo)
    if board:
        (root / "proc/device-tree/model").write_text(board)
    return processor.describe(system=root)


@pytest.mark.parametrize(
    ("cpuinfo", "label", "int8"),
    [
        (X86.format("avx512_vnni"), "A CPU, AVX512-VNNI", True),
        (X86.format("avx_vnni"), "A CPU, AVX-VNNI", True),
        (X86.format("amx_int8"), "A CPU, AVX2", True),
        (X86.format(""), "A CPU, AVX2", False),
        (ARM.format("", "0xd08"), "Cortex-A72, NEON", False),
        (ARM.format("asimddp", "0xd0b"), "Cortex-A76, dotprod", True),
        (ARM.format("i8mm", "0xd4f"), "Neoverse-V2, NEON", True),
    ],
)
def test_label_and_int8_products(cpuinfo: str, label: str, int8: bool, tmp_path: Path) -> None:
    found = described(tmp_path, cpuinfo)
    assert (found.label, found.has_int8_products) == (label, int8)


def test_a_board_is_named_instead_of_its_processor(tmp_path: Path) -> None:
    found = described(tmp_path, ARM.format("asimddp", "0xd0b"), "Raspberry Pi 5 Model B Rev 1.0\0")
    assert (found.cpu, found.board) == ("Cortex-A76", "Raspberry Pi 5 Model B Rev 1.0")
    assert found.features == ("NEON", "dotprod")
    assert found.label == "Raspberry Pi 5 Model B Rev 1.0, dotprod"
    assert "0123456789abcdef" not in repr(found)


def test_a_system_that_tells_nothing(tmp_path: Path) -> None:
    found = processor.describe(system=tmp_path)
    assert found.cpu
    assert (found.board, found.features, found.has_int8_products) == ("", (), False)
    assert found.label == found.cpu


def fingerprint(root: Path, cpuinfo: str) -> str:
    (root / "proc").mkdir(parents=True)
    (root / "proc/cpuinfo").write_text(cpuinfo)
    return processor.fingerprint(system=root)


def test_twins_have_one_fingerprint_and_others_another(tmp_path: Path) -> None:
    pi = ARM.format("asimddp", "0xd0b")
    twin = pi.replace("0123456789abcdef", "fedcba9876543210") + "processor : 1\n" + pi.split("\n", 1)[1]
    texts = [pi, twin, ARM.format("", "0xd0b"), ARM.format("asimddp", "0xd08"), pi + ARM.format("", "0xd05")]
    found = [fingerprint(tmp_path / str(i), text) for i, text in enumerate(texts)]
    assert found[0] == found[1]
    assert len(set(found)) == 4
    assert all(len(digest) == 16 for digest in found)


def test_no_fingerprint_without_features(tmp_path: Path) -> None:
    assert processor.fingerprint(system=tmp_path) == ""
    assert fingerprint(tmp_path, "processor : 0\nmodel name : A CPU\n") == ""


def test_every_feature_that_decides_is_looked_for() -> None:
    assert set(processor.FEATURES.values()) >= {*processor.INT8_FEATURES, *processor.TELLING_FEATURES}


def test_nothing_but_the_standard_library_is_imported() -> None:
    script = (
        "import sys\n"
        "for name in ('numpy', 'onnxruntime', 'psutil'):\n"
        "    sys.modules[name] = None\n"
        "from lightsr import processor\n"
        "assert processor.describe().cpu\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)
