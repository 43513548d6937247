"""
Where values are kept by key, for caches and shared state.

A store is any object with the three methods of `genai_pipeline.Store`.
`genai_pipeline.testing.StoreContract` proves one.
"""

from __future__ import annotations

from genai_pipeline.stores._memory import Memory
from genai_pipeline.stores._sqlite import Sqlite

__all__ = ["Memory", "Sqlite"]
