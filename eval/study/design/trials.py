"""Who sees what: the trials of one rater, by the study's design. Pure functions of the plan, a generator and counts.

full      every pair on every image, in the rater's own order
random    as many pairs as the design says, those least shown so far first, so that all are judged about equally often
active    before each trial, the pair whose outcome would teach most about the scores (D-optimal design)

Sides are balanced within a rater and the same image does not come twice in a row where that can be helped.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ..bradley_terry import covariance, fit, preference
from ..plan import DEGRADED, HIDDEN, MILD, OBVIOUS, ORIGINAL, Design, Pair, Study

Kind = Literal["training", "pair", "rating", "check", "repeat"]
COUNTED: tuple[Kind, ...] = ("pair", "rating")  # what scores rest on


class Trial(NamedTuple):
    """One screen. Names are condition ids, or those of a scene's own images. Pairs: first is shown as A, second as B.
    Ratings: first is rated, second is ""."""

    kind: Kind
    scene: str
    first: str
    second: str

    @property
    def right(self) -> tuple[str, ...]:
        """The right answers where there are any: the original; of ratings the upper two grades or the lower."""
        originals = (ORIGINAL, HIDDEN)
        if self.second:
            return ("a",) if self.first in originals else ("b",) if self.second in originals else ()
        if self.kind not in ("check", "training"):
            return ()
        return ("5", "4") if self.first in originals else ("1", "2") if self.first in (DEGRADED, OBVIOUS) else ()


class Counts:
    """What has been asked and answered so far, as the active design needs it."""

    def __init__(self, study: Study) -> None:
        self.index = {condition.id: i for i, condition in enumerate(study.conditions)}
        self.wins: NDArray[np.float64] = np.zeros((len(self.index), len(self.index)))
        self.asked: NDArray[np.float64] = np.zeros_like(self.wins)
        self.shown: dict[Pair, int] = dict.fromkeys(study.pairs, 0)
        self.couples: dict[tuple[str, str], list[Pair]] = {}
        for pair in self.shown:
            self.couples.setdefault((pair.first, pair.second), []).append(pair)

    def pair(self, trial: Trial) -> Pair:
        if not trial.second:
            return Pair(trial.scene, trial.first, "")
        first, second = sorted((trial.first, trial.second), key=self.index.__getitem__)
        return Pair(trial.scene, first, second)

    def ask(self, trial: Trial) -> None:
        self.shown[self.pair(trial)] += 1
        if trial.kind == "pair":
            i, j = self.index[trial.first], self.index[trial.second]
            self.asked[i, j] += 1
            self.asked[j, i] += 1

    def answer(self, trial: Trial, choice: str) -> None:
        """Count the answer to a pair; ratings need no count."""
        if trial.kind != "pair":
            return
        i, j = self.index[trial.first], self.index[trial.second]
        share = {"a": 1.0, "tie": 0.5, "b": 0.0}[choice]
        self.wins[i, j] += share
        self.wins[j, i] += 1 - share


def kinds(design: Design, pairs: int, rng: np.random.Generator, ordinary: Kind = "pair") -> list[Kind]:
    """The kinds of a rater's trials in order: training, then pairs with repeats (second half) and checks (spread)."""
    body: list[Kind] = [ordinary] * pairs
    for position in sorted(rng.integers(max(1, (pairs + 1) // 2), pairs + 1, design.repeats), reverse=True):
        body.insert(int(position), "repeat")
    bounds = np.linspace(1, len(body), design.checks + 1)
    for k in range(design.checks - 1, -1, -1):
        body.insert(int(rng.integers(int(bounds[k]), max(int(bounds[k]) + 1, int(bounds[k + 1])))), "check")
    training: list[Kind] = ["training"] * design.training
    return training + body


def session(study: Study, rng: np.random.Generator, shown: Mapping[Pair, int]) -> list[Trial | Kind]:
    """All trials of a new rater. For the active design, a bare kind stands where the trial is chosen when it is due."""
    pairs = deal(study, rng, shown)
    kind_of: Kind = "pair" if study.task == "pairs" else "rating"
    order = kinds(study.design, len(pairs), rng, kind_of)
    checks, training = _checks(study, rng), _training(study, rng)
    ordinary = iter(_sides([Trial(kind_of, *pair) for pair in pairs], rng))
    plan: list[Trial | Kind] = []
    for kind in order:
        if kind == "training":
            plan.append(next(training))
        elif kind == "check":
            plan.append(next(checks))
        elif study.design.method == "active":
            plan.append(kind)
        elif kind == "repeat":
            plan.append(again([t for t in plan if isinstance(t, Trial)], rng))
        else:
            plan.append(next(ordinary))
    return plan


def deal(study: Study, rng: np.random.Generator, shown: Mapping[Pair, int]) -> list[Pair]:
    """The pairs of one rater in order. `shown` counts how often each was given to raters before."""
    pairs = study.pairs
    shuffled = [pairs[i] for i in rng.permutation(len(pairs))]
    if study.design.method != "full":
        shuffled.sort(key=lambda pair: shown.get(pair, 0))  # stable: least shown first, chance among equals
        shuffled = shuffled[: study.design.trials]
    return apart([shuffled[i] for i in rng.permutation(len(shuffled))])


def apart(pairs: Sequence[Pair]) -> list[Pair]:
    """The pairs in the given order, but for moves that keep an image from coming twice in a row if that can be."""
    rest, left, ordered = list(pairs), Counter(pair.scene for pair in pairs), list[Pair]()
    while rest:
        last = ordered[-1].scene if ordered else None
        scene, count = left.most_common(1)[0]
        pressing = scene if 2 * count > len(rest) else None  # put off now, it would have to follow itself
        where = (i for i, pair in enumerate(rest) if pair.scene != last and pressing in (None, last, pair.scene))
        ordered.append(rest.pop(next(where, 0)))
        left[ordered[-1].scene] -= 1
    return ordered


def again(given: Iterable[Trial], rng: np.random.Generator) -> Trial:
    """An earlier pair once more with its sides swapped, one not repeated yet and not the last few, if there is one.
    A rating comes again as it was."""
    given = list(given)
    repeated = {_turn(t, True)[1:] for t in given if t.kind == "repeat"}
    pairs = [t for t in given if t.kind in COUNTED]
    fresh = [t for t in pairs if t[1:] not in repeated]
    choice = fresh[:-5] or fresh or pairs
    return _turn(choice[int(rng.integers(len(choice)))], True)._replace(kind="repeat")


def most_informative(study: Study, tally: Counts, given: Iterable[Trial], rng: np.random.Generator) -> Trial:
    """The next trial of the active design.

    A vote on conditions i and j raises the log determinant of the scores' information by about log(1 + p (1 - p) v),
    p being the chance that i wins and v the variance of the difference of their scores (local D-optimality, as in
    Glickman and Jensen 2005, J. Stat. Planning and Inference 127): least certain outcome, least certain scores.
    Questions that are out and not answered yet count as answered as expected, so that many raters at once do not all
    get the same pair. One of the best few is drawn, then the image on which the pair was shown least.
    """
    scores = fit(tally.wins, prior=1.0)
    chance = preference(scores)
    pending = np.maximum(tally.asked - tally.wins - tally.wins.T, 0)
    spread = covariance(tally.wins + pending * chance, scores, prior=1.0)
    variance = np.diag(spread)[:, None] + np.diag(spread)[None, :] - 2 * spread
    gain = np.log1p(chance * (1 - chance) * variance)
    seen = {tally.pair(trial) for trial in given if trial.kind == "pair"}
    free = {couple: [pair for pair in pairs if pair not in seen] for couple, pairs in tally.couples.items()}
    left = [couple for couple, pairs in free.items() if pairs] or list(tally.couples)
    best = sorted(left, key=lambda c: -gain[tally.index[c[0]], tally.index[c[1]]])[: max(1, min(3, len(left) // 4))]
    couple = best[int(rng.integers(len(best)))]
    there = free[couple] or tally.couples[couple]
    least = min(tally.shown[pair] for pair in there)
    there = [pair for pair in there if tally.shown[pair] == least]
    return _turn(Trial("pair", *there[int(rng.integers(len(there)))]), bool(rng.integers(2)))


def _sides(trials: list[Trial], rng: np.random.Generator) -> list[Trial]:
    swap = rng.permutation(np.arange(len(trials)) % 2)
    return [_turn(trial, bool(s)) for trial, s in zip(trials, swap, strict=True)]


def _turn(trial: Trial, swap: bool) -> Trial:
    return Trial(trial.kind, trial.scene, trial.second, trial.first) if swap and trial.second else trial


def _checks(study: Study, rng: np.random.Generator) -> Iterator[Trial]:
    """Pairs: the hidden original against its degraded copy. Ratings: the one or the other, as many of each."""
    scenes = [scene.id for scene in study.scenes if scene.check]
    order: list[str] = []
    while len(order) < study.design.checks:
        order += [scenes[i] for i in rng.permutation(len(scenes))]
    order = order[: study.design.checks]
    if study.task == "pairs":
        return iter(_sides([Trial("check", scene, HIDDEN, DEGRADED) for scene in order], rng))
    which = rng.permutation(np.arange(len(order)) % 2)
    return iter([Trial("check", scene, (HIDDEN, DEGRADED)[k], "") for scene, k in zip(order, which, strict=True)])


def _training(study: Study, rng: np.random.Generator) -> Iterator[Trial]:
    """Plain to see, then less plain, both with the answer told; then a real one, which has no right answer.

    The originals and copies that training shows are other files than those of the checks: what is told here helps there
    no further than looking does.
    """
    scenes = sorted((scene.id for scene in study.scenes if scene.check), key=lambda _: rng.random())
    scenes = scenes or [scene.id for scene in study.scenes]
    trials: list[Trial] = []
    for k in range(study.design.training):
        scene = scenes[k % len(scenes)]
        last = study.design.training > 2 and k == study.design.training - 1
        if last:
            trial = Trial("training", *study.pairs[int(rng.integers(len(study.pairs)))])
        elif study.task == "pairs":
            trial = Trial("training", scene, ORIGINAL, MILD if k % 2 else OBVIOUS)
        else:
            trial = Trial("training", scene, ORIGINAL if k % 2 else OBVIOUS, "")
        trials.append(_turn(trial, bool(rng.integers(2))))
    return iter(trials)
