"""Recipes: every training run is a row of this table, with single values overridden by `--set key=value`.

A run has up to two stages. Stage 1 trades rate against distortion; stage 2, from step `adversarial_from` on, trains
the synthesis against a discriminator. The rate is traded by lambda, drawn anew for every sample: step s in 0..STEPS
stands for lambda(s) = lambda_min * (lambda_max / lambda_min) ** (s / STEPS), in bits a pixel for each grey level
squared of distortion. A `RateTarget` replaces that by HiFiC's controller for one fixed rate.
"""

import dataclasses
import difflib
import json
import types
from dataclasses import dataclass, field
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from gencomp.networks.contract import NetworkConfig
from gencomp.networks.hific import HificConfig
from gencomp.networks.hyperprior import HyperpriorConfig
from gencomp.networks.priors import PriorConfig
from gencomp.networks.transforms import TransformConfig


class RecipeError(ValueError):
    """A recipe, key or value that does not exist or does not fit."""


@dataclass(frozen=True)
class Losses:
    """Weights of the distortion and realism terms of stage 2 (and of a stage 1 with a rate target). 0 leaves out."""

    mse: float = 100.0  # on pictures in 0..1
    l1: float = 0.0
    ms_ssim: float = 0.0  # of 1 - MS-SSIM
    lpips: float = 0.0
    lpips_net: Literal["alex", "vgg", "squeeze"] = "alex"
    wasserstein: float = 0.0  # Wasserstein distortion, times the realism
    wasserstein_features: Literal["laplacian", "steerable", "alex", "vgg", "squeeze"] = "steerable"
    wasserstein_log2_sigma: float = 3.0  # log2 of the pooling width in pixels
    regularity: float = 0.0  # of grain that repeats every 8 pixels, times the realism; crops of at least 128
    adversarial: float = 0.15  # times the realism
    feature_matching: float = 0.5  # times the realism
    anchor: float = 0.0  # MSE to the stage-1 decoder's picture, times 1 - realism
    gan: Literal["nonsaturating", "hinge", "relativistic", "labels"] = "nonsaturating"
    r1: float = 0.0  # gradient penalty on real pictures, every 16th step


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Which discriminator, and how it learns."""

    kind: Literal["patch", "unet", "projected"] = "patch"
    width: int = 64  # channels of the first layer
    scales: int = 1  # the same network on the picture halved 0, 1, ... times
    spectral_norm: bool = True
    condition_channels: int = 12  # the latents are brought to so many channels; 0: unconditional
    learning_rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.9
    labels: int = 0  # unet: classes of real patches, from the vector quantiser; 0: real against fake
    quantiser: str = ""  # file of a trained vector quantiser; empty: trained in the first quantiser_steps
    quantiser_steps: int = 0  # steps of stage 2 that train the quantiser before the discriminator starts
    backbone: str = ""  # projected: name of a timm network
    backbone_weights: str = ""  # projected: a file, "hub", or "random" (for trials only)


@dataclass(frozen=True)
class RateTarget:
    """HiFiC's rate control: bits cost lambda_above while the rate is over the target, else lambda_below.

    The rate that is compared is a running mean over steps. HiFiC compares that of the batch alone (smoothing 0), whose
    noise leaves the mean beside the target.
    """

    bpp: float = 0.0  # 0: no target, the rate varies by sample
    lambda_above: float = 2.0
    lambda_below: float = 0.0625
    smoothing: float = 0.95
    warmup: int = 50_000  # steps of each stage in which target and lambda are larger, by the two factors below
    warmup_bpp: float = 0.20 / 0.14
    warmup_lambda: float = 2.0


@dataclass(frozen=True)
class Recipe:
    """One training run, without the place of its data and its results."""

    name: str
    model: NetworkConfig = field(default_factory=lambda: HyperpriorConfig(TransformConfig(grain=True)))
    steps: int = 200_000  # optimiser steps
    adversarial_from: int | None = None  # the step at which stage 2 begins; None: never
    batch: int = 8  # pictures a step, over all processes
    accumulate: int = 1  # parts into which a process divides its share of the batch
    crop: int = 128  # side of a training crop, pixels, a multiple of 64
    scale_min: float = 0.5  # crops are taken from the photograph scaled by a factor drawn from this range
    scale_max: float = 0.95
    lambda_min: float = 0.00007
    lambda_max: float = 0.03
    focus: float = 0.0  # share of the samples whose quality is of the middle half; the others are spread over all
    structure: float = 300.0  # grey levels squared that 1 - MS-SSIM counts for in stage 1's distortion; 0: MSE alone
    lambda_balance: float = 0.5  # losses are multiplied by lambda ** -balance, so that no rate dominates
    rate: RateTarget = field(default_factory=RateTarget)
    losses: Losses = field(default_factory=Losses)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    trains: Literal["synthesis", "all"] = "synthesis"  # what stage 2 trains; "synthesis" leaves all files as they are
    optimiser: Literal["adam", "muon"] = "muon"  # of the codec; discriminators are trained with Adam
    learning_rate: float = 5e-4
    schedule: Literal["wsd", "halfway"] = "wsd"  # linear fall over the last part, or a tenth from half of the stage on
    warmup: int = 200  # steps of linear rise
    decay: float = 0.35  # the last part of a stage, in which the learning rate falls linearly to 1 % (WSD schedule)
    clip: float = 1.0  # largest gradient norm
    ema: float = 0.9995  # decay of the averaged weights, which are the ones that are exported; 0: no averaging
    precision: Literal["no", "bf16", "fp16"] = "bf16"
    compile: bool = False  # torch.compile; pays on GPUs
    channels_last: bool = True
    workers: int = 1  # data-loading processes a training process
    seed: int = 0


_TINY = HyperpriorConfig(
    TransformConfig(32, (32, 48), (1, 1), (48, 32, 24, 16), (1, 1, 1), grain=True),
    PriorConfig(hyper_channels=16, hyper_width=32, feature_width=32),
)

# The paper's loss on pictures in 0..255: k_M = 0.075 * 2**-5, here on 0..1; k_P = 1; beta = 0.15 (table 3a).
_HIFIC_LOSSES = Losses(mse=0.075 * 2**-5 * 255**2, lpips=1.0, adversarial=0.15, feature_matching=0.0)


def _hific(name: str, bpp: float, lambda_above: float) -> Recipe:
    """HiFiC (Mentzer et al. 2020, appendix A.5 and A.6): a million steps with MSE and LPIPS, a million with the GAN."""
    return Recipe(
        name,
        model=HificConfig(),
        steps=2_000_000,
        adversarial_from=1_000_000,
        crop=256,
        rate=RateTarget(bpp=bpp, lambda_above=lambda_above, lambda_below=2**-4),
        losses=_HIFIC_LOSSES,
        discriminator=DiscriminatorConfig(learning_rate=1e-4, beta1=0.9, beta2=0.999),
        trains="all",
        optimiser="adam",
        learning_rate=1e-4,
        schedule="halfway",
        warmup=0,
        clip=1e9,
        ema=0.0,
        workers=4,
    )


_DISTORTION = Losses(mse=100.0, ms_ssim=0.8, anchor=1500.0)  # stage 1's proportion of MS-SSIM to MSE, about
_GAN = Recipe(
    "gan",
    steps=100_000,
    adversarial_from=0,
    batch=12,
    focus=0.5,
    learning_rate=2e-4,
    decay=0.5,
    ema=0.998,
    optimiser="adam",
    losses=dataclasses.replace(
        _DISTORTION, wasserstein=140.0, wasserstein_features="laplacian", adversarial=0.8, regularity=8.0
    ),
    discriminator=DiscriminatorConfig(width=32, learning_rate=4e-4),
)

RECIPES: dict[str, Recipe] = {
    r.name: r
    for r in (
        Recipe("base", batch=12, crop=192, focus=0.5, structure=600.0, learning_rate=6e-4),
        _GAN,
        _hific("hific-lo", 0.14, 2.0),
        _hific("hific-mi", 0.30, 1.0),
        _hific("hific-hi", 0.45, 0.5),
        dataclasses.replace(
            _GAN,
            name="illm",
            crop=256,
            losses=dataclasses.replace(_DISTORTION, gan="labels", adversarial=0.05, feature_matching=0.0, lpips=1.0),
            discriminator=DiscriminatorConfig(kind="unet", labels=1024, quantiser_steps=20_000),
        ),
        dataclasses.replace(
            _GAN,
            name="projected",
            crop=256,
            losses=dataclasses.replace(_DISTORTION, gan="hinge", adversarial=0.05, feature_matching=0.0),
            discriminator=DiscriminatorConfig(
                kind="projected", backbone="efficientnet_lite0", backbone_weights="hub", beta1=0.0, beta2=0.99
            ),
        ),
        Recipe(
            "tiny",
            model=_TINY,
            steps=400,
            adversarial_from=300,
            batch=4,
            crop=64,
            lambda_min=0.002,
            lambda_max=0.05,
            structure=0.0,
            losses=Losses(anchor=100.0),
            discriminator=DiscriminatorConfig(width=16),
            learning_rate=2e-3,
            warmup=10,
            ema=0.98,
            precision="no",
            workers=0,
        ),
    )
}


def recipe(name: str, overrides: dict[str, str] | None = None) -> Recipe:
    """A row of the table with `key=value` overrides applied, checked; RecipeError for what does not exist or fit.

    Keys of sections are dotted: losses.lpips, discriminator.kind, model.transform.latent_channels.
    """
    if name not in RECIPES:
        raise RecipeError(f"unknown recipe {name!r}; {_nearest(name, list(RECIPES))}")
    chosen = RECIPES[name]
    for key, text in (overrides or {}).items():
        if key in ("name", "model"):
            raise RecipeError(f"{key} cannot be set; choose another recipe: {', '.join(RECIPES)}")
        chosen = _replaced(chosen, key, key.split("."), text)
    check(chosen)
    return chosen


def _replaced(section: Any, key: str, path: list[str], text: str) -> Any:
    """The dataclass `section` with the value at `path` read from text."""
    hints = get_type_hints(type(section))
    if path[0] not in hints:
        raise RecipeError(f"unknown key {key!r}; {_nearest(path[0], list(hints))}")
    value = getattr(section, path[0])
    if dataclasses.is_dataclass(value):
        if len(path) == 1:
            raise RecipeError(f"{key} is a section; set one of its keys: {', '.join(get_type_hints(type(value)))}")
        new = _replaced(value, key, path[1:], text)
    elif len(path) > 1:
        raise RecipeError(f"unknown key {key!r}; {path[0]} is a single value")
    else:
        new = _read(key, text, hints[path[0]])
    return dataclasses.replace(section, **{path[0]: new})


def _read(key: str, text: str, kind: Any) -> Any:
    """A value of type `kind` from the command line."""
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise RecipeError(f"{key}={text!r}; known: {', '.join(get_args(kind))}")
        return text
    if get_origin(kind) in (Union, types.UnionType):
        inner = next(a for a in get_args(kind) if a is not type(None))
        return None if text.lower() == "none" else _read(key, text, inner)
    if get_origin(kind) is tuple:
        return tuple(_read(key, part, get_args(kind)[0]) for part in text.split(","))
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise RecipeError(f"{key}={text!r} is neither true nor false")
        return text.lower() in ("true", "1", "yes")
    try:
        return kind(text)
    except ValueError as error:
        raise RecipeError(f"{key}={text!r} is not a number of type {kind.__name__}") from error


def check(recipe: Recipe) -> None:
    """RecipeError where values cannot be trained with."""
    positive = ("steps", "batch", "accumulate", "crop", "learning_rate", "clip", "lambda_min")
    wrong = [key for key in positive if not getattr(recipe, key) > 0]
    if wrong:
        raise RecipeError(f"{wrong[0]} must be positive, not {getattr(recipe, wrong[0])}")
    if recipe.crop % 64:
        raise RecipeError(f"crop={recipe.crop} is not a multiple of 64")
    if recipe.losses.regularity and recipe.crop < 128:
        raise RecipeError(f"losses.regularity sees its period of 8 pixels in crops of at least 128, not {recipe.crop}")
    if not 0 < recipe.scale_min <= recipe.scale_max:
        raise RecipeError("scale_min must be positive and at most scale_max")
    if recipe.lambda_max < recipe.lambda_min:
        raise RecipeError("lambda_max must be at least lambda_min")
    if not 0 <= recipe.focus <= 1:
        raise RecipeError("focus is a share, 0 to 1")
    if not 0 <= recipe.ema < 1:
        raise RecipeError("ema must lie in 0 to 1, 1 excluded")
    if recipe.batch % recipe.accumulate:
        raise RecipeError(f"a batch of {recipe.batch} cannot be divided into {recipe.accumulate} parts")


def to_json(recipe: Recipe) -> str:
    """The resolved recipe, to be saved with the run."""
    return json.dumps({**dataclasses.asdict(recipe), "model": _named(recipe.model)}, indent=2)


def _named(config: NetworkConfig) -> dict[str, Any]:
    """A network configuration with the name of its family."""
    return {"family": config.family, **config.to_dict()}


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    return f"did you mean {close[0]!r}?" if close else "known: " + ", ".join(known)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Learning rate of the codec at a step of the run: a function of the step alone, each stage on its own."""
    return recipe.learning_rate * rate_factor(recipe, step)


def rate_factor(recipe: Recipe, step: int) -> float:
    """Warm-up, constant, then linear decay to 1 % (WSD, Hu et al. 2024), or a tenth from half of the stage (HiFiC)."""
    begin, end = stage_span(recipe, stage_at(recipe, step))
    rise = min(1.0, (step - begin + 1) / max(1, recipe.warmup))
    if recipe.schedule == "halfway":
        return rise * (1.0 if step - begin < (end - begin) // 2 else 0.1)
    remaining = (end - step) / max(1.0, recipe.decay * (end - begin))
    return rise * max(0.01, min(1.0, remaining))


def stage_at(recipe: Recipe, step: int) -> int:
    """1 or 2: the stage to which optimiser step number `step` (from 0) belongs."""
    return 2 if recipe.adversarial_from is not None and step >= recipe.adversarial_from else 1


def stage_span(recipe: Recipe, stage: int) -> tuple[int, int]:
    """First step of a stage, and the step after its last."""
    switch = recipe.steps if recipe.adversarial_from is None else min(recipe.adversarial_from, recipe.steps)
    return (0, switch) if stage == 1 else (switch, recipe.steps)
