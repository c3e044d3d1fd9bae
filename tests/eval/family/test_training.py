"""Planning and training with stand-ins for training itself: budgets, parts, what fails, what is not done again."""

from collections.abc import Sequence
from pathlib import Path

import pytest

from gencomp.cli.group import explain
from gencomp.eval.family import plan as planning
from gencomp.eval.family import training as family
from gencomp.eval.family.plan import FamilySettings, PlanError, PlannedRun, StageCost, run_of
from gencomp.eval.family.training import FamilyFolder, Speeds
from gencomp.processes import Say

COSTS = {"base": StageCost("x", 1.0, 2.0, 8e9), "gan": StageCost("x", 1.0, 4.0, 9e9)}
COSTS |= {"balle2018": StageCost("x", 1.0, 1.0, 3e9), "broken": StageCost("x", 1.0, 1.0, 1e9)}
SETTINGS = FamilySettings(("photos",), 10.0, False)
ONE = [StageCost("rate_distortion", 1.0, 0.5, 1e9)]
TWO = [StageCost("rate_distortion", 0.75, 0.1, 1e9), StageCost("realism", 0.25, 0.3, 5e9)]
FIRST = [StageCost("generator", 0.5, 0.2, 1e9), StageCost("rate_distortion", 0.5, 0.1, 1e9)]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FamilyFolder:
    """A folder, and training that knows the recipes of COSTS, one of them broken."""

    def train(folder: FamilyFolder, name: str, runs: Sequence[PlannedRun], say: Say) -> Path:
        if name == "broken":
            raise ValueError("it does not work")
        say(sum(run.steps for run in runs))
        folder.model(name).parent.mkdir(parents=True, exist_ok=True)
        folder.model(name).touch()
        return folder.model(name)

    monkeypatch.setattr(family, "RECIPES", COSTS)
    monkeypatch.setattr(family, "measure_speeds", lambda _, name, seconds: (8, [COSTS[name]]))
    monkeypatch.setattr(family, "train_rung", train)
    return FamilyFolder(tmp_path / "out", ("photos",), 1, True)


def trained(folder: FamilyFolder, *names: str, settings: FamilySettings = SETTINGS) -> family.Trained:
    return family.trained(folder, names, settings, 0, quiet=True)


def test_every_rung_has_the_same_time_and_gan_shares_its_own_with_base(folder: FamilyFolder) -> None:
    done = trained(folder, "balle2018", "base", "gan")
    steps = {name: [run.steps for run in runs] for name, runs in done.plan.items()}
    assert steps == {"balle2018": [600], "base": [300], "gan": [150, 75]}
    assert list(done.models) == ["balle2018", "base", "gan"]
    assert planning.load(folder.out, SETTINGS) == done.plan
    assert not done.failed


def test_equal_arithmetic_is_that_of_the_anchor_even_where_it_is_not_among_the_rungs(folder: FamilyFolder) -> None:
    done = trained(folder, "base", "gan", settings=SETTINGS._replace(arithmetic=True))
    flops = [sum(run.flops for run in runs) for runs in done.plan.values()]
    assert (flops, set(done.plan)) == (pytest.approx([600 * 3e9] * 2, rel=0.01), {"base", "gan"})


def test_arithmetic_is_measured_by_the_anchor_alone(folder: FamilyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(COSTS, "balle2018")
    with pytest.raises(PlanError, match="takes its measure from balle2018"):
        trained(folder, "base", settings=SETTINGS._replace(arithmetic=True))


def test_a_rung_that_is_not_there_or_fails_costs_no_other(folder: FamilyFolder) -> None:
    done = trained(folder, "vae", "broken", "base")
    assert list(done.models) == ["base"]
    assert done.skipped == {"vae": "no recipe vae is installed", "broken": "it failed: it does not work"}
    assert done.failed
    assert "ValueError: it does not work" in (folder.out / "runs" / "said" / "train-broken.txt").read_text()
    with pytest.raises(PlanError, match="none of these rungs can be trained here: it failed"):
        trained(folder, "broken")


def test_a_plan_stands_when_speeds_change_and_may_grow(folder: FamilyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    before = trained(folder, "base").plan
    monkeypatch.setitem(COSTS, "base", StageCost("x", 1.0, 50.0, 8e9))
    after = trained(folder, "balle2018", "base").plan
    assert (after["base"], set(after)) == (before["base"], {"base", "balle2018"})


def test_known_speeds_are_written_down_before_the_others(folder: FamilyFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(_: FamilyFolder, name: str, seconds: float) -> Speeds:
        if name == "gan":
            raise KeyboardInterrupt
        return (8, [COSTS[name]])

    monkeypatch.setattr(family, "measure_speeds", killed)
    with pytest.raises(KeyboardInterrupt):
        trained(folder, "base", "gan")
    assert set(planning.load(folder.out, SETTINGS)) == {"base"}


def test_two_commands_do_not_train_in_one_folder(folder: FamilyFolder) -> None:
    folder.out.mkdir()
    with family._alone(folder.out), pytest.raises(family.BusyError, match="another process") as refused:
        trained(folder, "base")
    assert "unexpected" not in explain(refused.value)


@pytest.mark.parametrize(
    ("stages", "budget", "expected"),
    [
        (ONE, 60, (120, None, 60)),  # the budget is filled by the speed of the steps
        (TWO, 60, (400, 300, 60)),  # stages keep their share of the steps
        (FIRST, 60, (400, None, 60)),
        (TWO, 1e-9, (2 * planning.LEAST_STEPS, planning.LEAST_STEPS, 0.8)),  # steps even where the budget has none
    ],
)
def test_time_becomes_steps(stages: list[StageCost], budget: float, expected: tuple[int, int | None, float]) -> None:
    run = run_of("a", 8, stages, budget, by_arithmetic=False)
    assert (run.steps, run.begin_realism, run.seconds) == (*expected[:2], pytest.approx(expected[2]))


def test_a_budget_of_arithmetic_is_filled_whatever_the_speed() -> None:
    runs = [run_of("r", 8, stages, 4e11, by_arithmetic=True) for stages in (ONE, TWO)]
    assert [run.flops for run in runs] == pytest.approx([4e11, 4e11], rel=0.01)
    assert runs[0].seconds != pytest.approx(runs[1].seconds, rel=0.1)


def test_a_plan_comes_back_and_is_refused_under_other_settings(tmp_path: Path) -> None:
    settings = FamilySettings(("photos",), 5.0, False)
    made = {"base": [PlannedRun("base", 10, None, 8, 1.5, 2.0)]}
    assert planning.load(tmp_path, settings) == {}
    planning.save(tmp_path, settings, made)
    assert planning.load(tmp_path, settings) == made
    with pytest.raises(PlanError, match=r"begun with --budget 5 \(now 6\)"):
        planning.load(tmp_path, settings._replace(minutes=6.0))
    (tmp_path / planning.FILE).write_text("{}")
    with pytest.raises(PlanError, match="cannot be read as a plan"):
        planning.load(tmp_path, settings)
