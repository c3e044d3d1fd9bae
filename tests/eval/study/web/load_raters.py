"""Many raters at once against a running server on this machine: is every vote there once, and how fast is the answer?

    python tests/eval/study/web/load_raters.py                    50 raters, 200 votes each, half a second between votes
    python tests/eval/study/web/load_raters.py --images         each rater also fetches the images
    python tests/eval/study/web/load_raters.py --design active    the costliest design

Starts `gencomp study serve` on a free port of 127.0.0.1 for a made-up study in a temporary folder, and never talks to
anything else. Prints one JSON object. A rater is a thread with one connection that votes at random.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from gencomp.eval.study.design.build import StudyOptions, blurred, build
from gencomp.eval.study.design.sources import StudyImage
from gencomp.eval.study.plan import Design, Method, Study, load
from gencomp.eval.study.web.store import Store

SERVE = (sys.executable, "-c", "from gencomp.eval.study.cli import study; study()", "serve")


@dataclass
class Rater:
    """What one rater sent, and how long the server took to store each vote (seconds)."""

    votes: int
    pause: float
    images: bool
    sent: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    error: BaseException | None = None

    def run(self, port: int, seed: int) -> None:
        try:
            self._run(port, random.Random(seed))
        except BaseException as error:
            self.error = error

    def _run(self, port: int, rng: random.Random) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        form = {"Content-Type": "application/x-www-form-urlencoded"}
        who = f"agree=yes&participant=rater{rng.getrandbits(64):x}"
        link = self._ask(connection, "POST", "/join", who.encode(), form)[1]
        screen = json.loads(self._ask(connection, "GET", f"{link}/state")[0])
        time.sleep(rng.uniform(0, 2 * self.pause))  # raters do not vote in step
        while screen["trial"] and len(self.sent) < self.votes:
            if self.images:
                for address in screen["trial"]["images"].values():
                    self._ask(connection, "GET", address)
            time.sleep(max(0.31, rng.uniform(0.5, 1.5) * self.pause))  # the server takes no answer sooner
            choice = rng.choice("ab")
            answer = {"n": screen["n"], "choice": choice, "ms": 350, "flips": 2, "dpr": 1.0}
            start = time.perf_counter()
            body, _ = self._ask(connection, "POST", f"{link}/vote", json.dumps(answer).encode(),
                                {"Content-Type": "application/json"})  # fmt: skip
            self.seconds.append(time.perf_counter() - start)
            receipt = json.loads(body)
            if not receipt["counted"]:
                raise RuntimeError(f"vote {screen['n']} was not counted")
            self.sent.append(choice)
            screen = receipt["screen"]

    @staticmethod
    def _ask(
        connection: http.client.HTTPConnection,
        method: str,
        path: str,
        body: bytes = b"",
        headers: dict[str, str] | None = None,
    ) -> tuple[bytes, str]:
        connection.request(method, path, body or None, headers or {})
        reply = connection.getresponse()
        data = reply.read()
        if reply.status >= 400:
            raise RuntimeError(f"{method} {path.split('/')[1]}: {reply.status} {data[:80]!r}")
        return data, reply.headers.get("Location") or ""


def make_study(folder: Path, votes: int, design: Method) -> Study:
    """Five conditions on as many made-up images as it takes for each rater to have `votes` pairs."""
    rng = np.random.default_rng(0)
    coded = []
    work = folder.with_name("coded")
    work.mkdir()
    for k in range(-(-votes // 10)):
        image = Image.fromarray(rng.integers(0, 256, (256, 256, 3), dtype=np.uint8))
        for factor in range(1, 6):
            path = work / f"{k}-{factor}.png"
            blurred(image, factor).save(path)
            coded.append(StudyImage(f"p{k}", f"c{factor}", "", None, work / f"{k}-1.png", path, None, {}))
    how = Design(design, votes, 0, 0, 0, 0)
    study = build(folder, coded, StudyOptions(how, "Load", "Which?", "flip", crop=(256, 256), questions=()))
    shutil.rmtree(work)
    return study


def measure(raters: int, votes: int, pause: float, design: Method, images: bool) -> dict[str, Any]:
    """Run the raters to the end and compare what they sent with what the database holds."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary) / "study"
        make_study(folder, votes, design)
        server = subprocess.Popen([*SERVE, str(folder), "--port", "0"], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", server.stdout.readline())
            if not found:
                raise RuntimeError("the server did not start")
            people = [Rater(votes, pause, images) for _ in range(raters)]
            threads = [threading.Thread(target=p.run, args=(int(found[1]), k)) for k, p in enumerate(people)]
            load_before, start = os.getloadavg()[0], time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            seconds, load_after = time.perf_counter() - start, os.getloadavg()[0]
        finally:
            server.kill()  # as hard as it goes: what was acknowledged must be on disk
            server.wait()
        result = compare(folder, people)
    times = np.array([s for p in people for s in p.seconds]) * 1000
    return result | {
        "raters": raters, "votes_sent": len(times), "pause_s": pause, "design": design, "images_fetched": images,
        "seconds": round(seconds, 1), "votes_per_second": round(len(times) / seconds, 1),
        "median_ms": round(float(np.median(times)), 2), "p95_ms": round(float(np.quantile(times, 0.95)), 2),
        "p99_ms": round(float(np.quantile(times, 0.99)), 2), "max_ms": round(float(times.max()), 2),
        "cores": os.cpu_count(), "load_average": [round(load_before, 2), round(load_after, 2)],
    }  # fmt: skip


def compare(folder: Path, people: list[Rater]) -> dict[str, Any]:
    """lost, doubled: votes that the server took and the database has not, or has though nobody sent them."""
    errors = [str(p.error) for p in people if p.error]
    store = Store(folder, load(folder).id)
    stored: dict[str, list[str]] = {}
    numbers: dict[str, list[int]] = {}
    for vote in store.votes():
        stored.setdefault(vote.rater, []).append(vote.choice)
        numbers.setdefault(vote.rater, []).append(vote.n)
    store.close()
    in_order = all(n == list(range(len(n))) for n in numbers.values())
    total, sent = sum(map(len, stored.values())), sum(len(p.sent) for p in people)
    same = sorted("".join(c) for c in stored.values()) == sorted("".join(p.sent) for p in people)
    return {"votes_stored": total, "lost": max(0, sent - total), "doubled": max(0, total - sent),
            "every_vote_as_sent": same and in_order, "errors": errors}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raters", type=int, default=50)
    parser.add_argument("--votes", type=int, default=200, help="of each rater")
    parser.add_argument("--pause", type=float, default=0.5, help="mean seconds between a rater's votes")
    parser.add_argument("--design", choices=["full", "random", "active"], default="random")
    parser.add_argument("--images", action="store_true", help="fetch the images too")
    given = parser.parse_args()
    if not (0 < given.raters <= 200 and 0 < given.votes <= 1000 and given.raters * given.votes <= 50_000):
        parser.error("at most 200 raters, 1000 votes each and 50,000 in all")
    print(json.dumps(measure(given.raters, given.votes, given.pause, given.design, given.images)))


if __name__ == "__main__":
    main()
