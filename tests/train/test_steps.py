"""Single steps: which gradients reach whom, true rates, and nothing that waits for a device."""

from typing import Any

import pytest
import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from gencomp.train.data.augment import jittered
from gencomp.train.objective import rate_weight
from gencomp.train.players import Player
from gencomp.train.recipe import Recipe
from gencomp.train.stage import Stage, build_stage
from gencomp.train.steps import adversarial_losses, both_losses, codec_loss, divided, train_step
from gencomp.train.throughput import made_up_batch

from .conftest import small

NARROW = {"discriminator.width": "8", "losses.wasserstein": "1", "losses.wasserstein_features": "laplacian"}


def stage_of(chosen: Recipe, number: int) -> Stage:
    AcceleratorState._reset_state()  # its precision is chosen once per process
    return build_stage(chosen, Accelerator(cpu=True, mixed_precision=chosen.precision), number)


class NothingReadBack(TorchDispatchMode):
    """Fails where a value or a shape is read from a tensor, which on a GPU stops until it has caught up."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        assert func not in (torch.ops.aten._local_scalar_dense.default, torch.ops.aten.masked_select.default), func
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("number", "values"),
    [(1, {}), (2, NARROW), (2, NARROW | {"trains": "all", "rate.bpp": "0.2", "losses.r1": "1", "losses.r2": "1"})],
)
def test_a_step_reads_nothing_back(number: int, values: dict[str, str]) -> None:
    stage = stage_of(small(**values), number)
    batch = made_up_batch(stage.recipe, 4)
    train_step(stage, batch)  # optimisers make their state
    with NothingReadBack():
        train_step(stage, batch)


def test_the_shared_pass_gives_the_gradients_of_separate_ones() -> None:
    """The codec's by a pass over the fake images with the discriminator held still, the discriminator's by its own."""
    stage = stage_of(small(adversarial_from="0", **NARROW), 2)
    (micro,) = divided(stage, made_up_batch(stage.recipe, 4))
    player, weights = stage.players.discriminator, stage.recipe.losses
    assert isinstance(player, Player)
    codec = stage.players.codec.module
    shared = adversarial_losses(stage, player, micro, codec(micro.inputs, train_bits=False))
    parameters = list(codec.synthesis.parameters())
    by_shared = torch.autograd.grad(shared.surrogate, parameters, allow_unused=True)
    judged_by_shared = torch.autograd.grad(shared.discriminator, list(player.module.parameters()))

    output = codec(micro.inputs, train_bits=False)  # all rows, as if every sample had realism
    judged = player.module(torch.cat([micro.inputs.x, output.x_hat]), torch.cat([output.condition] * 2))
    value, matching = both_losses(stage, micro.inputs.x, judged)
    generator = micro.inputs.realism * (weights.adversarial * value.generator + weights.feature_matching * matching)
    apart = torch.autograd.grad(generator.mean(), parameters, allow_unused=True, retain_graph=True)
    for one, other in zip(by_shared, apart):
        if other is not None and one is not None:
            torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-3)
    loss = (micro.inputs.realism * value.discriminator).mean()
    for one, other in zip(judged_by_shared, torch.autograd.grad(loss, list(player.module.parameters()))):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-3)


def test_training_all_without_a_target_keeps_the_rate() -> None:
    """The bits weigh in stage 2 as they do in stage 1."""
    stage = stage_of(small(adversarial_from="0", trains="all", **{"losses.mse": "0", "losses.teacher": "0"}), 2)
    (micro,) = divided(stage, made_up_batch(stage.recipe, 4))
    output = stage.players.codec.module(micro.inputs)
    loss, _ = codec_loss(stage, micro, output)
    bpp = sum(output.bits.values(), torch.zeros(4)) / 64**2
    expected = (rate_weight(micro.inputs.quality_step, stage.recipe) * bpp).mean()
    torch.testing.assert_close(loss, expected)


def test_the_logged_rate_is_that_of_rounded_latents() -> None:
    """Without noise the bits of training are those of the log; with it the log stays and training pays more."""
    stage = stage_of(small(), 1)
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
    from gencomp.networks.layers import relaxed_bits
    from gencomp.networks.priors import gaussian_bits

    noise = torch.rand(1, 1, 200, 200, generator=torch.Generator().manual_seed(0)) - 0.5

    def bits(residual: Tensor) -> Tensor:
        return gaussian_bits(residual, torch.zeros_like(residual))

    relaxed, rounded = relaxed_bits(bits, torch.zeros(1, 1, 200, 200), noise)
    assert float(relaxed) / 200**2 == pytest.approx(0.152, abs=0.005)
    assert float(rounded) / 200**2 < 1e-4


def test_the_last_part_of_stage_one_sees_no_noise() -> None:
    stage = stage_of(small(rounded_fraction="0.5"), 1)
    batch = made_up_batch(stage.recipe, 4)
    assert divided(stage, batch)[0].inputs.noise
    stage.step = 2
    assert not divided(stage, batch)[0].inputs.noise
    assert torch.isfinite(train_step(stage, batch)["g_loss"])


def test_bf16_trains_both_stages() -> None:
    for number in (1, 2):
        stage = stage_of(small(precision="bf16", **NARROW), number)
        metrics = train_step(stage, made_up_batch(stage.recipe, 4))
        assert all(torch.isfinite(value).all() for value in metrics.values())


def test_jitter_is_each_samples_own_and_none_where_its_factors_are_one() -> None:
    from torchvision.transforms.functional import adjust_gamma

    x = torch.rand(3, 3, 16, 16, generator=torch.Generator().manual_seed(1))
    saturation, gamma = torch.tensor([1.0, 0.6, 1.0]), torch.tensor([1.0, 1.0, 1.4])
    together = jittered(x, saturation, gamma)
    torch.testing.assert_close(together[0], x[0], atol=1e-5, rtol=0)
    torch.testing.assert_close(together[2], adjust_gamma(x[2], 1.4), atol=1e-5, rtol=0)
    for i in range(3):
        torch.testing.assert_close(jittered(x[i : i + 1], saturation[i : i + 1], gamma[i : i + 1])[0], together[i])
    assert together[1].std(0).mean() < x[1].std(0).mean()


def test_micro_batches_are_equal_shares_with_the_rows_that_have_realism() -> None:
    stage = stage_of(small(accumulate="2"), 2)
    parts = divided(stage, made_up_batch(stage.recipe, 4))
    assert [len(p.inputs.x) for p in parts] == [2, 2]
    for part in parts:
        rows = part.inputs.realism.nonzero().flatten()
        assert torch.equal(part.realistic, rows if len(rows) else torch.zeros(1, dtype=torch.long))
