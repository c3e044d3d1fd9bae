"""What a training run is: its stages, its rates, its data and its optimiser, as frozen dataclasses of plain values; and
what depends on the optimiser step alone: the stage, its span, and the factor of its learning rates.

Each stage is a training procedure (`procedures/`) with the settings that are its own. The rate is traded by lambda,
drawn anew for every sample: quality step s in 0..STEPS stands for lambda(s) = lambda_min * (lambda_max / lambda_min) **
(s / STEPS), in bits per pixel for each grey level squared of distortion. A `RateTarget` replaces that by HiFiC's
controller for one fixed rate.
"""

import json
from dataclasses import asdict, dataclass, field
from itertools import pairwise
from typing import Any, Literal

from gencomp.networks import config_from_dict
from gencomp.networks.hyperprior import HyperpriorConfig
from gencomp.networks.transforms import TransformConfig


@dataclass(frozen=True)
class RateTarget:
    """HiFiC's rate control: bits cost lambda_above while the rate is over the target, else lambda_below.

    The rate that is compared is that of rounded latents, as in HiFiC's TensorFlow code, and a running mean over steps.
    HiFiC compares the batch alone (smoothing 0), whose noise leaves the mean beside the target. For the first `warmup`
    steps of each stage, at most a tenth of it, the target is larger and bits cost half (in HiFiC's code a schedule
    doubles the divisor of the rate).
    """

    bpp: float = 0.0  # 0: no target, the rate varies by sample
    lambda_above: float = 2.0
    lambda_below: float = 0.0625
    smoothing: float = 0.95
    warmup: int = 50_000
    warmup_bpp: float = 0.20 / 0.14  # factor of the target
    warmup_lambda: float = 0.5  # factor of both lambdas


@dataclass(frozen=True)
class Recipe:
    """One training run, without the place of its data and its results."""

    name: str
    # a configuration of any network family
    model: Any = HyperpriorConfig(TransformConfig(encoder_depths=(6, 6), grain=True))  # noqa: RUF009, it is frozen
    steps: int = 200_000  # optimiser steps
    stages: tuple[Any, ...] = ()  # procedures, in order
    batch: int = 8  # images per step, over all processes
    accumulate: int = 1  # micro-batches into which a process divides its share of the batch
    crop: int = 128  # side of a training crop, pixels, a multiple of 64
    scale_min: float = 0.5  # crops of lossy files (JPEG) are scaled by a factor drawn from this range, which hides
    scale_max: float = 0.95  # their artefacts; lossless files (PNG, lossless WebP) are cut at full scale
    graphics: float = 0.0  # share of the samples that are rendered: text, diagrams, interfaces
    lambda_min: float = 0.00007
    lambda_max: float = 0.03
    mid_quality_fraction: float = 0.0  # share of the samples from the middle half of the qualities alone
    ms_ssim_weight: float = 300.0  # grey levels squared that 1 - MS-SSIM counts for in the distortion; 0: MSE alone
    lambda_balance: float = 0.5  # losses are multiplied by lambda ** -balance, so that no rate dominates
    rate: RateTarget = field(default_factory=RateTarget)
    optimiser: Literal["adam", "muon"] = "muon"  # of the codec; discriminators are trained with Adam
    learning_rate: float = 5e-4
    schedule: Literal["wsd", "halfway"] = "wsd"  # linear fall over the last part, or a tenth from half of the stage on
    warmup: int = 200  # steps of linear rise, at most a tenth of the stage
    decay: float = 0.35  # the last part of a stage, in which the learning rate falls linearly to 1 % (WSD schedule)
    clip: float = 1.0  # largest gradient norm
    ema: float = 0.9995  # decay of the averaged weights, which are the ones that are exported; 0: no averaging
    precision: Literal["auto", "no", "bf16", "fp16"] = "auto"  # auto: bf16 where the hardware has it, see devices.py
    compile: bool = False  # torch.compile; pays on GPUs
    channels_last: bool = True
    workers: int = 1  # data-loading processes per training process
    seed: int = 0


def stage_spans(recipe: Recipe) -> list[tuple[int, int]]:
    """Of each stage its first step, and the step after its last; the two are equal for a stage without steps."""
    begins = (round(s.begin * recipe.steps) if s.begin < 1 else int(s.begin) for s in recipe.stages)
    return list(pairwise([*(min(begin, recipe.steps) for begin in begins), recipe.steps]))


def stage_at(recipe: Recipe, step: int) -> int:
    """The place in the recipe of the stage to which optimiser step number `step` (from 0) belongs."""
    return max(k for k, (begin, end) in enumerate(stage_spans(recipe)) if begin <= step and begin < end)


def learning_rate_factor(recipe: Recipe, step: int) -> float:
    """Factor of every learning rate at a step of the run, each stage on its own.

    Warm-up, constant, then linear decay to 1 % (WSD, Hu et al. 2024), or a tenth from half of the stage on (HiFiC).
    """
    begin, end = stage_spans(recipe)[stage_at(recipe, step)]
    rise = min(1.0, (step - begin + 1) / max(1, fitted(recipe.warmup, begin, end)))
    if recipe.schedule == "halfway":
        return rise * (1.0 if step - begin < (end - begin) // 2 else 0.1)
    remaining = (end - step) / max(1.0, recipe.decay * (end - begin))
    return rise * max(0.01, min(1.0, remaining))


def fitted(warmup: int, begin: int, end: int) -> int:
    """Steps of a warm-up in a stage from `begin` to `end`: at most a tenth of it, so that short runs learn, too."""
    return min(warmup, (end - begin) // 10)


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """The resolved recipe as plain values, its network by family."""
    values: dict[str, Any] = asdict(recipe)
    values["model"] = {"family": recipe.model.family, **recipe.model.to_dict()}
    values["stages"] = {stage.name: asdict(stage) for stage in recipe.stages}
    return values


def to_json(recipe: Recipe) -> str:
    return json.dumps(to_dict(recipe), indent=2)


def model_config(saved: dict[str, Any]) -> Any:
    """The network's configuration in a saved recipe (`to_dict`)."""
    return config_from_dict(saved["model"]["family"], {k: v for k, v in saved["model"].items() if k != "family"})


def changes(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """What differs between two saved recipes: dotted key -> (before, after), None where a key is absent."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in [*before, *(k for k in after if k not in before)]:
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found |= changes(old, new, f"{prefix}{key}.")
        elif (list(old) if isinstance(old, tuple) else old) != (list(new) if isinstance(new, tuple) else new):
            found[prefix + key] = (old, new)
    return found
