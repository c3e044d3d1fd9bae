"""What a training run is: its stages, losses, discriminator and rates, as frozen dataclasses of plain values.

A run has up to two stages. Stage 1 trades rate against distortion; stage 2, from step `adversarial_from` on, trains
the synthesis against a discriminator. The rate is traded by lambda, drawn anew for every sample: quality step s in
0..STEPS stands for lambda(s) = lambda_min * (lambda_max / lambda_min) ** (s / STEPS), in bits per pixel for each grey
level squared of distortion. A `RateTarget` replaces that by HiFiC's controller for one fixed rate. With a
`generator_fraction` there is a stage 0 before them: the synthesis learns alone, as the generator of a GAN, from its
prior, and stage 1 trains all else around it as it then is.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

from gencomp.networks.hyperprior import HyperpriorConfig
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
    wasserstein_features: Literal["laplacian", "steerable", "random", "alex", "vgg", "squeeze"] = "steerable"
    wasserstein_log2_sigma: float = 3.0  # log2 of the pooling width in pixels
    grid_artefacts: float = 0.0  # of error that repeats every 8 pixels, times the realism; crops of at least 128
    adversarial: float = 0.15  # times the realism
    feature_matching: float = 0.5  # times the realism
    teacher: float = 0.0  # MSE to the stage-1 decoder's image, times 1 - realism
    gan: Literal["nonsaturating", "hinge", "relativistic", "labels"] = "nonsaturating"
    r1: float = 0.0  # gradient penalty on real images, every 16th step
    r2: float = 0.0  # the same on fake ones (with both: R3GAN, Huang et al. 2024)


@dataclass(frozen=True)
class DiscriminatorConfig:
    """Which discriminator, and how it learns."""

    kind: Literal["patch", "unet", "projected"] = "patch"
    width: int = 64  # channels of the first layer
    scales: int = 1  # the same network on the image halved 0, 1, ... times
    high_bands: bool = False  # shown the finest octave alone, where regular patterns are
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
class Slim:
    """Distillation of a trained decoder into a narrower one (slim/). Stage 1 trains sub-networks that share weights,
    stage 2 the one that the search between them chose. `teacher`, `synthesis_kmac` and `realism` are the teacher's."""

    arithmetic: float = 0.0  # of the narrower decoder, as a share of the teacher's; 0: another kind of training
    taught: float = 0.2  # weight of the teacher's image at realism 1, as a share of that at 0 (losses.teacher)
    spread: tuple[float, float] = (0.8, 1.4)  # budgets of stage 1's sub-networks, as shares of the one asked for
    candidates: int = 200  # sub-networks that the search compares
    int8: bool = False  # stage 2 learns what eight bits will make of its bottlenecks (`gencomp int8` quantises them)
    teacher: TransformConfig | None = None
    synthesis_kmac: float = 0.0  # the budget of g_s
    realism: bool = True  # whether the teacher knows it


@dataclass(frozen=True)
class Recipe:
    """One training run, without the place of its data and its results."""

    name: str
    # a configuration of any network family
    model: Any = field(default_factory=lambda: HyperpriorConfig(TransformConfig(encoder_depths=(6, 6), grain=True)))
    steps: int = 200_000  # optimiser steps
    adversarial_from: int | None = None  # the step at which stage 2 begins; None: never
    generator_fraction: float = 0.0  # part of them before stage 2 that is stage 0; for families with a generator
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
    slim: Slim = field(default_factory=Slim)
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
