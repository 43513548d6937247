"""The keys of subjects, in a file of their own: no copy of a journal has them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Collection
from contextlib import suppress
from pathlib import Path

import attrs

from genai_pipeline.errors import ConfigurationError
from genai_pipeline.journals._connection import Connect, Connection
from genai_pipeline.journals._fork import keep_forever

__all__ = ["KeyRing"]

_APPLICATION = 0x67706B72  # "gpkr"


@attrs.define(eq=False, kw_only=True)
class KeyRing:
    """
    Wrapped keys by owner; what is dropped is overwritten.

    Keys are added together, and durable after `flush`.
    """

    path: Path
    connect: Connect
    make: Callable[[Path], None]
    """Makes a file for this user alone, if there is none."""

    _connection: Connection | None = attrs.field(default=None, init=False)

    def open(self, *, existing: bool) -> Connection:
        """Open the file; raises `ConfigurationError` when it has to be *existing* and is not."""
        if self._connection is None:
            connection = self._connected(existing=existing)
            try:
                if not existing:
                    _begin(connection)
                _prepare(connection)
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        return self._connection

    def _connected(self, *, existing: bool) -> Connection:
        if not existing:
            self.make(self.path)
        try:
            connection = self.connect(self.path)
            application = connection.execute("PRAGMA application_id").fetchone()[0]
        except sqlite3.OperationalError:
            if self.path.exists():
                raise
            application, connection = 0, None
        if application == _APPLICATION or (not application and not existing):
            assert connection is not None
            return connection
        if connection is not None:
            connection.close()
        if application:
            raise ConfigurationError(f"Sqlite: the file {self.path} is another program's; move it")
        with suppress(OSError):
            if not self.path.stat().st_size:  # made by looking for it
                self.path.unlink()
        raise ConfigurationError(
            f"Sqlite: the file {self.path}, which has the keys of subjects, is missing; put it "
            "back beside the journal: without it, what is kept of them cannot be read"
        )

    def get(self, owner: int) -> bytes | None:
        """Answer the wrapped key of *owner*; `None` when there is none."""
        connection = self.open(existing=True)
        row = connection.execute("SELECT wrapped FROM key WHERE owner = ?", (owner,)).fetchone()
        return None if row is None else row[0]

    def add(self, owner: int, wrapped: bytes) -> None:
        """Keep a key."""
        connection = self.open(existing=False)
        if not connection.in_transaction:
            connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO key (owner, wrapped) VALUES (?, ?)", (owner, wrapped))

    def flush(self) -> None:
        """Make durable what was added."""
        if self._connection is not None and self._connection.in_transaction:
            self._connection.execute("COMMIT")

    def retain(self, owners: Collection[int]) -> None:
        """Drop the keys of all but *owners*, so that nothing of them is left in the file."""
        connection = self.open(existing=True)
        self.flush()
        known = [row[0] for row in connection.execute("SELECT owner FROM key").fetchall()]
        dropped = [(owner,) for owner in known if owner not in owners]
        if dropped:
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany("DELETE FROM key WHERE owner = ?", dropped)
            connection.execute("COMMIT")
            connection.execute("VACUUM")

    def close(self) -> None:
        """Let go of the file; what was not made durable is dropped."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            connection.close()

    def poison(self) -> None:
        """Never touch the file again: it is the parent's."""
        if self._connection is not None:
            keep_forever(self._connection)


def _prepare(connection: Connection) -> None:
    for pragma in (
        "locking_mode = EXCLUSIVE",
        "journal_mode = DELETE",
        "synchronous = EXTRA",
        "fullfsync = 1",
        "secure_delete = ON",
        "trusted_schema = 0",
    ):
        connection.execute(f"PRAGMA {pragma}").fetchall()


def _begin(connection: Connection) -> None:
    if connection.execute("PRAGMA application_id").fetchone()[0]:
        return
    _prepare(connection)
    connection.execute("BEGIN IMMEDIATE")
    connection.execute("CREATE TABLE key (owner INTEGER PRIMARY KEY, wrapped BLOB NOT NULL) STRICT")
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.execute("PRAGMA user_version = 1")
    connection.execute("COMMIT")
