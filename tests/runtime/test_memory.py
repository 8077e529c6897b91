from pathlib import Path

import pytest
from lightsr import budget, memory

from .test_cpus import machine

MIB = 2**20


def with_memory(folder: Path, groups: str, files: dict[str, str], available_mib: int | None = 1000) -> Path:
    root = machine(folder, groups, files)
    if available_mib is not None:
        (root / "proc/meminfo").write_text(f"MemTotal: 9999999 kB\nMemAvailable: {1024 * available_mib} kB\n")
    return root


@pytest.mark.parametrize(
    ("groups", "files", "left_mib"),
    [
        ("", {}, 1000),
        ("0::/\n", {"memory.max": "max\n"}, 1000),
        ("0::/\n", {"memory.max": f"{512 * MIB}\n", "memory.current": f"{112 * MIB}\n"}, 400),
        ("0::/\n", {"memory.max": f"{2000 * MIB}\n", "memory.current": "0\n"}, 1000),
        ("0::/\n", {"memory.max": "max\n", "memory.high": f"{300 * MIB}\n", "memory.current": "0\n"}, 300),
        ("0::/a/b\n", {"a/memory.max": f"{256 * MIB}\n", "a/b/memory.max": f"{512 * MIB}\n"}, 256),
        (
            "0::/\n",  # files that are cached can be dropped
            {
                "memory.max": f"{512 * MIB}\n",
                "memory.current": f"{500 * MIB}\n",
                "memory.stat": f"anon 5\ninactive_file {200 * MIB}\nslab_reclaimable 7\n",
            },
            212,
        ),
        (
            "7:memory:/docker/x\n",
            {"memory/memory.limit_in_bytes": f"{256 * MIB}\n", "memory/memory.usage_in_bytes": f"{56 * MIB}\n"},
            200,
        ),
        ("7:memory:/\n", {"memory/memory.limit_in_bytes": f"{2**63 - 4096}\n"}, 1000),
        ("7:cpu:/a\n", {"memory/memory.limit_in_bytes": f"{256 * MIB}\n"}, 1000),
        ("0::/\n", {"memory.max": f"{100 * MIB}\n", "memory.current": f"{120 * MIB}\n"}, 0),
    ],
)
def test_the_tightest_limit_counts(groups: str, files: dict[str, str], left_mib: int, tmp_path: Path) -> None:
    assert memory.available_bytes(with_memory(tmp_path, groups, files)) == left_mib * MIB


def test_without_proc_the_whole_machine_counts(tmp_path: Path) -> None:
    found = memory.available_bytes(with_memory(tmp_path, "", {}, None))
    assert found is None or found > 100 * MIB


def test_this_machine() -> None:
    found = memory.available_bytes()
    assert found is None or 0 < found < 2**50


@pytest.mark.parametrize(
    ("available_mib", "expected_mib"), [(8000, 2000), (768, 192), (767, 192), (100, 192), (None, None)]
)
def test_by_default_a_quarter_is_taken(
    available_mib: int | None, expected_mib: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    available = None if available_mib is None else available_mib * MIB
    monkeypatch.setattr(budget, "available_bytes", lambda: available)
    assert budget.default_limit() == (None if expected_mib is None else expected_mib * MIB)
