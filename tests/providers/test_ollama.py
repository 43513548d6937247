"""`Ollama`: what is sent, what is answered, what is refused, how it fails."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.messages import TokenLogprob
from genai_pipeline.parts import Audio, Image, Reasoning, Text, ToolCall, ToolResult
from genai_pipeline.providers import Ollama
from genai_pipeline.providers._dialect import Verdict
from genai_pipeline.providers._ndjson import NdjsonDecoder
from genai_pipeline.providers._ollama_answer import read_chat
from genai_pipeline.providers._ollama_pieces import OllamaPieces
from genai_pipeline.providers._ollama_request import ollama_body
from genai_pipeline.providers._sse import EventTooLarge
from genai_pipeline.testing import strategies as gps
from tests.servers.chat import http
from tests.servers.ollama import OllamaServer, answer, line, lines_of

ASK = gp.Request("q")
REQUEST = gp.Request("hello there")
SCHEMA = {"type": "object", "properties": {"a": {"type": "integer"}}}


def body(request: gp.Request) -> dict[str, Any]:
    return ollama_body(request, "ollama 'm'", streamed=False)


def verdict(document: object, request: gp.Request = ASK) -> Verdict:
    return read_chat(request, document, "ollama 'm'")


async def read(provider: Ollama, request: gp.Request = REQUEST) -> list[gp.Chunk]:
    async with provider.stream(request) as chunks:
        return [chunk async for chunk in chunks]


def test_a_request_is_sent_in_full() -> None:
    """Each option has its place, and so has each part of the conversation."""
    turns = [
        gp.Message("user", ["look", Image(data=b"x")]),
        gp.Message("assistant", [Reasoning("hm"), ToolCall("f", '{"a": 1}', id="c1")]),
        gp.Message("tool", [ToolResult("42", call_id="c1", name="f")]),
    ]
    request = gp.Request(
        turns,
        system="be brief",
        max_output_tokens=64,
        temperature=0.5,
        top_p=0.9,
        seed=7,
        stop=["."],
        schema=SCHEMA,
        reasoning_effort="low",
        tools=[gp.Tool("f", "of x", SCHEMA)],
        logprobs=2,
        extra={"options": {"top_k": 40}, "truncate": False},
    )
    call = {"function": {"name": "f", "arguments": {"a": 1}}}
    function = {"name": "f", "description": "of x", "parameters": SCHEMA}
    assert body(request) == {
        "messages": [
            {"role": "system", "content": "be brief"},
            {"role": "user", "content": "look", "images": ["eA=="]},
            {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": [call]},
            {"role": "tool", "content": "42", "tool_name": "f"},
        ],
        "stream": False,
        "format": SCHEMA,
        "tools": [{"type": "function", "function": function}],
        "think": "low",
        "logprobs": True,
        "top_logprobs": 2,
        "options": {
            "num_predict": 64,
            "temperature": 0.5,
            "top_p": 0.9,
            "seed": 7,
            "stop": ["."],
            "top_k": 40,
        },
        "truncate": False,
    }


def test_no_thinking_is_said_so() -> None:
    """No effort switches thinking off."""
    assert body(gp.Request("x", reasoning_effort="none"))["think"] is False


def saying(*parts: Any) -> gp.Request:
    return gp.Request(gp.Message("user", parts))


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (gp.Request("x", tools=[gp.Tool("f")], tool_choice="f"), "tool_choice='f'; this API has"),
        (gp.Request("x", tools=[gp.Tool("f", strict=True)]), "strict"),
        (gp.Request("x", reasoning_effort="xhigh"), "knows none, low, medium, high"),
        (gp.Request("x", extra={"messages": []}), "would override"),
        (gp.Request("x", extra={"model": "y"}), "would override"),
        (gp.Request("x", seed=1, extra={"options": {"seed": 2}}), r"\['seed'\]=2 would override"),
        (gp.Request("x", extra={"options": 3}), "give a mapping"),
        (saying(Audio(data=b"x")), "holds Audio, which this API cannot take"),
        (saying(Image(url="https://x/y.png")), "reads no addresses"),
        (saying(Image(data=b"x", detail="low")), "detail='low'"),
        (
            gp.Request([gp.Message("user", "x"), gp.Message("assistant", ToolCall("f", "{"))]),
            "'f' are no JSON object",
        ),
    ],
)
def test_what_the_api_cannot_do_is_refused(request_: gp.Request, words: str) -> None:
    """A request that would be changed on its way is refused before it is sent."""
    with pytest.raises(gp.ConfigurationError, match=words):
        body(request_)


@pytest.mark.parametrize("wrong", [{"context": 0}, {"keep_alive": ""}, {"keep_alive": True}])
def test_a_wrong_option_is_told_when_built(wrong: dict[str, Any]) -> None:
    """Each option that cannot work raises at once, naming itself."""
    with pytest.raises(gp.ConfigurationError, match=next(iter(wrong))):
        Ollama("m", **wrong)


def test_an_answer_is_read_in_full() -> None:
    """Text, thoughts, calls, scores, tokens and times are all taken over."""
    message = {
        "role": "assistant",
        "content": "hi",
        "thinking": "hm",
        "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": {"a": 1}}}],
    }
    scores = [{"token": "hi", "logprob": -0.5, "top_logprobs": [{"token": "ho", "logprob": -1}]}]
    found = verdict(answer(message=message, logprobs=scores))
    assert found.error is None
    assert found.response == gp.Response(
        "hi",
        usage=gp.Usage(input_tokens=10, output_tokens=5),
        finish_reason="tool",
        raw_finish_reason="stop",
        model="served-model",
        attributes={
            "server_seconds": 2.5,
            "load_seconds": 0.5,
            "prompt_seconds": 1.0,
            "answer_seconds": 0.25,
        },
        parts=(Reasoning("hm"), Text("hi"), ToolCall("f", '{"a":1}', id="c1")),
        logprobs=(TokenLogprob("hi", -0.5, (("ho", -1.0),)),),
    )


@pytest.mark.parametrize(
    ("reason", "finish"), [("stop", "stop"), ("length", "length"), ("load", "other")]
)
def test_finish_reasons_are_translated(reason: str, finish: str) -> None:
    """The API's own reason is kept beside ours."""
    response = verdict(answer(done_reason=reason)).response
    assert (response.finish_reason, response.raw_finish_reason) == (finish, reason)


@pytest.mark.parametrize("document", [None, [], {}, {"message": 3}, {"message": {}}])
def test_what_holds_no_answer_is_invalid(document: object) -> None:
    """JSON that holds no message is an invalid answer."""
    assert isinstance(verdict(document).error, errors.InvalidAnswer)


def test_labels_are_held() -> None:
    """A label is one of those given, and a cut one is `Truncated`."""
    labels = gp.Request("q", labels=["spam", "ham"])
    assert verdict(answer('{"label": "ham"}'), labels).response.text == "ham"
    assert isinstance(verdict(answer("none"), labels).error, errors.InvalidAnswer)
    assert isinstance(verdict(answer("{", done_reason="length"), labels).error, errors.Truncated)


TEXTS = st.text(max_size=12)
CALLS = st.lists(
    st.builds(lambda given: {"function": {"name": "f", "arguments": given}}, gps.json_objects(3)),
    max_size=2,
)
ANSWERS = st.builds(
    lambda text, thought, calls, reason: answer(
        message={"content": text, "thinking": thought, "tool_calls": calls}, done_reason=reason
    ),
    TEXTS,
    TEXTS,
    CALLS,
    st.sampled_from(["stop", "length"]),
)


@given(ANSWERS, st.integers(1, 5))
def test_the_lines_are_the_whole(whole: dict[str, Any], size: int) -> None:
    """However an answer is cut into lines, its response is that of the whole answer."""
    pieces = OllamaPieces()
    chunks = [chunk for each in lines_of(whole, size) if (chunk := pieces.take(each, ""))]
    expected = verdict(whole).response
    assert pieces.finished
    assert verdict(pieces.document()).response == expected
    assert "".join(chunk.text for chunk in chunks) == expected.text
    assert "".join(chunk.reasoning for chunk in chunks) == expected.reasoning
    assert pieces.usage == expected.usage


@given(ANSWERS, st.lists(st.integers(0, 600), max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_no_split_of_the_bytes_matters(whole: dict[str, Any], at: list[int], end: str) -> None:
    """Wherever the network cuts the bytes of a stream, the documents are the same."""
    data = b"".join(line(each, end) for each in lines_of(whole))
    cuts = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    decoder = NdjsonDecoder()
    found = [each for a, b in itertools.pairwise(cuts) for each in decoder.feed(data[a:b])]
    assert [json.loads(event.data) for event in found] == lines_of(whole)


def test_a_line_that_is_too_long_is_not_waited_for() -> None:
    """More than the limit of one line is not kept, whether it ends or not."""
    for piece in (b"x" * 11, b"x" * 11 + b"\n"):
        with pytest.raises(EventTooLarge, match="10 bytes"):
            NdjsonDecoder(limit=10).feed(piece)


@given(st.lists(gps.json_objects(), max_size=4))
def test_no_document_is_too_odd(documents: list[dict[str, Any]]) -> None:
    """No JSON makes the reader raise, and its whole has an outcome."""
    pieces = OllamaPieces()
    for document in documents:
        pieces.take(document, "")
        assert isinstance(verdict(document).response.text, str)
    assert isinstance(verdict(pieces.document()).response.text, str)


@pytest.mark.anyio
async def test_the_model_is_asked_with_its_settings(ollama: OllamaServer) -> None:
    """Context and time to live go with each call; an option of the request goes before."""
    model = Ollama("qwen3", base_url=ollama.url("ok"), context=8192, keep_alive="10m")
    await model(gp.Request("x", seed=1))
    sent = ollama.seen[-1].json
    assert (sent["model"], sent["keep_alive"]) == ("qwen3", "10m")
    assert sent["options"] == {"num_ctx": 8192, "seed": 1}
    await model(gp.Request("x", extra={"options": {"num_ctx": 99}}))
    assert ollama.seen[-1].json["options"] == {"num_ctx": 99}


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("status", "kind"),
    [(400, errors.InvalidRequest), (500, errors.ConnectionFailed), (503, errors.Overloaded)],
)
async def test_each_failure_is_told_apart(
    ollama: OllamaServer, status: int, kind: type[Exception]
) -> None:
    """The status decides on the error, and the server's text is quoted."""
    ollama.answers["failing"] = lambda _: http({"error": "so it is"}, status=f"{status} Status")
    model = Ollama("m", base_url=ollama.url("failing"))
    for attempt in (model(REQUEST), read(model)):
        with pytest.raises(errors.PipelineError, match=f"ollama 'm': {status}: so it is") as caught:
            await attempt
        assert type(caught.value) is kind


@pytest.mark.anyio
async def test_a_model_that_is_not_pulled_is_named(ollama: OllamaServer) -> None:
    """A missing model fails its request, and says which."""
    with pytest.raises(errors.InvalidRequest, match="model 'missing' not found"):
        await Ollama("missing", base_url=ollama.url("ok"))(REQUEST)


@pytest.mark.anyio
@pytest.mark.parametrize(
    ("way", "cause"),
    [
        ("stream-cut", errors.ConnectionFailed),
        ("stream-no-end", None),
        ("stream-failed", errors.ConnectionFailed),
    ],
)
async def test_what_breaks_off_is_interrupted(
    ollama: OllamaServer, way: str, cause: type[Exception] | None
) -> None:
    """After the first chunk a fault raises `StreamInterrupted`, with its cause and the text."""
    with pytest.raises(errors.StreamInterrupted) as caught:
        await read(Ollama("m", base_url=ollama.url(way)))
    assert caught.value.partial == "half"
    found = caught.value.__cause__
    assert found is None if cause is None else isinstance(found, cause)


@pytest.mark.anyio
async def test_an_odd_stream_is_read(ollama: OllamaServer) -> None:
    """Byte by byte, with CRLF, empty lines and characters that some take for line ends."""
    response = gp.join_chunks(await read(Ollama("m", base_url=ollama.url("stream-odd"))))
    assert response.text == "one\u2028line \u00e9t\u00e9\x85 \U0001f40d"
    assert response.usage == gp.Usage(input_tokens=10, output_tokens=5)


@pytest.mark.anyio
async def test_labels_cannot_be_streamed(ollama: OllamaServer) -> None:
    """A stream of labels is refused before anything is sent."""
    with pytest.raises(gp.ConfigurationError, match="cannot be streamed"):
        await read(Ollama("m", base_url=ollama.url("ok")), gp.Request("x", labels=["a", "b"]))
