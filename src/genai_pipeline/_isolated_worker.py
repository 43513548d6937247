"""
The process that suspects are walked in: ``python -m genai_pipeline._isolated_worker``.

It has the stages alone. For each paid call it asks the run, which notes the intent, has it sent
here, and keeps the answer before it is used here. It ends when the run does.
"""

from __future__ import annotations

import os
import pickle
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, cast

import anyio
import anyio.to_thread
import attrs
from anyio.abc import ObjectReceiveStream, ObjectSendStream

from genai_pipeline._chain import Chain
from genai_pipeline._error_groups import failure_in
from genai_pipeline._isolated_words import (
    HEADER,
    importing_main,
    length_of,
    packed,
    portable,
    unpacked,
)
from genai_pipeline._journal import RawAnswer
from genai_pipeline._journal_tables import PendingRows
from genai_pipeline._lifespan import Lifespan
from genai_pipeline._paid import (
    CallName,
    CallRecorder,
    PaidCall,
    Send,
    current_visit,
    is_unbilled,
    set_recorder,
    unrecorded,
)
from genai_pipeline._reconcile import LostCall, set_call
from genai_pipeline._recorder import key_here
from genai_pipeline._replay import require_sendable
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import Rejected
from genai_pipeline.events import Event, listen
from genai_pipeline.records import Record
from genai_pipeline.walk import Walk, set_walk

_LAST_SECONDS = 60.0


class Line:
    """The pipes to the run, with nothing of what user code prints between."""

    def __init__(self) -> None:
        self._from_run, self._to_run = os.dup(0), os.dup(1)
        nothing = os.open(os.devnull, os.O_RDONLY)
        os.dup2(nothing, 0)
        os.dup2(2, 1)

    def say(self, kind: str, number: int = 0, given: Any = None) -> None:
        """Tell the run something; raises what pickling raises."""
        rest = memoryview(packed((kind, number, given)))
        while rest:
            rest = rest[os.write(self._to_run, rest) :]

    def hear(self) -> tuple[str, int, Any]:
        """Wait for what the run says; once it is gone, so is this process."""
        return unpacked(self._read(length_of(self._read(HEADER))))

    def _read(self, size: int) -> bytes:
        found = bytearray()
        while len(found) < size:
            piece = os.read(self._from_run, min(size - len(found), 1 << 20))
            if not piece:
                os._exit(1)
            found += piece
        return bytes(found)


@attrs.define(eq=False)
class _Worker:
    line: Line
    chain: Chain
    clock: Clock = attrs.field(factory=SystemClock)
    deadline: float = float("inf")
    item: bytes = b""
    """What the journal calls the record, which only the run knows."""

    _talks: dict[int, ObjectSendStream[tuple[str, Any]]] = attrs.field(factory=dict)
    _last: int = 0
    sends: ClassVar[bool] = True
    _kept: Counter[bytes] = attrs.field(factory=Counter)
    """The keys of calls that the run has answers left for."""

    def deliver(self, kind: str, number: int, given: Any) -> None:
        """Hand on what the run says about a call."""
        talk = self._talks.get(number)
        if talk is not None:
            with suppress(anyio.BrokenResourceError):
                talk.send_nowait((kind, given))  # type: ignore[attr-defined]

    async def walk(self, record: Record[Any], seconds: float, kept: list[bytes]) -> None:
        """
        Walk *record*, which may take some *seconds*; tell the run what it becomes.

        The run has answers for the calls of the keys *kept*.
        """
        self._kept = Counter(kept)
        walk = Walk(self, record, 0, self.clock.now() + seconds)
        walk.recorder = cast("CallRecorder", self)
        walk.rows = PendingRows()
        set_walk(walk)
        set_recorder(walk.recorder)
        try:
            outputs = await self.chain.walk(record, walk)
        except (Exception, BaseExceptionGroup) as raised:  # noqa: BLE001 - a way to end
            error = await failure_in(raised)
            end: Any = (portable(error), walk.stage_of(error), walk.attempts)
            self.line.say("failed", 0, end)
            return
        try:
            told = (walk.marks, walk.rows.all())
            self.line.say("done", 0, (list(outputs), told, walk.attempts))
        except Exception as error:  # noqa: BLE001 - anybody's class may raise anything
            self.line.say("unfit", 0, f"what its stages answer cannot be pickled: {error}")

    @asynccontextmanager
    async def _talk(self) -> AsyncIterator[tuple[int, ObjectReceiveStream[tuple[str, Any]]]]:
        self._last += 1
        number = self._last
        send, receive = anyio.create_memory_object_stream[tuple[str, Any]](float("inf"))
        self._talks[number] = send
        try:
            async with send, receive:
                try:
                    yield number, receive
                except anyio.get_cancelled_exc_class():
                    self.line.say("cancel", number)
                    with anyio.move_on_after(_LAST_SECONDS, shield=True):
                        # What is known of the call is kept by then.
                        while (await receive.receive())[0] not in {"answered", "raised", "ended"}:
                            pass
                    raise
        finally:
            del self._talks[number]

    # The recorder of the walk.

    @property
    def replaying(self) -> bool:
        """Whether the run has answers left."""
        return bool(self._kept)

    def keeps(self, call: CallName, /) -> bool:
        """Tell whether one of them is for *call*."""
        return key_here(call) in self._kept

    def _take(self, call: PaidCall) -> list[bytes]:
        """Answer the key of *call* if the run has an answer for it, which is taken."""
        key = key_here(call)
        if key not in self._kept:
            require_sendable()
            return []
        self._kept -= Counter([key])
        return [key]

    async def make(self, call: PaidCall, send: Send, /) -> RawAnswer:
        """Have the run make *call*, which is sent from here."""
        visit, own, taken = current_visit(), list[Exception](), self._take(call)
        fields = {
            name: getattr(call, name)
            for name in ("provider", "model", "request", "timeout", "identity")
        }
        async with self._talk() as (number, replies):
            mark = None if visit is None else visit.mark
            self.line.say("make", number, (mark, fields, call.find is not None))
            while True:
                kind, given = await replies.receive()
                if kind == "send":
                    self.line.say("sent", number, await _sent(call, send, given, own))
                elif kind == "find":
                    self.line.say("found", number, await _found(call, given, own))
                elif kind == "answered":
                    break
                else:
                    raise _same(own, given)

        def put_back() -> None:
            self.line.say("undo", number)
            self._kept.update(taken)
            taken.clear()  # it may be put back twice

        if visit is not None:
            visit.took(put_back)
        answer: RawAnswer = given
        return answer

    # What a walk may ask of its run.

    def notes(self, stages: tuple[str, ...], /) -> tuple[Any, ...]:
        """Answer what tells the run how long each of *stages* took."""
        return tuple(partial(self._note, stages, place) for place in range(len(stages)))

    def _note(self, stages: tuple[str, ...], place: int, seconds: float) -> None:
        self.line.say("noted", place, (stages, seconds))

    def fold(self) -> None:
        """Do nothing."""

    async def park(self, rejection: Rejected, stage: str, walk: Walk, /) -> None:  # noqa: ARG002
        """Wait until the run says that a rejected call may be tried again."""
        async with self._talk() as (number, replies):
            self.line.say("park", number, (portable(rejection), stage))
            kind, given = await replies.receive()
        if kind == "raised":
            raise given from rejection

    async def turn(self, walk: Walk, /) -> None:
        """Wait for nobody: the run writes what comes of it."""


def _same(own: list[Exception], told: Exception) -> Exception:
    """Answer the error that was raised here, of which the run told a copy; else what it told."""
    if own and type(told) is type(portable(own[-1])) and str(own[-1]) in str(told):
        return own[-1]
    return told


async def _sent(call: PaidCall, send: Send, name: Any, own: list[Exception]) -> Any:
    set_call(name)
    try:
        raw = await unrecorded(send)
    except Exception as error:  # noqa: BLE001 - raised again, once the run knows of it
        own.append(error)
        return None, portable(error), is_unbilled(error)
    finally:
        set_call(None)
    return raw, call.judge(raw), False


async def _found(call: PaidCall, lost: LostCall, own: list[Exception]) -> Any:
    assert call.find is not None
    try:
        found = await unrecorded(partial(call.find, lost))
    except Exception as error:  # noqa: BLE001 - raised where the run asked
        own.append(error)
        return None, portable(error), False
    return found, call.judge(found) if isinstance(found, RawAnswer) else None, False


async def _serve(line: Line, chain: Chain) -> None:
    def tell(event: Event) -> None:
        with suppress(Exception):  # one that cannot be pickled is not heard
            line.say("event", 0, event)

    async with Lifespan() as lifespan:
        await lifespan.enter(chain)
        async with anyio.create_task_group() as group:
            lifespan.group = group
            worker = _Worker(line, chain)
            line.say("ready")
            with listen(tell):
                while True:
                    kind, number, given = await anyio.to_thread.run_sync(line.hear)
                    if kind == "end":
                        break
                    if kind == "walk":
                        group.start_soon(worker.walk, *given)
                    else:
                        worker.deliver(kind, number, given)
            lifespan.group = None
            group.cancel_scope.cancel()


def _be_the_first_to_be_killed() -> None:
    """Ask the kernel to take this process, and not the run's, when memory runs out."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def main() -> None:
    """Serve one run."""
    from multiprocessing import spawn  # noqa: PLC0415 - of this process alone

    line = Line()
    _, _, (preparation, pickled, backend) = line.hear()
    _be_the_first_to_be_killed()
    importing = importing_main.set(True)
    try:
        spawn.prepare(preparation)
        chain = pickle.loads(pickled)  # noqa: S301 - of the run that began this process
    except BaseException as error:  # noqa: BLE001 - user code, which may even exit
        line.say("unfit", 0, f"they cannot be had there: {type(error).__name__}: {error}")
        return
    finally:
        importing_main.reset(importing)
    anyio.run(_serve, line, chain, backend=backend)


if __name__ == "__main__":
    main()
