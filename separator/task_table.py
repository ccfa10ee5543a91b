"""The task table in SQLite: requests, results and the state of the callbacks."""

import json
import sqlite3
import time
import uuid
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from separator.audio.formats import FileFormat
from separator.envelope import Refusal
from separator.modes import Mode


class TaskState(StrEnum):
    OPEN = "open"  # waiting or in work
    DONE = "done"
    FAILED = "failed"


class CallbackState(StrEnum):
    DUE = "due"  # the task is open, or the callback is not delivered yet
    DELIVERED = "delivered"
    GIVEN_UP = "given_up"  # every attempt failed; the client has to poll


@dataclass(frozen=True)
class CreateRequest:
    """A valid create request. `stem_name` is set for `SPLIT_STEM_ADVANCED` only.

    None as `file_format` means that of the settings. See `EngineRequest` for `max_file_bytes`.
    """

    audio_url: str
    mode: Mode
    stem_name: str | None
    callback_url: str
    file_format: FileFormat | None = None
    max_file_bytes: int = 0


@dataclass(frozen=True)
class PublishedStem:
    id: str
    stem: str
    url: str
    duration_s: float


@dataclass(frozen=True)
class Task:
    """One row. `code` and `message` are the contract's, empty while open; `stems` is empty unless done."""

    id: str
    request: CreateRequest
    state: TaskState
    callback: CallbackState
    code: int
    message: str
    stems: tuple[PublishedStem, ...]
    starts: int


TASKS_FILE = "tasks.sqlite3"
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
_ADDED = {"file_format": "TEXT", "max_file_bytes": "INTEGER NOT NULL DEFAULT 0"}
"""Columns that the first version's table did not have."""


class TaskTable:
    """The task table. Each method is one transaction of a few milliseconds, fit for the event loop."""

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(path, isolation_level=None)
        self._connection.row_factory = sqlite3.Row
        try:
            self._prepare()
        except sqlite3.Error:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        self._connection.execute("PRAGMA journal_mode = WAL")
        self._connection.executescript(_SCHEMA)
        known = {row["name"] for row in self._connection.execute("PRAGMA table_info(task)")}
        for name, declaration in _ADDED.items():
            if name not in known:  # the table is of an older version
                self._connection.execute(f"ALTER TABLE task ADD COLUMN {name} {declaration}")

    def close(self) -> None:
        self._connection.close()

    def create(self, request: CreateRequest, price: int, credits_at_start: int, max_open: int) -> Task:
        """Accept and charge a task. Raises `Refusal`: 429 for too many open ones, 402 without credits."""
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
                "INSERT INTO task (id, audio_url, mode, stem_name, callback_url, created_at, file_format,"
                " max_file_bytes) VALUES (:id, :audio_url, :mode, :stem_name, :callback_url, :now,"
                " :file_format, :max_file_bytes)",
                {"id": task_id, "now": time.time(), **vars(request)},
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
        """Return the tasks that need a run or a callback, in the order of acceptance."""
        rows = self._connection.execute(
            "SELECT * FROM task WHERE state = 'open' OR callback = 'due' ORDER BY number"
        )
        return [_task(row) for row in rows]

    def start(self, task_id: str) -> int:
        """Count the start of a run; returns the number of starts, including those that ended in a crash."""
        (starts,) = self._one("UPDATE task SET starts = starts + 1 WHERE id = ? RETURNING starts", task_id)
        return int(starts)

    def undo_start(self, task_id: str) -> None:
        self._connection.execute("UPDATE task SET starts = starts - 1 WHERE id = ?", (task_id,))

    def finish(self, task_id: str, stems: tuple[PublishedStem, ...]) -> None:
        rows = json.dumps([vars(stem) for stem in stems])
        self._connection.execute(
            "UPDATE task SET state = 'done', code = 200, stems = ? WHERE id = ?", (rows, task_id)
        )

    def fail(self, task_id: str, code: int, message: str) -> None:
        self._connection.execute(
            "UPDATE task SET state = 'failed', code = ?, message = ? WHERE id = ?", (code, message, task_id)
        )

    def store_callback_state(self, task_id: str, state: CallbackState) -> None:
        self._connection.execute("UPDATE task SET callback = ? WHERE id = ?", (state, task_id))

    def remove_finished(self, older_than_s: float) -> None:
        self._connection.execute(
            "DELETE FROM task WHERE state != 'open' AND callback != 'due' AND created_at < ?",
            (time.time() - older_than_s,),
        )

    def _one(self, statement: str, *values: Any) -> tuple[Any, ...]:
        return tuple(self._connection.execute(statement, values).fetchone())


def _task(row: sqlite3.Row) -> Task:
    return Task(
        id=row["id"],
        request=CreateRequest(
            row["audio_url"],
            Mode(row["mode"]),
            row["stem_name"],
            row["callback_url"],
            FileFormat(row["file_format"]) if row["file_format"] else None,
            row["max_file_bytes"],
        ),
        state=TaskState(row["state"]),
        callback=CallbackState(row["callback"]),
        code=row["code"],
        message=row["message"],
        stems=tuple(PublishedStem(**stem) for stem in json.loads(row["stems"])),
        starts=row["starts"],
    )
