"""`Push`: records that other tasks put in, for events and web hooks."""

from __future__ import annotations

import logging
import secrets
from collections import deque
from collections.abc import AsyncGenerator, Callable, Mapping
from typing import Any, Generic, TypeVar

import anyio
import anyio.lowlevel
import attrs

from genai_pipeline import _options
from genai_pipeline.errors import ConfigurationError, Rejected, Stopped
from genai_pipeline.records import Delivery
from genai_pipeline.sources._keys import a_function, keyed
from genai_pipeline.sources._receipt import Receipt

__all__ = ["Push"]

A = TypeVar("A")


@attrs.define(eq=False)
class _Entry(Generic[A]):
    """A record that waits to be read, or, before that, for room."""

    delivery: Delivery[A]
    receipt: Receipt
    admitted: anyio.Event | None = None
    turned_away: str | None = None


@attrs.define(eq=False, kw_only=True)
class Push(Generic[A]):
    """
    Hands on what is put into it, so that a web hook or an event handler can feed a pipeline.

    Any task of the event loop may `put`, also before the pipeline begins to read; from another
    thread go through ``anyio.from_thread.run(source.put, value)``. Records wait
    in memory, at most *capacity* of them, and a put waits while there is no room: what was put
    but not settled is lost when the process dies, so let a sender wait for the end of its
    record (`submit`) before it forgets it.

    One pipeline reads at a time. It ends when `close` was called and everything put was read.
    When it stops reading before that, what still waits is handed back with `Stopped`, and so is
    every put until something reads again.
    """

    capacity: int = attrs.field(default=1024, validator=_options.at_least(1))
    """How many records may wait to be read."""

    key: Callable[[A], str | int] | None = attrs.field(default=None, validator=a_function)
    """Answers the key of a value that is put without one."""

    prefix: str = attrs.field(
        factory=lambda: secrets.token_hex(4), validator=attrs.validators.instance_of(str)
    )
    """
    What the keys of records that have none begin with, before a counter; random by default.

    Such a key does not survive the process: give keys to records that may be put twice.
    """

    _queue: deque[_Entry[A]] = attrs.field(factory=deque, init=False, repr=False)
    _parked: deque[_Entry[A]] = attrs.field(factory=deque, init=False, repr=False)
    _reader: anyio.Event | None = attrs.field(default=None, init=False, repr=False)
    _reading: bool = attrs.field(default=False, init=False, repr=False)
    _ended: str | None = attrs.field(default=None, init=False, repr=False)
    _closed: bool = attrs.field(default=False, init=False, repr=False)
    _count: int = attrs.field(default=0, init=False, repr=False)

    def put_nowait(
        self,
        value: A,
        /,
        *,
        key: str | int | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Receipt:
        """
        Put *value* in at once, or raise `Rejected` when there is no room.

        Raises `Stopped` when the source is closed, or its reader has gone.
        """
        self._check_open()
        if self._parked or len(self._queue) >= self.capacity:
            raise Rejected(f"Push: full, capacity={self.capacity}; put it later, or await put()")
        entry = self._entry(value, key, attributes)
        self._add(entry)
        return entry.receipt

    async def put(
        self,
        value: A,
        /,
        *,
        key: str | int | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> Receipt:
        """
        Put *value* in as soon as there is room; the first who waits is the first to get in.

        Answers a `Receipt` when the record is accepted. *key* is the identity of the record,
        the same whenever it is put; without one the option ``key=`` or a counter makes it.
        Raises `Stopped` when the source is closed or its reader goes, and `DataError`
        when ``key=`` makes no key of the value. Cancelling it takes the record back, unless it
        was read already.
        """
        await anyio.lowlevel.checkpoint()
        self._check_open()
        entry = self._entry(value, key, attributes)
        if self._parked or len(self._queue) >= self.capacity:
            await self._park(entry)
        else:
            self._add(entry)
        return entry.receipt

    async def submit(
        self,
        value: A,
        /,
        *,
        key: str | int | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Put *value* in, and wait until the record reached its end.

        Raises the error with which it was handed back: then it is not done. Cancelling the wait
        does not stop a record that was read.
        """
        receipt = await self.put(value, key=key, attributes=attributes)
        await receipt.settled()

    def close(self) -> None:
        """Let the pipeline end after what was put; whoever waits for room gets `Stopped`."""
        self._closed = True
        self._turn_away("Push: it was closed")
        self._wake()

    def __aiter__(self) -> AsyncGenerator[Delivery[A], None]:  # noqa: PYI058 - it can be closed
        """Begin to hand on what was put and will be put; one reader at a time."""
        return self._read()

    async def _read(self) -> AsyncGenerator[Delivery[A], None]:
        if self._reading:
            raise ConfigurationError("Push: it is being read already; give each pipeline its own")
        self._reading, self._ended = True, None
        try:
            while await self._ready():
                entry = self._queue.popleft()
                self._let_in()
                yield entry.delivery
        finally:
            self._reading = False
            self._leave()

    async def _ready(self) -> bool:
        while not self._queue:
            if self._closed:
                return False
            self._reader = anyio.Event()
            try:
                await self._reader.wait()
            finally:
                self._reader = None
        return True

    def _leave(self) -> None:
        if self._closed and not self._queue:
            return
        self._ended = "Push: the pipeline that read it has stopped"
        unheard = sum(not entry.receipt.awaited for entry in self._queue)
        if unheard:
            logging.getLogger("genai_pipeline").warning(
                "Push: %d of the records put in were never read; nobody waits for them", unheard
            )
        for entry in self._queue:
            entry.receipt.end(Stopped(self._ended))
        self._queue.clear()
        self._turn_away(self._ended)

    def _entry(
        self, value: A, key: str | int | None, attributes: Mapping[str, Any] | None
    ) -> _Entry[A]:
        self._count += 1
        chosen = self.key if key is None else lambda _: key
        delivery = keyed(value, f"{self.prefix}-{self._count}", dict(attributes or {}), chosen)
        if delivery.error is not None:
            raise delivery.error
        receipt = Receipt(delivery.record.key)
        return _Entry(Delivery(delivery.record, receipt.settle), receipt)

    def _check_open(self) -> None:
        if self._closed:
            raise Stopped("Push: it was closed; nothing more can be put")
        if self._ended is not None:
            raise Stopped(self._ended)

    def _add(self, entry: _Entry[A]) -> None:
        self._queue.append(entry)
        self._wake()

    def _wake(self) -> None:
        if self._reader is not None:
            self._reader.set()

    async def _park(self, entry: _Entry[A]) -> None:
        entry.admitted = anyio.Event()
        self._parked.append(entry)
        try:
            await entry.admitted.wait()
        except BaseException:
            self._take_back(entry)
            raise
        if entry.turned_away is not None:
            raise Stopped(entry.turned_away)

    def _take_back(self, entry: _Entry[A]) -> None:
        for line in (self._parked, self._queue):
            if entry in line:
                line.remove(entry)
        self._let_in()

    def _let_in(self) -> None:
        while self._parked and len(self._queue) < self.capacity:
            entry = self._parked.popleft()
            self._add(entry)
            if entry.admitted is not None:
                entry.admitted.set()

    def _turn_away(self, reason: str) -> None:
        while self._parked:
            entry = self._parked.popleft()
            entry.turned_away = reason
            if entry.admitted is not None:
                entry.admitted.set()
