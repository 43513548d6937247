"""Anthropic's own host, and the key that is meant for it alone."""

from __future__ import annotations

from genai_pipeline._secret import Secret
from genai_pipeline.providers._endpoint import host_of

__all__ = ["BASE_URL", "anthropic_key", "is_anthropic"]

BASE_URL = "https://api.anthropic.com"

_KEY = "ANTHROPIC_API_KEY"


def is_anthropic(base_url: str) -> bool:
    """Tell whether *base_url* is Anthropic's own."""
    return host_of(base_url) == host_of(BASE_URL)


def anthropic_key(base_url: str) -> Secret | None:
    """Answer where the key for *base_url* is when none is given."""
    return Secret.from_env(_KEY) if is_anthropic(base_url) else None
