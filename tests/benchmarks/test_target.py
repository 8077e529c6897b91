from pathlib import Path

import pytest
from lightsr_bench import limits, target

PI_5 = """processor	: 0
BogoMIPS	: 108.00
Features	: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer	: 0x41
CPU architecture: 8
CPU part	: 0xd0b

processor	: 1
Features	: fp

Serial		: 0123456789abcdef
"""


def place(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


def test_a_raspberry_pi(tmp_path: Path) -> None:
    cpu = "sys/devices/system/cpu/cpu0"
    root = place(
        tmp_path,
        {
            "proc/cpuinfo": PI_5,
            "proc/device-tree/model": "Raspberry Pi 5 Model B Rev 1.0\0",
            f"{cpu}/cpufreq/scaling_governor": "ondemand\n",
            f"{cpu}/cache/index0/level": "1\n",
            f"{cpu}/cache/index0/type": "Data\n",
            f"{cpu}/cache/index0/size": "64K\n",
            f"{cpu}/cache/index2/level": "2\n",
            f"{cpu}/cache/index2/type": "Unified\n",
            f"{cpu}/cache/index2/size": "512K\n",
            "proc/self/cgroup": "0::/user.slice/job\n",
            "sys/fs/cgroup/user.slice/memory.max": "536870912\n",
            "sys/fs/cgroup/user.slice/job/memory.max": "max\n",
            "sys/fs/cgroup/user.slice/job/cpu.max": "150000 100000\n",
            "etc/os-release": 'NAME="Debian"\nPRETTY_NAME="Debian GNU/Linux 13 (trixie)"\n',
        },
    )
    found = target.describe(system=root)
    assert (found.cpu, found.board) == ("Cortex-A76", "Raspberry Pi 5 Model B Rev 1.0")
    assert found.features == ("NEON", "dotprod")
    assert found.caches == {"L1d": "64K", "L2": "512K"}
    assert found.governor == "ondemand"
    assert (found.memory_limit_mib, found.cpu_limit) == (512, 1.5)
    assert "trixie" in found.system
    assert found.label.startswith("Raspberry Pi 5 Model B Rev 1.0, ")
    assert "0123456789abcdef" not in repr(found)


def test_control_groups_of_version_1(tmp_path: Path) -> None:
    root = place(
        tmp_path,
        {
            "proc/cpuinfo": "model name\t: A CPU\nflags\t\t: fpu avx2 avx512_vnni\n",
            "proc/self/cgroup": "4:memory:/box/one\n2:cpu,cpuacct:/box\n0::/\n",
            "sys/fs/cgroup/memory/box/memory.limit_in_bytes": f"{300 * 2**20}\n",
            "sys/fs/cgroup/memory/box/one/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/cpu/box/cpu.cfs_quota_us": "-1\n",
        },
    )
    found = target.describe(limited="limited to 1 CPU", system=root)
    assert (found.memory_limit_mib, found.cpu_limit) == (300, None)
    assert found.features == ("AVX2", "AVX512-VNNI")
    assert found.label.startswith("A CPU, ")
    assert found.label.endswith(", AVX512-VNNI, limited to 1 CPU")


def test_this_machine() -> None:
    found = target.describe()
    assert found.cpu
    assert found.cpus >= 1
    assert found.memory_mib > 100
    assert found.onnxruntime


@pytest.mark.parametrize("text", ["", "memory", "memory=", "memory=-1M", "memory=1T", "cpus=0", "cpus=1.5", "cpus=1;"])
def test_limits_that_make_no_sense(text: str) -> None:
    with pytest.raises(limits.LimitError, match="are allowed"):
        limits.parse(text)


def test_limits() -> None:
    assert limits.parse("memory=1G") == limits.Limits(2**30, None)
    assert limits.parse("cpus=2, memory=512K") == limits.Limits(512 * 1024, 2)
    assert limits.parse("cpus=2").label == "limited to 2 CPUs"
    assert limits.Limits().label == ""
