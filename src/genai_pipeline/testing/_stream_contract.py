"""`StreamingProviderContract`: what every streaming provider must do, as tests to inherit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import anyio
import pytest

from genai_pipeline.errors import AttemptTimeout, PipelineError, StreamInterrupted
from genai_pipeline.events import CallFinished, listen
from genai_pipeline.messages import Chunk, Request, join_chunks
from genai_pipeline.resilience import Bulkhead, RateLimit, StreamTimeout, resilient_stream
from genai_pipeline.testing._clock import FakeClock
from genai_pipeline.testing._provider_contract import Cancelling, check_response
from genai_pipeline.types import Provider, StreamingProvider

__all__ = ["StreamingProviderContract"]

_MOST_AWAITS = 200


class _Settled:
    """A stream behind limits of one place, and what tells that nothing of it is held any more."""

    def __init__(self, stream: StreamingProvider, clock: FakeClock) -> None:
        self.slots = Bulkhead(1, queue=0)
        self.quota = RateLimit(requests=1000, tokens=10**9, per=1, clock=clock)
        self.stream = resilient_stream(
            stream,
            retry=None,
            rate_limit=self.quota,
            concurrency=self.slots,
            breaker=None,
            timeout=StreamTimeout(first_chunk=1000, between_chunks=100, total=5000),
            clock=clock,
        )

    def check(self) -> None:
        assert self.slots.in_use == 0
        assert self.quota.in_flight == 0


class StreamingProviderContract:
    """
    Subclass this as ``class TestMine(StreamingProviderContract)`` and override `make`.

    pytest then runs the inherited tests, each on every event loop that the fixture
    ``anyio_backend`` names. The other methods are hooks: what they make is proved as well.
    """

    pytestmark = pytest.mark.anyio

    def make(self) -> StreamingProvider:
        """Answer a new streaming provider whose answers have several chunks, for any requests."""
        raise NotImplementedError

    def make_whole(self) -> Provider | None:
        """Answer a provider that answers whole what `make` streams; `None` when there is none."""
        return None

    def make_failing(self) -> StreamingProvider | None:
        """Answer one that fails before its first chunk; `None` when there is no way to make one."""
        return None

    def make_breaking(self) -> StreamingProvider | None:
        """Answer one that breaks off after a chunk or more, for a reason that passes."""
        return None

    def make_silent(self, clock: FakeClock) -> StreamingProvider | None:
        """Answer one that falls silent for an hour of *clock*, or for ever, after a chunk."""
        return None

    def make_clock(self) -> FakeClock:
        """Answer the clock to time with; one with a cushion, where the provider uses sockets."""
        return FakeClock()

    def request(self, text: str) -> Request:
        """Answer a request that the provider of `make` can serve, with *text* in its prompt."""
        return Request(text, max_output_tokens=16, temperature=0)

    async def check_closed(self, stream: StreamingProvider) -> None:
        """Assert that *stream* holds nothing open, as far as that can be seen."""

    async def test_the_chunks_are_the_answer(self) -> None:
        """Only the last chunk has a finish reason, and together they are what a call answers."""
        stream, whole = self.make(), self.make_whole()
        chunks = await _read(stream, self.request("first"))
        assert len(chunks) > 1
        *earlier, last = chunks
        assert last.finish_reason
        assert [chunk.finish_reason for chunk in earlier] == [None] * len(earlier)
        response = join_chunks(chunks)
        check_response(response)
        await self.check_closed(stream)
        if whole is not None:
            assert response == await whole(self.request("first"))

    async def test_a_stream_tells_of_itself_once(self) -> None:
        """A whole stream emits one `CallFinished`, with the tokens of its last chunk."""
        with _events() as told:
            response = join_chunks(await _read(self.make(), self.request("event")))
        (event,) = told
        assert event.error is None
        assert event.finish_reason == response.finish_reason
        assert event.input_tokens == response.usage.input_tokens
        assert event.output_tokens == response.usage.output_tokens
        assert event.first_chunk is not None
        assert 0 <= event.first_chunk <= event.seconds

    async def test_a_failure_before_the_first_chunk_is_one_of_ours(self) -> None:
        """A stream that cannot begin raises a `PipelineError`, told once, and is closed."""
        stream = self.make_failing()
        if stream is None:
            pytest.skip("make_failing is not overridden")
        with _events() as told, pytest.raises(PipelineError) as caught:
            await _read(stream, self.request("failure"))
        (event,) = told
        assert event.error == type(caught.value).__name__
        await self.check_closed(stream)

    async def test_a_stream_that_breaks_off_is_no_answer(self) -> None:
        """It raises `StreamInterrupted` with the text that came; it is told and settled once."""
        stream = self.make_breaking()
        if stream is None:
            pytest.skip("make_breaking is not overridden")
        settled, chunks = _Settled(stream, FakeClock()), list[Chunk]()
        with _events() as told, pytest.raises(StreamInterrupted) as caught:
            await _read(settled.stream, self.request("broken"), chunks)
        assert chunks
        assert caught.value.partial == "".join(chunk.text for chunk in chunks)
        assert [event.error for event in told] == ["StreamInterrupted"]
        settled.check()
        await self.check_closed(stream)

    async def test_a_silent_stream_is_cut_off(self) -> None:
        """Silence after a chunk ends in `StreamInterrupted`; it is told and settled once."""
        clock = self.make_clock()
        stream = self.make_silent(clock)
        if stream is None:
            pytest.skip("make_silent is not overridden")
        settled = _Settled(stream, clock)
        async with clock:
            with _events() as told, pytest.raises(StreamInterrupted) as caught:
                await _read(settled.stream, self.request("silent"))
        assert isinstance(caught.value.__cause__, AttemptTimeout)
        assert caught.value.partial
        assert len(told) == 1
        settled.check()
        await self.check_closed(stream)

    async def test_leaving_early_closes_it(self) -> None:
        """A stream that its consumer leaves after a chunk is closed, told and settled once."""
        stream = self.make()
        settled = _Settled(stream, FakeClock())
        with _events() as told:
            async with settled.stream(self.request("left")) as chunks:
                async for _ in chunks:
                    break
        assert [event.error for event in told] == ["Abandoned"]
        settled.check()
        await self.check_closed(stream)
        assert join_chunks(await _read(settled.stream, self.request("again"))).text

    async def test_cancellation_passes_through_everywhere(self) -> None:
        """A stream that is cancelled at any of its awaits ends, is closed and settled once."""
        stream = self.make()
        settled, request = _Settled(stream, FakeClock()), self.request("cancelled")
        cancelled, awaited = 0, False
        for step in range(1, _MOST_AWAITS):
            scope = anyio.CancelScope()
            reading = Cancelling(_read(settled.stream, request), scope, step)
            with _events() as told, scope:
                await reading
            assert len(told) <= 1
            settled.check()
            await self.check_closed(stream)
            cancelled += scope.cancelled_caught
            if reading.awaits < step:
                break
            awaited = True
        assert cancelled or not awaited, "no cancellation came through"
        assert join_chunks(await _read(settled.stream, request)).text


@contextmanager
def _events() -> Iterator[list[CallFinished]]:
    told: list[CallFinished] = []

    def hear(event: object) -> None:
        if isinstance(event, CallFinished):
            told.append(event)

    with listen(hear):
        yield told


async def _read(
    stream: StreamingProvider, request: Request, seen: list[Chunk] | None = None
) -> list[Chunk]:
    chunks: list[Chunk] = [] if seen is None else seen
    async with stream(request) as pieces:
        async for chunk in pieces:
            assert isinstance(chunk, Chunk)
            chunks.append(chunk)
    return chunks
