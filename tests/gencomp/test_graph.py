"""Graphs of model files compute and do nothing else: what names a file, memory or code is refused at loading."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, NodeProto, TensorProto, helper

from gencomp import graph
from gencomp.bitstream import ModelError
from gencomp.model import Model, load_model, save_model
from gencomp.runtime import open_runtime
from gencomp.web.site import site_of

TINY = Path(__file__).parent.parent / "golden" / "tiny.safetensors"


def outside(name: str = "secret", **entries: str) -> TensorProto:
    tensor = TensorProto(name=name, data_type=TensorProto.UINT8, dims=[16], data_location=TensorProto.EXTERNAL)
    for key, value in ({"location": "secret", "offset": "0", "length": "16"} | entries).items():
        tensor.external_data.add(key=key, value=value)
    return tensor


def node(op: str, *attributes: AttributeProto, **fields: Any) -> NodeProto:
    return NodeProto(op_type=op, input=["x"], output=["more"], attribute=attributes, **fields)


def attribute(name: str, value: Any) -> AttributeProto:
    return helper.make_attribute(name, value)


INNER = helper.make_graph([], "inner", [], [], initializer=[outside()])
TRAINING = onnx.TrainingInfoProto(algorithm=INNER)
FUNCTION = onnx.FunctionProto(name="Conv", domain="", node=[node("Constant", attribute("value", outside()))])
TENSORS = AttributeProto(name="x", type=AttributeProto.TENSORS, tensors=[outside()])
SPARSE = onnx.SparseTensorProto(values=outside(), indices=outside("indices"), dims=[16])
HOSTILE: dict[str, Any] = {
    "relative path": lambda m: m.graph.initializer.append(outside()),
    "absolute path": lambda m: m.graph.initializer.append(outside(location="/etc/passwd")),
    "named as a weight": lambda m: m.graph.initializer.append(outside("<secret>", location="weights")),
    "address in memory": lambda m: m.graph.initializer.append(outside(location="*/_ORT_MEM_ADDR_/*", offset="4096")),
    "weight elsewhere": lambda m: setattr(first_weight(m).external_data[0], "value", "secret"),
    "weight with an offset": lambda m: setattr(first_weight(m).external_data[1], "value", "8"),
    "weight of another length": lambda m: setattr(first_weight(m).external_data[2], "value", "8"),
    "weight of another shape": lambda m: first_weight(m).dims.append(1),
    "weight of another type": lambda m: setattr(first_weight(m), "data_type", TensorProto.INT32),
    "weight twice": lambda m: m.graph.initializer.append(first_weight(m)),
    "weight with a checksum": lambda m: first_weight(m).external_data.add(key="checksum", value="0"),
    "sparse tensor": lambda m: m.graph.sparse_initializer.append(SPARSE),
    "constant": lambda m: m.graph.node.append(node("Constant", attribute("value", outside()))),
    "tensor of an attribute": lambda m: m.graph.node.append(node("Identity", attribute("value", outside()))),
    "tensors of an attribute": lambda m: m.graph.node.append(node("Identity", TENSORS)),
    "branch": lambda m: m.graph.node.append(node("If", attribute("then_branch", INNER))),
    "graph of a plain operator": lambda m: m.graph.node.append(node("Conv", attribute("body", INNER))),
    "function": lambda m: m.functions.append(FUNCTION),
    "training": lambda m: m.training_info.append(TRAINING),
    "compiled context": lambda m: m.graph.node.append(node("EPContext", domain="com.microsoft")),
    "known operator of another domain": lambda m: m.graph.node.append(node("Conv", domain="com.microsoft")),
    "operators of another domain": lambda m: m.opset_import.add(domain="com.microsoft", version=1),
    "operator that opens images": lambda m: m.graph.node.append(node("ImageDecoder")),
    "random numbers": lambda m: m.graph.node.append(node("RandomNormalLike")),
    "path in an attribute": lambda m: m.graph.node.append(node("Pad", attribute("mode", "../secret"))),
    "overload": lambda m: m.graph.node.append(node("Conv", overload="x")),
    "notes": lambda m: m.metadata_props.add(key="location", value="secret"),
    "sequence as input": lambda m: m.graph.input[0].type.sequence_type.elem_type.tensor_type.SetInParent(),
    "huge tensor": lambda m: m.graph.initializer.append(TensorProto(name="x", data_type=1, dims=[1 << 30] * 4)),
    "text with a zero byte": lambda m: setattr(m, "producer_name", "a\0b"),
}


def first_weight(model: Any) -> Any:
    return next(t for t in model.graph.initializer if t.external_data)


run: dict[str, Any] = {
    "analysis": lambda runtime: runtime.analyze(np.zeros((16, 16, 3), np.uint8), 0),
    "synthesis": lambda runtime: runtime.synthesize(np.zeros((16, 1, 1), np.float32), (16, 16), 0, 0.0),
}


def with_graph(model: Model, data: bytes, name: str = "synthesis") -> Model:
    return model._replace(graphs={**model.graphs, name: np.frombuffer(data, np.uint8)})


@pytest.mark.parametrize("how", HOSTILE)
@pytest.mark.parametrize("name", ["analysis", "synthesis"])
def test_a_graph_that_may_do_more_than_compute_is_refused(model: Model, how: str, name: str, tmp_path: Path) -> None:
    proto = onnx.load_from_string(model.graphs[name].tobytes())
    HOSTILE[how](proto)
    hostile = with_graph(model, proto.SerializeToString(), name)
    save_model(hostile, tmp_path / "model.safetensors")
    for enters in (load_model, site_of):
        with pytest.raises(ModelError, match="graph is refused"):
            enters(tmp_path / "model.safetensors")
    runtime = open_runtime(hostile, "cpu", name="onnx")  # made in memory, and never loaded
    with pytest.raises(ModelError, match="graph is refused"):
        run[name](runtime)


@pytest.mark.parametrize(
    "change",
    [
        lambda data: data + data,  # protobuf merges what comes twice
        lambda data: data + onnx.ModelProto(functions=[FUNCTION]).SerializeToString(),
        lambda data: data[:4] + b"ORTM" + data[8:],
        lambda data: b"\x12\x06\0\0ORTM" + data,  # a text of ONNX that is also the mark of the other form
        lambda data: data[:-1],
        lambda data: data + b"\xff" * 11,
        lambda data: data + b"\x0b\x0c",  # a group
        lambda data: b"\x08" + b"\x80" * 9 + b"\x02" + data,  # a number of 65 bits
        lambda data: data + bytes(graph.MAX_BYTES),
        lambda data: b"",
    ],
)
def test_bytes_that_two_readers_could_read_differently_are_refused(model: Model, change: Any) -> None:
    with pytest.raises(ModelError, match="graph is refused"):
        graph.tensors_named(change(model.graphs["analysis"].tobytes()), model.forms())


def test_many_small_fields_are_refused_before_they_take_memory(model: Model) -> None:
    proto = onnx.load_from_string(model.graphs["analysis"].tobytes())
    proto.graph.node[0].attribute.append(attribute("x", [1] * graph.MAX_FIELDS))
    with pytest.raises(ModelError, match="over 100,000 fields"):
        graph.tensors_named(proto.SerializeToString(), model.forms())


def test_a_graph_of_another_name_is_refused(model: Model, tmp_path: Path) -> None:
    save_model(with_graph(model, b"", "other"), tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="unknown graph 'other'"):
        load_model(tmp_path / "model.safetensors")
