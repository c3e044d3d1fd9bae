"""Objectives by closed form."""

import math

import pytest
import torch

from gencomp import perceptual
from gencomp.bitstream import STEPS
from gencomp.perceptual import WeightsError
from gencomp.train.objective import (
    build_terms,
    distortion_balance,
    lambda_of,
    picture_terms,
    rate_distortion,
    running_rate,
)
from gencomp.train.recipes import Losses, RateTarget, recipe

CPU = torch.device("cpu")


def test_lambda_runs_log_evenly_over_the_qualities() -> None:
    chosen = recipe("base")
    low, middle, high = lambda_of(torch.tensor([0, STEPS // 2, STEPS]), chosen).tolist()
    assert (low, high) == pytest.approx((chosen.lambda_min, chosen.lambda_max), rel=1e-4)
    assert middle == pytest.approx(math.sqrt(low * high), rel=1e-4)


def test_rate_distortion_of_known_numbers() -> None:
    chosen = recipe("base", {"lambda_min": "0.01", "lambda_max": "0.01", "structure": "0"})
    x = torch.full((1, 3, 64, 64), 0.5)
    result = rate_distortion(x + 2 / 255, torch.tensor([64.0 * 64 / 2]), x, torch.tensor([0]), chosen)
    assert result.bpp.item() == pytest.approx(0.5)
    assert result.mse.item() == pytest.approx(4.0, rel=1e-4)
    assert result.loss.item() == pytest.approx(0.5 + 0.01 * 4.0, rel=1e-4)


def test_structure_costs_nothing_on_equal_pictures_and_something_on_others() -> None:
    chosen = recipe("base")
    x = torch.rand(1, 3, 64, 64)
    bits, step = torch.zeros(1), torch.tensor([512])
    assert rate_distortion(x, bits, x, step, chosen).loss.item() == pytest.approx(0, abs=1e-4)
    plain = recipe("base", {"structure": "0"})
    assert rate_distortion(1 - x, bits, x, step, chosen).loss > rate_distortion(1 - x, bits, x, step, plain).loss


def test_realism_zero_counts_distortion_alone() -> None:
    terms = build_terms(Losses(mse=100.0, l1=1.0, wasserstein=1.0), None, CPU)
    x, other = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    ones = torch.ones(2)
    still = picture_terms(terms, x, other, torch.zeros(2), ones).total
    expected = 100 * (x - other).square().mean((1, 2, 3)) + (x - other).abs().mean((1, 2, 3))
    torch.testing.assert_close(still, expected)
    half, full = (picture_terms(terms, x, other, r * ones, ones).total - still for r in (0.5, 1.0))
    torch.testing.assert_close(2 * half, full)
    assert (full > 0).all()


def test_regularity_counts_with_the_realism() -> None:
    terms = build_terms(Losses(mse=0.0, regularity=8.0), None, CPU)
    x = torch.full((2, 3, 128, 128), 0.5)
    stripes = x + 0.01 * (torch.arange(128) % 2 * 2 - 1)
    total, figures = picture_terms(terms, x, stripes, torch.tensor([0.0, 0.5]), torch.ones(2))
    assert total[0] == 0
    assert total[1].item() == pytest.approx(4 * figures["regularity"].item(), rel=1e-5)
    assert figures["regularity"].item() == pytest.approx(0.01**2 / perceptual.EVEN, rel=1e-3)


def test_stage_two_weighs_distortion_over_rates_as_stage_one() -> None:
    chosen = recipe("gan")
    steps = torch.tensor([0, STEPS // 2, STEPS])
    balance = distortion_balance(steps, chosen)
    assert balance[1].item() == pytest.approx(1.0, rel=1e-4)
    assert balance[2].item() == pytest.approx(math.sqrt(chosen.lambda_max / chosen.lambda_min) ** 0.5, rel=1e-3)
    assert distortion_balance(steps, recipe("hific-lo")).tolist() == [1, 1, 1]


def test_running_rate_starts_at_the_first_and_follows() -> None:
    target = RateTarget(bpp=0.1, smoothing=0.75)
    assert running_rate(target, 0.0, 0.4) == 0.4
    assert running_rate(target, 0.4, 0.2) == pytest.approx(0.35)
    assert running_rate(RateTarget(bpp=0.1, smoothing=0.0), 0.4, 0.2) == pytest.approx(0.2)


@pytest.mark.parametrize("losses", [Losses(lpips=1.0), Losses(wasserstein=1.0, wasserstein_features="vgg")])
def test_absent_weights_are_an_error_that_names_the_file(losses: Losses, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", "/nonexistent")
    with pytest.raises(WeightsError, match=r"alexnet-owt|vgg16"):
        build_terms(losses, None, CPU)


def test_lpips_enters_where_its_weights_are_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    import lpips

    torch.manual_seed(0)
    network = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False).requires_grad_(False)
    monkeypatch.setattr("gencomp.train.objective.load_lpips", lambda net, weights: network)
    terms = build_terms(Losses(mse=0.0, lpips=2.0, lpips_net="squeeze"), None, CPU)
    x, other = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64, requires_grad=True)
    weighted = picture_terms(terms, x, other, torch.ones(1), torch.ones(1))
    torch.testing.assert_close(weighted.total, 2 * perceptual.lpips_loss(network, x, other))
    flat = torch.zeros(1, 3, 64, 64, requires_grad=True)
    picture_terms(terms, torch.zeros(1, 3, 64, 64), flat, torch.ones(1), torch.ones(1)).total.sum().backward()
    assert torch.isfinite(flat.grad).all()  # type: ignore[arg-type]
