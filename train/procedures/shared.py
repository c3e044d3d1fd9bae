"""What procedures have in common: terms of images, the price of bits, and the codec against discriminators."""

from typing import NamedTuple

import torch
from torch import Tensor

from gencomp.networks.contract import TrainingInputs, TrainingOutput

from .. import losses
from ..discriminators import Discriminator, DiscriminatorOutput
from ..players import Opponent, RunningRate
from ..terms import weighted
from .contract import Metrics, MicroBatch, Stage

PENALTY_EVERY = 16  # steps; the penalty's weight is multiplied by it (Karras et al. 2020, lazy regularisation)
FP16_SCALE = 2.0**16  # of the adversarial gradient on its way through a discriminator in fp16, a power of two


def image_terms(stage: Stage, micro: MicroBatch, x_hat: Tensor) -> tuple[Tensor, Metrics]:
    """The stage's terms of images, [N]: what counts always weighs more at a finer quality, whose rate costs less."""
    inputs = micro.inputs
    balance = losses.distortion_balance(inputs.quality_step, stage.recipe)
    autocast = stage.accelerator.autocast
    return weighted(stage.terms, inputs.x, x_hat, inputs.realism, balance, micro.realistic, stage.step, autocast)


def priced_bits(stage: Stage, inputs: TrainingInputs, output: TrainingOutput) -> tuple[Tensor, Metrics]:
    """Bits per pixel times their price, [N]: under a target that of the running rate, else as lambda has it."""
    bpp, rate = losses.bits_of(output) / inputs.x[0, 0].numel(), stage.players.others.get("rate")
    if not isinstance(rate, RunningRate):
        return losses.rate_weight(inputs.quality_step, stage.recipe) * bpp, {}
    price = losses.price_of_rate(stage.recipe.rate, rate.bpp, stage.step - stage.begin, stage.end - stage.begin)
    return price * bpp, {"price": price}


class Judged(NamedTuple):
    """loss []: its gradients are those of the generator's loss for the codec and of the discriminators' own for them;
    generator []: the generator's loss, detached."""

    loss: Tensor
    generator: Tensor
    metrics: Metrics


def against(stage: Stage, micro: MicroBatch, output: TrainingOutput) -> Judged:
    """All discriminators of a stage on one micro-batch; metrics of all but the first have its name in front."""
    zero = output.x_hat.new_zeros(())
    found = Judged(zero, zero, {})
    for index, opponent in enumerate(stage.players.opponents()):
        judged = against_one(stage, opponent, micro, output)
        names = {f"{key}_{opponent.name}" if index else key: value for key, value in judged.metrics.items()}
        found = Judged(found.loss + judged.loss, found.generator + judged.generator, found.metrics | names)
    return found


def against_one(stage: Stage, opponent: Opponent, micro: MicroBatch, output: TrainingOutput) -> Judged:
    """Both sides' losses from one forward pass of the discriminator over real and fake images.

    The generator's gradient is taken with respect to the images alone and handed on to the codec by a scalar product,
    so that a backward pass of the sum reaches each player with its own loss. Samples weigh as their realism does.
    """
    config, rows = opponent.config, micro.realistic
    penalised = config.r1 > 0 and stage.step % PENALTY_EVERY == 0
    real_x = micro.inputs.x[rows].detach().requires_grad_(penalised)
    fake_x = output.x_hat[rows].detach().requires_grad_()
    with stage.accelerator.autocast():
        judged = opponent.network(torch.cat([real_x, fake_x]), torch.cat([output.condition[rows]] * 2))
        value, matching = both_losses(config, judged)
    realism = micro.inputs.realism[rows]
    share, seen = realism / len(output.x_hat), (realism > 0) / len(output.x_hat)  # sums over rows are means over all
    generator = (share * (config.weight * value.generator + config.feature_matching * matching)).sum()
    scale = FP16_SCALE if stage.recipe.precision == "fp16" else 1.0
    (gradient,) = torch.autograd.grad(generator * scale, fake_x, retain_graph=True)
    if config.spares_text:
        gradient = gradient * (1 - config.spares_text * losses.text_mask(micro.inputs.x[rows]))
    surrogate = (output.x_hat[rows] * (gradient.float() / scale)).sum()
    loss = (share * value.discriminator).sum()
    real, fake = judged.logits[0].detach().flatten(1).mean(1).chunk(2)
    metrics = {"d_loss": loss.detach(), "realistic/adversarial": (seen * value.generator.detach()).sum()}
    metrics |= {"realistic/d_real": (seen * real).sum(), "realistic/d_fake": (seen * fake).sum()}
    if config.feature_matching:
        metrics["realistic/feature_matching"] = (seen * matching.detach()).sum()
    if penalised:
        penalty = losses.gradient_penalty(halves(judged.logits)[0], real_x)
        loss = loss + 0.5 * config.r1 * PENALTY_EVERY * (seen * penalty).sum()
    return Judged(surrogate - surrogate.detach() + loss, generator.detach(), metrics)


def both_losses(config: Discriminator, judged: DiscriminatorOutput) -> tuple[losses.AdversarialLoss, Tensor]:
    """Losses [K] of the discriminator and the generator, and of matched features, over an output for [real, fake]."""
    value = losses.adversarial(*halves(judged.logits))
    if not config.feature_matching:
        return value, torch.zeros_like(value.generator)
    real, fake = halves(judged.features)
    return value, losses.feature_matching([f.float() for f in real], [f.float() for f in fake])


def halves(maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The real and the fake half of maps over [real, fake]."""
    pairs = [m.chunk(2) for m in maps]
    return [p[0] for p in pairs], [p[1] for p in pairs]
