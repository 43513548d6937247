"""Requests and answers of Chat Completions, as bytes."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.messages import TokenLogprob
from genai_pipeline.parts import Reasoning, Text
from genai_pipeline.providers._chat_profile import ChatProfile
from genai_pipeline.providers._chat_request import chat_body
from genai_pipeline.providers._dialect import Verdict
from tests.providers.chat_answers import read_answer
from tests.servers.chat import completion

FREE = gp.Request("q")
LABELLED = gp.Request("q", labels=("a", "b"))
SHAPED = gp.Request("q", schema={"type": "object"})


def body(request: gp.Request) -> Any:
    """Answer the body sent for *request*."""
    return json.loads(chat_body(request, model="m", profile=ChatProfile()))


def verdict(document: object, request: gp.Request = FREE) -> Verdict:
    """Answer what *document* means for *request*."""
    return read_answer(request, json.dumps(document).encode(), {}, "p 'm'")


def said(content: object, finish: object = "stop", **message: Any) -> dict[str, Any]:
    """Answer a completion with this content and finish reason."""
    told = {"role": "assistant", "content": content} | message
    return completion() | {"choices": [{"finish_reason": finish, "message": told}]}


def test_a_plain_request_sends_nothing_that_was_not_asked_for() -> None:
    """Only the model and the messages are sent by default."""
    assert body(FREE) == {"model": "m", "messages": [{"role": "user", "content": "q"}]}


def test_every_parameter_has_its_place() -> None:
    """System, limits, temperature and extras go where the API wants them."""
    request = gp.Request(
        [gp.Message("user", "q"), gp.Message("assistant", "a")],
        system="s",
        max_output_tokens=9,
        temperature=0.5,
        extra={"seed": 1},
    )
    assert body(request) == {
        "model": "m",
        "messages": [
            {"role": "system", "content": "s"},
            {"role": "user", "content": "q"},
            {"role": "assistant", "content": "a"},
        ],
        "max_tokens": 9,
        "temperature": 0.5,
        "seed": 1,
    }


def test_labels_become_a_strict_schema() -> None:
    """Labels are asked for as an object with one of them."""
    told = body(LABELLED)["response_format"]
    assert told["type"] == "json_schema"
    assert told["json_schema"]["strict"] is True
    assert told["json_schema"]["schema"]["properties"]["label"]["enum"] == ["a", "b"]


def test_a_schema_is_sent_as_it_is() -> None:
    """A schema the API cannot hold strictly is sent without strictness."""
    told = body(SHAPED)["response_format"]["json_schema"]
    assert told["schema"] == {"type": "object"}
    assert told["strict"] is False
    assert told["name"].startswith("schema_")


@pytest.mark.parametrize(
    ("request_", "name"),
    [
        (gp.Request("q", extra={"model": "x"}), "model"),
        (gp.Request("q", extra={"messages": []}), "messages"),
        (gp.Request("q", temperature=0, extra={"temperature": 1}), "temperature"),
        (gp.Request("q", labels=("a", "b"), extra={"response_format": {}}), "response_format"),
        (gp.Request("q", extra={"stream": True}), "stream"),
        (gp.Request("q", extra={"n": 2}), "n"),
    ],
)
def test_extras_override_nothing(request_: gp.Request, name: str) -> None:
    """An extra that collides with the request is an error that names it."""
    with pytest.raises(errors.ConfigurationError, match=rf"extra\['{name}'\]"):
        body(request_)


@given(st.text())
@example("half a pair: \ud83d")
def test_any_text_can_be_sent(text: str) -> None:
    """Every text, half a surrogate pair included, makes valid JSON that says the same."""
    assert body(gp.Request(text))["messages"][0]["content"] == text


def test_the_body_is_utf_8() -> None:
    """Text is sent as it is, not as escapes."""
    assert "\u2603".encode() in chat_body(gp.Request("\u2603"), model="m", profile=ChatProfile())


def test_an_answer_is_read_in_full() -> None:
    """Text, model, ids, reasons, tokens, cost and attributes are all taken over."""
    document = said("hi", "stop", reasoning="because") | {
        "service_tier": "default",
        "usage": {
            "prompt_tokens": 10,
            "completion_tokens": 5,
            "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 2},
            "completion_tokens_details": {"reasoning_tokens": 3},
            "cost": 0.0012,
        },
    }
    headers = {"x-request-id": "req-1", "x-ratelimit-remaining-tokens": "7"}
    found = read_answer(FREE, json.dumps(document).encode(), headers, "p 'm'")
    assert found.error is None
    assert found.response == gp.Response(
        "hi",
        usage=gp.Usage(
            input_tokens=10,
            output_tokens=5,
            cached_tokens=4,
            cache_write_tokens=2,
            reasoning_tokens=3,
            cost=Decimal("0.0012"),
        ),
        finish_reason="stop",
        raw_finish_reason="stop",
        model="served-model",
        request_id="req-1",
        attributes={
            "service_tier": "default",
            "rate_limits": {"remaining-tokens": 7.0},
        },
        parts=(Reasoning("because"), Text("hi")),
    )


@pytest.mark.parametrize(
    ("raw", "finish"),
    [
        ("stop", "stop"),
        (None, "stop"),
        ("", "stop"),
        ("eos", "stop"),
        ("length", "length"),
        ("MAX_TOKENS", "length"),
        ("tool_calls", "tool"),
        ("abort", "other"),
        (7, "stop"),
    ],
)
def test_finish_reasons_are_translated(raw: object, finish: str) -> None:
    """The many words of servers become the few of ours; theirs is kept beside."""
    response = verdict(said("x", raw)).response
    assert response.finish_reason == finish
    assert response.raw_finish_reason == (raw if isinstance(raw, str) else None)


def test_scores_of_tokens_are_kept() -> None:
    """How likely each token was is told, and the likeliest in its place; odd figures are -inf."""
    document = said("x")
    other = {"token": "y", "logprob": -2}
    document["choices"][0]["logprobs"] = {
        "content": [
            {"token": "x", "logprob": -0.5, "top_logprobs": [other]},
            {"token": "z", "logprob": "much"},
        ]
    }
    assert verdict(document).response.logprobs == (
        TokenLogprob("x", -0.5, (("y", -2.0),)),
        TokenLogprob("z", -math.inf),
    )


def test_content_in_parts_is_joined() -> None:
    """A list of parts gives the text of its text parts."""
    parts = [{"type": "text", "text": "a"}, {"type": "thinking", "text": "no"}, {"text": "b"}, 3]
    assert verdict(said(parts)).response.text == "ab"


def test_a_missing_usage_is_said_to_be_missing() -> None:
    """No usage counts as nothing, and the attributes say that it was not told."""
    document = completion()
    del document["usage"]
    response = verdict(document).response
    assert response.usage == gp.Usage()
    assert response.attributes == {"usage_missing": True}


@pytest.mark.parametrize("bad", [None, -1, "3", "three", True, 1e300, [], float("nan")])
def test_tokens_that_make_no_sense_count_as_none(bad: object) -> None:
    """Usage is made of whole numbers, zero or more, whatever the server writes."""
    document = completion() | {
        "usage": {"prompt_tokens": bad, "completion_tokens": bad, "cost": bad}
    }
    usage = verdict(document).response.usage
    assert (usage.input_tokens, usage.output_tokens) == (0, 0)
    assert usage.cost is None or usage.cost >= 0


def test_parts_of_usage_never_exceed_the_whole() -> None:
    """Cached and reasoning tokens stay subsets where a gateway counts them beside."""
    document = completion() | {
        "usage": {
            "prompt_tokens": 3,
            "completion_tokens": 2,
            "prompt_tokens_details": {"cached_tokens": 50, "cache_write_tokens": 50},
            "completion_tokens_details": {"reasoning_tokens": 70},
        }
    }
    usage = verdict(document).response.usage
    assert (usage.cached_tokens, usage.cache_write_tokens, usage.reasoning_tokens) == (3, 0, 2)


@pytest.mark.parametrize(
    ("document", "request_", "kind"),
    [
        ([], FREE, errors.InvalidAnswer),
        ({}, FREE, errors.InvalidAnswer),
        ({"choices": []}, FREE, errors.InvalidAnswer),
        ({"choices": ["x"]}, FREE, errors.InvalidAnswer),
        (said(None), FREE, errors.InvalidAnswer),
        ({"choices": [{}], "id": 3}, FREE, errors.InvalidAnswer),
        (said("x", "content_filter"), FREE, errors.Refused),
        (said(None, refusal="I will not"), FREE, errors.Refused),
        (said('{"label": "c"}'), LABELLED, errors.InvalidAnswer),
        (said('{"lab', "length"), LABELLED, errors.Truncated),
        (said("prose"), SHAPED, errors.InvalidAnswer),
        (said("{", "length"), SHAPED, errors.Truncated),
        ({"error": {"code": 429, "message": "slow"}}, FREE, errors.RateLimited),
        ({"error": {"message": "?"}}, FREE, errors.ConnectionFailed),
        ({"error": "out of memory"}, FREE, errors.ConnectionFailed),
        ({"choices": [{"error": {"code": "502"}}]}, FREE, errors.ConnectionFailed),
        ({"error": {"code": "insufficient_quota"}}, FREE, errors.QuotaExhausted),
    ],
)
def test_what_is_no_answer_is_an_error(
    document: object, request_: gp.Request, kind: type[Exception]
) -> None:
    """Each way of a 200 to be no answer has its error."""
    assert type(verdict(document, request_).error) is kind


@pytest.mark.parametrize(
    ("document", "text", "finish"),
    [
        (said("cut", "length"), "cut", "length"),
        (said(None, "length"), "", "length"),
        (said(None, "tool_calls", tool_calls=[{"id": "1"}]), "", "tool"),
        (said(""), "", "stop"),
        (completion() | {"error": None}, "hello", "stop"),
    ],
)
def test_what_is_odd_and_yet_an_answer(document: object, text: str, finish: str) -> None:
    """Cut, empty and tool answers to a free request are responses that say so."""
    found = verdict(document)
    assert found.error is None
    assert (found.response.text, found.response.finish_reason) == (text, finish)


def test_labels_and_documents_are_taken_out_of_their_dress() -> None:
    """The text of a response is the label, or the bare JSON document."""
    assert verdict(said('{"label": "b"}'), LABELLED).response.text == "b"
    assert verdict(said('```json\n{"x": 1}\n```'), SHAPED).response.text == '{"x": 1}'


def test_a_refusal_keeps_its_words_and_a_cut_its_part() -> None:
    """`Refused.explanation` and `Truncated.partial` carry what arrived."""
    refused = verdict(said(None, refusal="I will not")).error
    assert isinstance(refused, errors.Refused)
    assert refused.explanation == "I will not"
    cut = verdict(said('{"lab', "length"), LABELLED).error
    assert isinstance(cut, errors.Truncated)
    assert cut.partial == '{"lab'


@pytest.mark.parametrize(
    ("raw", "words"),
    [
        (b"", "is empty"),
        (b"  \n", "is empty"),
        (b"<html>login</html>", "is no JSON (text/html); it begins '<html>login</html>'"),
        (b"\xff\x00", "is no JSON"),
    ],
)
def test_a_body_that_is_no_json_is_quoted(raw: bytes, words: str) -> None:
    """The error says what came instead."""
    error = read_answer(FREE, raw, {"content-type": "text/html"}, "p 'm'").error
    assert isinstance(error, errors.InvalidAnswer)
    assert words in str(error)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(
        st.sampled_from([
            "choices", "message", "content", "usage", "error", "finish_reason", "refusal",
            "prompt_tokens", "cost", "id", "model", "code", "completion_tokens_details", "text",
        ]),
        inner,
        max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip


@given(JSON, st.sampled_from([FREE, LABELLED, SHAPED]))
def test_every_document_has_an_outcome(document: object, request_: gp.Request) -> None:
    """No JSON makes the reader raise; the outcome is a response or one of our errors."""
    found = verdict(document, request_)
    assert isinstance(found.response.text, str)
    assert found.error is None or isinstance(found.error, errors.PipelineError)


@given(st.binary(max_size=100))
def test_all_bytes_have_an_outcome(raw: bytes) -> None:
    """No bytes make the reader raise."""
    assert isinstance(read_answer(FREE, raw, {}, "p"), Verdict)
