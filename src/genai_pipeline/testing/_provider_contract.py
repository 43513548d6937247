"""`ProviderContract`: what every provider must do, as tests to inherit."""

from __future__ import annotations

from collections.abc import Awaitable, Generator
from functools import partial
from typing import Any

import anyio
import anyio.to_thread
import pytest

from genai_pipeline._wrap import wrap
from genai_pipeline.errors import ConfigurationError, InvalidRequest, PipelineError
from genai_pipeline.events import CallFinished, listen
from genai_pipeline.messages import Request, Response, Usage
from genai_pipeline.types import Provider

__all__ = ["Cancelling", "ProviderContract", "check_response"]

_CALLS = 16
_MOST_AWAITS = 200
_MODES = {"labels", "native", "tool", "prompt"}
_FINISH = {"stop", "length", "tool", "refusal", "filter", "other"}


class ProviderContract:
    """
    Subclass this as ``class TestMine(ProviderContract)`` and override `make`.

    pytest then runs the inherited tests, each on every event loop that the fixture
    ``anyio_backend`` names. The other methods are hooks to override where they do not fit.
    """

    pytestmark = pytest.mark.anyio

    def make(self) -> Provider:
        """Answer a new provider that works."""
        raise NotImplementedError

    def make_failing(self) -> Provider | None:
        """Answer a provider each of whose calls fails; `None` when there is no way to make one."""
        return None

    def request(self, text: str) -> Request:
        """Answer a request that the provider of `make` can serve, with *text* in its prompt."""
        return Request(text, max_output_tokens=16, temperature=0)

    def belongs(self, request: Request, response: Response) -> bool:
        """Tell whether *response* answers *request* and no other, as far as that can be seen."""
        return True

    async def test_a_request_is_answered(self) -> None:
        """A request gets a response whose fields are of the documented types and ranges."""
        provider, request = self.make(), self.request("first")
        response = await provider(request)
        check_response(response)
        assert self.belongs(request, response)

    async def test_a_call_tells_of_itself_once(self) -> None:
        """A call that succeeds emits one `CallFinished`, with the tokens of its response."""
        provider, told = self.make(), list[Any]()
        with listen(told.append):
            response = await provider(self.request("event"))
        (event,) = [each for each in told if isinstance(each, CallFinished)]
        assert event.provider
        assert event.model
        assert event.seconds >= 0
        assert event.error is None
        assert event.finish_reason == response.finish_reason
        assert event.input_tokens == response.usage.input_tokens
        assert event.output_tokens == response.usage.output_tokens
        assert event.cost == response.usage.cost

    async def test_a_failure_is_one_of_ours_and_told_once(self) -> None:
        """A call that fails raises a `PipelineError` and emits one `CallFinished` naming it."""
        provider, told = self.make_failing(), list[Any]()
        if provider is None:
            pytest.skip("make_failing is not overridden")
        with listen(told.append), pytest.raises(PipelineError) as caught:
            await provider(self.request("failure"))
        assert str(caught.value)
        (event,) = [each for each in told if isinstance(each, CallFinished)]
        assert event.error == type(caught.value).__name__

    async def test_labels_are_kept_or_declined(self) -> None:
        """A request with labels gets one of them to the letter, or a clear error."""
        labels = ("Alpha", "beta gamma")
        asked = self.request("Alpha, or beta gamma?")
        request = Request(asked.messages, labels=labels, max_output_tokens=64, temperature=0)
        try:
            response = await self.make()(request)
        except (ConfigurationError, InvalidRequest) as error:
            assert str(error)  # noqa: PT017 - declining is one of the two right answers
        else:
            assert response.text in labels

    async def test_what_it_can_is_told_in_known_words(self) -> None:
        """A provider's ``output_modes``, if it has any, are ways in which `generate` asks."""
        modes = getattr(self.make(), "output_modes", None)
        if modes is not None:
            assert set(modes) <= _MODES
            assert modes

    async def test_cancellation_passes_through_everywhere(self) -> None:
        """A call that is cancelled at any of its awaits ends, and the provider still works."""
        provider, request = self.make(), self.request("cancelled")
        async with wrap(provider):
            cancelled, awaited = 0, False
            for step in range(1, _MOST_AWAITS):
                scope = anyio.CancelScope()
                call = Cancelling(provider(request), scope, step)
                with scope:
                    check_response(await call)
                cancelled += scope.cancelled_caught
                if call.awaits < step:
                    break
                awaited = True
            assert cancelled or not awaited, "no cancellation came through"
            response = await provider(request)
        check_response(response)
        assert self.belongs(request, response)

    async def test_concurrent_calls_do_not_mix(self) -> None:
        """Calls made at the same time each get the answer to their own request."""
        provider, told = self.make(), list[Any]()
        requests = [self.request(f"number {number}") for number in range(_CALLS)]
        answers: dict[int, Response] = {}

        async def call(number: int) -> None:
            answers[number] = await provider(requests[number])

        with listen(told.append):
            async with wrap(provider), anyio.create_task_group() as group:
                for number in range(_CALLS):
                    group.start_soon(call, number)
        assert len([each for each in told if isinstance(each, CallFinished)]) == _CALLS
        for number, request in enumerate(requests):
            check_response(answers[number])
            assert self.belongs(request, answers[number])

    async def test_one_run_after_the_other(self) -> None:
        """One provider object serves two runs, each opening and closing what it needs."""
        provider = self.make()
        for text in ("one", "two"):
            async with wrap(provider):
                check_response(await provider(self.request(text)))

    async def test_one_event_loop_after_the_other(self, anyio_backend: Any) -> None:
        """One provider object serves several event loops, in several threads."""
        provider = self.make()
        name = anyio_backend if isinstance(anyio_backend, str) else anyio_backend[0]

        async def call(text: str) -> Response:
            async with wrap(provider):
                return await provider(self.request(text))

        def elsewhere(text: str) -> Response:
            return anyio.run(call, text, backend=name)

        check_response(await call("here"))
        for text in ("there", "elsewhere"):
            check_response(await anyio.to_thread.run_sync(elsewhere, text))
        check_response(await call("here again"))


def check_response(response: object) -> None:
    """Assert that *response* is of the documented types and ranges."""
    assert isinstance(response, Response)
    assert isinstance(response.text, str)
    assert response.finish_reason in _FINISH
    assert isinstance(response.model, str)
    usage = response.usage
    assert isinstance(usage, Usage)
    counts = (
        usage.input_tokens,
        usage.output_tokens,
        usage.cached_tokens,
        usage.cache_write_tokens,
        usage.reasoning_tokens,
    )
    assert all(isinstance(count, int) and count >= 0 for count in counts)
    assert usage.cached_tokens + usage.cache_write_tokens <= usage.input_tokens
    assert usage.reasoning_tokens <= usage.output_tokens
    assert usage.cost is None or usage.cost >= 0


class Cancelling:
    """Awaits something, and cancels *scope* at its *step*-th await."""

    def __init__(self, call: Awaitable[Any], scope: anyio.CancelScope, step: int) -> None:
        self.awaits = 0
        self._call = call
        self._scope = scope
        self._step = step

    def __await__(self) -> Generator[Any, Any, Any]:
        inner: Any = self._call.__await__()
        resume = partial(inner.send, None)
        while True:
            try:
                waited_for = resume()
            except StopIteration as end:
                return end.value
            self.awaits += 1
            if self.awaits == self._step:
                self._scope.cancel()
            try:
                resume = partial(inner.send, (yield waited_for))
            except BaseException as error:  # noqa: BLE001 - handed on to whoever awaits inside
                resume = partial(inner.throw, error)
