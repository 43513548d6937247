"""`GeminiEmbeddings`: vectors from Google AI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from genai_pipeline import _options
from genai_pipeline._secret import Secret
from genai_pipeline.embeddings import EmbeddingRequest, EmbeddingResponse, EmbeddingTask
from genai_pipeline.errors import InvalidAnswer
from genai_pipeline.messages import Usage
from genai_pipeline.providers._document import as_dict, as_list
from genai_pipeline.providers._endpoint import host_of
from genai_pipeline.providers._gemini_answer import FAILURES, error_of, usage_of
from genai_pipeline.providers._gemini_host import GOOGLE_AI, KEY
from genai_pipeline.providers._http_embedder import EmbeddingDialect, HttpEmbedder
from genai_pipeline.providers._json import json_bytes
from genai_pipeline.providers._rules import refuse_extra
from genai_pipeline.providers._target import Headers
from genai_pipeline.providers._vectors import check_alike, to_vector

__all__ = ["GeminiEmbeddings"]

_TASKS: dict[EmbeddingTask, str] = {
    "query": "RETRIEVAL_QUERY",
    "document": "RETRIEVAL_DOCUMENT",
    "similarity": "SEMANTIC_SIMILARITY",
    "classification": "CLASSIFICATION",
    "clustering": "CLUSTERING",
    "question_answering": "QUESTION_ANSWERING",
    "fact_verification": "FACT_VERIFICATION",
    "code_query": "CODE_RETRIEVAL_QUERY",
}
_OWN = ("model", "content", "taskType", "outputDimensionality")


@attrs.frozen
class _BatchDialect(EmbeddingDialect):
    """``batchEmbedContents``, which takes one text as well as many."""

    model: str
    who: str

    failures = FAILURES

    def identity(self) -> tuple[Any, ...]:
        """Answer the API."""
        return ("gemini embeddings",)

    def path(self) -> str:
        """Answer the method of the model."""
        return f"/models/{self.model}:batchEmbedContents"

    def body(self, request: EmbeddingRequest) -> bytes:
        """Answer the body that asks for *request*; ``extra`` goes with each of its texts."""
        refuse_extra(request, self.who, taken=_OWN)
        told: dict[str, Any] = {"model": f"models/{self.model}"}
        if request.task is not None:
            told["taskType"] = _TASKS[request.task]
        if request.dimensions is not None:
            told["outputDimensionality"] = request.dimensions
        requests = [
            {**told, **request.extra, "content": {"parts": [{"text": text}]}}
            for text in request.texts
        ]
        return json_bytes({"requests": requests})

    def read(
        self,
        request: EmbeddingRequest,
        document: object,
        headers: Mapping[str, str],  # noqa: ARG002 - they tell nothing
        who: str,
    ) -> EmbeddingResponse:
        """Answer the vectors in *document*, which come in the order of the texts."""
        if not isinstance(document, dict):
            raise InvalidAnswer(f"{who}: the answer is no JSON object")
        failed = error_of(document, who)
        if failed is not None:
            raise failed
        try:
            told = [as_dict(each).get("values") for each in as_list(document.get("embeddings"))]
            vectors = [to_vector(each) for each in told]
            check_alike(vectors, len(request.texts))
        except ValueError as error:
            raise InvalidAnswer(f"{who}: {error}") from None
        usage = self.usage_in(document)
        missing = {} if usage is not None else {"usage_missing": True}
        return EmbeddingResponse(vectors, usage=usage or Usage(), attributes=missing)

    def usage_in(self, document: Mapping[str, Any]) -> Usage | None:
        """Answer what was used."""
        usage = document.get("usageMetadata")
        return usage_of(usage) if isinstance(usage, dict) else None


@attrs.frozen(eq=False)
class GeminiEmbeddings(HttpEmbedder):
    """
    A model that embeds, at Google AI.

    It takes an `EmbeddingRequest` and answers an `EmbeddingResponse`; `embed` makes a stage of it.
    What the vectors are for (``task``) is told to the model. The API tells no usage as a rule:
    ``attributes["usage_missing"]``.

    Everything else is as with `Gemini`: one attempt a call, the same key, the same errors; in a
    pipeline with a journal, answers are kept as they came.
    """

    base_url: str = attrs.field(default=f"https://{GOOGLE_AI}/v1", kw_only=True)
    """Everything before ``/models``."""

    name: str = attrs.field(default="gemini", kw_only=True, validator=_options.text)
    """What events, errors and reports call the provider."""

    def _speaks(self) -> _BatchDialect:
        fine = all(letter.isalnum() or letter in "._-" for letter in self.model)
        _options.check(fine, self, "model", self.model, "the name of a model")
        return _BatchDialect(self.model, f"{self.name} {self.model!r}")

    def _default_key(self) -> Secret | None:
        return Secret.from_env(KEY) if host_of(self.base_url) == GOOGLE_AI else None

    def _credentials(self, key: str) -> Headers:
        return (("x-goog-api-key", key),)
