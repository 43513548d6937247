"""How Google's models are asked to embed: at Google AI, and in two ways at Vertex AI."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from genai_pipeline.embeddings import EmbeddingRequest, EmbeddingResponse, EmbeddingTask
from genai_pipeline.errors import ConfigurationError, InvalidAnswer
from genai_pipeline.messages import Usage
from genai_pipeline.providers._document import as_count, as_dict, as_list
from genai_pipeline.providers._embedding_answer import response_in_order
from genai_pipeline.providers._gemini_answer import FAILURES, error_of, usage_of
from genai_pipeline.providers._http_embedder import EmbeddingDialect
from genai_pipeline.providers._json import json_bytes
from genai_pipeline.providers._rules import refuse_extra

__all__ = ["ContentDialect", "GoogleAiDialect", "PredictDialect", "embedding_dialect"]

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
_ALONE = "maas"
_OWN_OF_INSTANCE = ("content", "task_type")


@attrs.frozen
class _GoogleDialect(EmbeddingDialect):
    """What the ways have in common; *who* begins the message of each error."""

    path_of_model: str
    who: str

    failures = FAILURES

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
        vectors = (each.get("values") for each in self._told(document))
        return response_in_order(vectors, request, self.usage_in(document), who)

    def usage_in(self, document: Mapping[str, Any]) -> Usage | None:
        """Answer what was used."""
        usage = document.get("usageMetadata")
        return usage_of(usage) if isinstance(usage, dict) else None

    def _told(self, document: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Answer the objects that hold the vectors."""
        return [as_dict(each) for each in as_list(document.get("embeddings"))]


class GoogleAiDialect(_GoogleDialect):
    """``batchEmbedContents`` of Google AI, which takes one text as well as many."""

    def identity(self) -> tuple[Any, ...]:
        """Answer the API."""
        return ("gemini embeddings",)

    def path(self, request: EmbeddingRequest) -> str:  # noqa: ARG002 - the same for all
        """Answer the method of the model."""
        return f"{self.path_of_model}:batchEmbedContents"

    def body(self, request: EmbeddingRequest) -> bytes:
        """Answer the body that asks for *request*; ``extra`` goes with each of its texts."""
        refuse_extra(request, self.who, taken=_OWN)
        told = {"model": self.path_of_model.removeprefix("/"), **_wanted(request), **request.extra}
        return json_bytes({"requests": [{**told, **_content(text)} for text in request.texts]})


class ContentDialect(_GoogleDialect):
    """
    ``embedContent`` of Vertex AI for one text, ``batchEmbedContents`` for more.

    A text that is too long is never cut.
    """

    def identity(self) -> tuple[Any, ...]:
        """Answer the API."""
        return ("vertex embeddings",)

    def path(self, request: EmbeddingRequest) -> str:
        """Answer the method of the model."""
        method = "embedContent" if len(request.texts) == 1 else "batchEmbedContents"
        return f"{self.path_of_model}:{method}"

    def body(self, request: EmbeddingRequest) -> bytes:
        """Answer the body that asks for *request*; ``extra`` goes with each of its texts."""
        if len(request.texts) > 1 and _ALONE in self.path_of_model:
            raise ConfigurationError(
                f"{self.who}: {len(request.texts)} texts; this model takes one with each call: "
                "embed(…, size=1)"
            )
        refuse_extra(request, self.who, taken=_OWN)
        config = {"autoTruncate": False, **_wanted(request), **request.extra}
        asked = [{**_content(text), "embedContentConfig": config} for text in request.texts]
        return json_bytes(asked[0] if len(asked) == 1 else {"requests": asked})

    def _told(self, document: Mapping[str, Any]) -> list[dict[str, Any]]:
        one = document.get("embedding")
        return [one] if isinstance(one, dict) else super()._told(document)


class PredictDialect(_GoogleDialect):
    """``predict`` of Vertex AI, for the models before Gemini's; nothing is cut here either."""

    def identity(self) -> tuple[Any, ...]:
        """Answer the API."""
        return ("vertex predict",)

    def path(self, request: EmbeddingRequest) -> str:  # noqa: ARG002 - the same for all
        """Answer the method of the model."""
        return f"{self.path_of_model}:predict"

    def body(self, request: EmbeddingRequest) -> bytes:
        """Answer the body that asks for *request*; ``extra`` goes with each of its texts."""
        refuse_extra(request, self.who, taken=_OWN_OF_INSTANCE)
        task = {} if request.task is None else {"task_type": _TASKS[request.task]}
        parameters: dict[str, Any] = {"autoTruncate": False}
        if request.dimensions is not None:
            parameters["outputDimensionality"] = request.dimensions
        instances = [{"content": text, **task, **request.extra} for text in request.texts]
        return json_bytes({"instances": instances, "parameters": parameters})

    def usage_in(self, document: Mapping[str, Any]) -> Usage | None:
        """Answer what was used: the tokens of each text are told with its vector."""
        told = [as_dict(each.get("statistics")) for each in self._told(document)]
        if not any("token_count" in each for each in told):
            return None
        return Usage(input_tokens=sum(as_count(each.get("token_count")) for each in told))

    def _told(self, document: Mapping[str, Any]) -> list[dict[str, Any]]:
        predictions = as_list(document.get("predictions"))
        return [as_dict(as_dict(each).get("embeddings")) for each in predictions]


def embedding_dialect(
    path_of_model: str, who: str, *, at_vertex: bool
) -> GoogleAiDialect | ContentDialect | PredictDialect:
    """Answer how the model is asked: which way, its name tells, as to Google's own SDK."""
    if not at_vertex:
        return GoogleAiDialect(path_of_model, who)
    name = path_of_model.rpartition("/")[2]
    by_content = "gemini" in name or _ALONE in name
    return (ContentDialect if by_content else PredictDialect)(path_of_model, who)


def _wanted(request: EmbeddingRequest) -> dict[str, Any]:
    told: dict[str, Any] = {}
    if request.task is not None:
        told["taskType"] = _TASKS[request.task]
    if request.dimensions is not None:
        told["outputDimensionality"] = request.dimensions
    return told


def _content(text: str) -> dict[str, Any]:
    return {"content": {"parts": [{"text": text}]}}
