"""
Models behind one arrow: each class takes a `Request` and answers a `Response`.

The classes load when they are first used, and so do the libraries they stand on.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genai_pipeline.providers._anthropic import Anthropic
    from genai_pipeline.providers._aws_credentials import AwsCredentials
    from genai_pipeline.providers._azure_openai import AzureOpenAI
    from genai_pipeline.providers._bedrock import Bedrock
    from genai_pipeline.providers._bedrock_embeddings import BedrockEmbeddings
    from genai_pipeline.providers._chat_profile import ChatProfile
    from genai_pipeline.providers._gemini import Gemini
    from genai_pipeline.providers._gemini_embeddings import GeminiEmbeddings
    from genai_pipeline.providers._llama_cpp import LlamaCpp
    from genai_pipeline.providers._local import Local
    from genai_pipeline.providers._moderation import Moderation
    from genai_pipeline.providers._ollama import Ollama
    from genai_pipeline.providers._ollama_embeddings import OllamaEmbeddings
    from genai_pipeline.providers._openai import OpenAI
    from genai_pipeline.providers._openai_embeddings import OpenAIEmbeddings
    from genai_pipeline.providers._openai_moderations import OpenAIModerations
    from genai_pipeline.providers._openai_responses import OpenAIResponses
    from genai_pipeline.providers._sdk_clients import from_anthropic, from_openai

__all__ = [
    "Anthropic",
    "AwsCredentials",
    "AzureOpenAI",
    "Bedrock",
    "BedrockEmbeddings",
    "ChatProfile",
    "Gemini",
    "GeminiEmbeddings",
    "LlamaCpp",
    "Local",
    "Moderation",
    "Ollama",
    "OllamaEmbeddings",
    "OpenAI",
    "OpenAIEmbeddings",
    "OpenAIModerations",
    "OpenAIResponses",
    "from_anthropic",
    "from_openai",
]

_MODULES = {
    "Anthropic": "_anthropic",
    "AwsCredentials": "_aws_credentials",
    "AzureOpenAI": "_azure_openai",
    "Bedrock": "_bedrock",
    "BedrockEmbeddings": "_bedrock_embeddings",
    "ChatProfile": "_chat_profile",
    "Gemini": "_gemini",
    "GeminiEmbeddings": "_gemini_embeddings",
    "LlamaCpp": "_llama_cpp",
    "Local": "_local",
    "Moderation": "_moderation",
    "Ollama": "_ollama",
    "OllamaEmbeddings": "_ollama_embeddings",
    "OpenAI": "_openai",
    "OpenAIEmbeddings": "_openai_embeddings",
    "OpenAIModerations": "_openai_moderations",
    "OpenAIResponses": "_openai_responses",
    "from_anthropic": "_sdk_clients",
    "from_openai": "_sdk_clients",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
