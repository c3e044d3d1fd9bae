"""Recipes: what may be set, what is refused, and how rates of learning fall."""

import dataclasses
import json

import pytest
import torch

from gencomp.networks.hific import HificConfig, HificNetwork
from gencomp.networks.hyperprior import HyperpriorConfig, HyperpriorNetwork
from gencomp.train.network import build_codec, config_from_dict
from gencomp.train.objective import price_of_rate
from gencomp.train.plan import loads
from gencomp.train.recipes import RECIPES, RateTarget, RecipeError, rate_factor, recipe, stage_at, stage_span, to_json


def test_every_recipe_is_named_as_it_is_called_and_is_complete() -> None:
    assert {"base", "gan", "hific-lo", "hific-mi", "hific-hi", "illm", "projected", "tiny"} == set(RECIPES)
    for name in RECIPES:
        assert recipe(name).name == name


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("lerning_rate", "1", "did you mean 'learning_rate'"),
        ("losses.lpipz", "1", "did you mean 'lpips'"),
        ("losses", "1", "section"),
        ("steps.x", "1", "single value"),
        ("steps", "many", "not a number"),
        ("precision", "fp8", "bf16"),
        ("crop", "100", "multiple of 64"),
        ("compile", "perhaps", "neither true nor false"),
        ("name", "x", "cannot be set"),
        ("batch", "0", "positive"),
        ("lambda_max", "0.0000001", "at least lambda_min"),
        ("accumulate", "5", "divided"),
        ("focus", "1.5", "0 to 1"),
    ],
)
def test_wrong_values_are_refused_by_name(key: str, value: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe("base", {key: value})


def test_regularity_wants_crops_that_hold_its_window() -> None:
    assert recipe("gan").losses.regularity > 0
    with pytest.raises(RecipeError, match="crops of at least 128"):
        recipe("gan", {"crop": "64"})


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'base'"):
        recipe("bse")


def test_values_are_read_by_type() -> None:
    chosen = recipe(
        "base", {"learning_rate": "1e-3", "compile": "true", "adversarial_from": "7", "losses.lpips": "2.5"}
    )
    assert (chosen.learning_rate, chosen.compile, chosen.adversarial_from, chosen.losses.lpips) == (1e-3, True, 7, 2.5)
    assert recipe("tiny", {"adversarial_from": "none"}).adversarial_from is None
    widths = recipe("base", {"model.transform.decoder_widths": "8,8,8,8"}).model
    assert isinstance(widths, HyperpriorConfig)
    assert widths.transform.decoder_widths == (8, 8, 8, 8)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_saved_recipe_gives_the_same_network_back(name: str) -> None:
    chosen = recipe(name)
    assert config_from_dict(json.loads(to_json(chosen))["model"]) == chosen.model


def test_learning_rate_rises_holds_and_falls_in_each_stage() -> None:
    chosen = recipe("tiny", {"steps": "200", "adversarial_from": "100", "warmup": "10", "decay": "0.5"})
    factors = [rate_factor(chosen, step) for step in range(200)]
    assert factors[0] == pytest.approx(0.1)
    assert factors[10:49] == [1.0] * 39
    assert factors[75] == pytest.approx(0.5)
    assert factors[100:] == factors[:100]
    assert [stage_at(chosen, s) for s in (0, 99, 100, 199)] == [1, 1, 2, 2]
    assert stage_span(chosen, 2) == (100, 200)


def test_hific_schedule_is_a_tenth_from_half_of_each_stage() -> None:
    chosen = recipe("hific-lo")
    steps = (0, 499_999, 500_000, 999_999, 1_000_000, 1_500_000)
    assert [rate_factor(chosen, s) for s in steps] == [1.0, 1.0, 0.1, 0.1, 1.0, 0.1]


@pytest.mark.parametrize(
    ("name", "bpp", "price"), [("hific-lo", 0.14, 2.0), ("hific-mi", 0.30, 1.0), ("hific-hi", 0.45, 0.5)]
)
def test_hific_recipes_have_the_papers_networks_and_constants(name: str, bpp: float, price: float) -> None:
    chosen = recipe(name)
    assert chosen.model == HificConfig()
    assert (chosen.rate.bpp, chosen.rate.lambda_above, chosen.rate.lambda_below) == (bpp, price, 2**-4)
    assert chosen.losses.mse / 255**2 == pytest.approx(0.075 * 2**-5)
    assert (chosen.losses.lpips, chosen.losses.adversarial, chosen.batch, chosen.crop) == (1.0, 0.15, 8, 256)
    with torch.device("meta"):
        codec = build_codec(chosen.model)
    assert isinstance(codec, HificNetwork)
    millions = [
        sum(p.numel() for p in part.parameters()) / 1e6 for part in (codec.analysis, codec.synthesis, codec.prior)
    ]
    assert millions == pytest.approx([7.4, 156.8, 17.3], abs=0.05)


def test_price_of_rate_switches_at_the_target_and_relaxes_early() -> None:
    target = RateTarget(bpp=0.14, lambda_above=2.0, lambda_below=0.0625, warmup=50)
    assert price_of_rate(target, 0.15, 50) == 2.0
    assert price_of_rate(target, 0.13, 50) == 0.0625
    assert price_of_rate(target, 0.15, 49) == 0.125  # under 0.20, at twice the lambda
    assert price_of_rate(target, 0.21, 49) == 4.0


def test_plan_counts_what_the_model_counts() -> None:
    from gencomp.networks.cost import cost

    chosen = recipe("tiny")
    assert isinstance(chosen.model, HyperpriorConfig)
    counted = cost(HyperpriorNetwork(chosen.model))
    first, second = loads(chosen)
    assert first.kmac == pytest.approx(counted.encoder_kmac + counted.decoder_kmac, rel=0.02)
    assert second.trained + second.frozen == first.trained
    assert second.discriminator > 0
    assert first.saved_bytes > 64 * 64 * 3 * 4


def test_recipes_cannot_be_changed_in_place() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe("base").steps = 1
