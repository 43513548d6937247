"""Who carries operations out: a thread of its own, or the caller himself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from queue import Empty, SimpleQueue
from typing import Protocol

import attrs

from genai_pipeline.journals._desk import Desk
from genai_pipeline.journals._file import JournalFile
from genai_pipeline.journals._operation import Operation

__all__ = ["InlineWriter", "ThreadWriter", "Writer"]

_MOST_OPERATIONS = 256
_MOST_BYTES = 1 << 20
_IDLE_SECONDS = 1.0


class Writer(Protocol):
    """Carries out operations on a file, in the order in which they come."""

    def start(self) -> None: ...

    def submit(self, operation: Operation, /) -> None: ...

    def stop(self) -> None: ...

    def crash(self) -> None: ...


@attrs.define(eq=False)
class InlineWriter:
    """Carries each operation out at once, in the caller's thread: for tests in virtual time."""

    file: JournalFile

    def start(self) -> None:
        """Open the file."""
        self.file.open()

    def submit(self, operation: Operation, /) -> None:
        """Carry *operation* out."""
        self.file.carry_out([operation])
        self.file.tidy()

    def stop(self) -> None:
        """Close the file."""
        self.file.close()

    def crash(self) -> None:
        """Let go of the file as the death of the process would."""
        self.file.crash()


@attrs.define(eq=False)
class ThreadWriter:
    """
    Carries operations out in one thread, all that wait in one transaction.

    While one commit reaches the disk, the next batch gathers; nothing ever waits for a batch to
    fill. An event loop is told of all that ended for it at once.
    """

    file: JournalFile
    _queue: SimpleQueue[Operation | None] = attrs.field(factory=SimpleQueue, init=False)
    _thread: threading.Thread | None = attrs.field(default=None, init=False)
    _leave: Callable[[], None] = attrs.field(
        default=attrs.Factory(lambda self: self.file.close, takes_self=True), init=False
    )

    def start(self) -> None:
        """Open the file, and start the thread."""
        self.file.open()
        self._thread = threading.Thread(
            target=self._work, name="genai_pipeline journal", daemon=True
        )
        self._thread.start()

    def submit(self, operation: Operation, /) -> None:
        """Have *operation* carried out; its desk is told when it is done."""
        self._queue.put(operation)

    def stop(self) -> None:
        """Carry out what waits, close the file, and end the thread."""
        self._end(self.file.close)

    def crash(self) -> None:
        """Let go of the file as the death of the process would."""
        self._end(self.file.crash)

    def _end(self, leave: Callable[[], None]) -> None:
        self._leave = leave
        self._queue.put(None)
        if self._thread is not None:
            self._thread.join()

    # In the thread.

    def _work(self) -> None:
        last = False
        while not last:
            batch, last = self._next()
            if batch:
                self._attempt(partial(self.file.carry_out, batch), batch)
                _ring(batch)
                self._attempt(self.file.tidy)
            elif not last:
                self._attempt(self.file.rest)
        self._leave()

    def _attempt(self, work: Callable[[], None], batch: Sequence[Operation] = ()) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001 - those who wait are told
            self.file.give_up(batch, error)

    def _next(self) -> tuple[list[Operation], bool]:
        """Wait for something to do, and take all that is there; tell whether it is the last."""
        batch: list[Operation] = []
        size = 0
        try:
            operation = self._queue.get(timeout=_IDLE_SECONDS)
            while operation is not None:
                batch.append(operation)
                size += operation.size
                if len(batch) >= _MOST_OPERATIONS or size >= _MOST_BYTES:
                    return batch, False
                operation = self._queue.get_nowait()
        except Empty:
            return batch, False
        return batch, True


def _ring(batch: list[Operation]) -> None:
    desks: dict[Desk, list[Operation]] = {}
    for operation in batch:
        if operation.desk is not None:
            desks.setdefault(operation.desk, []).append(operation)
    for desk, operations in desks.items():
        desk.ring(operations)
