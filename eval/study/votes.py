"""Votes outside the database: one row per trial, as CSV or JSON, to analyse elsewhere or to pool studies.

study    the plan's id: votes of another plan are not comparable and are refused
rater    16 hex digits drawn at random; nothing about a person
source   web, import or simulated
n        number of the trial within its rater, from 0
kind     training, pair, rating, check or repeat
scene, image, first, second    what was shown: first as A, second as B; second is empty where one image is rated
choice   a, b or tie; 5 (best) to 1 of ratings
ms       milliseconds from the images standing on the screen to the choice, pauses left out; by the page's clock
server_ms    milliseconds since the rater's answer before, pauses and all; by the server's clock, so never below ms
flips    how often the rater flipped between the images
dpr      pixels of the images per CSS pixel: the device's own, or, above the study's max_density, a half or a third
at       UTC time of the vote, to the millisecond
"""

import csv
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, get_args

from gencomp.texts import csv_rows, csv_text

from .design.trials import COUNTED, Kind, Trial
from .plan import DEGRADED, HIDDEN, MILD, OBVIOUS, ORIGINAL, Study, StudyError

MAX_MS = 24 * 3600 * 1000
MAX_FLIPS = 100_000
RATER = re.compile(r"[0-9a-f]{16}")
AT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{3})?Z")
SOURCES = ("web", "import", "simulated")


class Vote(NamedTuple):
    rater: str
    source: str
    n: int
    trial: Trial
    choice: str
    ms: int
    server_ms: int
    flips: int
    dpr: float
    at: str

    @property
    def seconds(self) -> float:
        """How long the rater looked at most: the shorter of the two clocks."""
        return min(self.ms, self.server_ms) / 1000


COLUMNS = ("study", *Vote._fields[:3], "kind", "scene", "image", "first", "second", *Vote._fields[4:])


def to_rows(study: Study, votes: Iterable[Vote]) -> list[dict[str, Any]]:
    images, name = {scene.id: scene.image for scene in study.scenes}, study.id
    rows = (v._asdict() | v.trial._asdict() | {"study": name, "image": images[v.trial.scene]} for v in votes)
    return [{column: row[column] for column in COLUMNS} for row in rows]


def to_csv(study: Study, votes: Iterable[Vote]) -> str:
    return csv_text(COLUMNS, to_rows(study, votes))


def to_json(study: Study, votes: Iterable[Vote]) -> str:
    rows = [{key: value for key, value in row.items() if key != "study"} for row in to_rows(study, votes)]
    return json.dumps({"study": study.id, "votes": rows}, indent=1) + "\n"


def parse(study: Study, text: str) -> list[Vote]:
    """Votes from CSV or JSON text, every field checked against the plan. StudyError names the first wrong row."""
    votes, seen = [], set[tuple[str, int]]()
    for number, row in enumerate(_rows(text), 1):
        try:
            vote = _vote(study, row)
        except (KeyError, TypeError, ValueError) as error:
            what = f"no column {error}" if isinstance(error, KeyError) else str(error)
            raise StudyError(f"vote {number}: {what}") from None
        if (vote.rater, vote.n) in seen:
            raise StudyError(f"vote {number}: a second vote of rater {vote.rater} on trial {vote.n}")
        seen.add((vote.rater, vote.n))
        votes.append(vote)
    return votes


def _rows(text: str) -> Sequence[Mapping[str, Any]]:
    try:
        if text.lstrip()[:1] == "{":
            holder = json.loads(text)
            return [{"study": holder["study"]} | row for row in holder["votes"]]
        columns, rows = csv_rows(text)
    except (csv.Error, ValueError, KeyError, TypeError, RecursionError) as error:
        raise StudyError(f"not a file of votes ({error})") from error
    if missing := set(COLUMNS) - set(columns):
        raise StudyError(f"not a table of votes: no column {', '.join(sorted(missing))}")
    return rows


def _vote(study: Study, row: Mapping[str, Any]) -> Vote:
    if row["study"] != study.id:
        raise ValueError(f"it belongs to study {str(row['study'])[:20]!r}, this one is {study.id!r}")
    trial = Trial(row["kind"], str(row["scene"]), str(row["first"]), str(row["second"]))
    check_trial(study, trial)
    rater, at, source = str(row["rater"]), str(row["at"]), str(row["source"])
    if not RATER.fullmatch(rater) or not AT.fullmatch(at) or source not in SOURCES:
        raise ValueError("the rater, the time or the source is not as this program writes it")
    times = int(row["ms"]), int(row["server_ms"])
    check_answer(study, row["choice"], times[0], int(row["flips"]), float(row["dpr"]))
    n = int(row["n"])
    if not 0 <= n < 1_000_000 or not 0 <= times[1] <= MAX_MS:
        raise ValueError(f"trial number {n}, or its time, is out of range")
    return Vote(rater, source, n, trial, str(row["choice"]), *times, int(row["flips"]), float(row["dpr"]), at)


def check_trial(study: Study, trial: Trial) -> None:
    """ValueError unless the trial could be one of this study."""
    scene = study.scene.get(trial.scene)
    names = {trial.first, trial.second}
    if trial.kind not in get_args(Kind) or scene is None or len(names) < 2:
        raise ValueError("no trial of this study")
    pairs = study.task == "pairs"
    judged = set(scene.renderings) | ({HIDDEN} if study.task == "acr" else set())
    if pairs:
        special = {"check": [{HIDDEN, DEGRADED}], "training": [{ORIGINAL, OBVIOUS}, {ORIGINAL, MILD}]}
    else:
        special = {"check": [{HIDDEN, ""}, {DEGRADED, ""}], "training": [{ORIGINAL, ""}, {OBVIOUS, ""}]}
    ordinary = names <= judged if pairs else trial.second == "" and trial.first in judged
    fits = names in special.get(trial.kind, []) or (trial.kind != "check" and ordinary)
    if not fits or (trial.kind in COUNTED and pairs != (trial.kind == "pair")) or (not pairs and trial.second):
        raise ValueError("the images of the trial are not in this study")


def check_answer(study: Study, choice: object, ms: int, flips: int, dpr: float) -> None:
    """ValueError unless the answer could have been given."""
    if choice not in study.choices:
        raise ValueError(f"choice must be one of {', '.join(study.choices)}")
    if not 0 <= ms <= MAX_MS or not 0 <= flips <= MAX_FLIPS or not 0.1 <= dpr <= 20:
        raise ValueError("the time, the flips or the pixel ratio is out of range")
