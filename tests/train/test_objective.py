"""Objectives by closed form."""

import math
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
import torch

from gencomp.bitstream import STEPS
from gencomp.perceptual.grid import EVEN
from gencomp.perceptual.lpips import lpips_loss
from gencomp.perceptual.weights import WeightsError
from gencomp.train.losses import distortion_balance, lambda_of, price_of_rate, rate_distortion
from gencomp.train.players import RunningRate
from gencomp.train.recipe import RateTarget
from gencomp.train.settings import recipe
from gencomp.train.terms import TERMS, ActiveTerm, Term, Wasserstein, build_terms, weighted

CPU = torch.device("cpu")


def terms_of(**weights: Term | float) -> list[ActiveTerm]:
    return build_terms({k: w if isinstance(w, Term) else Term(w) for k, w in weights.items()}, None, CPU)


def test_lambda_runs_log_evenly_over_the_qualities() -> None:
    chosen = recipe("base")
    low, middle, high = lambda_of(torch.tensor([0, STEPS // 2, STEPS]), chosen).tolist()
    assert (low, high) == pytest.approx((chosen.lambda_min, chosen.lambda_max), rel=1e-4)
    assert middle == pytest.approx(math.sqrt(low * high), rel=1e-4)


def test_rate_distortion_of_known_numbers() -> None:
    chosen = recipe("base", {"lambda_min": "0.01", "lambda_max": "0.01", "ms_ssim_weight": "0"})
    x = torch.full((1, 3, 64, 64), 0.5)
    loss = rate_distortion(x + 2 / 255, torch.tensor([64.0 * 64 / 2]), x, torch.tensor([0]), chosen)
    assert loss.item() == pytest.approx(0.5 + 0.01 * 4.0, rel=1e-4)


def test_ms_ssim_costs_nothing_on_equal_images_and_something_on_others() -> None:
    chosen = recipe("base")
    x = torch.rand(1, 3, 64, 64)
    bits, step = torch.zeros(1), torch.tensor([512])
    assert rate_distortion(x, bits, x, step, chosen).item() == pytest.approx(0, abs=1e-4)
    plain = recipe("base", {"ms_ssim_weight": "0"})
    assert rate_distortion(1 - x, bits, x, step, chosen) > rate_distortion(1 - x, bits, x, step, plain)


def test_realism_zero_counts_distortion_alone() -> None:
    terms = terms_of(mse=100.0, l1=1.0, wasserstein_steerable=Wasserstein(1.0))
    x, other = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    ones, rows = torch.ones(2), torch.arange(2)
    still = weighted(terms, x, other, torch.zeros(2), ones, rows[:1])[0]
    expected = 100 * (x - other).square().mean((1, 2, 3)) + (x - other).abs().mean((1, 2, 3))
    torch.testing.assert_close(still, expected)
    half, full = (weighted(terms, x, other, r * ones, ones, rows)[0] - still for r in (0.5, 1.0))
    torch.testing.assert_close(2 * half, full)
    assert (full > 0).all()


def test_rows_without_realism_are_not_given_to_the_terms_of_realism() -> None:
    """The same totals from the rows with realism alone, and the same sums for the log."""
    terms = terms_of(mse=10.0, wasserstein_steerable=Wasserstein(1.0))
    x, other = torch.rand(4, 3, 64, 64), torch.rand(4, 3, 64, 64)
    realism, ones = torch.tensor([0.0, 0.7, 0.0, 1.0]), torch.ones(4)
    some = weighted(terms, x, other, realism, ones, torch.tensor([1, 3]))
    every = weighted(terms, x, other, realism, ones, torch.arange(4))
    torch.testing.assert_close(some, every)


def test_half_precision_reaches_nothing_but_the_convolutions_of_features() -> None:
    """The statistics of MS-SSIM, say, are differences of nearly equal numbers."""
    x, one, row = torch.rand(1, 3, 128, 128), torch.ones(1), torch.tensor([0])
    other = (x + 0.1 * torch.randn(1, 3, 128, 128)).clamp(0, 1)
    half = partial(torch.autocast, "cpu", torch.bfloat16)
    for name in ("mse", "l1", "ms_ssim", "wasserstein_laplacian", "grid_artefacts"):
        terms = terms_of(**{name: replace(TERMS[name].default, weight=1.0)})
        full, quick = (weighted(terms, x, other, one, one, row, 0, c)[0].item() for c in (nullcontext, half))
        assert quick == full, name
    terms = terms_of(wasserstein_steerable=Wasserstein(1.0))
    full, quick = (weighted(terms, x, other, one, one, row, 0, c)[0].item() for c in (nullcontext, half))
    assert quick != full
    assert quick == pytest.approx(full, rel=0.02)


def test_grid_artefacts_count_with_the_realism() -> None:
    terms = terms_of(mse=0.0, grid_artefacts=Term(8.0, times_realism=True))
    x = torch.full((2, 3, 128, 128), 0.5)
    stripes = x + 0.01 * (torch.arange(128) % 2 * 2 - 1)
    total, metrics = weighted(terms, x, stripes, torch.tensor([0.0, 0.5]), torch.ones(2), torch.tensor([1]))
    value = 2 * metrics["realistic/grid_artefacts"].item()  # one of two samples has realism
    assert (total[0], total[1].item()) == (0, pytest.approx(4 * value, rel=1e-5))
    assert value == pytest.approx(0.01**2 / EVEN, rel=1e-3)


def test_stage_two_weighs_distortion_over_rates_as_stage_one() -> None:
    chosen = recipe("gan")
    steps = torch.tensor([0, STEPS // 2, STEPS])
    balance = distortion_balance(steps, chosen)
    assert balance[1].item() == pytest.approx(1.0, rel=1e-4)
    assert balance[2].item() == pytest.approx(math.sqrt(chosen.lambda_max / chosen.lambda_min) ** 0.5, rel=1e-3)
    assert distortion_balance(steps, recipe("hific-lo")).tolist() == [1, 1, 1]


def test_running_rate_starts_at_the_first_and_follows() -> None:
    rate = RunningRate(0.75, CPU)
    rate.follow(torch.tensor(0.4))
    assert float(rate.bpp) == pytest.approx(0.4)
    rate.follow(torch.tensor(0.2))
    assert float(rate.bpp) == pytest.approx(0.35)
    other = RunningRate(0.0, CPU)
    other.restore(rate.tensors())
    assert torch.equal(other.bpp, rate.bpp)
    other.follow(torch.tensor(0.2))
    assert float(other.bpp) == pytest.approx(0.2)


def test_price_of_rate_switches_at_the_target_and_relaxes_early() -> None:
    target = RateTarget(bpp=0.14, lambda_above=2.0, lambda_below=0.0625, warmup=50)

    def price(bpp: float, step: int, steps: int = 1000) -> float:
        return float(price_of_rate(target, torch.tensor(bpp), step, steps))

    assert (price(0.15, 50), price(0.13, 50)) == (2.0, 0.0625)
    assert price(0.15, 49) == 0.5 * 0.0625  # under 0.20, at half the price
    assert price(0.21, 49) == 1.0
    assert price(0.15, 20, steps=200) == 2.0  # a short run warms up for a tenth of its steps


@pytest.mark.parametrize("losses", [{"lpips_alex": 1.0}, {"wasserstein_vgg": Wasserstein(1.0)}])
def test_absent_weights_are_named(losses: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_HOME", "/nonexistent")
    with pytest.raises(WeightsError, match=r"alexnet-owt|vgg16"):
        terms_of(**losses)


def test_lpips_enters_where_its_weights_are_at_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    import lpips

    torch.manual_seed(0)
    network = lpips.LPIPS(net="squeeze", pnet_rand=True, verbose=False).requires_grad_(False)
    monkeypatch.setattr("gencomp.train.terms.load_lpips", lambda net, weights: network)
    terms = terms_of(lpips_squeeze=2.0)
    x, other = torch.rand(1, 3, 64, 64), torch.rand(1, 3, 64, 64, requires_grad=True)
    one, row = torch.ones(1), torch.zeros(1, dtype=torch.long)
    total, _ = weighted(terms, x, other, one, one, row)
    torch.testing.assert_close(total, 2 * lpips_loss(network, x, other))
    flat = torch.zeros(1, 3, 64, 64, requires_grad=True)
    weighted(terms, torch.zeros(1, 3, 64, 64), flat, one, one, row)[0].sum().backward()
    assert torch.isfinite(flat.grad).all()  # type: ignore[arg-type]
