"""ONNX graphs of model files, checked before anything else sees a byte of them.

A graph computes on what it is given, and may do nothing else. It holds no control flow, function, custom domain or
path, and no text beyond names. Tensors stand in it whole, or are weights of the model file, by name, type and shape.

Two readers of protobuf must not differ in what they find, so what has two readings is refused: unknown fields, single
fields that come twice, texts that are not printable ASCII, and a graph that could be a file of ONNX Runtime's own form.
"""

import math
import re
import struct
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from gencomp.bitstream import ModelError

NAMES = frozenset({"analysis", "hyper_analysis", "synthesis"})
MAX_BYTES = 4 << 20
MAX_FIELDS = 100_000  # of protobuf in one graph; those of the largest network here are 9,000
OPSETS = range(17, 27)

_NAMES_OF_OPS = """
    Abs Add And AveragePool BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast Ceil Clip Concat Conv
    ConvTranspose Cos DepthToSpace DequantizeLinear Div Equal Erf Exp Expand Floor Gather Gelu Gemm Greater Identity
    LayerNormalization LeakyRelu Less Log MatMul Max MaxPool Min Mod Mul Neg Not Or PRelu Pad Pow QuantizeLinear Range
    Reciprocal ReduceMax ReduceMean ReduceSum Relu Reshape Resize Round Shape Sigmoid Sign Sin Slice Softmax Softplus
    SpaceToDepth Split Sqrt Squeeze Sub Tanh Transpose Unsqueeze Where
"""
_OPS = frozenset(_NAMES_OF_OPS.split())
_KINDS = {"f4": 1, "u1": 2, "i1": 3, "i4": 6, "i8": 7, "b1": 9, "f2": 10, "f8": 11, "u4": 12, "u8": 13}
_SIZES = {kind: int(name[1]) for name, kind in _KINDS.items()}  # of TensorProto.DataType, in bytes
_ATTRIBUTE_TYPES = {1: "f", 2: "i", 3: "s", 6: "floats", 7: "ints"}
_EXTERNAL = 1
_TEXT, _WORD = re.compile(rb"[ -~]{0,256}"), re.compile(r"\w{0,32}", re.ASCII)

# Fields by number: name, and int, float, str, bytes, a message, or a list of one of these (onnx.proto, all of them).
_ENTRY = {1: ("key", str), 2: ("value", str)}
_SHAPE = {1: ("dims", [{1: ("size", int), 2: ("name", str)}])}
_VALUE = {
    1: ("name", str),
    2: ("type", {1: ("tensor", {1: ("kind", int), 2: ("shape", _SHAPE)})}),
    4: ("notes", [_ENTRY]),
}
_TENSOR = {
    1: ("dims", [int]), 2: ("kind", int), 8: ("name", str), 9: ("raw", bytes), 13: ("external", [_ENTRY]),
    14: ("location", int),
}  # fmt: skip
_ATTRIBUTE = {
    1: ("name", str), 2: ("f", float), 3: ("i", int), 4: ("s", str), 7: ("floats", [float]), 8: ("ints", [int]),
    20: ("type", int),
}  # fmt: skip
_NODE = {
    1: ("inputs", [str]), 2: ("outputs", [str]), 3: ("name", str), 4: ("op", str), 5: ("attributes", [_ATTRIBUTE]),
    7: ("domain", str),
}  # fmt: skip
_GRAPH = {
    1: ("nodes", [_NODE]), 2: ("name", str), 5: ("tensors", [_TENSOR]), 11: ("inputs", [_VALUE]),
    12: ("outputs", [_VALUE]),
}  # fmt: skip
_OPSET = {1: ("domain", str), 2: ("version", int)}
_MODEL = {1: ("ir_version", int), 2: ("producer", str), 7: ("graph", _GRAPH), 8: ("opsets", [_OPSET])}


class Form(NamedTuple):
    """What a graph may say of a tensor of the model file: its type as in TensorProto.DataType, and its shape."""

    kind: int
    shape: tuple[int, ...]


def form_of(array: npt.NDArray[Any], dtype: npt.DTypeLike | None = None) -> Form:
    """The form of an array as it is handed in, converted to `dtype` if that is given."""
    return Form(_KINDS[np.dtype(dtype or array.dtype).str[1:]], array.shape)


def tensors_named(data: bytes, given: Mapping[str, Form]) -> list[str]:
    """Names of the model file's tensors that a graph takes, out of those given; ModelError for a graph that may do more
    than compute."""
    try:
        return _tensors_named(data, given)
    except ModelError as error:
        raise ModelError(f"its graph is refused: {error}") from error


def _tensors_named(data: bytes, given: Mapping[str, Form]) -> list[str]:
    if len(data) > MAX_BYTES:
        raise ModelError(f"{len(data):,} bytes, over {MAX_BYTES:,}")
    if data[4:8] == b"ORTM":
        raise ModelError("it is in another format than ONNX")
    model = _ProtobufReader(data).message(0, len(data), _MODEL)
    if [(o.get("domain", ""), o.get("version") in OPSETS) for o in model.get("opsets", [])] != [("", True)]:
        raise ModelError("operators of another domain or version")
    graph = model.get("graph", {})
    for node in graph.get("nodes", []):
        _check_node(node)
    named, seen = [], set()
    for tensor in graph.get("tensors", []):
        name = tensor.get("name", "")
        if name in seen:
            raise ModelError(f"two tensors {name!r}")
        seen.add(name)
        if _from_the_model_file(tensor, name, given):
            named.append(name[1:-1])
    return named


def _check_node(node: Mapping[str, Any]) -> None:
    op = node.get("op", "")
    if op not in _OPS or node.get("domain"):
        raise ModelError(f"the operator {node.get('domain', '')}{op!r} is not allowed")
    for attribute in node.get("attributes", []):
        held = attribute.keys() - {"name", "type"}
        if not held <= {_ATTRIBUTE_TYPES.get(attribute.get("type", 0), "?")}:
            raise ModelError(f"{op} has an attribute of an unknown form")
        if not _WORD.fullmatch(attribute.get("s", "")):
            raise ModelError(f"{op} has the text {attribute['s']!r}")


def _from_the_model_file(tensor: Mapping[str, Any], name: str, given: Mapping[str, Form]) -> bool:
    """Whether a tensor is one of those given; ModelError for one that is neither that nor whole."""
    kind, dims = tensor.get("kind", 0), tuple(tensor.get("dims", ()))
    if kind not in _SIZES or len(dims) > 8 or not all(0 <= side < 1 << 31 for side in dims):
        raise ModelError(f"the tensor {name!r} has an unknown type or shape")
    size = math.prod(dims) * _SIZES[kind]
    external = [(e.get("key"), e.get("value")) for e in tensor.get("external", [])]
    if tensor.get("location", 0) != _EXTERNAL:
        if external or len(tensor.get("raw", b"")) != size or tensor.get("location", 0):
            raise ModelError(f"the tensor {name!r} is incomplete")
        return False
    expected = [("location", "weights"), ("offset", "0"), ("length", str(size))]
    if name[:1] + name[-1:] != "<>" or "raw" in tensor or external != expected:
        raise ModelError(f"the tensor {name!r} lies outside of the model file")
    if given.get(name[1:-1]) != Form(kind, dims):
        raise ModelError(f"the tensor {name!r} is not the model file's")
    return True


class _ProtobufReader:
    """Protobuf by the fields above, nothing else."""

    def __init__(self, data: bytes) -> None:
        self._data, self._left = data, MAX_FIELDS

    def message(self, at: int, end: int, fields: Mapping[int, tuple[str, Any]]) -> dict[str, Any]:
        """The message in these bytes, by names of fields; those that are absent are absent."""
        found: dict[str, Any] = {}
        while at < end:
            key, at = self._varint(at, end)
            name, kind = fields.get(key >> 3, ("", None))
            many = isinstance(kind, list)
            if not name or (name in found and not many):
                raise ModelError(f"a field {key >> 3} that is unknown or comes twice")
            values, at = self._values(at, end, key & 7, kind[0] if many else kind, many)
            if many:
                found.setdefault(name, []).extend(values)
            else:
                (found[name],) = values
        return found

    def _values(self, at: int, end: int, wire: int, kind: Any, many: bool) -> tuple[list[Any], int]:
        """What a field holds, several numbers if they are packed, and where it ends."""
        if wire == 2:
            length, at = self._varint(at, end)
            stop = at + length
            if stop > end:
                raise ModelError("it is cut short")
            if kind in (int, float) and many:
                values: list[Any] = []
                while at < stop:
                    value, at = self._number(at, stop, kind)
                    values.append(value)
                if at == stop:
                    return values, stop
            elif kind in (str, bytes):
                piece = self._data[at:stop]
                if kind is str and not _TEXT.fullmatch(piece):
                    raise ModelError("it holds a text that is no name")
                return [piece.decode("ascii") if kind is str else piece], stop
            elif not isinstance(kind, type):
                return [self.message(at, stop, kind)], stop
        elif kind in (int, float) and wire == (0 if kind is int else 5):
            value, at = self._number(at, end, kind)
            return [value], at
        raise ModelError("a field of another type than it has")

    def _number(self, at: int, end: int, kind: type) -> tuple[float, int]:
        if kind is int:
            value, at = self._varint(at, end)
            return value - (value >> 63 << 64), at
        if at + 4 > end:
            raise ModelError("it is cut short")
        return struct.unpack_from("<f", self._data, at)[0], at + 4

    def _varint(self, at: int, end: int) -> tuple[int, int]:
        self._left -= 1
        if self._left < 0:
            raise ModelError(f"over {MAX_FIELDS:,} fields")
        if at < end and (value := self._data[at]) < 0x80:
            return value, at + 1
        value = 0
        for shift in range(0, 70, 7):
            if at >= end:
                break
            byte = self._data[at]
            at += 1
            value |= (byte & 0x7F) << shift
            if byte < 0x80:
                if value >> 64:
                    break
                return value, at
        raise ModelError("it is cut short, or holds a number of over 64 bits")
