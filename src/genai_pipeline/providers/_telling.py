"""Tell of calls to models, once they have ended."""

from __future__ import annotations

from decimal import Decimal
from types import TracebackType
from typing import Self

from genai_pipeline._listeners import listened
from genai_pipeline.clock import Clock
from genai_pipeline.messages import Response, Usage

__all__ = ["Telling", "tell"]

_NOTHING = Response("")
"""What came of a call of which nothing came."""


class Telling:
    """
    Tells of the call that is made in its block when that ends, however it ends.

    Set `response` as soon as it is known; what it used is told of a call that fails, too.
    """

    __slots__ = ("_began", "_clock", "_model", "_provider", "response")

    def __init__(
        self, provider: str, model: str, clock: Clock, response: Response = _NOTHING
    ) -> None:
        self.response = response
        self._provider = provider
        self._model = model
        self._clock = clock

    def __enter__(self) -> Self:
        self._began = self._clock.now()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        failure = None
        if kind is not None:
            failure = kind.__name__ if issubclass(kind, Exception) else "Cancelled"
        seconds = self._clock.now() - self._began
        tell(self._provider, self._model, self.response, failure, seconds=seconds)


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
