"""What the tests of the engine run pipelines over."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import anyio
import anyio.lowlevel

from genai_pipeline import Delivery, Pipeline, Record, Report
from genai_pipeline.clock import Clock


class Ledger:
    """A source that writes down how each of its records was settled."""

    def __init__(
        self,
        values: Iterable[Any],
        *,
        fails_at: int | None = None,
        error: Exception | None = None,
        bad: Callable[[Any], Exception | None] = lambda _: None,
        clock: Clock | None = None,
        every: float = 0.0,
    ) -> None:
        self.values = list(values)
        self.settled: dict[str, list[Exception | None]] = {}
        self.read: list[str] = []
        self.closed = True
        self.most_unsettled = 0
        self._fails_at = fails_at
        self._error = error or OSError("the source broke")
        self._bad = bad
        self._clock = clock
        self._every = every

    async def __aiter__(self) -> AsyncIterator[Delivery[Any]]:
        self.closed = False
        try:
            for ordinal, value in enumerate(self.values):
                if ordinal == self._fails_at:
                    raise self._error
                if self._clock is not None:
                    await self._clock.sleep(self._every)
                key = str(ordinal)
                self.read.append(key)
                unsettled = len(self.read) - len(self.settled)
                self.most_unsettled = max(self.most_unsettled, unsettled)
                yield Delivery(Record(value, key), self._settler(key), self._bad(value))
        finally:
            self.closed = True

    def _settler(self, key: str) -> Callable[[Exception | None], Any]:
        async def settle(error: Exception | None) -> None:
            await anyio.lowlevel.checkpoint()
            self.settled.setdefault(key, []).append(error)

        return settle

    def check(self) -> None:
        """Assert that every record that was read was settled exactly once."""
        assert Counter(self.read) == {key: len(ends) for key, ends in self.settled.items()}
        assert all(len(ends) == 1 for ends in self.settled.values())
        assert self.closed

    @property
    def done(self) -> list[str]:
        """The keys of the records that came to a good end or among the dead letters."""
        return [key for key, (error,) in self.settled.items() if error is None]

    @property
    def handed_back(self) -> dict[str, Exception]:
        """The errors with which records were handed back."""
        return {key: error for key, (error,) in self.settled.items() if error is not None}


class Kept:
    """A sink that keeps what it gets, and may refuse some."""

    def __init__(self, refuse: Callable[[Any], Exception | None] = lambda _: None) -> None:
        self.records: list[Record[Any]] = []
        self.entered = self.left = 0
        self.left_with: type[BaseException] | None = None
        self._refuse = refuse

    @property
    def values(self) -> Sequence[Any]:
        """The values, in the order of writing."""
        return [record.value for record in self.records]

    async def __call__(self, record: Record[Any]) -> None:
        await anyio.lowlevel.checkpoint()
        error = self._refuse(record.value)
        if error is not None:
            raise error
        self.records.append(record)

    async def __aenter__(self) -> None:
        self.entered += 1

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self.left += 1
        self.left_with = kind


async def run_interrupted(pipeline: Pipeline[Any, Any], kind: str, *, at: float) -> Report:
    """
    Run *pipeline*, and after *at* seconds stop it or cancel it, as *kind* says; answer the account.

    Any other kind leaves it alone: what it does by itself, as on a timeout.
    """
    with anyio.CancelScope() as scope:

        async def interrupt() -> None:
            await pipeline.clock.sleep(at)
            if kind == "stop":
                pipeline.stop()
            elif kind == "cancel":
                scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(interrupt)
            await pipeline.run()
    return pipeline.report()
