"""The aarch64 onnxruntime wheel on emulated processors: the same pictures? how many instructions?

Nothing here is timed: the emulator translates every instruction into others, so its
milliseconds say nothing about a board's.
"""

import itertools
import json
import math
import re
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from lightsr import onnxfile
from lightsr.card import ModelCard, Precision
from lightsr.errors import ModelError
from numpy.typing import NDArray

from lightsr_bench import documents, guest
from lightsr_bench.emulator import CPUS, EmulationError, Emulator
from lightsr_bench.networks import first_line

SIZE_PX = 64
"""Side of the picture whose instructions are counted."""

ODD_SIZE_PX = (37, 51)
"""Rows and columns of the second picture that is compared: no multiples of anything."""

TOLERANCE = 1e-5
"""Largest difference allowed for fp32, as a share of the data range."""

INT8_TOLERANCE = 1e-6
"""The same for int8: its integers must be equal, and float parts behind them may round otherwise.

One level of the last integer map is a thousandth of the range or more.
"""

LEVELS = 256
"""Values of the pictures that int8 networks must agree on are multiples of one part in so many."""

SEED = 0

INT8_OPERATORS = re.compile(r"QLinear|QuantizeLinear|DynamicQuantizeLinear|\w+Integer$")
"""Operators by which a network without a card is known to be int8."""

NOTES = (
    "Outputs on two pictures of noise, {size}x{size} and {odd}, are compared with those of this machine: int8 must be "
    "equal within {int8:g}, fp32 within {tolerance:g} of the output's range, which counts as 1 where it is smaller. An "
    "integer that differed would show by a thousandth; float parts behind the integers round their last bits. The "
    "pictures' values are multiples of 1/{levels}, for which the float stem of lightsr's int8 networks is exact on "
    "every processor; the largest difference in the table is also that of a third picture, of any values. Peak "
    "RSS is that of the emulator's process, its own code and translations included; a board needs less. Instructions "
    "are those that the emulated processor executes for one picture of {size}x{size} with one thread, for each output "
    "pixel. There are no milliseconds: the emulator translates every instruction into others, so its time says "
    "nothing about a board's."
)


@dataclass(frozen=True)
class EmulatedRow:
    """One network on an emulated processor, beside the same on this machine.

    Parameters
    ----------
    name : str
    precision : {"int8", "fp32"}
        As its card says; of a network without one, "int8" where it has such operators.
    max_abs_difference : float or None
        Largest difference of all outputs, that of a picture of any values included.
    identical : bool
        Whether the outputs on pictures of `LEVELS` values are equal bit for bit.
    agrees : bool
        Within `INT8_TOLERANCE` for int8, `TOLERANCE` for fp32, of the data range.
    peak_rss_mib : float or None
        Peak resident set of the emulator's process, its own code and translations included.
    instructions_per_output_px : float or None
        Executed for one picture of the counted size; None where they cannot be counted.
    onnxruntime : str
        Version that ran on the emulated processor.
    operators : dict of int
        Operators of the graph that it made of the network there, by falling number.
    error : str or None
        Why there are no figures.
    """

    name: str
    precision: Precision = "fp32"
    max_abs_difference: float | None = None
    identical: bool = False
    agrees: bool = False
    peak_rss_mib: float | None = None
    instructions_per_output_px: float | None = None
    onnxruntime: str = ""
    operators: dict[str, int] = field(default_factory=dict)
    error: str | None = None


def emulate(
    models: Iterable[tuple[str, bytes | Path]],
    emulator: Emulator,
    *,
    size_px: int = SIZE_PX,
    progress: Callable[[str], None] = lambda text: None,
) -> Iterator[EmulatedRow]:
    """Run networks here and there, each on three pictures of seeded noise in [0, 1].

    Parameters
    ----------
    models : iterable of (str, bytes or Path)
        Names, and ONNX files or their content: one float32 input (n, 1 or 3, h, w).
    emulator : Emulator
    size_px : int
        Side of the picture whose instructions are counted.
    progress : callable
        Told what is being done.

    Yields
    ------
    EmulatedRow
        With an error where a network does not run.
    """
    for name, model in models:
        progress(f"{name} on {emulator.cpu}")
        try:
            yield _emulate(name, model if isinstance(model, bytes) else model.read_bytes(), emulator, size_px)
        except (EmulationError, OSError) as error:
            yield EmulatedRow(name, error=str(error))


def _emulate(name: str, content: bytes, emulator: Emulator, size_px: int) -> EmulatedRow:
    session = _session(content)
    precision, alignment_px = _nature(content)
    sizes_px = [(size_px, size_px), ODD_SIZE_PX, ODD_SIZE_PX]
    pictures = _pictures(session.get_inputs()[0].shape[1], sizes_px, alignment_px)
    pictures[:2] = [(np.rint(picture * LEVELS) / LEVELS).astype(np.float32) for picture in pictures[:2]]
    try:
        here = [session.run(None, {session.get_inputs()[0].name: picture})[0] for picture in pictures]
    except Exception as error:  # onnxruntime's exceptions have no common public base
        raise EmulationError(f"does not run on this machine: {first_line(error)}") from error
    with tempfile.TemporaryDirectory(prefix="lightsr-") as temporary:
        folder = Path(temporary)
        (folder / "model.onnx").write_bytes(content)
        for i, picture in enumerate(pictures):
            np.save(folder / f"input-{i}.npy", picture)
        emulator.run(folder)
        result = json.loads((folder / "guest.json").read_text(encoding="ascii"))
        if "error" in result:
            raise EmulationError(f"does not run on {emulator.cpu}: {result['error']}")
        there = [np.load(folder / f"output-{i}.npy") for i in range(len(pictures))]
        counts = folder / "counts"
        instructions = least_between_marks(counts.read_text(encoding="ascii")) if counts.is_file() else None
        operators = _operators((folder / "optimised.onnx").read_bytes())
    identical, apart, _ = compare(here[:2], there[:2])
    equal = apart is not None and apart <= INT8_TOLERANCE * max(1.0, *(float(np.ptp(output)) for output in here[:2]))
    _, difference, close = compare(here, there)
    return EmulatedRow(
        name,
        precision,
        difference,
        identical,
        equal if precision == "int8" else close,
        result["peak_rss_mib"],
        instructions / (here[0].shape[-2] * here[0].shape[-1]) if instructions else None,
        result["onnxruntime"],
        operators,
    )


def _session(content: bytes) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    try:
        session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # as above
        raise EmulationError(f"does not load on this machine: {first_line(error)}") from error
    inputs = session.get_inputs()
    shape = inputs[0].shape if inputs else []
    if len(inputs) != 1 or len(shape) != 4 or shape[1] not in (1, 3) or inputs[0].type != "tensor(float)":
        found = ", ".join(f"{value.type} {value.shape}" for value in inputs)
        raise EmulationError(f"takes {found or 'nothing'}; one tensor(float) [n, 1 or 3, h, w] is needed")
    return session


def _nature(content: bytes) -> tuple[Precision, int]:
    """Precision of a network, and what the sides of its pictures must be multiples of."""
    try:
        card = ModelCard.from_metadata(onnxfile.inspect(content).metadata)
    except ModelError:  # not lightsr's
        return "int8" if any(INT8_OPERATORS.match(operator) for operator in _operators(content)) else "fp32", 1
    return card.precision, card.alignment_px


def _operators(content: bytes) -> dict[str, int]:
    import onnx

    nodes = onnx.load_model_from_string(content).graph.node
    counts = Counter(f"{node.domain}:{node.op_type}" if node.domain else node.op_type for node in nodes)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def _pictures(channels: int, sizes_px: Sequence[tuple[int, int]], alignment_px: int) -> list[NDArray[np.float32]]:
    random = np.random.default_rng(SEED)
    shapes = [(1, channels, *(-(-side // alignment_px) * alignment_px for side in size)) for size in sizes_px]
    return [random.random(shape, dtype=np.float32) for shape in shapes]


def compare(
    here: Sequence[NDArray[np.float32]], there: Sequence[NDArray[np.float32]]
) -> tuple[bool, float | None, bool]:
    """Outputs of two machines: equal bit for bit? how different? within `TOLERANCE`?

    The data range is that of the output here, at least the input's 1. There is no
    difference to tell where a value is not finite.

    >>> one = np.array([[0.0, 10.0]], dtype=np.float32)
    >>> compare([one], [one + np.float32(5e-5)])[::2]
    (False, True)

    Raises
    ------
    EmulationError
        The shapes differ.
    """
    identical, largest, close = True, 0.0, True
    for first, second in zip(here, there, strict=True):
        if first.shape != second.shape:
            raise EmulationError(f"gives {second.shape} there and {first.shape} here")
        if first.tobytes() == second.tobytes():
            continue
        identical = False
        with np.errstate(invalid="ignore"):  # infinity less infinity
            difference = float(np.max(np.abs(first.astype(np.float64) - second)))
        largest = max(largest, difference) if math.isfinite(difference) else np.inf
        close = close and math.isfinite(difference) and difference <= TOLERANCE * max(1.0, float(np.ptp(first)))
    return identical, largest if math.isfinite(largest) else None, close


def least_between_marks(counts: str) -> int:
    """Least number of instructions between two marks of `guest`, from the plugin's file.

    >>> least_between_marks("100\\n1107\\n2110\\n3116\\n")
    1003

    Raises
    ------
    EmulationError
        There are more or fewer marks than runs.
    """
    marks = [int(line) for line in counts.split()]
    if len(marks) != guest.COUNTED_RUNS + 1:
        raise EmulationError(f"{len(marks)} marks in the instruction count, {guest.COUNTED_RUNS + 1} are expected")
    return min(after - before for before, after in itertools.pairwise(marks))


def describe(rows: Iterable[EmulatedRow]) -> str:
    """Markdown table."""
    lines = [
        "| network | precision | agrees | largest difference | emulator's peak RSS MiB | instructions per output px |",
        "| --- | --- | --- | ---: | ---: | ---: |",
    ]
    for row in rows:
        if row.error is not None:
            lines.append(f"| {row.name} | | failed: {row.error} | | | |")
            continue
        verdict = "bit for bit" if row.identical else "yes" if row.agrees else "**no**"
        difference = "not finite" if row.max_abs_difference is None else f"{row.max_abs_difference:.2g}"
        memory = "" if row.peak_rss_mib is None else f"{row.peak_rss_mib:.0f}"
        count = "not counted" if row.instructions_per_output_px is None else f"{row.instructions_per_output_px:,.0f}"
        lines.append(f"| {row.name} | {row.precision} | {verdict} | {difference} | {memory} | {count} |")
    return "\n".join(lines)


def document(
    rows: Sequence[EmulatedRow],
    emulator: Emulator,
    arguments: Sequence[str],
    *,
    size_px: int = SIZE_PX,
    interrupted: bool = False,
) -> dict[str, Any]:
    """Result file of a run.

    Parameters
    ----------
    rows : sequence of EmulatedRow
    emulator : Emulator
    arguments : sequence of str
        Of the command line.
    size_px : int
    interrupted : bool
    """
    import onnxruntime

    content = {
        "cpu": emulator.cpu,
        "boards": CPUS[emulator.cpu].boards,
        "qemu": emulator.version,
        "onnxruntime": next((row.onnxruntime for row in rows if row.onnxruntime), ""),
        "onnxruntime_here": onnxruntime.__version__,
        "size_px": size_px,
        "rows": [asdict(row) for row in rows],
    }
    start = documents.new("emulation", arguments, interrupted=interrupted)
    return start | {key: documents.rounded(value) for key, value in content.items()}


def section(content: dict[str, Any]) -> str:
    """A result file as a section of a page, in Markdown.

    Raises
    ------
    KeyError, TypeError
        Not what `document` writes.
    """
    versions = f"onnxruntime {content['onnxruntime']}, qemu {content['qemu']}"
    if content["onnxruntime_here"] != content["onnxruntime"]:
        versions += f"; compared with onnxruntime {content['onnxruntime_here']}"
    rows = [EmulatedRow(**row) for row in content["rows"]]
    size_px, odd = content["size_px"], "x".join(map(str, ODD_SIZE_PX))
    parts = [
        f"## {content['cpu']} ({content['boards']}), emulated",
        f"{versions}.",
        describe(rows),
        NOTES.format(levels=LEVELS, size=size_px, odd=odd, tolerance=TOLERANCE, int8=INT8_TOLERANCE),
    ]
    if content["interrupted"]:
        parts.append("This run was interrupted; what it had measured is shown.")
    return "\n\n".join(parts)
