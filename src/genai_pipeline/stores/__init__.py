"""
Where values are kept by key, for caches and shared state.

A store is any object with the three methods of `genai_pipeline.Store`.
`genai_pipeline.testing.StoreContract` proves one. `RedisCircuits` and `RedisQuotas` need
the extra ``redis``.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from genai_pipeline.stores._memory import Memory

if TYPE_CHECKING:
    from genai_pipeline.stores._redis_circuits import RedisCircuits
    from genai_pipeline.stores._redis_quotas import RedisQuotas
    from genai_pipeline.stores._sqlite import Sqlite

__all__ = ["Memory", "RedisCircuits", "RedisQuotas", "Sqlite"]

_HOMES = {
    "RedisCircuits": "_redis_circuits",
    "RedisQuotas": "_redis_quotas",
    "Sqlite": "_sqlite",
}
"""Where each name lives that is loaded when it is first used."""


def __getattr__(name: str) -> Any:
    """Load what needs a client or a database when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'genai_pipeline.stores' has no attribute {name!r}")
    return getattr(importlib.import_module(f"genai_pipeline.stores.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
