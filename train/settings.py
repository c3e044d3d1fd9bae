"""Recipes by name with `key=value` overrides, checked."""

import dataclasses
import difflib
from typing import Any, Literal, get_args, get_origin, get_type_hints

from gencomp.networks.contract import NetworkConfig

from .discriminators import KINDS
from .recipe import Recipe, stage_spans
from .recipes import RECIPES


class RecipeError(ValueError):
    """A recipe, key or value that does not exist or does not fit."""


def recipe(name: str, overrides: dict[str, str] | None = None) -> Recipe:
    """A row of the table with `key=value` overrides applied, checked; RecipeError for what does not exist or fit.

    Keys of sections are dotted: realism.losses.lpips_alex, model.transform.latent_channels. A section with a weight may
    be set as one: realism.losses.lpips_alex=3.
    """
    if name not in RECIPES:
        raise RecipeError(f"unknown recipe {name!r}; {_nearest(name, list(RECIPES))}")
    chosen = RECIPES[name]
    for key, text in (overrides or {}).items():
        if key in ("name", "model"):
            raise RecipeError(f"{key} cannot be set; choose another recipe: {', '.join(RECIPES)}")
        path, places = key.split("."), [stage.name for stage in chosen.stages]
        if path[0] in places:
            stages = list(chosen.stages)
            place = places.index(path[0])
            stages[place] = _replaced(stages[place], key, path[1:], text)
            chosen = dataclasses.replace(chosen, stages=tuple(stages))
        else:
            chosen = _replaced(chosen, key, path, text, places)
    check(chosen)
    return chosen


def _replaced(section: Any, key: str, path: list[str], text: str, beside: list[str] | None = None) -> Any:
    """The dataclass `section` with the value at `path` read from text; beside: other sections that keys may name."""
    fields = {f.name: f for f in dataclasses.fields(section) if f.metadata.get("set", f.name != "stages")}
    if not path:
        if "weight" not in fields:
            raise RecipeError(f"{key} is a section; set one of its keys: {', '.join(fields)}")
        path = ["weight"]
    name, rest = path[0], path[1:]
    if name not in fields:
        raise RecipeError(f"unknown key {key!r}; {_nearest(name, [*fields, *(beside or [])])}")
    value, rows = getattr(section, name), fields[name].metadata.get("rows")
    if rows is not None:
        if not rest or rest[0] not in rows:
            raise RecipeError(f"unknown key {key!r}; {_nearest(rest[0] if rest else '', list(rows))}")
        row = value.get(rest[0]) or getattr(rows[rest[0]], "default", rows[rest[0]])
        new: Any = {**value, rest[0]: _replaced(row, key, rest[1:], text)}
    elif dataclasses.is_dataclass(value):
        new = _replaced(value, key, rest, text)
    elif rest:
        raise RecipeError(f"unknown key {key!r}; {name} is a single value")
    else:
        new = _read(key, text, get_type_hints(type(section))[name])
    return dataclasses.replace(section, **{name: new})


def _read(key: str, text: str, kind: Any) -> Any:
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise RecipeError(f"{key}={text!r}; known: {', '.join(get_args(kind))}")
        return text
    if get_origin(kind) is tuple:
        return tuple(_read(key, part, get_args(kind)[0]) for part in text.split(","))
    if kind is bool:
        if text.lower() not in ("true", "false", "1", "0", "yes", "no"):
            raise RecipeError(f"{key}={text!r} is neither true nor false")
        return text.lower() in ("true", "1", "yes")
    try:
        return kind(text)
    except ValueError as error:
        raise RecipeError(f"{key}={text!r} is not a number of type {kind.__name__}") from error


def check(recipe: Recipe) -> None:
    """RecipeError where values cannot be trained with."""
    positive = ("steps", "batch", "accumulate", "crop", "learning_rate", "clip", "lambda_min")
    wrong = [key for key in positive if not getattr(recipe, key) > 0]
    if wrong:
        raise RecipeError(f"{wrong[0]} must be positive, not {getattr(recipe, wrong[0])}")
    if recipe.crop % 64:
        raise RecipeError(f"crop={recipe.crop} is not a multiple of 64")
    if not 0 < recipe.scale_min <= recipe.scale_max:
        raise RecipeError("scale_min must be positive and at most scale_max")
    if recipe.lambda_max < recipe.lambda_min:
        raise RecipeError("lambda_max must be at least lambda_min")
    for key in ("mid_quality_fraction", "graphics"):
        if not 0 <= getattr(recipe, key) <= 1:
            raise RecipeError(f"{key} is a share, 0 to 1")
    if not 0 <= recipe.ema < 1:
        raise RecipeError("ema must lie in 0 to 1, 1 excluded")
    if recipe.batch % recipe.accumulate:
        raise RecipeError(f"a batch of {recipe.batch} cannot be divided into {recipe.accumulate} micro-batches")
    begins = [begin for begin, _ in stage_spans(recipe)]
    if not begins or begins[0] or begins != sorted(begins):
        raise RecipeError(f"the first stage begins at step 0, and each after the one before, not at {begins}")
    for (begin, end), procedure in zip(stage_spans(recipe), recipe.stages):
        unknown = [name for name in procedure.opponents if name not in KINDS]
        if unknown:
            raise RecipeError(f"no discriminator {unknown[0]!r}; known: {', '.join(KINDS)}")
        if "grid_artefacts" in procedure.image_losses and recipe.crop < 128:
            raise RecipeError(f"grid_artefacts needs crops of at least 128 pixels, not {recipe.crop}")
        try:
            if begin < end:
                procedure.check(recipe)
        except ValueError as error:
            raise RecipeError(str(error)) from error


def following(recipe: Recipe, network: NetworkConfig) -> Recipe:
    """The recipe for the network that a run goes on with, of any size in the recipe's family, unless the recipe's own
    network was set to be another."""
    own = RECIPES.get(recipe.name)  # none of a recipe that was made in Python
    if own is not None and recipe.model == own.model and recipe.model.family == network.family:
        return dataclasses.replace(recipe, model=network)
    return recipe


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    return f"did you mean {close[0]!r}?" if close else "known: " + ", ".join(known)
