"""`AtGoogle`: the options of whatever asks Google AI or Vertex AI, and what follows from them."""

from __future__ import annotations

import attrs

from genai_pipeline import _options
from genai_pipeline._options import optional
from genai_pipeline._secret import Secret
from genai_pipeline.providers._gemini_host import (
    base_url_of,
    credentials_of,
    is_google,
    key_of,
    place_name,
)
from genai_pipeline.providers._http_limited import HttpLimited
from genai_pipeline.providers._target import Headers

__all__ = ["AtGoogle"]


@attrs.frozen(eq=False, slots=False)  # slots of its own would not go with those of the other base
class AtGoogle(HttpLimited):
    """Says where at Google the model is, and what key goes there: the first of two bases."""

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

    def _is_known_host(self) -> bool:
        return is_google(self.base_url)

    def _default_key(self) -> Secret | None:
        return key_of(self)

    def _credentials(self, key: str) -> Headers:
        return credentials_of(self, key)
