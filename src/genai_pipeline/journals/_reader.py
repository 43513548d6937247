"""`SqliteReader`: looks into a journal file that nobody has, and leaves it as it is."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anyio
import anyio.to_thread
import attrs

from genai_pipeline._journal import ItemState
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import ConfigurationError, StorageFailed
from genai_pipeline.journals import _sql_records as records
from genai_pipeline.journals._codec import Codec
from genai_pipeline.journals._connection import Connection
from genai_pipeline.journals._encryption import Encryption, is_codec, make_vault
from genai_pipeline.journals._faults import storage_errors
from genai_pipeline.journals._mark import loss_of
from genai_pipeline.journals._operation import Kind
from genai_pipeline.journals._owner import OwnerLock, this_process
from genai_pipeline.journals._schema import VERSION, version_of
from genai_pipeline.journals._sqlite_keeper import SqliteKeeper
from genai_pipeline.journals._tables import Tables
from genai_pipeline.journals._vault import KEY_ID, Locked, Vault

__all__ = ["SqliteReader"]

_NO_SHARED_MEMORY = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY)

_LEFT_BEHIND: Mapping[str, Mapping[str, str]] = {
    "run": {"state": "iif(state = 'running', 'died', state)"},
    "item": {"state": "iif(state = 'claimed', 'ready', state)"},
    "call": {
        "state": "iif(state = 'inflight', 'unknown', state)",
        "charged": "iif(state = 'inflight', ifnull(hold, 0), charged)",
    },
    "budget": {"spent": "spent + reserved", "reserved": "0"},
}
"""What the next owner will make of a journal whose owner died; as in `take_over`."""


@attrs.define(eq=False)
class SqliteReader(SqliteKeeper):
    """
    Reads the journal in the file *path* and changes nothing in it; entered with ``async with``.

    ::

        async with gp.journals.SqliteReader("run.db") as journal:
            print(await journal.costs(("model",)))

    While it is entered, nobody else can enter the journal; where its folder cannot be written, as
    on a read-only disk, nothing is written, and what changes meanwhile is noticed. After a crash
    it tells what the next run will find: the run has died, its records are ready, its calls under
    way are unknown.

    Raises `ConfigurationError` on entering when another process has the file, or it is no journal
    or a later version's; and when asked for a change. Raises `StorageFailed` when the file is
    damaged or cannot be read.
    """

    path: Path = attrs.field(converter=Path)
    codec: Encryption | Codec | None = attrs.field(default=None, kw_only=True, validator=is_codec)
    """
    What `Sqlite` has. Without its `Encryption`, an encrypted file can be checked, copied and
    counted, and what is encrypted is a `ConfigurationError`.
    """

    clock: Clock = attrs.field(factory=SystemClock, kw_only=True, repr=False)

    _tables: Tables | None = attrs.field(default=None, init=False, repr=False)
    _lock: OwnerLock = attrs.field(init=False, repr=False)
    _turn: anyio.Lock = attrs.field(factory=anyio.Lock, init=False, repr=False)
    _unlocked: tuple[tuple[int, int], ...] | None = attrs.field(
        default=None, init=False, repr=False
    )
    """How the files were when they were entered, if they could not be locked."""

    _remains: tuple[Path, ...] = attrs.field(default=(), init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.path = self.path.absolute()
        self._lock = OwnerLock(self._beside(".lock"))

    def _beside(self, suffix: str) -> Path:
        return self.path.with_name(self.path.name + suffix)

    async def __aenter__(self) -> Self:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._enter)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._leave)

    def _enter(self) -> None:
        if not self.path.is_file():
            raise ConfigurationError(
                f"SqliteReader: path={str(self.path)!r}: there is no such file"
            )
        with storage_errors(self.path):
            locked = self._lock.acquire_or_look(this_process(self.clock.wall()), self.path)
            self._unlocked = None if locked else self._look()
            try:
                self._require_readable()
                self._tables = self._opened()
            except BaseException:
                self._release()
                raise

    def _opened(self) -> Tables:
        connection = self._connection()
        try:
            return Tables(connection, self._vault(Tables(connection)))
        except BaseException:
            connection.close()
            raise

    def _vault(self, tables: Tables) -> Vault:
        """Answer what the file is read by; an encrypted one can be looked after without its key."""
        kept = dict(tables.all("SELECT name, value FROM meta WHERE name IN ('journal', ?)", KEY_ID))
        if KEY_ID in kept and not isinstance(self.codec, Encryption):
            return Locked(self.codec, kept[KEY_ID])
        vault = make_vault(self.codec, self.path, _only_read, lambda _: None)
        vault.enter(tables, kept.get("journal", ""), new=False)
        return vault

    def _connection(self) -> Connection:
        log = self._beside("-wal")
        # To read a log, SQLite needs a file of shared memory, which it would leave behind.
        is_logged = log.exists() and log.stat().st_size > 0
        how = "mode=ro" if is_logged else "immutable=1"
        self._remains = () if self._beside("-shm").exists() else (self._beside("-shm"),)
        connection: Connection = sqlite3.connect(
            f"{self.path.as_uri()}?{how}", uri=True, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA trusted_schema = 0").fetchall()
            self._require_this_version(connection)
            _show_left_behind(connection)
        except BaseException as error:
            connection.close()
            if is_logged and getattr(error, "sqlite_errorcode", 0) & 0xFF in _NO_SHARED_MEMORY:
                raise StorageFailed(
                    f"the journal {self.path} was left by a crash: to read its log, a file must "
                    f"be written beside it, and {self.path.parent} cannot be written; copy "
                    f"{self.path.name} and {log.name} to a folder that can, and ask there"
                ) from error
            raise
        return connection

    def _require_readable(self) -> None:
        # Once it is known that nobody has the journal: to close a file drops the locks that SQLite
        # has on it anywhere in this process.
        try:
            self.path.open("rb").close()
        except PermissionError as error:
            raise StorageFailed(f"the journal {self.path}: this user may not read it") from error

    def _require_this_version(self, connection: Connection) -> None:
        if version_of(connection, self.path) < VERSION:
            raise ConfigurationError(
                f"SqliteReader: path={str(self.path)!r} was written by an earlier version of this "
                "library, or holds no journal; run its pipeline once, which brings it forward"
            )

    def _look(self) -> tuple[tuple[int, int], ...]:
        """Answer what tells whether somebody wrote to the journal."""
        found = (path.stat() for path in (self.path, self._beside("-wal")) if path.exists())
        return tuple((each.st_size, each.st_mtime_ns) for each in found)

    def _require_unchanged(self) -> None:
        if self._unlocked is not None and self._look() != self._unlocked:
            raise StorageFailed(
                f"the journal {self.path} was changed while it was read, and could not be locked, "
                "since its folder cannot be written; ask again"
            )

    def _leave(self) -> None:
        if self._tables is not None:
            tables, self._tables = self._tables, None
            tables.vault.close()
            tables.connection.close()
            self._release()

    def _release(self) -> None:
        for path in self._remains:
            if path.exists():  # a read-only disk refuses even what would do nothing
                path.unlink(missing_ok=True)
        self._lock.release()

    async def _ask(self, act: Callable[[Tables], Any], kind: Kind = "write") -> Any:
        tables = self._tables
        if tables is None:
            raise ConfigurationError("SqliteReader: entered=False; use `async with`")
        if kind not in ("read", "alone"):
            raise self._refusal()

        def ask() -> Any:
            with storage_errors(self.path):
                if kind == "alone":  # a copy is of the file as it is
                    _hide_views(tables.connection)
                try:
                    answer = act(tables)
                    self._require_unchanged()
                    return answer
                finally:
                    if kind == "alone":
                        _show_left_behind(tables.connection)

        async with self._turn:
            return await anyio.to_thread.run_sync(ask)

    def _refusal(self) -> ConfigurationError:
        return ConfigurationError(
            f"SqliteReader: path={os.fspath(self.path)!r} is only read; enter Sqlite to change it"
        )

    async def vacuum(self) -> None:
        """Raise `ConfigurationError`: the file is only read."""
        raise self._refusal()

    async def check(self) -> Sequence[str]:
        """Answer what is wrong with the file, and what of it is missing that was durable."""
        loss = await self._ask(lambda tables: loss_of(tables, self.path), "read")
        return [*([loss] if loss else []), *await super().check()]

    async def counts(self, pipeline: str, /) -> Mapping[ItemState, int]:
        """Answer how many records are in which state."""
        found: dict[ItemState, int] = await self._ask(
            lambda tables: records.counts(tables, pipeline), "read"
        )
        return found

    async def pipelines(self) -> Sequence[str]:
        """Answer the names of all pipelines that ever ran, in order."""
        found: list[tuple[str]] = await self._ask(
            lambda tables: tables.all(
                "SELECT DISTINCT text FROM run JOIN word ON word.id = run.pipeline ORDER BY text"
            ),
            "read",
        )
        return [name for (name,) in found]


def _only_read(path: Path) -> Connection:
    # To write is what it takes to undo a commit of keys that was interrupted.
    mode = "rw" if os.access(path, os.W_OK) else "ro"
    connection: Connection = sqlite3.connect(
        f"{path.as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False
    )
    return connection


def _show_left_behind(connection: Connection) -> None:
    """Put views before the tables, when an owner left them in disorder."""
    if connection.execute("SELECT 1 FROM meta WHERE name = 'owner'").fetchone() is None:
        return
    connection.execute("PRAGMA temp_store = MEMORY").fetchall()
    for table, changes in _LEFT_BEHIND.items():
        names = [row[1] for row in connection.execute(f"PRAGMA table_info({table})").fetchall()]
        columns = ", ".join(
            f"{changes[name]} AS {name}" if name in changes else name for name in names
        )
        connection.execute(f"CREATE TEMP VIEW {table} AS SELECT {columns} FROM main.{table}")  # noqa: S608


def _hide_views(connection: Connection) -> None:
    for table in _LEFT_BEHIND:
        connection.execute(f"DROP VIEW IF EXISTS temp.{table}")
