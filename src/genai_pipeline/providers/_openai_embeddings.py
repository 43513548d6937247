"""`OpenAIEmbeddings`: vectors from OpenAI's API, or that of any server that speaks it."""

from __future__ import annotations

from typing import Literal

import attrs

from genai_pipeline import _options
from genai_pipeline._secret import Secret
from genai_pipeline.providers._embeddings_dialect import OpenAIEmbeddingDialect
from genai_pipeline.providers._http_embedder import HttpEmbedder
from genai_pipeline.providers._openai_hosts import BASE_URL, is_azure, is_openai, openai_key

__all__ = ["OpenAIEmbeddings"]


@attrs.frozen(eq=False)
class OpenAIEmbeddings(HttpEmbedder):
    """
    A model that embeds, behind OpenAI's API or that of any server that speaks it.

    It takes an `EmbeddingRequest` and answers an `EmbeddingResponse`; `embed` makes a stage of it.
    OpenAI takes 2,048 texts in a request, of 8,192 tokens each and 300,000 together, and none that
    is empty. What the vectors are for (``task``) makes no difference to it, and is refused.

    Everything else is as with `OpenAI`: one attempt a call, the same key, the same errors; in a
    pipeline with a journal, answers are kept as they came.
    """

    base_url: str = attrs.field(default=BASE_URL, kw_only=True)
    """Everything before ``/embeddings``. ``https``, or ``http`` to this very machine."""

    encoding: Literal["base64", "float"] | None = attrs.field(
        default=None,
        kw_only=True,
        validator=_options.optional(_options.one_of("base64", "float")),
    )
    """
    How the numbers come: a quarter of the bytes as ``base64``, or as ``float`` in JSON.

    By default ``base64`` from OpenAI and Azure, and from others what they send unasked, which is
    ``float``. Either is read, whatever was asked for.
    """

    name: str = attrs.field(default="openai", kw_only=True, validator=_options.text)
    """What events, errors and reports call the provider."""

    def _speaks(self) -> OpenAIEmbeddingDialect:
        packs = is_openai(self.base_url) or is_azure(self.base_url)
        encoding = self.encoding or ("base64" if packs else "float")
        return OpenAIEmbeddingDialect(self.model, encoding, f"{self.name} {self.model!r}")

    def _is_known_host(self) -> bool:
        return is_openai(self.base_url)

    def _default_key(self) -> Secret | None:
        return openai_key(self.base_url)
