"""The server under any order of requests, restarts and imports, against a model of a few lines.

The model: whoever comes under one name is one rater; a rater's first answer to the trial that is due counts; whatever
is sent too soon, again or out of turn changes nothing; a restart loses nothing; a trial once shown stays as it is.
"""

import shutil
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from gencomp.eval.study.analysis.raters import screen
from gencomp.eval.study.design.build import build
from gencomp.eval.study.plan import Design, Method, Study
from gencomp.eval.study.votes import parse, to_csv
from gencomp.eval.study.web.server import Panel, create_app
from gencomp.eval.study.web.session import Course
from gencomp.eval.study.web.store import NAME, Store

NAMES = st.sampled_from(["rater-one", "rater-two", "rater-three"])
CHOICES = st.sampled_from(["a", "b"])


class Server(RuleBasedStateMachine):
    folder: Path
    study: Study

    def __init__(self) -> None:
        super().__init__()
        for file in self.folder.glob(f"{NAME}*"):
            file.unlink()
        self.now = 1_800_000_000.0
        self.links: dict[str, str] = {}
        self.given: dict[str, list[str]] = {}
        self.shown: dict[tuple[str, int], Any] = {}
        self.start()

    def start(self) -> None:
        self.store = Store(self.folder, self.study.id)
        self.course = Course(self.study, self.store, lambda: self.now)
        self.client = create_app(self.course, self.folder, invited_only=False).test_client()

    def send(self, name: str, n: int, choice: str, **change: Any) -> Any:
        answer = {"n": n, "choice": choice, "ms": 2000, "flips": 2, "dpr": 1.0}
        return self.client.post(f"{self.links[name]}/vote", json=answer | change)

    @rule(name=NAMES)
    def come(self, name: str) -> None:
        assert (self.client.get(f"/?visit={name}").status_code == 303) == (name in self.links)
        link = self.client.post("/join", data={"agree": "yes", "participant": name}).location
        assert self.links.setdefault(name, link) == link
        self.given.setdefault(name, [])

    @precondition(lambda self: self.links)
    @rule(data=st.data(), choice=CHOICES, wait=st.floats(2.1, 5000))
    def answer(self, data: Any, choice: str, wait: float) -> None:
        name = data.draw(st.sampled_from(sorted(self.links)))
        self.now += wait
        n = len(self.given[name])
        reply = self.send(name, n, choice)
        if n < 17:
            assert reply.json["counted"]
            self.given[name].append(choice)
            assert reply.json["screen"]["n"] == n + 1
        else:
            assert reply.status_code == 409

    @precondition(lambda self: any(self.given.values()))
    @rule(data=st.data(), choice=CHOICES)
    def answer_again(self, data: Any, choice: str) -> None:
        name = data.draw(st.sampled_from(sorted(n for n, given in self.given.items() if given)))
        n = data.draw(st.integers(0, len(self.given[name]) - 1))
        assert self.send(name, n, choice).json["counted"] is False

    @precondition(lambda self: self.links)
    @rule(data=st.data(), choice=CHOICES, ahead=st.integers(1, 20))
    def answer_out_of_turn(self, data: Any, choice: str, ahead: int) -> None:
        name = data.draw(st.sampled_from(sorted(self.links)))
        self.now += 5
        assert self.send(name, len(self.given[name]) + ahead, choice).status_code == 409

    @precondition(lambda self: self.links)
    @rule(data=st.data(), change=st.sampled_from([{"flips": 0}, {"ms": 100}, {"ms": 10**7}, {"choice": "tie"}]))
    def answer_without_a_look(self, data: Any, change: dict[str, Any]) -> None:
        name = data.draw(st.sampled_from(sorted(self.links)))
        if len(self.given[name]) < 17:
            assert self.send(name, len(self.given[name]), **({"choice": "a"} | change)).status_code == 409

    @precondition(lambda self: self.links)
    @rule(data=st.data())
    def look(self, data: Any) -> None:
        name = data.draw(st.sampled_from(sorted(self.links)))
        n = len(self.given[name])
        screen = self.client.get(f"{self.links[name]}/state").json
        assert screen
        assert (screen["n"], screen["trial"] is None) == (n, n == 17)
        for k in (n, n + 1):
            images = [self.client.get(f"{self.links[name]}/i/{k}/{side}.png") for side in ("original", "a", "b")]
            assert {image.status_code for image in images} == ({200} if k < 17 else {404})
            files = [image.data for image in images]
            assert self.shown.setdefault((name, k), files) == files

    @rule()
    def restart(self) -> None:
        self.store.close()
        self.start()

    @rule()
    def import_what_is_here(self) -> None:
        votes = self.store.votes()
        assert self.store.add_votes(parse(self.study, to_csv(self.study, votes))) == (0, len(votes))

    @invariant()
    def every_answer_is_stored_once_and_as_it_was(self) -> None:
        stored: dict[str, list[str]] = {}
        for vote in self.store.votes():
            assert vote.n == len(stored.setdefault(vote.rater, []))
            stored[vote.rater].append(vote.choice)
        assert sorted(stored.values()) == sorted(given for given in self.given.values() if given)
        assert self.store.raters() == len(self.links)

    def teardown(self) -> None:
        self.store.close()


@pytest.mark.slow
@pytest.mark.parametrize("method", ["random", "active"])
def test_no_order_of_requests_harms_an_answer(
    built_with: Callable[[Method], tuple[Path, Study]], method: Method, tmp_path: Path
) -> None:
    source, study = built_with(method)
    folder = Path(shutil.copytree(source, tmp_path / "served"))
    machine = type("Machine", (Server,), {"folder": folder, "study": study})
    run_state_machine_as_test(machine, settings=settings(max_examples=15, stateful_step_count=30, deadline=None))


Bot = Callable[[Any, dict[str, str], np.random.Generator], str]


def by_address(client: Any, images: dict[str, str], rng: np.random.Generator) -> str:
    """Takes the one at the original's address, or whose address it has met beside another original."""
    same = [name for name in "ab" if images[name] == images["original"]]
    return same[0] if same else "ab"[rng.integers(2)]


def by_bytes(client: Any, images: dict[str, str], rng: np.random.Generator) -> str:
    """Takes the one with the original's bytes and headers."""
    files = {name: client.get(address) for name, address in images.items()}
    told = {name: (file.data, sorted(file.headers.items())) for name, file in files.items()}
    same = [name for name in "ab" if told[name] == told["original"]]
    return same[0] if same else "ab"[rng.integers(2)]


class Memory:
    """Learns in the training which files are the original and which are not, and looks for these in the checks."""

    def __init__(self) -> None:
        self.right: set[bytes] = set()
        self.wrong: set[bytes] = set()

    def __call__(self, client: Any, images: dict[str, str], rng: np.random.Generator) -> str:
        self.files = {name: client.get(images[name]).data for name in "ab"}
        for name in "ab":
            other = "b" if name == "a" else "a"
            if self.files[name] in self.right or self.files[other] in self.wrong:
                return name
        return "ab"[rng.integers(2)]

    def learn(self, right: list[str]) -> None:
        for name in right:
            self.right.add(self.files[name])
            self.wrong.add(self.files["b" if name == "a" else "a"])


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory, codings: Any, make_options: Any) -> tuple[Path, Study]:
    """A study with as many checks as `study new` asks by default."""
    root = tmp_path_factory.mktemp("guarded")
    design = Design("random", 20, checks=20, repeats=0, training=3, rest_every=0)
    return root / "s", build(root / "s", codings(root / "images", images=8), make_options(design=design))


def takes_part(folder: Path, study: Study, bot: Bot, seed: int) -> list[str]:
    """Reasons for which the bot is left out. It waits as a person would, and flips."""
    for old in folder.glob("votes.sqlite*"):
        old.unlink()
    course = Course(study, Store(folder, study.id), count(1_800_000_000, 3).__next__)
    client = create_app(course, folder, invited_only=False, panel=Panel("PID")).test_client()
    rng = np.random.default_rng(seed)
    link = client.post("/join", data={"agree": "yes", "participant": f"robot{seed}"}).location
    screen_now = client.get(f"{link}/state").json
    while screen_now and screen_now["trial"]:
        choice = bot(client, screen_now["trial"]["images"], rng)
        answer = {"n": screen_now["n"], "choice": choice, "ms": 2900, "flips": 3, "dpr": 1.0}
        receipt = client.post(f"{link}/vote", json=answer).json
        assert receipt
        if isinstance(bot, Memory):
            bot.learn(receipt["right"])
        screen_now = receipt["screen"]
    (summary,) = screen(study, course.store.votes())
    course.store.close()
    assert summary.votes == 20
    return [summary.reasons] if summary.reasons else []


@pytest.mark.slow
@pytest.mark.parametrize("make", [lambda: by_address, lambda: by_bytes, Memory], ids=["address", "bytes", "memory"])
def test_a_bot_that_compares_files_is_always_left_out(guarded: tuple[Path, Study], make: Callable[[], Bot]) -> None:
    assert sum(bool(takes_part(*guarded, make(), seed)) for seed in range(50)) == 50
