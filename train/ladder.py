"""The rungs of the ladder: a recipe for each network of gencomp/networks/ladder/, small enough for one CPU core.

The rungs share all but the network, so that what differs between their curves is the idea: mean squared error, crops of
128 pixels, 8 of them in a step, Adam. A rung learns something useful in 5 to 15 minutes on one core; the papers train
for days.
"""

from typing import Any

from gencomp.networks.ladder.autoencoder import AutoencoderConfig
from gencomp.networks.ladder.balle2017 import Balle2017Config
from gencomp.networks.ladder.balle2018 import Balle2018Config
from gencomp.networks.ladder.hybrid import HybridConfig
from gencomp.networks.ladder.light import LightConfig
from gencomp.networks.ladder.minnen2018 import Minnen2018Config
from gencomp.networks.ladder.santurkar2018 import Santurkar2018Config
from gencomp.networks.ladder.theis2017 import Theis2017Config
from gencomp.networks.ladder.vae import VaeConfig

from .recipe import DiscriminatorConfig, Losses, Recipe


def _rung(name: str, model: Any, **values: Any) -> Recipe:
    """A recipe of the ladder; `values` say what an idea needs otherwise."""
    shared: dict[str, Any] = {
        "steps": 4000,
        "batch": 8,
        "crop": 128,
        "ms_ssim_weight": 0.0,
        "lambda_min": 0.0005,
        "lambda_max": 0.05,
        "optimiser": "adam",
        "learning_rate": 1e-3,  # of the papers 1e-4: a short run of a small network wants more
        "ema": 0.998,
    }
    return Recipe(name, model=model, **(shared | values))


LADDER: dict[str, Recipe] = {
    recipe.name: recipe
    for recipe in (
        # with a balance of 1 the distortion of every sample weighs alike: the quality is no part of this training
        _rung("autoencoder", AutoencoderConfig(), lambda_balance=1.0),
        # one beta = 1 / lambda for all samples
        _rung("vae", VaeConfig(), lambda_min=0.005, lambda_max=0.005),
        _rung("theis2017", Theis2017Config()),
        _rung("balle2017", Balle2017Config()),
        _rung("balle2018", Balle2018Config()),
        _rung("minnen2018", Minnen2018Config()),
        # half of the run for the generator, then as the autoencoder: distortion alone
        _rung(
            "santurkar2018",
            Santurkar2018Config(),
            lambda_balance=1.0,
            generator_fraction=0.5,
            losses=Losses(adversarial=1.0, feature_matching=0.0, r1=0.01),
            discriminator=DiscriminatorConfig(width=16, condition_channels=0),
        ),
        _rung("hybrid", HybridConfig()),
        _rung("light", LightConfig()),
    )
}
