"""Policies around handlers: what keeps a provider's quota busy and never makes an outage worse."""

from __future__ import annotations

from genai_pipeline.resilience._breaker import Admission, CircuitBreaker
from genai_pipeline.resilience._circuit import CircuitListener, CircuitState
from genai_pipeline.resilience._events import (
    CallThrottled,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitOpened,
    CircuitSharingFailed,
)
from genai_pipeline.resilience._outage import is_outage
from genai_pipeline.resilience._shared_circuits import (
    MemoryCircuits,
    SharedCircuit,
    SharedCircuits,
)
from genai_pipeline.resilience._throttle import Throttle, is_turned_away

__all__ = [
    "Admission",
    "CallThrottled",
    "CircuitBreaker",
    "CircuitClosed",
    "CircuitHalfOpened",
    "CircuitListener",
    "CircuitOpened",
    "CircuitSharingFailed",
    "CircuitState",
    "MemoryCircuits",
    "SharedCircuit",
    "SharedCircuits",
    "Throttle",
    "is_outage",
    "is_turned_away",
]
