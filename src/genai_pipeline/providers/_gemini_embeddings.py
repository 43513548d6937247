"""`GeminiEmbeddings`: vectors from Google AI, or from Vertex AI."""

from __future__ import annotations

import attrs

from genai_pipeline import _options
from genai_pipeline._options import optional
from genai_pipeline._secret import Secret
from genai_pipeline.providers._gemini_embedding_dialects import embedding_dialect
from genai_pipeline.providers._gemini_host import (
    base_url_of,
    credentials_of,
    is_google,
    key_of,
    path_of,
    place_name,
)
from genai_pipeline.providers._http_embedder import EmbeddingDialect, HttpEmbedder
from genai_pipeline.providers._target import Headers

__all__ = ["GeminiEmbeddings"]


@attrs.frozen(eq=False)
class GeminiEmbeddings(HttpEmbedder):
    """
    A model that embeds, at Google AI or, with a *project*, at Vertex AI.

    It takes an `EmbeddingRequest` and answers an `EmbeddingResponse`; `embed` makes a stage of it.
    What the vectors are for (``task``) is told to the model. Google AI tells no usage as a rule:
    ``attributes["usage_missing"]``. At Vertex AI a text that is too long is refused, where the
    API itself would cut it in silence.

    Everything else is as with `Gemini`: one attempt a call, the same key, the same errors; in a
    pipeline with a journal, answers are kept as they came.
    """

    project: str | None = attrs.field(default=None, kw_only=True, validator=optional(place_name))
    """
    The Google Cloud project whose Vertex AI to ask; by default Google AI is asked.

    *api_key* then is an access token: a function that answers it, and how long it lasts.
    """

    location: str = attrs.field(default="global", kw_only=True, validator=place_name)
    """Where in Vertex AI: ``global``, ``us``, ``eu``, or a region."""

    base_url: str = attrs.field(default=attrs.Factory(base_url_of, takes_self=True), kw_only=True)
    """
    Everything before ``/models`` or ``/projects``.

    By default that of Google AI, or of the project's place.
    """

    name: str = attrs.field(default="gemini", kw_only=True, validator=_options.text)
    """What events, errors and reports call the provider."""

    def _speaks(self) -> EmbeddingDialect:
        at_vertex = self.project is not None
        return embedding_dialect(path_of(self), f"{self.name} {self.model!r}", at_vertex=at_vertex)

    def _is_known_host(self) -> bool:
        return is_google(self.base_url)

    def _default_key(self) -> Secret | None:
        return key_of(self)

    def _credentials(self, key: str) -> Headers:
        return credentials_of(self, key)
