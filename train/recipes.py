"""Recipes: every training run is a row of this table, with single values overridden by `--set key=value`.

A run has up to two stages. Stage 1 trades rate against distortion; stage 2, from step `adversarial_from` on, trains
the synthesis against a discriminator. The rate is traded by lambda, drawn anew for every sample: quality step s in
0..STEPS stands for lambda(s) = lambda_min * (lambda_max / lambda_min) ** (s / STEPS), in bits per pixel for each grey
level squared of distortion. A `RateTarget` replaces that by HiFiC's controller for one fixed rate.
"""

import dataclasses
from dataclasses import dataclass, field
from typing import Any, Literal

from gencomp.networks.hific import HificConfig
from gencomp.networks.hyperprior import HyperpriorConfig
from gencomp.networks.priors import PriorConfig
from gencomp.networks.transforms import TransformConfig


@dataclass(frozen=True)
class Losses:
    """Weights of the distortion and realism terms of stage 2 (and of a stage 1 with a rate target). 0 leaves out."""

    mse: float = 100.0  # on images in 0..1
    l1: float = 0.0
    ms_ssim: float = 0.0  # of 1 - MS-SSIM
    lpips: float = 0.0
    lpips_net: Literal["alex", "vgg", "squeeze"] = "alex"
    wasserstein: float = 0.0  # Wasserstein distortion, times the realism
    wasserstein_features: Literal["laplacian", "steerable", "alex", "vgg", "squeeze"] = "steerable"
    wasserstein_log2_sigma: float = 3.0  # log2 of the pooling width in pixels
    grid_artefacts: float = 0.0  # of error that repeats every 8 pixels, times the realism; crops of at least 128
    adversarial: float = 0.15  # times the realism
    feature_matching: float = 0.5  # times the realism
    teacher: float = 0.0  # MSE to the stage-1 decoder's image, times 1 - realism
    gan: Literal["nonsaturating", "hinge", "relativistic", "labels"] = "nonsaturating"
    r1: float = 0.0  # gradient penalty on real images, every 16th step


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Which discriminator, and how it learns."""

    kind: Literal["patch", "unet", "projected"] = "patch"
    width: int = 64  # channels of the first layer
    scales: int = 1  # the same network on the image halved 0, 1, ... times
    spectral_norm: bool = True
    condition_channels: int = 12  # the latents are brought to so many channels; 0: unconditional
    learning_rate: float = 2e-4
    beta1: float = 0.5
    beta2: float = 0.9
    labels: int = 0  # unet: classes of real patches, from the label network; 0: real against fake
    label_network: str = ""  # file of a trained label network; empty: trained in the first label_steps
    label_steps: int = 0  # steps of stage 2 that train the label network before the discriminator starts
    backbone: str = ""  # projected: name of a timm network
    backbone_weights: str = ""  # projected: a file, "hub", or "random" (for trials only)


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
    model: Any = field(default_factory=lambda: HyperpriorConfig(TransformConfig(grain=True)))  # of a network family
    steps: int = 200_000  # optimiser steps
    adversarial_from: int | None = None  # the step at which stage 2 begins; None: never
    batch: int = 8  # images per step, over all processes
    accumulate: int = 1  # micro-batches into which a process divides its share of the batch
    crop: int = 128  # side of a training crop, pixels, a multiple of 64
    scale_min: float = 0.5  # crops of lossy files (JPEG) are scaled by a factor drawn from this range, which hides
    scale_max: float = 0.95  # their artefacts; lossless files (PNG, lossless WebP) are cut at full scale
    graphics: float = 0.0  # share of the samples that are rendered: text, diagrams, interfaces
    colour_jitter: float = 0.0  # largest relative change of saturation and gamma, drawn for each sample
    lambda_min: float = 0.00007
    lambda_max: float = 0.03
    mid_quality_fraction: float = 0.0  # share of the samples from the middle half of the qualities alone
    ms_ssim_weight: float = 300.0  # grey levels squared that 1 - MS-SSIM counts for in stage 1's distortion; 0: MSE
    lambda_balance: float = 0.5  # losses are multiplied by lambda ** -balance, so that no rate dominates
    rounded_fraction: float = 0.0  # last part of stage 1, in which bits are those of rounded latents, without noise
    rate: RateTarget = field(default_factory=RateTarget)
    losses: Losses = field(default_factory=Losses)
    discriminator: DiscriminatorConfig = field(default_factory=DiscriminatorConfig)
    trains: Literal["synthesis", "all"] = "synthesis"  # what stage 2 trains; "synthesis" leaves all files as they are
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


EXPERIMENTAL = {
    "illm": "simplified from MS-ILLM (a smaller U-Net with spectral norm, and its own label network)",
    "projected": "after projected GANs, on a backbone of your choice",
}
"""Recipes that train, and of which no result has been measured."""

_TINY = HyperpriorConfig(
    TransformConfig(32, (32, 48), (1, 1), (48, 32, 24, 16), (1, 1, 1), grain=True),
    PriorConfig(hyper_channels=16, hyper_width=32, feature_width=32),
)

# The paper's loss on images in 0..255: k_M = 0.075 * 2**-5, here on 0..1; k_P = 1; beta = 0.15 (table 3a).
_HIFIC_LOSSES = Losses(mse=0.075 * 2**-5 * 255**2, lpips=1.0, adversarial=0.15, feature_matching=0.0)


def _hific(name: str, bpp: float, lambda_above: float) -> Recipe:
    """HiFiC (Mentzer et al. 2020, appendix A.5 and A.6): a million steps with MSE and LPIPS, a million with the GAN."""
    return Recipe(
        name,
        model=HificConfig(),
        steps=2_000_000,
        adversarial_from=1_000_000,
        crop=256,
        scale_min=0.75,
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


_DISTORTION = Losses(mse=100.0, ms_ssim=0.8, teacher=1500.0)  # stage 1's proportion of MS-SSIM to MSE, about
_GAN = Recipe(
    "gan",
    steps=100_000,
    adversarial_from=0,
    batch=12,
    graphics=0.04,
    mid_quality_fraction=0.5,
    learning_rate=2e-4,
    decay=0.5,
    ema=0.998,
    optimiser="adam",
    losses=dataclasses.replace(
        _DISTORTION, wasserstein=140.0, wasserstein_features="laplacian", adversarial=0.8, grid_artefacts=8.0
    ),
    discriminator=DiscriminatorConfig(width=32, learning_rate=4e-4),
)

RECIPES: dict[str, Recipe] = {
    r.name: r
    for r in (
        Recipe(
            "base",
            batch=12,
            crop=192,
            graphics=0.04,
            mid_quality_fraction=0.5,
            ms_ssim_weight=600.0,
            learning_rate=6e-4,
        ),
        _GAN,
        _hific("hific-lo", 0.14, 2.0),
        _hific("hific-mi", 0.30, 1.0),
        _hific("hific-hi", 0.45, 0.5),
        dataclasses.replace(
            _GAN,
            name="illm",
            crop=256,
            losses=dataclasses.replace(_DISTORTION, gan="labels", adversarial=0.05, feature_matching=0.0, lpips=1.0),
            discriminator=DiscriminatorConfig(kind="unet", labels=1024, label_steps=20_000),
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
            ms_ssim_weight=0.0,
            losses=Losses(teacher=100.0),
            discriminator=DiscriminatorConfig(width=16),
            learning_rate=2e-3,
            warmup=10,
            ema=0.98,
            precision="no",
            workers=0,
        ),
    )
}
