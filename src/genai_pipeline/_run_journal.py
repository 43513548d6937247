"""`RunJournal`: what one run asks of its journal, and what it counts on the way."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import anyio
import attrs

from genai_pipeline._journal import (
    BudgetUse,
    CallEnd,
    Claim,
    Finished,
    Intent,
    ItemEnd,
    Journal,
    RunInfo,
    Settled,
)
from genai_pipeline._lifespan import every_part
from genai_pipeline._paid import StageMark
from genai_pipeline._versions import fingerprint_of
from genai_pipeline.clock import Clock
from genai_pipeline.errors import BudgetExhausted, ConfigurationError, Stopped, StorageFailed
from genai_pipeline.events import emit
from genai_pipeline.money import Budgets, PriceBook

if TYPE_CHECKING:
    from genai_pipeline.pipeline import Pipeline

__all__ = ["RunJournal", "committed", "publishes_at_end"]

T = TypeVar("T")

_COMMIT_SECONDS = 60.0


@attrs.define(kw_only=True, eq=False)
class RunJournal:
    """A journal as one run of a pipeline uses it; entered and left by the run."""

    journal: Journal
    info: RunInfo
    clock: Clock
    prices: PriceBook
    budgets: Budgets
    erases: bool
    """Whether it is told whose data records are, so that it can erase them."""

    stopping: Callable[[], bool]
    """Whether the run stops, so that no new call is made."""

    number: int = 0
    """Of the run; 0 before `begin`."""

    charged: int = 0
    """Nano-dollars that the calls of this run count with."""

    priced: bool = False
    """Whether the price of any call was known."""

    replayed: int = 0
    """Calls answered from the journal."""

    _under_way: int = attrs.field(default=0, init=False)
    """Calls that hold money, or are about to, and will end."""

    _settled: anyio.Event = attrs.field(factory=anyio.Event, init=False)

    @classmethod
    def of(
        cls,
        pipeline: Pipeline[Any, Any],
        stages: Sequence[StageMark],
        stopping: Callable[[], bool],
    ) -> RunJournal | None:
        """Answer the journal of *pipeline* for one run; `None` when it has none."""
        if pipeline.journal is None:
            return None
        from importlib.metadata import version  # noqa: PLC0415 - brings email, for one word

        fingerprint = fingerprint_of(stages)
        if publishes_at_end(pipeline.sink):
            # Each run has to give it everything again, so for no other run is anything finished.
            fingerprint = f"{fingerprint} {secrets.token_hex(8)}"
        info = RunInfo(
            pipeline=pipeline.name,
            fingerprint=fingerprint,
            stages=tuple(mark.stage for mark in stages),
            began=pipeline.clock.wall(),
            version=version("genai_pipeline"),
        )
        return cls(
            journal=pipeline.journal,
            info=info,
            clock=pipeline.clock,
            prices=pipeline.prices or PriceBook(),
            budgets=Budgets(pipeline.budgets),
            erases=pipeline.subject is not None,
            stopping=stopping,
        )

    async def begin(self) -> Finished:
        """Note that the run begins; answer the keys of records that have ended for good."""
        self.number = await self.journal.begin_run(self.info)
        return await self.journal.finished(self.info.pipeline, self.info.fingerprint)

    async def end(self, state: str, counts: dict[str, int]) -> None:
        """Note that the run has ended: ``ended``, ``stopped`` or ``failed``."""
        await committed(
            self.journal.end_run(self.number, state, self.clock.wall(), counts),
        )

    async def claim(self, key: str, subject: str | None = None) -> Claim:
        """Take the record *key* up, which is of *subject*."""
        if not key:
            raise ConfigurationError(
                "Pipeline: the source delivered a record without a key, and a journal knows "
                "records by their keys; let the source give each its own"
            )
        if subject is None:
            return await self.journal.claim(self.number, key)
        return await self.journal.claim(self.number, key, subject=subject)

    async def end_item(self, item: bytes, end: ItemEnd) -> None:
        """Note how a record ended (T3); also when the run is cancelled meanwhile."""
        await committed(self.journal.end_item(item, end))

    async def begin_call(self, intent: Intent) -> int:
        """
        Note an intent and hold its money (T1); waits while calls under way hold what is missing.

        Raises `Stopped` when the run stops, `BudgetExhausted` when waiting is no use.
        """
        while True:
            if self.stopping():
                raise Stopped("the run stops, and no new call is made")
            settled, begun = self._settled, False
            self._under_way += 1
            try:
                number = await committed(self.journal.begin_call(intent))
            except BudgetExhausted as error:
                # A call whose end could not be kept holds its money on, and nobody returns it.
                if not error.waits or not (self._under_way > 1 or settled.is_set()):
                    raise
            else:
                begun = True
                return number
            finally:
                if not begun:
                    self._under_way -= 1
                    if not self._under_way:
                        self.wake()
            await settled.wait()

    async def end_call(
        self, call: int, end: CallEnd, uses: tuple[BudgetUse, ...], hold: int | None
    ) -> Settled:
        """Note how a call ended (T2), and tell of budgets; also when the run is cancelled."""
        try:
            settled = await committed(self.journal.end_call(call, end))
        finally:
            self._under_way -= 1
            self.wake()
        self.charged += settled.charged
        known = end.cost is not None or (hold is not None and end.state != "void")
        self.priced = self.priced or known
        for event in self.budgets.reached(uses, settled.spent):
            emit(event)
        return settled

    def wake(self) -> None:
        """Let those who wait for money look again."""
        self._settled.set()
        self._settled = anyio.Event()


def publishes_at_end(sink: object) -> bool:
    """Tell whether *sink*, or what it is made of, is durable only when a run ends."""
    return any(getattr(part, "publishes_at_end", False) is True for part in every_part(sink))


async def committed(work: Awaitable[T]) -> T:
    """Await *work* although the task may be cancelled, but not for ever."""
    with anyio.move_on_after(_COMMIT_SECONDS, shield=True):
        return await work
    raise StorageFailed(
        f"the journal did not answer for {_COMMIT_SECONDS:g} s; look at its disk, and run again"
    )
