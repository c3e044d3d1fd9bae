"""What depends on the optimiser step alone: the stage, its span, and the factor of its learning rates."""

from .recipe import Recipe


def stage_at(recipe: Recipe, step: int) -> int:
    """0, 1 or 2: the stage to which optimiser step number `step` (from 0) belongs."""
    if step < stage_span(recipe, 0)[1]:
        return 0
    return 2 if recipe.adversarial_from is not None and step >= recipe.adversarial_from else 1


def stage_span(recipe: Recipe, stage: int) -> tuple[int, int]:
    """First step of a stage, and the step after its last."""
    switch = recipe.steps if recipe.adversarial_from is None else min(recipe.adversarial_from, recipe.steps)
    begin = round(recipe.generator_fraction * switch)
    return {0: (0, begin), 1: (begin, switch), 2: (switch, recipe.steps)}[stage]


def trains_bits(recipe: Recipe, stage: int) -> bool:
    """Whether a stage trains what decides bits, too, and not the synthesis alone."""
    return not recipe.slim.arithmetic and (stage == 1 or (stage == 2 and recipe.trains == "all"))


def trains_synthesis(recipe: Recipe, stage: int) -> bool:
    """Whether a stage trains the synthesis: one that has learnt as a generator stays as it is in stage 1."""
    return stage != 1 or not recipe.generator_fraction


def learning_rate_factor(recipe: Recipe, step: int) -> float:
    """Factor of every learning rate at a step of the run, each stage on its own.

    Warm-up, constant, then linear decay to 1 % (WSD, Hu et al. 2024), or a tenth from half of the stage on (HiFiC).
    """
    begin, end = stage_span(recipe, stage_at(recipe, step))
    rise = min(1.0, (step - begin + 1) / max(1, fitted(recipe.warmup, begin, end)))
    if recipe.schedule == "halfway":
        return rise * (1.0 if step - begin < (end - begin) // 2 else 0.1)
    remaining = (end - step) / max(1.0, recipe.decay * (end - begin))
    return rise * max(0.01, min(1.0, remaining))


def fitted(warmup: int, begin: int, end: int) -> int:
    """Steps of a warm-up in a stage from `begin` to `end`: at most a tenth of it, so that short runs learn, too."""
    return min(warmup, (end - begin) // 10)


def rounds(recipe: Recipe, step: int) -> bool:
    """Whether bits are those of rounded latents at this step: in the last part of stage 1."""
    begin, end = stage_span(recipe, 1)
    return begin <= step < end and end - step <= recipe.rounded_fraction * (end - begin)
