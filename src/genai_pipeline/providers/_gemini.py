"""`Gemini`: Google's Gemini models, at Google AI and at Vertex AI."""

from __future__ import annotations

import attrs

from genai_pipeline import _options
from genai_pipeline._options import optional
from genai_pipeline._secret import Secret
from genai_pipeline.errors import ConfigurationError
from genai_pipeline.messages import Request
from genai_pipeline.providers._gemini_dialect import ContentDialect
from genai_pipeline.providers._gemini_host import (
    base_url_of,
    credentials_of,
    is_google,
    key_of,
    path_of,
    place_name,
)
from genai_pipeline.providers._gemini_request import gemini_body
from genai_pipeline.providers._http_model import HttpModel
from genai_pipeline.providers._target import Headers
from genai_pipeline.providers._token_count import fetch_count

__all__ = ["Gemini"]


@attrs.frozen(eq=False)
class Gemini(HttpModel):
    """
    A Gemini model, at Google AI or, with a *project*, at Vertex AI.

    One object serves any number of concurrent calls, runs, threads and event loops. A run opens
    the connections at the first call and closes them at its end; outside a run, ``async with
    model:`` keeps them for its block, and a lone call opens and closes its own.

    Without *api_key*, Google AI gets the key in ``GEMINI_API_KEY``, and others none: a key goes to
    no host that it was not meant for, and never into a URL.

    A call makes one attempt and raises the errors of `genai_pipeline.errors`; put a retry
    around it. The text of an answer that was cut at the output limit is returned with
    ``finish_reason="length"``; where labels or a schema were asked for, `Truncated` is raised. A
    blocked prompt or answer is `Refused`. A cancelled call may have been billed. In a pipeline with
    a journal, answers are kept as they came, before they are read.
    """

    project: str | None = attrs.field(default=None, kw_only=True, validator=optional(place_name))
    """
    The Google Cloud project whose Vertex AI to ask; by default Google AI is asked.

    *api_key* then is an access token: a function that answers it, and how long it lasts.
    """

    location: str = attrs.field(default="global", kw_only=True, validator=place_name)
    """Where in Vertex AI: ``global``, ``us``, ``eu``, or a region."""

    base_url: str = attrs.field(default=attrs.Factory(base_url_of, takes_self=True), kw_only=True)
    """
    Everything before ``/models`` or ``/projects``; ``…/v1beta`` for what is in preview.

    By default that of Google AI, or of the project's place.
    """

    name: str = attrs.field(default="gemini", kw_only=True, validator=_options.text)
    """What events, errors and reports call the provider."""

    async def count_tokens(self, request: Request) -> int:
        """
        Answer how many tokens *request* has for the model, as the API counts them; free of charge.

        Raises what a call raises. Google AI counts messages only: with a system's instructions,
        tools or a schema, a `ConfigurationError` is raised there.
        """
        who = self._caller.who
        body = gemini_body(request, who)
        body.pop("generationConfig", None)
        left = sorted(body.keys() - {"contents"})
        if self.project is None and left:
            raise ConfigurationError(
                f"{who}: {left[0]} cannot be counted at Google AI; leave it out"
            )
        path = f"{path_of(self)}:countTokens"
        # A zero is left out on the wire.
        return await fetch_count(self._caller, path, body, field="totalTokens", absent=0)

    def _speaks(self) -> ContentDialect:
        return ContentDialect(path_of(self), f"{self.name} {self.model!r}")

    def _is_known_host(self) -> bool:
        return is_google(self.base_url)

    def _default_key(self) -> Secret | None:
        return key_of(self)

    def _credentials(self, key: str) -> Headers:
        return credentials_of(self, key)
