"""
What it takes to test pipelines, and plug-ins for them, in virtual time and without a network.

The contracts need pytest, and load when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from genai_pipeline.testing._clock import FakeClock

if TYPE_CHECKING:
    from genai_pipeline.testing.provider_contract import ProviderContract

__all__ = ["FakeClock", "ProviderContract"]

_LAZY = {"ProviderContract": "provider_contract"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)
    globals()[name] = value
    return value
