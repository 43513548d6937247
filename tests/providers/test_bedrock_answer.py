"""What Bedrock answers, whole and in events."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.parts import Reasoning, Text, ToolCall
from genai_pipeline.providers._bedrock_answer import read_converse
from genai_pipeline.providers._bedrock_pieces import ConversePieces
from genai_pipeline.providers._dialect import Verdict
from genai_pipeline.testing import strategies as gps
from tests.servers.bedrock import converse, events_of

ASK = gp.Request("q")
USE = {"toolUse": {"toolUseId": "t1", "name": "f", "input": {"a": 1}}}
THOUGHT = {"reasoningContent": {"reasoningText": {"text": "hm", "signature": "c2ln"}}}
HIDDEN = {"reasoningContent": {"redactedContent": "c2VhbA=="}}


def verdict(document: object, request: gp.Request = ASK) -> Verdict:
    return read_converse(request, document, {"x-amzn-requestid": "req-1"}, "bedrock 'm'")


def test_an_answer_is_read_in_full() -> None:
    """Text, thoughts, calls, tokens, id, tier and times are all taken over."""
    usage = {
        "inputTokens": 10,
        "outputTokens": 5,
        "cacheReadInputTokens": 4,
        "cacheWriteInputTokens": 2,
    }
    document = converse(
        THOUGHT,
        HIDDEN,
        "hi",
        USE,
        {"video": {}},
        reason="tool_use",
        usage=usage,
        serviceTier={"type": "flex"},
    )
    found = verdict(document)
    assert found.error is None
    assert found.response == gp.Response(
        "hi",
        usage=gp.Usage(input_tokens=16, output_tokens=5, cached_tokens=4, cache_write_tokens=2),
        finish_reason="tool",
        raw_finish_reason="tool_use",
        request_id="req-1",
        attributes={"serviceTier": {"type": "flex"}, "server_seconds": 0.25},
        parts=(
            Reasoning("hm", signature="c2ln"),
            Reasoning(signature="c2VhbA==", hidden=True),
            Text("hi"),
            ToolCall("f", '{"a":1}', id="t1"),
        ),
    )


def test_plain_text_has_no_parts() -> None:
    """An answer of text alone is its text; a missing usage is noted."""
    response = verdict(converse("a", "b", usage=None)).response
    assert (response.text, response.parts) == ("ab", ())
    assert response.attributes["usage_missing"] is True


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("new_reason", "other"),
    ],
)
def test_finish_reasons_are_translated(reason: str, finish: str) -> None:
    """The API's own reason is kept beside ours."""
    found = verdict(converse("x", reason=reason))
    assert found.error is None
    assert (found.response.finish_reason, found.response.raw_finish_reason) == (finish, reason)


@pytest.mark.parametrize("reason", ["guardrail_intervened", "content_filtered"])
def test_what_a_guardrail_stopped_is_refused(reason: str) -> None:
    """An answer that a guardrail or a filter put in another's place is `Refused`, with its text."""
    found = verdict(converse("I may not say.", reason=reason))
    assert isinstance(found.error, errors.Refused)
    assert "I may not say." in str(found.error)


@pytest.mark.parametrize("reason", ["malformed_model_output", "malformed_tool_use"])
def test_an_answer_gone_wrong_is_invalid(reason: str) -> None:
    """What the model wrote in no proper form is an invalid answer, which may be asked for again."""
    assert isinstance(verdict(converse("x", reason=reason)).error, errors.InvalidAnswer)


@pytest.mark.parametrize("document", [None, [], "x", {}, {"output": 3}, {"output": {}}])
def test_what_holds_no_answer_is_invalid(document: object) -> None:
    """JSON that holds no message is an invalid answer."""
    assert isinstance(verdict(document).error, errors.InvalidAnswer)


def test_labels_and_schemas_are_held() -> None:
    """A label is one of those given, a document is of the schema, a cut one is `Truncated`."""
    labels = gp.Request("q", labels=["spam", "ham"])
    assert verdict(converse('{"label": "ham"}'), labels).response.text == "ham"
    assert isinstance(verdict(converse("none"), labels).error, errors.InvalidAnswer)
    cut = verdict(converse('{"lab', reason="max_tokens"), labels)
    assert isinstance(cut.error, errors.Truncated)


TEXTS = st.text(min_size=1, max_size=12)
BLOCKS = st.one_of(
    st.builds(lambda text: {"text": text}, TEXTS),
    st.builds(
        lambda text: {"reasoningContent": {"reasoningText": {"text": text, "signature": "s"}}},
        TEXTS,
    ),
    st.builds(
        lambda given: {"toolUse": {"toolUseId": "t", "name": "f", "input": given}},
        gps.json_objects(3),
    ),
    st.just(HIDDEN),
)
ANSWERS = st.builds(
    lambda blocks, reason: converse(*blocks, reason=reason),
    st.lists(BLOCKS, max_size=4),
    st.sampled_from(["end_turn", "max_tokens", "tool_use"]),
)


@given(ANSWERS, st.integers(1, 5))
def test_the_events_are_the_whole(whole: dict[str, Any], size: int) -> None:
    """However an answer is cut into events, its response is that of the whole answer."""
    pieces = ConversePieces()
    events = events_of(whole, size)
    chunks = [chunk for name, each in events if (chunk := pieces.take(each, name))]
    expected = verdict(whole).response
    assert pieces.finished
    assert verdict(pieces.document()).response == expected
    assert "".join(chunk.text for chunk in chunks) == expected.text
    assert "".join(chunk.reasoning for chunk in chunks) == expected.reasoning
    assert pieces.usage == expected.usage


NAMES = st.sampled_from(
    ["messageStart", "contentBlockStart", "contentBlockDelta", "messageStop", "metadata", "x"]
)


@given(st.lists(st.tuples(NAMES, gps.json_objects()), max_size=5), gps.json_objects())
def test_no_document_is_too_odd(events: list[tuple[str, Any]], document: dict[str, Any]) -> None:
    """No JSON makes the reader raise, and its whole has an outcome."""
    pieces = ConversePieces()
    for name, event in events:
        pieces.take(event, name)
    assert isinstance(verdict(pieces.document()).response.text, str)
    assert isinstance(verdict(document).response.text, str)


def test_a_call_that_was_cut_keeps_its_text() -> None:
    """The arguments of a call that was cut at the limit are what came of them."""
    pieces = ConversePieces()
    pieces.take({"start": {"toolUse": {"name": "f", "toolUseId": "t"}}}, "contentBlockStart")
    pieces.take({"delta": {"toolUse": {"input": '{"a'}}}, "contentBlockDelta")
    pieces.take({"stopReason": "max_tokens"}, "messageStop")
    (call,) = verdict(pieces.document()).response.tool_calls
    assert call == ToolCall("f", '{"a', id="t")
