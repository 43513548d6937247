"""
Production pipelines over language models.

Records come from a source, pass through stages that call providers behind middleware, and end
in a sink or among the dead letters. ``import genai_pipeline as gp`` and everything below is one
attribute away; the submodules load when they are first used.

The modules stand on floors, and each imports only from lower ones: errors, clock and events;
the words (messages, records, types, walk); how words join (wrap, chain, map, batched …); policies
and the engine; the edges (sources, sinks, stores, providers), which know the words and never the
engine; the test kit and the command.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from genai_pipeline._branch import branch, tee
from genai_pipeline._chain import chain
from genai_pipeline._batched import batched
from genai_pipeline._gather import gather, reduce
from genai_pipeline._stages import filter, flat_map, map
from genai_pipeline._wrap import Wrapped, wrap
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.events import emit, listen
from genai_pipeline.messages import Message, Request, Response, Usage
from genai_pipeline.records import DeadLetter, Delivery, Record
from genai_pipeline.types import Handler, Middleware, Provider, Sink, Source, Stage, Store
from genai_pipeline.walk import current_record, time_left
