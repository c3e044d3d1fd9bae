"""Hostile ONNX graphs inside model files that are sound otherwise: what a graph could be made to read, run or claim.

Made, and judged, with the `onnx` package: the codec's own reader of protobuf is what is tried.
"""

import contextlib
import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
from mutate_file import mutate_bytes
from mutate_model import sealed, tensors_and_metadata
from onnx import AttributeProto, TensorProto

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
TEXTS = (*PATHS, *OPS, "<x>", "<secret>", "x", "more", "\x07", "../" * 9)
NUMBERS = (0, 1, 2, -1, 7, 64, 2**31 - 1, 2**31, 2**63 - 1, -(2**63))


def mutate(draw: random.Random, data: bytes) -> bytes:
    """The model file with one of its graphs made hostile; now and then as it is."""
    tensors, metadata = tensors_and_metadata(data)
    if draw.random() < 0.02:
        return data
    name = draw.choice([n for n in sorted(tensors) if n.startswith("graph.")])
    model = onnx.load_from_string(tensors[name].tobytes())
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        _edit(draw, model)
    graph = model.SerializeToString()
    match draw.randrange(12):
        case 0:
            graph = mutate_bytes(draw, graph, [tensors[name].tobytes()])
        case 1:  # a second message is merged into the first
            part = onnx.ModelProto(graph=model.graph).SerializeToString()
            graph += draw.choice((graph, tensors[name].tobytes(), part))
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


def _edit(draw: random.Random, model: Any) -> None:
    """One field of a message, drawn by its kind; or a tensor outside, and a node that would read it."""
    if draw.random() < 0.15:
        tensor = _outside(draw, draw.choice((SECRET, "<secret>", model.graph.initializer[0].name)))
        model.graph.initializer.append(tensor)
        model.graph.node.add(op_type="Identity", input=[tensor.name], output=["leak"])
        return
    kinds: dict[str, list[Any]] = {}
    for message in _messages(model):
        kinds.setdefault(message.DESCRIPTOR.name, []).append(message)
    message = draw.choice(kinds[draw.choice(sorted(kinds))])
    _change(draw, message, draw.choice(list(message.DESCRIPTOR.fields)), 3)


def _change(draw: random.Random, message: Any, field: Any, depth: int) -> None:
    """Empties a field, sets it or adds to it: values by its type and name, messages of chance within one another."""
    if draw.random() < 0.1:
        message.ClearField(field.name)
        return
    held = getattr(message, field.name)
    if field.type == field.TYPE_MESSAGE:
        inner = held.add() if hasattr(held, "add") else held
        inner.SetInParent()
        if isinstance(inner, TensorProto):
            inner.CopyFrom(_outside(draw, draw.choice((SECRET, "<secret>"))))
        for part in draw.choices(list(inner.DESCRIPTOR.fields), k=draw.randrange(3) if depth else 0):
            _change(draw, inner, part, depth - 1)
    else:
        value: Any = draw.choice({"op_type": OPS, "domain": DOMAINS}.get(field.name, TEXTS))
        if field.type == field.TYPE_BYTES:
            value = draw.choice((value.encode(), draw.randbytes(draw.choice((0, 1, 8, 24)))))
        elif field.type != field.TYPE_STRING:
            value = draw.choice((draw.randrange(24), *NUMBERS))
        with contextlib.suppress(ValueError):  # beyond the field's own range
            if hasattr(held, "append"):
                held.append(value)
            else:
                setattr(message, field.name, value)
