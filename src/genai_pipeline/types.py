"""
The words of the library, as types. Everything that does work is one arrow.

A provider, a stage and a sink are all handlers, so any middleware that fits the types stands
around any of them. None of these is a base class: write a function or a class with
``async def __call__`` and it is one.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeAlias, TypeVar

from genai_pipeline.embeddings import EmbeddingRequest, EmbeddingResponse
from genai_pipeline.messages import Chunk, Request, Response
from genai_pipeline.records import Delivery, Record

__all__ = [
    "CountingProvider",
    "Embedder",
    "Handler",
    "Middleware",
    "Provider",
    "Sink",
    "Source",
    "Stage",
    "Store",
    "StreamingProvider",
    "TokenCounter",
]

A = TypeVar("A")
B = TypeVar("B")
I = TypeVar("I")  # noqa: E741 - the input of an arrow, beside O
O = TypeVar("O")  # noqa: E741 - the output of an arrow, beside I
V = TypeVar("V")

Handler: TypeAlias = Callable[[I], Awaitable[O]]
"""One arrow: takes one value, answers one, or raises."""

Middleware: TypeAlias = Callable[[I, Callable[[I], Awaitable[O]]], Awaitable[O]]
"""
Surrounds a handler: gets the value and the rest of the way as ``call_next``.

May answer without calling, call more than once, or change what goes in and out. It must let
cancellation through, and need not forward anybody's life cycle.
"""

Provider: TypeAlias = Callable[[Request], Awaitable[Response]]
"""
A model: takes a `Request`, answers a `Response`.

Raises the errors of `genai_pipeline.errors`, because only the provider knows which failure
passes: `Transient` with the server's ``retry_after``, `Permanent`, `Systemic`.
"""

StreamingProvider: TypeAlias = Callable[
    [Request], AbstractAsyncContextManager[AsyncIterator[Chunk]]
]
"""
A model that answers piece by piece: takes a `Request`, answers a context manager over chunks.

Entering sends the request; leaving, also early, closes what was opened. Both, and the reading
between, belong to one task. The last chunk, and only that, has a finish reason. What fails before
the first chunk raises as a `Provider` does; what breaks off later, or ends without a last chunk,
raises `StreamInterrupted`. No cancel scope or task group may be open across a chunk, so write
``__anext__``, or an asynchronous generator that holds none. Proved by
`testing.StreamingProviderContract`.

A provider that also answers whole offers this as its method ``stream``.
"""

Embedder: TypeAlias = Callable[[EmbeddingRequest], Awaitable[EmbeddingResponse]]
"""
A model that embeds: takes an `EmbeddingRequest`, answers a vector for each of its texts.

It raises what a `Provider` raises, for the request as a whole.
"""

Stage: TypeAlias = Callable[[Record[A]], Awaitable[Sequence[Record[B]]]]
"""
A step: takes a record, answers the records made from it.

An empty answer means filtered on purpose. Called concurrently, at most ``max_in_flight`` times.
"""

Sink: TypeAlias = Callable[[Record[A]], Awaitable[None]]
"""
Where records end: durable when it returns, or its docstring says what weakens that.

Called concurrently. Called again with the same key after a crash, so a repeat should be harmless.
"""

Source: TypeAlias = AsyncIterable[Delivery[A]]
"""
Where records begin: an asynchronous iterable of deliveries, read by one task.

It is asked for no more than there is room for. The runner closes an iterator it does not
finish. No cancel scope or task group may be open across a ``yield``.
"""


class Store(Protocol[V]):
    """Keeps values by key: for caches and shared state. Proved by `testing.StoreContract`."""

    async def get(self, key: str, /) -> V | None:
        """Answer the value of *key*, or `None` when there is none or it has expired."""
        ...

    async def put(self, key: str, value: V, /, *, ttl: float | None = None) -> None:
        """Keep *value* under *key*, replacing any other, for *ttl* seconds (`None`: no end)."""
        ...

    async def delete(self, key: str, /) -> None:
        """Forget *key*; unknown keys are no error."""
        ...


class TokenCounter(Protocol):
    """
    Counts tokens without asking anybody, exactly or about: a tokenizer, or an estimate.

    It is quick, never fails for content it is meant for, and answers the same for the same until
    it has learned.
    """

    def count(self, content: str | Request | EmbeddingRequest, /, *, model: str = "") -> int:
        """Answer how many tokens *content* is for *model*, 0 or more."""
        ...


class CountingProvider(Protocol):
    """
    A provider that can be asked how many tokens a request is, before it is made.

    Proved by `testing.CountingProviderContract`.
    """

    async def __call__(self, request: Request, /) -> Response:
        """Answer *request*."""
        ...

    async def count_tokens(self, request: Request, /) -> int:
        """
        Answer how many input tokens *request* is, exactly, at no charge.

        That is a call of its own and raises what one raises, but is none of the calls that are
        told of, limited and paid for. Where this server cannot count, or not such a request,
        raises `ConfigurationError` before anything is sent.
        """
        ...
