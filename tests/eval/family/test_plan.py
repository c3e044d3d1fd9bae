"""Budgets to steps: equal time or equal arithmetic, fixed once, and kept from other settings."""

from pathlib import Path

import pytest

from gencomp.eval.family import plan
from gencomp.eval.family.plan import PlanError, Run, Settings, Stage, run_of

ONE = [Stage("rate_distortion", 1.0, 0.5, 1e9)]
TWO = [Stage("rate_distortion", 0.75, 0.1, 1e9), Stage("realism", 0.25, 0.3, 5e9)]


def test_a_budget_of_time_is_filled_by_the_speed_of_the_steps() -> None:
    run = run_of("a", 8, ONE, 60, by_arithmetic=False)
    assert (run.steps, run.begin_realism, run.seconds) == (120, None, 60)


def test_stages_keep_their_share_of_the_steps() -> None:
    run = run_of("b", 8, TWO, 60, by_arithmetic=False)
    assert run.begin_realism == 300
    assert run.steps == 400
    assert run.seconds == pytest.approx(60)


def test_a_stage_before_the_first_has_its_share_and_no_realism_begins() -> None:
    run = run_of(
        "g", 8, [Stage("generator", 0.5, 0.2, 1e9), Stage("rate_distortion", 0.5, 0.1, 1e9)], 60, by_arithmetic=False
    )
    assert (run.steps, run.begin_realism) == (400, None)


def test_a_budget_of_arithmetic_is_filled_whatever_the_speed() -> None:
    budget = 4e11
    runs = [run_of("r", 8, stages, budget, by_arithmetic=True) for stages in (ONE, TWO)]
    assert [run.flops for run in runs] == pytest.approx([budget, budget], rel=0.01)
    assert runs[0].seconds != pytest.approx(runs[1].seconds, rel=0.1)


def test_a_stage_has_steps_even_where_the_budget_has_none() -> None:
    run = run_of("b", 8, TWO, 1e-9, by_arithmetic=False)
    assert run.begin_realism == plan.LEAST_STEPS
    assert run.steps == 2 * plan.LEAST_STEPS


def test_a_plan_comes_back_and_is_refused_under_other_settings(tmp_path: Path) -> None:
    settings = Settings(("photos",), 5.0, False)
    made = {"base": [Run("base", 10, None, 8, 1.5, 2.0)]}
    assert plan.load(tmp_path, settings) == {}
    plan.save(tmp_path, settings, made)
    assert plan.load(tmp_path, settings) == made
    with pytest.raises(PlanError, match=r"begun with --budget 5 \(now 6\)"):
        plan.load(tmp_path, settings._replace(minutes=6.0))
    (tmp_path / plan.FILE).write_text("{}")
    with pytest.raises(PlanError, match="cannot be read as a plan"):
        plan.load(tmp_path, settings)
