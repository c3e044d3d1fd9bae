"""Recipes: every training run is a row of this table, with single values overridden by `--set key=value`.

The rate is traded against the distortion by lambda, drawn anew for every sample: step s in 0..STEPS stands for
lambda(s) = lambda_min * (lambda_max / lambda_min) ** (s / STEPS), in bits a pixel for each grey level squared of MSE.
"""

import dataclasses
import difflib
import json
from dataclasses import dataclass, field
from typing import Any, get_type_hints

from gencomp.model import ModelConfig


class RecipeError(ValueError):
    """A recipe, key or value that does not exist or does not fit."""


@dataclass(frozen=True)
class Recipe:
    """One training run, without the place of its data and its results."""

    name: str
    model: ModelConfig = field(default_factory=ModelConfig)
    steps: int = 200_000  # optimiser steps
    batch: int = 8  # pictures a step, over all processes
    crop: int = 128  # side of a training crop, pixels, a multiple of 64
    scale_min: float = 0.5  # crops are taken from the photograph scaled by a factor drawn from this range
    scale_max: float = 0.95
    lambda_min: float = 0.00018
    lambda_max: float = 0.018
    lambda_balance: float = 0.5  # losses are multiplied by lambda ** -balance, so that no rate dominates
    learning_rate: float = 5e-4
    warmup: int = 200  # steps of linear rise
    decay: float = 0.35  # the last part of the run, in which the learning rate falls linearly to 1 % (WSD schedule)
    clip: float = 1.0  # largest gradient norm
    ema: float = 0.9995  # decay of the averaged weights, which are the ones that are exported
    precision: str = "bf16"  # no | bf16 | fp16
    workers: int = 1  # data-loading processes a training process
    seed: int = 0


RECIPES: dict[str, Recipe] = {
    "base": Recipe("base"),
}


def recipe(name: str, overrides: dict[str, str] | None = None) -> Recipe:
    """A row of the table with `key=value` overrides applied; unknown names and keys raise RecipeError."""
    if name not in RECIPES:
        raise RecipeError(f"unknown recipe {name!r}; {_nearest(name, list(RECIPES))}")
    chosen = RECIPES[name]
    types = get_type_hints(Recipe)
    known = [f.name for f in dataclasses.fields(Recipe) if f.name not in ("name", "model")]
    changes: dict[str, Any] = {}
    for key, text in (overrides or {}).items():
        if key not in known:
            raise RecipeError(f"unknown key {key!r}; {_nearest(key, known)}")
        try:
            changes[key] = types[key](text)
        except ValueError as error:
            raise RecipeError(f"{key}={text!r} is not a number of type {types[key].__name__}") from error
    return dataclasses.replace(chosen, **changes)


def to_json(recipe: Recipe) -> str:
    """The resolved recipe, to be saved with the run."""
    return json.dumps(dataclasses.asdict(recipe), indent=2)


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    return f"did you mean {close[0]!r}?" if close else "known: " + ", ".join(known)


def learning_rate(recipe: Recipe, step: int) -> float:
    """Warm-up, constant, linear decay to 1 % (the WSD schedule, Hu et al. 2024): a function of the step alone."""
    rise = min(1.0, (step + 1) / max(1, recipe.warmup))
    remaining = (recipe.steps - step) / max(1.0, recipe.decay * recipe.steps)
    return recipe.learning_rate * rise * max(0.01, min(1.0, remaining))
