"""What a model costs: parameters, multiply-adds, operators, and the time of each kernel on this processor.

Times are those of one onnxruntime thread. Models are given as a path, bytes or a
`ModelProto`, and have one input unless more are named.
"""

import json
import os
import re
import statistics
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from lightsr_export.errors import ExportError

ModelSource = str | os.PathLike[str] | bytes | onnx.ModelProto

WEIGHED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})
"""Operators whose multiply-adds are counted; the others have hardly any."""

QUANTISATION = frozenset({"QuantizeLinear", "DequantizeLinear"})

FLOAT_CONVOLUTIONS = frozenset({"Conv", "FusedConv", "NhwcFusedConv"})
"""What onnxruntime calls its float convolutions, blocked by channels or not."""

WARM_UP_RUNS = 3
"""Runs that are not timed: they take memory and fill caches."""

GEMM_SIDE = 768
"""Side of the matrices that tell the peak: large enough to hide everything but the products."""


@dataclass(frozen=True)
class Kernel:
    """An operator of the graph that onnxruntime made of a model, and its time.

    Parameters
    ----------
    operator : str
        Type, without its domain.
    name : str
        Of the node in that graph.
    count : int
        Times it was timed.
    mean_ms : float
        Of one time.
    share : float
        Of the time of all kernels.
    macs : int
        Multiply-adds of one time, without those on channels that only fill up a block;
        0 for operators that are not weighed, or that fusions renamed beyond recognition.
    """

    operator: str
    name: str
    count: int
    mean_ms: float
    share: float
    macs: int


@dataclass(frozen=True)
class Paired:
    """Latencies of models that took turns.

    Parameters
    ----------
    rounds_ms : dict of tuple of float
        By model, one run of each in every round.
    """

    rounds_ms: dict[str, tuple[float, ...]]

    @property
    def minimum_ms(self) -> dict[str, float]:
        """Fastest run of each model."""
        return {name: min(runs) for name, runs in self.rounds_ms.items()}

    @property
    def median_ms(self) -> dict[str, float]:
        """Median run of each model."""
        return {name: statistics.median(runs) for name, runs in self.rounds_ms.items()}

    def ratio(self, first: str, second: str) -> float:
        """Median over the rounds of the first model's time divided by the second's.

        What slows the machine down for a while slows both, and cancels.

        >>> Paired({"fp32": (6.0, 9.0, 30.0), "int8": (2.0, 3.0, 15.0)}).ratio("fp32", "int8")
        3.0
        """
        pairs = zip(self.rounds_ms[first], self.rounds_ms[second], strict=True)
        return statistics.median(numerator / denominator for numerator, denominator in pairs)


def parameters(model: ModelSource) -> int:
    """Numbers in weights, biases and slopes: in constants that something computes with.

    Shapes, scales and zero points do not count.
    """
    graph = _proto(model).graph
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            constants[node.output[0]] = numpy_helper.to_array(node.attribute[0].t)
    of_quantisation = {name for node in graph.node if node.op_type in QUANTISATION for name in node.input[1:]}
    used = {name for node in graph.node for name in node.input} - of_quantisation
    return sum(
        value.size for name, value in constants.items() if name in used and value.ndim and value.dtype != np.int64
    )


def multiply_adds(model: ModelSource, lr: NDArray[np.float32]) -> dict[str, int]:
    """Multiply-adds of every convolution and matrix product of the graph as it is written.

    The shapes are those of a real run: shape inference gives up on some published graphs.

    Parameters
    ----------
    model : path, bytes or ModelProto
    lr : (n, c, h, w) float32

    Returns
    -------
    dict of int
        By the value that the operator gives.
    """
    proto = _copy(model)
    weighed = {node.output[0]: node for node in proto.graph.node if node.op_type in WEIGHED}
    for value, node in weighed.items():
        node.name = value
    found = {}
    for event in _kernel_events(proto, lr, runs=1, warm_up=0, as_written=True):
        name, detail = _kernel_name(event), event["args"]
        if name in weighed and weighed[name].op_type == detail["op_name"]:
            first, second, result = (
                tuple(next(iter(entry.values())))
                for entry in (*detail["input_type_shape"][:2], detail["output_type_shape"][0])
            )
            found[name] = _products(weighed[name], first, second, result)
    return found


def macs_per_output_px(model: ModelSource, lr: NDArray[np.float32], scale: int) -> float:
    """`multiply_adds` of all operators together, for `lr` of shape (n, c, h, w), per pixel of the result."""
    return sum(multiply_adds(model, lr).values()) / (scale**2 * lr.size)


def optimised_operators(model: ModelSource) -> dict[str, int]:
    """Operators of the graph that onnxruntime runs here, with their domain, by falling number.

    Raises
    ------
    ExportError
        onnxruntime cannot load the model, or write its graph into the folder for temporary files.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "optimised.onnx")
        try:
            _session(model, write_to=path)
            graph = onnx.load(path).graph
        except Exception as error:  # onnxruntime's and protobuf's exceptions have no common public base
            raise _unreadable(folder) from error
    counts = Counter(f"{node.domain}:{node.op_type}" if node.domain else node.op_type for node in graph.node)
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def kernels(model: ModelSource, lr: NDArray[np.float32], *, runs: int = 20) -> list[Kernel]:
    """Time every kernel with onnxruntime's own profiler.

    Parameters
    ----------
    model : path, bytes or ModelProto
    lr : (n, c, h, w) float32
    runs : int
        After the warm-up.

    Returns
    -------
    list of Kernel
        By falling share of the time.
    """
    proto = _copy(model)
    nodes: dict[str, onnx.NodeProto] = {}
    for node in proto.graph.node:
        if not node.name or node.name in nodes:
            node.name = node.output[0]
        nodes[node.name] = node
    producers = {value: node for node in proto.graph.node for value in node.output}
    macs = multiply_adds(proto, lr)
    times: dict[tuple[str, str], list[float]] = {}
    for event in _kernel_events(proto, lr, runs=runs, warm_up=WARM_UP_RUNS):
        times.setdefault((event["args"]["op_name"], _kernel_name(event)), []).append(event["dur"] / 1000)
    total = sum(map(sum, times.values())) or 1.0
    found = []
    for (operator, name), values in times.items():
        weighed = any(kind in operator for kind in WEIGHED)  # QLinearConv, FusedGemm, MatMulInteger, ...
        work = macs.get(_origin(name, nodes, producers), 0) if weighed else 0
        found.append(Kernel(operator, name, len(values), statistics.mean(values), sum(values) / total, work))
    return sorted(found, key=lambda kernel: -kernel.share)


def convolution_rate(kernels: Iterable[Kernel], *, operators: frozenset[str] = FLOAT_CONVOLUTIONS) -> float:
    """Multiply-adds per second that the convolutions among kernels with known work reach together.

    >>> convolution_rate([Kernel("Conv", "stem", 20, 2.0, 1.0, 4_000_000)])
    2000000000.0

    Raises
    ------
    ExportError
        None of these operators is among them, or they took no measurable time.
    """
    chosen = [kernel for kernel in kernels if kernel.operator in operators and kernel.macs]
    total_ms = sum(kernel.count * kernel.mean_ms for kernel in chosen)
    if not total_ms:
        wanted = " or ".join(sorted(operators))
        raise ExportError(f"no {wanted} among the kernels took any time; profile a model that has one")
    return 1000 * sum(kernel.count * kernel.macs for kernel in chosen) / total_ms


def paired_latency(
    models: Mapping[str, ModelSource],
    lr: NDArray[np.float32],
    *,
    more: Mapping[str, Mapping[str, NDArray[np.float32]]] | None = None,
    rounds: int = 30,
    warm_up: int = WARM_UP_RUNS,
) -> Paired:
    """Time models that take turns in one process, so that all see the same machine.

    Parameters
    ----------
    models : mapping of path, bytes or ModelProto
        By the name that results have.
    lr : (n, c, h, w) float32
        The first input of all.
    more : mapping of mapping of ndarray, any shape, optional
        Further inputs, by model and name, of those that have some.
    rounds : int
        Timed runs of each.
    warm_up : int
        Runs of each before.
    """
    sessions = {name: _session(model) for name, model in models.items()}
    further = more or {}
    runs = {
        name: partial(s.run, None, {s.get_inputs()[0].name: lr, **further.get(name, {})})
        for name, s in sessions.items()
    }
    rounds_ms: dict[str, list[float]] = {name: [] for name in runs}
    for number in range(warm_up + rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            if number >= warm_up:
                rounds_ms[name].append(1000 * (time.perf_counter() - start))
    return Paired({name: tuple(values) for name, values in rounds_ms.items()})


def gemm_peak(*, side: int = GEMM_SIDE, runs: int = 10) -> float:
    """Float32 multiply-adds per second of a square matrix product: the most a convolution can hope for."""
    matrix = np.random.default_rng(0).standard_normal((side, side), dtype=np.float32)
    graph = helper.make_graph(
        [helper.make_node("MatMul", ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.FLOAT, [side, side])],
        [helper.make_tensor_value_info("c", TensorProto.FLOAT, [side, side])],
        [numpy_helper.from_array(matrix, "b")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    fastest_ms = paired_latency({"product": model}, matrix, rounds=runs).minimum_ms["product"]
    return 1000 * side**3 / fastest_ms


def _proto(model: ModelSource) -> onnx.ModelProto:
    if isinstance(model, onnx.ModelProto):
        return model
    return onnx.load_from_string(model) if isinstance(model, bytes) else onnx.load(model)


def _copy(model: ModelSource) -> onnx.ModelProto:
    copy = onnx.ModelProto()
    copy.CopyFrom(_proto(model))
    return copy


def _session(
    model: ModelSource, *, write_to: Path | None = None, profile_to: Path | None = None, as_written: bool = False
) -> Any:
    """Session of one thread that does not spin; with its optimised graph, or its profile, written to a file."""
    import onnxruntime  # only after lightsr, which keeps it from reporting to its maker

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if write_to:
        options.optimized_model_filepath = str(write_to)
    if profile_to:
        options.enable_profiling = True
        options.profile_file_prefix = str(profile_to)
    if as_written:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        # The profile lacks the shapes of weights that were packed.
        options.add_session_config_entry("session.disable_prepacking", "1")
    content = model.SerializeToString() if isinstance(model, onnx.ModelProto) else model
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def _kernel_events(
    model: ModelSource, lr: NDArray[np.float32], *, runs: int, warm_up: int, as_written: bool = False
) -> list[dict[str, Any]]:
    """The profiler's events of kernels, without those of the first `warm_up` runs."""
    with tempfile.TemporaryDirectory() as folder:
        session = _session(model, profile_to=Path(folder, "profile"), as_written=as_written)
        feed = {session.get_inputs()[0].name: lr}
        for _ in range(warm_up + runs):
            session.run(None, feed)
        try:
            events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise _unreadable(folder) from error
    start = sorted(event["ts"] for event in events if event["name"] == "model_run")[warm_up]
    timed = (event for event in events if event["cat"] == "Node" and event["name"].endswith("_kernel_time"))
    return [event for event in timed if event["ts"] >= start]


def _unreadable(folder: str) -> ExportError:
    place = Path(folder).parent
    return ExportError(f"{place}: what onnxruntime writes there cannot be read back; it needs some free space there")


def _kernel_name(event: dict[str, Any]) -> str:
    return str(event["name"]).removesuffix("_kernel_time")


def _origin(kernel: str, nodes: Mapping[str, onnx.NodeProto], producers: Mapping[str, onnx.NodeProto]) -> str:
    """Value of the weighed operator that a kernel stands for; "" where the names do not tell.

    A kernel blocked by channels is named after the value that it gives, possibly that of an
    activation fused into it; all others keep the name of their node, with an addition.
    """
    if blocked := re.fullmatch(r"(.+)_nchwc(_token_\d+)?", kernel):
        values = [blocked[1]]
    else:
        node = nodes.get(kernel) or nodes.get(re.sub(r"^fused |(_token_\d+|/MatMulAddFusion)+$", "", kernel))
        values = list(node.output) if node else []
    for value in values:  # grows by what each is made of, so that the nearest come first
        if maker := producers.get(value):
            if maker.op_type in WEIGHED:
                return str(maker.output[0])
            values += [name for name in maker.input if name not in values]
    return ""


def _products(node: onnx.NodeProto, first: tuple[int, ...], second: tuple[int, ...], result: tuple[int, ...]) -> int:
    """Multiply-adds of an operator from the shapes of its inputs and of what it gives."""
    if node.op_type == "Conv":  # weight: out, in / groups, kernel
        return int(np.prod(result) * np.prod(second[1:]))
    if node.op_type == "ConvTranspose":  # weight: in, out / groups, kernel
        return int(np.prod(first) * np.prod(second[1:]))
    transposed = any(attribute.name == "transA" and attribute.i for attribute in node.attribute)
    return int(np.prod(result) * first[-2 if transposed else -1])
