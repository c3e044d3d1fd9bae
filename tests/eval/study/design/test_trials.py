from collections import Counter
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gencomp.eval.study.analysis.simulate import synthetic
from gencomp.eval.study.design.trials import Counts, Kind, Trial, again, apart, deal, most_informative, session
from gencomp.eval.study.plan import DEGRADED, HIDDEN, ORIGINAL, Design, Method, Pair, Study


def rng(*seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


def a_study(method: Method = "random", trials: int = 20, checks: int = 3, repeats: int = 2, training: int = 3) -> Study:
    return synthetic(4, 6, Design(method, trials, checks, repeats, training, 0))


def trials(study: Study, seed: int = 0) -> list[Trial]:
    plan = session(study, rng(seed), {})
    assert all(isinstance(trial, Trial) for trial in plan)
    return [trial for trial in plan if isinstance(trial, Trial)]


def test_full_design_asks_every_pair_once() -> None:
    study = a_study("full", trials=36)
    assert Counter(Counts(study).pair(t) for t in trials(study) if t.kind == "pair") == Counter(study.pairs)


def test_random_design_asks_all_pairs_about_equally_often() -> None:
    study = a_study()
    tally = Counts(study)
    for rater in range(30):
        for trial in session(study, rng(1, rater), tally.shown):
            if isinstance(trial, Trial) and trial.kind == "pair":
                tally.ask(trial)
    assert sum(tally.shown.values()) == 30 * 20
    assert max(tally.shown.values()) - min(tally.shown.values()) <= 1


def test_a_rater_never_gets_a_pair_twice_but_in_repeats() -> None:
    for seed in range(20):
        pairs = deal(a_study(), rng(seed), {})
        assert len(set(pairs)) == len(pairs) == 20


def test_order_and_sides_differ_by_rater_and_follow_from_the_seed() -> None:
    study = a_study()
    assert trials(study, 1) == trials(study, 1)
    assert trials(study, 1) != trials(study, 2)


def test_sides_are_balanced_within_a_rater() -> None:
    study = a_study("full", trials=36, checks=4)
    order = [c.id for c in study.conditions]
    for seed in range(10):
        plan = trials(study, seed)
        assert sum(order.index(t.first) < order.index(t.second) for t in plan if t.kind == "pair") == 18
        assert sum(t.first == HIDDEN for t in plan if t.kind == "check") == 2


@given(st.lists(st.integers(0, 4), max_size=24))
def test_the_same_image_comes_twice_in_a_row_only_if_it_must(scenes: list[int]) -> None:
    pairs = [Pair(f"s{scene}", "a", f"b{n}") for n, scene in enumerate(scenes)]
    ordered = apart(pairs)
    assert sorted(ordered) == sorted(pairs)
    most = max(Counter(scenes).values(), default=0)
    assert sum(a.scene == b.scene for a, b in pairwise(ordered)) == max(0, most - (len(scenes) - most) - 1)


def test_training_comes_first_and_checks_are_spread_but_never_first() -> None:
    study = a_study(trials=24, checks=4, repeats=0)
    places = []
    for seed in range(30):
        plan = trials(study, seed)
        assert [t.kind for t in plan[:3]] == ["training"] * 3
        assert plan[3].kind != "check"
        places.append([n for n, t in enumerate(plan) if t.kind == "check"])
        assert len(places[-1]) == 4
        assert max(np.diff(places[-1])) <= 16
    assert len({tuple(p) for p in places}) > 20


def test_checks_have_an_answer_and_ordinary_pairs_have_none() -> None:
    for trial in trials(a_study()):
        assert (trial.right != ()) == (HIDDEN in trial or ORIGINAL in trial)
        if trial.kind == "check":
            assert {trial.first, trial.second} == {HIDDEN, DEGRADED}
        elif trial.kind == "pair":
            assert trial.right == ()


def test_repeats_show_an_earlier_pair_with_sides_swapped() -> None:
    study = a_study(repeats=4)
    for seed in range(10):
        plan = trials(study, seed)
        for n, trial in enumerate(plan):
            if trial.kind == "repeat":
                assert Trial("pair", trial.scene, trial.second, trial.first) in plan[:n]
        assert len(set([t for t in plan if t.kind == "repeat"])) == 4


@pytest.mark.parametrize("pairs", [1, 2, 3])
def test_tiny_designs_hold_together(pairs: int) -> None:
    study = replace(a_study(), design=Design("random", pairs, 3, 2, 1, 0))
    kinds: Counter[Kind] = Counter(t.kind for t in trials(study))
    assert kinds == {"training": 1, "pair": pairs, "check": 3, "repeat": 2}
    assert again([Trial("pair", "s0", "c0", "c1")], rng(0)) == Trial("repeat", "s0", "c1", "c0")


def test_active_design_asks_where_the_outcome_is_least_certain() -> None:
    """c0 and c1 look alike, c2 and c3 are far below: votes on c0 against c1 say most."""
    study = a_study("active")
    tally = Counts(study)
    chance = {("c0", "c1"): 0.5, ("c2", "c3"): 0.97}
    for pair in study.pairs * 4:
        tally.ask(Trial("pair", *pair))
        p = chance.get((pair.first, pair.second), 0.97)
        i, j = tally.index[pair.first], tally.index[pair.second]
        tally.wins[i, j] += p
        tally.wins[j, i] += 1 - p
    asked = Counter(frozenset(most_informative(study, tally, [], rng(seed))[2:]) for seed in range(60))
    assert asked.most_common(1)[0][0] == frozenset({"c0", "c1"})


def test_active_design_does_not_ask_a_rater_the_same_pair_twice() -> None:
    study = a_study("active", trials=36)
    tally, before = Counts(study), list[Trial]()
    for n in range(36):
        trial = most_informative(study, tally, before, rng(n))
        tally.ask(trial)
        before.append(trial)
    assert Counter(tally.pair(t) for t in before) == Counter(study.pairs)


def test_many_raters_at_once_are_not_all_asked_the_same() -> None:
    """Questions that are out weigh like answers, so further ones go elsewhere."""
    study = a_study("active")
    tally, asked = Counts(study), Counter[Pair]()
    for rater in range(60):
        trial = most_informative(study, tally, [], rng(rater))
        tally.ask(trial)
        asked[tally.pair(trial)] += 1
    couples = Counter((pair.first, pair.second) for pair in asked.elements())
    assert len(couples) == 6
    assert max(couples.values()) <= 20
    assert max(asked.values()) <= 4
