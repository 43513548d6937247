"""What stands on the lowest levels: an answer that is always there, and none but known ones."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any, ClassVar, NoReturn

import attrs

from genai_pipeline import _options
from genai_pipeline._options import check
from genai_pipeline.errors import ConfigurationError, NotCached
from genai_pipeline.messages import Request, Response, Usage

__all__ = ["Canned", "cache_only"]


def _is_answer(owner: object, option: attrs.Attribute[Any], value: object) -> None:
    fine = isinstance(value, str) or _options.is_function(value)
    check(fine, owner, option.name, value, "a text, or a function of the request that answers one")


@attrs.frozen(eq=False)
class Canned:
    """
    A provider that gives an answer made beforehand, at no cost.

    The lowest level of `Degrade`, or the last target of `Fallback`. Its `Response` has
    ``attributes["canned"]``. Raises `ConfigurationError` when the answer is none of the labels
    that the request allows.
    """

    output_modes: ClassVar[tuple[str, ...]] = ("labels", "native", "tool", "prompt")

    answer: str | Callable[[Request], str] = attrs.field(validator=_is_answer)
    """The text, or a function that makes it of the request."""

    name: str = attrs.field(default="canned", kw_only=True, validator=_options.text)

    async def __call__(self, request: Request, /) -> Response:
        """Give the answer."""
        text = self.answer if isinstance(self.answer, str) else self.answer(request)
        if request.labels is not None and text not in request.labels:
            raise ConfigurationError(
                f"Canned: answer={text!r} is none of the request's labels {request.labels!r}"
            )
        usage = Usage(cost=Decimal(0))
        return Response(text, usage=usage, model=self.name, attributes={"canned": True})


async def cache_only(_: Any) -> NoReturn:
    """
    Raise `NotCached`: a handler to put a `Cache` around, for answers already known alone.

    ``gp.wrap(cache_only, Cache(store=store, scope="large model"))`` as a level of `Degrade` gives
    what the level with the same store and scope has got before.
    """
    raise NotCached("no answer to this is known, and none may be fetched now")


# It never says anything, so it never says anything in a form that was not asked for.
cache_only.__dict__["output_modes"] = Canned.output_modes
