import csv
import json
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import numpy as np
import pytest
from scipy import stats

from gencomp.eval.study.analysis.analyse import analyse
from gencomp.eval.study.analysis.correlation import coefficients, metric_agreement, oriented
from gencomp.eval.study.analysis.equal_quality import equal_quality, rate_at
from gencomp.eval.study.analysis.plots import _rates
from gencomp.eval.study.analysis.raters import agreement, screen
from gencomp.eval.study.analysis.report import write
from gencomp.eval.study.analysis.scores import ballots, image_scores, interval, needed, score, widening
from gencomp.eval.study.analysis.simulate import Population, offsets, votes
from gencomp.eval.study.bradley_terry import ELO, fit, p_value, preference
from gencomp.eval.study.design.trials import Kind, Trial
from gencomp.eval.study.plan import Condition, Scene, Study, StudyError
from gencomp.eval.study.votes import Vote

SCALE = {"good": 1700.0, "middling": 1500.0, "bad": 1300.0}


def simulated(study: Study, raters: int = 12, seed: int = 0, **population: Any) -> list[Vote]:
    rng = np.random.default_rng(seed)
    people = Population(tuple(SCALE[c.id] for c in study.conditions), **population)
    return votes(study, people, raters, offsets(study, people, rng), rng)


def vote(rater: str, trial: tuple[Kind, str, str, str], choice: str, n: int = 0) -> Vote:
    return Vote(rater, "web", n, Trial(*trial), choice, 3000, 3000, 2, 1.0, "2026-01-01T00:00:00Z")


def test_codecs_are_ranked_rightly_and_intervals_hold_the_scores(study: Study) -> None:
    found = analyse(study, simulated(study, lapse=0.0), resamples=300)
    ranked = sorted(found["scores"], key=lambda s: -s["elo"])
    assert [s["condition"] for s in ranked] == ["good", "middling", "bad"]
    assert all(s["interval"][0] < s["elo"] < s["interval"][1] for s in ranked)
    assert all(d["interval"][0] > 0 for d in found["differences"])
    assert found["votes"] == 12 * 12 == sum(s["votes"] for s in ranked) / 2


def test_the_side_on_which_a_image_stood_does_not_matter(study: Study) -> None:
    cast = simulated(study)
    swap = {"a": "b", "b": "a", "tie": "tie"}
    turned = [v._replace(trial=Trial(*v.trial[:2], *v.trial[:1:-1]), choice=swap[v.choice]) for v in cast]
    first, second = (analyse(study, votes, resamples=100)["scores"] for votes in (turned, cast))
    assert first == second


def test_careless_raters_are_left_out_by_the_checks(study: Study) -> None:
    patient = replace(study, design=replace(study.design, checks=18))
    cast = simulated(patient, raters=30, careless=0.3, lapse=0.0)
    found = screen(patient, cast)
    assert 3 <= sum(not r.kept for r in found) <= 15
    assert all(r.kept == (r.passed >= 16) for r in found)
    assert all("of 18 attention checks right" in r.reasons for r in found if not r.kept)
    whole = analyse(patient, cast, resamples=100)
    tables = whole["scores"], whole["scores_without_screening"]
    screened, everybody = ({s["condition"]: s["elo"] for s in table} for table in tables)
    assert screened["good"] - screened["bad"] > everybody["good"] - everybody["bad"]


def test_no_votes_is_said_in_one_line(study: Study) -> None:
    with pytest.raises(StudyError, match="no votes to analyse"):
        analyse(study, [])
    wrong = [vote("0" * 16, ("check", f"s{k}", "hidden", "degraded"), "b", k) for k in range(2)]
    with pytest.raises(StudyError, match="every rater was left out"):
        analyse(study, [*wrong, vote("0" * 16, ("pair", "s0", "good", "bad"), "b", 2)])


def test_checks_training_and_repeats_do_not_count_towards_scores(study: Study) -> None:
    cast = simulated(study)
    pairs = [v for v in cast if v.trial.kind == "pair"]
    np.testing.assert_array_equal(ballots(study, cast).tables(), ballots(study, pairs).tables())


def test_a_tie_is_half_a_win_for_each(study: Study) -> None:
    wins = ballots(study, [vote("0" * 16, ("pair", "s0", "good", "bad"), "tie")]).tables()[0]
    assert wins.tolist() == [[0, 0, 0.5], [0, 0, 0], [0.5, 0, 0]]


def test_few_raters_widen_the_interval_and_one_has_none() -> None:
    assert interval(np.arange(100.0), 1) is None
    factors = [widening(raters) for raters in (2, 3, 5, 10, 100, 10_000)]
    assert (factors, factors[-1]) == (sorted(factors, reverse=True), pytest.approx(1, abs=1e-3))
    # Normal samples of a mean over five units: Student's t interval, of the unbiased standard error.
    spread = np.random.default_rng(0).normal(0, np.sqrt(4 / 5), 200_000)
    assert interval(spread, 5) == pytest.approx((-2.776, 2.776), abs=0.03)
    assert interval(np.array([0.4, 0.9, 0.95]), 2, bounds=(0.0, 1.0)) == (0, 1)


def test_raters_are_resampled_and_not_votes(study: Study) -> None:
    """One rater's votes many times over say no more about other raters: the interval must not shrink."""
    cast = simulated(study, raters=8)
    often = [v._replace(n=v.n + 1000 * k) for k in range(9) for v in cast]
    once, many = (score(ballots(study, c), resamples=400).scores[0].interval for c in (cast, often))
    assert once
    assert many
    assert many.high - many.low == pytest.approx(once.high - once.low, rel=0.1)


def test_wanted_interval_tells_how_many_raters_it_takes(study: Study) -> None:
    few, many = (score(ballots(study, simulated(study, raters=r)), resamples=400) for r in (10, 40))
    reached = needed(many.scores, 40, 50)
    assert reached
    ask = needed(few.scores, 10, reached.widest_half_width)
    assert ask
    assert 25 < ask.raters < 60  # forty raters did reach it
    assert (ask.more_raters, ask.votes) == (ask.raters - 10, ask.raters * 12)
    enough = needed(few.scores, 10, 10_000.0)
    assert enough
    assert enough[2:] == (10, 120, 0, 0)


def test_agreement_is_one_for_unanimity_and_zero_for_coins() -> None:
    names = [f"{k:016x}" for k in range(40)]
    trials: list[tuple[Kind, str, str, str]] = [("pair", f"s{k}", "good", "bad") for k in range(50)]
    alike = agreement([vote(name, trial, "a", n) for name in names for n, trial in enumerate(trials)])
    assert (alike.items, alike.pairwise, alike.u, alike.ceiling) == (50, 1, 1, 1)
    rng = np.random.default_rng(0)
    coins = agreement([vote(name, trial, "ab"[rng.integers(2)], n) for name in names for n, trial in enumerate(trials)])
    assert coins.u == pytest.approx(0, abs=0.02)
    assert agreement([vote(names[0], trials[0], "a")]).pairwise is None
    split = [vote(name, trials[0], choice) for name, choice in zip(names, ["a", "a", "b", "tie"], strict=False)]
    assert agreement(split).pairwise == pytest.approx((2 + 3) / 12)  # a couple both ways; a tie is half alike
    assert agreement(split).ceiling == 2.5 / 4


def test_repeats_measure_a_raters_consistency(study: Study) -> None:
    first = vote("0" * 16, ("pair", "s0", "good", "bad"), "a")
    same = vote("0" * 16, ("repeat", "s0", "bad", "good"), "b", 1)
    assert [(r.repeats, r.consistent) for r in screen(study, [first, same])] == [(1, 1)]
    assert [(r.repeats, r.consistent) for r in screen(study, [first, same._replace(choice="a")])] == [(1, 0)]


def conditions(*points: tuple[str, float]) -> list[Condition]:
    return [Condition(f"{codec} {bpp}", codec, str(bpp), None, bpp, {}) for codec, bpp in points]


def test_equal_quality_is_read_off_the_other_codecs_curve() -> None:
    plan = conditions(("old", 0.1), ("old", 0.4), ("new", 0.1), ("new", 1.0))
    logits = np.array([1400.0, 1600.0, 1500.0, 1700.0]) / ELO
    found = {(e.condition, e.reference): e for e in equal_quality(plan, logits, np.tile(logits, (50, 1)), 10)}
    halfway = found["new 0.1", "old"]
    assert halfway.reference_bpp == pytest.approx(0.2 + 0.0, rel=1e-6)  # halfway in log rate between 0.1 and 0.4
    assert (halfway.percent, halfway.interval) == (pytest.approx(50), pytest.approx((50, 50)))
    assert halfway.inside == 1
    assert (found["new 1.0", "old"].percent, found["new 1.0", "old"].beyond) == (None, "better")
    assert found["old 0.1", "new"].beyond == "worse"
    assert not any(e.condition.startswith(e.reference) for e in found.values())


def test_an_interval_that_leaves_the_curve_says_at_which_end() -> None:
    plan = conditions(("old", 0.1), ("old", 0.4), ("new", 0.1))
    logits = np.array([1400.0, 1600.0, 1500.0]) / ELO

    def ends(*scores: float) -> tuple[bool, bool]:
        drawn = np.tile(logits, (100, 1))
        drawn[: len(scores), 2] = np.array(scores) / ELO
        found = next(e for e in equal_quality(plan, logits, drawn, 10) if e.condition == "new 0.1")
        return found.low_open, found.high_open

    assert ends() == (False, False)
    assert ends(1700, 1700, 1300, 1300) == (False, False)  # no more than the interval leaves out at each end
    assert ends(*[1700.0] * 3) == (True, False)
    assert ends(*[1300.0] * 3) == (False, True)


def test_a_dip_in_a_curve_is_pooled_and_one_rate_is_no_curve() -> None:
    assert equal_quality(conditions(("old", 0.1), ("new", 0.1)), np.zeros(2), np.zeros((3, 2)), 3) == []
    rates = np.log([0.1, 0.2, 0.4, 0.8])
    dip = np.array([1.0, 3, 2, 4])  # pooled: 1, 2.5, 2.5, 4
    assert rate_at(dip, rates, 3.25) == (pytest.approx(np.log(0.4) + np.log(2) / 2), "")
    assert rate_at(dip, rates, 2.5) == (pytest.approx(np.log(0.2)), "")
    rates = rates[:3]
    assert rate_at(np.array([1.0, 2, 3]), rates, 2.0) == (pytest.approx(np.log(0.2)), "")
    assert rate_at(np.array([1.0, 2, 3]), rates, 0.0)[1] == "worse"


def test_a_metric_that_raters_follow_correlates_and_an_inverted_one_does_too(study: Study) -> None:
    cast = simulated(study, raters=30, taste_sd=0, image_sd=0, lapse=0)
    counted = ballots(study, cast)
    scores = score(counted, resamples=200)
    by_image = image_scores(study, counted, scores.logits, resamples=100)
    rows = metric_agreement(study, counted, scores.logits, scores.resampled, by_image)
    by = {(m.metric, m.level): m for m in rows}
    for metric in ("psnr", "lpips_alex", "psnr_crop"):
        for level in ("conditions", "images"):
            if metric == "psnr_crop":  # infinite for the untouched image, and so unknown there
                continue
            row = by[metric, level]
            assert row.pearson
            assert row.pearson.value is not None
            assert row.pearson.value > 0.8
            assert row.pearson.interval
            assert row.pearson.interval.low > 0.5
        predicts = by[metric, "votes"].predicts
        assert predicts
        assert predicts.value is not None
        assert 0.7 < predicts.value <= (agreement(cast).ceiling or 0)
    spearman = by["psnr", "conditions"].spearman
    assert spearman
    assert (spearman.value, by["psnr", "images"].n) == (1, 12)


@pytest.mark.parametrize("seed", range(5))
def test_coefficients_agree_with_scipy(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 8, 30).astype(float)
    y = x + rng.integers(0, 9, 30).astype(float)
    expected = stats.pearsonr(x, y)[0], stats.spearmanr(x, y)[0], stats.kendalltau(x, y)[0]
    assert coefficients(x, y) == pytest.approx(expected, abs=1e-6)
    holes = np.append(x, [np.nan, 3]), np.append(y, [2, np.inf])
    assert coefficients(*holes) == pytest.approx(expected, abs=1e-6)
    assert np.isnan(coefficients(x, np.ones(30))).all()
    assert np.isnan(coefficients(x[:2], y[:2])).all()


def test_metrics_are_turned_so_that_more_is_better() -> None:
    values = np.array([1.0, 2.0])
    assert oriented("psnr", values).tolist() == [1, 2]
    for metric in ("lpips_vgg", "dists", "fid", "kid", "texture_error", "wasserstein"):
        assert oriented(metric, values).tolist() == [-1, -2]


def test_measures_over_the_set_join_at_the_conditions(study: Study) -> None:
    fid = {"good": 5.0, "middling": 20.0, "bad": 60.0}
    known = replace(study, conditions=tuple(replace(c, measures={"fid": fid[c.id]}) for c in study.conditions))
    (row,) = (m for m in analyse(known, simulated(known), resamples=100)["metrics"] if m["metric"] == "fid")
    assert (row["level"], row["n"], row["spearman"]["value"]) == ("conditions", 3, 1.0)


def test_what_a_reader_must_know_is_said(study: Study) -> None:
    lone = [v for v in simulated(study, raters=1) if "bad" not in v.trial]
    said = " ".join(analyse(study, lone, resamples=100)["warnings"])
    assert "No votes connect" in said
    assert "One rater only" in said
    assert "simulated" in said
    sweep = [vote(f"{k:016x}", ("pair", "s0", "good", "bad"), "a") for k in range(3)]
    assert "won or lost every vote" in " ".join(analyse(study, sweep, resamples=100)["warnings"])


def test_the_report_holds_page_tables_figures_and_data(study: Study, folder: Path, tmp_path: Path) -> None:
    page = write(study, analyse(study, simulated(study), resamples=100), tmp_path / "analysis", folder / "images")
    named = ("scores", "differences", "wins", "images", "equal_quality", "metrics", "raters")
    tables = {f"{name}.csv" for name in named}
    figures = {f"{name}.{kind}" for name in ("scores", "rates", "metrics") for kind in ("png", "svg")}
    assert {path.name for path in page.parent.iterdir()} == tables | figures | {"analysis.json", "index.html"}
    data = json.loads((page.parent / "analysis.json").read_text())
    assert [s["condition"] for s in data["scores"]] == ["good", "middling", "bad"]
    with (page.parent / "scores.csv").open() as lines:
        rows = list(csv.DictReader(lines))
    assert float(rows[0]["low"]) == data["scores"][0]["interval"][0]
    assert all(row["votes"].isdigit() and row["wins"].isdigit() for row in rows)  # counts, not 12.0
    assert "http" not in page.read_text()
    shown = re.findall(r'<img src="([^"]*/[^"]*)"', page.read_text())  # what the raters saw
    assert len(shown) == 4 * (1 + 3)
    assert all((page.parent / unquote(name)).is_file() for name in shown)


@pytest.mark.parametrize(("p", "said"), [(0.0, "p < 0.001"), (3e-5, "p < 0.001"), (0.0123, "p = 0.012"),
                                         (0.456, "p = 0.46"), (1.0, "p = 1.00")])  # fmt: skip
def test_a_p_value_is_never_zero(p: float, said: str) -> None:
    assert p_value(p) == said


def test_equal_votes_and_seed_give_equal_reports(study: Study, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gencomp.eval.study.analysis.report.draw", lambda *_: [])
    cast = simulated(study)
    for name in ("a", "b"):
        write(study, analyse(study, cast, resamples=100, seed=3), tmp_path / name)
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_a_script_in_a_name_is_text_in_the_report(study: Study, tmp_path: Path) -> None:
    name = "<script>alert(1)</script>"

    def renamed(scene: Scene) -> Scene:
        changed = {c: replace(r, metrics={name: float(len(c))}) for c, r in scene.renderings.items()}
        return replace(scene, renderings={name if c == "bad" else c: r for c, r in changed.items()})

    conditions = (*study.conditions[:2], replace(study.conditions[2], id=name))
    forged = replace(study, title=name, conditions=conditions, scenes=tuple(map(renamed, study.scenes)))
    SCALE[name] = 1300.0
    page = write(forged, analyse(forged, simulated(forged), resamples=100), tmp_path / "analysis").read_text()
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)" in page


def test_one_rater_with_a_single_vote_makes_a_report(study: Study, tmp_path: Path) -> None:
    cast: Sequence[Vote] = [vote("0" * 16, ("pair", "s0", "good", "bad"), "a")]
    page = write(study, analyse(study, cast, resamples=100), tmp_path / "analysis").read_text()
    assert "One rater only" in page


def test_one_jod_is_where_three_of_four_agree(study: Study) -> None:
    wins = np.array([[0.0, 3000, 0], [1000, 0, 0], [0, 0, 0]])
    cast = [vote(f"{r:016x}", ("pair", "s0", "good", "middling"), "a" if r < 30 else "b") for r in range(40)]
    jod = {s["condition"]: s["jod"] for s in analyse(study, cast, resamples=100)["scores"]}
    assert jod["good"] - jod["middling"] == pytest.approx(1, abs=0.01)
    assert preference(fit(wins))[0, 1] == pytest.approx(0.75, abs=1e-4)


def test_scores_of_an_image_follow_its_own_votes_and_stay_near_the_scale_without(study: Study) -> None:
    """On one image the raters turn the order round; on the others they do not."""
    trials: list[tuple[Kind, str, str, str]] = [("pair", s, "good", "bad") for s in ("s0", "s1", "s2")]
    cast = [
        vote(f"{r:016x}", trial, "b" if (trial[1] == "s2") == (r % 10 > 0) else "a", n)
        for r in range(20)
        for n, trial in enumerate(trials)
    ]
    counted = ballots(study, cast)
    scores = score(counted, resamples=100)
    found = image_scores(study, counted, scores.logits, resamples=100)
    rows = {(r["scene"], r["condition"]): r for r in found.table}
    assert rows["s0", "good"]["elo"] > rows["s0", "bad"]["elo"] + 200
    assert rows["s2", "good"]["elo"] < rows["s2", "bad"]["elo"] - 200
    assert rows["s3", "good"]["elo"] == pytest.approx(scores.scores[0].elo, abs=1e-6)  # nobody judged it
    assert (rows["s3", "good"]["votes"], rows["s0", "good"]["votes"]) == (0, 20)
    ends = rows["s0", "good"]["interval"]
    assert ends
    assert ends.low < rows["s0", "good"]["elo"] < ends.high


def test_rates_that_hardly_differ_stand_together_in_the_figure(study: Study) -> None:
    close = dict(zip(("good", "middling", "bad"), (0.102, 0.1026, 0.1023), strict=True))
    equal = replace(study, conditions=tuple(replace(c, bpp=close[c.id]) for c in study.conditions))
    axes = _rates(analyse(equal, simulated(equal), resamples=100)["scores"]).axes[0]
    low, high = axes.get_xlim()
    assert low < 0.102 / 1.2
    assert high > 0.1026 * 1.2
    assert len(axes.get_xticks()) == 1
