"""The training loop: one process or many through Accelerate, the same result either way."""

import json
import time
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from torch import Tensor, nn
from tqdm import tqdm

from gencomp.bitstream import STEPS
from gencomp.files import write_atomically
from gencomp.model import HyperpriorCodec, ModelConfig

from .data import Crops, StepSampler, draws, loader
from .objective import RateDistortion, rate_distortion
from .recipes import Recipe, learning_rate, to_json
from .state import (
    Checkpoint,
    checkpoints,
    initial_weights,
    load_checkpoint,
    module_tensors,
    optimiser_tensors,
    restore_module,
    restore_optimiser,
    save_checkpoint,
)


class RateDistortionTrainer:
    """Stage 1: network, averaged network and optimiser, with one method a step."""

    def __init__(self, recipe: Recipe, accelerator: Accelerator) -> None:
        torch.manual_seed(recipe.seed)
        self.recipe, self.accelerator, self.step = recipe, accelerator, 0
        assert isinstance(recipe.model, ModelConfig)
        self.model = HyperpriorCodec(recipe.model).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.average = HyperpriorCodec(recipe.model).to(accelerator.device).requires_grad_(False)
        self.average.load_state_dict(self.model.state_dict())
        optimiser = torch.optim.Adam(self.model.parameters(), lr=recipe.learning_rate, fused=True)
        self.network, self.optimiser = accelerator.prepare(self.model, optimiser)

    def train_step(self, numbers: Tensor, pixels: Tensor) -> RateDistortion:
        """One optimiser step on uint8 pixels [B, 3, crop, crop] with sample numbers [B]."""
        device = self.accelerator.device
        chance = draws(numbers, self.recipe)
        step, noise_y, noise_z = (t.to(device, non_blocking=True) for t in chance)
        x = (pixels.to(device, non_blocking=True).float() / 255).to(memory_format=torch.channels_last)
        for group in self.optimiser.param_groups:
            group["lr"] = learning_rate(self.recipe, self.step)
        with self.accelerator.autocast():
            output = self.network(x, step, torch.zeros(len(x), device=device), noise_y, noise_z)
        result = rate_distortion(output, x, step, self.recipe)
        self.optimiser.zero_grad(set_to_none=True)
        self.accelerator.backward(result.loss)
        self.accelerator.clip_grad_norm_(self.network.parameters(), self.recipe.clip)
        self.optimiser.step()
        self.step += 1
        update_average(self.average, self.model, min(self.recipe.ema, (1 + self.step) / (10 + self.step)))
        return result

    def checkpoint(self) -> Checkpoint:
        """All that a resume needs."""
        tensors = module_tensors(self.model, "model") | module_tensors(self.average, "average")
        tensors |= optimiser_tensors(self.optimiser, "optimiser")
        return Checkpoint(self.step, {"recipe": json.loads(to_json(self.recipe))}, tensors)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Continue exactly where the checkpoint was made."""
        restore_module(self.model, "model", checkpoint.tensors)
        restore_module(self.average, "average", checkpoint.tensors)
        restore_optimiser(self.optimiser, "optimiser", checkpoint.tensors)
        self.step = checkpoint.step


@torch.no_grad()
def update_average(average: nn.Module, model: nn.Module, decay: float) -> None:
    """average <- decay * average + (1 - decay) * model, parameter by parameter."""
    torch._foreach_lerp_(list(average.parameters()), list(model.parameters()), 1 - decay)


def summary(results: list[RateDistortion], steps: list[Tensor]) -> dict[str, float]:
    """Means since the last report, and bpp and PSNR near the middle quality (steps of the middle fifth)."""
    bpp, mse, step = (torch.cat(v) for v in ([r.bpp for r in results], [r.mse for r in results], steps))
    middle = (step - STEPS // 2).abs() <= STEPS // 10
    values = {"loss": float(torch.stack([r.loss for r in results]).mean()), "bpp": float(bpp.mean())}
    values["psnr"] = float((10 * torch.log10(255**2 / mse)).mean())
    if middle.any():
        values["bpp_middle"], values["mse_middle"] = float(bpp[middle].mean()), float(mse[middle].mean())
    return values


def run(recipe: Recipe, folders: list[Path], out: Path, *, save_every: int = 500, init: Path | None = None) -> Path:
    """Train to `recipe.steps`, resuming from the newest checkpoint under `out`; returns the last checkpoint."""
    accelerator = Accelerator(mixed_precision=recipe.precision)
    trainer = RateDistortionTrainer(recipe, accelerator)
    resumed = checkpoints(out)
    if resumed:
        trainer.restore(load_checkpoint(resumed[-1]))
    elif init is not None:
        weights = initial_weights(init)
        restore_module(trainer.model, "model", weights)
        restore_module(trainer.average, "model", weights)
    out.mkdir(parents=True, exist_ok=True)
    if accelerator.is_main_process:
        write_atomically(out / "recipe.json", to_json(recipe).encode())
        write_atomically(out / "data.json", json.dumps([str(f.resolve()) for f in folders]).encode())
    crops = Crops(folders, recipe)
    sampler = StepSampler(recipe, trainer.step, accelerator.process_index, accelerator.num_processes)
    bar = tqdm(total=recipe.steps, initial=trainer.step, disable=not accelerator.is_main_process, mininterval=5)
    log: list[RateDistortion] = []
    log_steps: list[Tensor] = []
    began, waited, mark = time.monotonic(), 0.0, time.monotonic()
    for numbers, pixels in loader(crops, sampler):
        waited += time.monotonic() - mark
        result = trainer.train_step(numbers, pixels)
        log.append(RateDistortion(*(t.detach().cpu() for t in result)))
        log_steps.append(draws_steps(numbers, recipe))
        bar.update()
        if trainer.step % 50 == 0 and accelerator.is_main_process:
            elapsed = time.monotonic() - began
            line: dict[str, Any] = {"step": trainer.step, "stage": 1, **summary(log, log_steps)}
            line |= {"images_a_second": 50 * recipe.batch / elapsed, "data_wait": waited / elapsed}
            line |= {"processes": accelerator.num_processes, "lr": learning_rate(recipe, trainer.step)}
            with (out / "log.jsonl").open("a") as file:
                file.write(json.dumps(line) + "\n")
            log, log_steps, began, waited = [], [], time.monotonic(), 0.0
        if trainer.step % save_every == 0 or trainer.step == recipe.steps:
            accelerator.wait_for_everyone()
            if accelerator.is_main_process:
                save_checkpoint(out, trainer.checkpoint())
        mark = time.monotonic()
    bar.close()
    accelerator.end_training()
    return checkpoints(out)[-1]


def draws_steps(numbers: Tensor, recipe: Recipe) -> Tensor:
    """The quality steps alone of `draws`."""
    return draws(numbers, recipe).step
