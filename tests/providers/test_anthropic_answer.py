"""What messages mean: each outcome of Anthropic's Messages API, and each odd one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline import errors, parts
from genai_pipeline.providers._anthropic_answer import read_message, usage_of
from genai_pipeline.providers._dialect import Verdict
from genai_pipeline.testing import strategies as gps
from tests.servers.messages import USAGE, failure, message

ASK = gp.Request("q")
CHOICE = gp.Request("q", labels=["Alpha", "beta"])
DOCUMENT = gp.Request("q", schema={"type": "object", "required": ["a"]})
THOUGHT = {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"}
HIDDEN = {"type": "redacted_thinking", "data": "aGlkZGVu"}
CALL = {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bern"}}


def read(
    document: object, request: gp.Request = ASK, headers: dict[str, str] | None = None
) -> Verdict:
    return read_message(request, document, headers or {}, "anthropic 'm'")


def response(document: object, request: gp.Request = ASK) -> gp.Response:
    verdict = read(document, request)
    assert verdict.error is None
    return verdict.response


def test_a_text_is_answered() -> None:
    """A plain answer is its text, with the served model, the ids and the usage."""
    verdict = read(message("Bonjour", "!"), headers={"request-id": "req_9"})
    assert verdict == Verdict(
        gp.Response(
            "Bonjour!",
            usage=gp.Usage(input_tokens=17, output_tokens=5, cached_tokens=4, cache_write_tokens=3),
            finish_reason="stop",
            model="claude-served",
            request_id="req_9",
            raw_finish_reason="end_turn",
            attributes={"service_tier": "standard"},
        )
    )


def test_all_of_an_answer_is_in_its_parts() -> None:
    """Thoughts, hidden ones, texts and calls keep their order, and go back as one turn."""
    answer = response(message(THOUGHT, HIDDEN, "Let me see.", CALL, stop_reason="tool_use"))
    assert answer.parts == (
        parts.Reasoning("Hm.", signature="c2ln"),
        parts.Reasoning(signature="aGlkZGVu", hidden=True),
        parts.Text("Let me see."),
        parts.ToolCall("weather", '{"city":"Bern"}', id="toolu_1"),
    )
    assert (answer.text, answer.reasoning) == ("Let me see.", "Hm.")
    assert answer.finish_reason == "tool"
    assert answer.message.content == answer.parts


@pytest.mark.parametrize(
    ("raw", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool"),
        ("pause_turn", "other"),
        ("a_new_one", "other"),
        (None, "other"),
        (7, "other"),
    ],
)
def test_the_reason_of_the_end_is_in_our_words(raw: Any, finish: str) -> None:
    """Each stop reason has one of ours, and the raw one is kept."""
    answer = response(message("x", stop_reason=raw, stop_sequence="END"))
    assert answer.finish_reason == finish
    assert answer.raw_finish_reason == (raw if isinstance(raw, str) else None)
    assert answer.attributes["stop_sequence"] == "END"


def test_usage_counts_all_input() -> None:
    """The API counts what is cached beside; in our words it is a part of the input."""
    told = USAGE | {"output_tokens_details": {"thinking_tokens": 2}}
    assert usage_of(told) == gp.Usage(
        input_tokens=17,
        output_tokens=5,
        cached_tokens=4,
        cache_write_tokens=3,
        reasoning_tokens=2,
    )


@pytest.mark.parametrize("usage", [None, 3, [], "many"])
def test_missing_usage_is_told(usage: object) -> None:
    """Without usage the counts are zero, and the response says that they are not known."""
    answer = response(message("x", usage=usage))
    assert answer.usage == gp.Usage()
    assert answer.attributes["usage_missing"] is True


def test_what_the_server_adds_is_kept() -> None:
    """Tier, speed, place, tools of the server and its quota are told."""
    usage = USAGE | {
        "speed": "fast",
        "inference_geo": "us",
        "server_tool_use": {"web_search_requests": 1},
    }
    headers = {
        "anthropic-ratelimit-requests-remaining": "59",
        "anthropic-ratelimit-tokens-reset": "2026-11-23T12:00:00Z",
    }
    document = message("x", usage=usage, container={"id": "c1"})
    assert read(document, headers=headers).response.attributes == {
        "container": {"id": "c1"},
        "inference_geo": "us",
        "server_tool_use": {"web_search_requests": 1},
        "service_tier": "standard",
        "speed": "fast",
        "rate_limits": {"requests-remaining": 59.0, "tokens-reset": "2026-11-23T12:00:00Z"},
    }


def test_blocks_without_a_part_are_kept_as_they_came() -> None:
    """What tools of the server did, and citations, are told raw; the text is the answer."""
    search = {"type": "server_tool_use", "id": "s1", "name": "web_search", "input": {}}
    cited = {"type": "text", "text": "So it is.", "citations": [{"type": "x"}]}
    for blocks in ([search, {"type": "text", "text": "So it is."}], [cited]):
        answer = response(message(*blocks))
        assert answer.text == "So it is."
        assert answer.attributes["content"] == blocks


def test_a_refusal_says_why() -> None:
    """A refusal is its own outcome, with the API's explanation, and still counted."""
    details = {"type": "refusal", "category": "cyber", "explanation": "Not that."}
    verdict = read(message("I ", stop_reason="refusal", stop_details=details))
    assert isinstance(verdict.error, errors.Refused)
    assert str(verdict.error) == (
        "anthropic 'm': the model refused: cyber: Not that. (request msg_1)"
    )
    assert verdict.error.explanation == "cyber: Not that."
    assert verdict.response.usage.input_tokens == 17
    assert verdict.response.attributes["stop_details"] == details
    bare = read(message(stop_reason="refusal", stop_details=None)).error
    assert isinstance(bare, errors.Refused)
    assert str(bare) == "anthropic 'm': the model refused (request msg_1)"


def test_a_label_is_taken_out() -> None:
    """The text of the response is the label to the letter."""
    assert response(message('{"label": "Alpha"}'), CHOICE).text == "Alpha"
    assert isinstance(read(message("Gamma"), CHOICE).error, errors.InvalidAnswer)


def test_a_document_is_taken_out() -> None:
    """The text of the response is JSON with what the schema requires."""
    assert response(message(THOUGHT, ' {"a": 1}'), DOCUMENT).text == '{"a": 1}'
    for text in ('{"b": 1}', "no", "[]"):
        assert isinstance(read(message(text), DOCUMENT).error, errors.InvalidAnswer)


@pytest.mark.parametrize("request_", [CHOICE, DOCUMENT])
def test_a_cut_document_is_no_answer(request_: gp.Request) -> None:
    """At the output limit it is `Truncated`; where the model is full, no higher limit helps."""
    cut = read(message('{"a', stop_reason="max_tokens"), request_).error
    assert isinstance(cut, errors.Truncated)
    assert cut.partial == '{"a'
    full = read(message('{"a', stop_reason="model_context_window_exceeded"), request_).error
    assert isinstance(full, errors.ContextOverflow)


@pytest.mark.parametrize("request_", [CHOICE, DOCUMENT])
def test_a_tool_may_be_wanted_first(request_: gp.Request) -> None:
    """Where tools are given, a call comes before the label or the document."""
    assert response(message(CALL, stop_reason="tool_use"), request_).tool_calls


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ([], "the answer is no JSON object"),
        ("hello", "the answer is no JSON object"),
        ({}, "the answer holds no content"),
        ({"id": "msg_2", "content": None}, r"no content \(request msg_2\)"),
    ],
)
def test_what_is_no_message_is_no_answer(document: object, words: str) -> None:
    """JSON that is no message raises `InvalidAnswer`."""
    error = read(document).error
    with pytest.raises(errors.InvalidAnswer, match=words):
        raise error or AssertionError


def test_an_error_inside_a_success_is_an_error() -> None:
    """An error document with a status of success means what its type says."""
    error = read(failure("overloaded_error", "Overloaded")).error
    assert isinstance(error, errors.Overloaded)
    assert str(error) == "anthropic 'm': 529 overloaded_error: Overloaded (request req_1)"


LEAVES = st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=3)
NAMES = st.sampled_from(
    [
        *("id", "model", "content", "type", "text", "thinking", "signature", "data", "input"),
        *("name", "stop_reason", "stop_details", "usage", "input_tokens", "output_tokens"),
        *("output_tokens_details", "error", "citations", "category", "explanation"),
    ]
)
KINDS = st.sampled_from(["text", "thinking", "redacted_thinking", "tool_use", "error", "?"])
ANY = st.recursive(
    LEAVES | KINDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=5),
    max_leaves=15,
)


@given(st.dictionaries(NAMES, ANY, max_size=8) | ANY | gps.json_values())
def test_no_document_is_too_odd(document: Any) -> None:
    """No JSON makes the reader raise: it means a response, an error, or both."""
    for request in (ASK, CHOICE, DOCUMENT):
        verdict = read(document, request)
        assert isinstance(verdict.response.text, str)
        used = verdict.response.usage
        assert used.cached_tokens + used.cache_write_tokens <= used.input_tokens
        assert used.reasoning_tokens <= used.output_tokens
