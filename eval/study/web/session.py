"""The course of a rater through a study: joins, is shown trial after trial, answers. No web in here."""

from __future__ import annotations

import secrets
import threading
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from ..design.trials import Kind, Tally, Trial, again, most_informative, session
from ..plan import Study
from ..votes import check_answer
from .store import Rater, Store


class Refused(Exception):
    """An answer that does not fit the rater's present trial. Nothing was changed."""


class Screen(NamedTuple):
    """What a rater is to see: trial number n (counted with training) of total; None for the trial when all is done.

    training: trials of the training round, which come first. ahead: the next trial, to fetch its images early.
    """

    n: int
    total: int
    training: int
    trial: Trial | None
    ahead: Trial | None


class Receipt(NamedTuple):
    """counted: False if the trial had an answer already, which stands. answer: the right one, told in training only."""

    counted: bool
    answer: str | None
    screen: Screen


class Course:
    """All raters of one study. Safe to use from many threads."""

    def __init__(self, study: Study, store: Store) -> None:
        self.study, self.store = study, store
        self._choosing = threading.Lock()
        self._tally = Tally(study)
        for trial in store.given():
            self._tally.ask(trial)
        for vote in store.votes():
            if vote.trial.kind == "pair":
                self._tally.answer(vote.trial, vote.choice)

    def join(self, *, agreed: bool) -> str:
        """A new rater; returns the token of the rater's own link."""
        token = secrets.token_urlsafe(16)
        rater = secrets.token_hex(8)
        with self._choosing:
            plan = session(self.study, self._rng(rater, 0), self._tally.shown)
            self.store.add_rater(rater, token, agreed=agreed, source="web", plan=plan)
            for trial in plan:
                if isinstance(trial, Trial) and trial.kind == "pair":
                    self._tally.ask(trial)
        return token

    def screen(self, rater: Rater) -> Screen:
        """What is due. In the active design this is where a trial is chosen, one ahead so that it can be fetched."""
        due = self.store.trials(rater.id, rater.done, rater.done + 2)
        trials = [
            trial if isinstance(trial, Trial) else self._choose(rater, rater.done + k, trial)
            for k, trial in enumerate(due)
        ]
        return Screen(
            rater.done,
            rater.total,
            self.study.design.training,
            trials[0] if trials else None,
            trials[1] if len(trials) > 1 else None,
        )

    def vote(self, rater: Rater, n: int, choice: str, ms: int, flips: int, dpr: float) -> Receipt:
        """Take an answer. Repeating an answer is harmless; Refused if trial n is not due or the answer is no answer."""
        try:
            check_answer(self.study, choice, ms, flips, dpr)
        except ValueError as error:
            raise Refused(str(error)) from error
        if not 0 <= n <= rater.done or n >= rater.total:
            raise Refused("this trial is not due")
        trial = self.store.trials(rater.id, n, n + 1)[0]
        if not isinstance(trial, Trial):
            raise Refused("this trial was not shown yet")
        at = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        counted = self.store.add_vote(rater.id, n, choice, ms, flips, dpr, at)
        if counted and trial.kind == "pair":
            with self._choosing:
                self._tally.answer(trial, choice)
        after = rater._replace(done=rater.done + 1) if n == rater.done else rater
        return Receipt(counted, trial.answer if trial.kind == "training" else None, self.screen(after))

    def _choose(self, rater: Rater, n: int, kind: Kind) -> Trial:
        with self._choosing:
            before = self.store.trials(rater.id, 0, n + 1)
            if isinstance(before[n], Trial):  # chosen meanwhile by another request of the same rater
                return before[n]  # type: ignore[return-value]
            given = [trial for trial in before if isinstance(trial, Trial)]
            rng = self._rng(rater.id, n + 1)
            trial = again(given, rng) if kind == "repeat" else most_informative(self.study, self._tally, given, rng)
            self.store.choose(rater.id, n, trial)
            if kind == "pair":
                self._tally.ask(trial)
        return trial

    def _rng(self, rater: str, n: int) -> np.random.Generator:
        """By the rater's random id and not by a running number: copies of a study that are served in several places
        must not give their first raters the same trials in the same order."""
        return np.random.default_rng([self.study.seed, 3, int(rater, 16), n])
