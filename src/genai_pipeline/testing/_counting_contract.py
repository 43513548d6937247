"""`CountingProviderContract`: what every provider that counts tokens must do, as tests."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

from genai_pipeline._wrap import wrap
from genai_pipeline.errors import PipelineError
from genai_pipeline.events import listen
from genai_pipeline.messages import Request, Response
from genai_pipeline.testing._provider_contract import Cancelling
from genai_pipeline.types import CountingProvider

__all__ = ["CountingProviderContract"]

_CALLS = 8
_MOST_AWAITS = 200


class CountingProviderContract:
    """
    Subclass this as ``class TestMine(CountingProviderContract)`` and override `make`.

    pytest then runs the inherited tests, each on every event loop that the fixture
    ``anyio_backend`` names. The other methods are hooks to override where they do not fit.
    """

    pytestmark = pytest.mark.anyio

    def make(self) -> CountingProvider:
        """Answer a new provider that works."""
        raise NotImplementedError

    def make_failing(self) -> CountingProvider | None:
        """Answer a provider that cannot count; `None` when there is no way to make one."""
        return None

    def request(self, text: str) -> Request:
        """Answer a request that the provider of `make` can serve, with *text* in its prompt."""
        return Request(text, max_output_tokens=16, temperature=0)

    def used(self, response: Response) -> int | None:
        """Answer how many input tokens the call took; `None` if the server does not really tell."""
        return response.usage.input_tokens

    async def test_a_count_is_what_a_call_uses(self) -> None:
        """A request has the tokens that its answer tells, as a whole number."""
        provider, request = self.make(), self.request("How many tokens is this?")
        async with wrap(provider):
            counted = await provider.count_tokens(request)
            used = self.used(await provider(request))
        assert type(counted) is int
        assert counted > 0
        assert used is None or counted == used

    async def test_more_text_is_more_tokens(self) -> None:
        """A longer text has more tokens, and the same text as many each time."""
        provider, word = self.make(), "word "
        async with wrap(provider):
            few, more, again = [
                await provider.count_tokens(self.request(word * times)) for times in (3, 30, 3)
            ]
        assert few == again < more

    async def test_a_count_is_no_call(self) -> None:
        """Nobody is told of a call, since none was made or paid for."""
        provider, told = self.make(), list[Any]()
        with listen(told.append):
            await provider.count_tokens(self.request("quiet"))
        assert told == []

    async def test_concurrent_counts_do_not_mix(self) -> None:
        """Requests that are counted at the same time each have their own count."""
        provider, counts = self.make(), dict[int, int]()

        async def count(number: int) -> None:
            counts[number] = await provider.count_tokens(self.request("word " * 10 * number))

        async with wrap(provider), anyio.create_task_group() as group:
            for number in range(1, _CALLS + 1):
                group.start_soon(count, number)
        assert [counts[number] for number in sorted(counts)] == sorted(set(counts.values()))
        assert len(counts) == _CALLS

    async def test_cancellation_passes_through_everywhere(self) -> None:
        """A count that is cancelled at any of its awaits ends, and the provider still counts."""
        provider, request = self.make(), self.request("cancelled")
        async with wrap(provider):
            expected, cancelled, awaited = await provider.count_tokens(request), 0, False
            for step in range(1, _MOST_AWAITS):
                scope = anyio.CancelScope()
                call = Cancelling(provider.count_tokens(request), scope, step)
                with scope:
                    assert await call == expected
                cancelled += scope.cancelled_caught
                if call.awaits < step:
                    break
                awaited = True
            assert cancelled or not awaited, "no cancellation came through"
            assert await provider.count_tokens(request) == expected

    async def test_a_failure_is_one_of_ours(self) -> None:
        """What goes wrong is a `PipelineError` that says so, and never a number."""
        provider = self.make_failing()
        if provider is None:
            pytest.skip("make_failing is not overridden")
        with pytest.raises(PipelineError) as caught:
            await provider.count_tokens(self.request("failure"))
        assert str(caught.value)
