"""
Models behind one arrow: each class takes a `Request` and answers a `Response`.

The classes load when they are first used, and so do the libraries they stand on.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genai_pipeline.providers._aws_credentials import AwsCredentials
    from genai_pipeline.providers._bedrock import Bedrock
    from genai_pipeline.providers._gemini import Gemini
    from genai_pipeline.providers._local import Local
    from genai_pipeline.providers._ollama import Ollama
    from genai_pipeline.providers._openai import OpenAI

__all__ = ["AwsCredentials", "Bedrock", "Gemini", "Local", "Ollama", "OpenAI"]

_MODULES = {
    "AwsCredentials": "_aws_credentials",
    "Bedrock": "_bedrock",
    "Gemini": "_gemini",
    "Local": "_local",
    "Ollama": "_ollama",
    "OpenAI": "_openai",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
