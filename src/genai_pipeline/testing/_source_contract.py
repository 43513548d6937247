"""What every source promises, as tests that anybody can run on their own."""

from __future__ import annotations

import gc
import warnings
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar

import anyio
import anyio.lowlevel
import pytest

from genai_pipeline._closing import close_deliveries
from genai_pipeline.errors import Stopped
from genai_pipeline.records import Delivery, Record
from genai_pipeline.types import Source

__all__ = ["SourceContract"]


class SourceContract:
    """
    The tests of a source: subclass it, override `make`, and let pytest collect the subclass.

    ::

        class TestMySource(SourceContract):
            expected = ["a", "b", "c"]

            def make(self) -> Source[str]:
                return MySource("abc")

    Each test runs on asyncio and on trio, so both must be installed. The source should be
    finite, and give three records or more, so that closing it early means something. Fixtures
    of your own can prepare what `make` reads; store them on ``self``.
    """

    pytestmark = pytest.mark.anyio

    expected: ClassVar[Sequence[Any]]
    """The values of the records that carry no error."""

    ordered: ClassVar[bool] = True
    """Whether the values come in the order of *expected*."""

    repeatable: ClassVar[bool] = True
    """Whether the same object can be read again, from the beginning."""

    @pytest.fixture(params=["asyncio", "trio"])
    def anyio_backend(self, request: pytest.FixtureRequest) -> str:
        """Run each test on both event loops."""
        return str(request.param)

    def make(self) -> Source[Any]:
        """Answer a new source; all that it answers must read the same input."""
        raise NotImplementedError(f"{type(self).__name__} must override make()")

    async def test_it_gives_the_expected_values(self) -> None:
        """The values are the expected ones, in their order if the source keeps one."""
        self._check_values(await _records(self.make()))

    async def test_its_keys_are_unique(self) -> None:
        """Every record has a key of its own, a text that is not empty."""
        keys = [record.key for record in await _records(self.make())]
        assert all(isinstance(key, str) and key for key in keys)
        assert len(set(keys)) == len(keys)

    async def test_its_keys_are_stable(self) -> None:
        """A second source over the same input gives the same values the same keys."""
        first, second = await _records(self.make()), await _records(self.make())
        assert _keys_of(first) == _keys_of(second)

    async def test_it_can_be_read_again(self) -> None:
        """A repeatable source gives the same records each time it is iterated."""
        source = self.make()
        first = await _records(source)
        if self.repeatable:
            assert _keys_of(await _records(source)) == _keys_of(first)

    async def test_every_delivery_can_be_settled_once(self) -> None:
        """Telling the source that a record reached its end raises nothing."""
        async with _reading(self.make()) as deliveries:
            async for delivery in deliveries:
                await delivery.settle(None)

    async def test_deliveries_can_be_settled_in_any_order(self) -> None:
        """Records settle concurrently and backwards, while others are still to be read."""
        unsettled: list[Delivery[Any]] = []
        async with _reading(self.make()) as deliveries:
            async for delivery in deliveries:
                unsettled.insert(0, delivery)
                if len(unsettled) > 2:
                    await unsettled.pop(1).settle(None)
            async with anyio.create_task_group() as tasks:
                for delivery in unsettled:
                    tasks.start_soon(_settle, delivery)

    async def test_deliveries_can_be_handed_back(self) -> None:
        """A source accepts that a record was not finished, and goes on."""
        values = []
        async with _reading(self.make()) as deliveries:
            async for delivery in deliveries:
                await delivery.settle(Stopped("the run ended before the record was finished"))
                values.append(delivery.record)
        assert len(values) >= len(self.expected)

    async def test_closing_it_early_releases_what_it_holds(self) -> None:
        """A reading that is closed after the first record leaves nothing open behind it."""
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            source = self.make()
            async with _reading(source) as deliveries:
                first = await anext(deliveries)
                await first.settle(None)
            del deliveries
            gc.collect()
        assert [each for each in caught if each.category is ResourceWarning] == []
        if self.repeatable:
            self._check_values(await _records(source))

    @pytest.mark.parametrize("patience", [0, 1, 2, 5, 20])
    async def test_being_cancelled_breaks_nothing(self, patience: int) -> None:
        """A reading that is cancelled, at once or later, leaves the input as it was."""
        source = self.make()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_read_slowly, source)
            for _ in range(patience):
                await anyio.lowlevel.checkpoint()
            tasks.cancel_scope.cancel()
        self._check_values(await _records(source if self.repeatable else self.make()))

    def _check_values(self, records: Sequence[Record[Any]]) -> None:
        values = [record.value for record in records]
        if self.ordered:
            assert values == list(self.expected)
        else:
            assert sorted(values, key=repr) == sorted(self.expected, key=repr)


@asynccontextmanager
async def _reading(source: Source[Any]) -> AsyncIterator[AsyncIterator[Delivery[Any]]]:
    """Iterate over *source*, and close the iterator as a runner does."""
    deliveries = aiter(source)
    try:
        yield deliveries
    finally:
        await close_deliveries(deliveries)


async def _records(source: Source[Any]) -> list[Record[Any]]:
    """Read and settle everything; answer the records that carry no error."""
    records = []
    async with _reading(source) as deliveries:
        async for delivery in deliveries:
            await delivery.settle(None)
            if delivery.error is None:
                records.append(delivery.record)
    return records


async def _settle(delivery: Delivery[Any]) -> None:
    await delivery.settle(None)


async def _read_slowly(source: Source[Any]) -> None:
    async with _reading(source) as deliveries:
        async for delivery in deliveries:
            await anyio.lowlevel.checkpoint()
            await delivery.settle(None)
        await anyio.sleep_forever()


def _keys_of(records: Sequence[Record[Any]]) -> list[tuple[str, str]]:
    return sorted((record.key, repr(record.value)) for record in records)
