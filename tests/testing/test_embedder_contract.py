"""`EmbedderContract` passes what keeps it, and catches what breaks it."""

from __future__ import annotations

from typing import Any

import anyio.lowlevel
import pytest

import genai_pipeline as gp
from genai_pipeline.events import CallFinished
from genai_pipeline.testing import EmbedderContract

pytestmark = pytest.mark.anyio


class Lengths:
    """A third party's embedder: a class with ``async def __call__``, and nothing of ours."""

    async def __call__(self, request: gp.EmbeddingRequest) -> gp.EmbeddingResponse:
        await anyio.lowlevel.checkpoint()
        gp.emit(CallFinished(provider="lengths", model="l", seconds=0.0, input_tokens=3))
        vectors = [[float(len(text)), float(sum(text.encode()))] for text in request.texts]
        usage = gp.Usage(input_tokens=3)
        return gp.EmbeddingResponse(self.order(vectors), usage=usage, model="l")

    def order(self, vectors: list[list[float]]) -> list[list[float]]:
        """Answer the vectors as they are to be."""
        return vectors


class Failing(Lengths):
    """One that never works."""

    async def __call__(self, request: gp.EmbeddingRequest) -> gp.EmbeddingResponse:
        gp.emit(CallFinished(provider="lengths", model="l", seconds=0.0, error="Transient"))
        raise gp.Transient("down")


class TestThirdParty(EmbedderContract):
    """An embedder of ten lines keeps the contract."""

    def make(self) -> gp.Embedder:
        return Lengths()

    def make_failing(self) -> gp.Embedder:
        return Failing()


class Shuffled(Lengths):
    """One that answers the last text first."""

    def order(self, vectors: list[list[float]]) -> list[list[float]]:
        return vectors[::-1]


class Short(Lengths):
    """One that loses a vector."""

    def order(self, vectors: list[list[float]]) -> list[list[float]]:
        return vectors[1:]


class Ragged(Lengths):
    """One whose vectors are of different lengths."""

    def order(self, vectors: list[list[float]]) -> list[list[float]]:
        return [vectors[0][:1], *vectors[1:]]


class Silent(Lengths):
    """One that tells nobody of its calls."""

    async def __call__(self, request: gp.EmbeddingRequest) -> gp.EmbeddingResponse:
        with gp.listen(lambda _: None):
            return gp.EmbeddingResponse([[1.0] for _ in request.texts])


@pytest.mark.parametrize(
    ("broken", "test"),
    [
        (Shuffled, "test_each_text_has_its_vector"),
        (Shuffled, "test_concurrent_calls_do_not_mix"),
        (Short, "test_each_text_has_its_vector"),
        (Short, "test_one_run_after_the_other"),
        (Ragged, "test_each_text_has_its_vector"),
        (Silent, "test_a_call_tells_of_itself_once"),
    ],
)
async def test_what_breaks_the_contract_is_caught(broken: Any, test: str) -> None:
    """Vectors mixed up, lost or ragged fail it, and so does a call that nobody is told of."""

    class Broken(EmbedderContract):
        def make(self) -> gp.Embedder:
            return broken()  # type: ignore[no-any-return]

    with pytest.raises((AssertionError, ValueError)):
        await getattr(Broken(), test)()
