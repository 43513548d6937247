"""What it takes to test pipelines, and plug-ins for them, in virtual time and without a network."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from genai_pipeline.testing._clock import FakeClock

if TYPE_CHECKING:
    from genai_pipeline.testing._sink_contract import SinkContract
    from genai_pipeline.testing._store_contract import StoreContract

__all__ = ["FakeClock", "SinkContract", "StoreContract"]

# The contracts need pytest and Hypothesis, which a user of the clock may not have.
_LAZY = {
    "SinkContract": "_sink_contract",
    "StoreContract": "_store_contract",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_LAZY[name]}"), name)


def __dir__() -> list[str]:
    return __all__
