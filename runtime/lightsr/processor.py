"""The processor of this machine: what it is called, and whether it multiplies 8-bit integers fast."""

import hashlib
import platform
from dataclasses import dataclass
from pathlib import Path

SYSTEM = Path("/")
"""Where /proc and /sys are looked for."""

FEATURES = {
    "avx2": "AVX2",
    "avx512f": "AVX-512",
    "avx_vnni": "AVX-VNNI",
    "avx512_vnni": "AVX512-VNNI",
    "amx_int8": "AMX-INT8",
    "asimd": "NEON",
    "asimddp": "dotprod",
    "i8mm": "i8mm",
    "bf16": "BF16",
    "sve": "SVE",
    "sme": "SME",
}
"""Flags of /proc/cpuinfo that choose onnxruntime's kernels, and what people call them."""

INT8_FEATURES = frozenset({"AVX-VNNI", "AVX512-VNNI", "AMX-INT8", "dotprod", "i8mm"})
"""Those that multiply 8-bit integers and add the products in 32 bits, in one instruction."""

TELLING_FEATURES = ("AVX512-VNNI", "AVX-VNNI", "AVX2", "dotprod", "NEON")
"""Those that a label names, the most telling first."""

IDENTIFYING = frozenset(
    {
        *("vendor_id", "cpu family", "model", "model name", "stepping", "microcode", "flags"),
        *("CPU implementer", "CPU architecture", "CPU variant", "CPU part", "CPU revision", "Features"),
    }
)
"""Entries of /proc/cpuinfo that tell one kind of core from another, and no machine from its twin."""

MAX_CPUINFO = 64 * 1024
"""Characters of /proc/cpuinfo that are read for a fingerprint: some forty cores, since each costs the kernel time."""

ARM_CORES = {
    "0xd03": "Cortex-A53",
    "0xd04": "Cortex-A35",
    "0xd05": "Cortex-A55",
    "0xd08": "Cortex-A72",
    "0xd0b": "Cortex-A76",
    "0xd0c": "Neoverse-N1",
    "0xd40": "Neoverse-V1",
    "0xd49": "Neoverse-N2",
    "0xd4f": "Neoverse-V2",
}
"""Part numbers of Arm's own cores, as in the main ID register (MIDR_EL1)."""


@dataclass(frozen=True)
class Processor:
    """A processor, without anything that tells whose it is.

    Parameters
    ----------
    cpu : str
        Model name.
    board : str
        As a device tree names it; "" on other machines.
    architecture : str
    features : tuple of str
        Values of `FEATURES`; none where the system is not Linux and does not tell.
    """

    cpu: str
    board: str
    architecture: str
    features: tuple[str, ...]

    @property
    def name(self) -> str:
        """The board where there is one, which people know better than its processor."""
        return self.board or self.cpu

    @property
    def telling_feature(self) -> str:
        """First of `TELLING_FEATURES` that it has, or ""."""
        return next((name for name in TELLING_FEATURES if name in self.features), "")

    @property
    def label(self) -> str:
        """Name and most telling feature.

        >>> Processor("AMD EPYC", "", "x86_64", ("AVX2", "AVX-512", "AVX512-VNNI")).label
        'AMD EPYC, AVX512-VNNI'
        """
        return ", ".join(filter(None, (self.name, self.telling_feature)))

    @property
    def has_int8_products(self) -> bool:
        """Whether it has dot products of 8-bit integers, as far as the system tells.

        >>> Processor("Cortex-A72", "", "aarch64", ("NEON",)).has_int8_products
        False
        """
        return not INT8_FEATURES.isdisjoint(self.features)


def describe(*, system: Path = SYSTEM) -> Processor:
    """Look at this machine's processor.

    Parameters
    ----------
    system : Path
        Root below which /proc is found.

    Returns
    -------
    Processor
    """
    info = _cpuinfo(file_text(system / "proc/cpuinfo"))
    flags = set((info.get("flags") or info.get("Features") or "").split())
    core = ARM_CORES.get(info.get("CPU part", ""))
    return Processor(
        cpu=info.get("model name") or info.get("Model") or core or platform.processor() or "unknown",
        board=file_text(system / "proc/device-tree/model").strip("\0\n "),
        architecture=platform.machine(),
        features=tuple(name for flag, name in FEATURES.items() if flag in flags),
    )


def fingerprint(*, system: Path = SYSTEM) -> str:
    """Digest of what the machine's kinds of cores are and can do.

    Two machines of one kind have the same: serial numbers, clocks and counts are no part of it.

    Parameters
    ----------
    system : Path
        Root below which /proc is found.

    Returns
    -------
    str
        16 hexadecimal digits; "" where the system does not tell its cores' features.
    """
    try:
        with (system / "proc/cpuinfo").open(encoding="utf-8", errors="replace") as file:
            text = file.read(MAX_CPUINFO)
    except OSError:
        return ""
    entries = {(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in text.splitlines())}
    telling = sorted(entry for entry in entries if entry[0] in IDENTIFYING)
    if not any(name in ("flags", "Features") for name, _ in telling):
        return ""
    return hashlib.sha256(repr((platform.machine(), telling)).encode()).hexdigest()[:16]


def file_text(path: Path) -> str:
    """Text of a file of /proc or /sys; "" where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _cpuinfo(text: str) -> dict[str, str]:
    """First core's entries, and those at the end that a Raspberry Pi adds."""
    entries: dict[str, str] = {}
    for line in text.splitlines():
        name, _, value = line.partition(":")
        entries.setdefault(name.strip(), value.strip())
    return entries
