import os
import shutil
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

from gencomp.eval.study.cli import study as command
from gencomp.eval.study.design.trials import Trial
from gencomp.eval.study.plan import Study, StudyError, load
from gencomp.eval.study.votes import Vote, parse, to_csv, to_json
from gencomp.eval.study.web import listen
from gencomp.eval.study.web.session import Course
from gencomp.eval.study.web.store import NAME, Rater, Store

AT = "2026-01-01T00:00:00Z"


def joined(course: Course) -> Rater:
    rater = course.store.rater(course.join(agreed=True))
    assert rater
    return rater


def vote_to_the_end(course: Course, choice: str = "a") -> Rater:
    rater = joined(course)
    for n in range(rater.total):
        assert course.vote(rater._replace(done=n), n, choice, 1500, 3, 1.0).counted
    return rater


def test_many_threads_with_one_answer_count_once(course: Course) -> None:
    rater = joined(course)
    with ThreadPoolExecutor(16) as pool:
        counted = list(pool.map(lambda _: course.vote(rater, 0, "a", 900, 1, 1.0).counted, range(16)))
    assert sorted(counted) == [False] * 15 + [True]


def test_copies_served_in_several_places_repeat_no_orders(folder: Path, study: Study, course_of: Any) -> None:
    elsewhere = Path(shutil.copytree(folder, folder.with_name("elsewhere")))
    stores = Store(folder, study.id), Store(elsewhere, study.id)
    for store in stores:
        vote_to_the_end(course_of(store, study))
    here, there = ([vote.trial for vote in store.votes()] for store in stores)
    assert here != there


def test_every_vote_is_flushed_to_the_disk(folder: Path, study: Study) -> None:
    store = Store(folder, study.id)
    assert store._db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert store._db.execute("PRAGMA journal_mode").fetchone() == ("wal",)


@pytest.mark.parametrize("method", ["full", "random", "active"])
def test_a_rater_sees_what_the_design_says(built_with: Any, course_of: Any, method: str) -> None:
    folder, study = built_with(method)
    course = course_of(Store(folder, study.id), study)
    for _ in range(3):
        vote_to_the_end(course)
    kinds = [v.trial.kind for v in course.store.votes()]
    assert (kinds.count("pair"), kinds.count("check"), kinds.count("repeat")) == (36, 6, 3)
    assert kinds.count("training") == 6
    pairs = [course._tally.pair(v.trial) for v in course.store.votes() if v.trial.kind == "pair"]
    assert len(set(pairs)) == 12


def test_nothing_stored_leads_back_to_a_person_or_lets_anybody_vote(folder: Path, course: Course) -> None:
    token = course.join(agreed=True)
    assert token.encode() not in b"".join(path.read_bytes() for path in folder.glob(f"{NAME}*"))
    assert course.store.rater("nobody") is None


def test_votes_of_another_plan_are_not_mixed_in(folder: Path, study: Study) -> None:
    Store(folder, study.id).close()
    with pytest.raises(StudyError, match="another plan"):
        Store(folder, "0" * 16)
    (folder / NAME).write_bytes(b"not a database, but long enough to look like one" * 10)
    with pytest.raises(StudyError, match="cannot be used"):
        Store(folder, study.id)


@pytest.mark.parametrize("to_text", [to_csv, to_json])
def test_votes_travel_to_a_copy_and_count_once(course: Course, study: Study, tmp_path: Path, to_text: Any) -> None:
    vote_to_the_end(course)
    votes = course.store.votes()
    text = to_text(study, votes)
    (tmp_path / "there").mkdir()
    there = Store(tmp_path / "there", study.id)
    assert there.add_votes(parse(study, text)) == (len(votes), 0)
    assert there.add_votes(parse(study, text)) == (0, len(votes))
    assert [v._replace(source="") for v in there.votes()] == [v._replace(source="") for v in votes]
    assert {v.source for v in there.votes()} == {"import"}


HOSTILE: list[tuple[str, dict[str, str]]] = [
    ("it belongs to study", {"study": "f" * 16}),
    ("the rater", {"rater": "<script>alert(1)</script>"}),
    ("the rater", {"rater": "../../etc/passwd"}),
    ("no trial of this study", {"scene": "s99"}),
    ("no trial of this study", {"kind": "bribe"}),
    ("no trial of this study", {"first": "good", "second": "good"}),
    ("images of the trial", {"kind": "pair", "first": "hidden", "second": "degraded"}),
    ("images of the trial", {"kind": "check", "first": "good", "second": "bad"}),
    ("images of the trial", {"kind": "pair", "first": "=cmd", "second": "bad"}),
    ("images of the trial", {"kind": "check", "first": "original", "second": "degraded"}),
    ("images of the trial", {"kind": "rating", "first": "good", "second": ""}),
    ("choice", {"choice": "5"}),
    ("out of range", {"server_ms": "-5"}),
    ("choice", {"choice": "tie"}),
    ("choice", {"choice": "c"}),
    ("out of range", {"ms": "-1"}),
    ("out of range", {"dpr": "nan"}),
    ("invalid literal", {"flips": "many"}),
    ("trial number", {"n": "-3"}),
    ("the time", {"at": "yesterday"}),
]


@pytest.mark.parametrize(("message", "change"), HOSTILE)
def test_a_forged_vote_refuses_the_file(folder: Path, study: Study, message: str, change: dict[str, str]) -> None:
    good = Vote("0" * 16, "web", 0, Trial("pair", "s0", "good", "bad"), "a", 1000, 1000, 2, 1.0, AT)
    lines = to_csv(study, [good, good._replace(n=1)]).splitlines()
    row = dict(zip(lines[0].split(","), lines[2].split(","), strict=True)) | change
    with pytest.raises(StudyError, match=f"vote 2: .*{message}"):
        parse(study, "\n".join([*lines[:2], ",".join(row.values())]))
    assert Store(folder, study.id).votes() == []


def test_a_file_that_is_no_file_of_votes_is_refused(study: Study) -> None:
    deep = ["[" * 50_000, '{"a":' * 50_000]
    for text in ("study,rater\n1,2\n", "{", '{"votes": 3}', '{"study": 1, "votes": [[]]}', *deep):
        with pytest.raises(StudyError):
            parse(study, text)
    vote = Vote("0" * 16, "web", 0, Trial("pair", "s0", "good", "bad"), "a", 1000, 1000, 2, 1.0, AT)
    with pytest.raises(StudyError, match="a second vote"):
        parse(study, to_csv(study, [vote, vote._replace(choice="b")]))


def test_an_import_that_contradicts_what_is_here_changes_nothing(course: Course) -> None:
    rater = vote_to_the_end(course)
    before = course.store.votes()
    changed = [before[0]._replace(choice="b"), Vote("1" * 16, "web", 0, before[3].trial, "a", 1, 1, 1, 1.0, AT)]
    with pytest.raises(StudyError, match="another answer is stored here"):
        course.store.add_votes(changed)
    ahead = Vote(rater.id, "web", 99, before[3].trial, "a", 1, 1, 1, 1.0, AT)
    with pytest.raises(StudyError, match="another answer is stored here"):
        course.store.add_votes([ahead])
    assert course.store.votes() == before


def test_two_stores_on_one_file_do_not_lose_votes(folder: Path, study: Study, course_of: Any) -> None:
    """`analyse` and `import` open the database while the server has it open."""
    served, beside = Store(folder, study.id), Store(folder, study.id)
    vote_to_the_end(course_of(served, study))
    beside.add_votes([Vote("2" * 16, "web", 0, Trial("pair", "s0", "good", "bad"), "a", 1, 1, 1, 1.0, AT)])
    assert len(served.votes()) == len(beside.votes()) == 18
    with sqlite3.connect(folder / NAME) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)


def test_the_database_is_the_owners_business(folder: Path, study: Study) -> None:
    Store(folder, study.id)
    if os.name == "posix":
        assert (folder / NAME).stat().st_mode & 0o077 == 0


def test_a_database_closed_or_backed_up_is_whole(folder: Path, study: Study, course: Course, tmp_path: Path) -> None:
    rater = vote_to_the_end(course)
    backup = ["backup", str(folder), str(tmp_path / "copy")]
    said = CliRunner().invoke(command, backup)  # while it is open, as it is when served
    assert said.exit_code == 0, said.output
    assert "name a new folder" in CliRunner().invoke(command, backup).output
    course.store.close()
    (tmp_path / "alone").mkdir()
    shutil.copy(folder / NAME, tmp_path / "alone" / NAME)
    for place in ("copy", "alone"):
        assert not [path.name for path in (tmp_path / place).iterdir() if "-wal" in path.name]
        store = Store(tmp_path / place, study.id)
        assert len(store.votes()) == rater.total
        store.close()
    assert len(load(tmp_path / "copy").images) == len(study.images)


@pytest.mark.parametrize("end", ["", "-wal", "-shm"])
def test_no_vote_is_written_through_a_link(folder: Path, study: Study, tmp_path: Path, end: str) -> None:
    (tmp_path / "mine").write_bytes(b"")
    (folder / f"{NAME}{end}").unlink(missing_ok=True)
    (folder / f"{NAME}{end}").symlink_to(tmp_path / "mine")
    with pytest.raises(StudyError, match="is a link"):
        Store(folder, study.id)
    assert (tmp_path / "mine").read_bytes() == b""


def _connection(requests: int = 0, sending: object = None) -> SimpleNamespace:
    return SimpleNamespace(requests=[1] * requests, request=sending, will_close=False)


def test_slow_connections_are_closed_by_time_and_for_others() -> None:
    server = SimpleNamespace(active_channels={}, adj=SimpleNamespace(connection_limit=20))
    slow, idle, busy = _connection(sending=object()), _connection(), _connection(requests=1, sending=object())
    begun: dict[Any, Any] = {}

    def tend(now: float, *connections: SimpleNamespace) -> list[bool]:
        server.active_channels = dict(enumerate(connections))
        listen._tend(server, lambda _: None, begun, now)
        return [connection.will_close for connection in connections]

    assert tend(0, slow, idle, busy) == [False] * 3
    assert tend(listen.REQUEST_SECONDS - 1, slow, idle, busy) == [False] * 3
    assert tend(listen.REQUEST_SECONDS + 1, slow, idle, busy) == [True, False, False]
    late = [_connection(sending=object()) for _ in range(18)]
    tend(200, *late[:9], busy, idle)
    assert sum(tend(210, *late, busy, idle)) == 2  # 20 are connected, 18 may be
    assert [one.will_close for one in late[:9]].count(True) == 2  # those that have sent for longest
