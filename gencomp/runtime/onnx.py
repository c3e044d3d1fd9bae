"""The transforms in ONNX Runtime, on the CPU: no PyTorch, a start of some tenths of a second.

The graphs come with the model file and name their weights; the weights are handed in from it (networks/graphs.py). A
graph is checked once more before it is run (graph.py): nothing but that stands between a model file and the disk.
"""

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from .. import machine
from ..bitstream import ModelError
from ..entropy.contract import Latents
from ..machine import is_out_of_memory
from ..model import Model
from ..once import making
from ..regions import region
from .tiling import latent_size, pad_to_multiple, tile_side, tiles

SMALL_LATENTS = 1024  # images of up to so many latents per channel take one thread: more would wait for one another


class OnnxRuntime:
    """A model's graphs. tile: side of the tiles in latents; None chooses by the image's size. threads: None for one on
    small images and all cores on larger ones."""

    name, device = "onnx", "cpu"

    def __init__(self, model: Model, tile: int | None = None, threads: int | None = None) -> None:
        if missing := {"analysis", "synthesis"} - model.graphs.keys():
            what = f"lacks the graph {min(missing)}" if model.graphs else "has no graphs for ONNX Runtime"
            raise ModelError(f"{model.name} {what}: export it again, or install gencomp[train]")
        self._model, self._tile, self._threads = model, tile, threads
        self._stride, self._halo = model.stride, model.halo
        self._sessions: dict[tuple[str, int, int], Any] = {}

    def analyze(self, pixels: npt.NDArray[np.uint8], quality_step: int) -> Latents:
        step, stride = np.array([quality_step], np.int64), self._stride
        height, width = latent_size(pixels.shape[0], pixels.shape[1], stride)
        y = np.empty((1, self._model.entropy.latent_channels, height, width), np.float32)
        with region("transform"):
            session = self._session("analysis", height * width)
            for tile in tiles(height, width, tile_side(height, width, self._tile, stride), self._halo[0]):
                seen = pad_to_multiple(pixels[tile.seen(stride)], stride)
                x = np.ascontiguousarray(seen.transpose(2, 0, 1)[None], np.float32) / np.float32(255)
                part = _run(session, {"x": x, "quality_step": step})[0]
                _check_output("analysis", part, np.float32, *y[0][:, *tile.seen()].shape)
                y[0][:, *tile.yielded()] = part[:, *tile.inside()]
        if "hyper_analysis" not in self._model.graphs:
            return Latents(y[0], None)
        with region("hyper"):
            z = _run(self._session("hyper_analysis", height * width), {"y": y})
            if z.dtype != np.float32 or z.ndim != 4:
                raise ModelError(f"the graph hyper_analysis gives {z.dtype} {z.shape}")
        return Latents(y[0], z[0])

    def synthesize(
        self, y_hat: npt.NDArray[np.float32], size: tuple[int, int], quality_step: int, realism: float
    ) -> npt.NDArray[np.uint8]:
        (height, width), stride = y_hat.shape[1:], self._stride
        pixels = np.empty((height * stride, width * stride, 3), np.uint8)
        session = self._session("synthesis", height * width)
        given: dict[str, npt.NDArray[Any]] = {
            "quality_step": np.array([quality_step], np.int64),
            "realism": np.array([realism], np.float32),
        }
        wanted = {node.name for node in session.get_inputs()}  # a family may heed neither
        for tile in tiles(height, width, tile_side(height, width, self._tile, stride), self._halo[1]):
            given["y_hat"] = np.ascontiguousarray(y_hat[None, :, *tile.seen()], np.float32)
            given["origin"] = np.array([tile.sees[:2]], np.int64)
            shown = _run(session, {name: value for name, value in given.items() if name in wanted})[0]
            _check_output("synthesis", shown, np.uint8, *pixels[tile.seen(stride)].shape)
            pixels[tile.yielded(stride)] = shown[tile.inside(stride)]
        return pixels[: size[0], : size[1]]

    def _session(self, name: str, latents: int) -> Any:
        """The graph ready to run, with as many threads as the work wants."""
        threads = self._threads or (1 if latents <= SMALL_LATENTS else machine.threads())
        key = name, threads, os.getpid()  # a forked child has none of the threads of its parent's sessions
        with making:
            if key not in self._sessions:
                self._sessions[key] = _open(self._model.graphs[name], self._model, threads)
            return self._sessions[key]

    def __getstate__(self) -> dict[str, Any]:
        return {**vars(self), "_sessions": {}}  # which cannot be copied and are opened anew


def _run(session: Any, given: dict[str, npt.NDArray[Any]]) -> npt.NDArray[Any]:
    """The one output of a graph; ModelError for a graph that fails or has no such one: it came with the model file."""
    try:
        (output,) = session.run(None, given)
    except Exception as error:
        raise _named(error, "fails at") from error
    if not isinstance(output, np.ndarray) or not output.ndim or len(output) != 1:
        raise ModelError("the model's graph gives no batch of one")
    return output


def _check_output(name: str, array: npt.NDArray[Any], dtype: type, *shape: int) -> None:
    if array.dtype != dtype or array.shape != shape:
        asked = np.dtype(dtype)
        raise ModelError(f"the graph {name} gives {array.dtype} {array.shape} where {asked} {shape} is asked for")


def _open(graph: npt.NDArray[np.uint8], model: Model, threads: int) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # a waiting thread leaves its core
    options.add_session_config_entry("session.load_model_format", "ONNX")  # never guessed from the bytes
    data = graph.tobytes()
    named = model.tensors_of(data)
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in named.values()]
    try:
        options.add_external_initializers([f"<{name}>" for name in named], values)
        # without its fallback, which would print lines of its own and try the same again
        return onnxruntime.InferenceSession(data, options, providers=["CPUExecutionProvider"], enable_fallback=0)
    except Exception as error:
        raise _named(error, "refuses") from error


def _named(error: Exception, how: str) -> Exception:
    """What an error of ONNX Runtime is: no memory, or the model's fault. Its exceptions have no common base."""
    text = (str(error).splitlines() or [type(error).__name__])[0]
    if is_out_of_memory(error):
        return MemoryError(f"ONNX Runtime: {text}")
    return ModelError(f"ONNX Runtime {how} the model's graph: {text}")
