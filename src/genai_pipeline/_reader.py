"""`Reader`: takes deliveries from a source, and hands them to those who carry."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, Protocol

import anyio
import anyio.lowlevel
import attrs

from genai_pipeline._closing import close_deliveries
from genai_pipeline._error_groups import failure_in
from genai_pipeline._handoff import Handoff
from genai_pipeline._tally import Tally
from genai_pipeline.clock import Clock
from genai_pipeline.errors import Transient
from genai_pipeline.events import SourceFailed, emit
from genai_pipeline.records import Delivery, accept
from genai_pipeline.types import Source

if TYPE_CHECKING:
    from genai_pipeline._journal import Finished

__all__ = ["Reader"]

_CHECKPOINT_EVERY = 64
_CLOSE_SECONDS = 30.0
_REOPEN_FIRST, _REOPEN_MOST = 1.0, 60.0


class Fail(Protocol):
    """Notes an error to be raised at the end of the run, which stops for the reason given."""

    def __call__(self, error: Exception, /, *, stop: str) -> None: ...


@attrs.define(kw_only=True, eq=False)
class Reader:
    """
    Reads *source* until it ends, or `stop` is called; passes by what ended in an earlier run.

    An *endless* one is begun again, after a growing wait, when it fails for a passing reason.
    """

    source: Source[Any]
    handoff: Handoff[Delivery[Any]]
    tally: Tally
    clock: Clock
    fail: Fail
    endless: bool
    finished: Finished | None = None
    """The keys of the records that need not be looked at; known once the journal is open."""

    exhausted: bool = attrs.field(default=False, init=False)
    """Whether the source came to its end."""

    _scope: anyio.CancelScope = attrs.field(factory=anyio.CancelScope, init=False)

    def stop(self) -> None:
        """Read no more."""
        self._scope.cancel()

    async def read(self) -> None:
        """Read to the end, and tell the workers that nothing more will come."""
        try:
            with self._scope:
                if self.endless:
                    await self._read_again_and_again()
                else:
                    await self._read_once()
        except (Exception, BaseExceptionGroup) as raised:  # noqa: BLE001 - reported at the end
            error = await failure_in(raised)
            emit(SourceFailed(error=error, retry_in=None))
            self.fail(error, stop=f"the source failed: {error}")
        finally:
            self.handoff.close()

    async def skip(self, delivery: Delivery[Any]) -> None:
        """Pass a record by that has ended since the run began."""
        self.tally.skipped += 1
        await self._pass_by(delivery)

    async def _read_once(self) -> None:
        handoff, tally, finished = self.handoff, self.tally, self.finished
        deliveries = aiter(self.source)
        try:
            async for delivery in deliveries:
                tally.read += 1
                if finished is not None and delivery.record.key in finished:
                    tally.skipped += 1
                    if delivery.settle is not accept or not tally.skipped % _CHECKPOINT_EVERY:
                        await self._pass_by(delivery)
                elif not handoff.put(delivery):
                    await handoff.wait_for_room()
        finally:
            await _close(deliveries)
        self.exhausted = True

    async def _read_again_and_again(self) -> None:
        wait = _REOPEN_FIRST
        while not self.exhausted:
            read = self.tally.read
            try:
                await self._read_once()
            except Transient as error:
                wait = _REOPEN_FIRST if self.tally.read > read else wait
                seconds = max(wait, error.retry_after or 0)
                emit(SourceFailed(error=error, retry_in=seconds))
                await self.clock.sleep(seconds)
                wait = min(wait * 2, _REOPEN_MOST)

    async def _pass_by(self, delivery: Delivery[Any]) -> None:
        """Tell the source of a record that ended in an earlier run, which it may not know yet."""
        if delivery.settle is not accept:
            with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
                try:
                    await delivery.settle(None)
                except Exception as error:  # noqa: BLE001 - the source will deliver it again
                    self.fail(error, stop="the source did not take back a record")
        else:
            await anyio.lowlevel.checkpoint()


async def _close(deliveries: AsyncIterator[Any]) -> None:
    with anyio.move_on_after(_CLOSE_SECONDS, shield=True):
        await close_deliveries(deliveries)
