"""`Anthropic` as its users see it: options, keys, what is sent, counting, streams, journals."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline import errors, parts
from genai_pipeline.events import CallFinished
from genai_pipeline.journals import Sqlite
from genai_pipeline.providers import Anthropic
from tests.engine.doubles import Kept, Ledger
from tests.servers.chat import http
from tests.servers.messages import MessagesServer, events_of, failure, message, sse

pytestmark = pytest.mark.anyio
REQUEST = gp.Request("hello", max_output_tokens=9)
CANARY = "sk-ant-canary-7f3a9b"


def model(claude: MessagesServer, way: str, **options: Any) -> Anthropic:
    """Answer a provider whose server answers in this *way*."""
    return Anthropic("claude-opus-5", base_url=claude.url(way), **options)


def say(claude: MessagesServer, document: dict[str, Any]) -> Anthropic:
    """Answer a provider whose server says *document*, as a stream where one is asked for."""

    def answer(exchange: Any) -> bytes:
        if exchange.json.get("stream"):
            return http(b"".join(map(sse, events_of(document))), kind="text/event-stream")
        return http(document)

    claude.answers["said"] = answer
    return model(claude, "said")


async def read(provider: Anthropic, request: gp.Request = REQUEST) -> list[gp.Chunk]:
    async with provider.stream(request) as chunks:
        return [chunk async for chunk in chunks]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"base_url": "ftp://x"}, "base_url='ftp://x'; give https"),
        ({"base_url": "http://model.example"}, "unencrypted; use https, or allow_plain_http"),
        ({"version": "2024-01-01"}, "version='2024-01-01'; give one of '2026-10-21', '2023-06-01'"),
        ({"max_output_tokens": 0}, "max_output_tokens=0; give a whole number, 1 or more"),
        ({"cache_prompt": "2h"}, "cache_prompt='2h'; give one of None, '5m', '1h'"),
        ({"key_header": "api-key"}, "key_header='api-key'; give one of 'x-api-key'"),
        ({"headers": {"Anthropic-Version": "x"}}, "give version=, not 'anthropic-version'"),
        ({"headers": {"X-Api-Key": "x"}, "api_key": "k"}, "either api_key= or 'x-api-key'"),
        ({"api_key": "k\n\u00e9"}, "visible ASCII, in one line"),
        ({"name": ""}, "name"),
        ({"timeout": 0}, "timeout=0"),
    ],
)
def test_a_wrong_option_is_told_when_built(options: dict[str, Any], words: str) -> None:
    """Each option that cannot work raises at once, naming itself and what is allowed."""
    with pytest.raises(errors.ConfigurationError, match=words):
        Anthropic("claude-opus-5", **options)


async def test_what_is_sent(claude: MessagesServer) -> None:
    """A call is one POST of JSON with version and key, and nothing it should not say."""
    headers = {"Anthropic-Beta": "a-2026-01-01,b-2026-02-02"}
    provider = model(claude, "ok", api_key=CANARY, headers=headers)
    await provider(gp.Request("q", max_output_tokens=3))
    seen = claude.seen[-1]
    assert seen.target == "/ok/v1/messages"
    assert seen.json == {
        "model": "claude-opus-5",
        "max_tokens": 3,
        "messages": [{"role": "user", "content": "q"}],
    }
    assert seen.headers["x-api-key"] == CANARY
    assert seen.headers["anthropic-version"] == "2026-10-21"
    assert seen.headers["anthropic-beta"] == "a-2026-01-01,b-2026-02-02"
    assert set(seen.headers) == {
        *("accept", "accept-encoding", "anthropic-beta", "anthropic-version", "content-length"),
        *("content-type", "host", "user-agent", "x-api-key"),
    } | ({"connection"} & set(seen.headers))


async def test_a_key_can_go_as_a_bearers(claude: MessagesServer) -> None:
    """Gateways and clouds that want ``Authorization`` get it, and no other header with the key."""
    await model(claude, "ok", api_key=CANARY, key_header="authorization")(REQUEST)
    headers = claude.seen[-1].headers
    assert headers["authorization"] == f"Bearer {CANARY}"
    assert "x-api-key" not in headers


async def test_a_key_of_the_environment_goes_to_anthropic_alone(
    claude: MessagesServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another server gets no key, and without one Anthropic is not even tried."""
    monkeypatch.setenv("ANTHROPIC_API_KEY", CANARY)
    await model(claude, "ok")(REQUEST)
    assert "x-api-key" not in claude.seen[-1].headers
    monkeypatch.delenv("ANTHROPIC_API_KEY")
    with pytest.raises(errors.AuthenticationFailed, match="ANTHROPIC_API_KEY, or give api_key="):
        await Anthropic("claude-opus-5")(REQUEST)


async def test_the_key_is_never_shown(claude: MessagesServer) -> None:
    """A server that sends the key back shows it to nobody, in an answer or in a stream."""
    leak = failure("authentication_error", f"bad key {CANARY}")
    claude.answers["leak"] = lambda _: http(leak, status="401 Unauthorized")
    claude.answers["leaked"] = lambda _: http(sse(leak), kind="text/event-stream")
    with pytest.raises(errors.AuthenticationFailed) as caught:
        await model(claude, "leak", api_key=CANARY)(REQUEST)
    with pytest.raises(errors.AuthenticationFailed) as streamed:
        await read(model(claude, "leaked", api_key=CANARY))
    for error in (caught.value, streamed.value):
        assert "***" in str(error)
        assert CANARY not in str(error) + repr(model(claude, "leak", api_key=CANARY))


async def test_the_limit_of_the_provider_is_the_requests(claude: MessagesServer) -> None:
    """A request without a limit gets the provider's; nothing is sent where there is none."""
    before = len(claude.seen)
    with pytest.raises(errors.ConfigurationError, match="max_output_tokens=None"):
        await model(claude, "ok")(gp.Request("q"))
    assert len(claude.seen) == before
    limited = model(claude, "ok", max_output_tokens=77)
    await limited(gp.Request("q"))
    await read(limited, gp.Request("q"))
    assert [each.json["max_tokens"] for each in claude.seen[before:]] == [77, 77]
    await limited(REQUEST)
    assert claude.seen[-1].json["max_tokens"] == 9


async def test_the_older_version_is_asked_as_such(claude: MessagesServer) -> None:
    """With it a temperature is sent; with the newest it never leaves."""
    before = len(claude.seen)
    old = Anthropic("claude-sonnet-4-5", base_url=claude.url("ok"), version="2023-06-01")
    warm = gp.Request("q", max_output_tokens=9, temperature=0.5)
    await old(warm)
    assert claude.seen[-1].headers["anthropic-version"] == "2023-06-01"
    assert claude.seen[-1].json["temperature"] == 0.5
    with pytest.raises(errors.ConfigurationError, match=r"temperature=0.5; version 2026-10-21"):
        await model(claude, "ok")(warm)
    assert len(claude.seen) == before + 1


async def test_a_prompt_is_cached_where_calls_agree(claude: MessagesServer) -> None:
    """The instructions that all records share are marked, for as long as asked."""
    await model(claude, "ok", cache_prompt="1h")(
        gp.Request("q", system="Be brief.", max_output_tokens=9)
    )
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    assert claude.seen[-1].json["system"] == [{"type": "text", "text": "Be brief.", **mark}]


async def test_labels_come_back_to_the_letter(claude: MessagesServer) -> None:
    """The label is chosen natively, and taken out of the document."""
    request = gp.Request("which?", labels=["Alpha", "beta"], max_output_tokens=9)
    assert (await model(claude, "ok")(request)).text == "beta"


async def test_tokens_are_counted(claude: MessagesServer) -> None:
    """A count is a call of its own, free of charge: no event, no limit needed."""
    told: list[Any] = []
    with gp.listen(told.append):
        assert await model(claude, "ok").count_tokens(gp.Request("hello")) == 5
    assert claude.seen[-1].target == "/ok/v1/messages/count_tokens"
    assert told == []
    claude.answers["uncounted"] = lambda _: http({"input_tokens": None})
    with pytest.raises(errors.InvalidAnswer, match="no count of tokens"):
        await model(claude, "uncounted").count_tokens(REQUEST)
    claude.answers["slow"] = lambda _: http(
        failure("rate_limit_error", "slow"), status="429 Slow", headers="retry-after: 3\r\n"
    )
    with pytest.raises(errors.RateLimited) as caught:
        await model(claude, "slow").count_tokens(REQUEST)
    assert caught.value.retry_after == 3


CALL = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bern"}}
THOUGHT = {"type": "thinking", "thinking": "Hm, so.", "signature": "c2ln"}
HIDDEN = {"type": "redacted_thinking", "data": "aGlkZGVu"}


async def test_a_conversation_goes_on_with_what_came(claude: MessagesServer) -> None:
    """Thoughts and calls of an answer, whole or streamed, go back as they came."""
    provider = say(claude, message(THOUGHT, HIDDEN, "I look.", CALL, stop_reason="tool_use"))
    whole = await provider(REQUEST)
    streamed = gp.join_chunks(await read(provider))
    assert streamed == whole
    result = parts.ToolResult.to(whole.tool_calls[0], "20 degrees")
    turns = [*REQUEST.messages, whole.message, gp.Message("tool", result)]
    await provider(gp.Request(turns, max_output_tokens=9))
    assert claude.seen[-1].json["messages"][1:] == [
        {
            "role": "assistant",
            "content": [THOUGHT, HIDDEN, {"type": "text", "text": "I look."}, CALL],
        },
        {
            "role": "user",
            "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "20 degrees"}],
        },
    ]


async def test_thoughts_and_calls_are_streamed(claude: MessagesServer) -> None:
    """They come piece by piece in chunks of their own, and whole in the last."""
    chunks = await read(say(claude, message(THOUGHT, CALL, stop_reason="tool_use")))
    assert "".join(chunk.reasoning for chunk in chunks) == "Hm, so."
    calls = [chunk.tool_call for chunk in chunks if chunk.tool_call]
    assert {(call.name, call.id) for call in calls} == {("weather", "toolu_1")}
    assert "".join(call.arguments for call in calls) == '{"city": "Bern"}'
    assert chunks[-1].parts == (
        parts.Reasoning("Hm, so.", signature="c2ln"),
        parts.ToolCall("weather", '{"city":"Bern"}', id="toolu_1"),
    )


async def test_odd_framing_and_unknown_events_change_nothing(claude: MessagesServer) -> None:
    """Comments, all line ends, single bytes, pings and new events are passed over."""
    response = gp.join_chunks(await read(model(claude, "stream-odd")))
    assert response.text == "one\u2028line \u00e9t\u00e9\x85 \U0001f40d"
    assert (response.finish_reason, response.usage.output_tokens) == ("stop", 5)


@pytest.mark.parametrize("way", ["stream-cut", "stream-no-end", "stream-overloaded"])
async def test_a_stream_that_breaks_off_tells_what_came(claude: MessagesServer, way: str) -> None:
    """Without its stop reason there is no answer: the text and the usage so far are told."""
    told: list[Any] = []
    with gp.listen(told.append), pytest.raises(errors.StreamInterrupted) as caught:
        await read(model(claude, way))
    assert caught.value.partial == "half"
    assert caught.value.usage is not None
    assert caught.value.usage.input_tokens == 17
    (event,) = told
    assert (event.error, event.input_tokens) == ("StreamInterrupted", 17)


async def test_a_stream_ends_with_its_message(claude: MessagesServer) -> None:
    """The message's own end counts, even when the connection stays open."""
    assert gp.join_chunks(await read(model(claude, "stream-open-end"))).text == "whole"


async def test_a_refusal_is_raised_and_counted(claude: MessagesServer) -> None:
    """A refusal, whole or streamed, is `Refused`, and its tokens are in the event."""
    details = {"type": "refusal", "category": "bio", "explanation": "Not that."}
    provider = say(claude, message("I", stop_reason="refusal", stop_details=details))
    told: list[Any] = []
    with gp.listen(told.append):
        with pytest.raises(errors.Refused, match=r"the model refused: bio: Not that\."):
            await provider(REQUEST)
        with pytest.raises(errors.Refused, match=r"the model refused: bio: Not that\."):
            await read(provider)
    assert [(each.error, each.input_tokens) for each in told] == [("Refused", 17)] * 2


async def test_each_call_emits_one_event(claude: MessagesServer) -> None:
    """An event tells provider, served model, tokens and outcome."""
    told: list[Any] = []
    with gp.listen(told.append):
        await model(claude, "ok", name="house")(REQUEST)
    (event,) = told
    assert isinstance(event, CallFinished)
    assert (event.provider, event.model, event.finish_reason) == ("house", "claude-served", "stop")
    assert (event.input_tokens, event.output_tokens) == (17, 5)


PRICES = gp.PriceBook({"claude-opus-5": {"input": "5", "output": "25"}})


async def test_an_answer_is_replayed_to_the_letter(claude: MessagesServer, tmp_path: Path) -> None:
    """In a pipeline with a journal a paid answer is kept, and a later run is answered from it."""
    provider = model(claude, "ok", api_key=CANARY, max_output_tokens=50)
    journal = Sqlite(tmp_path / "run.db", ballast=0)
    before = len(claude.seen)

    async def ask(value: str) -> Any:
        answer = await provider(gp.Request(value))
        return [answer.text, answer.usage.cached_tokens, answer.attributes.get("replayed")]

    class Failing(Kept):
        async def __call__(self, record: gp.Record[Any]) -> None:
            raise gp.errors.StorageFailed("the disk is full")

    def pipeline(sink: Kept) -> gp.Pipeline[Any, Any]:
        return gp.Pipeline(
            source=Ledger(["hi"]), stage=gp.map(ask), sink=sink, journal=journal, prices=PRICES
        )

    with pytest.raises(gp.RunFailed) as caught:
        await pipeline(Failing()).run()
    assert caught.value.report.calls == 1
    sink = Kept()
    report = await pipeline(sink).run()
    assert (report.written, report.replayed, report.calls) == (1, 1, 0)
    assert report.cost in {None, Decimal(0)}
    assert sink.values == [["you said: hi", 4, True]]
    assert len(claude.seen) == before + 1
    for path in tmp_path.iterdir():
        assert CANARY.encode() not in path.read_bytes(), path


_IMPORT = """
import sys
from genai_pipeline.providers import Anthropic
Anthropic("m")
print([name for name in ("httpx", "aiohttp", "anthropic", "pydantic") if name in sys.modules])
"""


def test_importing_is_cheap() -> None:
    """Neither importing nor building a provider loads an HTTP library or the vendor's SDK."""
    done = subprocess.run(
        [sys.executable, "-c", _IMPORT], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[]\n"
