"""The streams of llama.cpp's real server."""

from __future__ import annotations

import json

import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.providers import OpenAI
from genai_pipeline.testing import StreamingProviderContract

pytestmark = pytest.mark.anyio


class TestLlamaStream(StreamingProviderContract):
    """The contract, over a real socket, with a real model of random weights."""

    @pytest.fixture(autouse=True)
    def _server(self, llama: str) -> None:
        self.model = OpenAI("tiny", base_url=llama)

    def make(self) -> gp.StreamingProvider:
        return self.model.stream

    def make_failing(self) -> gp.StreamingProvider:
        model = self.model

        def too_long(request: gp.Request) -> object:
            return model.stream(gp.Request("word " * 3000))

        return too_long  # type: ignore[return-value]

    def request(self, text: str) -> gp.Request:
        return gp.Request(text, max_output_tokens=8, temperature=0, extra={"seed": 1})


@pytest.fixture
def model(llama: str) -> OpenAI:
    """Give a model of random weights behind the real server."""
    return OpenAI("tiny", base_url=llama)


async def read(model: OpenAI, request: gp.Request) -> list[gp.Chunk]:
    async with model.stream(request) as chunks:
        return [chunk async for chunk in chunks]


async def test_the_chunks_are_what_a_call_answers(model: OpenAI) -> None:
    """With the same seed, text, finish reason and usage are those of a whole answer."""
    for seed in range(5):
        extra = {"seed": seed, "cache_prompt": False}
        request = gp.Request("the cat", max_output_tokens=12, extra=extra)
        whole, joined = await model(request), gp.join_chunks(await read(model, request))
        assert joined.text == whole.text
        assert joined.finish_reason == whole.finish_reason
        assert joined.usage == whole.usage
        assert joined.model == whole.model


async def test_a_document_is_streamed(model: OpenAI) -> None:
    """A grammar-constrained JSON document comes in many chunks, whose join is the document."""
    schema = {
        "type": "object",
        "properties": {"good": {"type": "boolean"}, "level": {"enum": [1, 2, 3]}},
        "required": ["good", "level"],
        "additionalProperties": False,
    }
    request = gp.Request("judge", schema=schema, max_output_tokens=200)
    chunks = await read(model, request)
    assert len(chunks) > 2
    document = json.loads(gp.join_chunks(chunks).text)
    assert isinstance(document["good"], bool)


async def test_a_prompt_that_is_too_long_is_named_so(model: OpenAI) -> None:
    """The server's error comes before the stream begins."""
    with pytest.raises(errors.ContextOverflow):
        await read(model, gp.Request("word " * 3000))
