"""Eight bits: weights and ranges, the graph's integers against float, training through the rounding, hostile arrays."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import Tensor

from gencomp.bitstream import ModelError
from gencomp.codec import Codec
from gencomp.model import Int8Weight, Model, load_model, save_model
from gencomp.networks import build, network_of
from gencomp.networks.contract import Network
from gencomp.networks.graphs import graphs_of
from gencomp.networks.hific import HificConfig
from gencomp.networks.hyperprior import HyperpriorConfig
from gencomp.networks.int8 import bottleneck_convs, calibrated, fake_int8, int8_graph, quantised_weight, range_of
from gencomp.networks.transforms import TransformConfig

GOLDEN = Path(__file__).parents[2] / "golden"
NAME = "synthesis.stage8.blocks.0.first.spatial.weight"


def latents(network: Network, seed: int) -> Tensor:
    return 4 * torch.randn(1, network.config.latent_channels, 6, 7, generator=torch.Generator().manual_seed(seed))


def run(network: Network) -> None:
    for seed in range(3):
        for quality_step in (0, 512, 1024):
            network.synthesize(latents(network, seed), torch.tensor([quality_step]), torch.ones(1))


def in_int8(model: Model) -> Model:
    network = network_of(model)
    convs = calibrated(network, lambda: run(network))
    weights = {f"{name}.weight": conv.weight for name, conv in convs.items()}
    graphs = graphs_of(network)
    biases = {name: model.weights[f"{name}.bias"].astype(np.float32) for name in convs}
    graphs["synthesis"] = int8_graph(graphs["synthesis"], convs, biases)
    return model._replace(
        weights={name: weight for name, weight in model.weights.items() if name not in weights},
        int8=weights,
        graphs={name: np.frombuffer(graph, np.uint8) for name, graph in graphs.items()},
    )


@pytest.fixture(scope="module")
def whole() -> Model:
    return load_model(GOLDEN / "tiny.safetensors")


@pytest.fixture(scope="module")
def model(whole: Model, tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("int8") / "int8.safetensors"
    save_model(in_int8(whole), path)
    return load_model(path)


def test_weights_lie_within_half_a_unit_of_their_channels() -> None:
    weight = (
        np.random.default_rng(0).normal(size=(6, 5, 3, 3)).astype(np.float32)
        * np.logspace(-3, 2, 6)[:, None, None, None]
    )
    found = quantised_weight(weight.astype(np.float32))
    assert (np.abs(found.floats() - weight) <= 0.501 * found.scale[:, None, None, None]).all()
    assert found.values.max() == 127
    assert quantised_weight(np.zeros((2, 1, 1, 1), np.float32)).floats().max() == 0


@pytest.mark.parametrize(("low", "high"), [(-1.0, 3.0), (0.5, 2.0), (-7.0, -2.0), (0.0, 0.0)])
def test_ranges_hold_zero_exactly(low: float, high: float) -> None:
    found = range_of(low, high)
    assert 0 <= found.zero <= 255
    ends = [float(found.step) * (q - float(found.zero)) for q in (0, 255)]
    assert ends[0] <= min(low, 0) + found.step
    assert ends[1] >= max(high, 0) - found.step


def test_integers_show_nearly_the_float_image_and_both_run_times_the_same_file(whole: Model, model: Model) -> None:
    data = (GOLDEN / "loud.gnc").read_bytes()
    assert model.id == whole.id
    images = []
    for chosen, runtime in ((whole, "onnx"), (model, "onnx"), (model, "torch")):
        codec = Codec(chosen, "cpu", runtime=runtime)
        assert np.array_equal(codec.latents(data), Codec(whole, "cpu").latents(data))
        images.append(np.asarray(codec.decompress(data), np.int16))
    before, after, floats = images
    assert 0 < np.abs(before - after).mean() < 1
    assert np.abs(before - after).max() <= 16
    assert np.abs(floats - after).max() <= 16


def test_onnx_runtime_takes_integer_kernels_for_every_bottleneck(model: Model, tmp_path: Path) -> None:
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 4
    graph = model.graphs["synthesis"].tobytes()
    named = model.tensors_of(graph)
    values = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in named.values()]
    options.add_external_initializers([f"<{name}>" for name in named], values)
    onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    optimised = onnx.load(tmp_path / "optimised.onnx", load_external_data=False)
    kinds = [node.op_type for node in optimised.graph.node]
    assert kinds.count("QLinearConv") == len(model.int8) == 18


def test_rounding_in_training_is_what_eight_bits_give_and_lets_gradients_pass(whole: Model) -> None:
    network, plain = network_of(whole), network_of(whole)
    fake_int8(network)
    network.requires_grad_(True)
    assert list(network.state_dict()) == list(plain.state_dict())
    inputs = (latents(network, 9), torch.tensor([512]), torch.ones(1))
    shown, exact = network.synthesize(*inputs), plain.synthesize(*inputs)
    assert 0 < float((shown - exact).detach().abs().mean()) < 0.02
    shown.square().mean().backward()
    assert all(getattr(parent, layer).weight.grad.any() for _, parent, layer in bottleneck_convs(network))


def test_a_family_without_bottlenecks_is_refused() -> None:
    with torch.device("meta"):
        network = build(HificConfig())
    with pytest.raises(ModelError, match="eight bits"):
        calibrated(network, lambda: None)


def test_bottlenecks_that_were_left_out_are_not_looked_for() -> None:
    config = TransformConfig(8, (8, 8), (1, 1), (8, 8, 8, 8), (1, 1, 1), decoder_inner=(4, 0, 0, 2, 3, 0))
    names = [name for name, *_ in bottleneck_convs(build(HyperpriorConfig(config)))]
    assert len(names) == 9
    assert all(name.startswith("synthesis.") for name in names)


def _weight(model: Model, change: Callable[[Int8Weight], Int8Weight]) -> Model:
    return model._replace(int8={**model.int8, NAME: change(model.int8[NAME])})


@pytest.mark.parametrize(
    "scale", [np.float32(0), np.float32(-1), np.float32(np.nan), np.float32(np.inf), np.float64(1), "missing", "short"]
)
def test_hostile_scales_are_model_errors(model: Model, tmp_path: Path, scale: Any) -> None:
    def change(weight: Int8Weight) -> Int8Weight:
        if isinstance(scale, str):
            return weight._replace(scale=weight.scale[: 0 if scale == "missing" else -1])
        return weight._replace(scale=np.full(len(weight.scale), scale))

    save_model(_weight(model, change), tmp_path / "hostile.safetensors")
    with pytest.raises(ModelError):
        load_model(tmp_path / "hostile.safetensors")


@pytest.mark.parametrize("form", ["int16", "flat", "twice"])
def test_hostile_weights_are_model_errors(model: Model, tmp_path: Path, form: str) -> None:
    values = model.int8[NAME].values
    other = {"int16": values.astype(np.int16), "flat": values.reshape(len(values), -1), "twice": values}[form]
    hostile = _weight(model, lambda weight: weight._replace(values=other))  # type: ignore[arg-type]
    if form == "twice":
        hostile = hostile._replace(weights={**model.weights, NAME: values.astype(np.float16)})
    save_model(hostile, tmp_path / "hostile.safetensors")
    with pytest.raises(ModelError):
        load_model(tmp_path / "hostile.safetensors")


def test_weights_of_another_shape_are_model_errors_in_both_run_times(model: Model) -> None:
    hostile = _weight(model, lambda weight: Int8Weight(weight.values[:-1], weight.scale[:-1]))
    data = (GOLDEN / "dot.gnc").read_bytes()
    for runtime in ("onnx", "torch"):
        with pytest.raises(ModelError):
            Codec(hostile, "cpu", runtime=runtime).decompress(data)
