"""How each model that embeds, behind HTTP, is answered, to the byte."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import attrs

import genai_pipeline as gp
from genai_pipeline.embeddings import EmbeddingTask
from genai_pipeline.providers import (
    BedrockEmbeddings,
    GeminiEmbeddings,
    OllamaEmbeddings,
    OpenAIEmbeddings,
)
from tests.providers.wires import WIRES, Wire
from tests.servers.embeddings import numbers

__all__ = ["EMBEDDERS"]

_ODD = (-7, 2**70)
"""Numbers that a vector may be of."""


@attrs.frozen
class _Embedding:
    """Has a model embed, and answers the text that the vector is of."""

    embedder: gp.Embedder
    task: EmbeddingTask | None

    async def __call__(self, request: gp.Request) -> gp.Response:
        answer = await self.embedder(gp.EmbeddingRequest(request.prompt, task=self.task))
        (vector,) = map(list, answer.vectors)
        known = {"fine": [numbers("fine"), *([float(one)] * 4 for one in _ODD)]}
        text = next((text for text, vectors in known.items() if vector in vectors), "another")
        return gp.Response(text, usage=answer.usage, attributes=answer.attributes)


def _embedder(
    like: str,
    make: Callable[..., gp.Embedder],
    whole: Callable[[str], dict[str, Any]],
    task: EmbeddingTask | None = None,
) -> Wire:
    def made(base_url: str, **options: Any) -> _Embedding:
        return _Embedding(make(base_url=base_url, **options), task)

    return attrs.evolve(WIRES[like], make=made, whole=whole)


EMBEDDERS = {
    "OpenAIEmbeddings": _embedder(
        "OpenAI",
        partial(OpenAIEmbeddings, "m"),
        lambda text: {
            "object": "list",
            "model": "m",
            "data": [{"object": "embedding", "index": 0, "embedding": numbers(text)}],
            "usage": {"prompt_tokens": 10, "total_tokens": 10},
        },
    ),
    "GeminiEmbeddings": _embedder(
        "Gemini",
        partial(GeminiEmbeddings, "m"),
        lambda text: {"embeddings": [{"values": numbers(text)}]},
    ),
    "OllamaEmbeddings": _embedder(
        "Ollama",
        partial(OllamaEmbeddings, "m"),
        lambda text: {"model": "m", "embeddings": [numbers(text)], "prompt_eval_count": 10},
    ),
    "BedrockEmbeddings, Titan": _embedder(
        "Bedrock",
        partial(BedrockEmbeddings, "amazon.titan-embed-text-v2:0", api_key="bedrock-key"),
        lambda text: {"embedding": numbers(text), "inputTextTokenCount": 10},
    ),
    "BedrockEmbeddings, Cohere": _embedder(
        "Bedrock",
        partial(BedrockEmbeddings, "cohere.embed-v4:0", api_key="bedrock-key"),
        lambda text: {"id": "1", "embeddings": [numbers(text)]},
        task="document",
    ),
}
"""Models that embed, by the name of the provider, and of the maker where that decides."""
