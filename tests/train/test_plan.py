"""What a recipe asks for, counted before it is run."""

import pytest
import torch

from gencomp.train.plan import estimate, loads
from gencomp.train.recipes import RECIPES
from gencomp.train.settings import recipe


@pytest.mark.parametrize("name", sorted(RECIPES))
def test_every_recipe_can_be_counted(name: str) -> None:
    counted = loads(RECIPES[name])
    assert counted
    for load in counted:
        assert load.trained > 0
        assert load.flops > 2e3 * load.kmac * RECIPES[name].batch * RECIPES[name].crop ** 2  # there is a way back, too


def test_an_estimate_names_the_span_of_each_stage() -> None:
    stages = estimate(recipe("tiny", {"steps": "8", "realism.begin": "4"}), 1, torch.device("cpu"))
    assert [(stage["stage"], stage["begin"], stage["end"]) for stage in stages] == [
        ("rate_distortion", 0, 4),
        ("realism", 4, 8),
    ]
    assert all(stage["seconds_per_step"] > 0 for stage in stages)
