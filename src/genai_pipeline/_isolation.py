"""`Isolation`: walking records in a process of their own, so that only that one dies of them."""

from __future__ import annotations

import pickle
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Literal, Self

import anyio
import anyio.abc
import attrs
from anyio.streams.buffered import BufferedByteReceiveStream

from genai_pipeline._chain import Chain
from genai_pipeline._isolated_words import (
    HEADER,
    Message,
    length_of,
    packed,
    portable,
    unpacked,
)
from genai_pipeline._journal import RawAnswer
from genai_pipeline._lifespan import every_part
from genai_pipeline._paid import Judgement, PaidCall, StageMark, Visit, set_visit
from genai_pipeline._reconcile import LostCall, current_call
from genai_pipeline._recorder import Recorder
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import WorkerDied
from genai_pipeline.events import emit
from genai_pipeline.records import Record
from genai_pipeline.walk import Walk, time_left

__all__ = ["Isolation", "Unfit"]

_READY_SECONDS = 60.0
_END_SECONDS = 5.0
_WORKER = "genai_pipeline._isolated_worker"


class Unfit(Exception):
    """Raised when a record, or what its stages answer, cannot go to another process or back."""


class _Died(Exception):
    """Raised when the process has ended."""


@attrs.define(eq=False)
class Isolation:
    """
    Walks records through *chain* in one process beside the run's, one record at a time.

    The process is begun for the first of them, and anew after one that it died of. Calls made there
    are the run's: noted and kept here, held in its budgets.
    """

    chain: Chain
    clock: Clock
    turn: anyio.Lock = attrs.field(factory=anyio.Lock, init=False)
    """To be held around the use of the process, by one record at a time."""

    _child: _Child | None = attrs.field(default=None, init=False)
    _unfit: str | None = attrs.field(default=None, init=False)

    async def unfit(self, record: Record[Any]) -> str | None:
        """Answer why *record* cannot be walked in a process of its own; `None` if it can."""
        try:
            packed(("walk", 0, record))
        except Exception as error:  # noqa: BLE001 - anybody's class may raise anything
            return f"the record cannot be pickled: {error}"
        if self._unfit is None and self._child is None:
            try:
                self._child = await self._begin()
            except Unfit as error:
                self._unfit = str(error)
        return self._unfit

    async def walk(self, record: Record[Any], walk: Walk) -> Sequence[Record[Any]]:
        """
        Answer what the stages make of *record*, as a part of *walk*.

        Raises `WorkerDied` when the process dies of it, `Unfit` when its answer cannot be had.
        """
        child = self._child or await self._begin()
        self._child = None
        talk = _Conversation(child, walk, self.chain.names)
        try:
            answer = await talk.hold(record)
        except _Died:
            poison = WorkerDied(
                "poison: the process died twice while it carried this record, and so did one that "
                f"carried it alone ({await child.end()})"
            )
            walk.failed_in(self.chain.names[talk.stage], poison)
            raise poison from None
        except BaseException:
            await child.kill()
            raise
        self._child = child
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def _begin(self) -> _Child:
        if not isinstance(self.clock, SystemClock):
            raise Unfit("the pipeline's clock is not the real one")
        for part in every_part(self.chain):
            if getattr(part, "joins_records", False) is True:
                raise Unfit("a stage gathers several records into one")
        try:
            pickled = pickle.dumps(self.chain)
        except Exception as error:  # noqa: BLE001 - anybody's class may raise anything
            raise Unfit(
                f"the stages cannot be pickled ({error}); make them of functions at the top of "
                "modules"
            ) from None
        child = await _Child.begin(pickled)
        try:
            with anyio.fail_after(_READY_SECONDS):
                kind, _, reason = await child.hear()
        except _Died:
            raise Unfit(f"a process for them ended at once ({await child.end()})") from None
        except BaseException as error:
            await child.kill()
            if isinstance(error, TimeoutError):
                raise Unfit(f"a process for them was not ready in {_READY_SECONDS:g} s") from None
            raise
        if kind != "ready":
            await child.kill()
            raise Unfit(str(reason))
        return child

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._child is not None:
            child, self._child = self._child, None
            with anyio.move_on_after(_END_SECONDS, shield=True), suppress(_Died):
                await child.say("end")
                await child.end()
            await child.kill()


@attrs.define(eq=False)
class _Child:
    """The process, and the pipes to it."""

    process: anyio.abc.Process
    _stream: BufferedByteReceiveStream
    _saying: anyio.Lock = attrs.field(factory=anyio.Lock)

    @classmethod
    async def begin(cls, pickled: bytes) -> _Child:
        """Begin a process that has the stages *pickled*."""
        from multiprocessing import spawn  # noqa: PLC0415 - few runs need it

        # In a session of its own, it hears no Ctrl-C: the run stops it.
        process = await anyio.open_process(
            [sys.executable, "-m", _WORKER], stderr=None, start_new_session=True
        )
        assert process.stdout is not None
        child = cls(process, BufferedByteReceiveStream(process.stdout))
        preparation = spawn.get_preparation_data("isolated")
        del preparation["authkey"]  # nothing that is made here needs it
        try:
            await child.say("begin", 0, (preparation, pickled, _backend()))
        except _Died:
            pass  # which is noticed when it does not answer
        except BaseException:
            await child.kill()
            raise
        return child

    async def say(self, kind: str, number: int = 0, given: Any = None) -> None:
        """Tell it something."""
        data = packed((kind, number, given))
        assert self.process.stdin is not None
        try:
            async with self._saying:
                await self.process.stdin.send(data)
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, OSError):
            raise _Died from None

    async def hear(self) -> Message:
        """Wait for what it says."""
        try:
            header = await self._stream.receive_exactly(HEADER)
            return unpacked(await self._stream.receive_exactly(length_of(header)))
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError, OSError):
            raise _Died from None

    async def end(self) -> str:
        """Wait for its end; answer how it ended."""
        code = await self.process.wait()
        await self.kill()
        try:
            return f"ended by {signal.Signals(-code).name}"
        except ValueError:
            return f"ended with exit code {code}"

    async def kill(self) -> None:
        """End it."""
        with anyio.CancelScope(shield=True):
            with suppress(ProcessLookupError):
                self.process.kill()
            await self.process.aclose()


@attrs.define(eq=False)
class _Conversation:
    """What is said with the process about one record."""

    child: _Child
    walk: Walk
    names: tuple[str, ...]
    stage: int = 0
    """Which stage the record has come to."""

    _scopes: dict[int, anyio.CancelScope] = attrs.field(factory=dict, init=False)
    _visits: dict[int, Visit] = attrs.field(factory=dict, init=False)
    _judged: dict[int, Judgement] = attrs.field(factory=dict, init=False)
    _waiting: dict[int, tuple[anyio.Event, list[Any]]] = attrs.field(factory=dict, init=False)

    async def hold(self, record: Record[Any]) -> Sequence[Record[Any]] | Exception:
        """Have *record* walked; answer what it becomes, or what its walk raised."""
        died = False
        end: Sequence[Record[Any]] | Exception | None = None
        async with anyio.create_task_group() as group:
            try:
                recorder = self.walk.recorder
                assert isinstance(recorder, Recorder)
                await self.child.say("walk", 0, (record, time_left(), recorder.kept()))
                while end is None:
                    end = self._heard(group, *await self.child.hear())
            except _Died:
                died = True
            # A call that was on its way may have been billed.
            group.cancel_scope.cancel()
        if died or end is None:
            raise _Died
        return end

    def _heard(
        self, group: anyio.abc.TaskGroup, kind: str, number: int, given: Any
    ) -> Sequence[Record[Any]] | Exception | None:
        if kind == "event":
            emit(given)
        elif kind == "noted":
            stages, seconds = given
            if stages == self.names:
                self.stage = max(self.stage, min(number + 1, len(stages) - 1))
            if self.walk.timed:
                self.walk.run.notes(stages)[number](seconds)
        elif kind == "make":
            group.start_soon(self._answer, number, self._make, given)
        elif kind == "park":
            group.start_soon(self._answer, number, self._park, given)
        elif kind == "cancel":
            self._scopes.setdefault(number, anyio.CancelScope()).cancel()
        elif kind == "undo":
            self._visits[number].undo()
        elif kind in {"sent", "found"}:
            event, reply = self._waiting[number]
            reply.append(given)
            event.set()
        else:
            return self._end(kind, given)
        return None

    def _end(self, kind: str, given: Any) -> Sequence[Record[Any]] | Exception:
        if kind == "unfit":
            return Unfit(str(given))
        what, told, self.walk.attempts = given
        if kind == "failed":
            error: Exception = what
            if told is not None:
                self.walk.failed_in(told, error)
            return error
        marks, rows = told
        if marks:
            self.walk.marks = {**(self.walk.marks or {}), **marks}
        if self.walk.rows is not None:
            for table, row in rows:
                self.walk.rows.put(table, row)
        outputs: Sequence[Record[Any]] = what
        return outputs

    async def _answer(
        self, number: int, work: Callable[[int, Any], Awaitable[Any]], given: Any
    ) -> None:
        reply, answer = "ended", None
        with self._scopes.setdefault(number, anyio.CancelScope()):
            try:
                reply, answer = "answered", await work(number, given)
            except Exception as error:  # noqa: BLE001 - raised there
                reply, answer = "raised", portable(error)
        with suppress(_Died):  # whoever listens notices
            await self.child.say(reply, number, answer)

    async def _park(self, number: int, given: Any) -> None:
        del number
        rejection, stage = given
        await self.walk.run.park(rejection, stage, self.walk)

    async def _make(self, number: int, given: Any) -> RawAnswer:
        mark, fields, finds = given
        visit = self._visits[number] = Visit(StageMark("") if mark is None else mark)
        set_visit(visit)

        async def send() -> RawAnswer:
            raw: RawAnswer = await self._ask("send", number, current_call())
            return raw

        async def find(lost: LostCall) -> RawAnswer | Literal["void"] | None:
            found: RawAnswer | Literal["void"] | None = await self._ask("find", number, lost)
            return found

        call = PaidCall(
            **fields, judge=lambda _: self._judged[number], find=find if finds else None
        )
        recorder = self.walk.recorder
        assert isinstance(recorder, Recorder)
        return await recorder.make(call, send)

    async def _ask(self, kind: str, number: int, given: Any) -> Any:
        event, reply = self._waiting[number] = (anyio.Event(), [])
        try:
            await self.child.say(kind, number, given)
        except _Died:
            await anyio.sleep_forever()  # until whoever listens notices
        await event.wait()
        answer, judgement, _ = reply[0]
        if isinstance(judgement, Exception):
            raise judgement
        self._judged[number] = judgement
        return answer


def _backend() -> str:
    return "trio" if anyio.get_cancelled_exc_class().__module__.startswith("trio") else "asyncio"
