"""`EmbedderContract`: what every model that embeds must do, as tests to inherit."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import anyio
import pytest

from genai_pipeline._wrap import wrap
from genai_pipeline.embeddings import EmbeddingRequest, EmbeddingResponse, Vector
from genai_pipeline.errors import PipelineError
from genai_pipeline.events import CallFinished, listen
from genai_pipeline.messages import Usage
from genai_pipeline.testing._provider_contract import Cancelling
from genai_pipeline.types import Embedder

__all__ = ["EmbedderContract"]

_CALLS = 8
_MOST_AWAITS = 200


class EmbedderContract:
    """
    Subclass this as ``class TestMine(EmbedderContract)`` and override `make`.

    pytest then runs the inherited tests, each on every event loop that the fixture
    ``anyio_backend`` names. The other methods are hooks to override where they do not fit.
    """

    pytestmark = pytest.mark.anyio

    def make(self) -> Embedder:
        """Answer a new embedder that works, and gives different texts different vectors."""
        raise NotImplementedError

    def make_failing(self) -> Embedder | None:
        """Answer an embedder each of whose calls fails; `None` when there is no way to make one."""
        return None

    def request(self, *texts: str) -> EmbeddingRequest:
        """Answer a request for *texts* that the embedder of `make` can serve."""
        return EmbeddingRequest(texts)

    async def test_each_text_has_its_vector(self) -> None:
        """Vectors come in the order of the texts, and each is that of its text alone."""
        embedder, texts = self.make(), ["a cat", "two dogs", "the sea at night"]
        async with wrap(embedder):
            response = await embedder(self.request(*texts))
            check_embeddings(response, len(texts))
            for place, text in enumerate(texts):
                alone = await embedder(self.request(text))
                assert _nearest(alone.vectors[0], response.vectors) == place

    async def test_a_call_tells_of_itself_once(self) -> None:
        """A call that succeeds emits one `CallFinished`, with the tokens of its response."""
        embedder, told = self.make(), list[Any]()
        with listen(told.append):
            response = await embedder(self.request("event"))
        (event,) = [each for each in told if isinstance(each, CallFinished)]
        assert event.provider
        assert event.model
        assert event.seconds >= 0
        assert event.error is None
        assert event.input_tokens == response.usage.input_tokens

    async def test_a_failure_is_one_of_ours_and_told_once(self) -> None:
        """A call that fails raises a `PipelineError` and emits one `CallFinished` naming it."""
        embedder, told = self.make_failing(), list[Any]()
        if embedder is None:
            pytest.skip("make_failing is not overridden")
        with listen(told.append), pytest.raises(PipelineError) as caught:
            await embedder(self.request("failure"))
        assert str(caught.value)
        (event,) = [each for each in told if isinstance(each, CallFinished)]
        assert event.error == type(caught.value).__name__

    async def test_cancellation_passes_through_everywhere(self) -> None:
        """A call that is cancelled at any of its awaits ends, and the embedder still works."""
        embedder, request = self.make(), self.request("cancelled")
        async with wrap(embedder):
            cancelled, awaited = 0, False
            for step in range(1, _MOST_AWAITS):
                scope = anyio.CancelScope()
                call = Cancelling(embedder(request), scope, step)
                with scope:
                    check_embeddings(await call, 1)
                cancelled += scope.cancelled_caught
                if call.awaits < step:
                    break
                awaited = True
            assert cancelled or not awaited, "no cancellation came through"
            check_embeddings(await embedder(request), 1)

    async def test_concurrent_calls_do_not_mix(self) -> None:
        """Calls made at the same time each get the vectors of their own texts."""
        embedder = self.make()
        texts = [f"text number {number}" for number in range(_CALLS)]
        answers: dict[int, EmbeddingResponse] = {}

        async def call(number: int) -> None:
            answers[number] = await embedder(self.request(texts[number]))

        async with wrap(embedder):
            together = await embedder(self.request(*texts))
            async with anyio.create_task_group() as group:
                for number in range(_CALLS):
                    group.start_soon(call, number)
        for number in range(_CALLS):
            assert _nearest(answers[number].vectors[0], together.vectors) == number

    async def test_one_run_after_the_other(self) -> None:
        """One object serves two runs, each opening and closing what it needs."""
        embedder = self.make()
        for text in ("one", "two"):
            async with wrap(embedder):
                check_embeddings(await embedder(self.request(text)), 1)


def check_embeddings(response: object, count: int) -> None:
    """Assert that *response* is of the documented types, and has *count* vectors of one length."""
    assert isinstance(response, EmbeddingResponse)
    assert isinstance(response.usage, Usage)
    assert isinstance(response.model, str)
    assert len(response.vectors) == count
    (length,) = {len(vector) for vector in response.vectors}
    assert length > 0
    assert all(math.isfinite(number) for vector in response.vectors for number in vector)


def _nearest(vector: Vector, others: Sequence[Vector]) -> int:
    """Answer which of *others* is most like *vector*: models round otherwise for other company."""
    return min(range(len(others)), key=lambda place: math.dist(vector, others[place]))
