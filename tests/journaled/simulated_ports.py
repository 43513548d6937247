"""What a simulated process reaches the world by: once it is dead, nothing reaches anything."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import attrs
from anyio.lowlevel import checkpoint

import genai_pipeline as gp
from genai_pipeline._journal import CallEnd, Claim, Intent, ItemEnd, Settled
from genai_pipeline._journal_tables import TableRows
from genai_pipeline.journals import Memory, Sqlite

if TYPE_CHECKING:
    from .simulation import World

T = TypeVar("T")

PRICES = gp.PriceBook({"double": {"input": "1", "output": "10"}})


class Dead(BaseException):
    """The process is gone."""


class TrioClock:
    """The virtual time of the event loop, with a wall clock that may jump."""

    offset = 1_800_000_000.0

    def now(self) -> float:
        return anyio.current_time()

    def wall(self) -> float:
        return anyio.current_time() + self.offset

    async def sleep(self, seconds: float, /) -> None:
        await anyio.sleep(max(0.0, seconds))

    def cancel_at(self, deadline: float, /) -> anyio.CancelScope:
        return anyio.CancelScope(deadline=deadline)

    def postpone(self, scope: anyio.CancelScope, deadline: float, /) -> None:
        scope.deadline = deadline


@attrs.define(eq=False)
class Life:
    """One process."""

    world: World
    alive: bool = True
    sick: bool = False
    """Whether its disk failed."""

    carried: set[bytes] = attrs.field(factory=set)
    handed_out: set[str] = attrs.field(factory=set)
    """Prompts whose answers reached it."""

    inner: Any = None
    """Its journal."""

    def check(self) -> None:
        """Refuse to a dead process."""
        if self.gone:
            self.die()
            raise Dead

    @property
    def gone(self) -> bool:
        """Whether it is dead, or the machine that it runs on."""
        return not self.alive or self.world.dark is not None

    def die(self) -> None:
        """Die, as by ``kill -9``, or with the machine."""
        if self.alive:
            self.alive = False
            self.world.change_disks()
            self.inner.crash()
            if isinstance(self.inner, Sqlite) and self.inner._file is not None:
                self.inner._file.lock.drop()  # had it been leaving when the power went

    async def use(self, port: str, work: Callable[[], Awaitable[T]]) -> T:
        """Do *work* through a port, unless a fault is due."""
        self.check()
        fault = self.world.due(port)
        if fault == "death":
            self.die()
        self.check()
        if fault == "disk":
            self.sick = True
            if isinstance(self.inner, Memory):
                raise gp.errors.StorageFailed("the disk failed")
            self.world.break_disk()
        elif fault == "power cut":
            self.world.cut_power_soon()
        try:
            answer = await work()
        finally:
            self.check()  # without power nobody hears how it went
        if fault == "death after":
            self.die()
        self.check()
        return answer

    def rest(self) -> None:
        """Write the journal's log back now and then, as its thread does when it has time."""
        if isinstance(self.inner, Sqlite) and self.world.chance.random() < 0.2:
            assert self.inner._file is not None
            self.inner._file.rest()

    def open_journal(self) -> None:
        """Make the journal of this process over what outlives it."""
        world = self.world
        if world.disk is None:
            self.inner = world.memory
            return

        def connect(path: Path) -> Any:
            if self.gone:
                raise Dead
            assert world.disk is not None
            return world.disk.connect(path)

        self.inner = Sqlite(
            world.folder / "run.db", ballast=0, clock=world.clock, writer="inline", connect=connect
        )


@attrs.define(eq=False)
class JournalPort:
    """The journal as one process reaches it; what each commit must not do is looked for here."""

    life: Life

    async def __aenter__(self) -> JournalPort:
        await self.life.inner.__aenter__()
        return self

    async def __aexit__(self, *_: object) -> None:
        if not self.life.gone:
            await self.life.inner.__aexit__(None, None, None)

    def __getattr__(self, name: str) -> Any:
        async def ask(*given: Any, **named: Any) -> Any:
            method = getattr(self.life.inner, name)
            return await self.life.use(name, lambda: method(*given, **named))

        return ask

    async def claim(self, run: int, key: str, /, **subject: str) -> Claim:
        life = self.life

        async def work() -> Claim:
            claim: Claim = await life.inner.claim(run, key, **subject)
            life.world.items[claim.item] = key
            if claim.state == "claimed":
                if claim.item in life.carried:
                    life.world.wrong(f"O5: {key} is carried by two workers")
                life.carried.add(claim.item)
                if len(life.carried) > life.world.plan.max_in_flight:
                    life.world.wrong("O8: more records are carried than may be")
            return claim

        return await life.use("claim", work)

    async def begin_call(self, intent: Intent, /) -> int:
        async def work() -> int:
            world = self.life.world
            with world.in_doubt_of_call():
                number: int = await self.life.inner.begin_call(intent)
            world.begun.add(number)
            await world.look_at_money(self.life)
            return number

        try:
            return await self.life.use("begin_call", work)
        except gp.errors.BudgetExhausted as error:
            self.life.world.saw("waited for money" if error.waits else "money used up")
            raise

    async def end_call(self, call: int, end: CallEnd, /) -> Settled:
        async def work() -> Settled:
            world = self.life.world
            body = None if end.answer is None else end.answer.body
            with world.in_doubt_of_answer(call, body):
                settled: Settled = await self.life.inner.end_call(call, end)
            if settled.state == "answered" and body is not None:
                world.keep(call, body)
            if settled.state == "unknown":
                self.life.world.saw("a call of unknown outcome")
            await self.life.world.look_at_money(self.life)
            return settled

        return await self.life.use("end_call", work)

    async def end_item(
        self, item: bytes, end: ItemEnd, /, *, rows: Sequence[TableRows] = ()
    ) -> None:
        world, key = self.life.world, self.life.world.items.get(item)

        async def work() -> None:
            with world.in_doubt_of_end(key, end):
                await self.life.inner.end_item(item, end, rows=rows)
            self.life.carried.discard(item)
            if key is not None:
                world.note_end(key, end)
            self.life.rest()

        await self.life.use("end_item", work)


@attrs.define(eq=False)
class QueuePort:
    """A queue that delivers what is not settled, in any order, some of it more than once."""

    life: Life
    again: bool = False
    """Whether it delivers also what was settled."""

    async def __aiter__(self) -> AsyncIterator[gp.Delivery[Any]]:
        world = self.life.world
        keys = list(world.keys) if self.again else [k for k in world.keys if k not in world.settled]
        if not self.again:
            keys += [key for key in world.keys if world.chance.random() < 0.15]
            world.chance.shuffle(keys)
        for key in keys:
            self.life.check()
            if world.chance.random() < 0.3:
                await anyio.sleep(world.chance.randint(0, 2))
            self.life.check()
            if key in world.settled:
                world.saw("delivered again after its end")
            world.tell("deliver", key)
            record = gp.Record([int(key)], key, world.attributes(int(key)))
            yield gp.Delivery(record, self._settler(key))

    def _settler(self, key: str) -> Any:
        async def settle(error: Exception | None) -> None:
            async def work() -> None:
                await checkpoint()
                self.life.world.settle(key, error)

            await self.life.use("settle", work)

        return settle


async def serve(life: Life, request: gp.Request) -> gp.Response:
    """Answer as the world's model, which bills a call as soon as it arrives."""
    world, prompt = life.world, request.prompt
    life.check()
    fault = world.due("provider")
    if fault == "429":
        raise gp.errors.RateLimited("slow down", retry_after=1)
    if fault == "500":
        raise gp.errors.Overloaded("busy")
    if fault == "401":
        raise gp.errors.AuthenticationFailed("who are you")
    if fault == "unsent":
        raise gp.errors.ConnectionFailed("no route", sent=False)
    chance = random.Random(f"{world.plan.seed} {prompt}")
    usage = gp.Usage(input_tokens=len(prompt) // 2, output_tokens=chance.randint(1, 4))
    response = gp.Response(f"re {prompt}", usage=usage, model="double")
    world.bill(prompt, usage)
    world.served[gp.call_token() or ""] = response
    if fault == "death":
        life.die()
    await anyio.sleep(world.chance.choice((0, 0, 1, 2)))
    life.check()
    if fault == "timeout":
        await anyio.sleep(30)
        raise gp.errors.AttemptTimeout("too slow")
    if fault == "lost":
        raise gp.errors.ConnectionFailed("cut off", sent=True)
    life.handed_out.add(prompt)
    return response


async def look_up(life: Life, call: gp.LostCall) -> gp.Response | Any:
    """Answer, as the world's model, what became of a call."""
    world = life.world
    life.check()
    fault = world.due("find")
    await anyio.sleep(world.chance.choice((0, 1)))
    life.check()
    if fault == "death":
        life.die()
        life.check()
    if fault == "500":
        raise gp.errors.Overloaded("busy")
    found = None if fault == "unknown" else world.served.get(call.token, "void")
    world.saw(f"{'answer' if isinstance(found, gp.Response) else found} found of a lost call")
    if isinstance(found, gp.Response):
        life.handed_out.add(call.request.prompt)
    return found
