"""Walking records up to the first call that would cost money, and no further."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from decimal import Decimal
from typing import Any, ClassVar, cast

import anyio
import attrs

from genai_pipeline._chain import Chain
from genai_pipeline._journal import Claim, Journal, RawAnswer
from genai_pipeline._journal_tables import PendingRows
from genai_pipeline._paid import (
    CallName,
    CallRecorder,
    PaidCall,
    Send,
    current_visit,
    set_recorder,
)
from genai_pipeline._recorder import key_here
from genai_pipeline.clock import Clock
from genai_pipeline.errors import Rejected, Stopped
from genai_pipeline.money import PriceBook
from genai_pipeline.records import Record
from genai_pipeline.tokens import TokenEstimator
from genai_pipeline.types import TokenCounter
from genai_pipeline.walk import Walk, set_walk

__all__ = ["DryWalks"]


class _Enough(BaseException):
    """Ends a walk where nothing more is known; no stage may take it for an error of its own."""


@attrs.define(kw_only=True, eq=False)
class DryWalks:
    """Walks records through *chain*; answers what is known from *journal*, and calls nothing."""

    chain: Chain
    journal: Journal
    prices: PriceBook
    clock: Clock
    outputs: Mapping[tuple[str, str], int]
    """How many tokens answered calls wrote on average, by stage and model."""

    deadline: float = float("inf")
    calls: int = 0
    """Records that came to a new call."""

    worst: Decimal | None = Decimal(0)
    """The most that these calls can cost together; `None` if one has no bound."""

    likely: Decimal | None = Decimal(0)
    """What they are likely to cost; `None` if that is not known of one."""

    counter: TokenCounter = attrs.field(factory=TokenEstimator)

    async def walk_all(self, records: Iterable[tuple[Record[Any], Claim | None]]) -> None:
        """Walk each of *records* by itself."""
        for record, claim in records:
            async with anyio.create_task_group() as group:
                group.start_soon(self._walk, record, claim)

    async def _walk(self, record: Record[Any], claim: Claim | None) -> None:
        recorder = _DryRecorder(self, claim)
        walk = Walk(self, record, 0, timed=False, recorder=cast("CallRecorder", recorder))
        walk.rows = PendingRows()  # which nobody writes
        set_walk(walk)
        set_recorder(walk.recorder)
        try:
            # A record that fails makes no call.
            with suppress(_Enough, Exception):
                await self.chain.walk(record, walk)
        except BaseExceptionGroup as group:
            _, others = group.split((_Enough, Exception))
            if others is not None:
                raise others from None
        if recorder.next is not None:
            self.calls += 1
            self._price(recorder.next, recorder.stage)
        elif recorder.gathers:
            self.worst = self.likely = None

    def _price(self, call: PaidCall, stage: str) -> None:
        at = self.clock.wall()
        quote = self.prices.quote(call.provider, call.model, call.request, at=at)
        self.worst = _sum(self.worst, quote.worst)
        writes = self.outputs.get((stage, call.model), quote.output_tokens)
        likely = None
        if writes is not None:
            likely = self.prices.expected(
                call.provider,
                call.model,
                call.request,
                at=at,
                output_tokens=writes,
                counter=self.counter,
            )
        self.likely = _sum(self.likely, likely)

    # What a walk may ask of its run.

    def notes(self, stages: tuple[str, ...], /) -> tuple[Callable[[float], None], ...]:
        """Answer what notes nothing."""
        return tuple(lambda _: None for _ in stages)

    def fold(self) -> None:
        """Do nothing."""

    async def park(self, rejection: Rejected, stage: str, walk: Walk, /) -> None:  # noqa: ARG002
        """Wait for nothing."""
        raise Stopped("a plan does not wait") from rejection

    async def turn(self, walk: Walk, /) -> None:
        """Wait for nobody."""


def _sum(total: Decimal | None, more: Decimal | None) -> Decimal | None:
    return None if total is None or more is None else total + more


class _DryRecorder:
    """Answers calls that are known, and ends the walk at the first that is not."""

    sends: ClassVar[bool] = False

    def __init__(self, walks: DryWalks, claim: Claim | None) -> None:
        self._walks = walks
        self._pool: dict[bytes, list[int]] = {}
        self.next: PaidCall | None = None
        self.stage = ""
        self.gathers = False
        self.item = b""
        for call in () if claim is None else claim.calls:
            if call.state == "answered":
                self._pool.setdefault(call.key, []).append(call.call)

    @property
    def replaying(self) -> bool:
        return any(self._pool.values())

    def keeps(self, call: CallName, /) -> bool:
        return bool(self._known(call))

    def _known(self, call: CallName) -> list[int]:
        return self._pool.get(key_here(call), [])

    async def make(self, call: PaidCall, send: Send, /) -> RawAnswer:  # noqa: ARG002 - not sent
        known = self._known(call)
        if known:
            return await self._walks.journal.answer(known.pop(0))
        if self.next is None:
            self.next, visit = call, current_visit()
            self.stage = "" if visit is None else visit.mark.stage
        raise _Enough

    def member(self, stage: str, record: Record[Any], /) -> tuple[bytes, Any]:  # noqa: ARG002
        self.gathers = True
        raise _Enough
