"""Recipes: what may be set, what is refused, schedules, and what a recipe asks for before it is run."""

import json
from typing import Any

import pytest
import torch

from gencomp.networks import build
from gencomp.networks.cost import cost
from gencomp.networks.hific import HificConfig, HificNetwork
from gencomp.networks.hyperprior import HyperpriorConfig, HyperpriorNetwork
from gencomp.train.plan import estimate, loads
from gencomp.train.recipe import (
    changes,
    fitted,
    learning_rate_factor,
    model_config,
    stage_at,
    stage_spans,
    to_dict,
    to_json,
)
from gencomp.train.recipes import LADDER, RECIPES
from gencomp.train.settings import RecipeError, recipe
from gencomp.train.terms import minimised

WRONG: list[Any] = [("lerning_rate", "1", "did you mean 'learning_rate'")]
WRONG += [("realism.losses.lpips_vg", "1", "did you mean 'lpips_vgg'"), ("realism", "1", "section")]
WRONG += [("realism.losses", "1", "mse"), ("realism.losses.mse.log2_sigma", "4", "unknown key")]
WRONG += [("realism.discriminators.patch.backbone", "x", "unknown key"), ("encoder.losses.mse", "1", "realism")]
WRONG += [("realism.begin", "-1", "begins"), ("rate_distortion.begin", "5", "begins"), ("stages", "1", "unknown key")]
WRONG += [("steps.x", "1", "single value"), ("steps", "many", "not a number"), ("precision", "fp8", "bf16")]
WRONG += [("crop", "100", "multiple of 64"), ("compile", "perhaps", "neither true nor false")]
WRONG += [("name", "x", "cannot be set"), ("batch", "0", "positive")]
WRONG += [("lambda_max", "0.0000001", "at least lambda_min"), ("accumulate", "5", "divided")]
WRONG += [("mid_quality_fraction", "1.5", "0 to 1")]
MINIMISED: list[Any] = [("realism.losses.lpips_vgg=1", "lpips_vgg")]
MINIMISED += [("realism.losses.wasserstein_steerable=9", "wasserstein")]
MINIMISED += [("realism.losses.wasserstein_alex=1", "wasserstein_alex"), ("realism.losses.mse=2", "psnr")]
MINIMISED += [("ms_ssim_weight=1", "ms_ssim")]


def test_every_recipe_is_named_as_it_is_called_and_is_complete() -> None:
    named = {"base", "gan", "hific-lo", "hific-mi", "hific-hi", "perception", "slim", "tiny"}
    assert named | set(LADDER) == set(RECIPES)
    for name in RECIPES:
        assert recipe(name).name == name


@pytest.mark.parametrize(("key", "value", "message"), WRONG)
def test_wrong_values_are_refused_by_name(key: str, value: str, message: str) -> None:
    with pytest.raises(RecipeError, match=message):
        recipe("gan", {key: value})


def test_grid_artefacts_wants_crops_that_hold_its_window() -> None:
    assert "grid_artefacts" in recipe("gan").stages[1].losses
    with pytest.raises(RecipeError, match="crops of at least 128"):
        recipe("gan", {"crop": "64"})


def test_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(RecipeError, match="did you mean 'base'"):
        recipe("bse")


def test_values_are_read_by_type() -> None:
    chosen = recipe("gan", {"learning_rate": "1e-3", "compile": "true", "realism.losses.lpips_vgg": "2.5"})
    assert (chosen.learning_rate, chosen.compile, chosen.stages[1].losses["lpips_vgg"].weight) == (1e-3, True, 2.5)
    widths = recipe("base", {"model.transform.decoder_widths": "8,8,8,8"}).model
    assert isinstance(widths, HyperpriorConfig)
    assert widths.transform.decoder_widths == (8, 8, 8, 8)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_saved_recipe_gives_the_same_network_back(name: str) -> None:
    chosen = recipe(name)
    assert model_config(json.loads(to_json(chosen))) == chosen.model


def test_changes_between_saved_recipes_are_named_by_their_keys() -> None:
    before = json.loads(to_json(recipe("tiny")))
    assert changes(before, to_dict(recipe("tiny"))) == {}
    after = to_dict(recipe("tiny", {"batch": "8", "realism.losses.mse": "3", "model.transform.latent_channels": "16"}))
    assert changes(before, after) == {
        "model.transform.latent_channels": (32, 16),
        "batch": (4, 8),
        "stages.realism.losses.mse.weight": (100.0, 3.0),
    }
    del before["graphics"]
    assert changes(before, to_dict(recipe("tiny"))) == {"graphics": (None, 0.0)}


@pytest.mark.parametrize(
    ("name", "bpp", "price"), [("hific-lo", 0.14, 2.0), ("hific-mi", 0.30, 1.0), ("hific-hi", 0.45, 0.5)]
)
def test_hific_recipes_have_the_papers_networks_and_constants(name: str, bpp: float, price: float) -> None:
    chosen = recipe(name)
    assert chosen.model == HificConfig()
    realism = chosen.stages[1]
    assert (chosen.rate.bpp, chosen.rate.lambda_above, chosen.rate.lambda_below) == (bpp, price, 2**-4)
    assert realism.losses["mse"].weight / 255**2 == pytest.approx(0.075 * 2**-5)
    weights = realism.losses["lpips_alex"].weight, realism.discriminators["patch"].weight
    assert (*weights, chosen.batch, chosen.crop) == (1.0, 0.15, 8, 256)
    with torch.device("meta"):
        codec = build(chosen.model)
    assert isinstance(codec, HificNetwork)
    parts = codec.analysis, codec.synthesis, codec.prior
    assert [sum(p.numel() for p in part.parameters()) / 1e6 for part in parts] == pytest.approx(
        [7.4, 156.8, 17.3], abs=0.05
    )


def test_plan_counts_what_the_model_counts() -> None:
    chosen = recipe("tiny")
    assert isinstance(chosen.model, HyperpriorConfig)
    counted = cost(HyperpriorNetwork(chosen.model))
    first, second = loads(chosen)
    assert first.kmac == pytest.approx(counted.encoder_kmac + counted.decoder_kmac, rel=0.02)
    assert second.trained + second.frozen == first.trained
    assert second.discriminator > 0
    assert first.saved_bytes > 64 * 64 * 3 * 4


@pytest.mark.parametrize(("setting", "named"), MINIMISED)
def test_what_a_recipe_minimises_has_the_name_of_a_metric(setting: str, named: str) -> None:
    terms = recipe("gan").stages[1].losses
    off = dict.fromkeys(["ms_ssim_weight", *(f"realism.losses.{term}" for term in terms)], "0")
    assert minimised(to_dict(recipe("gan", off))) == ["psnr"]
    name, _, value = setting.partition("=")
    assert set(minimised(to_dict(recipe("gan", off | {name: value})))) == {"psnr", named}


def test_learning_rate_rises_holds_and_falls_in_each_stage() -> None:
    chosen = recipe("tiny", {"steps": "200", "realism.begin": "100", "warmup": "10", "decay": "0.5"})
    factors = [learning_rate_factor(chosen, step) for step in range(200)]
    assert (factors[0], factors[10:49]) == (pytest.approx(0.1), [1.0] * 39)
    assert (factors[75], factors[100:]) == (pytest.approx(0.5), factors[:100])
    assert [stage_at(chosen, s) for s in (0, 99, 100, 199)] == [0, 0, 1, 1]
    assert stage_spans(chosen) == [(0, 100), (100, 200)]


def test_hific_schedule_is_a_tenth_from_half_of_each_stage() -> None:
    chosen = recipe("hific-lo")
    steps = (0, 499_999, 500_000, 999_999, 1_000_000, 1_500_000)
    assert [learning_rate_factor(chosen, s) for s in steps] == [1.0, 1.0, 0.1, 0.1, 1.0, 0.1]


def test_warm_up_fits_short_runs() -> None:
    assert (fitted(200, 0, 100_000), fitted(200, 50, 150)) == (200, 10)
    factors = [learning_rate_factor(recipe("base", {"steps": "100"}), step) for step in range(100)]
    assert (max(factors), factors[9]) == (1.0, 1.0)


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_can_be_counted(name: str) -> None:
    counted = loads(RECIPES[name])
    assert counted
    for load in counted:
        assert load.trained > 0
        assert name not in LADDER or load.kmac <= 25  # small enough for one core
        assert load.flops > 2e3 * load.kmac * RECIPES[name].batch * RECIPES[name].crop ** 2  # there is a way back, too


def test_an_estimate_names_the_span_of_each_stage() -> None:
    stages = estimate(recipe("tiny", {"steps": "8", "realism.begin": "4"}), 1, torch.device("cpu"))
    spans = [(stage["stage"], stage["begin"], stage["end"]) for stage in stages]
    assert spans == [("rate_distortion", 0, 4), ("realism", 4, 8)]
    assert all(stage["seconds_per_step"] > 0 for stage in stages)
