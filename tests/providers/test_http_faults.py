"""Servers that misbehave, over real sockets: what each fault becomes, and what it costs."""

from __future__ import annotations

import gc
import gzip
import ssl
import tracemalloc
import zlib
from contextlib import suppress
from typing import Any

import anyio
import pytest
import trustme
import zstandard
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline._lifespan import opened
from genai_pipeline.providers import OpenAI
from genai_pipeline.providers._http import HttpClient
from genai_pipeline.providers._http._body import TooLarge, Undecodable, decode
from genai_pipeline.providers._target import Target
from genai_pipeline.testing import FakeClock
from tests import canary
from tests.servers.chat import ChatServer, completion
from tests.servers.chat import http as answer

pytestmark = pytest.mark.anyio
REQUEST = gp.Request("hello", system=canary.PROMPT)


def model(chat: ChatServer, way: str, **options: Any) -> OpenAI:
    """Answer a provider whose server answers in this *way*."""
    secrets = {"api_key": canary.KEY, "headers": canary.HEADERS}
    return OpenAI("m", base_url=chat.url(way), **{**secrets, **options})


@pytest.mark.parametrize(
    ("way", "kind", "sent"),
    [
        ("reset", errors.ConnectionFailed, True),
        ("reset-early", errors.ConnectionFailed, True),
        ("close-early", errors.ConnectionFailed, True),
        ("truncated", errors.ConnectionFailed, True),
        ("bad-chunks", errors.ConnectionFailed, True),
        ("cut-chunks", errors.ConnectionFailed, True),
        ("no-http", errors.ConnectionFailed, True),
        ("broken-gzip", errors.ConnectionFailed, True),
        ("cut-gzip", errors.ConnectionFailed, True),
        ("brotli", errors.ConnectionFailed, True),
        ("html", errors.InvalidAnswer, None),
        ("empty", errors.InvalidAnswer, None),
        ("nothing", errors.InvalidAnswer, None),
        ("redirect", errors.ConfigurationError, None),
        ("429", errors.RateLimited, None),
        ("500", errors.Overloaded, None),
        ("401", errors.AuthenticationFailed, None),
    ],
)
async def test_each_fault_has_its_error(
    chat: ChatServer,
    way: str,
    kind: type[Exception],
    sent: bool | None,
) -> None:
    """A fault raises its error, which names provider and model, and the next call works."""
    good = model(chat, "ok")
    bad = model(chat, way)
    async with gp.wrap(bad), gp.wrap(good):
        with pytest.raises(kind) as caught:
            await bad(REQUEST)
        assert str(caught.value).startswith("openai 'm': ")
        assert getattr(caught.value, "sent", None) is sent
        assert (await good(REQUEST)).text == "you said: hello"


async def test_a_rate_limit_carries_its_wait_and_the_request(chat: ChatServer) -> None:
    """``retry-after`` and the request's id reach whoever retries or complains."""
    with pytest.raises(
        errors.RateLimited, match=r"429 rate_limit_exceeded: slow \(request req-429\)"
    ) as caught:
        await model(chat, "429")(REQUEST)
    assert caught.value.retry_after == 7.0


@pytest.mark.parametrize("way", ["chunked", "gzip", "deflate"])
async def test_other_framings_are_read(chat: ChatServer, way: str) -> None:
    """Chunked and compressed answers are read as any other."""
    assert (await model(chat, way)(REQUEST)).text in {"in chunks", "small"}


async def test_rate_limit_headers_reach_the_response(chat: ChatServer) -> None:
    """What the headers tell of limits is in the attributes."""
    response = await model(chat, "limits")(REQUEST)
    assert response.attributes["rate_limits"] == {"remaining-requests": 59.0, "reset-tokens": 62.5}


@pytest.mark.parametrize("way", ["large", "endless", "bomb"])
async def test_a_large_answer_is_refused_early(chat: ChatServer, way: str) -> None:
    """An answer over the limit, declared, endless or packed, costs little more than the limit."""
    provider = model(chat, way, max_answer_bytes=4000 if way == "large" else 2**20)
    good = model(chat, "ok")
    async with gp.wrap(provider), gp.wrap(good):
        await good(REQUEST)
        gc.collect()
        tracemalloc.start()
        try:
            with pytest.raises(errors.InvalidAnswer, match="larger than"):
                await provider(REQUEST)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        assert peak < 8 * 2**20
        assert (await good(REQUEST)).text == "you said: hello"


async def test_a_stray_second_answer_is_nobodys(chat: ChatServer) -> None:
    """What a server sends beyond its answer is not taken for the answer to the next request."""
    stray, good = model(chat, "too-long"), model(chat, "ok")
    async with gp.wrap(stray), gp.wrap(good):
        assert (await stray(REQUEST)).text == "first"
        for _ in range(3):
            with suppress(errors.ConnectionFailed):  # the other right answer
                assert (await stray(REQUEST)).text == "first"


@pytest.mark.parametrize("way", ["hang", "drip"])
async def test_the_whole_call_has_a_limit(chat: ChatServer, way: str) -> None:
    """A server that never answers, or never ends, costs the timeout and no more."""
    with pytest.raises(errors.AttemptTimeout, match=r"within 0\.05 s \(timeout\)"):
        await model(chat, way, timeout=0.05)(REQUEST)


async def test_an_answer_that_stops_has_a_limit(chat: ChatServer) -> None:
    """Silence in the middle of an answer ends the call before its whole time is up."""
    provider = model(chat, "drip")
    object.__setattr__(provider._caller.client, "idle_timeout", 0.05)
    with pytest.raises(errors.AttemptTimeout, match=r"stopped for 0\.05 s"):
        await provider(REQUEST)


async def test_a_call_that_finds_no_connection_was_not_sent(chat: ChatServer) -> None:
    """Pain 15: waiting in our own queue ends with the timeout, and is no failure of the server."""
    clock = FakeClock()
    provider = model(chat, "ok", timeout=60, max_connections=1, clock=clock)
    breaker = gp.CircuitBreaker(consecutive=1)

    async def call() -> None:
        with pytest.raises(errors.BulkheadFull, match="max_connections"):
            await gp.wrap(provider, breaker)(REQUEST)

    before = len(chat.seen)
    async with gp.wrap(provider), opened(provider._caller.client) as http:
        http._places.acquire_nowait()
        async with anyio.create_task_group() as group:
            group.start_soon(call)
            while not http._places.statistics().tasks_waiting:
                await anyio.lowlevel.checkpoint()
            clock.advance(60)
        breaker.check()
        assert len(chat.seen) == before
        http._places.release()
        assert (await provider(REQUEST)).text == "you said: hello"


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:9/v1", "http://name.does-not-exist.localhost:9/v1"]
)
async def test_a_server_that_is_not_there_was_sent_nothing(url: str) -> None:
    """A refused connection and an unknown name fail before anything is sent."""
    with pytest.raises(errors.ConnectionFailed) as caught:
        await OpenAI("m", base_url=url)(REQUEST)
    assert caught.value.sent is False


async def test_a_connection_that_takes_too_long_was_sent_nothing(chat: ChatServer) -> None:
    """A server that never ends the TLS handshake costs the connect timeout and no more."""
    target = Target(f"https://127.0.0.1:{chat.port}/v1", ())
    async with HttpClient(base_url=target.url, connect_timeout=0.1) as http:
        with pytest.raises(errors.ConnectionFailed) as caught:
            await http.send(target, b"{}", who="p")
    assert caught.value.sent is False


async def test_certificates_are_always_verified() -> None:
    """An unknown authority is refused before anything is sent; a trusted one is fine."""
    authority = trustme.CA()
    server_side = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(server_side)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    with ChatServer(tls=server_side) as server:
        with pytest.raises(errors.ConnectionFailed) as caught:
            await OpenAI("m", base_url=server.url("ok"))(REQUEST)
        assert caught.value.sent is False
        provider = OpenAI("m", base_url=server.url("ok"), ssl_context=trusting)
        assert (await provider(REQUEST)).text == "you said: hello"
        strange = OpenAI(
            "m",
            base_url=server.url("ok").replace("127.0.0.1", "localhost"),
            ssl_context=trusting,
        )
        with pytest.raises(errors.ConnectionFailed):
            await strange(REQUEST)


async def test_a_proxy_is_gone_through(chat: ChatServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy that was given gets the request; one of the environment is not used."""
    proxy = f"http://127.0.0.1:{chat.port}"
    provider = OpenAI(
        "m", base_url="http://model.example/ok/v1", allow_plain_http=True, proxy=proxy
    )
    assert (await provider(REQUEST)).text == "you said: hello"
    assert chat.seen[-1].target == "http://model.example/ok/v1/chat/completions"
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    assert (await model(chat, "ok")(REQUEST)).text == "you said: hello"


async def test_large_requests_are_sent_whole(chat: ChatServer) -> None:
    """A prompt of megabytes arrives to the letter."""
    text = "word \u2603 " * 300_000
    response = await model(chat, "ok")(gp.Request(text))
    assert response.text == f"you said: {text}"


async def test_connections_are_reused_within_a_run(chat: ChatServer) -> None:
    """Calls one after the other in a run share one connection."""
    provider, before = model(chat, "ok"), chat.connections
    async with gp.wrap(provider):
        for _ in range(5):
            await provider(REQUEST)
    assert chat.connections == before + 1


async def test_no_cookie_is_kept(chat: ChatServer) -> None:
    """A cookie that the server sets is not sent with the next call."""
    chat.answers["cookie"] = lambda _: answer(completion(), headers="set-cookie: a=b\r\n")
    provider = model(chat, "cookie")
    async with gp.wrap(provider):
        await provider(REQUEST)
        await provider(REQUEST)
    assert "cookie" not in chat.seen[-1].headers


@given(st.binary(max_size=300), st.sampled_from(["gzip", "deflate", "zstd", "gzip, zstd", "x"]))
def test_any_bytes_decode_or_are_refused(data: bytes, encoding: str) -> None:
    """Rubbish never raises anything but the two errors, and never exceeds the limit."""
    with suppress(TooLarge, Undecodable):
        assert len(decode(data, encoding, limit=1000)) <= 1000


@given(st.binary(max_size=3000), st.sampled_from(["gzip", "deflate", "raw", "zstd", "gzip, gzip"]))
def test_what_was_compressed_comes_back(data: bytes, how: str) -> None:
    """Every compression we ask for, and the raw deflate some servers send, is undone."""
    if how == "raw":
        packer = zlib.compressobj(wbits=-15)
        packed, name = packer.compress(data) + packer.flush(), "deflate"
    elif how == "deflate":
        packed, name = zlib.compress(data), how
    elif how == "zstd":
        packed, name = zstandard.ZstdCompressor().compress(data), how
    else:
        packed, name = gzip.compress(data), how
        packed = gzip.compress(packed) if how == "gzip, gzip" else packed
    assert decode(packed, name, limit=10_000) == data
    if len(data) > 1:
        with pytest.raises(TooLarge):
            decode(packed, name, limit=len(data) - 1 if how != "gzip, gzip" else 1)
    with pytest.raises(Undecodable):
        decode(packed[:-1], name, limit=10_000)


def test_a_zstd_bomb_is_refused() -> None:
    """Megabytes in a few kilobytes stop at the limit."""
    bomb = zstandard.ZstdCompressor().compress(bytes(2**26))
    with pytest.raises(TooLarge):
        decode(bomb, "zstd", limit=2**20)
