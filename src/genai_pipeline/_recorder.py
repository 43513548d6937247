"""`Recorder`: the paid calls made for one record, or one gathered group, through the journal."""

from __future__ import annotations

from bisect import insort
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

import anyio.lowlevel

from genai_pipeline._canonical import digest, json_copy
from genai_pipeline._journal import CallEnd, Group, Intent, PastCall, RawAnswer
from genai_pipeline._paid import (
    Judgement,
    PaidCall,
    Send,
    StageMark,
    Visit,
    current_visit,
    is_unbilled,
    unrecorded,
)
from genai_pipeline._run_journal import RunJournal
from genai_pipeline.errors import ConfigurationError, OutcomeUnknown
from genai_pipeline.money import service_of, to_nano
from genai_pipeline.records import Record

__all__ = ["Recorder", "call_key"]

_LABEL = 100
_NOWHERE = StageMark("")
_ANSWERED = ("answered",)
_UNKNOWN = ("unknown", "partial")


def call_key(mark: StageMark, call: PaidCall) -> bytes:
    """Answer 16 bytes that stand for the stage with its version, the model and the request."""
    identity = json_copy(call.identity, where="PaidCall: identity")
    told = [mark.stage, mark.version, call.provider, call.model, identity]
    return bytes.fromhex(digest([*told, call.request.fingerprint()]))


class Recorder:
    """
    Answers calls from the journal, or makes them between T1 and T2.

    The answered calls of the record wait in a pool by key, in the order in which they were
    begun. Each call takes the first of its key; only when there is none left is a new one made.
    """

    def __init__(
        self,
        run: RunJournal,
        item: bytes,
        key: str,
        attributes: Mapping[str, Any],
        calls: Iterable[PastCall],
    ) -> None:
        self.run = run
        self.item = item
        self._key = key
        self._attributes = attributes
        self._answered: list[tuple[bytes, int]] = []
        self._unknown: dict[bytes, PastCall] = {}
        self._pool: dict[bytes, list[int]] = {}
        for call in calls:
            if call.state in _ANSWERED:
                self._answered.append((call.key, call.call))
            elif call.state in _UNKNOWN:
                self._unknown[call.key] = call
        self.restart()

    def restart(self) -> None:
        """Put every answer back, since the record begins its walk anew."""
        self._pool = {}
        for key, number in self._answered:
            self._pool.setdefault(key, []).append(number)

    async def make(self, call: PaidCall, send: Send, /) -> RawAnswer:
        """Answer *call* from the journal, or send it and keep what comes."""
        visit = current_visit()
        mark = _NOWHERE if visit is None else visit.mark
        key = call_key(mark, call)
        known = self._take(key, visit)
        if known is not None:
            answer = await self.run.journal.answer(known)
            self.run.replayed += 1
            return answer
        if mark.on_unknown == "hold":
            self._refuse_unknown(key, mark)
        return await self._send(call, send, key, mark, visit)

    def _take(self, key: bytes, visit: Visit | None) -> int | None:
        numbers = self._pool.get(key)
        if not numbers:
            return None
        number = numbers.pop(0)
        if visit is not None:
            visit.took(self._put_back(key, number))
        return number

    def _put_back(self, key: bytes, number: int) -> Callable[[], None]:
        def put_back() -> None:
            numbers = self._pool.setdefault(key, [])
            if number not in numbers:
                insort(numbers, number)

        return put_back

    def _refuse_unknown(self, key: bytes, mark: StageMark) -> None:
        unknown = self._unknown.get(key)
        if unknown is None or any(answered == key for answered, _ in self._answered):
            return
        raise OutcomeUnknown(
            f"{mark.stage}: call {unknown.call} for the record {self._key!r} may have been "
            "billed, and no answer came; the record is held (on_unknown='hold'): look the call "
            "up at the provider, then let the stage retry, or give the call up"
        )

    async def _send(
        self, call: PaidCall, send: Send, key: bytes, mark: StageMark, visit: Visit | None
    ) -> RawAnswer:
        intent = self._intent(call, key, mark.stage)
        number = await self.run.begin_call(intent)
        sent = False
        try:
            await anyio.lowlevel.checkpoint_if_cancelled()
            sent = True
            with unrecorded():
                raw = await send()
        except BaseException as error:
            unknown = sent and not is_unbilled(error)
            await self._end(number, intent, _failed(error, unknown=unknown, at=self._now()))
            if unknown:
                self._unknown[key] = PastCall(
                    call=number, key=key, state="unknown", stage=mark.stage, hold=intent.hold or 0
                )
            raise
        judgement = call.judge(raw)
        await self._end(number, intent, self._answer(call, intent, raw, judgement))
        if judgement.state in _ANSWERED:
            self._answered.append((key, number))
            if visit is not None:
                visit.took(self._put_back(key, number))
        return raw

    def _intent(self, call: PaidCall, key: bytes, stage: str) -> Intent:
        run, at = self.run, self._now()
        uses = run.budgets.uses(
            attributes=self._attributes,
            provider=call.provider,
            model=call.model,
            stage=stage,
            run=run.number,
            at=at,
        )
        quote = run.prices.quote(call.provider, call.model, call.request, at=at)
        if quote.worst is None and (refusing := run.budgets.refusing(uses)) is not None:
            raise ConfigurationError(
                f"{stage}: the budget {refusing.budget!r} refuses calls whose most is not known: "
                f"{quote.reason}"
            )
        return Intent(
            run=run.number,
            item=self.item,
            stage=stage,
            key=key,
            provider=call.provider,
            model=call.model,
            at=at,
            deadline=at + call.timeout,
            hold=None if quote.worst is None else to_nano(quote.worst),
            budgets=uses,
            labels=_labels(self._attributes),
        )

    def _answer(
        self, call: PaidCall, intent: Intent, raw: RawAnswer, judgement: Judgement
    ) -> CallEnd:
        cost = None
        if judgement.usage is not None and judgement.state in _ANSWERED:
            cost = self.run.prices.cost(
                call.provider,
                call.model,
                judgement.usage,
                at=intent.at,
                service=service_of(call.request),
            )
        return CallEnd(
            state=judgement.state,
            at=self._now(),
            cost=None if cost is None else to_nano(cost),
            usage=judgement.usage,
            answer=raw if judgement.state in _ANSWERED else None,
            error=judgement.error,
            request_id=judgement.request_id,
        )

    async def _end(self, number: int, intent: Intent, end: CallEnd) -> None:
        await self.run.end_call(number, end, intent.budgets, intent.hold)

    def _now(self) -> float:
        return self.run.clock.wall()

    # Groups.

    def member(self, stage: str, record: Record[Any], /) -> tuple[bytes, Any]:
        """Answer what stands for *record* at *stage* as a member, and its value as JSON."""
        value = json_copy(record.value, where=f"{stage}: the value of {record.key!r}")
        if value != record.value:
            raise ConfigurationError(
                f"{stage}: the value of {record.key!r} has tuples or other types that JSON cannot "
                "tell from its own; a journal keeps what is gathered, so make it plain before"
            )
        told = digest([self.item.hex(), stage, record.key, value])
        return bytes.fromhex(told), value

    async def group_of(self, member: bytes, /) -> Group | None:
        """Answer the group that *member* was frozen into before, if it was."""
        return await self.run.journal.group_of(self.run.number, member)

    async def freeze(
        self, stage: str, members: list[bytes], body: bytes, items: Collection[bytes], /
    ) -> Group:
        """Keep a group, so that nobody else is ever gathered in place of its members."""
        journal, number = self.run.journal, self.run.number
        if not self.run.erases:
            return await journal.freeze_group(number, stage, members, body)
        return await journal.freeze_group(number, stage, members, body, items=items)

    def for_group(self, group: Group, /) -> Recorder:
        """Answer what makes the calls of *group*."""
        named = f"group {group.item.hex()}"
        return Recorder(self.run, group.item, named, self._attributes, group.calls)


def _failed(error: BaseException, *, unknown: bool, at: float) -> CallEnd:
    kind = type(error).__name__ if isinstance(error, Exception) else "Cancelled"
    return CallEnd(state="unknown" if unknown else "void", at=at, error=kind)


def _labels(attributes: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: value
        for name, value in attributes.items()
        if isinstance(value, str) and len(value) <= _LABEL
    }
