"""Many raters at once against a running server on this machine: is every vote there once, and how fast is the answer?

    python tests/eval/study/web/load_raters.py                    50 raters, 200 votes each, half a second between votes
    python tests/eval/study/web/load_raters.py --images         each rater also fetches the images
    python tests/eval/study/web/load_raters.py --design active    the costliest design

Starts `gencomp study serve` on a free port of 127.0.0.1 for a made-up study in a temporary folder, and never talks to
anything else. Prints one JSON object. A rater is a thread with one connection that votes at random.
"""

import argparse
import http.client
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from gencomp.eval.study.design.build import StudyOptions, blurred, build
from gencomp.eval.study.design.sources import StudyImage
from gencomp.eval.study.plan import Design, Method, load
from gencomp.eval.study.web.store import Store

SERVE = (sys.executable, "-c", "from gencomp.eval.study.cli import study; study()", "serve")
FORM, JSON = ({"Content-Type": f"application/{kind}"} for kind in ("x-www-form-urlencoded", "json"))


class Sent(NamedTuple):
    """What one rater sent, and how long the server took to store each vote (seconds)."""

    choices: list[str]
    seconds: list[float]
    error: str


def rate(port: int, seed: int, votes: int, pause: float, images: bool) -> Sent:
    rng, sent = random.Random(seed), Sent([], [], "")
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)

    def ask(method: str, path: str, body: str = "", headers: dict[str, str] | None = None) -> tuple[bytes, str]:
        connection.request(method, path, body or None, headers or {})
        reply = connection.getresponse()
        data = reply.read()
        if reply.status >= 400:
            raise RuntimeError(f"{method} {path.split('/')[1]}: {reply.status} {data[:80]!r}")
        return data, reply.headers.get("Location") or ""

    try:
        link = ask("POST", "/join", f"agree=yes&participant=rater{rng.getrandbits(64):x}", FORM)[1]
        screen = json.loads(ask("GET", f"{link}/state")[0])
        time.sleep(rng.uniform(0, 2 * pause))  # raters do not vote in step
        while screen["trial"] and len(sent.choices) < votes:
            for address in screen["trial"]["images"].values() if images else ():
                ask("GET", address)
            time.sleep(max(0.31, rng.uniform(0.5, 1.5) * pause))  # the server takes no answer sooner
            answer = {"n": screen["n"], "choice": rng.choice("ab"), "ms": 350, "flips": 2, "dpr": 1.0}
            start = time.perf_counter()
            receipt = json.loads(ask("POST", f"{link}/vote", json.dumps(answer), JSON)[0])
            sent.seconds.append(time.perf_counter() - start)
            if not receipt["counted"]:
                raise RuntimeError(f"vote {screen['n']} was not counted")
            sent.choices.append(answer["choice"])
            screen = receipt["screen"]
    except Exception as error:
        return sent._replace(error=str(error))
    return sent


def make_study(folder: Path, votes: int, design: Method) -> None:
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
    build(folder, coded, StudyOptions(how, "Load", "Which?", "flip", crop=(256, 256), questions=()))


def measure(raters: int, votes: int, pause: float, design: Method, images: bool) -> dict[str, Any]:
    """Run the raters to the end and compare what they sent with what the database holds."""
    with tempfile.TemporaryDirectory() as temporary, ThreadPoolExecutor(raters) as pool:
        folder = Path(temporary) / "study"
        make_study(folder, votes, design)
        server = subprocess.Popen([*SERVE, str(folder), "--port", "0"], stdout=subprocess.PIPE, text=True)
        try:
            assert server.stdout
            found = re.search(r"http://127\.0\.0\.1:(\d+)/", server.stdout.readline())
            if not found:
                raise RuntimeError("the server did not start")
            load_before, start = os.getloadavg()[0], time.perf_counter()
            people = list(pool.map(lambda seed: rate(int(found[1]), seed, votes, pause, images), range(raters)))
            seconds, load_after = time.perf_counter() - start, os.getloadavg()[0]
        finally:
            server.kill()  # as hard as it goes: what was acknowledged must be on disk
            server.wait()
        result = compare(folder, people)
    times = np.array([s for p in people for s in p.seconds]) * 1000
    quantiles = {"median_ms": 0.5, "p95_ms": 0.95, "p99_ms": 0.99, "max_ms": 1}
    return {
        **result,
        **{"raters": raters, "votes_sent": len(times), "pause_s": pause, "design": design, "images_fetched": images},
        **{"seconds": round(seconds, 1), "votes_per_second": round(len(times) / seconds, 1)},
        **{name: round(float(np.quantile(times, share)), 2) for name, share in quantiles.items()},
        **{"cores": os.cpu_count(), "load_average": [round(load_before, 2), round(load_after, 2)]},
    }


def compare(folder: Path, people: list[Sent]) -> dict[str, Any]:
    """lost, doubled: votes that the server took and the database has not, or has though nobody sent them."""
    store, stored = Store(folder, load(folder).id), defaultdict[str, list[Any]](list)
    for vote in store.votes():
        stored[vote.rater].append(vote)
    store.close()
    in_order = all([v.n for v in votes] == list(range(len(votes))) for votes in stored.values())
    total, sent = sum(map(len, stored.values())), sum(len(p.choices) for p in people)
    same = sorted([v.choice for v in votes] for votes in stored.values()) == sorted(p.choices for p in people)
    return {
        **{"votes_stored": total, "lost": max(0, sent - total), "doubled": max(0, total - sent)},
        **{"every_vote_as_sent": same and in_order, "errors": [p.error for p in people if p.error]},
    }


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
    print(json.dumps(measure(**vars(given))))


if __name__ == "__main__":
    main()
