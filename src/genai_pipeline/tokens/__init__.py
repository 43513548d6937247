"""
Counting tokens without asking anybody: about, corrected by answers, or by a vocabulary.

`types.TokenCounter` is what all of them are; `types.CountingProvider` asks the provider.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from genai_pipeline.tokens._estimator import ByCharacters, TokenEstimator

if TYPE_CHECKING:
    from genai_pipeline.tokens._tiktoken import Tiktoken

__all__ = ["ByCharacters", "Tiktoken", "TokenEstimator"]


def __getattr__(name: str) -> Any:
    """Load what only few use when it is first used (PEP 562)."""
    if name != "Tiktoken":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from genai_pipeline.tokens._tiktoken import Tiktoken  # noqa: PLC0415

    return Tiktoken


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
