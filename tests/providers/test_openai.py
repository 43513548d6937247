"""`OpenAI` as its users see it: options, keys, secrets, events, life cycle."""

from __future__ import annotations

import logging
import ssl
import subprocess
import sys
import threading
import traceback
from functools import partial
from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.events import CallFinished
from genai_pipeline.providers import OpenAI
from tests import canary
from tests.servers.chat import ChatServer, Exchange, completion, http

pytestmark = pytest.mark.anyio
REQUEST = gp.Request("hello", system=canary.PROMPT)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"base_url": "ftp://x"}, "base_url='ftp://x'; give https"),
        ({"base_url": "https://"}, "base_url"),
        ({"base_url": "https://x/v1?key=1"}, "without credentials, query"),
        ({"base_url": "http://model.example/v1"}, "unencrypted; use https, or allow_plain_http"),
        ({"base_url": "http://10.0.0.1/v1"}, "unencrypted"),
        ({"base_url": None}, "base_url"),
        ({"base_url": "https://[::1/v1"}, "base_url"),
        ({"base_url": "https://x:99999/v1"}, "base_url"),
        ({"base_url": "https://x/a b"}, "base_url"),
        ({"timeout": 0}, "timeout=0; give a number above 0"),
        ({"max_connections": 0}, "max_connections=0"),
        ({"max_answer_bytes": -1}, "max_answer_bytes"),
        ({"limit_field": "tokens"}, "limit_field='tokens'"),
        ({"profile": "acme"}, "profile='acme'; give None, one of 'openai', 'compatible', 'vllm'"),
        ({"ssl_context": ssl._create_unverified_context()}, "verifies"),
        ({"proxy": "socks5://x"}, "proxy"),
        ({"proxy": "http://[::1"}, "proxy"),
        ({"proxy": 3128}, "proxy"),
        ({"headers": "x: y"}, "headers is no mapping"),
        ({"headers": {"Host": "x"}}, r"headers\['Host'\]; the transport sets this itself"),
        ({"headers": {"a b": "x"}}, "'a b'"),
        ({"headers": {"x": "1\r\ny: 2"}}, "visible ASCII in one line"),
        ({"headers": {"Authorization": "x"}, "api_key": "k"}, "either api_key= or 'authorization'"),
        ({"api_key": "k\n"}, "api_key"),
        ({"api_key": ""}, "api_key"),
        ({"name": ""}, "name"),
    ],
)
def test_a_wrong_option_is_told_when_built(options: dict[str, Any], words: str) -> None:
    """Each option that cannot work raises at once, naming itself and what is allowed."""
    with pytest.raises(errors.ConfigurationError, match=words) as caught:
        OpenAI("m", **options)
    assert "HttpClient" not in str(caught.value)


def test_a_password_in_a_url_is_not_shown() -> None:
    """An error about a URL with credentials does not repeat them."""
    url = "ftp://me:hunter2@x/v1"
    for build in (partial(OpenAI, base_url=url), partial(OpenAI, proxy=url)):
        with pytest.raises(errors.ConfigurationError) as caught:
            build("m")
        assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["http://localhost:1/v1/", "http://a.localhost/v1", "http://[::1]:1/v1", "https://x/v1"]
)
def test_a_good_base_url_is_taken(url: str) -> None:
    """Loopback needs no encryption, and a slash at the end makes no difference."""
    assert OpenAI("m", base_url=url).base_url == url.rstrip("/")


async def test_what_is_sent(chat: ChatServer) -> None:
    """A call is one POST of JSON with the key, the given headers, and nothing it should not say."""
    provider = OpenAI(
        "m", base_url=chat.url("ok"), api_key=canary.KEY, headers={"OpenAI-Project": "p1"}
    )
    await provider(gp.Request("q", max_output_tokens=3))
    seen = chat.seen[-1]
    assert seen.target == "/ok/v1/chat/completions"
    assert seen.json == {
        "model": "m",
        "messages": [{"role": "user", "content": "q"}],
        "max_tokens": 3,
    }
    assert seen.headers["authorization"] == f"Bearer {canary.KEY}"
    assert seen.headers["openai-project"] == "p1"
    assert seen.headers["content-type"] == "application/json"
    assert seen.headers["host"] == f"127.0.0.1:{chat.port}"
    assert set(seen.headers) == {
        "accept",
        "accept-encoding",
        "authorization",
        "content-length",
        "content-type",
        "host",
        "openai-project",
        "user-agent",
    } | ({"connection"} & set(seen.headers))


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "max_completion_tokens"),
        ({"base_url": "https://x.openai.azure.com/openai/v1"}, "max_completion_tokens"),
        ({"base_url": "https://eu.api.openai.com/v1"}, "max_completion_tokens"),
        ({"base_url": "http://localhost/v1"}, "max_tokens"),
        ({"base_url": "https://openai.com.evil.example/v1"}, "max_tokens"),
        ({"limit_field": "max_tokens"}, "max_tokens"),
    ],
)
def test_the_output_limit_has_the_servers_name(options: dict[str, Any], name: str) -> None:
    """OpenAI and Azure take the new name of the limit, others the old one, unless told."""
    assert OpenAI("m", **options)._served().limit_field == name


async def test_the_key_is_read_when_called(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a key the error names the variable; no connection is tried."""
    provider = OpenAI("gpt-x")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    with pytest.raises(errors.AuthenticationFailed, match="OPENAI_API_KEY, or give api_key="):
        await provider(REQUEST)
    monkeypatch.setenv("OPENAI_API_KEY", "sk-line\nbreak")
    with pytest.raises(errors.ConfigurationError, match="OPENAI_API_KEY") as caught:
        await provider(REQUEST)
    assert "sk-line" not in str(caught.value)


async def test_a_key_of_the_environment_goes_to_openai_alone(
    chat: ChatServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server gets no key, unless it is told which variable holds its own."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-for-openai")
    monkeypatch.setenv("GATEWAY_KEY", "sk-for-gateway")
    await OpenAI("m", base_url=chat.url("ok"))(REQUEST)
    assert "authorization" not in chat.seen[-1].headers
    await OpenAI("m", base_url=chat.url("ok"), api_key=gp.Secret.from_env("GATEWAY_KEY"))(REQUEST)
    assert chat.seen[-1].headers["authorization"] == "Bearer sk-for-gateway"


def _echoing(exchange: Exchange) -> bytes:
    key = exchange.headers["authorization"]
    return http(
        {"error": {"message": f"Incorrect key: {key}", "code": "invalid_api_key"}},
        status="401 Unauthorized",
        headers=f"x-request-id: {key}\r\nlocation: {key}\r\n",
    )


@pytest.mark.parametrize("way", ["echo", "echo-html", "reset", "500", "truncated", "hang"])
async def test_the_key_is_never_shown(
    chat: ChatServer, way: str, caplog: pytest.LogCaptureFixture
) -> None:
    """No repr, message, argument, traceback with locals, event or log holds the key."""
    chat.answers["echo"] = _echoing
    chat.answers["echo-html"] = lambda exchange: http(exchange.headers["authorization"].encode())
    caplog.set_level(logging.DEBUG)
    if way == "echo":  # whoever debugs httpcore sees what servers answer, whatever that is
        for logger in ("httpcore", "httpcore2"):
            caplog.set_level(logging.INFO, logger)
    provider = OpenAI(
        "m",
        base_url=chat.url(way),
        api_key=canary.KEY,
        headers=canary.HEADERS,
        timeout=0.1 if way == "hang" else 10,
    )
    told: list[Any] = []
    with gp.listen(told.append), pytest.raises(errors.PipelineError) as caught:
        await provider(REQUEST)
    error = caught.value
    chain: BaseException | None = error
    shown = [repr(provider), repr(told), caplog.text]
    while chain is not None:
        trace = traceback.TracebackException.from_exception(chain, capture_locals=True)
        shown += [repr(chain), str(chain), repr(chain.args), repr(vars(chain)), *trace.format()]
        chain = chain.__cause__ or chain.__context__
    secret = [text for text in shown if set(canary.found_in(text)) & {"key", "header"}]
    ours = [text for text in secret if "def test_" not in text]
    # The frame of this very test holds the key, too; it is the only one that may.
    assert [text for text in ours if "test_openai.py" not in text] == []


@pytest.mark.parametrize(
    ("way", "error", "finish"),
    [("ok", None, "stop"), ("429", "RateLimited", None), ("html", "InvalidAnswer", None)],
)
async def test_each_call_emits_one_event(
    chat: ChatServer, way: str, error: str | None, finish: str | None
) -> None:
    """An event tells provider, model, time, tokens and outcome, for good and for bad."""
    told: list[Any] = []
    provider = OpenAI("m", base_url=chat.url(way), name="house")
    with gp.listen(told.append):
        try:
            await provider(REQUEST)
        except errors.PipelineError as failure:
            assert type(failure).__name__ == error
    (event,) = told
    assert isinstance(event, CallFinished)
    assert (event.provider, event.error, event.finish_reason) == ("house", error, finish)
    assert event.model == ("m" if error else "served-model")
    assert (event.input_tokens, event.output_tokens) == ((0, 0) if error else (10, 5))
    assert 0 < event.seconds < 10


async def test_a_refused_answer_is_still_counted(chat: ChatServer) -> None:
    """Tokens of an answer that becomes an error are in the event, since they are billed."""
    chat.answers["refusing"] = lambda _: http(
        completion() | {"choices": [{"message": {"refusal": "no"}, "finish_reason": "stop"}]}
    )
    told: list[Any] = []
    with gp.listen(told.append), pytest.raises(errors.Refused):
        await OpenAI("m", base_url=chat.url("refusing"))(REQUEST)
    assert (told[0].error, told[0].input_tokens) == ("Refused", 10)


async def test_a_cancelled_call_tells_of_itself(chat: ChatServer) -> None:
    """Cancellation passes through, and the event says what happened."""
    told: list[Any] = []
    with gp.listen(told.append), anyio.move_on_after(0.05) as scope:
        await OpenAI("m", base_url=chat.url("hang"))(REQUEST)
    assert scope.cancelled_caught
    assert [event.error for event in told] == ["Cancelled"]


async def test_a_block_keeps_the_connections(chat: ChatServer) -> None:
    """``async with model`` opens the connections once; lone calls open their own."""
    provider, before = OpenAI("m", base_url=chat.url("ok")), chat.connections
    async with provider:
        await provider(REQUEST)
        await provider(REQUEST)
    assert chat.connections == before + 1
    await provider(REQUEST)
    await provider(REQUEST)
    assert chat.connections == before + 3


async def test_runs_at_the_same_time_in_several_threads(
    chat: ChatServer, anyio_backend: str
) -> None:
    """One object serves overlapping runs of several event loops, each with its connections."""
    provider = OpenAI("m", base_url=chat.url("together-3"))
    answers: list[str] = []

    async def run(text: str) -> None:
        async with gp.wrap(provider):
            answers.append((await provider(gp.Request(text))).text)

    threads = [
        threading.Thread(target=partial(anyio.run, run, text, backend=anyio_backend))
        for text in ("a", "b")
    ]
    for thread in threads:
        thread.start()
    await run("c")
    for thread in threads:
        await anyio.to_thread.run_sync(thread.join)
    assert sorted(answers) == ["you said: a", "you said: b", "you said: c"]


async def test_overlapping_blocks_close_nothing_that_is_used(chat: ChatServer) -> None:
    """Leaving one of two overlapping blocks leaves the other's connections open."""
    provider = OpenAI("m", base_url=chat.url("ok"))
    first, second = gp.wrap(provider), gp.wrap(provider)
    await first.__aenter__()
    async with second:
        await first.__aexit__(None, None, None)
        assert (await provider(REQUEST)).text == "you said: hello"


_IMPORT = """
import sys
from genai_pipeline.providers import OpenAI
OpenAI("m")
heavy = ("httpx", "httpcore", "aiohttp", "zstandard", "asyncio")
print([name for name in heavy if name in sys.modules])
"""


def test_importing_is_cheap() -> None:
    """Neither importing nor building a provider loads an HTTP library."""
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"


def test_unknown_names_are_no_attributes() -> None:
    """The package lists its classes and knows no others."""
    assert dir(gp.providers) == sorted(gp.providers.__all__)
    assert all(getattr(gp.providers, name).__name__ == name for name in gp.providers.__all__)
    with pytest.raises(AttributeError, match="Nothing"):
        gp.providers.Nothing
