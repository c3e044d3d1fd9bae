"""The transforms of a network as ONNX graphs without weights, for run-times that have no PyTorch.

A graph names its weights as the model file does, in angle brackets, and holds none of them: the run-time hands them
in, so that there is one set of weights. Needs onnx and onnxscript (the extra `train`); runs once, at export.

    analysis        x float32 [1, 3, 16 h, 16 w] in 0..1, quality_step int64 [1] -> y
    hyper_analysis  y of a whole image -> z; absent in families without
    synthesis       y_hat, quality_step, realism float32 [1], origin int64 [1, 2] -> uint8 [1, 16 h, 16 w, 3]
"""

import contextlib
import io
import logging
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import torch
from torch import Tensor, nn

from .contract import Network

OPSET = 18
MAX_LATENTS = 1 << 17  # a side, in latents


class _Analysis(nn.Module):
    def __init__(self, network: Network) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor, quality_step: Tensor) -> Tensor:
        return self.network.analyze(x, quality_step)


class _HyperAnalysis(_Analysis):
    def forward(self, y: Tensor) -> Tensor | None:  # type: ignore[override]
        return self.network.hyper_analyze(y)


class _Synthesis(_Analysis):
    def forward(  # type: ignore[override]
        self, y_hat: Tensor, quality_step: Tensor, realism: Tensor, origin: Tensor
    ) -> Tensor:
        x_hat = self.network.synthesize(y_hat, quality_step, realism, origin)
        return (x_hat.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1)


@torch.no_grad()
def graphs_of(network: Network) -> dict[str, bytes]:
    """The graphs of a network by name, serialised; the same network gives the same bytes."""
    side, stride = {"min": 1, "max": MAX_LATENTS}, network.stride
    rows, columns = torch.export.Dim("h", **side), torch.export.Dim("w", **side)
    y, quality_step = torch.zeros(1, network.config.latent_channels, 12, 20), torch.tensor([512])
    x, places = torch.zeros(1, 3, 12 * stride, 20 * stride), {2: rows, 3: columns}
    analysis_sizes = {"x": {2: stride * rows, 3: stride * columns}, "quality_step": None}
    inputs = (y, quality_step, torch.ones(1), torch.tensor([[3, 4]]))
    synthesis_sizes = {"y_hat": places, "quality_step": None, "realism": None, "origin": None}
    weights = set(network.state_dict())
    graphs = {
        "analysis": _graph(_Analysis(network), (x, quality_step), analysis_sizes, weights),
        "synthesis": _graph(_Synthesis(network), inputs, synthesis_sizes, weights),
    }
    if network.hyper_analyze(y) is not None:
        graphs["hyper_analysis"] = _graph(_HyperAnalysis(network), (y,), {"y": places}, weights)
    return graphs


def _graph(module: nn.Module, inputs: tuple[Tensor, ...], sizes: dict[str, Any], weights: set[str]) -> bytes:
    """Of a module, made-up inputs, and which of their sizes may change."""
    with _quiet():
        program = torch.onnx.export(
            module.eval(), inputs, dynamo=True, dynamic_shapes=sizes, opset_version=OPSET, optimize=True, verbose=False
        )
    assert program is not None
    return _without_weights(program.model_proto, weights)


def refer(tensor: Any, length: int) -> None:
    """Let a tensor of a graph be the model file's of this name, of so many bytes."""
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", "weights"), ("offset", "0"), ("length", str(length))):
        tensor.external_data.add(key=key, value=value)


def _without_weights(model: Any, weights: set[str]) -> bytes:
    """The graph with its weights named as in the model file and left out, and without what only people read."""
    graph, renamed = model.graph, {}
    for tensor in graph.initializer:
        name = tensor.name.removeprefix("network.")
        if name in weights:
            renamed[tensor.name] = f"<{name}>"
            tensor.name = renamed[tensor.name]
            tensor.ClearField("raw_data")
            refer(tensor, 4 * int(np.prod(tensor.dims)))
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for field in ("value_info", "metadata_props", "doc_string"):
        graph.ClearField(field)
    model.ClearField("metadata_props")
    model.ClearField("producer_version")
    return bytes(model.SerializeToString(deterministic=True))


def with_weights(graph: bytes, tensors: Mapping[str, npt.NDArray[Any]], output: str) -> bytes:
    """A graph of `graphs_of` with its weights (`Model.tensors_of`) in it and its output named, for any run-time."""
    model = onnx.load_from_string(graph)
    renamed = {f"<{name}>": name for name in tensors} | {model.graph.output[0].name: output}
    for tensor in model.graph.initializer:
        if tensor.name in renamed:
            name = renamed[tensor.name]
            tensor.CopyFrom(onnx.numpy_helper.from_array(tensors[name], name))
    for node in model.graph.node:
        for names in (node.input, node.output):
            names[:] = [renamed.get(name, name) for name in names]
    model.graph.output[0].name = output
    onnx.checker.check_model(model)
    return bytes(model.SerializeToString(deterministic=True))


@contextlib.contextmanager
def _quiet() -> Any:
    """Without the exporter's lines on what it does."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)
