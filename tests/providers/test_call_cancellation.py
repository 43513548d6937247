"""Cancelling calls in flight and in the queue leaves every connection usable."""

from __future__ import annotations

import os
import ssl
import subprocess
import sys

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline.providers import OpenAI
from genai_pipeline.providers._http import HttpClient
from genai_pipeline.providers._http._httpx import HttpxWire
from genai_pipeline.providers._http._httpx_names import httpx
from genai_pipeline.providers._http._reading import Reading
from genai_pipeline.providers._http._wire import Wire, open_wire
from genai_pipeline.providers._target import Target
from tests.servers.chat import ChatServer

pytestmark = pytest.mark.anyio
PLACES = 64


async def test_cancelling_a_thousand_calls_ten_times_over_loses_no_connection(
    chat: ChatServer,
) -> None:
    """40: after 10 x 1,000 cancelled calls, as many calls as there are places run at once."""
    base, together = chat.url("").removesuffix("//v1"), f"together-{PLACES}/v1"
    stuck = OpenAI("m", base_url=f"{base}/hang/v1", max_connections=PLACES)
    client = stuck._caller.client
    fresh = OpenAI("m", base_url=f"{base}/{together}", max_connections=PLACES)
    object.__setattr__(fresh._caller, "client", client)
    async with gp.wrap(stuck), gp.wrap(fresh):
        for number in range(10):
            before = len(chat.seen)
            async with anyio.create_task_group() as group:
                for _ in range(1000):
                    group.start_soon(stuck, gp.Request("never"))
                # From before the first connection is open, to all in flight and some queueing.
                for _ in range(number * 5):
                    await anyio.lowlevel.checkpoint()
                if number > 7:
                    await _until_seen(chat, before + PLACES)
                group.cancel_scope.cancel()
        answers: list[str] = []

        async def call(text: str) -> None:
            answers.append((await fresh(gp.Request(text))).text)

        for _ in range(2):
            with anyio.fail_after(20):
                async with anyio.create_task_group() as group:
                    for each in range(PLACES):
                        group.start_soon(call, str(each))
    assert sorted(answers) == sorted(f"you said: {n}" for n in range(PLACES) for _ in range(2))


async def _until_seen(chat: ChatServer, count: int) -> None:
    with anyio.fail_after(20):
        while len(chat.seen) < count:
            await anyio.sleep(0.001)


async def test_a_call_cancelled_while_it_reads_frees_its_place(chat: ChatServer) -> None:
    """With one place in all, a call after ten that were cancelled half-read is answered."""
    dripping = OpenAI("m", base_url=chat.url("drip"), max_connections=1)
    fresh = OpenAI("m", base_url=chat.url("ok"), max_connections=1)
    object.__setattr__(fresh._caller, "client", dripping._caller.client)
    async with gp.wrap(dripping), gp.wrap(fresh):
        for _ in range(10):
            before = len(chat.seen)
            async with anyio.create_task_group() as group:
                group.start_soon(dripping, gp.Request("x"))
                await _until_seen(chat, before + 1)
                group.cancel_scope.cancel()
        assert (await fresh(gp.Request("y"))).text == "you said: y"


class Full(httpx.AsyncBaseTransport):
    """A pool that gives no connection."""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Fail as a pool does that has waited for a place."""
        raise httpx.PoolTimeout("")


def wire_to(chat: ChatServer) -> Wire:
    """Answer the connections of a client that takes a hundred calls at a time."""
    client = HttpClient(base_url=chat.url("ok"), max_connections=100)
    return open_wire(client, ssl.create_default_context(), None)


def test_the_environment_chooses_between_httpx_and_httpx2() -> None:
    """Httpx is used unless httpx2 is asked for; the other tests here are of either."""
    assert httpx.__name__ == (os.environ.get("GENAI_PIPELINE_HTTPX") or "httpx")


@pytest.mark.parametrize(
    ("chosen", "words"),
    [
        ("", "httpx"),
        ("httpx2", "httpx2"),
        ("requests", "GENAI_PIPELINE_HTTPX='requests'; give httpx or httpx2"),
        ("missing", r"pip install 'genai_pipeline[httpx2]'"),
    ],
)
def test_a_wrong_choice_is_told(chosen: str, words: str) -> None:
    """The variable takes two names, and says what to install for the second."""
    code = "from genai_pipeline.providers._http._httpx_names import httpx; print(httpx.__name__)"
    if chosen == "missing":
        code, chosen = f"import sys; sys.modules['httpx2'] = None; {code}", "httpx2"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "GENAI_PIPELINE_HTTPX": chosen},
        capture_output=True,
        text=True,
        check=False,
    )
    assert words in done.stdout + done.stderr


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_a_pool_that_claims_to_be_full_is_replaced(chat: ChatServer) -> None:
    """A pool that lost its connections costs no call, since what it did not send goes elsewhere."""
    wire = wire_to(chat)
    assert isinstance(wire, HttpxWire)
    target = Target(f"{chat.url('ok')}/chat/completions", ())
    body = b'{"messages": [{"content": "x"}]}'
    full = wire._least_loaded()
    full.transport = Full()
    reading = await wire.send(target, body)
    assert reading.status == 200
    assert full not in wire._pools
    await reading.aclose()
    await wire.aclose()


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_a_call_that_no_pool_takes_fails_as_unsent(
    chat: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When every pool claims to be full, the call fails as one that was not sent."""
    wire = wire_to(chat)
    assert isinstance(wire, HttpxWire)
    monkeypatch.setattr(wire, "_transport", Full)
    with pytest.raises(wire.unsent):
        await wire.send(Target(f"{chat.url('ok')}/chat/completions", ()), b"{}")
    assert wire._pools == []
    await wire.aclose()


@pytest.mark.parametrize("anyio_backend", ["trio"])
async def test_pools_stay_small_and_share_the_load(chat: ChatServer) -> None:
    """40: a hundred requests at once spread over several pools, and none queues inside one."""
    wire = wire_to(chat)
    assert isinstance(wire, HttpxWire)
    target = Target(f"{chat.url('together-100')}/chat/completions", ())
    readings: list[Reading] = []

    async def send() -> None:
        readings.append(await wire.send(target, b'{"messages": [{"content": "x"}]}'))

    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(send)
    loads = [pool.in_flight for pool in wire._pools]
    assert len(loads) == 13
    assert sum(loads) == 100
    assert max(loads) <= 8
    for reading in readings:
        await reading.aclose()
    assert sum(pool.in_flight for pool in wire._pools) == 0
    await wire.aclose()
