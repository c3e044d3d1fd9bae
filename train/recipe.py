"""What a training run is: its stages, its rates, its data and its optimiser, as frozen dataclasses of plain values.

Each stage is a training procedure (`procedures/`) with the settings that are its own. The rate is traded by lambda,
drawn anew for every sample: quality step s in 0..STEPS stands for lambda(s) = lambda_min * (lambda_max / lambda_min) **
(s / STEPS), in bits per pixel for each grey level squared of distortion. A `RateTarget` replaces that by HiFiC's
controller for one fixed rate.
"""

import json
from dataclasses import asdict, dataclass, field
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
    model: Any = field(default_factory=lambda: HyperpriorConfig(TransformConfig(encoder_depths=(6, 6), grain=True)))
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


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """The resolved recipe as plain values, its network by family."""
    values: dict[str, Any] = asdict(recipe)
    values["model"] = {"family": recipe.model.family, **recipe.model.to_dict()}
    values["stages"] = {stage.name: asdict(stage) for stage in recipe.stages}
    return values


def to_json(recipe: Recipe) -> str:
    """The resolved recipe, to be saved with the run."""
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
        elif _plain(old) != _plain(new):
            found[prefix + key] = (old, new)
    return found


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
