"""Emulated processors: what they are, and qemu's user-mode emulation of them.

It needs a folder that ``benchmarks/arm64-root.sh`` prepared: an arm64 Python with the
aarch64 wheels of onnxruntime and numpy, and the plugin that counts instructions.
"""

import os
import re
import shlex
import shutil
import signal
import subprocess
from dataclasses import dataclass
from pathlib import Path

from lightsr.errors import LightsrError

from lightsr_bench import guest

ROOT_VARIABLE = "LIGHTSR_ARM_ROOT"
"""Environment variable that names the prepared folder."""

ROOT_FORMAT = "1"
"""Version of the folder's layout that arm64-root.sh writes."""

CORES = 4
"""Cores that an emulated processor claims to have, as the boards do."""

TIMEOUT_S = 1800.0
"""After which a guest counts as failed."""

PACKAGES, TEST_PACKAGES = "packages", "tests"
"""Folders of aarch64 wheels: what a network needs, and what the runtime's tests need besides."""

SYSTEM_FOLDERS = ("lib", "usr")
"""Folders of the prepared system that a guest sees; the rest of its world is this machine's."""


class EmulationError(LightsrError):
    """Something that emulation needs is missing, or a network does not run in it."""


@dataclass(frozen=True)
class Cpu:
    """A processor that can be emulated.

    Parameters
    ----------
    features : str
        As its /proc/cpuinfo lists them. A processor without `asimddp` must not list it:
        onnxruntime would use instructions that the emulated one lacks.
    part, variant, revision : int
        Of Arm's own cores, as in the main ID register (MIDR_EL1).
    boards : str
        What it stands for.
    """

    features: str
    part: int
    variant: int
    revision: int
    boards: str

    def cpuinfo(self) -> str:
        """/proc/cpuinfo of a machine with `CORES` of these."""
        return "\n".join(
            f"processor\t: {i}\nBogoMIPS\t: 108.00\nFeatures\t: {self.features}\nCPU implementer\t: 0x41\n"
            f"CPU architecture: 8\nCPU variant\t: {self.variant:#x}\nCPU part\t: {self.part:#x}\n"
            f"CPU revision\t: {self.revision}\n"
            for i in range(CORES)
        )


_ARMV8_2 = "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm"

CPUS = {
    "cortex-a53": Cpu("fp asimd evtstrm crc32 cpuid", 0xD03, 0, 4, "Raspberry Pi 3, Zero 2 W"),
    "cortex-a72": Cpu("fp asimd evtstrm crc32 cpuid", 0xD08, 0, 3, "Raspberry Pi 4"),
    "cortex-a76": Cpu(f"{_ARMV8_2} lrcpc dcpop asimddp", 0xD0B, 4, 1, "Raspberry Pi 5"),
    "neoverse-v1": Cpu(
        f"{_ARMV8_2} jscvt fcma lrcpc dcpop sha3 sm3 sm4 asimddp sha512 sve asimdfhm dit uscat ilrcpc flagm "
        "dcpodp svei8mm svebf16 i8mm bf16",
        0xD40,
        1,
        1,
        "AWS Graviton3",
    ),
}
"""Processors by the name that ``--emulate`` and qemu's ``-cpu`` take; a qemu may lack the newest."""


@dataclass(frozen=True)
class Emulator:
    """A processor, and what emulates it.

    Parameters
    ----------
    cpu : str
        Key of `CPUS`.
    qemu : Path
    version : str
        Of qemu.
    root : Path
        Folder prepared by arm64-root.sh.
    counts : bool
        Whether it counts instructions: needs a qemu that takes plugins.
    """

    cpu: str
    qemu: Path
    version: str
    root: Path
    counts: bool

    def run(self, folder: Path) -> None:
        """Run `guest.main` on `folder`; with `counts` the counts are in its file ``counts``.

        Raises
        ------
        EmulationError
            The guest crashed, or took too long.
        """
        world = folder / "world"
        self._make(world)
        plugin = ["-plugin", f"{self.root / 'instructions.so'},out={folder / 'counts'}"] if self.counts else []
        python = [str(self.root / "system/usr/bin/python3"), "-sP", str(Path(guest.__file__).resolve())]
        # No random bytes and no random name of a folder reach the guest: they would change its count.
        command = [str(self.qemu), "-L", str(world), "-cpu", self.cpu, "-seed", "0", *plugin, *python, "."]
        environment = {
            "PYTHONPATH": str(self.root / PACKAGES),
            "PYTHONHASHSEED": "0",
            "ORT_DISABLE_TELEMETRY": "1",
            "OPENBLAS_NUM_THREADS": "1",
            "LC_ALL": "C.UTF-8",
        }
        try:
            done = subprocess.run(
                command,
                cwd=folder,  # where a crash may leave a core file
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                encoding="utf-8",
                errors="replace",
                timeout=TIMEOUT_S,
            )
        except subprocess.TimeoutExpired as error:
            raise EmulationError(f"not done after {TIMEOUT_S:.0f} s on {self.cpu}") from error
        if done.returncode < 0:
            raise EmulationError(f"stopped by {signal.Signals(-done.returncode).name} on {self.cpu}")
        if done.returncode:
            last = done.stderr.strip().splitlines()[-1:] or ["no message"]
            raise EmulationError(f"ended with status {done.returncode} on {self.cpu}: {last[0][:160]}")

    def environment(self, folder: Path) -> Path:
        """Make a virtual environment of the emulated Python in `folder`, new or made before.

        Its interpreter is a script for this machine's shell, which starts the emulator, and
        which the emulated Python takes for its own program. What that starts by
        ``sys.executable``, with whatever options, is therefore emulated too, and nothing has
        to be registered with the kernel (binfmt_misc), which only root can.

        Returns
        -------
        Path
            Of the interpreter.
        """
        folder = folder.resolve()
        self._make(folder / "world")
        program = self.root / "system/usr/bin/python3"
        command = shlex.join([str(self.qemu), "-L", str(folder / "world"), "-cpu", self.cpu])
        version = program.resolve().name  # python3.11: what its folder of packages is called
        interpreter = folder / "bin/python"
        for path, text in {
            interpreter: f'#!/bin/sh\nexec {command} -0 "$0" {shlex.quote(str(program))} "$@"\n',
            folder / "pyvenv.cfg": f"home = {program.parent}\ninclude-system-site-packages = false\n",
            folder / "lib" / version / "site-packages/arm.pth": "".join(
                f"{self.root / name}\n" for name in (PACKAGES, TEST_PACKAGES)
            ),
        }.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        interpreter.chmod(0o755)
        return interpreter

    def _make(self, world: Path) -> None:
        """Make the folder in which qemu looks before it lets the guest see this machine's files.

        onnxruntime reads the processor's features from /proc/cpuinfo, and qemu would show
        this machine's.
        """
        for path, text in {
            "proc/cpuinfo": CPUS[self.cpu].cpuinfo(),
            "sys/devices/system/cpu/possible": f"0-{CORES - 1}\n",
            "sys/devices/system/cpu/present": f"0-{CORES - 1}\n",
        }.items():
            (world / path).parent.mkdir(parents=True, exist_ok=True)
            (world / path).write_text(text, encoding="ascii")
        for name in SYSTEM_FOLDERS:
            (world / name).unlink(missing_ok=True)
            (world / name).symlink_to(self.root / "system" / name)


def find(cpu: str, root: Path | None = None) -> Emulator:
    """Emulator of a processor.

    Parameters
    ----------
    cpu : str
        Key of `CPUS`.
    root : Path, optional
        Prepared folder; the one that `ROOT_VARIABLE` names by default.

    Raises
    ------
    EmulationError
        Something is missing; the message says what, and the command that gets it.
    """
    if cpu not in CPUS:
        raise EmulationError(f"'{cpu}': cannot be emulated; {', '.join(CPUS)} can")
    if root is None and not os.environ.get(ROOT_VARIABLE):
        raise EmulationError(
            f"no Arm system: {ROOT_VARIABLE} is not set; run, in lightsr's source: "
            f"bash benchmarks/arm64-root.sh DIR && export {ROOT_VARIABLE}=DIR"
        )
    qemu = shutil.which("qemu-aarch64") or shutil.which("qemu-aarch64-static")
    if qemu is None:
        raise EmulationError("qemu-aarch64, which runs Arm programs here, is missing; run: apt-get install qemu-user")
    root = (root or Path(os.environ[ROOT_VARIABLE])).resolve()
    prepare = f"run, in lightsr's source: bash benchmarks/arm64-root.sh {root}"
    ready = root / "ready"
    if not ready.is_file() or ready.read_text(encoding="ascii", errors="replace").strip() != ROOT_FORMAT:
        raise EmulationError(f"{root}: holds no Arm system, an unfinished one, or one of another version; {prepare}")
    if not (root / PACKAGES / "onnxruntime").is_dir():
        raise EmulationError(f"{root}: the aarch64 wheels of onnxruntime are missing; {prepare}")
    version = _ask(qemu, "--version")
    if cpu not in _ask(qemu, "-cpu", "help").split():
        raise EmulationError(f"'{cpu}': unknown to {version[:40].strip()}...; a newer qemu is needed")
    counts = (root / "instructions.so").is_file() and "-plugin" in _ask(qemu, "--help").split()
    number = re.search(r"version (\S+)", version)
    return Emulator(cpu, Path(qemu), number[1] if number else "unknown", root, counts)


def _ask(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout
