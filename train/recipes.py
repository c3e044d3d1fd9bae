"""Recipes: every training run is a row of this table, with single values overridden by `--set key=value`.

`recipe.py` says what a recipe holds, `procedures/` what its stages do. The rungs of the ladder, a recipe for each
network of gencomp/networks/ladder/, share all but the network, so that what differs between their curves is the idea:
mean squared error, crops of 128 pixels, 8 of them in a step, Adam. A rung learns something useful in 5 to 15 minutes on
one CPU core; the papers train for days.
"""

from dataclasses import replace
from typing import Any

from gencomp.networks import FAMILIES
from gencomp.networks.hific import HificConfig
from gencomp.networks.hyperprior import HyperpriorConfig
from gencomp.networks.priors import PriorConfig
from gencomp.networks.transforms import TransformConfig

from .discriminators.patch import Patch
from .procedures.generator import Generator
from .procedures.rate_distortion import RateDistortion
from .procedures.realism import Realism
from .procedures.slim import recipe as slim
from .recipe import RateTarget, Recipe
from .terms import Term, Wasserstein

_TINY = HyperpriorConfig(
    TransformConfig(32, (32, 48), (1, 1), (48, 32, 24, 16), (1, 1, 1), grain=True),
    PriorConfig(hyper_channels=16, hyper_width=32, feature_width=32),
)

# The paper's loss on images in 0..255: k_M = 0.075 * 2**-5, here on 0..1; k_P = 1; beta = 0.15 (table 3a).
_HIFIC_LOSSES = {"mse": Term(0.075 * 2**-5 * 255**2), "lpips_alex": Term(1.0)}


def _hific(name: str, bpp: float, lambda_above: float) -> Recipe:
    """HiFiC (Mentzer et al. 2020, appendix A.5 and A.6): a million steps with MSE and LPIPS, a million with the GAN.

    Unlike HiFiC's TensorFlow code: p(z) is a mixture of logistics; the hyper-synthesis gets z rounded, not noisy; the
    discriminator's last convolution is 1x1 as in the paper, not 4x4, and it sees the generator's batch; the smaller
    lambda is the paper's 2^-4, not 2^-6; a running mean of the rate switches lambdas (rate.smoothing=0: the batch's).
    """
    discriminator = Patch(weight=0.15, learning_rate=1e-4, beta1=0.9, beta2=0.999)
    return Recipe(
        name,
        model=HificConfig(),
        steps=2_000_000,
        stages=(
            RateDistortion(losses=_HIFIC_LOSSES),
            Realism(1_000_000, trains="all", losses=_HIFIC_LOSSES, discriminators={"patch": discriminator}),
        ),
        crop=256,
        scale_min=0.75,
        rate=RateTarget(bpp=bpp, lambda_above=lambda_above, lambda_below=2**-4),
        optimiser="adam",
        learning_rate=1e-4,
        schedule="halfway",
        warmup=0,
        clip=1e9,
        ema=0.0,
        workers=4,
    )


_GAN = Recipe(
    "gan",
    steps=100_000,
    stages=(
        RateDistortion(),
        Realism(
            losses={
                "mse": Term(100.0),
                "ms_ssim": Term(0.8),  # the proportion of MS-SSIM to MSE of the stage before, about
                "wasserstein_laplacian": Wasserstein(140.0, log2_sigma=3.0),
                "grid_artefacts": Term(8.0, times_realism=True),
            },
            teacher=1500.0,
            discriminators={"patch": Patch(0.8, 0.5, width=32, learning_rate=4e-4)},
        ),
    ),
    batch=12,
    graphics=0.04,
    mid_quality_fraction=0.5,
    learning_rate=2e-4,
    decay=0.5,
    ema=0.998,
    optimiser="adam",
)

# Encoder, prior and decoder together. All weights are small against the bits, since terms that ask for more of the
# image raise every rate: at the weights of "gan" they doubled.
_PERCEPTION = replace(
    _GAN,
    name="perception",
    steps=6_000,
    stages=(
        RateDistortion(),
        Realism(
            trains="all",
            losses={
                "mse": Term(72.0),
                "ms_ssim": Term(0.6),
                "lpips_alex": Term(1.7, times_realism=True),
                "lite": Term(0.4, times_realism=True),
                "wasserstein_steerable": Wasserstein(37.0),
                "grid_artefacts": Term(4.2, times_realism=True),
            },
            discriminators={"patch": Patch(0.16, 0.13, width=32, learning_rate=4e-4)},
        ),
    ),
    batch=8,
    ms_ssim_weight=600.0,  # of 1 - MS-SSIM against MSE, about as the losses have it; refinement goes by it
    optimiser="muon",
    learning_rate=3e-4,
    decay=0.6,
)


# of the papers' learning rates most are 1e-4: a short run of a small network wants more
_RUNG = Recipe(
    "rung",
    steps=4000,
    stages=(RateDistortion(),),
    ms_ssim_weight=0.0,
    lambda_min=0.0005,
    lambda_max=0.05,
    optimiser="adam",
    learning_rate=1e-3,
    ema=0.998,
)
_GENERATOR = Generator(discriminators={"patch": Patch(1.0, r1=0.01, width=16, condition_channels=0)})
# half of the run for the generator, then as the autoencoder: distortion alone, around the generator as it is
_AROUND_A_GENERATOR = (_GENERATOR, RateDistortion(0.5, keeps_synthesis=True))
_RUNGS: dict[str, dict[str, Any]] = {
    # with a balance of 1 the distortion of every sample weighs alike: the quality is no part of this training
    "autoencoder": {"lambda_balance": 1.0},
    "vae": {"lambda_min": 0.005, "lambda_max": 0.005},  # one beta = 1 / lambda for all samples
    "theis2017": {},
    "balle2017": {},
    "balle2018": {},
    "minnen2018": {},
    "santurkar2018": {"stages": _AROUND_A_GENERATOR, "lambda_balance": 1.0},
    "hybrid": {},
    "light": {},
}
LADDER = {n: replace(_RUNG, name=n, model=FAMILIES[n].config(), **values) for n, values in _RUNGS.items()}

RECIPES: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        Recipe(
            "base",
            stages=(RateDistortion(),),
            batch=12,
            crop=192,
            graphics=0.04,
            mid_quality_fraction=0.5,
            ms_ssim_weight=600.0,
            learning_rate=6e-4,
        ),
        _GAN,
        _PERCEPTION,
        slim(_GAN),
        _hific("hific-lo", 0.14, 2.0),
        _hific("hific-mi", 0.30, 1.0),
        _hific("hific-hi", 0.45, 0.5),
        Recipe(
            "tiny",
            model=_TINY,
            steps=400,
            stages=(
                RateDistortion(),
                Realism(
                    300,
                    losses={"mse": Term(100.0)},
                    teacher=100.0,
                    discriminators={"patch": Patch(0.15, 0.5, width=16)},
                ),
            ),
            batch=4,
            crop=64,
            lambda_min=0.002,
            lambda_max=0.05,
            ms_ssim_weight=0.0,
            learning_rate=2e-3,
            warmup=10,
            ema=0.98,
            precision="no",
            workers=0,
        ),
    )
} | LADDER
