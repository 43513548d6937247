"""
Good uses and what they infer; bad uses and the errors they must be.

Never run. Each bad line carries the very errors that mypy and pyright give; were it fine one
day, they would report the comments as unused.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing, asynccontextmanager
from datetime import date
from decimal import Decimal
from typing import Any, Literal, TypedDict, TypeVar, assert_type

import attrs

import genai_pipeline as gp
from genai_pipeline._journal_tables import TableJournal, TransactionalSink

I = TypeVar("I")
O = TypeVar("O")

# -- Handlers: plain functions and objects are stages, providers and sinks. ----------------------


async def model(request: gp.Request) -> gp.Response:
    """A provider."""
    return gp.Response(request.prompt)


async def ask(text: str) -> str:
    """A function that calls a model."""
    return (await model(gp.Request(text))).text


def length(text: str) -> int:
    """A plain function."""
    return len(text)


def words(text: str) -> list[str]:
    """A function of several answers."""
    return text.split()


def add(one: int, other: int) -> int:
    """A function of two numbers."""
    return one + other


def negate(number: int) -> int:
    """A function of a number."""
    return -number


def is_long(text: str) -> bool:
    """A predicate."""
    return len(text) > 100


async def keep_number(record: gp.Record[int]) -> None:
    """A sink of numbers."""


async def keep_text(record: gp.Record[str]) -> None:
    """A sink of texts."""


as_provider: gp.Provider = model
as_sink: gp.Sink[int] = keep_number
as_handler: gp.Handler[gp.Request, gp.Response] = model
as_stage: gp.Stage[str, str] = gp.map(ask)

# -- Streaming providers answer a context manager over chunks, and are made resilient as such. ----


class Streaming:
    """A provider that answers whole, and piece by piece."""

    async def __call__(self, request: gp.Request) -> gp.Response:
        """Answer whole."""
        return gp.Response(request.prompt)

    @asynccontextmanager
    async def stream(self, request: gp.Request) -> AsyncIterator[AsyncIterator[gp.Chunk]]:
        """Answer piece by piece."""
        async with aclosing(self._chunks(request)) as chunks:
            yield chunks

    async def _chunks(self, request: gp.Request) -> AsyncGenerator[gp.Chunk]:
        yield gp.Chunk(request.prompt, finish_reason="stop")


streaming = Streaming()
as_streaming_provider: gp.StreamingProvider = streaming.stream
resilient_streaming: gp.StreamingProvider = gp.resilient_stream(
    streaming.stream, fallback=[gp.resilient_stream(streaming.stream)], concurrency=gp.Bulkhead(3)
)
joined: gp.Response = gp.join_chunks([gp.Chunk("a", finish_reason="stop")])

whole_is_no_stream: gp.StreamingProvider = model  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
stream_is_not_whole: gp.Provider = streaming.stream  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
wrong_stream = gp.resilient_stream(model)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
wrong_timeout = gp.resilient_stream(streaming.stream, timeout=gp.Timeout(3))  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]

# -- Stages know what they take and answer. ------------------------------------------------------

assert_type(gp.map(ask), gp.Stage[str, str])
assert_type(gp.map(length), gp.Stage[str, int])
assert_type(gp.map(length, thread=True), gp.Stage[str, int])
assert_type(gp.flat_map(words), gp.Stage[str, str])
assert_type(gp.filter(is_long), gp.Stage[str, str])
assert_type(gp.chain(gp.map(ask), gp.map(length)), gp.Stage[str, int])
assert_type(
    gp.chain(gp.flat_map(words), gp.filter(is_long), gp.map(ask), gp.map(length)),
    gp.Stage[str, int],
)
assert_type(gp.reduce(add, 10), gp.Stage[int, int])

texts_to_lists: gp.Stage[str, list[str]] = gp.gather(10)
either: gp.Stage[str, str] = gp.branch(is_long, {True: gp.map(ask), False: gp.map(str.upper)})
noted: gp.Stage[str, str] = gp.tee(keep_text)

wrong_order = gp.chain(gp.map(length), gp.map(ask))  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
wrong_end: gp.Stage[str, str] = gp.chain(gp.map(ask), gp.map(length))  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
wrong_side: gp.Stage[str, str] = gp.tee(keep_number)  # type: ignore[arg-type]  # pyright: ignore[reportAssignmentType]
not_a_stage: gp.Stage[str, int] = gp.chain(length)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# -- Generated values are of the type that was asked for. ----------------------------------------


class Ticket(TypedDict):
    """What is asked about."""

    subject: str


@attrs.frozen
class Invoice:
    """What is asked for."""

    total: int


def about(ticket: Ticket) -> gp.Request:
    """A prompt that is a function."""
    return gp.Request(ticket["subject"], temperature=0)


def is_settled(invoice: Invoice) -> bool:
    """A function of what was asked for."""
    return invoice.total == 0


assert_type(gp.generate(model, prompt="{value}", input=str, output=Invoice), gp.Stage[str, Invoice])
assert_type(gp.generate(model, prompt=about, output=Invoice), gp.Stage[Ticket, Invoice])
assert_type(gp.generate(model, prompt="{subject}", output=Invoice), gp.Stage[Any, Invoice])
assert_type(gp.generate(model, prompt=about, output=list[int]), gp.Stage[Ticket, list[int]])
assert_type(gp.generate(model, prompt=about, output=str, reasks=2), gp.Stage[Ticket, str])
assert_type(gp.generate(model, prompt=about, output={"type": "object"}), gp.Stage[Ticket, Any])
assert_type(gp.generate(model, prompt=about, output=Literal["a", "b"]), gp.Stage[Ticket, Any])
asked: gp.Stage[Ticket, Invoice] = gp.generate(
    gp.resilient(model), prompt="{subject}", input=Ticket, output=Invoice, mode="native"
)
filed = gp.chain(gp.generate(model, prompt=str.upper, output=Invoice), gp.map(is_settled))

invoices = gp.generate(model, prompt=about, output=Invoice)
wrong_output: gp.Stage[Ticket, str] = invoices  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
wrong_mode = gp.generate(model, prompt=about, output=Invoice, mode="guess")  # type: ignore[call-overload]  # pyright: ignore[reportArgumentType, reportCallIssue]
wrong_option = gp.generate(model, prompt=about, output=Invoice, reask=1)  # type: ignore[call-overload]  # pyright: ignore[reportCallIssue]
wrong_prompt = gp.generate(model, prompt=length, output=Invoice)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType, reportCallIssue]


# -- Middleware fits around whatever has its types, and nothing else. ----------------------------


class Cache:
    """A middleware for models alone."""

    async def __call__(
        self, request: gp.Request, call_next: gp.Handler[gp.Request, gp.Response]
    ) -> gp.Response:
        """Answer as the model does."""
        return await call_next(request)


class Patience:
    """A middleware for everything."""

    async def __call__(self, value: I, call_next: gp.Handler[I, O]) -> O:
        """Answer as the handler does."""
        return await call_next(value)


async def log(request: gp.Request, call_next: gp.Handler[gp.Request, gp.Response]) -> gp.Response:
    """A middleware that is a function."""
    return await call_next(request)


a_cache: gp.Middleware[gp.Request, gp.Response] = Cache()
everything_around = gp.wrap(model, Cache(), log, Patience())
assert_type(everything_around.__call__, Callable[[gp.Request], Awaitable[gp.Response]])
wrapped_is_a_provider: gp.Provider = gp.wrap(model, Cache())
wrapped_is_a_sink: gp.Sink[int] = gp.wrap(keep_number, Patience())

cache_around_a_sink = gp.wrap(keep_number, Cache())  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
cache_around_a_stage = gp.wrap(gp.map(ask), Cache())  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
unwrapped = gp.wrap(model, model)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# -- Batches: several behind one. ----------------------------------------------------------------


async def embed(texts: Sequence[str]) -> list[list[float] | Exception]:
    """Answer several at a time."""
    return [[0.0] for _ in texts]


one_at_a_time: gp.Handler[str, list[float]] = gp.batched(embed, size=32)
wrong_batch: gp.Handler[int, list[float]] = gp.batched(embed, size=32)  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]

# -- Texts get vectors. ---------------------------------------------------------------------------


async def embedder(request: gp.EmbeddingRequest) -> gp.EmbeddingResponse:
    """A model that embeds."""
    return gp.EmbeddingResponse([[0.0] for _ in request.texts])


def body(row: dict[str, str]) -> str:
    """The text of a row."""
    return row["body"]


assert_type(gp.embed(embedder), gp.Stage[str, gp.embeddings.Embedded[str]])
assert_type(
    gp.embed(embedder, text=body, dimensions=8, task="document"),
    gp.Stage[dict[str, str], gp.embeddings.Embedded[dict[str, str]]],
)
gp.embed(model)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
gp.embed(embedder, text=length)  # type: ignore[arg-type]  # pyright: ignore[reportCallIssue, reportArgumentType]

# -- A pipeline joins what fits. -----------------------------------------------------------------

texts = gp.sources.Values(["a", "b"])
numbers = gp.sinks.Collect[int]()
pipeline = gp.Pipeline(source=texts, stage=gp.map(length), sink=keep_number)
assert_type(pipeline, gp.Pipeline[str, int])
collected: gp.Pipeline[str, int] = gp.Pipeline(source=texts, stage=gp.map(length), sink=numbers)
ordered: gp.Sink[int] = gp.in_order(keep_number)
rows = gp.sinks.JournalTable("out", columns={"n": int, "note": str | None, "all": object})
tabled: gp.Pipeline[str, int] = gp.Pipeline(
    source=texts, stage=gp.map(length), sink=rows, dead_letters=rows, journal=gp.journals.Memory()
)
transactional: TransactionalSink = rows
in_memory: TableJournal = gp.journals.Memory()
in_a_file: TableJournal = gp.Sqlite("run.db")


async def keep_letter(record: gp.Record[gp.DeadLetter]) -> None:
    """A sink of dead letters."""


buried = gp.Pipeline(source=texts, stage=gp.map(length), sink=numbers, dead_letters=keep_letter)
mistyped_sink = gp.Pipeline(source=texts, stage=gp.map(length), sink=keep_text)  # type: ignore[misc]  # pyright: ignore[reportArgumentType]
mistyped_source = gp.Pipeline(source=texts, stage=gp.map(negate), sink=numbers)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
mistyped_letters = gp.Pipeline(
    source=texts,
    stage=gp.map(length),
    sink=numbers,
    dead_letters=keep_number,  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
)


async def account() -> gp.Report:
    """A report is what a run answers."""
    return await pipeline.run()


# -- Money is exact: no floats. ------------------------------------------------------------------

book = gp.PriceBook({"acme-1": {"input": "0.25", "output": 2}})
bound = book.worst("acme", "acme-1", gp.Request("x"), at=0.0)
assert_type(bound, Decimal | None)
assert_type(book.cost("acme", "acme-1", gp.Usage(), at=date(2026, 11, 26)), Decimal | None)
caps = [gp.Budget(cap="5.00"), gp.Budget(cap=5, window="day"), gp.Budget(cap=Decimal("0.5"))]
float_cap = gp.Budget(cap=5.0)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
bare_cap = gp.Budget("5.00")  # type: ignore[call-arg]  # pyright: ignore[reportCallIssue]
no_such_window = gp.Budget(cap=5, window="week")  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]


# -- Records keep the type of their value. -------------------------------------------------------

assert_type(gp.Record("a", "1").value, str)
assert_type(gp.Record("a", "1").with_value(1), gp.Record[int])
covariant: gp.Record[object] = gp.Record("a", "1")


# -- Tokens: counters without asking anybody, and providers that can be asked. --------------------


class Words:
    """A counter of an application's own."""

    def count(self, content: str | gp.Request | gp.EmbeddingRequest, /, *, model: str = "") -> int:
        """Count."""
        return len(str(content).split()) + len(model)


class OnlyTexts:
    """One that can count no requests."""

    def count(self, content: str, /, *, model: str = "") -> int:
        """Count."""
        return len(content) + len(model)


counter: gp.TokenCounter = Words()
assert_type(gp.TokenEstimator(counter=counter).count(gp.Request("x"), model="m"), int)
gp.RateLimit(tokens=5, counter=Words())
gp.RateLimit(tokens=5, counter=gp.TokenEstimator(known={"m": {"ratio": 1.1}}))
gp.RateLimit(tokens=5, counter=len)  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
too_little: gp.TokenCounter = OnlyTexts()  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]
counting: gp.CountingProvider = gp.providers.OpenAIResponses("gpt-6")
not_counting: gp.CountingProvider = gp.providers.Ollama("m")  # type: ignore[assignment]  # pyright: ignore[reportAssignmentType]


# -- Lost calls: a provider that can be asked for them. -------------------------------------------


class Remembering:
    """A provider that can be asked what became of a call."""

    async def __call__(self, request: gp.Request, /) -> gp.Response:
        """Answer."""
        return gp.Response(gp.call_token() or request.prompt)

    async def find(self, call: gp.LostCall, /) -> gp.Response | None:
        """Answer what became of a call, as far as it is known."""
        return gp.Response(call.request.prompt) if call.token else None


remembering: gp.ReconcilingProvider = Remembering()
assert_type(gp.map(ask, on_unknown="reconcile"), gp.Stage[str, str])
gp.Journaled(provider="mine", model="mine", find=Remembering().find)
forgetful: gp.ReconcilingProvider = model  # type: ignore[assignment] # pyright: ignore[reportAssignmentType]
gp.map(ask, on_unknown="guess")  # type: ignore[call-overload] # pyright: ignore[reportCallIssue,reportArgumentType]


# -- What is known of models. --------------------------------------------------------------------

catalogue = gp.ModelCatalogue.reference().with_models({"acme": {"context_window": 8_192}})
known = catalogue.find("acme", provider=None)
assert_type(known, gp.ModelInfo | None)
if known is not None:
    assert_type(known.most_read, int | None)
    assert_type(known.supports("tools"), bool | None)
    assert_type(known.price(gp.PriceBook.reference(), at=date(2026, 11, 26)), gp.money.Price | None)
gp.providers.OpenAI("acme", catalogue=catalogue, context_window=8_192)
gp.providers.OpenAI("acme", catalogue={})  # type: ignore[arg-type]  # pyright: ignore[reportArgumentType]
