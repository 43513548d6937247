"""`Recorder`: the paid calls made for one record, or one gathered group, through the journal."""

from __future__ import annotations

from bisect import insort
from collections.abc import Awaitable, Collection, Coroutine, Iterable, Mapping
from functools import lru_cache, partial
from hashlib import blake2b
from typing import Any, ClassVar

import anyio.lowlevel

from genai_pipeline._canonical import PLAIN, canonical, digest, json_copy
from genai_pipeline._identity import item_id
from genai_pipeline._journal import CallEnd, Group, Intent, PastCall, RawAnswer, Settled
from genai_pipeline._lost_calls import LostCalls, cannot_be_asked, end_of
from genai_pipeline._paid import (
    CallName,
    PaidCall,
    Send,
    StageMark,
    Visit,
    current_recorder,
    current_visit,
    is_unbilled,
    set_recorder,
)
from genai_pipeline._reconcile import set_call
from genai_pipeline._replay import require_sendable
from genai_pipeline._run_journal import RunJournal
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.money import to_nano
from genai_pipeline.records import Record

__all__ = ["Recorder", "call_key", "key_here", "stage_key", "stage_of_key"]

_LABEL = 100
_OF_STAGE, _OF_CALL = 4, 12
"""Bytes of a key: calls are told apart within one record alone, stages for a plan."""

_NOWHERE = StageMark("")
_ANSWERED = ("answered",)
_UNKNOWN = ("unknown", "partial")


def call_key(mark: StageMark, call: CallName) -> bytes:
    """
    Answer 16 bytes that stand for the stage with its version, the model and the request.

    They begin with the `stage_key`, and go on with a digest of the canonical JSON of a list of
    stage, version, provider, model, identity and fingerprint.
    """
    # Equal tuples are the same JSON where their parts are plain and of equal types.
    kinds = tuple(map(type, call.identity))
    begin = _key_begin if PLAIN.issuperset(kinds) else _key_begin.__wrapped__
    text = begin((mark.stage, mark.version, call.provider, call.model), call.identity, kinds)
    told = f'{text},"{call.request.fingerprint()}"]'
    return stage_key(mark) + blake2b(told.encode("ascii"), digest_size=_OF_CALL).digest()


@lru_cache(maxsize=256)
def stage_key(mark: StageMark) -> bytes:
    """Answer the 4 bytes that the keys of all calls of the stage in its version begin with."""
    return bytes.fromhex(digest([mark.stage, mark.version]))[:_OF_STAGE]


def stage_of_key(key: bytes) -> bytes:
    """Answer the `stage_key` that a `call_key` begins with."""
    return key[:_OF_STAGE]


def key_here(call: CallName) -> bytes:
    """Answer what stands for *call* if it is made here, in the stage that this code is part of."""
    visit = current_visit()
    return call_key(_NOWHERE if visit is None else visit.mark, call)


@lru_cache(maxsize=256)
def _key_begin(
    names: tuple[str, ...],
    identity: tuple[Any, ...],
    kinds: tuple[type, ...],  # noqa: ARG001 - tells True from 1
) -> str:
    plain = json_copy(identity, where="PaidCall: identity")
    return canonical([*names, plain]).removesuffix("]")


class Recorder:
    """
    Answers calls from the journal, or makes them between T1 and T2.

    The answered calls of the record wait in a pool by key, in the order in which they were
    begun. Each call takes the first of its key; only when there is none left is a new one made.
    """

    __slots__ = (
        *("_answered", "_attributes", "_key", "_lost", "_origin", "_pool"),
        *("apart", "item", "run"),
    )

    sends: ClassVar[bool] = True

    def __init__(
        self,
        run: RunJournal,
        item: bytes,
        key: str,
        attributes: Mapping[str, Any],
        calls: Iterable[PastCall],
        *,
        reuses_from: int = 0,
    ) -> None:
        self.run = run
        self.item = item
        self.apart = False
        """Whether the record is walked in a process of its own."""
        self._origin = item_id(item[:-2], reuses_from)
        self._attributes = attributes
        self._answered: list[tuple[bytes, int]] = []
        self._key = key
        self._lost: LostCalls | None = None
        self._pool: dict[bytes, list[int]] = {}
        for call in calls:
            if call.state in _ANSWERED:
                self._answered.append((call.key, call.call))
            elif call.state in _UNKNOWN:
                self._lose(call)
        self.restart()

    def _lose(self, call: PastCall, *, of_this_run: bool = False) -> None:
        if self._lost is None:
            self._lost = LostCalls(self.run, self.item, self._key)
        self._lost.add(call, of_this_run=of_this_run)

    def restart(self) -> None:
        """Put every answer back, since the record begins its walk anew."""
        self._pool = {}
        for key, number in self._answered:
            self._pool.setdefault(key, []).append(number)

    @property
    def replaying(self) -> bool:
        """Whether an answer is left in the pool."""
        return bool(self._pool)

    def keeps(self, call: CallName, /) -> bool:
        """Tell whether the pool has an answer for *call*."""
        return key_here(call) in self._pool

    def kept(self) -> list[bytes]:
        """Answer the key of each answer in the pool."""
        return [key for key, numbers in self._pool.items() for _ in numbers]

    def make(self, call: PaidCall, send: Send, /) -> Coroutine[Any, Any, RawAnswer]:
        """Answer *call* from the journal, or send it and keep what comes."""
        visit = current_visit()
        mark = _NOWHERE if visit is None else visit.mark
        key = call_key(mark, call)
        known = self._take(key, visit)
        if known is not None:
            return self._replay(known)
        require_sendable()
        if mark.on_unknown == "retry":
            return self._send(call, send, key, mark, visit)
        return self._find_or_send(call, send, key, mark, visit)

    async def _replay(self, number: int) -> RawAnswer:
        answer = await self.run.journal.answer(number)
        self.run.replayed += 1
        return answer

    async def _find_or_send(
        self, call: PaidCall, send: Send, key: bytes, mark: StageMark, visit: Visit | None
    ) -> RawAnswer:
        found = await self._found(call, key, mark, visit)
        return await self._send(call, send, key, mark, visit) if found is None else found

    def _take(self, key: bytes, visit: Visit | None) -> int | None:
        numbers = self._pool.get(key)
        if numbers is None:
            return None
        number = numbers.pop(0)
        if not numbers:
            del self._pool[key]
        if visit is not None:
            visit.took(partial(self._put_back, key, number))
        return number

    def _put_back(self, key: bytes, number: int) -> None:
        numbers = self._pool.setdefault(key, [])
        if number not in numbers:
            insort(numbers, number)

    async def _found(
        self, call: PaidCall, key: bytes, mark: StageMark, visit: Visit | None
    ) -> RawAnswer | None:
        """Answer what the provider has of a lost call; raises `OutcomeUnknown` if it may have."""
        asks = mark.on_unknown == "reconcile"
        if asks and call.find is None:
            raise ConfigurationError(cannot_be_asked(mark.stage, call.provider))
        if self._lost is None:
            return None
        found = await self._lost.find(call, key, mark) if asks else None
        if found is not None:
            number, raw = found
            self._keep(key, number, visit)
            self.run.replayed += 1
            return raw
        # Where an answer came, the other call was an attempt beside it, such as a hedge's.
        if not any(answered == key for answered, _ in self._answered):
            self._lost.require_none(key, mark)
        return None

    def _keep(self, key: bytes, number: int, visit: Visit | None) -> None:
        """Note a new answer, which the walk that got it has taken."""
        self._answered.append((key, number))
        if visit is not None:
            visit.took(partial(self._put_back, key, number))

    async def _send(
        self, call: PaidCall, send: Send, key: bytes, mark: StageMark, visit: Visit | None
    ) -> RawAnswer:
        intent = self._intent(call, key, mark.stage)
        number = await self.run.begin_call(intent)
        recorder, sent = current_recorder(), False
        try:
            await anyio.lowlevel.checkpoint_if_cancelled()
            sent = True
            set_call((self.item, key, number, intent.at))
            set_recorder(None)  # what the provider calls in turn is a part of this call
            raw = await send()
        except BaseException as error:
            unknown = sent and not is_unbilled(error)
            await self._end(number, intent, _failed(error, unknown=unknown, at=self._now()))
            if unknown:
                self._lose(_lost(number, intent), of_this_run=True)
            raise
        finally:
            set_call(None)
            set_recorder(recorder)
        end = end_of(self.run, call, raw, begun=intent.at)
        await self._end(number, intent, end)
        if end.state in _ANSWERED:
            self._keep(key, number, visit)
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
        if uses and quote.worst is None and (refusing := run.budgets.refusing(uses)) is not None:
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

    def _end(self, number: int, intent: Intent, end: CallEnd) -> Awaitable[Settled]:
        return self.run.end_call(number, end, intent.budgets, intent.hold)

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
        told = digest([self._origin.hex(), stage, record.key, value])
        return bytes.fromhex(told), value

    async def group_of(self, member: bytes, /) -> Group | None:
        """Answer the group that *member* was frozen into before, if it was."""
        group = await self.run.journal.group_of(self.run.number, member)
        if group is not None and group.state == "dead" and self.item != self._origin:
            return None  # redriven without all others, it is gathered anew
        return group

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


def _lost(number: int, intent: Intent) -> PastCall:
    return PastCall(
        call=number,
        key=intent.key,
        state="unknown",
        stage=intent.stage,
        hold=intent.hold or 0,
        at=intent.at,
    )


def _labels(attributes: Mapping[str, Any]) -> dict[str, str]:
    return {
        name: value
        for name, value in attributes.items()
        if isinstance(value, str) and len(value) <= _LABEL
    }
