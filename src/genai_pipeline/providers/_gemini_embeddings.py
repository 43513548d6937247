"""`GeminiEmbeddings`: vectors from Google AI, or from Vertex AI."""

from __future__ import annotations

import attrs

from genai_pipeline.providers._gemini_embedding_dialects import embedding_dialect
from genai_pipeline.providers._gemini_host import path_of
from genai_pipeline.providers._gemini_options import AtGoogle
from genai_pipeline.providers._http_embedder import EmbeddingDialect, HttpEmbedder

__all__ = ["GeminiEmbeddings"]


@attrs.frozen(eq=False)
class GeminiEmbeddings(AtGoogle, HttpEmbedder):
    """
    A model that embeds, at Google AI or, with a *project*, at Vertex AI.

    It takes an `EmbeddingRequest` and answers an `EmbeddingResponse`; `embed` makes a stage of it.
    What the vectors are for (``task``) is told to the model. Google AI tells no usage as a rule:
    ``attributes["usage_missing"]``. At Vertex AI a text that is too long is refused, where the
    API itself would cut it in silence.

    Everything else is as with `Gemini`: one attempt a call, the same key, the same errors; in a
    pipeline with a journal, answers are kept as they came.
    """

    def _speaks(self) -> EmbeddingDialect:
        at_vertex = self.project is not None
        return embedding_dialect(path_of(self), f"{self.name} {self.model!r}", at_vertex=at_vertex)
