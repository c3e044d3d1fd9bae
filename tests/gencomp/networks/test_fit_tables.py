"""Tables fitted to what is coded: fewer bits where residuals are not Gaussian, and nothing else changed."""

import dataclasses

import numpy as np
import torch

from gencomp.entropy.contract import Evaluation
from gencomp.entropy.tables import TOTAL, default_tables
from gencomp.networks.contract import Calibration
from gencomp.networks.fit_tables import with_fitted_tables
from gencomp.networks.freeze import freeze_prior, latents_of
from gencomp.networks.priors import Prior, PriorConfig


def test_fitted_tables_take_fewer_bits_of_other_images_and_give_the_same_latents() -> None:
    torch.manual_seed(3)
    prior = Prior(16, PriorConfig(hyper_channels=8, hyper_width=16, feature_width=16)).eval()
    peaked = torch.distributions.Laplace(0.0, 0.3)
    drawn = [
        Calibration(peaked.sample((1, 16, 24, 24)), torch.randint(-2, 3, (1, 8, 6, 6)).float(), step)
        for step in (0, 512, 1024, 600)
    ]
    images = [(latents_of(image), image.quality_step) for image in drawn]
    frozen = freeze_prior(prior, drawn[:1])
    before = dataclasses.replace(frozen, tables=default_tables(frozen.tables.z))
    after = with_fitted_tables(before, images[:3])
    for model in (before, after):
        assert all(int(table.sum()) == TOTAL and table.min() >= 1 for table in model.tables.y)
    latents, step = images[3]
    old, new = before.encode(latents, step, Evaluation(check=True)), after.encode(latents, step, Evaluation(check=True))
    assert new.bits < 0.97 * old.bits
    assert np.array_equal(new.y_int, old.y_int)
    assert np.array_equal(after.decode(new.payload, 24, 24, step).y_int, new.y_int)


def test_levels_that_were_never_seen_keep_their_tables() -> None:
    torch.manual_seed(3)
    prior = Prior(16, PriorConfig(hyper_channels=8, hyper_width=16, feature_width=16)).eval()
    zeros = Calibration(torch.zeros(1, 16, 8, 8), torch.zeros(1, 8, 2, 2), 512)
    model = freeze_prior(prior, [zeros])
    latents = latents_of(zeros)
    seen = set(np.concatenate([levels for _, levels in model.symbols(latents, 512)]).tolist())
    fitted = with_fitted_tables(model, [(latents, 512)])
    for level, (a, b) in enumerate(zip(model.tables.y, fitted.tables.y, strict=True)):
        assert level in seen or np.array_equal(a, b)
