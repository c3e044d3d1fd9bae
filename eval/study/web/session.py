"""The course of a rater through a study: joins, is shown trial after trial, answers. No web in here."""

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from ..design.trials import COUNTED, Counts, Kind, Trial, again, most_informative, session
from ..plan import ORIGINAL, Study
from ..questions import Question
from ..votes import MAX_MS, check_answer
from .store import Rater, Store

LEAST_MS = 300  # nobody has looked at two images in less; the page takes no answer sooner either
CLOCKS = 2000  # ms by which the page's clock may run ahead of the server's before an answer is refused


class AnswerRefused(Exception):
    """An answer that does not fit the rater's present trial. Nothing was changed."""


class Screen(NamedTuple):
    """What a rater is to see: trial number n (counted with training) of total; None for the trial when all is done.
    training: trials of the training round, which come first. ahead: the next trial, to fetch its images early."""

    n: int
    total: int
    training: int
    trial: Trial | None
    ahead: Trial | None


class Receipt(NamedTuple):
    """counted: False if the trial had an answer already, which stands. right: right answers, told in training only."""

    counted: bool
    right: tuple[str, ...]
    screen: Screen


class Course:
    """All raters of one study. Safe to use from many threads."""

    def __init__(self, study: Study, store: Store, clock: Callable[[], float] = time.time) -> None:
        """clock: UNIX time in seconds."""
        self.study, self.store, self._clock = study, store, clock
        self._choosing = threading.Lock()
        self._tally = Counts(study)
        for trial in store.given():
            self._tally.ask(trial)
        for vote in store.votes():
            self._tally.answer(vote.trial, vote.choice)

    def token_of(self, participant: str) -> str:
        """The token of a panel's participant: always the same one, and not to be guessed from the participant's id."""
        digest = hmac.digest(self.store.secret, participant.encode("utf-8", "replace"), hashlib.sha256)
        return base64.urlsafe_b64encode(digest[:16]).decode().rstrip("=")

    def join(self, *, agreed: bool, token: str | None = None, rater: str | None = None) -> str:
        """A new rater, unless the token has one already; returns the token of the rater's own link."""
        token = token or secrets.token_urlsafe(16)
        rater = rater or secrets.token_hex(8)
        with self._choosing:
            if self.store.rater(token):
                return token
            plan = session(self.study, self._rng(rater, 0), self._tally.shown)
            self.store.add_rater(rater, token, agreed=self._clock() if agreed else None, source="web", plan=plan)
            for trial in plan:
                if isinstance(trial, Trial) and trial.kind in COUNTED:
                    self._tally.ask(trial)
        return token

    def agree(self, rater: Rater) -> None:
        self.store.agree(rater.id, self._clock())

    def unanswered(self, rater: Rater) -> list[Question]:
        """What the rater is to be asked now: the questions before the trials, or, when these are done, those after."""
        when = "before" if rater.done < rater.total else "after"
        return [q for q in self.study.questions if q.when == when and q.id not in rater.answered]

    def answer(self, rater: Rater, answers: Mapping[str, str]) -> None:
        """Take the answers to all questions that are due; AnswerRefused if one is missing or is no answer."""
        due = self.unanswered(rater)
        if not all(question.fits(answers.get(question.id, "")) for question in due):
            raise AnswerRefused("please answer every question")
        self.store.answer(rater.id, {question.id: answers.get(question.id, "") for question in due})

    def show_on(self, rater: Rater, facts: Mapping[str, float | str]) -> None:
        """Note the facts of the rater's screen."""
        self.store.add_display(rater.id, json.dumps(dict(sorted(facts.items()))))

    def screen(self, rater: Rater) -> Screen:
        """What is due. In the active design this is where a trial is chosen, one ahead so that it can be fetched."""
        due: list[Trial | None] = [
            trial if isinstance(trial, Trial) else self._choose(rater, n, trial)
            for n, trial in enumerate(self.store.trials(rater.id, rater.done, rater.done + 2), rater.done)
        ]
        trial, ahead = (*due, None, None)[:2]
        return Screen(rater.done, rater.total, self.study.design.training, trial, ahead)

    def vote(self, rater: Rater, n: int, choice: str, ms: int, flips: int, dpr: float) -> Receipt:
        """Take an answer. Repeating an answer is harmless.

        AnswerRefused if trial n is not due, the answer is no answer, or it cannot come from a rater who saw what was to
        be judged: too soon by either clock, longer ago than the trial, without a flip where one is needed, or on a
        screen too dense for this study.
        """
        now = self._clock()
        try:
            check_answer(self.study, choice, ms, flips, dpr)
        except ValueError as error:
            raise AnswerRefused(str(error)) from error
        if not 0 <= n <= rater.done or n >= rater.total:
            raise AnswerRefused("this trial is not due")
        trial = self.store.trials(rater.id, n, n + 1)[0]
        if not isinstance(trial, Trial):
            raise AnswerRefused("this trial was not shown yet")
        counted = False
        if n == rater.done:
            server_ms = max(0, min(MAX_MS, round(1000 * (now - rater.since))))
            if ms < LEAST_MS or server_ms < LEAST_MS:
                raise AnswerRefused(f"nobody can have looked in less than {LEAST_MS} ms")
            if ms > server_ms + CLOCKS:
                raise AnswerRefused("the trial has not been open for so long")
            if self.study.flips and not flips:
                raise AnswerRefused("not everything was looked at")
            if dpr > 1.001 * self.study.max_density:
                raise AnswerRefused("this screen is too dense")
            at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
            counted = self.store.add_vote(rater.id, n, choice, ms, server_ms, flips, dpr, at)
        if counted:
            with self._choosing:
                self._tally.answer(trial, choice)
        after = rater._replace(done=rater.done + 1) if n == rater.done else rater
        return Receipt(counted, trial.right if trial.kind == "training" else (), self.screen(after))

    def image(self, rater: Rater, n: int, name: str) -> str | None:
        """The image of a trial by its name on the page, or None where there is none.

        Only what is due, comes next or was just judged is given out: nobody can look ahead through the study."""
        if not rater.done - 1 <= n <= rater.done + 1 or n < 0:
            return None
        trial = next(iter(self.store.trials(rater.id, n, n + 1)), None)
        if not isinstance(trial, Trial):
            return None
        names = shown(self.study, trial)
        return self.study.scene[trial.scene].image_id(names[name]) if name in names else None

    def _choose(self, rater: Rater, n: int, kind: Kind) -> Trial:
        with self._choosing:
            before = self.store.trials(rater.id, 0, n + 1)
            if isinstance(before[n], Trial):  # chosen meanwhile by another request of the same rater
                return before[n]  # type: ignore[return-value]
            given = [trial for trial in before if isinstance(trial, Trial)]
            rng = self._rng(rater.id, n + 1)
            trial = again(given, rng) if kind == "repeat" else most_informative(self.study, self._tally, given, rng)
            self.store.choose(rater.id, n, trial)
            if kind in COUNTED:
                self._tally.ask(trial)
        return trial

    def _rng(self, rater: str, n: int) -> np.random.Generator:
        """By the rater's random id and not by a running number: copies of a study that are served in several places
        must not give their first raters the same trials in the same order."""
        return np.random.default_rng([self.study.seed, 3, int(rater, 16), n])


def shown(study: Study, trial: Trial) -> dict[str, str]:
    """What a trial shows: names on the page, and the images of its scene that they stand for."""
    reference = {} if study.task == "acr" else {"original": ORIGINAL}
    return reference | ({"a": trial.first, "b": trial.second} if study.task == "pairs" else {"image": trial.first})
