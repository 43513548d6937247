"""What each provider behind HTTP makes of bad input, over real sockets."""

from __future__ import annotations

from typing import Any

from genai_pipeline.providers import Bedrock, Gemini, Ollama, OpenAI
from tests.providers.http_contract import HttpProviderContract
from tests.servers.bedrock import converse
from tests.servers.chat import completion
from tests.servers.gemini import answer
from tests.servers.ollama import answer as ollama_answer


class TestOpenAI(HttpProviderContract):
    """Chat Completions."""

    def make(self, base_url: str, **options: Any) -> OpenAI:
        return OpenAI("m", base_url=base_url, **options)

    def whole(self, text: str) -> dict[str, Any]:
        return completion(text)


class TestGemini(HttpProviderContract):
    """Gemini's generateContent."""

    def make(self, base_url: str, **options: Any) -> Gemini:
        return Gemini("m", base_url=base_url, **options)

    def whole(self, text: str) -> dict[str, Any]:
        return answer(text)


class TestBedrock(HttpProviderContract):
    """Bedrock's Converse, with a bearer key."""

    def make(self, base_url: str, **options: Any) -> Bedrock:
        return Bedrock("m", base_url=base_url, **{"api_key": "bedrock-key", **options})

    def whole(self, text: str) -> dict[str, Any]:
        document: dict[str, Any] = converse(text)
        return document


class TestOllama(HttpProviderContract):
    """Ollama's own API."""

    def make(self, base_url: str, **options: Any) -> Ollama:
        return Ollama("m", base_url=base_url, **options)

    def whole(self, text: str) -> dict[str, Any]:
        return ollama_answer(text)
