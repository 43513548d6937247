"""
Production pipelines over language models.

Records come from a source, pass through stages that call providers behind middleware, and end
in a sink or among the dead letters. ``import genai_pipeline as gp``, and everything is one or
two attributes away; each module loads when a name of it is first used.

The modules stand on floors, and each imports only from lower ones: errors, clock and events;
the words (messages, records, types, walk); how words join (wrap, chain, map, batched …), and
what is known of models; the engine with its money, and the policies, which do not know each
other; the edges (sources, sinks, stores, journals, providers, telemetry), which know the words
and never the engine; the command and the test kit.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from genai_pipeline import (
        catalogue,
        embeddings,
        errors,
        events,
        journals,
        money,
        parts,
        plugins,
        providers,
        resilience,
        sinks,
        sources,
        stores,
        telemetry,
        testing,
        tokens,
    )
    from genai_pipeline._batched import batched
    from genai_pipeline._branch import branch, tee
    from genai_pipeline._chain import chain
    from genai_pipeline._embed import embed
    from genai_pipeline._gather import gather, reduce
    from genai_pipeline._generate import generate
    from genai_pipeline._order import in_order
    from genai_pipeline._plan import Plan
    from genai_pipeline._reconcile import LostCall, ReconcilingProvider, call_token
    from genai_pipeline._secret import Secret
    from genai_pipeline._stack import MisorderedStack, describe
    from genai_pipeline._stages import filter, flat_map, map
    from genai_pipeline._tools import Tool
    from genai_pipeline._wrap import wrap
    from genai_pipeline.catalogue import ModelCatalogue, ModelInfo
    from genai_pipeline.clock import Clock, SystemClock
    from genai_pipeline.embeddings import EmbeddingRequest, EmbeddingResponse
    from genai_pipeline.errors import (
        ConfigurationError,
        DataError,
        DeadlineExceeded,
        Permanent,
        PipelineError,
        Refused,
        Rejected,
        Systemic,
        Transient,
        Truncated,
    )
    from genai_pipeline.events import emit, listen
    from genai_pipeline.journals import Sqlite
    from genai_pipeline.messages import Chunk, Message, Request, Response, Usage, join_chunks
    from genai_pipeline.money import Budget, PriceBook
    from genai_pipeline.pipeline import Pipeline
    from genai_pipeline.records import DeadLetter, Delivery, Record
    from genai_pipeline.report import Report, RunFailed
    from genai_pipeline.resilience import (
        AdaptiveLimit,
        Bulkhead,
        Cache,
        Canned,
        CircuitBreaker,
        Deadline,
        Degrade,
        Fallback,
        Hedge,
        Journaled,
        LoadBalance,
        RateLimit,
        Retry,
        RetryBudget,
        StreamTimeout,
        Throttle,
        Timeout,
        cache_only,
        resilient,
        resilient_stream,
    )
    from genai_pipeline.tokens import TokenEstimator
    from genai_pipeline.types import (
        CountingProvider,
        Embedder,
        Handler,
        Middleware,
        Provider,
        Sink,
        Source,
        Stage,
        Store,
        StreamingProvider,
        TokenCounter,
    )
    from genai_pipeline.walk import current_record, time_left

__all__ = [
    "AdaptiveLimit",
    "Budget",
    "Bulkhead",
    "Cache",
    "Canned",
    "Chunk",
    "CircuitBreaker",
    "Clock",
    "ConfigurationError",
    "CountingProvider",
    "DataError",
    "DeadLetter",
    "Deadline",
    "DeadlineExceeded",
    "Degrade",
    "Delivery",
    "Embedder",
    "EmbeddingRequest",
    "EmbeddingResponse",
    "Fallback",
    "Handler",
    "Hedge",
    "Journaled",
    "LoadBalance",
    "LostCall",
    "Message",
    "Middleware",
    "MisorderedStack",
    "ModelCatalogue",
    "ModelInfo",
    "Permanent",
    "Pipeline",
    "PipelineError",
    "Plan",
    "PriceBook",
    "Provider",
    "RateLimit",
    "ReconcilingProvider",
    "Record",
    "Refused",
    "Rejected",
    "Report",
    "Request",
    "Response",
    "Retry",
    "RetryBudget",
    "RunFailed",
    "Secret",
    "Sink",
    "Source",
    "Sqlite",
    "Stage",
    "Store",
    "StreamTimeout",
    "StreamingProvider",
    "SystemClock",
    "Systemic",
    "Throttle",
    "Timeout",
    "TokenCounter",
    "TokenEstimator",
    "Tool",
    "Transient",
    "Truncated",
    "Usage",
    "batched",
    "branch",
    "cache_only",
    "call_token",
    "catalogue",
    "chain",
    "current_record",
    "describe",
    "embed",
    "embeddings",
    "emit",
    "errors",
    "events",
    "filter",
    "flat_map",
    "gather",
    "generate",
    "in_order",
    "join_chunks",
    "journals",
    "listen",
    "map",
    "money",
    "parts",
    "plugins",
    "providers",
    "reduce",
    "resilience",
    "resilient",
    "resilient_stream",
    "sinks",
    "sources",
    "stores",
    "tee",
    "telemetry",
    "testing",
    "time_left",
    "tokens",
    "wrap",
]

_HOMES = {
    "_batched": "batched",
    "_branch": "branch tee",
    "_chain": "chain",
    "_embed": "embed",
    "_gather": "gather reduce",
    "_generate": "generate",
    "_order": "in_order",
    "_plan": "Plan",
    "_reconcile": "LostCall ReconcilingProvider call_token",
    "_secret": "Secret",
    "_stack": "MisorderedStack describe",
    "_stages": "filter flat_map map",
    "_tools": "Tool",
    "_wrap": "wrap",
    "catalogue": "ModelCatalogue ModelInfo",
    "clock": "Clock SystemClock",
    "embeddings": "EmbeddingRequest EmbeddingResponse",
    "errors": "ConfigurationError DataError DeadlineExceeded Permanent PipelineError Refused "
    "Rejected Systemic Transient Truncated",
    "events": "emit listen",
    "journals": "Sqlite",
    "messages": "Chunk Message Request Response Usage join_chunks",
    "money": "Budget PriceBook",
    "pipeline": "Pipeline",
    "records": "DeadLetter Delivery Record",
    "report": "Report RunFailed",
    "resilience": "AdaptiveLimit Bulkhead Cache Canned CircuitBreaker Deadline Degrade "
    "Fallback Hedge Journaled LoadBalance RateLimit Retry RetryBudget StreamTimeout Throttle "
    "Timeout cache_only resilient resilient_stream",
    "tokens": "TokenEstimator",
    "types": "CountingProvider Embedder Handler Middleware Provider Sink Source Stage Store "
    "StreamingProvider TokenCounter",
    "walk": "current_record time_left",
}
"""Which module holds which names; each is imported when a name of it is first used."""

_HOME_OF = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Load what was asked for (PEP 562): the import itself, of the command for one, is quick."""
    if name not in __all__:
        raise AttributeError(f"module 'genai_pipeline' has no attribute {name!r}")
    if name not in _HOME_OF:
        return importlib.import_module(f"genai_pipeline.{name}")
    value = getattr(importlib.import_module(f"genai_pipeline.{_HOME_OF[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
