"""OpenAI's own hosts and Azure's, and the keys that are meant for them alone."""

from __future__ import annotations

from genai_pipeline._secret import Secret
from genai_pipeline.providers._endpoint import host_of

__all__ = ["BASE_URL", "is_azure", "is_openai", "openai_key"]

BASE_URL = "https://api.openai.com/v1"

_KEY = "OPENAI_API_KEY"
_AZURE = (".openai.azure.com", ".cognitiveservices.azure.com", ".services.ai.azure.com")


def is_openai(base_url: str) -> bool:
    """Tell whether *base_url* is one of OpenAI's own, those of its regions among them."""
    host = host_of(base_url)
    return host == "api.openai.com" or host.endswith(".api.openai.com")


def is_azure(base_url: str) -> bool:
    """Tell whether *base_url* is of a resource in Azure."""
    return host_of(base_url).endswith(_AZURE)


def openai_key(base_url: str) -> Secret | None:
    """Answer where the key for *base_url* is when none is given."""
    return Secret.from_env(_KEY) if is_openai(base_url) else None
