"""`OpenAIResponses`: a model behind OpenAI's Responses API."""

from __future__ import annotations

from typing import Literal

import attrs

from genai_pipeline import _options
from genai_pipeline._secret import Secret
from genai_pipeline.messages import Request
from genai_pipeline.providers._http_model import HttpModel
from genai_pipeline.providers._openai_hosts import BASE_URL, is_openai, openai_key
from genai_pipeline.providers._responses_dialect import ResponsesDialect
from genai_pipeline.providers._responses_request import Asked, count_body
from genai_pipeline.providers._token_count import fetch_count

__all__ = ["OpenAIResponses"]

_SUMMARIES = ("auto", "concise", "detailed")


@attrs.frozen(eq=False)
class OpenAIResponses(HttpModel):
    """
    A model behind OpenAI's Responses API, where reasoning goes on from turn to turn.

    What the model thought comes sealed, as `parts.Reasoning`: send ``Response.message`` back with
    the next turn, and the model goes on from there. Nothing is kept at the provider, unless
    *store* says so. vLLM and llama.cpp speak the API, too; give their *base_url*.

    Everything else is as with `OpenAI`: one attempt a call, the same key, the same errors. The
    API knows no seed and no stop texts, and takes no audio.
    """

    base_url: str = attrs.field(default=BASE_URL, kw_only=True)
    """Everything before ``/responses``. ``https``, or ``http`` to this very machine."""

    store: bool = attrs.field(default=False, kw_only=True, validator=_options.flag)
    """Let the provider keep the answers (30 days or more), as the API itself does by default."""

    reasoning_summary: Literal["auto", "concise", "detailed"] | None = attrs.field(
        default=None, kw_only=True, validator=_options.optional(_options.one_of(*_SUMMARIES))
    )
    """Ask for the reasoning as text: ``Response.reasoning``, which is empty otherwise."""

    name: str = attrs.field(default="openai", kw_only=True, validator=_options.text)
    """What events, errors and reports call the provider."""

    async def count_tokens(self, request: Request) -> int:
        """
        Answer how many tokens *request* comes to as input, as the provider counts them.

        That is a call of its own, which costs nothing. It raises what a call raises.
        """
        document = count_body(request, self._asked(), self._caller.who)
        path = "/responses/input_tokens"
        return await fetch_count(self._caller, path, document, field="input_tokens")

    def _speaks(self) -> ResponsesDialect:
        return ResponsesDialect(self._asked(), f"{self.name} {self.model!r}")

    def _is_known_host(self) -> bool:
        return is_openai(self.base_url)

    def _default_key(self) -> Secret | None:
        return openai_key(self.base_url)

    def _asked(self) -> Asked:
        return Asked(self.model, self.store, self.reasoning_summary)
