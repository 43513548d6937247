"""`wrap`: middlewares around a handler."""

from __future__ import annotations

import warnings
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import Generic, TypeVar

from genai_pipeline._lifespan import Composite
from genai_pipeline._options import check
from genai_pipeline._replay import is_passed_by, knower_of, unless_replayed, would_replay
from genai_pipeline._stack import MisorderedStack, misplaced
from genai_pipeline.types import Handler, Middleware

__all__ = ["Wrapped", "name_of", "wrap"]

I = TypeVar("I")  # noqa: E741 - the input of an arrow, beside O
O = TypeVar("O")  # noqa: E741 - the output of an arrow, beside I


class Wrapped(Composite, Generic[I, O]):
    """A handler with middlewares around it; itself a handler. Made by `wrap`."""

    __slots__ = ("_call", "handler", "middlewares", "name")

    def __init__(self, handler: Handler[I, O], middlewares: tuple[Middleware[I, O], ...]) -> None:
        self.handler = handler
        self.middlewares = middlewares
        self.name = name_of(handler)
        self._call = _layered(handler, middlewares)

    def __call__(self, value: I, /) -> Awaitable[O]:
        """Pass *value* through the middlewares, first listed first, to the handler."""
        return self._call(value)

    def would_replay(self, value: I) -> bool:
        """Tell whether a journal would answer a call with *value*."""
        return would_replay(value, self._call)

    def parts(self) -> Iterable[object]:
        """Answer the handler and the middlewares: what is entered and left with this."""
        return (self.handler, *self.middlewares)

    def __repr__(self) -> str:
        inside = ", ".join(map(repr, (self.handler, *self.middlewares)))
        return f"wrap({inside})"


def wrap(handler: Handler[I, O], *middlewares: Middleware[I, O]) -> Wrapped[I, O]:
    """
    Put *middlewares* around *handler*; the first listed sees the call first.

    ``wrap(model, Cache(...), Retry(...))`` looks into the cache once for each call, and retries
    behind it; the other way round, every retry would look into the cache again.

    An instance is a scope: two wraps that share one middleware object share its state. Whatever
    has a life cycle (``async with``) is entered and left by the pipeline, or by ``async with``
    around what this answers; nobody forwards it by hand.

    Warns with `MisorderedStack` when policies of this library are in an order that is known to do
    harm, such as a cache behind a retry; `describe` shows the order.
    """
    _check_made("handler", handler)
    for index, middleware in enumerate(middlewares):
        _check_made(f"middlewares[{index}]", middleware)
    wrapped = Wrapped(handler, middlewares)
    for harm in misplaced(wrapped):
        warnings.warn(harm, MisorderedStack, stacklevel=2)
    return wrapped


def _check_made(option: str, thing: object) -> None:
    """Refuse what cannot be called, and a class where its instance is meant."""
    fine = callable(thing) and not isinstance(thing, type)
    check(fine, "wrap", option, thing, "a function or an object that can be called, no class")


def _layered(call: Handler[I, O], middlewares: Sequence[Middleware[I, O]]) -> Handler[I, O]:
    """Answer the way through all *middlewares*; replays have a way past several at once."""
    beyond: Handler[I, O] | None = None
    for middleware in reversed(middlewares):
        passed_by = is_passed_by(middleware)
        if passed_by and beyond is None:
            beyond = call
        elif not passed_by and beyond is not None:
            call, beyond = _told(unless_replayed(call, beyond), beyond), None
        call = _layer(middleware, call)
    return call if beyond is None else _told(unless_replayed(call, beyond), beyond)


def _layer(middleware: Middleware[I, O], call_next: Handler[I, O]) -> Handler[I, O]:
    def layer(value: I) -> Awaitable[O]:
        return middleware(value, call_next)

    return _told(layer, call_next, middleware)


def _told(
    layer: Handler[I, O], call_next: Handler[I, O], middleware: object = None
) -> Handler[I, O]:
    knower = knower_of(middleware, call_next)
    if knower is not None:
        vars(layer)["would_replay"] = knower
    return layer


def name_of(thing: Callable[..., object]) -> str:
    """Answer what to call *thing* in reports: its ``name``, its function's name or its class."""
    name = getattr(thing, "name", None) or getattr(thing, "__name__", None)
    if isinstance(name, str):
        return "lambda" if name == "<lambda>" else name
    return name_of(thing.func) if isinstance(thing, partial) else type(thing).__name__
