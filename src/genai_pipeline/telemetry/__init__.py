"""
Telemetry: what a run tells people and logs while it goes on; it can never slow or break one.

`Progress` shows a run on a terminal, as plain lines or as JSON; `LogEvents` writes events to
structlog; `summary` puts a finished run in a few lines.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genai_pipeline.telemetry._log import LogEvents
    from genai_pipeline.telemetry._progress import Progress
    from genai_pipeline.telemetry._summary import summary

__all__ = ["LogEvents", "Progress", "summary"]

_HOMES = {"LogEvents": "_log", "Progress": "_progress", "summary": "_summary"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
