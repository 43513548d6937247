"""`Sqlite`: values in a file."""

from __future__ import annotations

import copy
import json
import math
import os
import sqlite3
import threading
from collections import deque
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import anyio.to_thread
import attrs
from anyio.lowlevel import RunVar

from genai_pipeline._canonical import json_copy
from genai_pipeline._options import at_least, check, positive
from genai_pipeline._sqlite_errors import storage_errors
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.stores._sqlite_batch import Delete, Get, Operation, Put, carry_out
from genai_pipeline.stores._sqlite_file import connected, made

__all__ = ["Sqlite"]

P = TypeVar("P", bound=Operation)


def _to_path(path: str | os.PathLike[str]) -> Path:
    fine = isinstance(path, str | os.PathLike) and str(path) not in ("", ":memory:")
    check(fine, "Sqlite", "path", path, "the path of a file; for memory there is stores.Memory")
    return Path(path)


@attrs.define
class _Desk:
    """What waits to be done, on one event loop."""

    lock: anyio.Lock = attrs.field(factory=lambda: anyio.Lock(fast_acquire=True))
    waiting: deque[Operation] = attrs.field(factory=deque)

    def take(self) -> list[Operation]:
        """Take all that waits; from any thread."""
        taken: list[Operation] = []
        with suppress(IndexError):  # while we look, there may come more
            while True:
                taken.append(self.waiting.popleft())
        return taken


@attrs.define(eq=False, on_setattr=attrs.setters.NO_OP)
class Sqlite:
    """
    Keeps values in the SQLite file *path*, for this process, others and later ones.

    Values are what JSON can hold (tuples come back as lists). Beyond *max_entries* or *max_bytes*
    the expired ones go, then those put longest ago; a value larger than *max_bytes* alone is not
    kept. The file is made when first needed, readable by its owner alone.

    What a `put` has returned from survives a crash of the process (``kill -9``); a power cut
    may take the last few, but leaves the file whole. Changes asked for at about the same time
    are one transaction. One worker thread at a time uses the connection, so nothing blocks the
    event loop, and several event loops and threads may share a store. A change whose call is
    cancelled may come to be or not.

    ``async with`` keeps the connection open; `Cache` and pipelines do that. Without, each call
    opens and closes it.

    Raises `ConfigurationError` for a value that JSON cannot hold and for a file that is another
    program's or a later version's; `StorageFailed` when the disk is full, read-only or failing
    or the file is damaged (it is left as it is); `Transient` when another process holds the
    file for longer than *busy_timeout*. SQLite does not work on network file systems.
    """

    path: Path = attrs.field(converter=_to_path)
    """The file; SQLite puts two more beside it, ending in ``-wal`` and ``-shm``."""

    max_entries: int = attrs.field(default=1_000_000, kw_only=True, validator=at_least(1))
    """The most entries kept; an expired one counts until room is needed."""

    max_bytes: int = attrs.field(default=1_000_000_000, kw_only=True, validator=at_least(1))
    """The most bytes of keys and values kept; the file is somewhat larger."""

    busy_timeout: float = attrs.field(default=5.0, kw_only=True, validator=positive)
    """The longest to wait for other processes, in seconds."""

    clock: Clock = attrs.field(factory=SystemClock, kw_only=True, repr=False)

    _connection: sqlite3.Connection | None = attrs.field(default=None, init=False, repr=False)
    _users: int = attrs.field(default=0, init=False, repr=False)
    _lock: Any = attrs.field(factory=threading.RLock, init=False, repr=False)
    _desk: RunVar[_Desk] = attrs.field(
        factory=lambda: RunVar("genai_pipeline_sqlite"), init=False, repr=False
    )

    async def get(self, key: str, /) -> Any | None:
        """Answer the value of *key*, or `None` when there is none or it has expired."""
        get = await self._ask(Get(_encoded(key), self.clock.wall()))
        return None if get.text is None else json.loads(get.text)

    async def put(self, key: str, value: Any, /, *, ttl: float | None = None) -> None:
        """
        Keep *value* under *key*, replacing any other, for *ttl* seconds (`None`: no end).

        Raises `ConfigurationError` unless *ttl* is above zero and JSON can hold the value.
        """
        check(ttl is None or ttl > 0, self, "ttl", ttl, "seconds above 0, or None")
        text = json.dumps(json_copy(value, where="Sqlite: the value"), separators=(",", ":"))
        now, name = self.clock.wall(), _encoded(key)
        expiry = None if ttl is None or math.isinf(ttl) else now + ttl
        await self._ask(Put(name, now, text, expiry, len(name) + len(text)))

    async def delete(self, key: str, /) -> None:
        """Forget *key*; unknown keys are no error."""
        await self._ask(Delete(_encoded(key), self.clock.wall()))

    async def __aenter__(self) -> Self:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._enter)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with anyio.CancelScope(shield=True):
            await anyio.to_thread.run_sync(self._leave)

    async def _ask(self, operation: P) -> P:
        """Have *operation* done, together with all that is asked for meanwhile."""
        desk = self._here()
        desk.waiting.append(operation)
        try:
            while not operation.done:
                async with desk.lock:
                    if not operation.done:
                        await anyio.to_thread.run_sync(
                            self._carry_out, desk, abandon_on_cancel=True
                        )
        finally:
            with suppress(ValueError):
                desk.waiting.remove(operation)  # cancelled before its turn
        if operation.error is not None:
            raise operation.error
        return operation

    # In a worker thread.

    def _carry_out(self, desk: _Desk) -> None:
        """
        Do what waits at *desk*; each operation learns how it went, whoever waits for it.

        It is taken here: a call that is cancelled may never get its thread.
        """
        with self._lock:
            batch = desk.take()
            try:
                self._attempt(batch)
            except Exception as error:  # noqa: BLE001 - raised to each who asked
                for operation in batch:
                    operation.error = _fresh(error)
            finally:
                for operation in batch:
                    operation.done = True

    def _attempt(self, batch: list[Operation]) -> None:
        if not batch:  # another thread did it, for a call that was cancelled meanwhile
            return
        with storage_errors(self.path):
            connection = self._opened()
            try:
                carry_out(connection, batch, max_entries=self.max_entries, max_bytes=self.max_bytes)
            finally:
                self._close_if_unused()

    def _enter(self) -> None:
        with self._lock, storage_errors(self.path):
            self._opened()
            self._users += 1

    def _leave(self) -> None:
        with self._lock, storage_errors(self.path):
            self._users -= 1
            self._close_if_unused()

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            made(self.path)
            self._connection = connected(self.path, busy_timeout=self.busy_timeout)
        return self._connection

    def _close_if_unused(self) -> None:
        if not self._users and self._connection is not None:
            connection, self._connection = self._connection, None
            connection.close()

    def _here(self) -> _Desk:
        try:
            return self._desk.get()
        except LookupError:
            desk = _Desk()
            self._desk.set(desk)
            return desk


def _fresh(error: Exception) -> Exception:
    """Answer a copy, since each raise writes to the object raised."""
    twin = copy.copy(error)
    twin.__cause__ = error.__cause__
    return twin


def _encoded(key: str) -> bytes:
    return key.encode("utf-8", "surrogatepass")
