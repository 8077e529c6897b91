import time
from importlib import resources

import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lightsr import onnxfile
from lightsr.errors import ModelError
from onnx import TensorProto, helper


def a_model() -> bytes:
    return (resources.files("lightsr") / "models" / "tiny-x2-int8.onnx").read_bytes()


def tiny_graph(**node: str) -> onnx.ModelProto:
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1]) for name in ("lr", "sr")]
    graph = helper.make_graph([helper.make_node("Relu", ["lr"], ["sr"], **node)], "g", values[:1], values[1:])
    return helper.make_model(graph)


def test_says_what_the_onnx_package_says() -> None:
    model = onnx.load_from_string(a_model())
    summary = onnxfile.inspect(a_model())
    assert summary.opset == model.opset_import[0].version
    assert summary.metadata == {entry.key: entry.value for entry in model.metadata_props}
    assert sum(summary.operators.values()) == len(model.graph.node)
    stored = sum(onnx.numpy_helper.to_array(tensor).size for tensor in model.graph.initializer)
    assert summary.stored_values == stored
    assert summary.channels == sum(tensor.dims[0] for tensor in model.graph.initializer if len(tensor.dims) == 4)


def test_foreign_operators_are_refused() -> None:
    with pytest.raises(ModelError, match="domain 'evil.example'"):
        onnxfile.inspect(tiny_graph(domain="evil.example").SerializeToString())


def test_foreign_operators_in_a_subgraph_are_refused() -> None:
    inner = tiny_graph(domain="com.microsoft").graph
    condition = helper.make_tensor_value_info("c", TensorProto.BOOL, [])
    node = helper.make_node("If", ["c"], ["sr"], then_branch=inner, else_branch=inner)
    graph = helper.make_graph([node], "g", [condition], [helper.make_tensor_value_info("sr", TensorProto.FLOAT, [1])])
    with pytest.raises(ModelError, match=r"com\.microsoft"):
        onnxfile.inspect(helper.make_model(graph).SerializeToString())


def test_external_data_is_refused() -> None:
    model = tiny_graph()
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1], data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="/etc/passwd")
    model.graph.initializer.append(tensor)
    with pytest.raises(ModelError, match="external data"):
        onnxfile.inspect(model.SerializeToString())


def test_an_impossible_tensor_is_refused_at_once() -> None:
    model = tiny_graph()
    tensor = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2**62] * 60_000)
    model.graph.initializer.append(tensor)
    started = time.perf_counter()
    with pytest.raises(ModelError, match="impossible size"):
        onnxfile.inspect(model.SerializeToString())
    assert time.perf_counter() - started < 1


def test_sparse_values_in_attributes_are_refused() -> None:
    model = tiny_graph()
    attribute = model.graph.node[0].attribute.add(name="sparse_value", type=onnx.AttributeProto.SPARSE_TENSOR)
    attribute.sparse_tensor.values.CopyFrom(TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[1]))
    with pytest.raises(ModelError, match="sparse"):
        onnxfile.inspect(model.SerializeToString())


def test_functions_are_refused() -> None:
    model = tiny_graph()
    model.functions.add(name="f", domain="")
    with pytest.raises(ModelError, match="functions"):
        onnxfile.inspect(model.SerializeToString())


@pytest.mark.parametrize("content", [b"", b"\x00", b"not a model", b"\x89PNG\r\n\x1a\n" * 9])
def test_other_files_are_refused(content: bytes) -> None:
    with pytest.raises(ModelError, match="not an ONNX file"):
        onnxfile.inspect(content)


@settings(max_examples=150, deadline=None)
@given(st.integers(0, 3000), st.binary(min_size=1, max_size=8))
def test_damage_is_an_error_or_nothing(position: int, garbage: bytes) -> None:
    content = bytearray(a_model())
    content[position : position + len(garbage)] = garbage
    try:
        onnxfile.inspect(bytes(content))
    except ModelError as error:
        assert "\n" not in str(error)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_error_or_nothing(content: bytes) -> None:
    try:
        onnxfile.inspect(content)
    except ModelError:
        pass
