"""Embeddings, as OpenAI and every compatible server make them."""

from __future__ import annotations

from array import array
from collections.abc import Mapping
from typing import Any

import attrs

from genai_pipeline.embeddings import EmbeddingRequest, EmbeddingResponse
from genai_pipeline.errors import InvalidAnswer, InvalidRequest
from genai_pipeline.messages import Usage
from genai_pipeline.providers._chat_answer import usage_of
from genai_pipeline.providers._document import as_list, as_text, quoted
from genai_pipeline.providers._error_body import failure_in
from genai_pipeline.providers._failures import to_error
from genai_pipeline.providers._http_embedder import EmbeddingDialect
from genai_pipeline.providers._json import json_bytes
from genai_pipeline.providers._retry_after import rate_limits
from genai_pipeline.providers._rules import refuse_extra, refuse_task
from genai_pipeline.providers._vectors import check_alike, to_vector

__all__ = ["OpenAIEmbeddingDialect"]

_OWN = ("model", "input", "dimensions", "encoding_format")


@attrs.frozen
class OpenAIEmbeddingDialect(EmbeddingDialect):
    """Asks *model*; *encoding* is how the numbers come, *who* begins the message of a refusal."""

    model: str
    encoding: str
    who: str

    def identity(self) -> tuple[Any, ...]:
        """Answer the API."""
        return ("embeddings",)

    def path(self, request: EmbeddingRequest) -> str:  # noqa: ARG002 - the same for all
        """Answer the one path there is."""
        return "/embeddings"

    def body(self, request: EmbeddingRequest) -> bytes:
        """Answer the body that asks for *request*."""
        refuse_task(request, self.who)
        refuse_extra(request, self.who, taken=_OWN)
        for place, text in enumerate(request.texts):
            if not text:
                raise InvalidRequest(
                    f"{self.who}: text {place} is empty; there is nothing to embed"
                )
        body: dict[str, Any] = {"model": self.model, "input": list(request.texts)}
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        if self.encoding != "float":  # as every server does unless asked otherwise
            body["encoding_format"] = self.encoding
        return json_bytes({**body, **request.extra})

    def read(
        self, request: EmbeddingRequest, document: object, headers: Mapping[str, str], who: str
    ) -> EmbeddingResponse:
        """Answer the vectors in *document*, in the order of the texts."""
        request_id = headers.get("x-request-id")
        if not isinstance(document, dict):
            raise InvalidAnswer(f"{who}: the answer is no JSON object")
        if document.get("error"):
            failure = failure_in(500, {"error": document["error"]}, request_id=request_id)
            raise to_error(failure, who)
        limits = rate_limits(headers)
        attributes: dict[str, Any] = {"rate_limits": limits} if limits else {}
        if not isinstance(document.get("usage"), dict):
            attributes["usage_missing"] = True
        try:
            vectors = _in_order(as_list(document.get("data")), len(request.texts))
        except ValueError as error:
            raise InvalidAnswer(f"{who}: {error}{quoted(request_id)}") from None
        return EmbeddingResponse(
            vectors,
            usage=usage_of(document.get("usage")),
            model=as_text(document.get("model")),
            request_id=request_id,
            attributes=attributes,
        )

    def usage_in(self, document: Mapping[str, Any]) -> Usage | None:
        """Answer what was used."""
        usage = document.get("usage")
        return usage_of(usage) if isinstance(usage, dict) else None


def _in_order(data: list[Any], count: int) -> list[array[float]]:
    """Answer the vectors by their index; raises `ValueError` unless each has its own."""
    vectors: list[array[float] | None] = [None] * count
    for place, item in enumerate(data):
        told = item if isinstance(item, dict) else {}
        index = told.get("index", place)
        if type(index) is not int or not 0 <= index < count or vectors[index] is not None:
            raise ValueError(f"there is no text of the index {index!r} that needs a vector")
        vectors[index] = to_vector(told.get("embedding"))
    whole = [vector for vector in vectors if vector is not None]
    check_alike(whole, count)
    return whole
