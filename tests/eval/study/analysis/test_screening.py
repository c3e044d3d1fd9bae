from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import binom

from gencomp.eval.study.analysis.raters import RaterSummary, reasons, screen
from gencomp.eval.study.analysis.simulate import Behaviour, Population, offsets, synthetic, votes
from gencomp.eval.study.checks import FALSE_ALARM, SLIPS, enough, rates
from gencomp.eval.study.plan import Design, Study, Task
from gencomp.eval.study.votes import Vote

TASKS: tuple[Task, ...] = ("pairs", "dsis", "acr")
CARELESS: tuple[Behaviour, ...] = ("coin", "clicker", "straight", "turns")


def a_study(task: Task = "pairs") -> Study:
    """What `study new` makes by default: 40 trials and as many checks as it takes."""
    return synthetic(6, 12, Design("random", 40, enough(task), 0, 3, 0), task=task)


def people(study: Study, behaviours: Sequence[Behaviour], seed: int, **population: float) -> list[Vote]:
    rng = np.random.default_rng([seed, 99])
    who = Population((1300.0, 1380.0, 1460.0, 1540.0, 1620.0, 1700.0), **population)
    return votes(study, who, len(behaviours), offsets(study, who, rng), rng, behaviours)


def one(study: Study, behaviour: Behaviour, seed: int) -> RaterSummary:
    (summary,) = screen(study, people(study, [behaviour], seed))
    return summary


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("behaviour", CARELESS)
def test_careless_raters_are_left_out_in_50_of_50_runs(task: Task, behaviour: Behaviour) -> None:
    study = a_study(task)
    kept = [seed for seed in range(50) if one(study, behaviour, seed).kept]
    assert kept == []


@pytest.mark.parametrize("task", TASKS)
def test_of_200_honest_raters_with_two_percent_lapses_at_most_five_are_left_out(task: Task) -> None:
    study = a_study(task)
    found = screen(study, people(study, ["honest"] * 200, 0, lapse=0.02))
    assert [r.reasons for r in found if not r.kept][5:] == []


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("checks", [0, 1, 3, 8, 18, 40])
def test_rates_of_the_checks_are_the_binomial_distributions(task: Task, checks: int) -> None:
    guess = {"pairs": 0.5, "dsis": 0.4, "acr": 0.4}[task]
    found = rates(checks, task)
    assert found.slips == pytest.approx(binom.sf(found.required - 1, checks, guess))
    assert found.false_alarm == pytest.approx(binom.cdf(found.required - 1, checks, 1 - 0.02 * (1 - guess)), abs=1e-12)
    assert found.false_alarm <= FALSE_ALARM
    if found.required < checks:  # one more right answer would cost too many honest raters
        assert binom.cdf(found.required, checks, 1 - 0.02 * (1 - guess)) > FALSE_ALARM


def test_the_default_number_of_checks_is_the_fewest_that_suffice() -> None:
    assert [enough(task) for task in TASKS] == [20, 16, 16]
    for task in TASKS:
        assert rates(enough(task), task).slips <= SLIPS < rates(enough(task) - 1, task).slips


def test_the_promised_rates_are_what_simulation_finds() -> None:
    """Few checks and many lapses, so that both kinds of error are common enough to count."""
    study = replace(a_study(), design=Design("random", 12, 5, 0, 0, 0))
    tossers = screen(study, people(study, ["coin"] * 600, 1))
    passed = np.mean([r.passed >= rates(5, "pairs").required for r in tossers])
    assert passed == pytest.approx(rates(5, "pairs").slips, abs=0.05)
    honest = screen(study, people(study, ["honest"] * 600, 2, lapse=0.2))
    failed = np.mean([r.passed < rates(5, "pairs").required for r in honest])
    assert failed == pytest.approx(rates(5, "pairs", lapse=0.2, share=0.8).false_alarm, abs=0.04)


def honest_votes() -> tuple[Study, list[Vote]]:
    study = a_study()
    return study, people(study, ["honest"], 3, lapse=0.0)


def test_each_rule_names_what_it_saw() -> None:
    study, cast = honest_votes()
    assert reasons(study, cast) == []
    fast = [v._replace(server_ms=900) for v in cast]  # the page's clock can be forged, the server's cannot
    assert reasons(study, fast) == ["60 of 60 answers in less than 1.5 s"]
    assert reasons(study, [v._replace(flips=0) for v in cast]) == ["60 of 60 answers without a look at both"]
    assert reasons(replace(study, layout="side"), [v._replace(flips=0) for v in cast]) == []
    assert reasons(study, cast[:15]) == ["stopped after 4 of 20 attention checks"]
    wrong = {"a": "b", "b": "a"}
    missed = [v._replace(choice=wrong[v.choice]) if v.trial.kind == "check" else v for v in cast]
    assert "0 of 20 attention checks right" in reasons(study, missed)
    always = [v._replace(choice="a") for v in cast]
    assert reasons(study, always) == ["10 of 20 attention checks right", "the answer a 60 times of 60"]
    half = [v._replace(choice="a") if n % 20 else v for n, v in enumerate(cast)]
    assert any("side A" in text or "the answer a" in text for text in reasons(study, half))
    turns = [v._replace(choice="ab"[n % 2]) for n, v in enumerate(cast)]
    assert "a change of side 59 times of 59" in reasons(study, turns)


def test_whoever_prefers_the_worse_codec_is_kept() -> None:
    """Screening asks whether a rater looked, not what the rater liked."""
    study, cast = honest_votes()
    swap = {"a": "b", "b": "a"}
    contrary = [v._replace(choice=swap[v.choice]) if v.trial.kind == "pair" else v for v in cast]
    assert reasons(study, contrary) == []
