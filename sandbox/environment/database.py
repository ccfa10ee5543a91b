"""The file in which a sandbox keeps its records for the next start: SQLite, one row of JSON for each record.

A process that is killed at any moment leaves the state after its last `write`.
"""

import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

# Increase it with every change of a record's form: a file with another number is refused.
FORMAT = 1
_FILE_NAME = "sandbox.sqlite3"
_LOCK_WAIT_S = 0.5


class DatabaseError(Exception):
    """The file cannot be used; the message is one sentence that says what to do."""


class Database:
    """JSON texts by kind and key, in the order in which they were first written.

    One process has it open at a time. Every method may raise `DatabaseError`.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / _FILE_NAME
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))  # it holds keys
        except OSError as error:
            raise DatabaseError(f"--data {folder} cannot be used: {error.strerror}") from error
        with self._explained():
            self._connection = sqlite3.connect(
                self.path, timeout=_LOCK_WAIT_S, isolation_level=None, check_same_thread=False
            )
        try:
            with self._explained():
                self._prepare()
        except DatabaseError:
            self._connection.close()
            raise

    def read(self, kind: str) -> list[tuple[str, str]]:
        """Return the key and the JSON text of every record of this kind."""
        with self._explained():
            found = self._connection.execute(
                "SELECT key, text FROM record WHERE kind = ? ORDER BY rowid", [kind]
            )
            return [(str(key), str(text)) for key, text in found]

    def write(self, records: Mapping[tuple[str, str], str | None]) -> None:
        """Write records by kind and key, all or none; a text of None removes the record."""
        with self._explained():
            self._connection.execute("BEGIN")
            for (kind, key), text in records.items():
                if text is None:
                    self._connection.execute("DELETE FROM record WHERE kind = ? AND key = ?", [kind, key])
                else:
                    self._connection.execute(
                        "INSERT INTO record VALUES (?, ?, ?) "
                        "ON CONFLICT (kind, key) DO UPDATE SET text = excluded.text",
                        [kind, key, text],
                    )
            self._connection.execute("COMMIT")

    def close(self) -> None:
        self._connection.close()

    def damaged(self, reason: object) -> DatabaseError:
        """Return the error for a record that cannot be read."""
        return DatabaseError(
            f"{self.path} is damaged ({reason}): name another folder with --data, or delete it"
        )

    def _prepare(self) -> None:
        run = self._connection.execute
        # The lock is held until the process ends. A write-ahead log needs no flush to disk to survive a kill.
        run("PRAGMA locking_mode = EXCLUSIVE")
        run("PRAGMA journal_mode = WAL")
        run("PRAGMA synchronous = NORMAL")
        run("BEGIN EXCLUSIVE")
        [version] = run("PRAGMA user_version").fetchone()
        [tables] = run("SELECT count(*) FROM sqlite_schema").fetchone()
        if not tables:
            run("CREATE TABLE record (kind TEXT, key TEXT, text TEXT, PRIMARY KEY (kind, key))")
            run(f"PRAGMA user_version = {FORMAT}")
        elif version != FORMAT:
            raise DatabaseError(
                f"{self.path} was written by another version of stemdrop: name another folder with --data, "
                "or delete it"
            )
        run("COMMIT")
        [state] = run("PRAGMA quick_check(1)").fetchone()
        if state != "ok":
            raise self.damaged(str(state).splitlines()[-1])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            if self._in_transaction():
                self._connection.execute("ROLLBACK")
            if "locked" in str(error):
                raise DatabaseError(f"--data {self.path.parent} is in use by another sandbox") from error
            if isinstance(error, sqlite3.OperationalError):
                raise DatabaseError(f"{self.path} cannot be used: {error}") from error
            raise self.damaged(error) from error

    def _in_transaction(self) -> bool:
        return hasattr(self, "_connection") and self._connection.in_transaction
