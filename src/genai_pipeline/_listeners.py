"""Who listens to events here: apart from the events, of which whoever is silent needs none."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, TypeAlias

__all__ = ["Listener", "listened", "listeners_here"]

Listener: TypeAlias = Callable[[Any], object]

listeners_here: ContextVar[tuple[Listener, ...]] = ContextVar(
    "genai_pipeline_listeners", default=()
)
"""For `events.emit` and `events.listen` alone."""


def listened() -> bool:
    """Tell whether anyone listens, to spare building an event for nobody."""
    return bool(listeners_here.get())
