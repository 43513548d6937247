"""Middlewares stand around a handler in the order they are listed."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from typing import Any
from unittest.mock import AsyncMock

import pytest

import genai_pipeline as gp
from genai_pipeline._wrap import name_of
from genai_pipeline.testing import Chaos, Script


async def double(value: int) -> int:
    return value * 2


class Named:
    """A middleware that writes its name around the call."""

    def __init__(self, name: str, log: list[str]) -> None:
        self.name = name
        self.log = log

    async def __call__(self, value: int, call_next: Callable[[int], Awaitable[int]]) -> int:
        self.log.append(f"{self.name} {value}")
        answer = await call_next(value + 1)
        self.log.append(f"{answer} {self.name}")
        return answer + 100

    async def __aenter__(self) -> None:
        self.log.append(f"+{self.name}")

    async def __aexit__(self, *_: object) -> None:
        self.log.append(f"-{self.name}")

    def __repr__(self) -> str:
        return self.name


@pytest.mark.anyio
async def test_the_first_listed_sees_the_call_first(anyio_backend: str) -> None:
    """Values go in from the first to the last, answers come out from the last to the first."""
    log: list[str] = []
    handler = gp.wrap(double, Named("a", log), Named("b", log))
    assert await handler(1) == 206
    assert log == ["a 1", "b 2", "6 b", "106 a"]


@pytest.mark.anyio
async def test_a_middleware_need_not_call(anyio_backend: str) -> None:
    """A function is a middleware too, and may answer by itself or call again."""
    calls: list[int] = []

    async def handler(value: int) -> int:
        calls.append(value)
        return value

    async def cached(value: int, call_next: gp.Handler[int, int]) -> int:
        return 0 if value < 0 else await call_next(value)

    async def twice(value: int, call_next: gp.Handler[int, int]) -> int:
        return await call_next(value) + await call_next(value)

    wrapped = gp.wrap(handler, cached, twice)
    assert [await wrapped(value) for value in (-1, 3)] == [0, 6]
    assert calls == [3, 3]


@pytest.mark.anyio
async def test_its_parts_live_as_long_as_it_does(anyio_backend: str) -> None:
    """``async with`` opens what has a life cycle, once though it is listed twice."""
    log: list[str] = []
    shared = Named("a", log)
    async with gp.wrap(gp.wrap(double, shared), shared, Named("b", log)):
        assert sorted(log) == ["+a", "+b"]
    assert sorted(log) == ["+a", "+b", "-a", "-b"]


@pytest.mark.anyio
async def test_without_middlewares_it_is_the_handler(anyio_backend: str) -> None:
    """Nothing around a handler changes nothing."""
    assert await gp.wrap(double)(4) == 8


def test_it_shows_what_it_is_made_of() -> None:
    """Its repr is the call that made it; its name is the handler's."""
    wrapped = gp.wrap(Script("a"), Chaos(3))
    assert repr(wrapped) == "wrap(<Script: 1 answers, 0 calls>, <Chaos: seed 3, 0 calls, {}>)"
    assert wrapped.name == "Script"
    assert name_of(gp.wrap(gp.wrap(double))) == "double"


@pytest.mark.anyio
async def test_a_mock_can_be_wrapped(anyio_backend: str) -> None:
    """What has every attribute one asks for, as a mock does, is a handler like others."""
    wrapped = gp.wrap(AsyncMock(return_value=8), gp.Retry(on=gp.Transient))
    assert wrapped.name == "AsyncMock"
    assert await wrapped(4) == 8


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda wrap: wrap("model"), "wrap: handler='model'; give a function or an object"),
        (lambda wrap: wrap(Script), r"wrap: handler=<class '.*Script'>; give .* no class"),
        (lambda wrap: wrap(double, Chaos), r"wrap: middlewares\[0\]=<class '.*Chaos'>; give"),
        (lambda wrap: wrap(double, Chaos(1), None), r"wrap: middlewares\[1\]=None; give"),
    ],
)
def test_what_cannot_be_called_is_refused(make: Any, message: str) -> None:
    """A class instead of its instance, or no function at all, is named at once."""
    with pytest.raises(gp.ConfigurationError, match=message):
        make(gp.wrap)


class Model:
    async def __call__(self, value: int) -> int:
        return value

    def method(self) -> None: ...


class Titled(Model):
    name = "gpt-tiny"


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (double, "double"),
        (lambda: None, "lambda"),
        (functools.partial(double, 3), "double"),
        (functools.partial(functools.partial(Model())), "Model"),
        (Model(), "Model"),
        (Titled(), "gpt-tiny"),
        (Model().method, "method"),
        (len, "len"),
        (Model, "Model"),
    ],
)
def test_everything_has_a_name(thing: Callable[..., Any], name: str) -> None:
    """Reports call a thing by its ``name``, its function's name or its class."""
    assert name_of(thing) == name
