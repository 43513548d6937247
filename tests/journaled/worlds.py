"""Worlds in which processes die: every port of a dead one refuses, so no clean-up reaches out."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import anyio.lowlevel
import attrs

import genai_pipeline as gp
from genai_pipeline._journal import (
    CallEnd,
    Claim,
    Group,
    Intent,
    ItemEnd,
    ItemState,
    RunInfo,
    Settled,
)
from genai_pipeline.journals import Memory, Sqlite
from genai_pipeline.testing import FakeClock

T = TypeVar("T")

PRICES = gp.PriceBook({"double": {"input": "1", "output": "10"}})


class Dead(BaseException):
    """The process is gone: nothing that it tries reaches anything any more."""


@attrs.define
class Life:
    """One process; it dies at its *dies_at*-th use of a port, before or after that has effect."""

    world: World
    dies_at: int | None = None
    after: bool = False
    alive: bool = True
    uses: int = 0

    async def use(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do *work* through a port."""
        self.uses += 1
        last = self.uses == self.dies_at
        if last and not self.after:
            self.die()
        self.check()
        try:
            answer = await work()
        finally:
            self.check()  # whoever died meanwhile hears of nothing
        if last:
            self.die()
        self.check()
        return answer

    def die(self) -> None:
        """Die, as by ``kill -9``."""
        if self.alive:
            self.alive = False
            self.world.journal.crash()

    def check(self) -> None:
        """Refuse to a dead process."""
        if not self.alive:
            raise Dead


class Provider:
    """A model with a bill of its own, in which a call stands as soon as it arrives."""

    def __init__(self, clock: FakeClock, faults: Mapping[int, str], latency: Sequence[int]) -> None:
        self.clock = clock
        self.faults = faults
        self.latency = latency
        self.calls = 0
        self.billed: Counter[str] = Counter()
        self.lost: Counter[str] = Counter()
        """Billed calls whose answer nobody kept: in flight at a failure, or cut off."""
        self.kept: set[str] = set()
        """Prompts whose answer is in the journal."""
        self.money = Decimal(0)
        self.wrong: list[str] = []
        """What must not happen; an assertion would be a failure of the record."""

    async def serve(self, life: Life, request: gp.Request) -> gp.Response:
        """Answer, unless a fault is due."""
        life.check()
        self.calls += 1
        fault = self.faults.get(self.calls)
        delay = self.latency[self.calls % len(self.latency)]
        if fault == "unsent":
            raise gp.errors.ConnectionFailed("no route", sent=False)
        if fault == "limited":
            raise gp.errors.RateLimited("slow down", retry_after=1)
        if fault == "refused":
            raise gp.errors.InvalidRequest("no")
        prompt = request.prompt
        if prompt in self.kept:
            self.wrong.append(f"{prompt} is paid for again, and its answer was kept")
        self.billed[prompt] += 1
        self.lost[prompt] += 1  # until its answer is kept
        usage = gp.Usage(input_tokens=len(prompt), output_tokens=4)
        self.money += PRICES.cost("double", "double", usage, at=0.0) or 0
        await self.clock.sleep(delay)
        life.check()
        if fault == "lost":
            raise gp.errors.ConnectionFailed("cut off", sent=True)
        return gp.Response(f"re {prompt}", usage=usage, model="double")

    def keep(self, body: bytes) -> None:
        """Note that an answer is in the journal."""
        prompt = str(json.loads(body)["response"]["text"]).removeprefix("re ")
        self.kept.add(prompt)
        self.lost[prompt] -= 1


@attrs.define
class World:
    """What outlives processes: the journal, the provider, the sink, and what they know."""

    clock: FakeClock
    provider: Provider
    journal: Memory | Sqlite = attrs.field(factory=Memory)
    sink: dict[str, Any] = attrs.field(factory=dict)
    items: dict[bytes, str] = attrs.field(factory=dict)
    ends: dict[str, list[str]] = attrs.field(factory=dict)
    """The ends of each record, in the order in which they were kept."""


@attrs.define(eq=False)
class MortalJournal:
    """The world's journal as one process reaches it."""

    life: Life

    @property
    def _inner(self) -> Any:
        return self.life.world.journal

    async def __aenter__(self) -> MortalJournal:
        await self.life.use(self._inner.__aenter__)
        return self

    async def __aexit__(self, *_: object) -> None:
        if self.life.alive:
            await self._inner.__aexit__(None, None, None)

    async def begin_run(self, run: RunInfo, /) -> int:
        return await self.life.use(lambda: self._inner.begin_run(run))

    async def end_run(self, run: int, state: str, at: float, counts: Mapping[str, int], /) -> None:
        await self.life.use(lambda: self._inner.end_run(run, state, at, counts))

    async def finished(self, pipeline: str, fingerprint: str, /) -> Any:
        return await self.life.use(lambda: self._inner.finished(pipeline, fingerprint))

    async def claim(self, run: int, key: str, /, *, subject: str | None = None) -> Claim:
        claim: Claim = await self.life.use(lambda: self._inner.claim(run, key, subject=subject))
        self.life.world.items[claim.item] = key
        return claim

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
        return await self.life.use(
            lambda: self._inner.freeze_group(run, stage, members, body, items=items)
        )

    async def group_of(self, run: int, member: bytes, /) -> Group | None:
        return await self.life.use(lambda: self._inner.group_of(run, member))

    async def begin_call(self, intent: Intent, /) -> int:
        return await self.life.use(lambda: self._inner.begin_call(intent))

    async def end_call(self, call: int, end: CallEnd, /) -> Settled:
        async def work() -> Settled:
            settled: Settled = await self._inner.end_call(call, end)
            if settled.state == "answered" and end.answer is not None:
                self.life.world.provider.keep(end.answer.body)
            return settled

        return await self.life.use(work)

    async def answer(self, call: int, /) -> Any:
        return await self.life.use(lambda: self._inner.answer(call))

    async def counts(self, pipeline: str, /) -> Mapping[ItemState, int]:
        return await self.life.use(lambda: self._inner.counts(pipeline))

    async def past_calls(self, keys: Sequence[str], pipeline: str, /) -> Mapping[str, Claim]:
        return await self.life.use(lambda: self._inner.past_calls(keys, pipeline))

    async def end_item(self, item: bytes, end: ItemEnd, /) -> None:
        async def work() -> None:
            await self._inner.end_item(item, end)
            if item in self.life.world.items and end.state in {"done", "filtered", "dead"}:
                key = self.life.world.items[item]
                self.life.world.ends.setdefault(key, []).append(end.state)

        await self.life.use(work)


@attrs.define(eq=False)
class MortalSource:
    """Ordinals, read anew by each process, whose settling reaches the world."""

    life: Life
    count: int
    settled: Counter[str] = attrs.field(factory=Counter)
    read: list[str] = attrs.field(factory=list)

    async def __aiter__(self) -> AsyncIterator[gp.Delivery[Any]]:
        for ordinal in range(self.count):
            self.life.check()
            key = str(ordinal)
            self.read.append(key)
            yield gp.Delivery(gp.Record([ordinal], key), self._settler(key))

    def _settler(self, key: str) -> Callable[[Exception | None], Awaitable[None]]:
        async def settle(error: Exception | None) -> None:
            async def work() -> None:
                await anyio.lowlevel.checkpoint()
                self.settled[key] += 1

            await self.life.use(work)

        return settle


@attrs.define(eq=False)
class MortalSink:
    """Keeps values by key; a repeat must bring the same."""

    life: Life
    rejects_at: frozenset[int] = frozenset()
    writes: int = 0

    async def __call__(self, record: gp.Record[Any]) -> None:
        self.writes += 1
        if self.writes in self.rejects_at:
            raise gp.Rejected("not now", retry_after=1)

        async def work() -> None:
            await anyio.lowlevel.checkpoint()
            world = self.life.world
            if world.sink.setdefault(record.key, record.value) != record.value:
                world.provider.wrong.append(f"a repeat of {record.key} brought something else")

        await self.life.use(work)


def models_of(life: Life, retry: bool) -> Any:
    """Answer the world's provider as one process calls it: a third party's, journaled."""

    async def call(request: gp.Request) -> gp.Response:
        return await life.world.provider.serve(life, request)

    journaled = gp.Journaled(provider="double", model="double")
    if not retry:
        return gp.wrap(call, journaled)
    policy = gp.Retry(on=gp.Transient, attempts=3, clock=life.world.clock)
    return gp.wrap(call, policy, journaled)
