"""Policies around handlers: what keeps a provider's quota busy and never makes an outage worse."""

from __future__ import annotations

from genai_pipeline.resilience._adaptive_limit import AdaptiveLimit
from genai_pipeline.resilience._buckets import Buckets, MemoryBuckets, Quota
from genai_pipeline.resilience._bulkhead import Bulkhead
from genai_pipeline.resilience._deadline import Deadline
from genai_pipeline.resilience._events import (
    ConcurrencyChanged,
    CooldownBegan,
    QuotaLearned,
    RetryScheduled,
    SharedQuotaLost,
    SharedQuotaRegained,
)
from genai_pipeline.resilience._rate_limit import RateLimit
from genai_pipeline.resilience._reservation import Reservation
from genai_pipeline.resilience._retry import Retry
from genai_pipeline.resilience._retry_budget import RetryBudget
from genai_pipeline.resilience._timeout import Timeout

__all__ = [
    "AdaptiveLimit",
    "Buckets",
    "Bulkhead",
    "ConcurrencyChanged",
    "CooldownBegan",
    "Deadline",
    "MemoryBuckets",
    "Quota",
    "QuotaLearned",
    "RateLimit",
    "Reservation",
    "Retry",
    "RetryBudget",
    "RetryScheduled",
    "SharedQuotaLost",
    "SharedQuotaRegained",
    "Timeout",
]
