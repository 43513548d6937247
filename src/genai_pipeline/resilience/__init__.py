"""Policies around handlers: what keeps a provider's quota busy and never makes an outage worse."""

from __future__ import annotations

from genai_pipeline._shared import SharedCircuit, SharedCircuits
from genai_pipeline.resilience._breaker import Admission, CircuitBreaker
from genai_pipeline.resilience._cache import Cache
from genai_pipeline.resilience._canned import Canned, cache_only
from genai_pipeline.resilience._circuit import CircuitListener, CircuitState
from genai_pipeline.resilience._deadline import Deadline
from genai_pipeline.resilience._degrade import Degrade
from genai_pipeline.resilience._events import (
    CallThrottled,
    CircuitClosed,
    CircuitHalfOpened,
    CircuitOpened,
    CircuitSharingFailed,
    RetryScheduled,
)
from genai_pipeline.resilience._fallback import Fallback
from genai_pipeline.resilience._hedge import Hedge
from genai_pipeline.resilience._load_balance import LoadBalance
from genai_pipeline.resilience._memory_circuits import MemoryCircuits
from genai_pipeline.resilience._outage import is_outage
from genai_pipeline.resilience._retry import Retry
from genai_pipeline.resilience._retry_budget import RetryBudget
from genai_pipeline.resilience._route_events import (
    CacheAnswered,
    CacheFailed,
    CacheMissed,
    DegradationChanged,
    FallbackTaken,
    HedgeLost,
    HedgeStarted,
    TargetRested,
)
from genai_pipeline.resilience._throttle import Throttle, is_turned_away
from genai_pipeline.resilience._timeout import Timeout

__all__ = [
    "Admission",
    "Cache",
    "CacheAnswered",
    "CacheFailed",
    "CacheMissed",
    "CallThrottled",
    "Canned",
    "CircuitBreaker",
    "CircuitClosed",
    "CircuitHalfOpened",
    "CircuitListener",
    "CircuitOpened",
    "CircuitSharingFailed",
    "CircuitState",
    "Deadline",
    "DegradationChanged",
    "Degrade",
    "Fallback",
    "FallbackTaken",
    "Hedge",
    "HedgeLost",
    "HedgeStarted",
    "LoadBalance",
    "MemoryCircuits",
    "Retry",
    "RetryBudget",
    "RetryScheduled",
    "SharedCircuit",
    "SharedCircuits",
    "TargetRested",
    "Throttle",
    "Timeout",
    "cache_only",
    "is_outage",
    "is_turned_away",
]
