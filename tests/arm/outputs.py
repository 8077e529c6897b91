"""What is computed here and on an emulated processor alike.

``python -m tests.arm.outputs networks|arrays FOLDER TARGET``, with numpy, onnxruntime and lightsr only.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightsr
import numpy as np
import onnxruntime
from lightsr.card import Precision
from numpy.typing import NDArray

SEED = 0

KINDS = ("grid", "noise", "bytes", "smooth", "scan")
"""Pictures: noise in multiples of 1/256, of any values, of bytes; waves and an edge; the same as a scanner's integers.

The last two, and bytes, are mapped to [0, 1] by their range, as the runtime maps.
"""


def picture(kind: str, size_px: tuple[int, int]) -> NDArray[np.float32]:
    """One of `KINDS`, (h, w) float32 in [0, 1], always the same."""
    random = np.random.default_rng(SEED)
    rows, columns = np.mgrid[: size_px[0], : size_px[1]]
    noise = random.random(size_px, dtype=np.float32)
    disc = (rows - size_px[0] / 2) ** 2 + (columns - size_px[1] / 2) ** 2 < 200
    waves = 0.5 + 0.3 * np.sin(columns / 7) * np.cos(rows / 5) + 0.2 * disc
    values = {
        "grid": np.rint(noise * 256) / 256,
        "noise": noise,
        "bytes": np.rint(noise * 255),
        "smooth": waves,
        "scan": np.rint(waves * 3000 + random.normal(0, 8, size_px)),
    }[kind].astype(np.float32)
    if kind in ("grid", "noise"):
        return values
    return (values - values.min()) / np.ptp(values)


@dataclass(frozen=True)
class Case:
    """An array to enlarge with a bundled model.

    Parameters
    ----------
    name, scale, precision
        Of the model.
    dtype : str
    shape : tuple of int
    threads, tile : int
    """

    name: str
    scale: int
    precision: Precision
    dtype: str = "uint8"
    shape: tuple[int, ...] = (37, 51)
    threads: int = 1
    tile: int = 256

    def __str__(self) -> str:
        size = "x".join(map(str, self.shape))
        model = f"{self.name}-x{self.scale}-{self.precision}"
        return f"{model} {self.dtype} {size}, {self.threads} thread(s), tile {self.tile}"

    def array(self) -> NDArray[Any]:
        """Waves, an edge and grain, over three quarters of what the type holds; float32 in Hounsfield units."""
        values = np.asarray(picture("scan", self.shape[:2]), np.float64)
        if len(self.shape) == 3:
            values = np.stack([values, values**2, 1 - values], axis=2)
        dtype = np.dtype(self.dtype)
        if dtype.kind == "f":
            return (values * 3000 - 1000).astype(dtype)
        low, high = np.iinfo(dtype).min, np.iinfo(dtype).max
        return np.rint(low + (0.1 + 0.75 * values) * (high - low)).astype(dtype)


CASES = (
    Case("tiny", 2, "int8", "uint8"),
    Case("tiny", 2, "int8", "uint16"),
    Case("tiny", 2, "int8", "int16", threads=2),
    Case("tiny", 2, "int8", "float32"),
    Case("tiny", 2, "int8", "uint8", (20, 24, 3)),
    Case("tiny", 2, "int8", "int16", (45, 52), tile=24),
    Case("tiny", 2, "int8", "int16", (45, 52), threads=2, tile=24),
    Case("tiny", 4, "int8", "uint8"),
    Case("base", 2, "int8", "int16"),
    Case("base", 3, "int8", "uint8"),
    Case("base", 4, "int8", "uint16"),
    Case("base", 8, "int8", "uint8", (19, 22)),
    Case("tiny", 2, "fp32", "uint16", (24, 29)),
    Case("tiny", 2, "fp32", "uint16", (24, 29), threads=2),
    Case("tiny", 2, "fp32", "uint16", (24, 29), threads=2, tile=16),
    Case("tiny", 2, "fp32", "float32", (24, 29)),
    Case("tiny", 2, "fp32", "uint8", (9, 12, 3)),
    Case("tiny", 4, "fp32", "uint8", (9, 12)),
    Case("base", 2, "fp32", "int16", (9, 12)),
    Case("base", 3, "fp32", "uint8", (9, 12)),
    Case("base", 4, "fp32", "uint16", (9, 12)),
    Case("base", 8, "fp32", "uint8", (9, 12)),
)
"""Every bundled model, every type, tiles, threads, colour. fp32 is small: its cost is that of emulated floats."""


def arrays(target: Path) -> None:
    """Enlarge all `CASES`; N.npy in `target` is the result of the N-th."""
    for number, case in enumerate(CASES):
        upscaler = lightsr.load(
            case.name, scale=case.scale, precision=case.precision, threads=case.threads, tile=case.tile
        )
        if upscaler.card.precision != case.precision:
            raise SystemExit(f"{case}: failed its self-test and ran in {upscaler.card.precision}")
        np.save(target / f"{number}.npy", upscaler(case.array()))


def session(model: Path, *, level: str = "ORT_ENABLE_ALL") -> Any:
    """An onnxruntime session with one thread; `level` names a GraphOptimizationLevel."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.graph_optimization_level = getattr(onnxruntime.GraphOptimizationLevel, level)
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])


def networks(folder: Path, target: Path, *, level: str = "ORT_ENABLE_ALL") -> None:
    """Run every NAME.onnx of `folder` on NAME.npz, whose arrays are pictures (h, w) float32.

    NAME.npz in `target` has an array PICTURE/OUTPUT for each output of the network.
    """
    for model in sorted(folder.glob("*.onnx")):
        network = session(model, level=level)
        names = [output.name for output in network.get_outputs()]
        found = {}
        with np.load(model.with_suffix(".npz")) as pictures:
            for label, values in pictures.items():
                outputs = network.run(None, {"lr": values[None, None]})
                found |= {f"{label}/{name}": output for name, output in zip(names, outputs, strict=True)}
        np.savez(target / f"{model.stem}.npz", **found)


def main() -> None:
    """As the module says."""
    what, *folders = sys.argv[1:]
    folder, target = map(Path, folders)
    target.mkdir(exist_ok=True)
    if what == "networks":
        networks(folder, target)
    else:
        arrays(target)


if __name__ == "__main__":
    main()
