"""What runs on the emulated processor: one network on given inputs, then a few counted runs.

`python guest.py FOLDER`, with numpy, onnxruntime and the standard library only. FOLDER holds
``model.onnx`` and ``input-N.npy``; what comes out is ``output-N.npy``, ``optimised.onnx`` and
``guest.json``.
"""

import gc
import json
import os
import sys
from pathlib import Path
from typing import Any

COUNTED_RUNS = 3
"""Runs on the first input between marks; the least counts."""


def run(folder: Path) -> dict[str, Any]:
    """Run the network in `folder`; returns what is known besides its outputs."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.optimized_model_filepath = str(folder / "optimised.onnx")
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    inputs = [np.load(path) for path in sorted(folder.glob("input-*.npy"))]
    for i, values in enumerate(inputs):
        np.save(folder / f"output-{i}.npy", session.run(None, {name: values})[0])
    gc.disable()  # it would run at arbitrary moments
    for _ in range(COUNTED_RUNS):
        _mark()
        session.run(None, {name: inputs[0]})
    _mark()
    return {"onnxruntime": onnxruntime.__version__, "peak_rss_mib": _peak_rss_mib()}


def _mark() -> None:
    """Make the plugin note its count (instructions.c)."""
    os.getsid(0)


def _peak_rss_mib() -> float:
    """High-water mark of the emulator's own process: the emulator passes the file through."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) / 1024
    return 0.0


def main() -> int:
    """Run the network in the folder that the command line names."""
    folder = Path(sys.argv[1])
    try:
        result = run(folder)
    except Exception as error:  # whatever it is, the caller shows it
        result = {"error": (str(error).strip() or type(error).__name__).splitlines()[0][:160]}
    (folder / "guest.json").write_text(json.dumps(result), encoding="ascii")
    return 0


if __name__ == "__main__":
    sys.exit(main())
