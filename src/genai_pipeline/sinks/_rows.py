"""The rows of one table of a SQLite file."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import attrs

from genai_pipeline._sqlite_errors import storage_errors
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.sinks._replacement import parent_of

__all__ = ["Rows"]


_OUR_OTHER_FILES = 0x6770  # "gp", which begins the application's number of journals and stores


@attrs.define(kw_only=True, eq=False)
class Rows:
    """A table that is opened and written to; each group of rows is one transaction."""

    path: Path
    table: str
    busy_timeout: float
    make_dirs: bool

    _connection: sqlite3.Connection | None = attrs.field(default=None, init=False)

    @property
    def name(self) -> str:
        """What errors call this."""
        return f"table {self.table} in {self.path}"

    def open(self) -> None:
        """Open the file, make the table if it is missing, and see that it can be written."""
        self.path = Path(os.path.realpath(self.path))
        parent_of(self.path, make_dirs=self.make_dirs)
        if self.path.is_dir():
            raise ConfigurationError(f"Table: path={str(self.path)!r} is a directory; give a file")
        with storage_errors(self.path):
            connection = sqlite3.connect(
                self.path,
                timeout=self.busy_timeout,
                isolation_level=None,
                check_same_thread=False,  # one thread at a time, but not always the same
            )
            try:
                self._prepare(connection)
            except BaseException:
                connection.close()
                raise
        self._connection = connection

    def write(self, rows: list[tuple[str, str]]) -> None:
        """Put all *rows* in, or none and raise."""
        connection = self._connection
        assert connection is not None, "write comes between open and close"
        with storage_errors(self.path):
            connection.execute("BEGIN IMMEDIATE")
            try:
                connection.executemany(
                    f"INSERT INTO {self.table} (key, value) VALUES (?, ?) "  # noqa: S608 - checked
                    "ON CONFLICT (key) DO UPDATE SET value = excluded.value "
                    "WHERE value IS NOT excluded.value",
                    rows,
                )
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
                raise

    def close(self, *, failed: bool) -> None:  # noqa: ARG002 - what was committed stays in any case
        """Close the file."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with storage_errors(self.path):
                connection.close()

    def _prepare(self, connection: sqlite3.Connection) -> None:
        application = connection.execute("PRAGMA application_id").fetchone()[0]
        if application >> 16 == _OUR_OTHER_FILES:
            raise ConfigurationError(
                f"Table: path={str(self.path)!r} is a journal or a store, which is no place for "
                "tables; give another file"
            )
        # EXTRA: without write-ahead log, FULL could lose the last commit to a power cut.
        connection.execute("PRAGMA synchronous = EXTRA")
        connection.execute("BEGIN IMMEDIATE")
        connection.execute(
            f"CREATE TABLE IF NOT EXISTS {self.table} "
            "(key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)"
        )
        columns = connection.execute(f"PRAGMA table_info({self.table})").fetchall()
        unlike = _unlike({name: primary for _, name, _, _, _, primary in columns})
        connection.execute("COMMIT" if unlike is None else "ROLLBACK")
        if unlike is not None:
            raise ConfigurationError(
                f"Table: table={self.table!r} in {self.path} {unlike}; give another table="
            )


def _unlike(columns: dict[str, int]) -> str | None:
    """Answer how a table differs from one that can be written."""
    if not {"key", "value"} <= columns.keys():
        return f"has the columns {', '.join(map(repr, columns))}, not 'key' and 'value'"
    if [name for name, primary in columns.items() if primary] != ["key"]:
        return "has another primary key than 'key' alone"
    return None
