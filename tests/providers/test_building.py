"""What building a provider loads, of all that its first call will need."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import genai_pipeline as gp

BUILT = {
    "Anthropic": "'m', api_key='k'",
    "AzureOpenAI": "'m', base_url='https://r.openai.azure.com', api_key='k'",
    "Bedrock": "'m', region='eu-west-1', credentials=lambda: None",
    "BedrockEmbeddings": "'amazon.titan-embed-text-v2:0', region='eu-west-1', api_key='k'",
    "Gemini": "'m', api_key='k'",
    "GeminiEmbeddings": "'m', api_key='k'",
    "LlamaCpp": "'m.gguf'",
    "Ollama": "'m'",
    "OllamaEmbeddings": "'m'",
    "OpenAI": "'m', api_key='k'",
    "OpenAIEmbeddings": "'m', api_key='k'",
    "OpenAIModerations": "'m', api_key='k'",
    "OpenAIResponses": "'m', api_key='k'",
}

LATE = {
    # HTTP, TLS and the event loop: opened by the first call.
    *("aiohttp", "asyncio", "httpcore", "httpx", "httpx2", "socket", "ssl", "urllib.request"),
    # What vendors and policies bring.
    *("anthropic", "botocore", "openai", "pydantic", "pybreaker", "tenacity", "xllamacpp"),
    # Half of anyio, and what of the standard library takes longest.
    *("typing_extensions", "anyio._core._tasks", "concurrent.futures", "email", "logging"),
    # Our own: events, journals and streams have many classes, and a call may need none of them.
    *("genai_pipeline.events", "genai_pipeline._journal", "genai_pipeline.records"),
    *("genai_pipeline.providers._answer_stream", "genai_pipeline.resilience"),
}
"""What takes long to load, and is not needed to build a provider."""

_EACH = """
import json, sys
import anyio, attrs
before = set(sys.modules)  # some versions of anyio load the half of it that newer ones load late
import genai_pipeline as gp
told = {}
for name, options in json.loads(sys.argv[1]).items():
    eval(f"gp.providers.{name}({options})")
    told[name] = sorted(set(sys.argv[2:]) & set(sys.modules) - before)
print(json.dumps(told))
"""


@pytest.fixture(scope="module")
def loaded() -> dict[str, list[str]]:
    """Answer what of `LATE` is there once each provider, one after the other, is built."""
    # Measuring coverage inside would load what the tests say is not loaded.
    environment = {key: value for key, value in os.environ.items() if "COVERAGE" not in key}
    done = subprocess.run(
        [sys.executable, "-c", _EACH, json.dumps(BUILT), *sorted(LATE)],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    told: dict[str, list[str]] = json.loads(done.stdout)
    return told


@pytest.mark.parametrize("provider", BUILT)
def test_building_loads_nothing_heavy(provider: str, loaded: dict[str, list[str]]) -> None:
    """Neither importing nor building a provider loads what its first call needs, if any does."""
    assert loaded[provider] == []


def test_each_provider_is_looked_at() -> None:
    """Every provider that needs nothing but options is among those that are built here."""
    others = {"AwsCredentials", "ChatProfile", "Local", "Moderation"}
    classes = {name for name in gp.providers.__all__ if name[0].isupper()}
    assert classes - others == set(BUILT)
