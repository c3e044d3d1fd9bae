"""What depends on the optimiser step alone: the stage, its span, and the factor of its learning rates."""

from itertools import pairwise

from .recipe import Recipe


def stage_spans(recipe: Recipe) -> list[tuple[int, int]]:
    """Of each stage its first step, and the step after its last; the two are equal for a stage without steps."""
    begins = (round(s.begin * recipe.steps) if s.begin < 1 else int(s.begin) for s in recipe.stages)
    return list(pairwise([*(min(begin, recipe.steps) for begin in begins), recipe.steps]))


def stage_at(recipe: Recipe, step: int) -> int:
    """The place in the recipe of the stage to which optimiser step number `step` (from 0) belongs."""
    return max(k for k, (begin, end) in enumerate(stage_spans(recipe)) if begin <= step and begin < end)


def learning_rate_factor(recipe: Recipe, step: int) -> float:
    """Factor of every learning rate at a step of the run, each stage on its own.

    Warm-up, constant, then linear decay to 1 % (WSD, Hu et al. 2024), or a tenth from half of the stage on (HiFiC).
    """
    begin, end = stage_spans(recipe)[stage_at(recipe, step)]
    rise = min(1.0, (step - begin + 1) / max(1, fitted(recipe.warmup, begin, end)))
    if recipe.schedule == "halfway":
        return rise * (1.0 if step - begin < (end - begin) // 2 else 0.1)
    remaining = (end - step) / max(1.0, recipe.decay * (end - begin))
    return rise * max(0.01, min(1.0, remaining))


def fitted(warmup: int, begin: int, end: int) -> int:
    """Steps of a warm-up in a stage from `begin` to `end`: at most a tenth of it, so that short runs learn, too."""
    return min(warmup, (end - begin) // 10)
