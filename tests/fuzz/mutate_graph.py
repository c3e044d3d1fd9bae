"""Hostile ONNX graphs inside model files that are sound otherwise: what a graph could be made to read, run or claim.

Made, and judged, with the `onnx` package: the codec's own reader of protobuf is what is tried.
"""

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from mutate_file import mutate_bytes
from mutate_model import sealed, tensors_and_metadata
from onnx import AttributeProto, TensorProto, helper

SECRET = "secret"  # the file that must not be read, in the working folder
PATHS = (
    SECRET, f"./{SECRET}", f"../here/{SECRET}", "/etc/hostname", "weights", "", ".", "link", f"file://{SECRET}",
    "*/_ORT_MEM_ADDR_/*", "*/_ORT_MEM_ADDR_DEDUP_/*",
)  # fmt: skip
OPS = (
    "Constant", "ConstantOfShape", "If", "Loop", "Scan", "EPContext", "ImageDecoder", "StringConcat", "RandomNormal",
    "SequenceConstruct", "Identity", "ReduceSumSquare", "RegexFullMatch", "MemcpyToHost", "Attention", "Conv",
)  # fmt: skip
DOMAINS = ("", "ai.onnx", "com.microsoft", "ai.onnx.ml", "evil", "com.microsoft.nchwc")
NUMBERS = (0, 1, 2, -1, 7, 64, 2**31 - 1, 2**31, 2**63 - 1, -(2**63))


def mutate(draw: random.Random, data: bytes) -> bytes:
    """The model file with one of its graphs made hostile; now and then as it is."""
    tensors, metadata = tensors_and_metadata(data)
    if draw.random() < 0.02:
        return data
    name = draw.choice([n for n in sorted(tensors) if n.startswith("graph.")])
    model = onnx.load_from_string(tensors[name].tobytes())
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        draw.choice(EDITS)(draw, model)
    graph = model.SerializeToString()
    match draw.randrange(12):
        case 0:
            graph = mutate_bytes(draw, graph, [tensors[name].tobytes()])
        case 1:  # a second message is merged into the first
            graph += draw.choice(
                (graph, tensors[name].tobytes(), onnx.ModelProto(graph=model.graph).SerializeToString())
            )
        case 2:
            graph += bytes([draw.randrange(256) for _ in range(draw.choice((1, 2, 8)))])
        case 3:
            graph = graph[:4] + b"ORTM" + graph[draw.choice((4, 8)) :]
    return sealed(tensors | {name: np.frombuffer(graph, np.uint8)}, metadata)


def may_do_more_than_compute(graph: bytes) -> str:
    """Why a graph that was accepted should not have been; "" if it is harmless."""
    model = onnx.load_from_string(graph)
    if model.functions or model.training_info or {o.domain for o in model.opset_import} != {""}:
        return "functions, training or another domain"
    for message in _messages(model):
        if isinstance(message, onnx.NodeProto) and (message.domain or message.op_type in OPS[:10]):
            return f"a node {message.domain} {message.op_type}"
        if isinstance(message, AttributeProto) and (message.HasField("g") or message.graphs or message.HasField("t")):
            return f"an attribute {message.name} with a graph or a tensor"
        if isinstance(message, TensorProto) and (message.data_location or message.external_data):
            entries = {e.key: e.value for e in message.external_data}
            if entries.keys() != {"location", "offset", "length"} or entries["location"] != "weights":
                return f"a tensor outside: {entries}"
            if not message.name.startswith("<") or entries["offset"] != "0":
                return f"a tensor {message.name} that is no weight of the model file"
    return ""


def _messages(message: Any) -> Iterator[Any]:
    """A message and all within it."""
    yield message
    for field, value in message.ListFields():
        if field.type == field.TYPE_MESSAGE:
            for inner in [value] if hasattr(value, "ListFields") else value:
                yield from _messages(inner)


def _outside(draw: random.Random, name: str) -> TensorProto:
    """A tensor that says where on the disk, or in memory, it lies."""
    tensor = TensorProto(name=name, data_type=draw.choice((1, 2, 7, 8)), dims=[draw.choice((1, 4, 16, 10**12))])
    if draw.random() < 0.9:
        tensor.data_location = TensorProto.EXTERNAL
    entries = [("location", draw.choice(PATHS)), ("offset", str(draw.choice(NUMBERS))), ("length", "16")]
    for key, value in draw.sample(entries, draw.choice((1, 2, 3))):
        tensor.external_data.add(key=key, value=value)
    return tensor


def _add_tensor(draw: random.Random, model: Any) -> None:
    graph = model.graph
    match draw.randrange(5):
        case 0:
            tensor = _outside(draw, draw.choice(("secret", "<secret>", graph.initializer[0].name)))
            graph.initializer.append(tensor)
            graph.node.add(op_type="Identity", input=[tensor.name], output=["leak"])
        case 1:
            tensor = draw.choice(graph.initializer)
            tensor.CopyFrom(_outside(draw, tensor.name))
        case 2:
            weight = draw.choice([t for t in graph.initializer if t.external_data])
            draw.choice(weight.external_data).value = draw.choice((*PATHS, *map(str, NUMBERS)))
        case 3:
            sparse = graph.sparse_initializer.add()
            sparse.values.CopyFrom(_outside(draw, "secret"))
            sparse.dims.append(16)
        case _:
            tensor = draw.choice(graph.initializer)
            field = draw.choice(("name", "dims", "data_type", "raw_data"))
            if field == "dims":
                tensor.dims[:] = [draw.choice(NUMBERS) for _ in range(draw.randrange(4))]
            elif field == "name":
                tensor.name = draw.choice(("<x>", "", "\x07", graph.initializer[0].name, "../" * 9))
            elif field == "data_type":
                tensor.data_type = draw.choice((0, 1, 2, 6, 7, 8, 10, 14, 16, 22, 99))
            else:
                tensor.raw_data = draw.randbytes(draw.choice((0, 1, 8, 24)))


def _add_node(draw: random.Random, model: Any) -> None:
    graph, op = model.graph, draw.choice(OPS)
    node = graph.node.add(op_type=op, domain=draw.choice(DOMAINS), output=["more"], input=draw.choice(graph.node).input)
    inner = helper.make_graph([], "inner", [], [], initializer=[_outside(draw, "secret")])
    match draw.randrange(6):
        case 0:
            node.attribute.append(helper.make_attribute("value", _outside(draw, "secret")))
        case 1:
            node.attribute.append(helper.make_attribute(draw.choice(("body", "then_branch", "to")), inner))
        case 2:
            node.attribute.append(helper.make_attribute("ep_cache_context", draw.choice(PATHS)))
        case 3:
            attribute = node.attribute.add(name="tensors", type=AttributeProto.TENSORS)
            attribute.tensors.append(_outside(draw, "secret"))
        case 4:
            node.attribute.add(name="to", type=draw.choice((0, 2, 4, 5, 10)), ref_attr_name=draw.choice(("", "x")), i=1)
        case _:
            node.overload = draw.choice(("", "x"))


def _change_node(draw: random.Random, model: Any) -> None:
    node = draw.choice(model.graph.node)
    match draw.randrange(5):
        case 0:
            node.op_type = draw.choice((*OPS, "", "C\x00nv"))
        case 1:
            node.domain = draw.choice(DOMAINS)
        case 2 if node.attribute:
            draw.choice(node.attribute).type = draw.choice((0, 1, 2, 3, 4, 5, 6, 7))
        case 3 if node.attribute:
            draw.choice(node.attribute).s = draw.choice((*PATHS, "constant", "\x00")).encode()
        case _:
            if node.input:
                other = draw.choice(model.graph.node)
                node.input[draw.randrange(len(node.input))] = draw.choice([*other.output, "", "nowhere"])


def _change_model(draw: random.Random, model: Any) -> None:
    match draw.randrange(7):
        case 0:
            function = model.functions.add(name="Conv", domain=draw.choice(DOMAINS))
            function.node.add(op_type="Constant").attribute.append(helper.make_attribute("value", _outside(draw, "x")))
        case 1:
            model.opset_import.add(domain=draw.choice(DOMAINS), version=draw.choice((1, 18, 99)))
        case 2:
            model.opset_import[0].version = draw.choice((0, 1, 7, 16, 17, 20, 30, 2**40))
        case 3:
            model.training_info.add().algorithm.initializer.append(_outside(draw, "x"))
        case 4:
            model.metadata_props.add(key="path", value=draw.choice(PATHS))
        case 5:
            model.graph.doc_string = draw.choice(PATHS)
        case _:
            kind = draw.choice((model.graph.input, model.graph.output))
            value = kind[0] if draw.random() < 0.7 else kind.add(name=draw.choice(("x", "more", "extra")))
            value.type.CopyFrom(helper.make_sequence_type_proto(helper.make_tensor_type_proto(1, None)))


EDITS = (_add_tensor, _add_tensor, _add_node, _change_node, _change_model)
