"""Tell of a call to a model that has ended."""

from __future__ import annotations

from decimal import Decimal

from genai_pipeline._listeners import listened
from genai_pipeline.messages import Response, Usage

__all__ = ["tell"]


def tell(
    provider: str,
    model: str,
    response: Response,
    failure: str | None,
    *,
    seconds: float,
    first_chunk: float | None = None,
) -> None:
    """
    Emit what came of a call to *model*: *response*, and what kind of *failure* it was, if one.

    What a failed call used is in its response, as far as it is known.
    """
    if not listened():
        return
    from genai_pipeline.events import CallFinished, emit  # noqa: PLC0415 - who listens has them

    replayed = bool(response.attributes.get("replayed"))
    usage = Usage(cost=Decimal(0)) if replayed else response.usage
    emit(
        CallFinished(
            provider=provider,
            model=response.model or model,
            seconds=seconds,
            input_tokens=usage.input_tokens,
            output_tokens=usage.output_tokens,
            cost=usage.cost,
            finish_reason=None if failure else response.finish_reason,
            error=failure,
            first_chunk=first_chunk,
            replayed=replayed,
        )
    )
