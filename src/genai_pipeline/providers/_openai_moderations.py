"""`OpenAIModerations`: tells what is harmful in texts and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import attrs

from genai_pipeline import _options
from genai_pipeline._secret import Secret
from genai_pipeline.errors import InvalidAnswer, InvalidRequest
from genai_pipeline.messages import Message, Response, Usage
from genai_pipeline.providers._document import as_dict, as_text
from genai_pipeline.providers._http_options import HttpOptions
from genai_pipeline.providers._moderation import Moderation, moderation_input, moderations_in
from genai_pipeline.providers._openai_hosts import BASE_URL, openai_key
from genai_pipeline.providers._telling import Telling

__all__ = ["OpenAIModerations"]

_FREE = Usage(cost=Decimal(0))


@attrs.frozen(eq=False)
class OpenAIModerations(HttpOptions):
    """
    Takes a text, or a `Message` of texts and images, and answers a `Moderation` of it.

    Calls are free, so a journal does not keep them. The key, the errors, the events and the
    connections are as with `OpenAI`; a call makes one attempt.
    """

    model: str = attrs.field(default="omni-moderation-latest", validator=_options.text)
    """The name of the model, as the server knows it."""

    base_url: str = attrs.field(default=BASE_URL, kw_only=True)
    """Everything before ``/moderations``. ``https``, or ``http`` to this very machine."""

    name: str = attrs.field(default="openai", kw_only=True, validator=_options.text)
    """What events, errors and reports call the provider."""

    async def __call__(self, content: str | Message) -> Moderation:
        """
        Answer what is harmful in *content*, its texts and images taken together.

        Raises what a provider raises, and `ConfigurationError` for parts of other kinds.
        """
        (found,) = await self._ask(moderation_input(content), 1)
        return found

    async def many(self, texts: Sequence[str]) -> list[Moderation]:
        """Answer what is harmful in each of *texts*, with one call: for `batched`."""
        if not texts:
            return []
        return await self._ask(list(texts), len(texts))

    async def _ask(self, given: str | list[Any], count: int) -> list[Moderation]:
        free = Response("", usage=_FREE)
        with Telling(self.name, self.model, self.clock, free) as telling:
            found = await self._fetch(given, count)
            telling.response = attrs.evolve(free, model=found[0].model)
            return found

    async def _fetch(self, given: str | list[Any], count: int) -> list[Moderation]:
        who = self._caller.who
        if not given or (isinstance(given, list) and "" in given):
            raise InvalidRequest(f"{who}: a text is empty; there is nothing to moderate")
        body = {"model": self.model, "input": given}
        document, headers = await self._caller.fetch("/moderations", body)
        told = as_dict(document)
        request_id = headers.get("x-request-id") or as_text(told.get("id")) or None
        model = as_text(told.get("model")) or self.model
        found = moderations_in(told, model=model, request_id=request_id)
        if found is None or len(found) != count:
            has = "no results" if found is None else f"{len(found)} results for {count} inputs"
            raise InvalidAnswer(f"{who}: the answer holds {has}")
        return found

    def _default_key(self) -> Secret | None:
        return openai_key(self.base_url)
