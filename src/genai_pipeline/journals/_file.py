"""The file of a journal in use: whole batches of operations, and what to do when one fails."""

from __future__ import annotations

import os
import sqlite3
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import attrs

from genai_pipeline._journal import Settled
from genai_pipeline._journal_admin import Erased
from genai_pipeline.clock import Clock
from genai_pipeline.errors import ConfigurationError, StorageFailed
from genai_pipeline.journals._ballast import Ballast
from genai_pipeline.journals._batch import commit_together, do
from genai_pipeline.journals._bulk import prepare_bulk
from genai_pipeline.journals._codec import Codec
from genai_pipeline.journals._connection import Connect, Connection, prepare
from genai_pipeline.journals._encryption import Encryption, make_vault
from genai_pipeline.journals._erase import finish
from genai_pipeline.journals._faults import is_full, storage_errors, translated
from genai_pipeline.journals._filesystem import refuse_network
from genai_pipeline.journals._fork import keep_forever, watch
from genai_pipeline.journals._mark import Mark, loss_of, mark_path
from genai_pipeline.journals._operation import Operation
from genai_pipeline.journals._owner import OwnerLock, this_process
from genai_pipeline.journals._recovery import Owner, commits, leave, take_over
from genai_pipeline.journals._schema import migrate
from genai_pipeline.journals._status import (
    JournalStatus,
    Waits,
    status_path,
    write_status,
)
from genai_pipeline.journals._tables import Tables
from genai_pipeline.journals._vault import Vault

__all__ = ["JournalFile"]

_SECOND = 1.0
_PAGE = 4096
_LOOKS = 16
"""So often it is looked, at least, how full the log is, while it is filled."""


@attrs.define(eq=False, kw_only=True)
class JournalFile:
    """
    One connection and all that stands around it; for one thread at a time.

    Of a batch, each operation succeeds or fails by itself, and what succeeds is durable when
    `carry_out` returns. When SQLite or the disk fails, the batch fails as a whole, the file is
    opened anew and checked, and after a second failure in a row nothing more is done.
    """

    path: Path
    connect: Connect
    clock: Clock
    ballast: Ballast
    checkpoint_bytes: int
    synchronous: str = "FULL"
    codec: Encryption | Codec | None = None

    _log: Path = attrs.field(
        init=False, default=attrs.Factory(lambda self: Path(f"{self.path}-wal"), takes_self=True)
    )
    mark: Mark = attrs.field(
        init=False, default=attrs.Factory(lambda self: Mark(mark_path(self.path)), takes_self=True)
    )
    lock: OwnerLock = attrs.field(init=False)
    vault: Vault = attrs.field(init=False)
    tables: Tables = attrs.field(init=False)
    owner: Owner = attrs.field(init=False)
    name: str = attrs.field(default="", init=False)
    committed: int = attrs.field(default=0, init=False)
    full: bool = attrs.field(default=False, init=False)
    failures: int = attrs.field(default=0, init=False)
    stopped: StorageFailed | None = attrs.field(default=None, init=False)
    forked: bool = attrs.field(default=False, init=False)
    counts: Counter[str] = attrs.field(factory=Counter, init=False)
    charged: int = attrs.field(default=0, init=False)
    budgets: dict[str, tuple[int, int, int]] = attrs.field(factory=dict, init=False)
    waits: dict[str, str] = attrs.field(factory=dict, init=False)
    _full_at: int = attrs.field(default=0, init=False)
    """The size of a log that was written back, and begins anew at its beginning."""

    _unseen: int = attrs.field(default=0, init=False)
    """About how many bytes were written since the size of the log was looked at."""

    _told: float = attrs.field(default=float("-inf"), init=False)
    _tried: float = attrs.field(default=float("-inf"), init=False)

    def open(self) -> None:
        """Take the journal for this process, and put in order what an earlier owner left."""
        refuse_network(self.path)
        self.owner = this_process(self.clock.wall())
        self.lock = OwnerLock(self.path.with_name(self.path.name + ".lock"))
        with storage_errors(self.path):
            self.lock.acquire(self.owner, self.path)
            try:
                self._open()
            except BaseException:
                self.ballast.drop()
                self.lock.release()
                raise
        self._tell("open")

    def _open(self) -> None:
        # Made before SQLite opens it: it is for this user alone, and to close a descriptor of it
        # later would drop SQLite's lock.
        _make(self.path)
        if self.path.stat().st_size == 0:  # a new journal; what was said was of another one
            status_path(self.path).unlink(missing_ok=True)
            mark_path(self.path).unlink(missing_ok=True)
        self.ballast.require()
        self.vault = make_vault(self.codec, self.path, self.connect, _make)
        self.tables = Tables(self._connection(), self.vault)
        try:
            self._take_over()
        except BaseException:
            self.mark.drop()
            self.vault.close()
            self.tables.connection.close()
            raise
        watch(self)

    def _connection(self) -> Connection:
        connection = self.connect(self.path)
        try:
            prepare(connection, synchronous=self.synchronous)
            migrate(connection, self.path)
            prepare_bulk(connection)
        except BaseException:
            connection.close()
            raise
        return connection

    def _take_over(self) -> None:
        found = commits(self.tables)
        loss = loss_of(self.tables, self.path)
        if loss is not None:
            raise StorageFailed(loss)
        self.name = take_over(self.tables, self.owner)
        self.committed = found + 1
        self.tables.commit(self.committed)
        self.mark.open(self.name)
        self.mark.tell(self.committed)
        self.tables.remember()
        self._finish_erasing()

    def _finish_erasing(self) -> None:
        try:
            finish(self.tables, self._commit_written)
        except sqlite3.Error as error:
            if not is_full(error):
                raise
            self.tables.roll_back()  # there is room for the runs, and the next owner tries again
            self.committed = commits(self.tables)

    def _commit_written(self) -> None:
        self.tables.commit(self.committed + 1)
        self.committed += 1
        self.mark.tell(self.committed)

    def carry_out(self, batch: Sequence[Operation]) -> None:
        """Do all of *batch*, each alone, and make it durable together."""
        self._carry_out(batch)
        self._count(batch)

    def tidy(self) -> None:
        """Write the log back if it is full, and tell the status; what was done is durable."""
        if self.stopped is None:
            try:
                self._checkpoint()
            except sqlite3.Error as error:
                self._mend([], error)
        self._tell("stopped" if self.stopped else "open", at_most_each=_SECOND)

    def _carry_out(self, batch: Sequence[Operation]) -> None:
        if self.stopped is not None:
            _fail(batch, self.stopped)
            return
        batch = self._admitted(batch)
        try:
            self._commit(batch)
        except (sqlite3.Error, StorageFailed) as error:
            self._mend(batch, error)
        except BaseException as error:
            self._stop(batch, error)
            raise

    def _admitted(self, batch: Sequence[Operation]) -> Sequence[Operation]:
        """Answer *batch* without what is refused while the disk is full."""
        if not self.full or not any(operation.kind == "intent" for operation in batch):
            return batch
        if self.clock.now() >= self._tried + _SECOND:
            self._tried = self.clock.now()
            self.full = not self.ballast.take()
        if not self.full:
            return batch
        self._refuse(batch)
        return [operation for operation in batch if operation.kind != "intent"]

    def _refuse(self, batch: Sequence[Operation]) -> None:
        told = StorageFailed(
            f"the disk of the journal {self.path} is full: no new call is made, while answers on "
            "their way are still kept; free some space, and run again"
        )
        _fail([operation for operation in batch if operation.kind == "intent"], told)

    def _commit(self, batch: Sequence[Operation]) -> None:
        together = [operation for operation in batch if operation.kind != "alone"]
        if all(operation.kind == "read" for operation in together):
            for operation in batch:
                do(self.tables, operation, self.path)
            return
        commit_together(self.tables, together, self.committed + 1, self.path)
        self.committed, self.failures = self.committed + 1, 0
        self._unseen += sum([_PAGE + operation.size for operation in together])
        self.mark.tell(self.committed)
        for operation in batch:
            if operation.kind == "alone":
                do(self.tables, operation, self.path)

    def _mend(self, batch: Sequence[Operation], error: Exception) -> None:
        """Decide, after a failure, by reading a file opened anew whether *batch* is in it."""
        expected = self.committed + 1
        full = is_full(error)
        if full:
            self.ballast.drop()
            self.full, self._tried = True, self.clock.now()
        try:
            self.failures += not full
            if self.failures > 1:
                raise error
            self._reopen()
            landed = self.committed == expected
            if full and not landed:
                # Not the same commit once more: it is known not to have been made.
                self._refuse(batch)
                self._commit([each for each in batch if each.kind != "intent"])
            elif not landed:
                _fail(batch, translated(error, self.path))
        except (sqlite3.Error, OSError, StorageFailed, ConfigurationError) as second:
            self._stop(batch, second)

    def _reopen(self) -> None:
        self._close_connection()
        self.vault.reopen()
        self.tables = Tables(self._connection(), self.vault)
        connection = self.tables.connection
        # What a failed sync left in memory only must reach the disk before it is believed.
        if not self.full and not self._write_back("TRUNCATE"):
            raise StorageFailed(f"the log of {self.path} cannot be written back")
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise StorageFailed(f"the journal {self.path} is damaged: {found}")
        self.committed = commits(self.tables)
        if not self.full:
            self.mark.tell(self.committed)
        self.tables.remember()

    def give_up(self, batch: Sequence[Operation], error: BaseException) -> None:
        """Do nothing more, since *error* came out of what was to be done."""
        if self.stopped is None:
            self._stop(batch, error)
        else:
            _fail(batch, self.stopped)

    def _stop(self, batch: Sequence[Operation], error: BaseException) -> None:
        self.stopped = StorageFailed(f"{translated(error, self.path)} (nothing more is written)")
        self._close_connection()
        _fail(batch, self.stopped)

    def _close_connection(self) -> None:
        with suppress(sqlite3.Error):
            if self.tables.connection.in_transaction:
                self.tables.connection.execute("ROLLBACK")
        with suppress(sqlite3.Error):
            self.tables.connection.close()

    def _checkpoint(self) -> None:
        # To look gives the interpreter away, and the thread then waits for it.
        if self._unseen * _LOOKS < self.checkpoint_bytes:
            return
        self._unseen = 0
        try:
            size = self._log.stat().st_size
        except FileNotFoundError:
            return
        if size <= max(self.checkpoint_bytes, self._full_at):
            return
        # A log that was written back keeps its size and is filled anew, which is quicker than
        # to let it grow; it is full when it grows on. It is cut at times, lest it grow for ever.
        cut = size > 2 * self.checkpoint_bytes
        self._write_back("TRUNCATE" if cut else "PASSIVE")
        self._full_at = 0 if cut else size

    def _write_back(self, how: str) -> bool:
        row = self.tables.connection.execute(f"PRAGMA wal_checkpoint({how})").fetchone()
        return not row[0]

    def rest(self) -> None:
        """Write the log back while nobody asks for anything."""
        if self.stopped is None:
            try:
                self._write_back("TRUNCATE")
                self._full_at = 0
            except sqlite3.Error as error:
                self._mend([], error)
        self._tell("stopped" if self.stopped else "open", at_most_each=_SECOND)

    def close(self) -> None:
        """Leave in order."""
        state = "stopped"
        if self.stopped is None:
            operation = Operation(leave)
            self._carry_out([operation])
            state = "closed" if operation.error is None else "stopped"
            self._close_connection()
        self._tell(state)
        if state == "closed":
            self.mark.remove()
        self.mark.drop()
        self.vault.close()
        self.ballast.drop()
        self.lock.release()

    def crash(self) -> None:
        """Let go of the file as if the process had died: for tests of what a crash leaves."""
        self.stopped = StorageFailed(f"the journal {self.path} has crashed")
        self._close_connection()
        self.mark.drop()
        self.vault.close()
        self.lock.drop()

    def poison(self) -> None:
        """Touch nothing of the parent's from now on: this process was forked from it."""
        self.forked = True
        keep_forever(self.tables.connection)
        self.vault.poison()
        self.mark.drop()
        self.lock.drop()

    def _count(self, batch: Sequence[Operation]) -> None:
        for operation in batch:
            if operation.error is not None:
                continue
            if operation.tally is not None:
                self.counts[operation.tally] += 1
            result = operation.result
            if isinstance(result, Settled):
                self.charged += result.charged
                if result.spent:
                    self.budgets.update(result.spent)
            elif isinstance(result, Waits):
                self.waits.pop(str(result.run), None)
                if result.what is not None:
                    self.waits[str(result.run)] = result.what
                self._told = float("-inf")
            elif isinstance(result, Erased):
                self.budgets.clear()  # some may be named by whose they were
                self._told = float("-inf")

    def _tell(self, state: str, *, at_most_each: float = 0.0) -> None:
        now = self.clock.now()
        if now < self._told + at_most_each:
            return
        self._told = now
        write_status(
            self.path,
            JournalStatus(
                journal=self.name,
                owner=self.owner,
                state=state,  # type: ignore[arg-type]
                at=self.clock.wall(),
                commits=self.committed,
                full=self.full,
                waits=dict(self.waits) if state == "open" else {},
                counts=dict(self.counts),
                charged=self.charged,
                budgets={self.vault.shown(name): use for name, use in self.budgets.items()},
            ),
        )


def _make(path: Path) -> None:
    """Make a file for this user alone, unless it is there."""
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))


def _fail(batch: Sequence[Operation], error: StorageFailed) -> None:
    for operation in batch:
        # To each his own, since each raise writes to the object raised.
        operation.error = StorageFailed(str(error))
        operation.error.__cause__ = error.__cause__
