"""Policies around handlers: what keeps a provider's quota busy and never makes an outage worse."""

from __future__ import annotations

from genai_pipeline._quotas import BucketAsk, QuotaAsk, QuotaReply, SharedQuotas
from genai_pipeline._shared import SharedCircuit, SharedCircuits
from genai_pipeline.resilience._adaptive_limit import AdaptiveLimit
from genai_pipeline.resilience._breaker import Admission, CircuitBreaker
from genai_pipeline.resilience._buckets import Buckets, MemoryBuckets, Quota
from genai_pipeline.resilience._bulkhead import Bulkhead
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
    ConcurrencyChanged,
    CooldownBegan,
    QuotaLearned,
    RetryScheduled,
    SharedQuotaLost,
    SharedQuotaRegained,
)
from genai_pipeline.resilience._fallback import Fallback
from genai_pipeline.resilience._hedge import Hedge
from genai_pipeline.resilience._load_balance import LoadBalance
from genai_pipeline.resilience._memory_circuits import MemoryCircuits
from genai_pipeline.resilience._outage import is_outage
from genai_pipeline.resilience._rate_limit import RateLimit
from genai_pipeline.resilience._reservation import Reservation
from genai_pipeline.resilience._resilient_stream import ResilientStream, resilient_stream
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
from genai_pipeline.resilience._shared_buckets import SharedBuckets
from genai_pipeline.resilience._standard import resilient
from genai_pipeline.resilience._stream_timeout import StreamTimeout
from genai_pipeline.resilience._throttle import Throttle, is_turned_away
from genai_pipeline.resilience._timeout import Timeout

__all__ = [
    "AdaptiveLimit",
    "Admission",
    "BucketAsk",
    "Buckets",
    "Bulkhead",
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
    "ConcurrencyChanged",
    "CooldownBegan",
    "Deadline",
    "DegradationChanged",
    "Degrade",
    "Fallback",
    "FallbackTaken",
    "Hedge",
    "HedgeLost",
    "HedgeStarted",
    "LoadBalance",
    "MemoryBuckets",
    "MemoryCircuits",
    "Quota",
    "QuotaAsk",
    "QuotaLearned",
    "QuotaReply",
    "RateLimit",
    "Reservation",
    "ResilientStream",
    "Retry",
    "RetryBudget",
    "RetryScheduled",
    "SharedBuckets",
    "SharedCircuit",
    "SharedCircuits",
    "SharedQuotaLost",
    "SharedQuotaRegained",
    "SharedQuotas",
    "StreamTimeout",
    "TargetRested",
    "Throttle",
    "Timeout",
    "cache_only",
    "is_outage",
    "is_turned_away",
    "resilient",
    "resilient_stream",
]
