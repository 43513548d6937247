"""What a model that embeds answered, where its vectors come in the order of the texts."""

from __future__ import annotations

from collections.abc import Iterable

from genai_pipeline.embeddings import EmbeddingRequest, EmbeddingResponse
from genai_pipeline.errors import InvalidAnswer
from genai_pipeline.messages import Usage
from genai_pipeline.providers._document import quoted
from genai_pipeline.providers._vectors import check_alike, to_vector

__all__ = ["response_in_order"]


def response_in_order(
    told: Iterable[object],
    request: EmbeddingRequest,
    usage: Usage | None,
    who: str,
    *,
    model: str = "",
    request_id: str | None = None,
) -> EmbeddingResponse:
    """
    Answer the vectors in *told*, one for each text of *request*.

    A *usage* of `None` is marked as missing. Raises `InvalidAnswer`, whose message *who* begins,
    unless there are as many vectors, all of one length.
    """
    try:
        vectors = [to_vector(each) for each in told]
        check_alike(vectors, len(request.texts))
    except ValueError as error:
        raise InvalidAnswer(f"{who}: {error}{quoted(request_id)}") from None
    return EmbeddingResponse(
        vectors,
        usage=usage or Usage(),
        model=model,
        request_id=request_id,
        attributes={} if usage is not None else {"usage_missing": True},
    )
