"""What a provider of another API is made of: its dialect, and what it shares with the others."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.events import CallFinished
from genai_pipeline.providers._dialect import Dialect, Verdict
from genai_pipeline.providers._failure_format import FailureFormat
from genai_pipeline.providers._failures import COMMON_RULES, Rule
from genai_pipeline.providers._http_model import HttpModel
from genai_pipeline.providers._json import json_bytes
from genai_pipeline.providers._target import Headers
from tests.servers.chat import ChatServer, Exchange, http

pytestmark = pytest.mark.anyio
REQUEST = gp.Request("hello")


class Joined:
    """Takes events of ``{"say": "…"}``, until one says that it is over."""

    def __init__(self) -> None:
        self.finished = False
        self.usage: gp.Usage | None = None
        self._said: list[str] = []

    def take(self, document: Mapping[str, Any], name: str, /) -> gp.Chunk | None:
        self.finished = self.finished or name == "over"
        self._said.append(document.get("say", ""))
        return gp.Chunk(self._said[-1]) if self._said[-1] else None

    def document(self) -> dict[str, Any]:
        return {"said": "".join(self._said)}


@attrs.frozen
class Parrot(Dialect):
    """Speaks to a server that answers ``{"said": "…"}``."""

    failures = FailureFormat(
        rules=(
            Rule(kind=errors.QuotaExhausted, codes=re.compile("perday")),
            Rule(kind=errors.Overloaded, statuses={400}, text=re.compile("moulting")),
            *COMMON_RULES,
        ),
        request_id_headers=("parrot-id", "id"),
        code_header="parrot-error",
    )

    def identity(self) -> tuple[Any, ...]:
        return ("parrot",)

    def path(self, *, streamed: bool) -> str:
        return "/sing" if streamed else "/say"

    def body(self, request: gp.Request, *, streamed: bool) -> bytes:
        return json_bytes({"hear": request.prompt, "sing": streamed})

    def read(
        self, request: gp.Request, document: object, headers: Mapping[str, str], who: str
    ) -> Verdict:
        if not isinstance(document, dict) or not isinstance(document.get("said"), str):
            return Verdict(gp.Response(""), errors.InvalidAnswer(f"{who}: nothing was said"))
        request_id = self.failures.request_id(headers)
        usage = self.usage_in(document) or gp.Usage()
        return Verdict(gp.Response(document["said"], usage=usage, request_id=request_id))

    def usage_in(self, document: Mapping[str, Any]) -> gp.Usage | None:
        seeds = document.get("seeds")
        return gp.Usage(output_tokens=seeds) if isinstance(seeds, int) else None

    def pieces(self) -> Joined:
        return Joined()

    def error_in(
        self, document: Mapping[str, Any], name: str, headers: Mapping[str, str], who: str
    ) -> errors.PipelineError | None:
        return errors.Overloaded(f"{who}: {document}") if name == "error" else None


@attrs.frozen(eq=False)
class Bird(HttpModel):
    """A provider: the options that differ, where its key goes, and its dialect."""

    base_url: str = attrs.field(kw_only=True)
    name: str = attrs.field(default="bird", kw_only=True)

    def _speaks(self) -> Parrot:
        return Parrot()

    def _credentials(self, key: str) -> Headers:
        return (("x-parrot-key", key),)

    def _own_headers(self) -> Mapping[str, str]:
        return {"parrot-version": "2026-10-21"}


@pytest.fixture
def answering(chat: ChatServer) -> Iterator[list[bytes]]:
    """Let the server answer what is in the list, and then what it was asked."""
    answers: list[bytes] = []

    def answer(exchange: Exchange) -> bytes:
        if answers:
            return answers.pop(0)
        if exchange.target.endswith("/sing"):
            events = 'data: {"say": "a"}\n\ndata: {"say": "b"}\n\nevent: over\ndata: {}\n\n'
            return http(events.encode(), kind="text/event-stream", headers="parrot-id: p2\r\n")
        return http({"said": exchange.json["hear"], "seeds": 3}, headers="parrot-id: p1\r\n")

    chat.answers["bird"] = answer
    yield answers
    del chat.answers["bird"]


def bird(chat: ChatServer, **options: Any) -> Bird:
    """Answer a provider of the server."""
    return Bird("grey", base_url=chat.url("bird"), api_key="sk-parrot", **options)


async def test_a_call_speaks_the_dialect(chat: ChatServer, answering: list[bytes]) -> None:
    """Path, key, headers and body are the dialect's; the answer and its event are as any other."""
    told: list[Any] = []
    with gp.listen(told.append):
        response = await bird(chat)(REQUEST)
    assert (response.text, response.model, response.request_id) == ("hello", "grey", "p1")
    seen = chat.seen[-1]
    assert seen.target.endswith("/v1/say")
    assert seen.json == {"hear": "hello", "sing": False}
    assert seen.headers["x-parrot-key"] == "sk-parrot"
    assert seen.headers["parrot-version"] == "2026-10-21"
    assert "authorization" not in seen.headers
    (event,) = told
    assert isinstance(event, CallFinished)
    assert (event.provider, event.model, event.output_tokens) == ("bird", "grey", 3)
    assert answering == []


async def test_a_stream_speaks_the_dialect(chat: ChatServer, answering: list[bytes]) -> None:
    """The events' names and documents go to the dialect, and the whole is read as an answer."""
    async with bird(chat).stream(REQUEST) as chunks:
        response = gp.join_chunks([chunk async for chunk in chunks])
    assert (response.text, response.request_id) == ("ab", "p2")
    assert chat.seen[-1].headers["accept"] == "text/event-stream"
    answering.append(
        http(
            b'data: {"say": "a"}\n\nevent: error\ndata: {"why": "x"}\n\n', kind="text/event-stream"
        )
    )
    with pytest.raises(errors.StreamInterrupted) as caught:
        async with bird(chat).stream(REQUEST) as chunks:
            async for _ in chunks:
                pass
    assert isinstance(caught.value.__cause__, errors.Overloaded)


@pytest.mark.parametrize(
    ("status", "headers", "error", "kind", "words"),
    [
        ("500 x", "parrot-error: ThrottlingException:http://x\r\n", {}, errors.RateLimited, "500"),
        ("400 x", "", {"message": "I am moulting"}, errors.Overloaded, "moulting"),
        ("401 x", "parrot-id: p9\r\n", {}, errors.AuthenticationFailed, r"\(request p9\)"),
        ("404 x", "id: p8\r\n", {}, errors.InvalidRequest, r"\(request p8\)"),
        (
            "429 x",
            "",
            {
                "status": "RESOURCE_EXHAUSTED",
                "details": [
                    {"@type": "x/google.rpc.QuotaFailure", "violations": [{"quotaId": "APerDay"}]}
                ],
            },
            errors.QuotaExhausted,
            "RESOURCE_EXHAUSTED",
        ),
    ],
)
async def test_failures_have_the_meaning_of_the_dialect(
    chat: ChatServer,
    answering: list[bytes],
    status: str,
    headers: str,
    error: dict[str, Any],
    kind: type[Exception],
    words: str,
) -> None:
    """Rules of its own go before the common ones, and codes and ids come from its headers."""
    answering.append(http({"error": error}, status=status, headers=headers))
    with pytest.raises(kind, match=words):
        await bird(chat)(REQUEST)


async def test_a_wait_may_stand_in_the_body(chat: ChatServer, answering: list[bytes]) -> None:
    """Google's RetryInfo is a ``retry_after``, where no header tells one."""
    details = [None, {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "46.5s"}]
    error = {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "details": details}}
    for headers, wait in (("", 46.5), ("retry-after: 7\r\n", 7.0)):
        answering.append(http(error, status="429 x", headers=headers))
        with pytest.raises(errors.RateLimited) as caught:
            await bird(chat)(REQUEST)
        assert caught.value.retry_after == wait


async def test_other_endpoints_are_fetched(chat: ChatServer, answering: list[bytes]) -> None:
    """What is free of charge is asked for with any method, and read as JSON or raised."""
    caller = bird(chat)._caller
    answering += [
        http({"models": ["grey"]}, headers="parrot-id: p3\r\n"),
        http({"seeds": 7}),
        http({"error": {"message": "x"}}, status="503 x"),
        http(b"<html>", kind="text/html"),
    ]
    document, headers = await caller.fetch("/models", method="GET")
    assert (document, headers["parrot-id"]) == ({"models": ["grey"]}, "p3")
    seen = chat.seen[-1]
    assert (seen.method, seen.body) == ("GET", b"")
    assert "content-type" not in seen.headers
    assert (await caller.fetch("/count", {"hear": "hello"}))[0] == {"seeds": 7}
    assert json.loads(chat.seen[-1].body) == {"hear": "hello"}
    with pytest.raises(errors.Overloaded, match=r"bird 'grey': 503"):
        await caller.fetch("/models", method="GET")
    with pytest.raises(errors.InvalidAnswer, match="no JSON"):
        await caller.fetch("/models", method="GET")


async def test_the_key_goes_to_no_other_server(chat: ChatServer, answering: list[bytes]) -> None:
    """A path that leads to another host is refused before anything is sent."""
    caller, before = bird(chat)._caller, chat.connections
    object.__setattr__(caller, "base_url", "https://else.example")
    with pytest.raises(gp.ConfigurationError, match="to another server"):
        await caller.fetch("/models", method="GET")
    assert chat.connections == before
    assert answering == []
