"""One optimiser step, of either stage, on one process or many: the same result either way.

Stage 1 minimises rate and distortion. Stage 2 adds a discriminator and trains the synthesis (or, by recipe, all) from
stage 1's averaged weights with fresh optimisers. Losses are means over samples of equal weight, every process and every
accumulated part holds as many samples as any other, and chance depends on sample numbers alone: so gradients are those
of the whole batch, however it is divided.
"""

import contextlib
import copy
import functools
from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn

from gencomp.bitstream import STEPS

from .checkpoint import Checkpoint, module_tensors, optimiser_tensors, restore_module, restore_optimiser
from .data.crops import Batch
from .discriminators import advance_spectral_norms, build_discriminator
from .discriminators.labels import PatchQuantiser, load_quantiser
from .losses import adversarial, feature_matching, mse, r1_penalty
from .muon import Muon
from .network import Codec, Pass, TrainingPass, build_codec, freeze_what_decides_bits, latent_channels
from .objective import build_terms, distortion_balance, picture_terms, price_of_rate, rate_distortion
from .recipes import Recipe, rate_factor, stage_span

ADAM = functools.partial(torch.optim.Adam, fused=True)
R1_EVERY = 16  # steps; the penalty's weight is multiplied by it (Karras et al. 2020, lazy regularisation)
GRAIN = "model.synthesis.grain."
GRAIN_ROWS = 1024  # rows of latents set apart for each sample

Figures = dict[str, Tensor]


class Part:
    """A share of the batch on the device: pictures in 0..1 and what chance decided for them."""

    def __init__(self, batch: Batch, rows: slice, trainer: "Trainer") -> None:
        device = trainer.accelerator.device
        pixels = batch.pixels[rows].to(device, non_blocking=True)
        self.x = pixels.float() / 255
        if trainer.recipe.channels_last:
            self.x = self.x.to(memory_format=torch.channels_last)
        draws = (t[rows].to(device, non_blocking=True) for t in batch.draws)
        self.step, self.realism, self.noise_y, self.noise_z = draws
        self.origin = place_of(batch.numbers[rows]).to(device)
        if trainer.stage == 1:  # the knob stays untouched until there is realism to learn
            self.realism = torch.zeros_like(self.realism)

    def inputs(self) -> tuple[Tensor, ...]:
        """What the network's forward pass takes."""
        return self.x, self.step, self.realism, self.noise_y, self.noise_z, self.origin


class Trainer:
    """Networks, optimisers and counters of one stage of a run."""

    def __init__(self, recipe: Recipe, accelerator: Accelerator, stage: int, weights: str | None = None) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.accelerator, self.stage, self.weights = recipe, accelerator, stage, weights
        self.step, self.begin = stage_span(recipe, stage)[0], stage_span(recipe, stage)[0]
        self.bpp = 0.0  # running mean, over all processes
        self.controlled = bool(recipe.rate.bpp)
        device = accelerator.device
        self.model = _laid_out(build_codec(recipe.model), recipe).to(device)
        self.average = self.model  # without averaging
        if recipe.ema:
            self.average = build_codec(recipe.model).to(device).requires_grad_(False)
            self.average.load_state_dict(self.model.state_dict())
        decides_bits = stage == 1 or recipe.trains == "all"
        if not decides_bits:
            freeze_what_decides_bits(self.model)
        self.anchor: Codec | None = None
        terms = recipe.losses if stage == 2 or self.controlled else None
        self.terms = build_terms(terms, weights, device) if terms else None
        self.network, self.optimiser = self._prepare(
            TrainingPass(self.model, decides_bits=decides_bits), recipe.learning_rate, (0.9, 0.999), _optimiser(recipe)
        )
        self.discriminator: nn.Module | None = None
        self.quantiser: PatchQuantiser | None = None
        self.quantiser_steps = 0
        if stage == 2:
            self._add_discriminator()

    def _add_discriminator(self) -> None:
        config, device = self.recipe.discriminator, self.accelerator.device
        channels, _ = latent_channels(self.recipe.model)
        self.discriminator = _laid_out(build_discriminator(config, channels, self.weights), self.recipe).to(device)
        betas = (config.beta1, config.beta2)
        self.judge, self.judge_optimiser = self._prepare(self.discriminator, config.learning_rate, betas)
        _trainable(self.discriminator, False)
        if config.labels:
            self.quantiser_steps = 0 if config.quantiser else config.quantiser_steps
            if config.quantiser:
                self.quantiser = load_quantiser(config.labels, config.quantiser, self.weights).to(device)
            else:
                self.quantiser = PatchQuantiser(config.labels).to(device)
                self.label_network, self.label_optimiser = self._prepare(self.quantiser, 1e-3, (0.9, 0.999))

    def _prepare(
        self, network: nn.Module, rate: float, betas: tuple[float, float], optimiser: Callable[..., Any] = ADAM
    ) -> tuple[nn.Module, Any]:
        if self.recipe.compile:
            network.compile()  # in place: names of weights stay as they are
        parameters = [p for p in network.parameters() if p.requires_grad]
        return self.accelerator.prepare(network, optimiser(parameters, lr=rate, betas=betas))

    def start_from(self, weights: dict[str, Tensor]) -> None:
        """Begin with the given weights, 'model.<name>'; stage 2 also keeps them as its anchor."""
        fresh = {k: v for k, v in module_tensors(self.model, "model").items() if k.startswith(GRAIN)}
        weights = fresh | weights  # a model may come without grain
        if self.stage == 2:
            weights |= {
                k: _heard(v) for k, v in weights.items() if k.startswith(GRAIN) and k.endswith("project.weight")
            }
        restore_module(self.model, "model", weights)
        if self.recipe.ema:
            restore_module(self.average, "model", weights)
        self._drop_anchor()

    def _drop_anchor(self) -> None:
        if self.stage == 2 and self.recipe.losses.anchor:
            self.anchor = copy.deepcopy(self.average).requires_grad_(False)

    def train_step(self, batch: Batch) -> Figures:
        """One step on this process's share of the batch; figures are means over its samples."""
        parts = self._parts(batch)
        if self.stage == 2 and self.step - self.begin < self.quantiser_steps:
            figures = self._quantiser_step(parts)
        else:
            figures = self._generator_step(parts)
        self.step += 1
        return figures

    def _parts(self, batch: Batch) -> list[Part]:
        share = len(batch.pixels) // self.recipe.accumulate
        if share * self.recipe.accumulate != len(batch.pixels):
            raise ValueError(
                f"{len(batch.pixels)} samples a process cannot be divided into {self.recipe.accumulate} parts"
            )
        rows = [slice(k * share, (k + 1) * share) for k in range(self.recipe.accumulate)]
        return [Part(batch, r, self) for r in rows]

    def _generator_step(self, parts: list[Part]) -> Figures:
        if self.discriminator is not None:
            advance_spectral_norms(self.discriminator)
        self._set_rate(self.optimiser, self.recipe.learning_rate)
        self.optimiser.zero_grad(set_to_none=True)
        collected: list[Figures] = []
        fakes: list[Pass] = []
        for index, part in enumerate(parts):
            with self._synchronised(self.network, index == len(parts) - 1):
                with self.accelerator.autocast():
                    output = self.network(*part.inputs())
                loss, figures = self._codec_loss(part, output)
                self.accelerator.backward(loss / len(parts))
            collected.append(figures | {"g_loss": loss.detach()})
            fakes.append(Pass(*(t.detach() for t in output)))
        self._apply(self.optimiser)
        if self.recipe.ema:
            done = self.step - self.begin + 1
            update_average(self.average, self.model, min(self.recipe.ema, (1 + done) / (10 + done)))
        figures = _mean(collected)
        if self.discriminator is not None:
            figures |= self._discriminator_step(parts, fakes)
        return figures

    def _codec_loss(self, part: Part, output: Pass) -> tuple[Tensor, Figures]:
        bits = output.y_bits + output.z_bits
        bpp = bits / (part.x.shape[2] * part.x.shape[3])
        error = mse(output.x_hat.detach(), part.x) * 255**2
        figures = {"bpp": bpp.detach().mean(), "psnr": (10 * torch.log10(255**2 / error)).mean()}
        figures |= _middle(part.step, bpp.detach(), error)
        if self.terms is None:
            return rate_distortion(output.x_hat, bits, part.x, part.step, self.recipe).loss, figures
        balance = distortion_balance(part.step, self.recipe)
        total, values = picture_terms(self.terms, part.x, output.x_hat, part.realism, balance)
        figures |= values
        if self.controlled:
            price = price_of_rate(self.recipe.rate, self.bpp, self.step - self.begin)
            total = total + price * bpp
            figures["price"] = torch.tensor(price, device=total.device)
        if self.anchor is not None:
            with torch.no_grad(), self.accelerator.autocast():
                still = self._anchor_pictures(part, output.y_hat)
            value = (1 - part.realism) * mse(output.x_hat, still)
            total, figures["anchor"] = total + balance * self.recipe.losses.anchor * value, value.detach().mean()
        if self.discriminator is not None:
            adversary, values = self._adversarial_terms(part, output)
            total, figures = total + adversary, figures | values
        return total.mean(), figures

    def _anchor_pictures(self, part: Part, y_hat: Tensor) -> Tensor:
        """What the stage-1 decoder shows of the same latents (of its own encoder's, where that is trained on)."""
        assert self.anchor is not None
        still = torch.zeros_like(part.realism)
        if self.recipe.trains == "synthesis":
            return self.anchor.synthesize(y_hat, part.step, still)
        return TrainingPass(self.anchor, decides_bits=False)(part.x, part.step, still, part.noise_y, part.noise_z).x_hat

    def _adversarial_terms(self, part: Part, output: Pass) -> tuple[Tensor, Figures]:
        """What the discriminator, held still, wants of the codec: weighted, times the realism, [N]."""
        assert self.discriminator is not None
        weights = self.recipe.losses
        with self.accelerator.autocast():
            fake = real = self.discriminator(output.x_hat, output.condition)
            if weights.feature_matching or weights.gan == "relativistic":
                with torch.no_grad():
                    real = self.discriminator(part.x, output.condition)
        value = adversarial(weights.gan, real.logits, fake.logits, self._labels(part.x)).generator
        total, figures = weights.adversarial * value, {"adversarial": value.detach().mean()}
        if weights.feature_matching:
            value = feature_matching([f.float() for f in real.features], [f.float() for f in fake.features])
            total, figures["feature_matching"] = total + weights.feature_matching * value, value.detach().mean()
        return part.realism * total, figures

    def _discriminator_step(self, parts: list[Part], fakes: list[Pass]) -> Figures:
        """Real and fake in one forward pass; samples weigh as their realism does in the codec's loss."""
        self._set_rate(self.judge_optimiser, self.recipe.discriminator.learning_rate)
        _trainable(self.discriminator, True)
        self.judge_optimiser.zero_grad(set_to_none=True)
        penalised = self.recipe.losses.r1 > 0 and self.step % R1_EVERY == 0
        collected = []
        for index, (part, fake) in enumerate(zip(parts, fakes)):
            with self._synchronised(self.judge, index == len(parts) - 1):
                real_x = part.x.detach().clone().requires_grad_(penalised)
                with self.accelerator.autocast():
                    verdict = self.judge(torch.cat([real_x, fake.x_hat]), torch.cat([fake.condition] * 2))
                real, false = _halves(verdict.logits)
                value = adversarial(self.recipe.losses.gan, real, false, self._labels(part.x)).discriminator
                loss = (part.realism * value).mean()
                figures = {"d_loss": loss.detach(), **_certainty(real, false)}
                if penalised:
                    penalty = r1_penalty(real, real_x).mean()
                    loss = loss + 0.5 * self.recipe.losses.r1 * R1_EVERY * penalty
                self.accelerator.backward(loss / len(parts))
            collected.append(figures)
        self._apply(self.judge_optimiser)
        _trainable(self.discriminator, False)
        return _mean(collected)

    def _quantiser_step(self, parts: list[Part]) -> Figures:
        self.label_optimiser.zero_grad(set_to_none=True)
        collected = []
        for index, part in enumerate(parts):
            with self._synchronised(self.label_network, index == len(parts) - 1):
                with self.accelerator.autocast():
                    quantised = self.label_network(part.x)
                loss = quantised.loss.mean()
                self.accelerator.backward(loss / len(parts))
            collected.append({"quantiser_loss": loss.detach()})
        self._apply(self.label_optimiser)
        return _mean(collected)

    @torch.no_grad()
    def _labels(self, x: Tensor) -> Tensor | None:
        return self.quantiser(x).labels if self.quantiser is not None else None

    def _apply(self, optimiser: Any) -> None:
        self.accelerator.unscale_gradients(optimiser)
        parameters = [p for group in optimiser.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, self.recipe.clip)
        optimiser.step()

    def _set_rate(self, optimiser: Any, rate: float) -> None:
        for group in optimiser.param_groups:
            group["lr"] = rate * rate_factor(self.recipe, self.step)

    def _synchronised(self, network: nn.Module, last: bool) -> Any:
        """Gradients go round the processes with the last part only."""
        return contextlib.nullcontext() if last else self.accelerator.no_sync(network)

    def checkpoint(self) -> Checkpoint:
        """All that a resume needs."""
        tensors = module_tensors(self.model, "model")
        if self.recipe.ema:
            tensors |= module_tensors(self.average, "average")
        tensors |= optimiser_tensors(self.optimiser, "optimiser")
        if self.anchor is not None:
            tensors |= module_tensors(self.anchor, "anchor")
        if self.discriminator is not None:
            tensors |= module_tensors(self.discriminator, "discriminator")
            tensors |= optimiser_tensors(self.judge_optimiser, "judge_optimiser")
        if self.quantiser is not None:
            tensors |= module_tensors(self.quantiser, "quantiser")
        if self.quantiser_steps:
            tensors |= optimiser_tensors(self.label_optimiser, "label_optimiser")
        meta: dict[str, Any] = {"stage": self.stage, "bpp": self.bpp}
        if self.accelerator.scaler is not None:
            meta["scaler"] = self.accelerator.scaler.state_dict()
        return Checkpoint(self.step, meta, tensors)

    def restore(self, saved: Checkpoint) -> None:
        """Continue exactly where the checkpoint was made."""
        restore_module(self.model, "model", saved.tensors)
        if self.recipe.ema:
            restore_module(self.average, "average", saved.tensors)
        restore_optimiser(self.optimiser, "optimiser", saved.tensors)
        self._drop_anchor()
        if self.anchor is not None:
            restore_module(self.anchor, "anchor", saved.tensors)
        if self.discriminator is not None:
            restore_module(self.discriminator, "discriminator", saved.tensors)
            restore_optimiser(self.judge_optimiser, "judge_optimiser", saved.tensors)
        if self.quantiser is not None:
            restore_module(self.quantiser, "quantiser", saved.tensors)
        if self.quantiser_steps:
            restore_optimiser(self.label_optimiser, "label_optimiser", saved.tensors)
        if self.accelerator.scaler is not None and "scaler" in saved.meta:
            self.accelerator.scaler.load_state_dict(saved.meta["scaler"])
        self.step, self.bpp = saved.step, float(saved.meta.get("bpp", 0.0))


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * model, parameter by parameter."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)


def _optimiser(recipe: Recipe) -> Callable[..., Any]:
    if recipe.optimiser == "adam":
        return ADAM
    return functools.partial(Muon, dtype=torch.bfloat16 if recipe.precision == "bf16" else torch.float32)


def _heard(weight: Tensor) -> Tensor:
    """Grain that was silent starts as any convolution does: deviations have no gradient towards noise of size zero."""
    return weight if weight.any() else nn.init.kaiming_uniform_(torch.empty_like(weight), a=5**0.5)


def place_of(numbers: Tensor) -> Tensor:
    """Where a sample's grain begins: int64 [B] numbers -> [B, 2] rows and columns, far from any other's."""
    return torch.stack([numbers * GRAIN_ROWS, torch.zeros_like(numbers)], 1)


def _laid_out(network: nn.Module, recipe: Recipe) -> Any:
    return network.to(memory_format=torch.channels_last) if recipe.channels_last else network


def _trainable(network: nn.Module | None, value: bool) -> None:
    """Switch the gradients of the trained weights; a frozen backbone stays frozen."""
    assert network is not None
    for name, parameter in network.named_parameters():
        parameter.requires_grad_(value and not name.startswith("backbone."))


def _halves(maps: list[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """The real and the fake half of maps over [real, fake]."""
    pairs = [m.chunk(2) for m in maps]
    return [p[0] for p in pairs], [p[1] for p in pairs]


@torch.no_grad()
def _certainty(real: list[Tensor], fake: list[Tensor]) -> Figures:
    """Mean logits of the first output; with labels, the log odds against class 0."""

    def mean(logits: Tensor) -> Tensor:
        return (logits[:, 1:].logsumexp(1) - logits[:, 0] if logits.shape[1] > 1 else logits).mean()

    return {"d_real": mean(real[0]), "d_fake": mean(fake[0])}


def _middle(step: Tensor, bpp: Tensor, error: Tensor) -> Figures:
    """Rate and error near the middle quality (steps of the middle fifth), as sums with their count, over the batch."""
    inside = ((step - STEPS // 2).abs() <= STEPS // 10).float()
    return {"_middle": inside.mean(), "_middle_bpp": (inside * bpp).mean(), "_middle_mse": (inside * error).mean()}


def _mean(collected: list[Figures]) -> Figures:
    return {name: torch.stack([f[name] for f in collected]).mean() for name in collected[0]}
