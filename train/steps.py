"""One optimiser step, of either stage, on one process or many: the same result either way.

Stage 0, where a recipe has one, plays the synthesis against a discriminator, without images to code. Stage 1 minimises
rate and distortion. Stage 2 adds a discriminator and trains the synthesis (or, by recipe, all) from
stage 1's averaged weights with fresh optimisers. Read it from top to bottom:

    train_step  ->  label_step | codec_step (stage 1)  |  codec_step with a discriminator (stages 0 and 2)
    codec_step  ->  for each micro-batch: codec pass, discriminator pass, losses, backward;  then the updates

Losses are means over samples of equal weight, every process and every micro-batch holds as many samples as any other,
and random inputs depend on sample numbers alone: so gradients are those of the whole batch, however it is divided.
Nothing here waits for the device: no value is read back within a step.
"""

import contextlib
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from gencomp.bitstream import STEPS
from gencomp.networks.contract import TrainingInputs, TrainingOutput

from .data.augment import jittered
from .data.batches import Batch
from .discriminators import DiscriminatorOutput, advance_spectral_norms
from .losses import AdversarialLoss, adversarial, feature_matching, gradient_penalty, mse
from .objective import distortion_balance, image_terms, price_of_rate, rate_distortion, rate_weight
from .players import Player
from .schedule import learning_rate_factor, rounds
from .slim.supernet import Supernet, drawn_widths
from .stage import Metrics, Stage

PENALTY_EVERY = 16  # steps; the penalty's weight is multiplied by it (Karras et al. 2020, lazy regularisation)
NOISE_ROWS = 1024  # rows of positional noise set apart for each sample
FP16_SCALE = 2.0**16  # of the adversarial gradient on its way through a discriminator in fp16, a power of two


class MicroBatch(NamedTuple):
    """A share of the batch on the device. realistic int64 [K]: rows with realism above 0, the only ones that a
    discriminator and the terms of realism see (or row 0, whose weight is 0, where there are none)."""

    inputs: TrainingInputs
    realistic: Tensor


def train_step(stage: Stage, batch: Batch) -> Metrics:
    """One step on this process's share of the batch; metrics are means over its samples, still on the device."""
    micro_batches = divided(stage, batch)
    labels, codec = stage.players.labels, stage.players.codec.module
    if isinstance(codec, Supernet):
        codec.widths = drawn_widths(stage.recipe, stage.step)
    if isinstance(labels, Player) and stage.step - stage.begin < stage.recipe.discriminator.label_steps:
        metrics = label_step(stage, labels, micro_batches)
    else:
        metrics = codec_step(stage, micro_batches)
    stage.step += 1
    return metrics


def codec_step(stage: Stage, micro_batches: list[MicroBatch]) -> Metrics:
    """The codec's step and, in stages 0 and 2, the discriminator's, from one pass of each over every micro-batch."""
    players, accelerator, recipe = stage.players, stage.accelerator, stage.recipe
    codec, discriminator = players.codec, players.discriminator
    factor = learning_rate_factor(recipe, stage.step)
    codec.begin(factor)
    if discriminator is not None:
        advance_spectral_norms(discriminator.module)
        discriminator.begin(factor)
    collected: list[Metrics] = []
    for index, micro in enumerate(micro_batches):
        with synchronised(stage, last=index == len(micro_batches) - 1):
            with accelerator.autocast():
                output = codec_pass(stage, micro.inputs)
            loss, metrics = codec_loss(stage, micro, output)
            metrics["g_loss"] = loss.detach()
            if discriminator is not None:
                both = adversarial_losses(stage, discriminator, micro, output)
                accelerator.backward(both.discriminator / len(micro_batches))
                loss = loss + both.surrogate
                metrics |= both.metrics
                metrics["g_loss"] = metrics["g_loss"] + both.generator
            accelerator.backward(loss / len(micro_batches))
        collected.append(metrics)
    codec.update(accelerator)
    if discriminator is not None:
        discriminator.update(accelerator)
    if players.ema is not None:
        done = stage.step - stage.begin + 1
        players.ema.follow(codec.module, min(recipe.ema, (1 + done) / (10 + done)))
    return mean(collected)


def codec_pass(stage: Stage, inputs: TrainingInputs) -> TrainingOutput:
    """The images coded and decoded; in stage 0 others, of latents that are drawn."""
    network = stage.players.codec.network
    if stage.number == 0:
        return network(inputs, train_bits=False, drawn=True)
    return network(inputs, train_bits=stage.trains_bits)


def label_step(stage: Stage, labels: Player, micro_batches: list[MicroBatch]) -> Metrics:
    """The label network learns before the discriminator that takes its labels."""
    labels.begin(1.0)
    collected: list[Metrics] = []
    for index, micro in enumerate(micro_batches):
        last = index == len(micro_batches) - 1
        with contextlib.nullcontext() if last else stage.accelerator.no_sync(labels.network):
            with stage.accelerator.autocast():
                labelled = labels.network(micro.inputs.x)
            loss = labelled.loss.mean()
            stage.accelerator.backward(loss / len(micro_batches))
        used = torch.zeros(stage.recipe.discriminator.labels, device=stage.device)
        used = used.index_fill(0, labelled.labels.flatten(), 1.0)
        collected.append({"labels_loss": loss.detach(), "labels_used": used.mean()})
    labels.update(stage.accelerator)
    return mean(collected)


def codec_loss(stage: Stage, micro: MicroBatch, output: TrainingOutput) -> tuple[Tensor, Metrics]:
    """Rate, distortion and realism without the discriminator, mean over the samples []."""
    inputs, recipe = micro.inputs, stage.recipe
    if stage.number == 0:  # images that were drawn have no original
        return output.x_hat.new_zeros(()), {"_realistic": torch.ones((), device=stage.device)}
    pixels = inputs.x.shape[2] * inputs.x.shape[3]
    bits = torch.stack(list(output.bits.values())).sum(0)
    bpp = torch.stack(list(output.rounded_bits.values())).sum(0) / pixels  # what a file takes
    metrics = watched(inputs, output.x_hat.detach(), bpp)
    if stage.terms is None:
        return rate_distortion(output.x_hat, bits, inputs.x, inputs.quality_step, recipe).loss, metrics
    balance = distortion_balance(inputs.quality_step, recipe)
    total, values = image_terms(stage.terms, inputs.x, output.x_hat, inputs.realism, balance, micro.realistic)
    metrics |= values
    if stage.players.rate is not None:
        price = price_of_rate(recipe.rate, stage.players.rate.bpp, stage.step - stage.begin, stage.end - stage.begin)
        total, metrics["price"] = total + price * bits / pixels, price
    elif stage.trains_bits:
        total = total + rate_weight(inputs.quality_step, recipe) * bits / pixels
    if stage.players.teacher is not None:
        with torch.no_grad(), stage.accelerator.autocast():
            taught = taught_images(stage, inputs, output.y_hat)
        value = teacher_distance(stage, inputs, output.x_hat, taught)
        total, metrics["teacher"] = total + balance * recipe.losses.teacher * value, value.detach().mean()
    return total.mean(), metrics


def taught_images(stage: Stage, inputs: TrainingInputs, y_hat: Tensor) -> Tensor:
    """What the teacher shows of the same latents (of its own encoder's, where that is trained on): the stage-1 decoder
    at realism 0, a wider decoder at the same realism."""
    assert stage.players.teacher is not None
    teacher, still = stage.players.teacher.module, torch.zeros_like(inputs.realism)
    if stage.recipe.slim.arithmetic:
        return teacher.synthesize(y_hat, inputs.quality_step, inputs.realism, inputs.origin)
    if stage.recipe.trains == "synthesis":
        return teacher.synthesize(y_hat, inputs.quality_step, still)
    return teacher(inputs._replace(realism=still), train_bits=False).x_hat


def teacher_distance(stage: Stage, inputs: TrainingInputs, x_hat: Tensor, taught: Tensor) -> Tensor:
    """Squared error to the teacher's images, [N], weighed over realisms as the recipe says: texture that cannot be
    followed stroke by stroke should not be blurred for it."""
    share = stage.recipe.slim.taught if stage.recipe.slim.arithmetic else 0.0
    return (1 - (1 - share) * inputs.realism) * mse(x_hat, taught)


class Adversarial(NamedTuple):
    """surrogate []: its gradient by x_hat is that of the generator's loss; generator []: that loss, detached;
    discriminator []: what the discriminator minimises."""

    surrogate: Tensor
    generator: Tensor
    discriminator: Tensor
    metrics: Metrics


def adversarial_losses(stage: Stage, player: Player, micro: MicroBatch, output: TrainingOutput) -> Adversarial:
    """Both players' losses from one forward pass of the discriminator over real and fake images.

    The generator's gradient is taken with respect to the images alone and handed on to the codec by a scalar product,
    so that each backward pass reaches one player. Samples weigh as their realism does.
    """
    weights, rows = stage.recipe.losses, micro.realistic
    penalised = stage.step % PENALTY_EVERY == 0
    real_x = micro.inputs.x[rows].detach().requires_grad_(penalised and weights.r1 > 0)
    fake_x = output.x_hat[rows].detach().requires_grad_()
    with stage.accelerator.autocast():
        judged = player.network(torch.cat([real_x, fake_x]), torch.cat([output.condition[rows]] * 2))
        value, matching = both_losses(stage, micro.inputs.x[rows], judged)
    realism = micro.inputs.realism[rows]
    share, seen = realism / len(output.x_hat), (realism > 0) / len(output.x_hat)  # sums over rows are means over all
    generator = (share * (weights.adversarial * value.generator + weights.feature_matching * matching)).sum()
    scale = FP16_SCALE if stage.recipe.precision == "fp16" else 1.0
    (gradient,) = torch.autograd.grad(generator * scale, fake_x, retain_graph=True)
    surrogate = (output.x_hat[rows] * (gradient.float() / scale)).sum()
    loss = (share * value.discriminator).sum()
    metrics = {"d_loss": loss.detach(), "realistic/adversarial": (seen * value.generator.detach()).sum()}
    metrics |= certainty(judged, seen)
    if weights.feature_matching:
        metrics["realistic/feature_matching"] = (seen * matching.detach()).sum()
    if penalised:
        for weight, logits, images in zip((weights.r1, weights.r2), halves(judged.logits), (real_x, fake_x)):
            if weight:
                loss = loss + 0.5 * weight * PENALTY_EVERY * (seen * gradient_penalty(logits, images)).sum()
    return Adversarial(surrogate - surrogate.detach(), generator.detach(), loss, metrics)


def both_losses(stage: Stage, x: Tensor, judged: DiscriminatorOutput) -> tuple[AdversarialLoss, Tensor]:
    """Losses [K] of the discriminator and the generator, and of matched features, over an output for [real, fake]."""
    weights, labels = stage.recipe.losses, stage.players.labels
    real, fake = halves(judged.logits)
    with torch.no_grad():
        wanted = labels.module(x).labels if labels is not None else None
    value = adversarial(weights.gan, real, fake, wanted)
    if not weights.feature_matching:
        return value, torch.zeros_like(value.generator)
    real, fake = halves(judged.features)
    return value, feature_matching([f.float() for f in real], [f.float() for f in fake])


def divided(stage: Stage, batch: Batch) -> list[MicroBatch]:
    """The batch in `accumulate` parts of equal size, on the device."""
    count = stage.recipe.accumulate
    share = len(batch.pixels) // count
    if share * count != len(batch.pixels):
        raise ValueError(f"{len(batch.pixels)} samples per process cannot be divided into {count} micro-batches")
    return [micro_batch(stage, batch, slice(k * share, (k + 1) * share)) for k in range(count)]


def micro_batch(stage: Stage, batch: Batch, rows: slice) -> MicroBatch:
    """Rows of a batch, moved to the device: images in 0..1 and random inputs, a realism of 0 where none is drawn (1 in
    stage 0, where the discriminator is all)."""

    def moved(value: Tensor) -> Tensor:
        return value.to(stage.device, non_blocking=True)

    realism = batch.random.realism[rows]
    realism = realism if stage.draws_realism else torch.full_like(realism, float(stage.number == 0))
    realistic = realism.nonzero().flatten()  # still on the CPU
    x = moved(batch.pixels[rows]).float() / 255
    if stage.recipe.colour_jitter:
        x = jittered(x, moved(batch.random.saturation[rows]), moved(batch.random.gamma[rows]))
    if stage.recipe.channels_last:
        x = x.to(memory_format=torch.channels_last)
    noise = {} if rounds(stage.recipe, stage.step) else {k: moved(v[rows]) for k, v in batch.random.noise.items()}
    inputs = TrainingInputs(
        x, moved(batch.random.quality_step[rows]), moved(realism), noise, moved(noise_origin(batch.numbers[rows]))
    )
    return MicroBatch(inputs, moved(realistic if len(realistic) else torch.zeros(1, dtype=torch.long)))


def noise_origin(numbers: Tensor) -> Tensor:
    """Where a sample's positional noise begins: int64 [B] -> [B, 2] rows and columns, far from any other's."""
    return torch.stack([numbers * NOISE_ROWS, torch.zeros_like(numbers)], 1)


@contextlib.contextmanager
def synchronised(stage: Stage, *, last: bool) -> Iterator[None]:
    """Gradients go round the processes with the last micro-batch only."""
    with contextlib.ExitStack() as stack:
        for player in (stage.players.codec, stage.players.discriminator):
            if player is not None and not last:
                stack.enter_context(stage.accelerator.no_sync(player.network))
        yield


def halves(maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The real and the fake half of maps over [real, fake]."""
    pairs = [m.chunk(2) for m in maps]
    return [p[0] for p in pairs], [p[1] for p in pairs]


@torch.no_grad()
def certainty(judged: DiscriminatorOutput, seen: Tensor) -> Metrics:
    """Mean logits of the first output, with labels the log odds against class 0, weighted by seen [K]."""
    logits = judged.logits[0]
    odds = logits[:, 1:].logsumexp(1) - logits[:, 0] if logits.shape[1] > 1 else logits
    real, fake = odds.flatten(1).mean(1).chunk(2)
    return {"realistic/d_real": (seen * real).sum(), "realistic/d_fake": (seen * fake).sum()}


@torch.no_grad()
def watched(inputs: TrainingInputs, x_hat: Tensor, bpp: Tensor) -> Metrics:
    """Rate of rounded latents and PSNR; both also near the middle quality (quality steps of the middle fifth), as sums
    with their count, over the batch."""
    error = mse(x_hat, inputs.x) * 255**2
    inside = ((inputs.quality_step - STEPS // 2).abs() <= STEPS // 10).float()
    middle = {"_middle": inside.mean(), "_middle_bpp": (inside * bpp).mean(), "_middle_mse": (inside * error).mean()}
    counted = {"_realistic": (inputs.realism > 0).float().mean()}  # what the sums "realistic/..." are divided by
    return {"bpp": bpp.mean(), "psnr": (10 * torch.log10(255**2 / error)).mean(), **middle, **counted}


def mean(collected: list[Metrics]) -> Metrics:
    """Means over micro-batches."""
    return {name: torch.stack([m[name] for m in collected]).mean() for name in collected[0]}
