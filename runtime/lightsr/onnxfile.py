"""What an ONNX file holds, read from its bytes before onnxruntime sees them.

A model may come from anywhere. This reads just enough of the protobuf wire format
to refuse external data, foreign operators and functions, and to find the card,
without the onnx package.

References
----------
onnx.proto3 of ONNX 1.x (field numbers); the Protocol Buffers encoding guide.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from lightsr.errors import ModelError

STANDARD_DOMAINS = frozenset({"", "ai.onnx"})
"""Operator domains that a lightsr model may use: the standard's own, nothing else."""

MAX_SUBGRAPH_DEPTH = 4
"""Levels of nested graphs that are followed."""

MAX_TENSOR_VALUES = 2**40
"""Far more than a file of any size that is read could hold."""

KERNEL_AXES = 4
"""Axes of a convolution's weights: channels out, channels in, rows, columns."""

# Field numbers of onnx.proto3.
_MODEL_GRAPH, _MODEL_OPSET, _MODEL_METADATA, _MODEL_FUNCTIONS = 7, 8, 14, 25
_GRAPH_NODE, _GRAPH_INITIALIZER, _GRAPH_SPARSE = 1, 5, 15
_NODE_OPERATOR, _NODE_ATTRIBUTE, _NODE_DOMAIN = 4, 5, 7
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_TENSORS, _ATTRIBUTE_GRAPHS = 5, 6, 10, 11
_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES = 22, 23
_TENSOR_DIMS, _TENSOR_EXTERNAL, _TENSOR_LOCATION = 1, 13, 14
_OPSET_DOMAIN, _OPSET_VERSION = 1, 2
_ENTRY_KEY, _ENTRY_VALUE = 1, 2


@dataclass(frozen=True)
class OnnxSummary:
    """What the bytes of an ONNX file say.

    Parameters
    ----------
    opset : int
        Version of the standard operators, 0 where the file names none.
    metadata : dict of str
        The file's ``metadata_props``.
    operators : dict of int
        How often each operator occurs.
    stored_values : int
        Numbers in the initialisers.
    channels : int
        Maps that all convolutions together compute.
    """

    opset: int
    metadata: dict[str, str]
    operators: dict[str, int]
    stored_values: int
    channels: int


def inspect(content: bytes) -> OnnxSummary:
    """Read and check an ONNX file.

    Parameters
    ----------
    content : bytes
        The whole file.

    Returns
    -------
    OnnxSummary

    Raises
    ------
    ModelError
        Not an ONNX file, or one with external data, functions, sparse tensors or
        operators outside the standard.
    """
    scan = _Scan()
    try:
        scan.model(memoryview(content))
    except (IndexError, ValueError, UnicodeDecodeError) as error:
        raise ModelError("not an ONNX file, or a damaged one") from error
    if not scan.operators:
        raise ModelError("not an ONNX file, or one without a network")
    return OnnxSummary(scan.opset, scan.metadata, scan.operators, scan.stored_values, scan.channels)


class _Scan:
    def __init__(self) -> None:
        self.opset = 0
        self.metadata: dict[str, str] = {}
        self.operators: dict[str, int] = {}
        self.stored_values = 0
        self.channels = 0

    def model(self, message: memoryview) -> None:
        for number, value in _fields(message):
            if number == _MODEL_FUNCTIONS:
                raise ModelError("holds functions of its own; only standard operators are allowed")
            if number == _MODEL_GRAPH:
                self.graph(_message(value), 0)
            elif number == _MODEL_OPSET:
                entry = dict(_fields(_message(value)))
                domain = _text(entry.get(_OPSET_DOMAIN, memoryview(b"")))
                _check_domain(domain)
                version = entry.get(_OPSET_VERSION, 0)
                self.opset = version if isinstance(version, int) else 0
            elif number == _MODEL_METADATA:
                entry = dict(_fields(_message(value)))
                self.metadata[_text(entry[_ENTRY_KEY]) if _ENTRY_KEY in entry else ""] = _text(
                    entry.get(_ENTRY_VALUE, memoryview(b""))
                )

    def graph(self, message: memoryview, depth: int) -> None:
        if depth > MAX_SUBGRAPH_DEPTH:
            raise ModelError("nests graphs too deeply")
        for number, value in _fields(message):
            if number == _GRAPH_NODE:
                self.node(_message(value), depth)
            elif number == _GRAPH_INITIALIZER:
                self.tensor(_message(value))
            elif number == _GRAPH_SPARSE:
                raise ModelError("holds sparse tensors; they are not allowed")

    def node(self, message: memoryview, depth: int) -> None:
        operator = ""
        for number, value in _fields(message):
            if number == _NODE_OPERATOR:
                operator = _text(value)
            elif number == _NODE_DOMAIN:
                _check_domain(_text(value))
            elif number == _NODE_ATTRIBUTE:
                self.attribute(_message(value), depth)
        self.operators[operator] = self.operators.get(operator, 0) + 1

    def attribute(self, message: memoryview, depth: int) -> None:
        for number, value in _fields(message):
            if number in (_ATTRIBUTE_TENSOR, _ATTRIBUTE_TENSORS):
                self.tensor(_message(value))
            elif number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
                self.graph(_message(value), depth + 1)
            elif number in (_ATTRIBUTE_SPARSE, _ATTRIBUTE_SPARSES):
                raise ModelError("holds sparse tensors; they are not allowed")

    def tensor(self, message: memoryview) -> None:
        count = 1
        shape: list[int] = []
        for number, value in _fields(message):
            if number == _TENSOR_EXTERNAL or (number == _TENSOR_LOCATION and value != 0):
                raise ModelError("keeps weights in other files (external data); one file is allowed")
            if number == _TENSOR_DIMS:
                sizes = [value] if isinstance(value, int) else list(_varints(value))
                shape += sizes
                for size in sizes:
                    count *= size
                    if count > MAX_TENSOR_VALUES:
                        raise ModelError("holds a tensor of impossible size")
        self.stored_values += count
        if len(shape) == KERNEL_AXES:
            self.channels += shape[0]


def _check_domain(domain: str) -> None:
    if domain not in STANDARD_DOMAINS:
        raise ModelError(f"uses operators of the domain '{domain[:40]}'; only standard operators are allowed")


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Fields of a message as (number, value): an int, or the bytes of a longer value."""
    position = 0
    while position < len(message):
        key, position = _varint(message, position)
        number, wire = key >> 3, key & 7
        if wire == 0:
            value, position = _varint(message, position)
            yield number, value
            continue
        if wire == 2:
            length, position = _varint(message, position)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if position + length > len(message):
            raise ValueError("a field is longer than its message")
        yield number, message[position : position + length]
        position += length


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    result = 0
    for shift in range(0, 70, 7):
        byte = message[position]
        position += 1
        result |= (byte & 0x7F) << shift
        if byte < 0x80:
            return result, position
    raise ValueError("a number of more than ten bytes")


def _varints(message: memoryview) -> Iterator[int]:
    position = 0
    while position < len(message):
        value, position = _varint(message, position)
        yield value


def _message(value: int | memoryview) -> memoryview:
    if isinstance(value, int):
        raise ValueError("a number where a message is expected")
    return value


def _text(value: int | memoryview) -> str:
    return bytes(_message(value)).decode("utf-8")
