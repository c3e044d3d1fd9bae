"""The synthesis graph with convolutions in eight bits: QuantizeLinear and DequantizeLinear about each (QDQ).

ONNX Runtime fuses what stands between them into integer kernels. The graph names the int8 weights and their scales as
the model file does, `<name>` and `<name.scale>`, and holds none of them; ranges of activations and biases, which are
integers of a weight's and a range's units, stand in the graph. Needs onnx (the extra `train`).
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from .int8 import Int8Conv, Range

BIAS_LIMIT = 2**31 - 1


def int8_graph(graph: bytes, convs: Mapping[str, Int8Conv], biases: Mapping[str, npt.NDArray[Any]]) -> bytes:
    """A graph of `graphs.graphs_of` with these convolutions in eight bits. biases: float, by the convolution's name."""
    import onnx

    model = onnx.load_from_string(graph)
    editor = _Editor(model.graph)
    by_weight = {f"<{name}.weight>": name for name in convs}
    nodes: list[Any] = []
    for node in model.graph.node:
        for index, value in enumerate(node.input):
            node.input[index] = editor.renamed.get(value, value)
        name = by_weight.get(node.input[1]) if node.op_type == "Conv" else None
        nodes += [node] if name is None else editor.in_int8(node, name, convs[name], biases[name])
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    editor.finish()
    return bytes(model.SerializeToString(deterministic=True))


class _Editor:
    """Nodes and constants in the making."""

    def __init__(self, graph: Any) -> None:
        self.graph = graph
        self.renamed: dict[str, str] = {}

    def in_int8(self, node: Any, name: str, conv: Int8Conv, bias: npt.NDArray[Any]) -> list[Any]:
        """The nodes that stand for a convolution."""
        scale = conv.weight.scale * conv.inputs.step
        units = np.clip(np.rint(bias.astype(np.float64) / scale), -BIAS_LIMIT, BIAS_LIMIT).astype(np.int32)
        zeros = np.zeros(len(scale), np.int8)
        self._external(f"<{name}.weight>", conv.weight.values)
        self._external(f"<{name}.weight.scale>", conv.weight.scale)
        bias_inputs = [self._constant(f"{name}.{n}", v) for n, v in (("bias", units), ("bias_unit", scale))]
        zero = self._constant(f"{name}.weight_zero", zeros)
        before, x = self._through(node.input[0], f"{name}.in", conv.inputs)
        weight = self._dequantised([f"<{name}.weight>", f"<{name}.weight.scale>", zero], f"{name}.w")
        added = self._dequantised(bias_inputs, f"{name}.b")
        output, node.output[0] = node.output[0], f"{name}.sum"
        after, self.renamed[output] = self._through(f"{name}.sum", f"{name}.out", conv.outputs)
        node.input[0], node.input[1], node.input[2] = x, f"{name}.w", f"{name}.b"
        return [*before, weight, added, node, *after]

    def _through(self, value: str, name: str, found: Range) -> tuple[list[Any], str]:
        """A value rounded to eight bits and taken back to float."""
        from onnx import helper

        how = [self._constant(f"{name}.step", found.step), self._constant(f"{name}.zero", found.zero)]
        rounded = helper.make_node("QuantizeLinear", [value, *how], [f"{name}.q"])
        return [rounded, helper.make_node("DequantizeLinear", [f"{name}.q", *how], [f"{name}.dq"])], f"{name}.dq"

    def _dequantised(self, inputs: list[str], output: str) -> Any:
        from onnx import helper

        return helper.make_node("DequantizeLinear", inputs, [output], axis=0)

    def _constant(self, name: str, value: Any) -> str:
        from onnx import numpy_helper

        self.graph.initializer.append(numpy_helper.from_array(np.asarray(value), name))
        return name

    def _external(self, name: str, value: npt.NDArray[Any]) -> None:
        """A tensor of the model file, in the place of one of this name."""
        import onnx

        for tensor in [t for t in self.graph.initializer if t.name == name]:
            self.graph.initializer.remove(tensor)
        kind = onnx.helper.np_dtype_to_tensor_dtype(value.dtype)
        tensor = onnx.TensorProto(name=name, data_type=kind, dims=value.shape, data_location=onnx.TensorProto.EXTERNAL)
        for key, text in (("location", "weights"), ("offset", "0"), ("length", str(value.nbytes))):
            tensor.external_data.add(key=key, value=text)
        self.graph.initializer.append(tensor)

    def finish(self) -> None:
        """Leave out what no node takes any more."""
        used = {value for node in self.graph.node for value in node.input}
        for tensor in [t for t in self.graph.initializer if t.name not in used]:
            self.graph.initializer.remove(tensor)
