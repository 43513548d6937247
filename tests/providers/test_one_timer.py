"""`gp.Timeout` around a provider is the only timer of a call, and keeps its promise."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import Any

import anyio
import attrs
import pytest

import genai_pipeline as gp
from genai_pipeline.errors import AttemptTimeout
from tests.servers.chat import ChatServer

pytestmark = pytest.mark.anyio

REQUEST = gp.Request("hello")


class Counting(gp.SystemClock):
    """Counts the timers that are set."""

    def __init__(self) -> None:
        self.timers = 0

    def cancel_at(self, deadline: float, /) -> AbstractContextManager[anyio.CancelScope]:
        self.timers += 1
        return super().cancel_at(deadline)


def model(chat: ChatServer, way: str, *, timeout: float = 600) -> gp.providers.OpenAI:
    """Answer a model that counts its own timers."""
    return gp.providers.OpenAI("m", base_url=chat.url(way), timeout=timeout, clock=Counting())


def timers(provider: gp.providers.OpenAI) -> int:
    """Answer how many timers *provider* has set."""
    assert isinstance(provider.clock, Counting)
    return provider.clock.timers


@pytest.mark.parametrize(("seconds", "own"), [(60, 0), (600, 0), (601, 1), (None, 1)])
async def test_the_provider_sets_a_timer_where_it_rings_first(
    chat: ChatServer, seconds: float | None, own: int
) -> None:
    """A provider's timer is spared where one around the call rings no later, and only there."""
    provider = model(chat, "ok")
    around = () if seconds is None else (gp.Timeout(seconds),)
    assert (await gp.wrap(provider, *around)(REQUEST)).text == "you said: hello"
    assert timers(provider) == own


async def test_the_usual_stack_sets_one(chat: ChatServer) -> None:
    """`gp.resilient` around a provider costs no second timer."""
    provider = model(chat, "ok")
    await gp.resilient(provider)(REQUEST)
    assert timers(provider) == 0


async def test_it_is_cut_off_all_the_same(chat: ChatServer) -> None:
    """A server that never answers ends the attempt at the time of the policy."""
    provider = model(chat, "hang")
    with pytest.raises(AttemptTimeout, match=r"^the attempt took longer than 0\.1 s"):
        await gp.wrap(provider, gp.Timeout(0.1))(REQUEST)
    assert timers(provider) == 0


async def test_a_subclass_is_called_in_its_own_way(chat: ChatServer) -> None:
    """A provider that changes how it is called is never called in another way."""

    @attrs.frozen(eq=False)
    class Loud(gp.providers.OpenAI):
        async def __call__(self, request: gp.Request) -> gp.Response:
            answer = await super().__call__(request)
            return attrs.evolve(answer, text=answer.text.upper())

    loud = gp.wrap(Loud("m", base_url=chat.url("ok")), gp.Timeout(60))
    assert (await loud(REQUEST)).text == "YOU SAID: HELLO"


async def test_what_stands_for_a_provider_is_called_itself(chat: ChatServer) -> None:
    """An object that lends all its attributes from a provider is called, and not the provider."""

    class Recording:
        def __init__(self, provider: gp.providers.OpenAI) -> None:
            self.provider = provider
            self.heard: list[gp.Request] = []

        def __getattr__(self, name: str) -> Any:
            return getattr(self.provider, name)

        async def __call__(self, request: gp.Request) -> gp.Response:
            self.heard.append(request)
            return await self.provider(request)

    recording = Recording(model(chat, "ok"))
    await gp.wrap(recording, gp.Timeout(60))(REQUEST)
    assert recording.heard == [REQUEST]
