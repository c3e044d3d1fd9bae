"""Float priors to exact integer models: the price in bits."""

import torch

from gencomp.networks.contract import Calibration
from gencomp.networks.freeze import float_pass, freeze_prior, rate_change
from gencomp.networks.priors import Prior, PriorConfig


def test_a_frozen_prior_costs_nearly_what_the_float_prior_does() -> None:
    torch.manual_seed(3)
    prior = Prior(16, PriorConfig(hyper_channels=8, hyper_width=16, feature_width=16)).eval()
    drawn = [
        Calibration(torch.randn(1, 16, 8, 8), torch.randint(-2, 3, (1, 8, 2, 2)).float(), step)
        for step in (0, 512, 1024)
    ]
    frozen = freeze_prior(prior, drawn[:2])
    assert abs(rate_change(lambda image: float_pass(prior, image).bits, frozen, drawn[2:])) < 0.005
    assert float_pass(prior, drawn[2]).bits > 100
