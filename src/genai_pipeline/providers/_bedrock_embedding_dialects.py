"""How the models of Amazon Bedrock are asked to embed, each in the words of its maker."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal, TypeAlias

import attrs

from genai_pipeline.embeddings import EmbeddingRequest, EmbeddingResponse, EmbeddingTask
from genai_pipeline.errors import ConfigurationError, InvalidRequest
from genai_pipeline.messages import Usage
from genai_pipeline.providers._bedrock_answer import FAILURES
from genai_pipeline.providers._document import as_count, as_dict, as_list
from genai_pipeline.providers._embedding_answer import response_in_order
from genai_pipeline.providers._http_embedder import EmbeddingDialect
from genai_pipeline.providers._json import json_bytes
from genai_pipeline.providers._rules import refuse_extra, refuse_task

__all__ = ["CohereDialect", "Maker", "TitanDialect", "maker_of"]

Maker: TypeAlias = Literal["amazon", "cohere"]
"""Whose words a model takes."""

_TOKENS = "x-amzn-bedrock-input-token-count"
_TASKS: dict[EmbeddingTask, str] = {
    "query": "search_query",
    "document": "search_document",
    "classification": "classification",
    "clustering": "clustering",
}
_MOST_TEXTS = 96


def maker_of(model: str) -> Maker | None:
    """Answer who made *model*, by its id, profile or ARN; `None` where that does not tell."""
    if "amazon.titan-embed" in model:
        return "amazon"
    return "cohere" if "cohere.embed" in model else None


@attrs.frozen
class _InvokeDialect(EmbeddingDialect):
    """``InvokeModel``; *who* begins the message of each error."""

    path_of_model: str
    who: str

    failures = attrs.evolve(FAILURES, more_headers=(_TOKENS,))

    def path(self, request: EmbeddingRequest) -> str:  # noqa: ARG002 - the same for all
        """Answer the operation on the model."""
        return f"{self.path_of_model}/invoke"

    def read(
        self, request: EmbeddingRequest, document: object, headers: Mapping[str, str], who: str
    ) -> EmbeddingResponse:
        """Answer the vectors in *document*, which come in the order of the texts."""
        told = as_dict(document)
        usage = self.usage_in(told) or self.usage_told(headers)
        request_id = FAILURES.request_id(headers)
        return response_in_order(self._told(told), request, usage, who, request_id=request_id)

    def usage_told(self, headers: Mapping[str, str]) -> Usage | None:
        """Answer what was used, which Bedrock tells beside the answers of all its models."""
        told = headers.get(_TOKENS, "")
        fine = told.isascii() and told.isdecimal() and len(told) < len(str(2**53))
        return Usage(input_tokens=int(told)) if fine else None

    def _told(self, document: Mapping[str, Any]) -> list[Any]:
        """Answer what should be the vectors."""
        raise NotImplementedError


class TitanDialect(_InvokeDialect):
    """Amazon's Titan Text Embeddings V2, and its G1: one text with each call."""

    def identity(self) -> tuple[Any, ...]:
        """Answer the API."""
        return ("titan embeddings",)

    def body(self, request: EmbeddingRequest) -> bytes:
        """Answer the body that asks for the one text of *request*."""
        refuse_task(request, self.who, of="model")
        refuse_extra(request, self.who, taken=("inputText", "dimensions"))
        (text,) = request.texts
        if not text:
            raise InvalidRequest(f"{self.who}: the text is empty; there is nothing to embed")
        size = {} if request.dimensions is None else {"dimensions": request.dimensions}
        return json_bytes({"inputText": text, **size, **request.extra})

    def usage_in(self, document: Mapping[str, Any]) -> Usage | None:
        """Answer what was used."""
        if "inputTextTokenCount" not in document:
            return None
        return Usage(input_tokens=as_count(document["inputTextTokenCount"]))

    def _told(self, document: Mapping[str, Any]) -> list[Any]:
        return [document.get("embedding")]


class CohereDialect(_InvokeDialect):
    """Cohere's Embed, v3 and v4: up to 96 texts with each call, none of which is ever cut."""

    def identity(self) -> tuple[Any, ...]:
        """Answer the API."""
        return ("cohere embeddings",)

    def body(self, request: EmbeddingRequest) -> bytes:
        """Answer the body that asks for *request*."""
        kind = None if request.task is None else _TASKS.get(request.task)
        if kind is None:
            raise ConfigurationError(
                f"{self.who}: task={request.task!r}; this model wants to know what the vectors are "
                f"for: {', '.join(_TASKS)}"
            )
        if len(request.texts) > _MOST_TEXTS:
            raise InvalidRequest(
                f"{self.who}: {len(request.texts)} texts; this model takes {_MOST_TEXTS} with each "
                f"call: embed(…, size={_MOST_TEXTS})"
            )
        refuse_extra(request, self.who, taken=("texts", "input_type", "output_dimension"))
        size = {} if request.dimensions is None else {"output_dimension": request.dimensions}
        told = {"texts": list(request.texts), "input_type": kind, "truncate": "NONE"}
        return json_bytes({**told, **size, **request.extra})

    def usage_in(self, document: Mapping[str, Any]) -> Usage | None:  # noqa: ARG002
        """Answer that the document tells nothing: a header does."""
        return None

    def _told(self, document: Mapping[str, Any]) -> list[Any]:
        told = document.get("embeddings")
        return as_list(told.get("float") if isinstance(told, dict) else told)
