"""The players of a stage: what learns, what follows, what stands still.

Every player keeps its state under its own name, so that a checkpoint is written and read by going through them:

    codec          the network that is trained
    ema            its averaged weights, which are exported
    teacher        the codec as stage 2 found it, or the wider one that is made narrower
    discriminator  of stage 2, and of stage 0
    labels         the network that labels patches, for the loss "labels"
    rate           the running rate that a target is compared with
"""

import dataclasses
from collections.abc import Iterator
from typing import Any, NamedTuple, Protocol

import torch
import torch._functorch.config as functorch_config
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from gencomp.networks import build
from gencomp.networks.contract import freeze_bits, freeze_synthesis
from gencomp.networks.int8 import fake_int8

from .checkpoint import module_tensors, optimiser_tensors, restore_module, restore_optimiser
from .discriminators import build_discriminator
from .discriminators.labels import LabelNetwork, load_label_network
from .muon import Muon
from .recipe import Recipe
from .schedule import trains_bits, trains_synthesis
from .slim.supernet import Supernet

LABELS_LEARNING_RATE = 1e-3


class Keeper(Protocol):
    """Anything with state."""

    def tensors(self) -> dict[str, Tensor]:
        """All of the state, by '<name>.<entry>'."""
        ...

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """The reverse of `tensors`, from a whole checkpoint; CheckpointError where it does not fit."""
        ...


class Still:
    """A network that does not learn here."""

    def __init__(self, name: str, module: Any) -> None:
        self.name, self.module = name, module.requires_grad_(False)

    def tensors(self) -> dict[str, Tensor]:
        """See `Keeper`."""
        return module_tensors(self.module, self.name)

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """See `Keeper`."""
        restore_module(self.module, self.name, tensors)


class Ema(Still):
    """Exponential moving average of a network's weights (buffers are not averaged: codecs have none).

    Torch's `AveragedModel` counts its updates on the device and reads the count back at every step, which stops a GPU;
    its averaging function is used without it.
    """

    @torch.no_grad()
    def follow(self, module: nn.Module, decay: float) -> None:
        """ema <- decay * ema + (1 - decay) * module."""
        get_ema_multi_avg_fn(decay)(list(self.module.parameters()), list(module.parameters()), None)


class Player:
    """A network that learns. `network` is what is called: it averages gradients over processes as they come."""

    def __init__(
        self, name: str, module: nn.Module, optimiser: torch.optim.Optimizer, learning_rate: float, clip: float
    ) -> None:
        self.name, self.learning_rate, self.clip = name, learning_rate, clip
        self.module: Any = module
        self.network: Any = module
        self.optimiser: Any = optimiser

    def join(self, accelerator: Accelerator, *, compile: bool) -> "Player":
        """Take the other processes along, then compile what is called; names of weights stay as they are."""
        self.network, self.optimiser = accelerator.prepare(self.network, self.optimiser)
        if compile:
            functorch_config.donated_buffer = False  # a discriminator's graph is walked twice (steps.py)
            self.network.compile()
        return self

    def begin(self, factor: float) -> None:
        """Before the passes of a step; factor of the learning rate."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.learning_rate * factor
        self.optimiser.zero_grad(set_to_none=True)

    def update(self, accelerator: Accelerator) -> None:
        """After the passes of a step."""
        accelerator.unscale_gradients(self.optimiser)
        parameters = [p for group in self.optimiser.param_groups for p in group["params"]]
        nn.utils.clip_grad_norm_(parameters, self.clip)
        self.optimiser.step()

    def tensors(self) -> dict[str, Tensor]:
        """See `Keeper`."""
        return module_tensors(self.module, self.name) | optimiser_tensors(self.optimiser, f"{self.name}/optimiser")

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """See `Keeper`."""
        restore_module(self.module, self.name, tensors)
        restore_optimiser(self.optimiser, f"{self.name}/optimiser", tensors)


class RunningRate:
    """Bits per pixel of rounded latents, a running mean over steps, on the device; 0 before the first step."""

    def __init__(self, smoothing: float, device: torch.device) -> None:
        self.smoothing, self.bpp = smoothing, torch.zeros((), device=device)

    def follow(self, bpp: Tensor) -> None:
        """After a step whose samples, of all processes, took `bpp` []; the mean starts at the first one."""
        mean = self.smoothing * self.bpp + (1 - self.smoothing) * bpp
        self.bpp = torch.where(self.bpp > 0, mean, bpp)

    def tensors(self) -> dict[str, Tensor]:
        """See `Keeper`."""
        return {"rate.bpp": self.bpp}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        """See `Keeper`."""
        self.bpp = tensors["rate.bpp"].to(self.bpp)


class Players(NamedTuple):
    """Those of one stage; None: not in this stage or recipe."""

    codec: Player
    ema: Ema | None
    teacher: Still | None
    discriminator: Player | None
    labels: Player | Still | None
    rate: RunningRate | None

    def keepers(self) -> Iterator[Keeper]:
        """Those that are there."""
        return (player for player in self if player is not None)

    def exported(self) -> Any:
        """The network that counts: averaged where there is an average."""
        return self.ema.module if self.ema else self.codec.module


def build_players(recipe: Recipe, accelerator: Accelerator, stage: int, weights: str | None = None) -> Players:
    """The players of a stage, untrained, on the accelerator's device. weights: folder of feature networks' weights."""
    torch.manual_seed(recipe.seed)
    device = accelerator.device
    ema = teacher = discriminator = labels = None
    supernet = recipe.slim.arithmetic and stage == 1
    network = _laid_out(Supernet(recipe.model) if supernet else build(recipe.model), recipe).to(device)
    if recipe.ema:
        ema = Ema("ema", build(recipe.model).to(device))
        ema.module.load_state_dict(network.state_dict())
    if stage == 2 and recipe.slim.int8:
        fake_int8(network)
    if not trains_bits(recipe, stage):
        freeze_bits(network)
    if not trains_synthesis(recipe, stage):
        freeze_synthesis(network)
    learning_rate = recipe.learning_rate if stage else recipe.discriminator.learning_rate
    codec = Player("codec", network, _codec_optimiser(recipe, network, stage), learning_rate, recipe.clip)
    codec.join(accelerator, compile=recipe.compile)
    if recipe.slim.arithmetic or (stage == 2 and recipe.losses.teacher):
        teacher = Still("teacher", build(_teacher(recipe)).to(device))
    if stage != 1 and (recipe.losses.adversarial or recipe.losses.feature_matching):
        discriminator = _discriminator(recipe, device, weights).join(accelerator, compile=recipe.compile)
        labels = _labels(recipe, accelerator, weights)
    rate = RunningRate(recipe.rate.smoothing, device) if recipe.rate.bpp else None
    return Players(codec, ema, teacher, discriminator, labels, rate)


def _teacher(recipe: Recipe) -> Any:
    """The configuration of the teacher: a wider synthesis, or the same."""
    wider = recipe.slim.teacher
    return recipe.model if wider is None else dataclasses.replace(recipe.model, transform=wider)


def _codec_optimiser(recipe: Recipe, network: nn.Module, stage: int) -> torch.optim.Optimizer:
    """In stage 0 with the moments of the discriminator, its opponent, whose learning rate it has, too."""
    parameters = [p for p in network.parameters() if p.requires_grad]
    if recipe.optimiser == "adam":
        betas = (recipe.discriminator.beta1, recipe.discriminator.beta2) if stage == 0 else (0.9, 0.999)
        return torch.optim.Adam(parameters, lr=recipe.learning_rate, betas=betas, fused=True)
    return Muon(
        parameters, lr=recipe.learning_rate, dtype=torch.bfloat16 if recipe.precision == "bf16" else torch.float32
    )


def _discriminator(recipe: Recipe, device: torch.device, weights: str | None) -> Player:
    config = recipe.discriminator
    network = _laid_out(build_discriminator(config, recipe.model.latent_channels, weights), recipe).to(device)
    parameters = [p for p in network.parameters() if p.requires_grad]
    betas = (config.beta1, config.beta2)
    optimiser = torch.optim.Adam(parameters, lr=config.learning_rate, betas=betas, fused=True)
    return Player("discriminator", network, optimiser, config.learning_rate, recipe.clip)


def _labels(recipe: Recipe, accelerator: Accelerator, weights: str | None) -> Player | Still | None:
    config = recipe.discriminator
    if not config.labels:
        return None
    if config.label_network:
        return Still("labels", load_label_network(config.labels, config.label_network, weights).to(accelerator.device))
    network = LabelNetwork(config.labels).to(accelerator.device)
    optimiser = torch.optim.Adam(network.parameters(), lr=LABELS_LEARNING_RATE, fused=True)
    player = Player("labels", network, optimiser, LABELS_LEARNING_RATE, recipe.clip)
    return player.join(accelerator, compile=recipe.compile)


def _laid_out(network: nn.Module, recipe: Recipe) -> Any:
    return network.to(memory_format=torch.channels_last) if recipe.channels_last else network
