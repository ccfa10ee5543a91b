"""The table of tasks, on disk: what was accepted, how it went, and whether the client has been told."""

import json
import sqlite3
import time
import uuid
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from separator.envelope import Refusal
from separator.modes import Mode


class State(StrEnum):
    OPEN = "open"  # waiting or in work
    DONE = "done"
    FAILED = "failed"


class Callback(StrEnum):
    DUE = "due"  # nothing to tell yet, or not told yet
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"  # every attempt failed; the result is to be had by polling only


@dataclass(frozen=True)
class Creation:
    """What a client asked for, checked. `stem_name` is set with `SPLIT_STEM_ADVANCED` alone."""

    audio_url: str
    mode: Mode
    stem_name: str | None
    callback_url: str


@dataclass(frozen=True)
class StemFile:
    """One result: `url` in full, `duration_s` of the sound."""

    id: str
    stem: str
    url: str
    duration_s: float


@dataclass(frozen=True)
class Task:
    """One row. `code` and `message` are the contract's, empty while open; `stems` are empty unless done."""

    id: str
    creation: Creation
    state: State
    callback: Callback
    code: int
    message: str
    stems: tuple[StemFile, ...]
    starts: int


_SCHEMA = """
CREATE TABLE IF NOT EXISTS task (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    audio_url TEXT NOT NULL,
    mode TEXT NOT NULL,
    stem_name TEXT,
    callback_url TEXT NOT NULL,
    state TEXT NOT NULL DEFAULT 'open',
    callback TEXT NOT NULL DEFAULT 'due',
    code INTEGER NOT NULL DEFAULT 0,
    message TEXT NOT NULL DEFAULT '',
    stems TEXT NOT NULL DEFAULT '[]',
    starts INTEGER NOT NULL DEFAULT 0,
    created_at REAL NOT NULL
);
CREATE INDEX IF NOT EXISTS task_unfinished ON task (number) WHERE state = 'open' OR callback = 'due';
CREATE TABLE IF NOT EXISTS account (id INTEGER PRIMARY KEY CHECK (id = 1), spent INTEGER NOT NULL);
INSERT OR IGNORE INTO account VALUES (1, 0);
"""


class TaskTable:
    """Every method is one transaction of a few milliseconds at most and may be called on the event loop."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.executescript(_SCHEMA)

    def close(self) -> None:
        self._connection.close()

    def create(self, creation: Creation, price: int, credits_at_start: int, max_open: int) -> Task:
        """Accept a task and charge for it. Raises `Refusal` (429, 402) when there are too many or it is not
        paid.
        """
        task_id = uuid.uuid4().hex
        with self._connection:
            self._connection.execute("BEGIN IMMEDIATE")
            (open_tasks,) = self._one("SELECT count(*) FROM task WHERE state = 'open'")
            if open_tasks >= max_open:
                raise Refusal(429, f"{open_tasks} tasks are open already; try again later")
            if price > self.credits_left(credits_at_start):
                raise Refusal(402, "there are not enough credits")
            self._connection.execute("UPDATE account SET spent = spent + ?", (price,))
            self._connection.execute(
                "INSERT INTO task (id, audio_url, mode, stem_name, callback_url, created_at)"
                " VALUES (:id, :audio_url, :mode, :stem_name, :callback_url, :now)",
                {"id": task_id, "now": time.time(), **vars(creation)},
            )
        task = self.find(task_id)
        assert task is not None  # noqa: S101 - inserted above
        return task

    def credits_left(self, credits_at_start: int) -> int:
        (spent,) = self._one("SELECT spent FROM account")
        return credits_at_start - int(spent)

    def find(self, task_id: str) -> Task | None:
        row = self._connection.execute("SELECT * FROM task WHERE id = ?", (task_id,)).fetchone()
        return None if row is None else _task(row)

    def unfinished(self) -> list[Task]:
        """Tasks with something left to do, a run or a callback, in the order they were accepted."""
        rows = self._connection.execute(
            "SELECT * FROM task WHERE state = 'open' OR callback = 'due' ORDER BY number"
        )
        return [_task(row) for row in rows]

    def start(self, task_id: str) -> int:
        """Note that a run begins; returns how many have begun, those cut off by a crash of the service
        included.
        """
        (starts,) = self._one("UPDATE task SET starts = starts + 1 WHERE id = ? RETURNING starts", task_id)
        return int(starts)

    def hand_back(self, task_id: str) -> None:
        """Undo `start`: the run was stopped for a reason that is not the task's."""
        self._connection.execute("UPDATE task SET starts = starts - 1 WHERE id = ?", (task_id,))

    def finish(self, task_id: str, stems: tuple[StemFile, ...]) -> None:
        rows = json.dumps([vars(stem) for stem in stems])
        self._connection.execute(
            "UPDATE task SET state = 'done', code = 200, stems = ? WHERE id = ?", (rows, task_id)
        )

    def fail(self, task_id: str, code: int, message: str) -> None:
        self._connection.execute(
            "UPDATE task SET state = 'failed', code = ?, message = ? WHERE id = ?", (code, message, task_id)
        )

    def called_back(self, task_id: str, outcome: Callback) -> None:
        self._connection.execute("UPDATE task SET callback = ? WHERE id = ?", (outcome, task_id))

    def forget(self, older_than_s: float) -> None:
        """Remove finished tasks that were accepted longer ago than this: their files are gone."""
        self._connection.execute(
            "DELETE FROM task WHERE state != 'open' AND callback != 'due' AND created_at < ?",
            (time.time() - older_than_s,),
        )

    def _one(self, statement: str, *values: Any) -> tuple[Any, ...]:
        return tuple(self._connection.execute(statement, values).fetchone())


def _task(row: sqlite3.Row) -> Task:
    return Task(
        id=row["id"],
        creation=Creation(row["audio_url"], Mode(row["mode"]), row["stem_name"], row["callback_url"]),
        state=State(row["state"]),
        callback=Callback(row["callback"]),
        code=row["code"],
        message=row["message"],
        stems=tuple(StemFile(**stem) for stem in json.loads(row["stems"])),
        starts=row["starts"],
    )
