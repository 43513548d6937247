"""
Good uses and what they infer; bad uses and the errors they must be.

Never run. Each bad line carries the very error that mypy gives; were it fine one day, mypy
would report the comment as unused, and pyright checks the good uses too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar, assert_type

import genai_pipeline as gp

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

wrong_order = gp.chain(gp.map(length), gp.map(ask))  # type: ignore[arg-type]
wrong_end: gp.Stage[str, str] = gp.chain(gp.map(ask), gp.map(length))  # type: ignore[arg-type]
wrong_side: gp.Stage[str, str] = gp.tee(keep_number)  # type: ignore[arg-type]
async_in_thread = gp.map(ask, thread=True)  # type: ignore[call-overload]
not_a_stage = gp.chain(length)  # type: ignore[arg-type]


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
assert_type(gp.wrap(model, Cache(), log, Patience()), gp.Wrapped[gp.Request, gp.Response])
wrapped_is_a_provider: gp.Provider = gp.wrap(model, Cache())
wrapped_is_a_sink: gp.Sink[int] = gp.wrap(keep_number, Patience())

cache_around_a_sink = gp.wrap(keep_number, Cache())  # type: ignore[arg-type]
cache_around_a_stage = gp.wrap(gp.map(ask), Cache())  # type: ignore[arg-type]
unwrapped = gp.wrap(model, model)  # type: ignore[arg-type]


# -- Batches: several behind one. ----------------------------------------------------------------


async def embed(texts: Sequence[str]) -> list[list[float] | Exception]:
    """Answer several at a time."""
    return [[0.0] for _ in texts]


one_at_a_time: gp.Handler[str, list[float]] = gp.batched(embed, size=32)
wrong_batch: gp.Handler[int, list[float]] = gp.batched(embed, size=32)  # type: ignore[arg-type]

# -- Records keep the type of their value. -------------------------------------------------------

assert_type(gp.Record("a", "1").value, str)
assert_type(gp.Record("a", "1").with_value(1), gp.Record[int])
covariant: gp.Record[object] = gp.Record("a", "1")

