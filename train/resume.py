"""Where a run begins: at the newest checkpoint, which all processes agree on, at the weights of another, or at none."""

import dataclasses
from pathlib import Path
from typing import Any, NamedTuple

from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from gencomp.networks.contract import NetworkConfig

from .checkpoint import Checkpoint, CheckpointError, Start, checkpoints, exported, load_checkpoint, starting_point
from .data.batches import Data
from .recipe import Recipe
from .recipes import RECIPES
from .schedule import stage_at
from .settings import changes, model_config, to_dict
from .slim.stages import begin_slim, narrow_stage
from .stage import Stage, build_stage, start_from


class Begun(NamedTuple):
    """stage: ready for its next step; saved, name: the checkpoint that it was restored from, if any; changed: settings
    that differ from the checkpoint's; notes: lines for a person."""

    stage: Stage
    saved: Checkpoint | None
    name: str
    changed: dict[str, tuple[Any, Any]]
    notes: list[str]


def agreed(out: Path) -> Path | None:
    """The newest checkpoint as the first process sees it: a shared disk may show each process another state."""
    saved = checkpoints(out)
    names = [saved[-1].name if saved else None]
    broadcast_object_list(names)
    return out / "checkpoints" / names[0] if names[0] else None


def begin_stage(
    recipe: Recipe, accelerator: Accelerator, out: Path, init: str | Path | None, weights: str | None, data: Data
) -> Begun:
    """See the module. CheckpointError where the run, the recipe and `init` do not go together."""
    newest = agreed(out)
    if newest is not None:
        return _resumed(recipe, accelerator, load_checkpoint(newest), newest, weights, data)
    if recipe.slim.arithmetic:
        return _begun_slim(recipe, accelerator, init, weights, data)
    number = stage_at(recipe, 0)
    if init is None and number == 2 and recipe.trains == "synthesis":
        raise CheckpointError(f"{recipe.name} goes on from a trained codec: name a model or a run with --init")
    if init is None:
        return Begun(build_stage(recipe, accelerator, number, weights), None, "", {}, [])
    start = starting_point(model_file(init))
    followed = following(recipe, start.network)
    stage = build_stage(followed, accelerator, number, weights)
    start_from(stage, start)
    differing = changes(to_dict(recipe)["model"], to_dict(followed)["model"], "model.")
    notes = [f"as in --init: {key} is {new}, not the recipe's {old}" for key, (old, new) in differing.items()]
    return Begun(stage, None, "", {}, notes)


def following(recipe: Recipe, network: NetworkConfig) -> Recipe:
    """The recipe for the network that a run goes on with, of any size in the recipe's family, unless the recipe's own
    network was set to be another."""
    own = RECIPES.get(recipe.name)  # none of a recipe that was made in Python
    if own is not None and recipe.model == own.model and recipe.model.family == network.family:
        return dataclasses.replace(recipe, model=network)
    return recipe


def _begun_slim(
    recipe: Recipe, accelerator: Accelerator, init: str | Path | None, weights: str | None, data: Data
) -> Begun:
    if init is None or recipe.slim.teacher is None:
        raise CheckpointError(f"{recipe.name} narrows a trained decoder: name its model with --teacher")
    if accelerator.num_processes > 1:
        raise CheckpointError(f"{recipe.name} trains in one process")
    stage = build_stage(recipe, accelerator, 1, weights)
    begin_slim(stage, starting_point(model_file(init)).codec, data)
    return Begun(stage, None, "", {}, [])


def _resumed(
    recipe: Recipe, accelerator: Accelerator, saved: Checkpoint, path: Path, weights: str | None, data: Data
) -> Begun:
    if saved.step > recipe.steps:
        raise CheckpointError(f"the run has {saved.step} steps already, over the {recipe.steps} asked for")
    number, before = stage_at(recipe, saved.step), int(saved.meta["stage"])
    if saved.step == recipe.steps:
        number = before
    if number < before:
        key = "generator_fraction" if number == 0 else "adversarial_from"
        raise CheckpointError(
            f"the run is in stage {before}, and {key}={getattr(recipe, key)} would take it back to stage {number}"
        )
    if recipe.slim.arithmetic:
        recipe = dataclasses.replace(recipe, model=model_config(saved.meta["recipe"]))
    else:
        recipe = following(recipe, model_config(saved.meta["recipe"]))
    stage = build_stage(recipe, accelerator, before if recipe.slim.arithmetic else number, weights)
    if number == before:
        stage.restore(saved)
    elif recipe.slim.arithmetic:
        stage.restore(saved)
        stage = next_stage(stage, weights, data)
        recipe = stage.recipe
    else:
        start_from(stage, Start(exported(saved.tensors), {}, recipe.model))
        stage.step = saved.step
    changed = changes(saved.meta["recipe"], to_dict(recipe))
    notes = [f"changed since {path.name}: {key} was {old}, is {new}" for key, (old, new) in changed.items()]
    return Begun(stage, saved if number == before else saved._replace(meta={}), path.name, changed, notes)


def next_stage(finished: Stage, weights: str | None, data: Data) -> Stage:
    """The stage after one that has come to its end, from its averaged weights."""
    weights_of = exported(finished.checkpoint().tensors)
    if finished.recipe.slim.arithmetic:
        return narrow_stage(finished, weights_of, weights, data)
    finished.accelerator.free_memory()
    stage = build_stage(finished.recipe, finished.accelerator, finished.number + 1, weights)
    start_from(stage, Start(weights_of, {}, stage.recipe.model))
    return stage


def model_file(init: str | Path) -> Path:
    """The path of a run, a checkpoint or a model file, or of the model of this name in the package."""
    from gencomp.codec import model_path

    return Path(init) if isinstance(init, Path) or Path(init).exists() else model_path(init)
