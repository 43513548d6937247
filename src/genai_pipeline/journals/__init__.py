"""
Where a pipeline keeps what it knows of records and of the calls paid for them.

Give one as ``Pipeline(journal=...)``. `genai_pipeline.testing.JournalContract` proves one.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from genai_pipeline.journals._memory import Memory

if TYPE_CHECKING:
    from genai_pipeline.journals._codec import Codec
    from genai_pipeline.journals._encryption import Encryption
    from genai_pipeline.journals._keys import KeyCallbacks, KeyProvider, LocalKeys
    from genai_pipeline.journals._reader import SqliteReader
    from genai_pipeline.journals._salvage import Salvaged, salvage
    from genai_pipeline.journals._sqlite import Sqlite
    from genai_pipeline.journals._status import JournalStatus, read_status

__all__ = [
    "Codec",
    "Encryption",
    "JournalStatus",
    "KeyCallbacks",
    "KeyProvider",
    "LocalKeys",
    "Memory",
    "Salvaged",
    "Sqlite",
    "SqliteReader",
    "read_status",
    "salvage",
]

_HOMES = {
    "Codec": "_codec",
    "Encryption": "_encryption",
    "JournalStatus": "_status",
    "KeyCallbacks": "_keys",
    "KeyProvider": "_keys",
    "LocalKeys": "_keys",
    "Salvaged": "_salvage",
    "Sqlite": "_sqlite",
    "SqliteReader": "_reader",
    "read_status": "_status",
    "salvage": "_salvage",
}
"""Where each name lives that is loaded when it is first used."""


def __getattr__(name: str) -> Any:
    """Load what needs a database when it is first used (PEP 562)."""
    if name not in _HOMES:
        raise AttributeError(f"module 'genai_pipeline.journals' has no attribute {name!r}")
    return getattr(importlib.import_module(f"genai_pipeline.journals.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
