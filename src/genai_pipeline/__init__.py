"""
Production pipelines over language models.

Records come from a source, pass through stages that call providers behind middleware, and end
in a sink or among the dead letters. ``import genai_pipeline as gp``, and everything is one or
two attributes away; the packages of sources, sinks, stores and providers load when first used.

The modules stand on floors, and each imports only from lower ones: errors, clock and events;
the words (messages, records, types, walk); how words join (wrap, chain, map, batched …); the
engine and the policies, which do not know each other; the edges (sources, sinks, stores,
providers, telemetry), which know the words and never the engine; the command and the test kit.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from genai_pipeline import errors, events
from genai_pipeline._batched import batched
from genai_pipeline._branch import branch, tee
from genai_pipeline._chain import chain
from genai_pipeline._gather import gather, reduce
from genai_pipeline._order import in_order
from genai_pipeline._stages import filter, flat_map, map
from genai_pipeline._wrap import wrap
from genai_pipeline.clock import Clock, SystemClock
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
from genai_pipeline.messages import Message, Request, Response, Usage
from genai_pipeline.pipeline import Pipeline
from genai_pipeline.records import DeadLetter, Delivery, Record
from genai_pipeline.report import Report, RunFailed
from genai_pipeline.types import Handler, Middleware, Provider, Sink, Source, Stage, Store
from genai_pipeline.walk import current_record, time_left

if TYPE_CHECKING:
    from genai_pipeline import providers, sinks, sources, stores, testing

__all__ = [
    "Clock",
    "ConfigurationError",
    "DataError",
    "DeadLetter",
    "DeadlineExceeded",
    "Delivery",
    "Handler",
    "Message",
    "Middleware",
    "Permanent",
    "Pipeline",
    "PipelineError",
    "Provider",
    "Record",
    "Refused",
    "Rejected",
    "Report",
    "Request",
    "Response",
    "RunFailed",
    "Sink",
    "Source",
    "Stage",
    "Store",
    "SystemClock",
    "Systemic",
    "Transient",
    "Truncated",
    "Usage",
    "batched",
    "branch",
    "chain",
    "current_record",
    "emit",
    "errors",
    "events",
    "filter",
    "flat_map",
    "gather",
    "in_order",
    "listen",
    "map",
    "providers",
    "reduce",
    "sinks",
    "sources",
    "stores",
    "tee",
    "testing",
    "time_left",
    "wrap",
]

_LAZY = frozenset({"providers", "sinks", "sources", "stores", "testing"})


def __getattr__(name: str) -> Any:
    """Load a package of edges when it is first used (PEP 562), to keep the import cheap."""
    if name in _LAZY:
        return importlib.import_module(f"genai_pipeline.{name}")
    raise AttributeError(f"module 'genai_pipeline' has no attribute {name!r}")


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
