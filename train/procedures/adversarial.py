"""A codec against discriminators, for every procedure that has some."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from gencomp.networks.contract import TrainingOutput

from ..discriminators import KINDS, Discriminator, DiscriminatorOutput
from ..losses import AdversarialLoss, adversarial, feature_matching, gradient_penalty
from ..players import Opponent
from ..text import text_mask
from .contract import Metrics, MicroBatch, Stage

PENALTY_EVERY = 16  # steps; the penalty's weight is multiplied by it (Karras et al. 2020, lazy regularisation)
FP16_SCALE = 2.0**16  # of the adversarial gradient on its way through a discriminator in fp16, a power of two


class Judged(NamedTuple):
    """loss []: its gradients are those of the generator's loss for the codec and of the discriminators' own for them;
    generator []: the generator's loss, detached."""

    loss: Tensor
    generator: Tensor
    metrics: Metrics


def check_opponents(discriminators: Mapping[str, Discriminator]) -> None:
    """ValueError where one of them is no discriminator of this program."""
    unknown = [name for name in discriminators if name not in KINDS]
    if unknown:
        raise ValueError(f"no discriminator {unknown[0]!r}; known: {', '.join(KINDS)}")


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
        gradient = gradient * (1 - config.spares_text * text_mask(micro.inputs.x[rows]))
    surrogate = (output.x_hat[rows] * (gradient.float() / scale)).sum()
    loss = (share * value.discriminator).sum()
    metrics = {"d_loss": loss.detach(), "realistic/adversarial": (seen * value.generator.detach()).sum()}
    metrics |= certainty(judged, seen)
    if config.feature_matching:
        metrics["realistic/feature_matching"] = (seen * matching.detach()).sum()
    if penalised:
        penalty = gradient_penalty(halves(judged.logits)[0], real_x)
        loss = loss + 0.5 * config.r1 * PENALTY_EVERY * (seen * penalty).sum()
    return Judged(surrogate - surrogate.detach() + loss, generator.detach(), metrics)


def both_losses(config: Discriminator, judged: DiscriminatorOutput) -> tuple[AdversarialLoss, Tensor]:
    """Losses [K] of the discriminator and the generator, and of matched features, over an output for [real, fake]."""
    value = adversarial(config.gan, *halves(judged.logits))
    if not config.feature_matching:
        return value, torch.zeros_like(value.generator)
    real, fake = halves(judged.features)
    return value, feature_matching([f.float() for f in real], [f.float() for f in fake])


def halves(maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The real and the fake half of maps over [real, fake]."""
    pairs = [m.chunk(2) for m in maps]
    return [p[0] for p in pairs], [p[1] for p in pairs]


@torch.no_grad()
def certainty(judged: DiscriminatorOutput, seen: Tensor) -> Metrics:
    """Mean logits of the first output, weighted by seen [K]."""
    real, fake = judged.logits[0].flatten(1).mean(1).chunk(2)
    return {"realistic/d_real": (seen * real).sum(), "realistic/d_fake": (seen * fake).sum()}
