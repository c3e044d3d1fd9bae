"""Where a run and its stages begin: at the newest checkpoint, which all processes agree on, at the weights of another,
at the stage before, or at none."""

from pathlib import Path
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import broadcast_object_list

from gencomp.networks import build

from .checkpoint import Checkpoint, CheckpointError, Start, checkpoints, load_checkpoint, start_of, starting_point
from .data.batches import Data
from .players import Ema, Player, Players, laid_out
from .procedures.contract import Stage
from .recipe import Recipe, changes, model_config, stage_at, stage_spans, to_dict
from .settings import following
from .terms import build_terms


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
    names: list[str | None] = [path.name for path in checkpoints(out)[-1:]] or [None]
    broadcast_object_list(names)
    return out / "checkpoints" / names[0] if names[0] else None


def begin_run(
    recipe: Recipe, accelerator: Accelerator, out: Path, init: str | Path | None, weights: str | None, data: Data
) -> Begun:
    """See the module. CheckpointError where the run, the recipe and `init` do not go together."""
    newest = agreed(out)
    if newest is not None:
        return _resumed(recipe, accelerator, load_checkpoint(newest), newest.name, weights, data)
    start = None if init is None else starting_point(model_file(init))
    fitted = recipe if start is None else followed(recipe, start)
    stage = build_stage(fitted, accelerator, stage_at(recipe, 0), weights)
    stage.procedure.begin_stage(stage, start, data)
    differing = changes(to_dict(recipe)["model"], to_dict(fitted)["model"], "model.")
    notes = [f"as in --init: {key} is {new}, not the recipe's {old}" for key, (old, new) in differing.items()]
    return Begun(stage, None, "", {}, notes)


def followed(recipe: Recipe, start: Start) -> Recipe:
    """The recipe for the model or run that it starts from."""
    fitted: Recipe = recipe.stages[stage_at(recipe, 0)].follow(following(recipe, start.network), start)
    return fitted


def _resumed(
    recipe: Recipe, accelerator: Accelerator, saved: Checkpoint, name: str, weights: str | None, data: Data
) -> Begun:
    if saved.step > recipe.steps:
        raise CheckpointError(f"the run has {saved.step} steps already, over the {recipe.steps} asked for")
    before = int(saved.meta["number"])
    if before >= len(recipe.stages) or recipe.stages[before].name != saved.meta["stage"]:
        raise CheckpointError(f"the run is in a stage {saved.meta['stage']}, which {recipe.name} does not have there")
    number = before if saved.step == recipe.steps else stage_at(recipe, saved.step)
    if number < before:
        here, there = recipe.stages[before], recipe.stages[number]
        raise CheckpointError(
            f"the run is in stage {here.name}, and {here.name}.begin={here.begin:g} would take it back to {there.name}"
        )
    earlier = saved.meta["recipe"]
    recipe = recipe.stages[before].resume(following(recipe, model_config(earlier)), earlier)
    stage = build_stage(recipe, accelerator, before, weights)
    stage.restore(saved)
    if number != before:
        stage, saved = next_stage(stage, weights, data, number), saved._replace(meta={})
    changed = changes(earlier, to_dict(stage.recipe))
    notes = [f"changed since {name}: {key} was {old}, is {new}" for key, (old, new) in changed.items()]
    return Begun(stage, saved, name, changed, notes)


def build_stage(recipe: Recipe, accelerator: Accelerator, number: int, weights: str | None = None) -> Stage:
    """A stage with untrained players on the accelerator's device. weights: folder of feature networks' weights;
    WeightsError where some are wanted and not there."""
    torch.manual_seed(recipe.seed)
    procedure, device, ema = recipe.stages[number], accelerator.device, None
    network = laid_out(procedure.network(recipe), recipe).to(device)
    if recipe.ema:
        ema = Ema("ema", laid_out(build(recipe.model), recipe).to(device))
        ema.module.load_state_dict(network.state_dict())
    procedure.choose(network)
    parameters = [p for p in network.parameters() if p.requires_grad]
    if not parameters:
        raise CheckpointError(f"{procedure.name} has nothing to train in a network of the family {recipe.model.family}")
    optimiser, learning_rate = procedure.optimiser(recipe, parameters)
    codec = Player("codec", network, optimiser, learning_rate, recipe.clip)
    codec.join(accelerator, compile=recipe.compile)
    players = Players(codec, ema, procedure.others(recipe, accelerator, weights))
    terms = build_terms(procedure.image_losses, weights, device)
    begin, end = stage_spans(recipe)[number]
    return Stage(recipe, number, accelerator, begin, end, begin, players, terms)


def next_stage(finished: Stage, weights: str | None, data: Data, number: int | None = None) -> Stage:
    """The stage after one that has come to its end (or a later one), from its averaged weights."""
    number = stage_at(finished.recipe, finished.step) if number is None else number
    saved = finished.checkpoint()
    recipe = finished.recipe.stages[number].succeed(finished, data)
    start = start_of(saved._replace(meta=saved.meta | {"recipe": to_dict(finished.recipe)}))
    finished.accelerator.free_memory()
    stage = build_stage(recipe, finished.accelerator, number, weights)
    stage.procedure.begin_stage(stage, start, data)
    stage.step = finished.step
    return stage


def model_file(init: str | Path) -> Path:
    """The path of a run, a checkpoint or a model file, or of the model of this name in the package."""
    from gencomp.codec import model_path

    return Path(init) if isinstance(init, Path) or Path(init).exists() else model_path(init)
