"""Recipes by name with `key=value` overrides, checked; and as JSON, to be saved with a run."""

import dataclasses
import difflib
import json
import types
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from gencomp.networks import FAMILIES, config_from_dict

from .recipe import Recipe
from .recipes import RECIPES


class RecipeError(ValueError):
    """A recipe, key or value that does not exist or does not fit."""


def recipe(name: str, overrides: dict[str, str] | None = None) -> Recipe:
    """A row of the table with `key=value` overrides applied, checked; RecipeError for what does not exist or fit.

    Keys of sections are dotted: losses.lpips, discriminator.kind, model.transform.latent_channels.
    """
    if name not in RECIPES:
        raise RecipeError(f"unknown recipe {name!r}; {_nearest(name, list(RECIPES))}")
    chosen = RECIPES[name]
    for key, text in (overrides or {}).items():
        if key in ("name", "model"):
            raise RecipeError(f"{key} cannot be set; choose another recipe: {', '.join(RECIPES)}")
        if key == "slim.teacher":
            raise RecipeError("slim.teacher is the model that --teacher names")
        chosen = _replaced(chosen, key, key.split("."), text)
    check(chosen)
    return chosen


def _replaced(section: Any, key: str, path: list[str], text: str) -> Any:
    """The dataclass `section` with the value at `path` read from text."""
    hints = {f.name: get_type_hints(type(section))[f.name] for f in dataclasses.fields(section)}
    if path[0] not in hints:
        raise RecipeError(f"unknown key {key!r}; {_nearest(path[0], list(hints))}")
    value = getattr(section, path[0])
    if dataclasses.is_dataclass(value):
        if len(path) == 1:
            raise RecipeError(f"{key} is a section; set one of its keys: {', '.join(_keys(value))}")
        new = _replaced(value, key, path[1:], text)
    elif len(path) > 1:
        raise RecipeError(f"unknown key {key!r}; {path[0]} is a single value")
    else:
        new = _read(key, text, hints[path[0]])
    return dataclasses.replace(section, **{path[0]: new})


def _keys(section: Any) -> list[str]:
    return [f.name for f in dataclasses.fields(section)]


def _read(key: str, text: str, kind: Any) -> Any:
    """A value of type `kind` from the command line."""
    if get_origin(kind) is Literal:
        if text not in get_args(kind):
            raise RecipeError(f"{key}={text!r}; known: {', '.join(get_args(kind))}")
        return text
    if get_origin(kind) in (Union, types.UnionType):
        inner = next(a for a in get_args(kind) if a is not type(None))
        return None if text.lower() == "none" else _read(key, text, inner)
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
    if recipe.losses.grid_artefacts and recipe.crop < 128:
        raise RecipeError(
            f"losses.grid_artefacts sees its period of 8 pixels in crops of at least 128, not {recipe.crop}"
        )
    if not 0 < recipe.scale_min <= recipe.scale_max:
        raise RecipeError("scale_min must be positive and at most scale_max")
    if recipe.lambda_max < recipe.lambda_min:
        raise RecipeError("lambda_max must be at least lambda_min")
    for key in ("mid_quality_fraction", "rounded_fraction", "generator_fraction", "graphics"):
        if not 0 <= getattr(recipe, key) <= 1:
            raise RecipeError(f"{key} is a share, 0 to 1")
    if not 0 <= recipe.slim.arithmetic <= 1:
        raise RecipeError("slim.arithmetic is a share, 0 to 1")
    if not 0 <= recipe.ema < 1:
        raise RecipeError("ema must lie in 0 to 1, 1 excluded")
    if not 0 <= recipe.colour_jitter < 1:
        raise RecipeError("colour_jitter must lie in 0 to 1, 1 excluded")
    if recipe.batch % recipe.accumulate:
        raise RecipeError(f"a batch of {recipe.batch} cannot be divided into {recipe.accumulate} micro-batches")
    if recipe.adversarial_from is not None:
        _check_labels(recipe)
    if recipe.generator_fraction:
        _check_generator(recipe)


def _check_generator(recipe: Recipe) -> None:
    """Stage 0 has images that were drawn and real ones, which have nothing to do with one another."""
    if not FAMILIES[recipe.model.family].network.has_generator:
        raise RecipeError(
            f"generator_fraction: networks of the family {recipe.model.family} are not trained as generators"
        )
    if recipe.discriminator.condition_channels or recipe.losses.feature_matching or recipe.losses.gan == "labels":
        raise RecipeError(
            "generator_fraction needs a discriminator of images alone: discriminator.condition_channels=0, "
            "losses.feature_matching=0 and no labels"
        )
    if not recipe.losses.adversarial:
        raise RecipeError("generator_fraction needs losses.adversarial above 0: nothing else trains the generator")


def _check_labels(recipe: Recipe) -> None:
    """The labels that a loss needs are the discriminator's; found here, not at the first step of stage 2."""
    labelled = recipe.discriminator.kind == "unet" and recipe.discriminator.labels > 0
    if (recipe.losses.gan == "labels") != labelled:
        raise RecipeError("losses.gan=labels and discriminator.kind=unet with discriminator.labels=N go together")
    if labelled and not (recipe.discriminator.label_network or recipe.discriminator.label_steps):
        raise RecipeError("labels need discriminator.label_steps=N to train their network, or label_network=FILE")


def _nearest(word: str, known: list[str]) -> str:
    close = difflib.get_close_matches(word, known, 1)
    return f"did you mean {close[0]!r}?" if close else "known: " + ", ".join(known)


def to_dict(recipe: Recipe) -> dict[str, Any]:
    """The resolved recipe as plain values, its network by family."""
    values: dict[str, Any] = dataclasses.asdict(recipe)
    values["model"] = {"family": recipe.model.family, **recipe.model.to_dict()}
    return values


def to_json(recipe: Recipe) -> str:
    """The resolved recipe, to be saved with the run."""
    return json.dumps(to_dict(recipe), indent=2)


def model_config(saved: dict[str, Any]) -> Any:
    """The network's configuration in a saved recipe (`to_dict`)."""
    return config_from_dict(saved["model"]["family"], {k: v for k, v in saved["model"].items() if k != "family"})


def changes(before: dict[str, Any], after: dict[str, Any], prefix: str = "") -> dict[str, tuple[Any, Any]]:
    """What differs between two saved recipes: dotted key -> (before, after), None where a key is absent."""
    found: dict[str, tuple[Any, Any]] = {}
    for key in [*before, *(k for k in after if k not in before)]:
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            found |= changes(old, new, f"{prefix}{key}.")
        elif _plain(old) != _plain(new):
            found[prefix + key] = (old, new)
    return found


def _plain(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
