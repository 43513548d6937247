"""What each provider behind HTTP makes of bad input, over real sockets."""

from __future__ import annotations

from typing import Any

from genai_pipeline.providers import OpenAI
from tests.providers.http_contract import HttpProviderContract
from tests.servers.chat import completion


class TestOpenAI(HttpProviderContract):
    """Chat Completions."""

    def make(self, base_url: str, **options: Any) -> OpenAI:
        return OpenAI("m", base_url=base_url, **options)

    def whole(self, text: str) -> dict[str, Any]:
        return completion(text)
