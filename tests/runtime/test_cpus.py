import os
from pathlib import Path

import pytest
from lightsr import cpus


def machine(folder: Path, groups: str, files: dict[str, str]) -> Path:
    """A root with the control groups of this process and what their files say."""
    (folder / "proc/self").mkdir(parents=True)
    (folder / "proc/self/cgroup").write_text(groups)
    for name, text in files.items():
        path = folder / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return folder


@pytest.mark.parametrize(
    ("groups", "files", "quota"),
    [
        ("0::/\n", {"cpu.max": "150000 100000\n"}, 1.5),
        ("0::/\n", {"cpu.max": "max 100000\n"}, None),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "max 100000\n"}, 2),
        ("0::/a/b\n", {"a/cpu.max": "200000 100000\n", "a/b/cpu.max": "50000 100000\n"}, 0.5),
        ("0::/a/b\n", {"other/cpu.max": "50000 100000\n"}, None),
        ("0::/../../a\n", {"cpu.max": "300000 100000\n"}, 3),
        (
            "4:cpu,cpuacct:/docker/x\n",  # the container's root is the group that the host calls so
            {"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"},
            4,
        ),
        ("4:cpu:/\n", {"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ("4:memory:/a\n0::/\n", {}, None),
        ("", {}, None),
    ],
)
def test_the_tightest_quota_counts(groups: str, files: dict[str, str], quota: float | None, tmp_path: Path) -> None:
    assert cpus.cgroup_quota(machine(tmp_path, groups, files)) == quota


@pytest.mark.parametrize(
    ("affinity", "limit", "expected"), [(8, "250000", 2), (2, "800000", 2), (4, "max", 4), (4, "50000", 1)]
)
def test_affinity_and_quota_both_hold(
    affinity: int, limit: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: set(range(affinity)), raising=False)
    root = machine(tmp_path, "0::/\n", {"cpu.max": f"{limit} 100000\n"})
    assert cpus.available_cpus(system=root) == expected


def test_this_machine() -> None:
    assert 1 <= cpus.available_cpus() <= (os.cpu_count() or 1)
