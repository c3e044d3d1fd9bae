"""Planning and training with stand-ins for the programs: budgets, parts, what fails, what is not done again."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from gencomp.cli.group import explain
from gencomp.eval.family import plan as planning
from gencomp.eval.family import run as family
from gencomp.eval.family.child import ChildError
from gencomp.eval.family.plan import PlanError, Run, Settings, Stage
from gencomp.eval.family.training import Described, Place, UnknownRecipe

COSTS = {"base": Stage("x", 1.0, 2.0, 8e9), "gan": Stage("x", 1.0, 4.0, 9e9), "balle2018": Stage("x", 1.0, 1.0, 3e9)}
SETTINGS = Settings(("photos",), 10.0, False)


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    """A folder, and programs that know the recipes of COSTS and a broken one."""

    def described(_: Place, name: str) -> Described:
        if name not in {*COSTS, "broken"}:
            raise UnknownRecipe(name)
        return Described(name, 8, [])

    def train(place: Place, name: str, runs: Sequence[Run], told: Callable[[int], None]) -> Path:
        if name == "broken":
            raise ChildError("it does not work", 1)
        told(sum(run.steps for run in runs))
        place.model(name).parent.mkdir(parents=True, exist_ok=True)
        place.model(name).touch()
        return place.model(name)

    monkeypatch.setattr(family, "described", described)
    monkeypatch.setattr(family, "probe", lambda _, recipe, seconds: [COSTS.get(recipe.name, Stage("x", 1.0, 1.0, 1e9))])
    monkeypatch.setattr(family, "train", train)
    return Place(tmp_path / "out", ("photos",), 1, True)


def trained(place: Place, *names: str, settings: Settings = SETTINGS) -> family.Trained:
    return family.trained(place, names, settings, 2, quiet=True)


def test_every_rung_has_the_same_time_and_gan_shares_its_own_with_base(place: Place) -> None:
    done = trained(place, "balle2018", "base", "gan")
    assert {name: [run.steps for run in runs] for name, runs in done.plan.items()} == {
        "balle2018": [600], "base": [300], "gan": [150, 75],
    }  # fmt: skip
    assert list(done.models) == ["balle2018", "base", "gan"]
    assert planning.load(place.out, SETTINGS) == done.plan
    assert not done.failed


def test_equal_arithmetic_is_that_of_the_anchor_even_where_it_is_not_among_the_rungs(place: Place) -> None:
    done = trained(place, "base", "gan", settings=SETTINGS._replace(arithmetic=True))
    flops = [sum(run.flops for run in runs) for runs in done.plan.values()]
    assert flops == pytest.approx([600 * 3e9] * 2, rel=0.01)
    assert set(done.plan) == {"base", "gan"}


def test_a_rung_that_is_not_there_or_fails_costs_no_other(place: Place) -> None:
    done = trained(place, "vae", "broken", "base")
    assert list(done.models) == ["base"]
    assert done.skipped == {"vae": "no recipe vae is installed", "broken": "it failed: it does not work"}
    assert done.failed
    with pytest.raises(PlanError, match="none of these rungs can be trained here: it failed"):
        trained(place, "broken")


def test_a_plan_stands_when_speeds_change_and_grows_with_the_rungs(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = trained(place, "base").plan
    monkeypatch.setitem(COSTS, "base", Stage("x", 1.0, 50.0, 8e9))
    after = trained(place, "balle2018", "base").plan
    assert after["base"] == before["base"]
    assert set(after) == {"base", "balle2018"}


def test_speeds_that_are_known_are_written_down_before_the_others(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(_: Place, recipe: Described, seconds: float) -> list[Stage]:
        if recipe.name == "gan":
            raise KeyboardInterrupt
        return [COSTS[recipe.name]]

    monkeypatch.setattr(family, "probe", killed)
    with pytest.raises(KeyboardInterrupt):
        family.trained(place, ["base", "gan"], SETTINGS, 1, quiet=True)
    assert set(planning.load(place.out, SETTINGS)) == {"base"}


def test_without_the_anchor_there_is_no_measure_of_arithmetic(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(COSTS, "balle2018")
    with pytest.raises(PlanError, match="takes its measure from balle2018"):
        trained(place, "base", settings=SETTINGS._replace(arithmetic=True))


def test_two_commands_do_not_train_in_one_folder(place: Place) -> None:
    place.out.mkdir()
    with family._alone(place.out), pytest.raises(family.BusyError, match="another process") as refused:
        trained(place, "base")
    assert "unexpected" not in explain(refused.value)
