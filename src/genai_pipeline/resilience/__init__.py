"""Policies around handlers: what keeps a provider's quota busy and never makes an outage worse."""

from __future__ import annotations

from genai_pipeline.resilience._cache import Cache
from genai_pipeline.resilience._canned import Canned, cache_only
from genai_pipeline.resilience._deadline import Deadline
from genai_pipeline.resilience._degrade import Degrade
from genai_pipeline.resilience._events import (
    CacheAnswered,
    CacheFailed,
    CacheMissed,
    DegradationChanged,
    FallbackTaken,
    HedgeLost,
    HedgeStarted,
    RetryScheduled,
    TargetRested,
)
from genai_pipeline.resilience._fallback import Fallback
from genai_pipeline.resilience._hedge import Hedge
from genai_pipeline.resilience._load_balance import LoadBalance
from genai_pipeline.resilience._retry import Retry
from genai_pipeline.resilience._retry_budget import RetryBudget
from genai_pipeline.resilience._timeout import Timeout

__all__ = [
    "Cache",
    "CacheAnswered",
    "CacheFailed",
    "CacheMissed",
    "Canned",
    "Deadline",
    "DegradationChanged",
    "Degrade",
    "Fallback",
    "FallbackTaken",
    "Hedge",
    "HedgeLost",
    "HedgeStarted",
    "LoadBalance",
    "Retry",
    "RetryBudget",
    "RetryScheduled",
    "TargetRested",
    "Timeout",
    "cache_only",
]
