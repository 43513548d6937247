"""`SinkContract`: what every sink promises, as tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Generator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, ClassVar

import anyio
import pytest

from genai_pipeline.errors import ConfigurationError, DataError
from genai_pipeline.records import Record
from genai_pipeline.types import Sink

__all__ = ["SinkContract"]

_MANY = 200
_WORKERS = 32
_SUSPENSIONS = 30


class SinkContract:
    """
    Tests that a sink must pass; subclass it and override `make` and `read_back`.

    ::

        class TestMySink(SinkContract):
            @pytest.fixture(autouse=True)
            def place(self, tmp_path):
                self.path = tmp_path / "out"

            def make(self):
                return MySink(self.path)

            def read_back(self, sink):
                return self.path.read_text().splitlines()

    The tests run on whatever event loops the ``anyio_backend`` fixture names.
    """

    pytestmark = pytest.mark.anyio

    accumulates: ClassVar[bool] = False
    """Whether a second life cycle adds to what the first one wrote, or replaces it."""

    at_least_once: ClassVar[bool] = False
    """
    Whether a record that is written again is there again. Such a sink says so in its docstring;
    pipelines promise at most what it does.
    """

    takes_anything: ClassVar[bool] = False
    """Whether no value at all is refused."""

    refused: ClassVar[object] = object()
    """A value that cannot be written, unless the sink takes anything."""

    def make(self) -> Sink[Any]:
        """
        Answer a new sink on the place of this test.

        It is empty, or holds what the sink made before wrote, which came to a bad end.
        """
        raise NotImplementedError

    def read_back(self, sink: Sink[Any]) -> Sequence[object]:
        """Answer the values that *sink* has written, in their order, after it was left."""
        raise NotImplementedError

    def value(self, number: int) -> object:
        """Answer a value that `read_back` gives back equal; different for each *number*."""
        return {"number": number}

    def _record(self, number: int) -> Record[object]:
        return Record(self.value(number), f"key-{number}")

    def _numbers(self, sink: Sink[Any], most: int) -> list[int]:
        """Answer which of the values up to *most* were written; all else is a failure."""
        known = [self.value(number) for number in range(most)]
        found = list(self.read_back(sink))
        strange = [value for value in found if value not in known]
        assert not strange, f"values that nobody wrote: {strange!r}"
        return [known.index(value) for value in found]

    async def test_concurrent_writes_are_all_there(self) -> None:
        """What many write at once is there, each once, after the sink was left."""
        sink = self.make()
        numbers = iter(range(_MANY))

        async def work() -> None:
            for number in numbers:
                await sink(self._record(number))

        async with _entered(sink), anyio.create_task_group() as group:
            for _ in range(_WORKERS):
                group.start_soon(work)
        assert sorted(self._numbers(sink, _MANY)) == list(range(_MANY))

    async def test_calls_one_after_the_other_keep_their_order(self) -> None:
        """Values that are written one after the other stand in that order."""
        sink = self.make()
        async with _entered(sink):
            for number in range(20):
                await sink(self._record(number))
        assert self._numbers(sink, 20) == list(range(20))

    async def test_nothing_written_is_nothing_to_read(self) -> None:
        """A life cycle without a call leaves no values."""
        sink = self.make()
        async with _entered(sink):
            pass
        assert list(self.read_back(sink)) == []

    async def test_value_that_cannot_be_written_fails_alone(self) -> None:
        """A value that cannot be encoded is a DataError of its own call; neighbours are written."""
        sink = self.make()
        errors: list[Exception] = []

        async def write(record: Record[object]) -> None:
            try:
                await sink(record)
            except DataError as error:
                errors.append(error)

        async with _entered(sink), anyio.create_task_group() as group:
            group.start_soon(write, self._record(0))
            if not self.takes_anything:
                group.start_soon(write, Record(self.refused, "refused"))
            group.start_soon(write, self._record(1))
        assert sorted(self._numbers(sink, 2)) == [0, 1]
        assert len(errors) == (0 if self.takes_anything else 1)

    async def test_cancelled_call_leaves_the_sink_whole(self) -> None:
        """Whichever await a call is cancelled at, its neighbours and later calls are written."""
        sink = self.make()
        surely: list[int] = []
        async with _entered(sink):
            for turn in range(1, _SUSPENSIONS):
                first, cut, last, later = range(4 * turn, 4 * turn + 4)
                async with anyio.create_task_group() as group:
                    group.start_soon(_cancelled_at, -1, sink(self._record(first)))
                    group.start_soon(_cancelled_at, turn // 2, sink(self._record(cut)))
                    group.start_soon(_cancelled_at, -1, sink(self._record(last)))
                await _cancelled_at(turn, sink(self._record(4 * _SUSPENSIONS + turn)))
                await sink(self._record(later))
                surely += [first, last, later]
        found = self._numbers(sink, 5 * _SUSPENSIONS)
        assert [number for number in surely if found.count(number) != 1] == []
        assert len(found) == len(set(found)), "a cancelled call wrote its value twice"

    async def test_cancelled_run_keeps_what_was_written(self) -> None:
        """A sink that is left by cancellation keeps what was written before."""
        sink = self.make()
        with anyio.CancelScope() as scope:
            async with _entered(sink):
                await sink(self._record(0))
                scope.cancel()
                await anyio.sleep_forever()
        assert self._numbers(sink, 1) == [0]

    async def test_failed_run_keeps_what_was_written(self) -> None:
        """A sink that is left by an error keeps what was written before, and lets it through."""
        sink = self.make()
        with pytest.raises(_OurOwnError):  # noqa: PT012 - leaving is what is tested
            async with _entered(sink):
                await sink(self._record(0))
                raise _OurOwnError
        assert self._numbers(sink, 1) == [0]

    async def test_same_record_again_is_harmless(self) -> None:
        """A record that is written again is there once, and harms no other."""
        sink = self.make()
        async with _entered(sink):
            for number in (0, 1, 0, 2):
                await sink(self._record(number))
        self._check_once(sink, 3)

    async def test_same_record_at_once_is_harmless(self) -> None:
        """Records that several write at the same time are there once."""
        sink = self.make()
        async with _entered(sink), anyio.create_task_group() as group:
            for number in (*range(10), *range(10), *range(10)):
                group.start_soon(_cancelled_at, -1, sink(self._record(number)))
        self._check_once(sink, 10)

    async def test_record_of_a_cancelled_call_again_is_harmless(self) -> None:
        """Whichever await a call is cancelled at, the record is there once after a second call."""
        sink = self.make()
        async with _entered(sink):
            for number in range(_SUSPENSIONS):
                await _cancelled_at(number // 2, sink(self._record(number)))
                await sink(self._record(number))
        self._check_once(sink, _SUSPENSIONS)

    async def test_same_record_after_a_bad_end_is_harmless(self) -> None:
        """Records of a run that ended badly are there once when the next run writes them again."""
        with pytest.raises(_OurOwnError):  # noqa: PT012 - leaving is what is tested
            async with _entered(sink := self.make()):
                for number in range(3):
                    await sink(self._record(number))
                raise _OurOwnError
        sink = self.make()
        async with _entered(sink):
            for number in (2, 1, 3, 0):
                await sink(self._record(number))
        self._check_once(sink, 4)

    def _check_once(self, sink: Sink[Any], count: int) -> None:
        """See that the first *count* values are there, and none twice that should not be."""
        found = self._numbers(sink, count)
        assert set(found) == set(range(count))
        assert self.at_least_once or len(found) == count, (
            "a record that was written again is doubled"
        )

    async def test_second_life_cycle(self) -> None:
        """A sink that was left can be entered again; it replaces or adds, as it says."""
        sink = self.make()
        for number in (0, 1):
            async with _entered(sink):
                await sink(self._record(number))
        assert self._numbers(sink, 2) == ([0, 1] if self.accumulates else [1])

    async def test_call_outside_its_life_cycle_says_so(self) -> None:
        """A sink with a life cycle refuses a call outside it, and a second one inside it."""
        sink: Any = self.make()
        if not hasattr(type(sink), "__aenter__"):
            await sink(self._record(0))
            assert self._numbers(sink, 1) == [0]
            return
        with pytest.raises(ConfigurationError):
            await sink(self._record(0))
        async with sink:
            with pytest.raises(ConfigurationError):
                await sink.__aenter__()
            await sink(self._record(0))
        with pytest.raises(ConfigurationError):
            await sink(self._record(1))
        assert self._numbers(sink, 1) == [0]


class _OurOwnError(Exception):
    """Raised by a test, to come out again."""


@asynccontextmanager
async def _entered(sink: Any) -> AsyncIterator[None]:
    async with AsyncExitStack() as stack:
        if hasattr(type(sink), "__aenter__"):
            await stack.enter_async_context(sink)
        yield


async def _cancelled_at(suspension: int, call: Awaitable[None]) -> None:
    """Await *call*, and cancel it when it waits for the *suspension*-th time (-1: never)."""
    with anyio.CancelScope() as scope:
        await _Watched(suspension, call, scope)


class _Watched:
    """Awaits a call, counting how often it gives way to the event loop."""

    def __init__(self, suspension: int, call: Awaitable[None], scope: anyio.CancelScope) -> None:
        self._left = suspension
        self._call = call
        self._scope = scope

    def __await__(self) -> Generator[Any, Any, None]:
        steps: Any = self._call.__await__()
        step: Any = steps.send
        given: Any = None
        try:
            while True:
                wanted = step(given)
                if self._left == 0:
                    self._scope.cancel()
                self._left -= 1
                try:
                    step, given = steps.send, (yield wanted)
                except BaseException as error:  # noqa: BLE001 - handed on, whatever it is
                    step, given = steps.throw, error
        except StopIteration:
            return
