"""Where Gemini's models are, Google AI or a project of Vertex AI, and what key goes there."""

from __future__ import annotations

import re
from typing import Any, Protocol

import attrs

from genai_pipeline._options import check
from genai_pipeline._secret import Secret
from genai_pipeline.providers._endpoint import host_of
from genai_pipeline.providers._target import Headers

__all__ = [
    "GOOGLE_AI",
    "KEY",
    "Placed",
    "base_url_of",
    "credentials_of",
    "is_google",
    "key_of",
    "path_of",
    "place_name",
]

GOOGLE_AI = "generativelanguage.googleapis.com"
KEY = "GEMINI_API_KEY"
_GOOGLE = re.compile(
    r"generativelanguage\.googleapis\.com|(?:[a-z0-9-]+-)?aiplatform\.googleapis\.com"
    r"|aiplatform\.[a-z]+\.rep\.googleapis\.com"
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]*")
_MODEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._@-]*(/[A-Za-z0-9][A-Za-z0-9._@-]*)*")


class Placed(Protocol):
    """A provider that says where its model is."""

    @property
    def model(self) -> str:
        """The name of the model."""
        ...

    @property
    def base_url(self) -> str:
        """Everything before the path of the model."""
        ...

    @property
    def project(self) -> str | None:
        """The project of Vertex AI; `None` for Google AI."""
        ...

    @property
    def location(self) -> str:
        """Where in Vertex AI."""
        ...


def place_name(owner: object, option: attrs.Attribute[Any], value: Any) -> None:
    """Allow what can be a part of a path."""
    fine = isinstance(value, str) and _NAME.fullmatch(value) is not None
    check(fine, owner, option.name, value, "a name of letters, digits, '.', ':' and '-'")


def base_url_of(placed: Placed) -> str:
    """Answer the base URL of Google AI, or of the place in Vertex AI."""
    if placed.project is None:
        return f"https://{GOOGLE_AI}/v1"
    place = placed.location
    if place == "global":
        return "https://aiplatform.googleapis.com/v1"
    if place in {"us", "eu"}:
        return f"https://aiplatform.{place}.rep.googleapis.com/v1"
    return f"https://{place}-aiplatform.googleapis.com/v1"


def is_google(base_url: str) -> bool:
    """Tell whether *base_url* is of Google AI or of Vertex AI."""
    return _GOOGLE.fullmatch(host_of(base_url)) is not None


def path_of(placed: Placed) -> str:
    """Answer the path of the model; a name with a slash in it is the end of one."""
    model = placed.model
    fine = _MODEL.fullmatch(model) is not None
    check(fine, placed, "model", model, "the name of a model, as 'gemini-3-flash'")
    if placed.project is None:
        return f"/{model}" if "/" in model else f"/models/{model}"
    place = f"/projects/{placed.project}/locations/{placed.location}"
    return f"{place}/{model}" if "/" in model else f"{place}/publishers/google/models/{model}"


def key_of(placed: Placed) -> Secret | None:
    """Answer where the key is when none is given: Google AI's, for Google AI alone."""
    ours = placed.project is None and host_of(placed.base_url) == GOOGLE_AI
    return Secret.from_env(KEY) if ours else None


def credentials_of(placed: Placed, key: str) -> Headers:
    """Answer the headers that carry *key*: an access token for Vertex AI."""
    if placed.project is None:
        return (("x-goog-api-key", key),)
    return (("authorization", f"Bearer {key}"),)
