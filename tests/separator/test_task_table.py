"""The task table: what another version has stored."""

import sqlite3
from pathlib import Path

from separator.audio.formats import FileFormat
from separator.modes import Mode
from separator.task_table import CreateRequest, TaskTable

_OF_THE_FIRST_VERSION = """
CREATE TABLE task (
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
INSERT INTO task (id, audio_url, mode, callback_url, created_at)
VALUES ('old', 'http://a.example/song.mp3', 'split_stem', 'http://a.example/callback', 0);
"""


def test_a_table_of_the_first_version_is_used_on(tmp_path: Path) -> None:
    file = tmp_path / "tasks.sqlite3"
    connection = sqlite3.connect(file)
    connection.executescript(_OF_THE_FIRST_VERSION)
    connection.close()
    wanted = CreateRequest(
        "http://a.example/new", Mode.SPLIT_STEM, None, "http://a.example/c", FileFormat.FLAC, 7
    )
    table = TaskTable(file)
    new = table.create(wanted, 0, 0, 10)
    table.close()
    table = TaskTable(file)
    old, found = table.unfinished()
    table.close()
    assert (old.id, old.request.file_format, old.request.max_file_bytes) == ("old", None, 0)
    assert (found.id, found.request) == (new.id, wanted)
