"""The players of a stage: what learns, what follows, what stands still.

Every player keeps its state under its own name, so that a checkpoint is written and read by going through them:

    codec          the network that is trained
    ema            its averaged weights, which are exported
    others         what the procedure adds: discriminators, a teacher, the running rate that a target is compared with
"""

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

import torch
import torch._functorch.config as functorch_config
from accelerate import Accelerator
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from .checkpoint import CheckpointError, Start, module_tensors, optimiser_tensors, restore_module, restore_optimiser
from .discriminators import Discriminator, advance_spectral_norms
from .muon import Muon
from .recipe import Recipe


class Keeper(Protocol):
    """Anything with state. tensors: all of it, by '<name>.<entry>'; restore: the reverse, from a whole checkpoint,
    CheckpointError where it does not fit."""

    def tensors(self) -> dict[str, Tensor]: ...

    def restore(self, tensors: dict[str, Tensor]) -> None: ...


class Still:
    def __init__(self, name: str, module: Any) -> None:
        self.name, self.module = name, module.requires_grad_(False)

    def tensors(self) -> dict[str, Tensor]:
        return module_tensors(self.module, self.name)

    def restore(self, tensors: dict[str, Tensor]) -> None:
        restore_module(self.module, self.name, tensors)


class Ema(Still):
    """Exponential moving average of a network's weights (buffers are not averaged: codecs have none).

    Torch's `AveragedModel` counts its updates on the device and reads the count back at every step, which stops a GPU;
    its averaging function is used without it.
    """

    @torch.no_grad()
    def follow(self, module: nn.Module, decay: float) -> None:
        """ema <- decay * ema + (1 - decay) * module, of what learns."""
        pairs = [(a, b) for a, b in zip(self.module.parameters(), module.parameters(), strict=True) if b.requires_grad]
        get_ema_multi_avg_fn(decay)([a for a, _ in pairs], [b for _, b in pairs], None)


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
            functorch_config.donated_buffer = False  # a discriminator's graph is walked twice (procedures/shared.py)
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
        return module_tensors(self.module, self.name) | optimiser_tensors(self.optimiser, f"{self.name}/optimiser")

    def restore(self, tensors: dict[str, Tensor]) -> None:
        restore_module(self.module, self.name, tensors)
        restore_optimiser(self.optimiser, f"{self.name}/optimiser", tensors)


class Opponent(Player):
    def __init__(self, name: str, module: nn.Module, config: Discriminator, clip: float) -> None:
        betas = (config.beta1, config.beta2)
        parameters = [p for p in module.parameters() if p.requires_grad]
        optimiser = torch.optim.Adam(parameters, lr=config.learning_rate, betas=betas, fused=True)
        super().__init__(name, module, optimiser, config.learning_rate, clip)
        self.config = config

    def begin(self, factor: float) -> None:
        advance_spectral_norms(self.module)
        super().begin(factor)

    def start_from(self, start: Start) -> None:
        """Go on with the weights of a run that had this discriminator; CheckpointError where they do not fit."""
        try:
            if any(key.startswith(f"{self.name}.") for key in start.others):
                restore_module(self.module, self.name, start.others)
        except CheckpointError as error:
            raise CheckpointError(f"the discriminator of --init is another one than the recipe's: {error}") from error


class RunningRate:
    """Bits per pixel of rounded latents, a running mean over steps, on the device; 0 before the first step."""

    def __init__(self, smoothing: float, device: torch.device) -> None:
        self.smoothing, self.bpp = smoothing, torch.zeros((), device=device)

    def follow(self, bpp: Tensor) -> None:
        """After a step whose samples, of all processes, took `bpp` []; the mean starts at the first one."""
        mean = self.smoothing * self.bpp + (1 - self.smoothing) * bpp
        self.bpp = torch.where(self.bpp > 0, mean, bpp)

    def tensors(self) -> dict[str, Tensor]:
        return {"rate.bpp": self.bpp}

    def restore(self, tensors: dict[str, Tensor]) -> None:
        self.bpp = tensors["rate.bpp"].to(self.bpp)


class Players(NamedTuple):
    """Those of one stage; ema None: the recipe averages nothing."""

    codec: Player
    ema: Ema | None
    others: dict[str, Keeper]

    def keepers(self) -> list[Keeper]:
        return [self.codec, *([self.ema] if self.ema else []), *self.others.values()]

    def learners(self) -> list[Player]:
        return [self.codec, *(player for player in self.others.values() if isinstance(player, Player))]

    def opponents(self) -> list[Opponent]:
        return [player for player in self.others.values() if isinstance(player, Opponent)]

    def still(self, name: str) -> Any:
        """The module of a player that does not learn."""
        player = self.others[name]
        assert isinstance(player, Still)
        return player.module

    def exported(self) -> Any:
        """The network that counts: averaged where there is an average."""
        return self.ema.module if self.ema else self.codec.module

    def average_codec(self) -> None:
        """Let the average begin with the codec's weights."""
        if self.ema is not None:
            self.ema.module.load_state_dict(self.codec.module.state_dict())


def codec_optimiser(
    recipe: Recipe, parameters: list[nn.Parameter], betas: tuple[float, float] = (0.9, 0.999)
) -> torch.optim.Optimizer:
    if recipe.optimiser == "adam":
        return torch.optim.Adam(parameters, lr=recipe.learning_rate, betas=betas, fused=True)
    products = torch.bfloat16 if recipe.precision == "bf16" else torch.float32
    return Muon(parameters, lr=recipe.learning_rate, products=products)


def opponents_of(
    discriminators: Mapping[str, Discriminator], recipe: Recipe, accelerator: Accelerator, weights: str | None
) -> dict[str, Keeper]:
    """The discriminators that have a weight, as players. weights: folder of feature networks' weights."""
    found: dict[str, Keeper] = {}
    for name, config in discriminators.items():
        if config.weight or config.feature_matching:
            network = config.build(recipe.model.latent_channels, weights).eval()
            player = Opponent(name, laid_out(network, recipe).to(accelerator.device), config, recipe.clip)
            found[name] = player.join(accelerator, compile=recipe.compile)
    return found


def laid_out(network: nn.Module, recipe: Recipe) -> Any:
    return network.to(memory_format=torch.channels_last) if recipe.channels_last else network
