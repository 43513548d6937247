"""`Journaled`: calls of a provider that knows of no journal are kept in the pipeline's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from decimal import Decimal
from typing import Any, ClassVar

import attrs

from genai_pipeline import _options
from genai_pipeline._lifespan import every_part
from genai_pipeline._options import check
from genai_pipeline._paid_response import paid_response, would_replay_response
from genai_pipeline._reconcile import Found, LostCall
from genai_pipeline.events import CallFinished, emit
from genai_pipeline.messages import Request, Response
from genai_pipeline.types import Provider

__all__ = ["Journaled", "records_calls"]


def _is_function(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    check(callable(value), owner, option.name, value, "an async function of a LostCall, or None")


@attrs.frozen(kw_only=True, eq=False)
class Journaled:
    """
    Keeps the calls it stands around in the journal of the pipeline, if that has one.

    For providers that do not record themselves; `resilient` puts it in where it is needed, and
    the innermost, so that each attempt is a call of its own. Before a call is made, the journal
    holds its money; the `Response` is kept, as JSON, before anybody gets it; and a response that
    is kept already is given back, with ``attributes["replayed"]`` true, instead of a second
    call. Where there is no journal, it does nothing.

    A response whose attributes JSON cannot hold raises `ConfigurationError`. A provider that
    reads answers before it returns may fail on one that was billed; such a call counts at the
    most it can cost. One that records itself (``records_calls = True``, see "Make your own
    parts") keeps the raw answer and so loses none.
    """

    provider: str = attrs.field(validator=_options.text)
    """The provider's name, as in its events and in the price book."""

    model: str = attrs.field(validator=_options.text)
    """The model's name, as in its events and in the price book."""

    timeout: float = attrs.field(default=600.0, validator=_options.positive)
    """Seconds after which a call has surely ended."""

    find: Callable[[LostCall], Awaitable[Found]] | None = attrs.field(
        default=None, validator=_options.optional(_is_function), repr=False
    )
    """
    Asks what became of a call whose answer was lost, for stages with ``on_unknown="reconcile"``:
    `ReconcilingProvider.find` of the provider, which `resilient` gives by itself.
    """

    records_calls: ClassVar[bool] = True

    async def __call__(self, request: Request, call_next: Provider) -> Response:
        """Answer *request* from the journal, or by a call that is kept there."""
        response = await paid_response(
            request,
            lambda: call_next(request),
            provider=self.provider,
            model=self.model,
            longest=self.timeout,
            find=self.find,
        )
        if response.attributes.get("replayed"):
            emit(
                CallFinished(
                    provider=self.provider,
                    model=response.model or self.model,
                    seconds=0.0,
                    cost=Decimal(0),
                    finish_reason=response.finish_reason,
                    replayed=True,
                )
            )
        return response

    def would_replay(self, request: Request, call_next: Provider) -> bool:  # noqa: ARG002 - answered here
        """Tell whether the journal would answer *request*."""
        return would_replay_response(request, provider=self.provider, model=self.model)


def records_calls(provider: object) -> bool:
    """Tell whether *provider*, or what it is made of, takes its calls to a journal itself."""
    return any(getattr(part, "records_calls", False) is True for part in every_part(provider))
