import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from gencomp.eval.study.analysis.analyse import Rule, analyse
from gencomp.eval.study.analysis.mos import Ratings, jackknife, mos, ratings
from gencomp.eval.study.analysis.outliers import bt500, p910
from gencomp.eval.study.analysis.report import write
from gencomp.eval.study.analysis.simulate import Population, offsets, synthetic, votes
from gencomp.eval.study.checks import enough
from gencomp.eval.study.plan import HIDDEN, Design, Study, Task
from gencomp.eval.study.votes import Vote

SCALE = (1300.0, 1430.0, 1570.0, 1700.0)


def a_study(task: Task = "dsis", method: Any = "full") -> Study:
    return synthetic(4, 8, Design(method, 24, enough(task), 2, 0, 0), task=task)


def cast(study: Study, raters: int = 18, seed: int = 0, **population: Any) -> list[Vote]:
    rng = np.random.default_rng(seed)
    people = Population(SCALE, **population)
    return votes(study, people, raters, offsets(study, people, rng), rng)


@pytest.mark.parametrize("method", ["full", "random"])
def test_a_stimulus_has_the_mean_and_the_t_interval_of_scipy(method: str) -> None:
    study = a_study(method=method)
    given = [v for v in cast(study) if v.trial.kind == "rating"]
    found = mos(study, ratings(study, given), resamples=50)
    assert len(found.stimuli) == 32
    for row in found.stimuli:
        grades = [int(v.choice) for v in given if (v.trial.scene, v.trial.first) == (row.scene, row.condition)]
        assert (row.ratings, row.mos) == (len(grades), pytest.approx(np.mean(grades)))
        if np.ptp(grades):
            ends = stats.t.interval(0.95, len(grades) - 1, loc=np.mean(grades), scale=stats.sem(grades))
            assert row.interval == pytest.approx(ends)


def test_where_every_rater_sees_everything_a_condition_has_the_t_interval_of_the_raters_means() -> None:
    study = a_study()
    given = ratings(study, cast(study))
    found = mos(study, given, resamples=50)
    for k, row in enumerate(found.conditions):
        means = given.grades[:, :, k].mean(1)
        assert row.mos == pytest.approx(means.mean())
        assert row.interval == pytest.approx(stats.t.interval(0.95, 17, loc=means.mean(), scale=stats.sem(means)))
    best, worst = found.conditions[3], found.conditions[0]
    assert best.mos - worst.mos > 1.5
    first = found.differences[0]
    means = (given.grades[:, :, 3] - given.grades[:, :, 2]).mean(1)
    assert (first.first, first.second) == ("c3", "c2")
    assert first.interval == pytest.approx(stats.t.interval(0.95, 17, loc=means.mean(), scale=stats.sem(means)))


def test_the_hidden_original_sets_the_differential_score() -> None:
    """A rater who gives everything a grade less has the same DMOS."""
    study = a_study("acr")
    grades = np.tile(np.array([5.0, 2, 3, 4, 4]), (2, 8, 1))
    grades[1] -= 1
    found = mos(study, Ratings(grades, ["x", "y"], [s.id for s in study.scenes], [HIDDEN, "c0", "c1", "c2", "c3"]))
    assert [c.condition for c in found.conditions] == [HIDDEN, "c0", "c1", "c2", "c3"]
    assert [c.mos for c in found.conditions] == [4.5, 1.5, 2.5, 3.5, 3.5]
    assert [c.dmos for c in found.conditions] == [None, 2, 3, 4, 4]
    assert found.conditions[1].dmos_interval == (2, 2)


def test_one_rater_has_no_interval() -> None:
    assert jackknife(3.0, np.array([3.0])) is None
    study = a_study()
    found = mos(study, ratings(study, cast(study, raters=1)))
    assert [c.interval for c in found.conditions] == [None] * 4
    assert all(s.interval is None and s.sd is None for s in found.stimuli)


def by_the_text_of_bt500(table: Any) -> list[bool]:
    """The rule once more, in loops, as it is printed; raters x stimuli, without gaps."""
    out = []
    for rater in table:
        p = q = 0
        for score, column in zip(rater, table.T, strict=True):
            mean, s = column.mean(), column.std(ddof=1)
            kurtosis = ((column - mean) ** 4).mean() / ((column - mean) ** 2).mean() ** 2
            far = 2 * s if 2 <= kurtosis <= 4 else np.sqrt(20) * s
            p += score >= mean + far
            q += score <= mean - far
        out.append(bool((p + q) / len(rater) > 0.05 and abs((p - q) / (p + q)) < 0.3))
    return out


def wild(seed: int) -> Any:
    """Eleven careful raters and one whose grades are drawn at random: (raters, scenes, conditions)."""
    rng = np.random.default_rng(seed)
    grades = np.clip(np.round(rng.uniform(1.5, 4.5, (8, 4)) + rng.normal(0, 0.4, (12, 8, 4))), 1, 5)
    grades[-1] = rng.choice([1.0, 5.0], (8, 4))
    return grades


@pytest.mark.parametrize("seed", range(10))
def test_the_rule_of_bt500_is_the_printed_one(seed: int) -> None:
    grades = wild(seed)
    assert [f.out for f in bt500(grades)] == by_the_text_of_bt500(grades.reshape(12, -1))


def test_both_rules_find_the_wild_rater_and_nobody_else() -> None:
    for seed in range(10):
        for rule in (bt500, p910):
            assert not any(f.out for f in rule(wild(seed))[:-1])
    assert sum(bt500(wild(seed))[-1].out for seed in range(10)) >= 5  # it spares whoever is far off on one side mostly
    assert sum(p910(wild(seed))[-1].out for seed in range(10)) >= 8  # four conditions correlate by chance at times


def test_correlations_are_numpys_over_stimuli_and_conditions() -> None:
    grades = wild(0)[:-1]
    found = p910(grades)[2]
    mean = grades.mean(0)
    assert found.r1 == pytest.approx(np.corrcoef(grades[2].ravel(), mean.ravel())[0, 1])
    assert found.r2 == pytest.approx(np.corrcoef(grades[2].mean(0), mean.mean(0))[0, 1])
    constant = grades.copy()
    constant[0] = 3.0
    assert p910(constant)[0].out  # no correlation at all
    holes = np.where(np.random.default_rng(0).random(grades.shape) < 0.2, np.nan, grades)
    assert not any(f.out for f in p910(holes))


@pytest.mark.parametrize("task", ["dsis", "acr"])
def test_ratings_become_a_page_with_tables(task: Task, make_study: Any, tmp_path: Path) -> None:
    design = Design("full", 16 if task == "acr" else 12, 16, 1, 2, 0)
    folder, study = make_study(task=task, layout="side", design=design)
    rng = np.random.default_rng(0)
    people = Population((1700.0, 1500.0, 1300.0))
    found = analyse(study, votes(study, people, 16, offsets(study, people, rng), rng), resamples=100)
    page = write(study, found, tmp_path / "analysis", folder / "images")
    whole = json.loads((page.parent / "analysis.json").read_text())
    assert whole == found
    ranked = [s["condition"] for s in sorted(whole["scores"], key=lambda s: -s["mos"])]
    assert ranked == [HIDDEN] * (task == "acr") + ["good", "middling", "bad"]
    assert whole["votes"] == 16 * study.design.trials
    with (page.parent / "images.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert len(rows) == len(study.pairs)
    assert {"low", "high", "sd", "ratings"} <= set(rows[0])
    spearman = {m["metric"]: m["spearman"]["value"] for m in whole["metrics"] if m["level"] == "conditions"}
    assert spearman["psnr"] == spearman["lpips_alex"] == pytest.approx(1)
    assert "http" not in page.read_text()
    assert page.read_text().count('<img src="../made/images/') == 4 * (1 + 3)


def test_an_outlier_rule_leaves_out_and_says_so() -> None:
    study = a_study()
    given = cast(study)
    wild_rater = given[-1].rater
    rng = np.random.default_rng(0)
    wild = [v.rater == wild_rater and v.trial.kind == "rating" for v in given]
    turned = [v._replace(choice="15"[rng.integers(2)]) if is_wild else v for v, is_wild in zip(given, wild)]
    assert all(r["kept"] for r in analyse(study, turned, resamples=50)["rater_table"])
    rules: tuple[Rule, ...] = ("bt500", "p910")
    for rule in rules:
        found = analyse(study, turned, rule=rule, resamples=50)
        out = {r["rater"]: r["reasons"] for r in found["rater_table"] if not r["kept"]}
        assert out[wild_rater] == f"an outlier by {rule}"
        assert len(out) <= 2
        assert (found["raters"]["kept"], found["outliers"]) == (18 - len(out), rule)


def test_grades_of_checks_and_repeats_do_not_count() -> None:
    study = replace(a_study(), design=Design("full", 32, 16, 4, 0, 0))
    given = cast(study)
    only = [v for v in given if v.trial.kind == "rating"]
    assert len(only) == 18 * 32 < len(given)
    np.testing.assert_array_equal(ratings(study, given).grades, ratings(study, only).grades)
