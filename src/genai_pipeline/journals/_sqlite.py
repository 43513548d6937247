"""`Sqlite`: a journal in a file."""

from __future__ import annotations

import math
import os
import threading
from collections.abc import Callable, Collection, Coroutine, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import anyio
import anyio.to_thread
import attrs
from anyio.lowlevel import cancel_shielded_checkpoint, checkpoint, checkpoint_if_cancelled

from genai_pipeline._journal import (
    CallEnd,
    Claim,
    Finished,
    Group,
    Intent,
    ItemEnd,
    ItemState,
    RawAnswer,
    RunInfo,
    Settled,
)
from genai_pipeline._journal_tables import TableRows, TableSchema
from genai_pipeline._options import at_least, check, one_of
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import ConfigurationError, StorageFailed
from genai_pipeline.journals import _sql_calls as calls
from genai_pipeline.journals import _sql_groups as groups
from genai_pipeline.journals import _sql_records as records
from genai_pipeline.journals._ballast import Ballast
from genai_pipeline.journals._codec import Codec, encoded
from genai_pipeline.journals._connection import Connect, connect
from genai_pipeline.journals._desk import Desk, Desks
from genai_pipeline.journals._encryption import Encryption, is_codec
from genai_pipeline.journals._file import JournalFile
from genai_pipeline.journals._operation import Kind, Operation
from genai_pipeline.journals._sql_rows import open_table, size_of
from genai_pipeline.journals._sqlite_keeper import SqliteKeeper
from genai_pipeline.journals._tables import Tables
from genai_pipeline.journals._writer import InlineWriter, ThreadWriter, Writer

__all__ = ["Sqlite"]

_COMMIT_SECONDS = 60.0


def _to_path(path: str | os.PathLike[str]) -> Path:
    fine = isinstance(path, str | os.PathLike) and str(path) not in ("", ":memory:")
    check(fine, "Sqlite", "path", path, "the path of a file; for memory there is journals.Memory")
    return Path(path).absolute()


@attrs.define(eq=False)
class Sqlite(SqliteKeeper):
    """
    Keeps a journal in the SQLite file *path*, through ``kill -9`` and power cuts.

    ::

        pipeline = gp.Pipeline(..., journal=gp.Sqlite("run.db"))

    While it is entered, the file belongs to this process alone, and to one thread in it; a second
    process that enters it is told who has it. What is asked for at about the same time is one
    commit, which is on the disk (``synchronous=FULL``) before anybody is told. Event loops in
    several threads, and several pipelines, may share it; a process forked from this one may not.

    Beside the file lie ``-wal`` (SQLite's), ``.lock``, ``.status`` (see `read_status`) and
    ``.ballast``; all are readable by this user alone, and all but the status go when it is left.

    Raises `ConfigurationError` on entering when another process has the file, it is another
    program's or a later version's, or on a network file system; `StorageFailed` when the disk is
    full, read-only or failing or the file damaged. After a failed commit the file is opened anew
    and checked, and after a second failure nothing more is written. When the disk is full, new
    calls are refused, while answers on their way still land in the room that the ballast kept.
    """

    path: Path = attrs.field(converter=_to_path)
    """The file; made when it is first entered."""

    ballast: int = attrs.field(default=64 << 20, kw_only=True, validator=at_least(0))
    """Bytes of the disk kept free for answers that are on their way when it runs full."""

    checkpoint_bytes: int = attrs.field(default=8 << 20, kw_only=True, validator=at_least(64 << 10))
    """How large the log grows before it is written back to the file."""

    codec: Encryption | Codec | None = attrs.field(default=None, kw_only=True, validator=is_codec)
    """
    `Encryption` of all that is kept of records, or a codec that bodies of answers, groups and dead
    letters go through; `None`: as they are.
    """

    clock: Clock = attrs.field(factory=SystemClock, kw_only=True, repr=False)

    writer: Literal["thread", "inline"] = attrs.field(
        default="thread", kw_only=True, validator=one_of("thread", "inline")
    )
    """``inline`` does everything in the caller's thread at once: for tests in virtual time."""

    connect: Connect = attrs.field(default=connect, kw_only=True, repr=False)
    """How the file is opened; for tests on a disk that fails."""

    synchronous: Literal["FULL", "NORMAL"] = attrs.field(
        default="FULL", kw_only=True, repr=False, validator=one_of("FULL", "NORMAL")
    )
    """``NORMAL`` may lose the last commits in a power cut: to test tests with."""

    _file: JournalFile | None = attrs.field(default=None, init=False, repr=False)
    _writer: Writer | None = attrs.field(default=None, init=False, repr=False)
    _users: int = attrs.field(default=0, init=False, repr=False)
    _lock: threading.Lock = attrs.field(factory=threading.Lock, init=False, repr=False)
    _desks: Desks = attrs.field(factory=Desks, init=False, repr=False)

    async def __aenter__(self) -> Self:
        await self._call(self._enter)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        assert self._file is not None
        if not self._file.forked:  # else it is the parent's to leave, and its threads are not here
            await self._call(self._leave)

    async def _call(self, function: Callable[[], None]) -> None:
        if self.writer == "inline":
            function()
            await checkpoint_if_cancelled()
        else:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(function)

    def _enter(self) -> None:
        with self._lock:
            if self._users == 0:
                ballast = self.path.with_name(self.path.name + ".ballast")
                file = JournalFile(
                    path=self.path,
                    connect=self.connect,
                    clock=self.clock,
                    ballast=Ballast(ballast, self.ballast),
                    checkpoint_bytes=self.checkpoint_bytes,
                    synchronous=self.synchronous,
                    codec=self.codec,
                )
                writer = InlineWriter(file) if self.writer == "inline" else ThreadWriter(file)
                writer.start()
                self._file, self._writer = file, writer
            self._users += 1

    def _leave(self) -> None:
        with self._lock:
            self._users = max(0, self._users - 1)  # after a crash, those who were inside leave too
            if self._users == 0 and self._writer is not None:
                writer, self._writer, self._users = self._writer, None, 0
                writer.stop()
                self._desks = Desks()  # the event loops can go

    def crash(self) -> None:
        """Let go of the file as if the process had died: for tests of what a crash leaves."""
        with self._lock:
            if self._writer is not None:
                writer, self._writer, self._users = self._writer, None, 0
                writer.crash()

    async def _ask(
        self, act: Callable[[Tables], Any], kind: Kind = "write", *, size: int = 0
    ) -> Any:
        return await self._do(Operation(act, kind, size=size))

    async def _do(
        self, operation: Operation, undo: Callable[[Tables, Any], None] | None = None
    ) -> Any:
        """Have something done; cancelled, it is done or not, unless *undo* undoes it."""
        writer = self._usable()
        if isinstance(writer, InlineWriter):
            await checkpoint()
            writer.submit(operation)
            return operation.outcome()
        desk = operation.desk = self._desks.here()
        writer.submit(operation)
        try:
            await desk.wait(operation)
        except BaseException:
            if undo is not None:
                writer.submit(Operation(_undoing(operation, undo)))
            raise
        return operation.outcome()

    async def _do_surely(self, operation: Operation) -> Any:
        """Have something done also when cancelled, and answer what came of it."""
        writer = self._usable()
        if isinstance(writer, InlineWriter):
            await cancel_shielded_checkpoint()
            writer.submit(operation)
            return operation.outcome()
        desk = operation.desk = self._desks.here()
        writer.submit(operation)
        try:
            # A scope would cost more than all else here, and is seldom of use.
            await desk.wait(operation)
        except anyio.get_cancelled_exc_class():
            await self._wait_on(desk, operation)
            if anyio.current_effective_deadline() > -math.inf:
                raise  # it came from outside of anyio, which says it once
        return operation.outcome()

    async def _wait_on(self, desk: Desk, operation: Operation) -> None:
        if operation.told:
            return
        with anyio.move_on_after(_COMMIT_SECONDS, shield=True) as scope:
            await desk.wait(operation)
        if scope.cancelled_caught:
            raise StorageFailed(
                f"the journal {self.path} did not answer for {_COMMIT_SECONDS:g} s; look at its "
                "disk, and run again"
            )

    def _usable(self) -> Writer:
        if self._file is not None and self._file.forked:
            raise StorageFailed(
                f"the journal {self.path} was opened before this process was forked, and is its "
                "parent's; open another journal here, or start processes by spawn"
            )
        if self._writer is None:
            raise ConfigurationError(
                "Sqlite: entered=False; give it to a pipeline, or use `async with`"
            )
        return self._writer

    async def begin_run(self, run: RunInfo, /) -> int:
        """Note that a run begins; answer its number, 1 or more."""
        number: int = await self._ask(lambda tables: records.begin_run(tables, run))
        return number

    async def end_run(self, run: int, state: str, at: float, counts: Mapping[str, int], /) -> None:
        """Note that it ended: ``ended``, ``stopped`` or ``failed``."""
        await self._do_surely(
            Operation(lambda tables: records.end_run(tables, run, state, at, counts))
        )

    async def finished(self, pipeline: str, fingerprint: str, /) -> Finished:
        """Answer the keys of records that need not be looked at again."""
        found: Finished = await self._ask(
            lambda tables: records.finished(tables, pipeline, fingerprint), "read"
        )
        return found

    # The four that every record asks for answer what is to be awaited, instead of awaiting it:
    # one coroutine less for each commit.

    def claim(
        self, run: int, key: str, /, *, subject: str | None = None
    ) -> Coroutine[Any, Any, Claim]:
        """Take up the record *key* for *run*; it is admitted if need be."""
        asked = (run, key, subject)
        return self._do(
            Operation(None, "intent", "records.claimed", bulk=records.claims, given=asked),
            _unclaim,
        )

    async def freeze_group(
        self,
        run: int,
        stage: str,
        members: Sequence[bytes],
        body: bytes,
        /,
        *,
        items: Collection[bytes] = (),
    ) -> Group:
        """Keep a new group with its *members* and *body*."""
        del stage
        group: Group = await self._ask(
            lambda tables: groups.freeze(tables, run, members, body, items), size=len(body)
        )
        return group

    async def group_of(self, run: int, member: bytes, /) -> Group | None:
        """Answer the group that *member* belongs to, if any."""
        found: Group | None = await self._ask(lambda tables: groups.group_of(tables, run, member))
        return found

    def begin_call(self, intent: Intent, /) -> Coroutine[Any, Any, int]:
        """Note the intent of a call and hold its money in every budget, or in none."""
        return self._do(
            Operation(None, "intent", "calls.inflight", bulk=calls.begin_calls, given=intent),
            calls.void,
        )

    def end_call(self, call: int, end: CallEnd, /) -> Coroutine[Any, Any, Settled]:
        """Note how a call ended, keep its answer, and settle its hold; once."""
        body = None
        if end.answer is not None:
            body = self._encoded(end.answer.body, f"answer {call}")
        return self._do_surely(
            Operation(
                None,
                tally=f"calls.{end.state}",
                size=0 if body is None else len(body[0]),
                bulk=calls.end_calls,
                given=calls.EndedCall(call, end, body),
            )
        )

    async def answer(self, call: int, /) -> RawAnswer:
        """Answer what is kept of an answered call, ``replayed``; checked against its digest."""
        found: RawAnswer = await self._ask(lambda tables: calls.answer(tables, call), "read")
        return found

    async def open_table(self, table: TableSchema, /) -> None:
        """Make *table*, whose rows come with the ends of records, if it is missing."""
        await self._ask(lambda tables: open_table(tables, table))

    def end_item(
        self, item: bytes, end: ItemEnd, /, *, rows: Sequence[TableRows] = ()
    ) -> Coroutine[Any, Any, None]:
        """Note how the carrying of a record ended, and its *rows*; an end it has stays."""
        letter = None
        if end.letter is not None:
            letter = self._encoded(end.letter, f"letter {item.hex()}")
        return self._do_surely(
            Operation(
                None,
                tally=f"records.{end.state}",
                size=(0 if letter is None else len(letter[0])) + (size_of(rows) if rows else 0),
                bulk=records.end_items,
                given=records.EndedItem(item, end, letter, rows),
            )
        )

    def _encoded(self, body: bytes, place: str) -> tuple[bytes, str | None]:
        """Answer *body* as the codec makes it; what is encrypted is so where its owner is known."""
        codec = None if isinstance(self.codec, Encryption) else self.codec
        return encoded(codec, body, place)

    async def counts(self, pipeline: str, /) -> Mapping[ItemState, int]:
        """Answer how many records are in which state."""
        found: dict[ItemState, int] = await self._ask(
            lambda tables: records.counts(tables, pipeline), "read"
        )
        return found

    async def past_calls(self, keys: Sequence[str], pipeline: str, /) -> Mapping[str, Claim]:
        """Answer what is known of records, by key, without taking them up."""
        found: dict[str, Claim] = await self._ask(
            lambda tables: records.past_calls(tables, keys, pipeline), "read"
        )
        return found


def _unclaim(tables: Tables, claimed: Claim) -> None:
    if claimed.state == "claimed":
        records.unclaim(tables, claimed.item)


def _undoing(operation: Operation, undo: Callable[[Tables, Any], None]) -> Callable[[Tables], None]:
    # Operations are done in order: by then it is known what became of the other.
    def act(tables: Tables) -> None:
        if operation.error is None:
            undo(tables, operation.result)

    return act
