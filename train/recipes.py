"""Recipes: every training run is a row of this table, with single values overridden by `--set key=value`.

`recipe.py` says what a recipe holds, `ladder.py` has the rows of the ladder.
"""

import dataclasses

from gencomp.networks.hific import HificConfig
from gencomp.networks.hyperprior import HyperpriorConfig
from gencomp.networks.priors import PriorConfig
from gencomp.networks.transforms import TransformConfig

from .ladder import LADDER
from .recipe import DiscriminatorConfig, Losses, RateTarget, Recipe, Slim

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
        dataclasses.replace(
            _GAN,
            name="slim",
            steps=7000,
            adversarial_from=1200,
            batch=8,
            optimiser="muon",
            learning_rate=5e-4,
            warmup=50,
            losses=dataclasses.replace(
                _GAN.losses, adversarial=0.0, feature_matching=0.0, wasserstein=180.0, teacher=3000.0
            ),
            slim=Slim(arithmetic=0.5),
        ),
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
} | LADDER
