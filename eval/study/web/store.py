"""Raters, trials and votes in SQLite.

A vote is on the disk before its rater hears of it: write-ahead log, flushed at every commit (synchronous = FULL), so
neither a killed server nor a lost power line takes an acknowledged vote. The primary key (rater, n) makes a vote count
once however often it is sent. One connection under one lock: a commit takes well under a millisecond on a solid-state
disk, far below what hundreds of raters need, and nothing can deadlock.

The database file alone is whole while nobody votes; votes.sqlite-wal beside it belongs to it, and holds votes while the
study is served or after a crash. `gencomp study backup` copies at any time.

Stored about a rater: a random id, a running number, the hash of the link's token, when consent was given, the answers
to the study's questions, and facts of the screen (sizes, pixel ratio, colour depth and gamut). No name, no address, no
cookie, no name of the browser.
"""

import contextlib
import hashlib
import json
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from ..design.trials import Kind, Trial
from ..plan import StudyError
from ..votes import Vote

NAME = "votes.sqlite"
MAX_DISPLAYS = 20  # of one rater
_SCHEMA = """
CREATE TABLE IF NOT EXISTS study (
    only INTEGER PRIMARY KEY CHECK (only = 0), id TEXT NOT NULL, secret BLOB NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS raters (
    id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, token TEXT UNIQUE, agreed REAL, source TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trials (
    rater TEXT NOT NULL REFERENCES raters, n INTEGER NOT NULL, kind TEXT NOT NULL, scene TEXT, first TEXT, second TEXT,
    PRIMARY KEY (rater, n)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS votes (
    rater TEXT NOT NULL, n INTEGER NOT NULL, choice TEXT NOT NULL,
    ms INTEGER NOT NULL, server_ms INTEGER NOT NULL, flips INTEGER NOT NULL, dpr REAL NOT NULL, at TEXT NOT NULL,
    PRIMARY KEY (rater, n), FOREIGN KEY (rater, n) REFERENCES trials) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS answers (
    rater TEXT NOT NULL REFERENCES raters, question TEXT NOT NULL, answer TEXT NOT NULL,
    PRIMARY KEY (rater, question)) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS displays (
    rater TEXT NOT NULL REFERENCES raters, facts TEXT NOT NULL, PRIMARY KEY (rater, facts)) STRICT, WITHOUT ROWID;
"""
_RATER = """
SELECT id, agreed, (SELECT COUNT(*) FROM votes WHERE rater = id), (SELECT COUNT(*) FROM trials WHERE rater = id),
    (SELECT MAX(at) FROM votes WHERE rater = id), (SELECT json_group_array(question) FROM answers WHERE rater = id)
FROM raters WHERE token = ?
"""
_ADD_RATER = "INSERT INTO raters SELECT ?, COALESCE(MAX(number) + 1, 0), ?, ?, ? FROM raters"


class Rater(NamedTuple):
    """agreed: has consented. done: votes given, and so the number of the trial that is due. total: trials in all.
    since: UNIX time of the last answer, or of the consent. answered: ids of the questions that have an answer."""

    id: str
    agreed: bool
    done: int
    total: int
    since: float
    answered: frozenset[str]


class Store:
    """The votes of one study. Methods are atomic and safe to call from any thread."""

    def __init__(self, folder: Path, study_id: str) -> None:
        self.path = folder / NAME
        self._lock = threading.RLock()
        for path in (self.path, *(self.path.with_name(NAME + end) for end in ("-wal", "-shm"))):
            if path.is_symlink():
                raise StudyError(f"{path} is a link; votes are kept in no other place than the study's folder")
        try:
            os.close(os.open(self.path, os.O_CREAT | os.O_RDWR, 0o600))  # SQLite gives its log the same rights
            self._db = sqlite3.connect(self.path, timeout=20, isolation_level=None, check_same_thread=False)
            (journal,) = self._db.execute("PRAGMA journal_mode = WAL").fetchone()
            if journal != "wal":
                raise StudyError(f"{self.path}: no write-ahead log on this file system; put the study on a local disk")
            self._db.execute("PRAGMA synchronous = FULL")
            self._db.execute("PRAGMA wal_autocheckpoint = 1")  # the database file follows the log at every vote
            self._db.execute("PRAGMA foreign_keys = ON")
            self._db.executescript(_SCHEMA)
            self._db.execute("INSERT OR IGNORE INTO study VALUES (0, ?, ?)", (study_id, secrets.token_bytes(32)))
            there, self.secret = self._db.execute("SELECT id, secret FROM study").fetchone()
        except (sqlite3.Error, OSError) as error:
            raise StudyError(f"{self.path} cannot be used ({error})") from error
        if there != study_id:
            raise StudyError(f"{self.path} holds votes of another plan ({there}); study.json was changed ({study_id})")

    def close(self) -> None:
        """Bring every vote from the log into the database file, and let go of it."""
        with self._lock, contextlib.suppress(sqlite3.ProgrammingError):  # closed before
            with contextlib.suppress(sqlite3.OperationalError):  # another process reads: what remains is in the log
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            self._db.close()

    def copy(self, path: Path) -> None:
        """Write all votes of this moment to a new database file, whole without a log beside it."""
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
        with self._lock, contextlib.closing(sqlite3.connect(path)) as other:
            self._db.backup(other)

    def _read(self, query: str, *values: object) -> list[Any]:
        with self._lock:
            return self._db.execute(query, values).fetchall()

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._lock:
            self._db.execute("BEGIN IMMEDIATE")
            try:
                yield self._db
                self._db.execute("COMMIT")
            except BaseException:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
                raise

    def raters(self) -> int:
        """How many there are."""
        return int(self._read("SELECT COUNT(*) FROM raters")[0][0])

    def add_rater(
        self, rater: str, token: str | None, *, agreed: float | None, source: str, plan: Iterable[Trial | Kind]
    ) -> None:
        """A new rater with all trials; a bare kind is a trial that is chosen when it is due. agreed: UNIX time of the
        consent. A token that has a rater already keeps it."""
        with self._transaction() as db:
            if token is not None and db.execute("SELECT 1 FROM raters WHERE token = ?", (_hash(token),)).fetchone():
                return
            db.execute(_ADD_RATER, (rater, _hash(token), agreed, source))
            rows = (trial if isinstance(trial, Trial) else (trial, None, None, None) for trial in plan)
            numbered = ((rater, n, *row) for n, row in enumerate(rows))
            db.executemany("INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?)", numbered)

    def rater(self, token: str) -> Rater | None:
        for name, agreed, done, total, last, answered in self._read(_RATER, _hash(token)):
            since = datetime.fromisoformat(last).timestamp() if last else agreed or 0.0
            return Rater(name, agreed is not None, done, total, since, frozenset(json.loads(answered)))
        return None

    def agree(self, rater: str, at: float) -> None:
        with self._transaction() as db:
            db.execute("UPDATE raters SET agreed = ? WHERE id = ? AND agreed IS NULL", (at, rater))

    def answer(self, rater: str, answers: Mapping[str, str]) -> None:
        """Store the answers to questions; the first answer to a question stands."""
        with self._transaction() as db:
            rows = ((rater, question, answer) for question, answer in answers.items())
            db.executemany("INSERT OR IGNORE INTO answers VALUES (?, ?, ?)", rows)

    def add_display(self, rater: str, facts: str) -> None:
        """Store what is known of a screen, once; a rater may use several, but not endlessly many."""
        with self._transaction() as db:
            (count,) = db.execute("SELECT COUNT(*) FROM displays WHERE rater = ?", (rater,)).fetchone()
            if count < MAX_DISPLAYS:
                db.execute("INSERT OR IGNORE INTO displays VALUES (?, ?)", (rater, facts))

    def told(self) -> dict[str, dict[str, Any]]:
        """By rater: the answers to questions by their ids, and `displays`, the facts of each screen used."""
        found: dict[str, dict[str, Any]] = {}
        for rater, question, answer in self._read("SELECT * FROM answers ORDER BY rater, question"):
            found.setdefault(rater, {})[question] = answer
        for rater, facts in self._read("SELECT * FROM displays ORDER BY rater"):
            found.setdefault(rater, {}).setdefault("displays", []).append(json.loads(facts))
        return found

    def trials(self, rater: str, first: int, last: int) -> list[Trial | Kind]:
        """Trials first .. last - 1 of a rater, as far as they exist; a bare kind is not chosen yet."""
        query = "SELECT kind, scene, first, second FROM trials WHERE rater = ? AND n >= ? AND n < ? ORDER BY n"
        rows = self._read(query, rater, first, last)
        return [Trial(*row) if row[1] is not None else row[0] for row in rows]

    def choose(self, rater: str, n: int, trial: Trial) -> None:
        query = "UPDATE trials SET scene = ?, first = ?, second = ? WHERE rater = ? AND n = ? AND scene IS NULL"
        with self._transaction() as db:
            db.execute(query, (*trial[1:], rater, n))

    def add_vote(self, rater: str, n: int, *answer: str | float) -> bool:
        """True if the vote is new and now on the disk, False if the trial had one already (the first one stands).
        answer: choice, ms, server_ms, flips, dpr and at of a vote."""
        with self._transaction() as db:
            row = (rater, n, *answer)
            return db.execute("INSERT OR IGNORE INTO votes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", row).rowcount == 1

    def given(self) -> list[Trial]:
        """Every trial that counts and was given to a rater, answered or not."""
        query = "SELECT kind, scene, first, second FROM trials WHERE kind IN ('pair', 'rating') AND scene IS NOT NULL"
        return [Trial(*row) for row in self._read(query)]

    def votes(self) -> list[Vote]:
        """Every vote, by rater and trial."""
        rows = self._read(
            "SELECT r.id, r.source, t.n, kind, scene, first, second, choice, ms, server_ms, flips, dpr, at"
            " FROM votes v JOIN trials t USING (rater, n) JOIN raters r ON r.id = v.rater ORDER BY r.number, t.n"
        )
        return [Vote(row[0], row[1], row[2], Trial(*row[3:7]), *row[7:]) for row in rows]

    def add_votes(self, votes: Iterable[Vote]) -> tuple[int, int]:
        """Import votes, all or none; those that are here already are left. Returns (new, known). StudyError if a trial
        is here with another answer, or if its rater takes part here: one file was changed then."""
        votes = list(votes)
        with self._transaction() as db:
            here = {(v.rater, v.n): v for v in self.votes()}
            known = {rater for (rater,) in db.execute("SELECT id FROM raters")}
            local = {rater for (rater,) in db.execute("SELECT id FROM raters WHERE token IS NOT NULL")}
            fresh = [vote for vote in votes if (vote.rater, vote.n) not in here]
            for vote in votes:
                there = here.get((vote.rater, vote.n), vote)
                if there._replace(source="") != vote._replace(source="") or (there is vote and vote.rater in local):
                    raise StudyError(f"rater {vote.rater}, trial {vote.n}: another answer is stored here")
            for vote in fresh:
                if vote.rater not in known:
                    known.add(vote.rater)
                    db.execute(_ADD_RATER, (vote.rater, None, 0.0, "import" if vote.source == "web" else vote.source))
                db.execute("INSERT INTO trials VALUES (?, ?, ?, ?, ?, ?)", (vote.rater, vote.n, *vote.trial))
                db.execute("INSERT INTO votes VALUES (?, ?, ?, ?, ?, ?, ?, ?)", (vote.rater, vote.n, *vote[4:]))
        return len(fresh), len(votes) - len(fresh)


def _hash(token: str | None) -> str | None:
    return None if token is None else hashlib.sha256(token.encode("utf-8", "replace")).hexdigest()
