"""Scripts that take part without looking: whatever they compare, the checks find them."""

from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gencomp.eval.study.analysis.raters import screen
from gencomp.eval.study.design.build import build
from gencomp.eval.study.plan import Design, Study
from gencomp.eval.study.web.server import Panel, create_app
from gencomp.eval.study.web.session import Course
from gencomp.eval.study.web.store import Store

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
