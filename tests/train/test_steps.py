"""Single steps: which gradients reach whom, true rates, nothing that waits for a device; HiFiC's; what hardware has."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gencomp.networks.layers import relaxed_bits
from gencomp.networks.priors import gaussian_bits
from gencomp.perceptual.weights import networks_present
from gencomp.train import devices
from gencomp.train.data.batches import Batch, StepSampler, batches, collate, open_data
from gencomp.train.data.crops import Sample, random_inputs
from gencomp.train.devices import peak_memory_gib, precision_of
from gencomp.train.losses import rate_weight
from gencomp.train.procedures.contract import Stage
from gencomp.train.procedures.shared import against_one, both_losses
from gencomp.train.recipe import Recipe
from gencomp.train.resume import build_stage
from gencomp.train.settings import recipe
from gencomp.train.steps import divided, train_step

from .conftest import small

CPU = torch.device("cpu")
NARROW = {"realism.discriminators.patch.width": "8", "realism.losses.wasserstein_laplacian": "1"}
ALL = {"realism.trains": "all", "rate.bpp": "0.2", "rate_distortion.losses.mse": "1"}


def stage_of(chosen: Recipe, number: int) -> Stage:
    AcceleratorState._reset_state()  # its precision is chosen once per process
    return build_stage(chosen, Accelerator(cpu=True, mixed_precision=chosen.precision), number)


def made_up_batch(chosen: Recipe, count: int) -> Batch:
    """Noise in the shape of a batch: arithmetic does not ask what it is."""
    pixels = torch.randint(0, 256, (count, 3, chosen.crop, chosen.crop), dtype=torch.uint8)
    return collate([Sample(n, pixels[n], random_inputs(n, chosen), []) for n in range(count)])


class NothingReadBack(TorchDispatchMode):
    """Fails where a value or a shape is read from a tensor, which on a GPU stops until it has caught up."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.masked_select.default), func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("number", "values"), [(0, {}), (1, NARROW), (1, NARROW | ALL | {"realism.discriminators.patch.r1": "1"})]
)
def test_a_step_reads_nothing_back(number: int, values: dict[str, str]) -> None:
    stage = stage_of(small(**values), number)
    batch = made_up_batch(stage.recipe, 4)
    train_step(stage, batch)  # optimisers make their state
    with NothingReadBack():
        train_step(stage, batch)


def test_the_shared_pass_gives_the_gradients_of_separate_ones() -> None:
    """The codec's by a pass over the fake images with the discriminator held still, the discriminator's by its own."""
    stage = stage_of(small("0", **NARROW), 1)
    (micro,) = divided(stage, made_up_batch(stage.recipe, 4))
    (player,) = stage.players.opponents()
    codec, weights = stage.players.codec.module, player.config
    shared = against_one(stage, player, micro, codec(micro.inputs, train_bits=False)).loss
    parameters = list(codec.synthesis.parameters())
    by_shared = torch.autograd.grad(shared, parameters, allow_unused=True, retain_graph=True)
    judged_by_shared = torch.autograd.grad(shared, list(player.module.parameters()))
    output = codec(micro.inputs, train_bits=False)  # all rows, as if every sample had realism
    judged = player.module(torch.cat([micro.inputs.x, output.x_hat]), torch.cat([output.condition] * 2))
    value, matching = both_losses(weights, judged)
    generator = micro.inputs.realism * (weights.weight * value.generator + weights.feature_matching * matching)
    apart = torch.autograd.grad(generator.mean(), parameters, allow_unused=True, retain_graph=True)
    for one, other in zip(by_shared, apart):
        if other is not None and one is not None:
            torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-3)
    loss = (micro.inputs.realism * value.discriminator).mean()
    for one, other in zip(judged_by_shared, torch.autograd.grad(loss, list(player.module.parameters()))):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-3)


def test_training_all_without_a_target_keeps_the_rate() -> None:
    """The bits weigh in stage 2 as they do in stage 1."""
    only_bits = {"realism.losses.mse": "0", "realism.teacher": "0", "realism.discriminators.patch": "0"}
    only_bits |= {"realism.discriminators.patch.feature_matching": "0", "realism.trains": "all"}
    stage = stage_of(small("0", **only_bits), 1)
    (micro,) = divided(stage, made_up_batch(stage.recipe, 4))
    output = stage.players.codec.module(micro.inputs)
    loss, _ = stage.procedure.loss(stage, micro)
    bpp = sum(output.bits.values(), torch.zeros(4)) / 64**2
    expected = (rate_weight(micro.inputs.quality_step, stage.recipe) * bpp).mean()
    torch.testing.assert_close(loss, expected)


def test_the_logged_rate_is_that_of_rounded_latents() -> None:
    """Without noise the bits of training are those of the log; with it the log stays and training pays more."""
    stage = stage_of(small(), 0)
    (micro,) = divided(stage, made_up_batch(stage.recipe, 4))
    codec = stage.players.codec.module
    noisy, rounded = codec(micro.inputs), codec(micro.inputs._replace(noise={}))
    for stream in ("y", "z"):
        torch.testing.assert_close(noisy.rounded_bits[stream], rounded.bits[stream])
        assert rounded.bits[stream].requires_grad
        assert not noisy.rounded_bits[stream].requires_grad
    assert not torch.allclose(noisy.bits["y"], rounded.bits["y"])


def test_dead_latents_cost_nothing_once_rounded() -> None:
    """A latent that is always 0 at the smallest sigma: 0.152 bits by additive noise, next to none in a file."""
    noise = torch.rand(1, 1, 200, 200, generator=torch.Generator().manual_seed(0)) - 0.5

    def bits(residual: Tensor) -> Tensor:
        return gaussian_bits(residual, torch.zeros_like(residual))

    relaxed, rounded = relaxed_bits(bits, torch.zeros(1, 1, 200, 200), noise)
    assert float(relaxed) / 200**2 == pytest.approx(0.152, abs=0.005)
    assert float(rounded) / 200**2 < 1e-4


def test_bf16_trains_both_stages() -> None:
    for number in (0, 1):
        stage = stage_of(small(precision="bf16", **NARROW), number)
        metrics = train_step(stage, made_up_batch(stage.recipe, 4))
        assert all(torch.isfinite(value).all() for value in metrics.values())


def test_micro_batches_are_equal_shares_with_the_rows_that_have_realism() -> None:
    stage = stage_of(small(accumulate="2"), 1)
    parts = divided(stage, made_up_batch(stage.recipe, 4))
    assert [len(p.inputs.x) for p in parts] == [2, 2]
    for part in parts:
        rows = part.inputs.realism.nonzero().flatten()
        assert torch.equal(part.realistic, rows if len(rows) else torch.zeros(1, dtype=torch.long))


@pytest.mark.parametrize("name", ["hific-lo", "hific-mi", "hific-hi"])
@pytest.mark.parametrize("number", [0, 1])
def test_a_real_step_of_each_recipe(photographs: Path, name: str, number: int) -> None:
    """hific-lo's stage 2 at the paper's widths, the others narrow; without LPIPS, whose weights are not here."""
    values = {"batch": "1", "crop": "64", "workers": "0", "precision": "no"}
    values |= {f"{stage}.losses.lpips_alex": "0" for stage in ("rate_distortion", "realism")}
    if (name, number) != ("hific-lo", 1):
        values |= {"model.widths": "4,8,8,16,16", "model.latent_channels": "8", "model.hyper_channels": "8"}
        values |= {"realism.discriminators.patch.width": "8"}
    chosen = recipe(name, values)
    stage = build_stage(chosen, Accelerator(cpu=True), number)
    sampler = StepSampler(chosen, stage.step, stage.step + 1)
    network = stage.players.codec.module
    before = [p.detach().clone() for p in list(network.parameters())[:3]]
    data = open_data([str(photographs)], streamed=False)
    metrics = train_step(stage, next(iter(batches(data, chosen, sampler))))
    assert all(torch.isfinite(v).all() for v in metrics.values())
    assert ("d_loss" in metrics) == (number == 1)
    assert float(metrics["price"]) == 0.5 * 2**-4  # nothing is known of the rate yet, and it is early
    assert any(not torch.equal(a, b) for a, b in zip(before, network.parameters()))


@pytest.mark.skipif("alex" not in networks_present(), reason="without AlexNet's weights: gencomp weights --download")
def test_a_reduced_recipe_learns_with_its_lpips_loss() -> None:
    """The published loss on one batch, in the stage before the discriminator and in that with it."""
    values = {"batch": "2", "crop": "64", "workers": "0", "precision": "no", "learning_rate": "0.002", "steps": "60"}
    values |= {"model.widths": "8,8,16,16,32", "model.latent_channels": "16", "model.hyper_channels": "8"}
    chosen = recipe("hific-lo", values | {"realism.discriminators.patch.width": "8", "realism.begin": "30"})
    for number in (0, 1):
        stage = build_stage(chosen, Accelerator(cpu=True), number)
        assert {term.name for term in stage.terms} == {"mse", "lpips_alex"}
        pixels = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(1))
        smooth = (255 * F.interpolate(pixels, 64, mode="bicubic")).clamp(0, 255).byte()
        batch = made_up_batch(chosen, 2)._replace(pixels=smooth)
        losses = [float(train_step(stage, batch)["lpips_alex"]) for _ in range(30)]
        assert sum(losses[-5:]) < 0.85 * sum(losses[:5])


@pytest.mark.parametrize(("multiplies", "precision"), [(True, "bf16"), (False, "no")])
def test_auto_is_bf16_where_that_is_there(multiplies: bool, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "multiplies_bfloat16", lambda device: multiplies)
    assert (precision_of("auto", CPU), precision_of("bf16", CPU)) == (precision, "bf16")
    assert precision_of("no", CPU) == "no"


def test_apples_gpus_multiply_in_float32() -> None:
    assert precision_of("auto", torch.device("mps")) == "no"


def test_memory_is_that_of_this_process() -> None:
    assert 0.05 < peak_memory_gib(CPU) < 64
