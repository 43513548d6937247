"""What Gemini answers, whole and in fragments."""

from __future__ import annotations

import itertools
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.messages import TokenLogprob
from genai_pipeline.parts import Reasoning, Text, ToolCall
from genai_pipeline.providers._dialect import Verdict
from genai_pipeline.providers._gemini_answer import read_content
from genai_pipeline.providers._gemini_pieces import ContentPieces
from genai_pipeline.providers._sse import SseDecoder
from genai_pipeline.testing import strategies as gps
from tests.servers.gemini import answer, failure, fragments, sse

ASK = gp.Request("q")
CALL = {"functionCall": {"id": "c1", "name": "f", "args": {"a": 1}}, "thoughtSignature": "c2ln"}


def verdict(document: object, request: gp.Request = ASK) -> Verdict:
    return read_content(request, document, "gemini 'm'")


def test_an_answer_is_read_in_full() -> None:
    """Text, thoughts, signatures, calls, model, id and tokens are all taken over."""
    usage = {
        "promptTokenCount": 10,
        "toolUsePromptTokenCount": 2,
        "cachedContentTokenCount": 4,
        "candidatesTokenCount": 5,
        "thoughtsTokenCount": 3,
        "serviceTier": "flex",
    }
    thought = {"text": "hm", "thought": True, "thoughtSignature": "dGg="}
    found = verdict(answer(thought, "hi", CALL, {"executableCode": {}}, usageMetadata=usage))
    assert found.error is None
    assert found.response == gp.Response(
        "hi",
        usage=gp.Usage(input_tokens=12, output_tokens=8, cached_tokens=4, reasoning_tokens=3),
        finish_reason="tool",
        raw_finish_reason="STOP",
        model="gemini-served",
        request_id="resp-1",
        attributes={"service_tier": "flex"},
        parts=(
            Reasoning("hm", signature="dGg="),
            Text("hi"),
            ToolCall("f", '{"a":1}', id="c1", signature="c2ln"),
        ),
    )


def test_plain_text_has_no_parts() -> None:
    """An answer of text alone is its text."""
    response = verdict(answer("a", "b")).response
    assert (response.text, response.parts) == ("ab", ())


def test_a_missing_usage_is_noted() -> None:
    """An answer without usage says so, and counts nothing."""
    response = verdict(answer("a", usageMetadata=None)).response
    assert response.usage == gp.Usage()
    assert response.attributes == {"usage_missing": True}


@pytest.mark.parametrize(
    ("reason", "finish"),
    [("STOP", "stop"), ("MAX_TOKENS", "length"), ("OTHER", "other"), ("NEW_ONE", "other")],
)
def test_finish_reasons_are_translated(reason: str, finish: str) -> None:
    """The API's own reason is kept beside ours."""
    found = verdict(answer("x", reason=reason))
    assert found.error is None
    assert (found.response.finish_reason, found.response.raw_finish_reason) == (finish, reason)


@pytest.mark.parametrize("reason", ["SAFETY", "RECITATION", "PROHIBITED_CONTENT", "SPII"])
def test_what_a_filter_stopped_is_refused(reason: str) -> None:
    """An answer that was stopped for its content is `Refused`, and tells why."""
    found = verdict(answer(reason=reason))
    assert isinstance(found.error, errors.Refused)
    assert reason in str(found.error)
    assert found.response.finish_reason == "filter"


def test_a_blocked_prompt_is_refused() -> None:
    """A prompt that is blocked has no candidates and a status of success; what it used counts."""
    blocked = {
        "promptFeedback": {"blockReason": "SAFETY"},
        "usageMetadata": {"promptTokenCount": 3},
    }
    found = verdict(blocked)
    assert isinstance(found.error, errors.Refused)
    assert "blocked (SAFETY)" in str(found.error)
    assert found.response.usage.input_tokens == 3


@pytest.mark.parametrize(
    "reason", ["MALFORMED_FUNCTION_CALL", "MALFORMED_RESPONSE", "MISSING_THOUGHT_SIGNATURE"]
)
def test_an_answer_gone_wrong_is_invalid(reason: str) -> None:
    """What the model wrote in no proper form is an invalid answer, which may be asked for again."""
    assert isinstance(verdict(answer(reason=reason)).error, errors.InvalidAnswer)


@pytest.mark.parametrize("document", [None, [], "x", {}, {"candidates": []}, {"candidates": [3]}])
def test_what_holds_no_answer_is_invalid(document: object) -> None:
    """JSON that holds no candidate is an invalid answer."""
    assert isinstance(verdict(document).error, errors.InvalidAnswer)


def test_labels_and_schemas_are_held() -> None:
    """A label is one of those given, a document is of the schema, a cut one is `Truncated`."""
    labels = gp.Request("q", labels=["spam", "ham"])
    assert verdict(answer('{"label": "ham"}'), labels).response.text == "ham"
    assert isinstance(verdict(answer("none"), labels).error, errors.InvalidAnswer)
    cut = verdict(answer('{"lab', reason="MAX_TOKENS"), labels)
    assert isinstance(cut.error, errors.Truncated)
    schema = gp.Request("q", schema={"type": "object", "required": ["a"]})
    assert verdict(answer('```json\n{"a": 1}\n```'), schema).response.text == '{"a": 1}'


def test_scores_of_tokens_are_kept() -> None:
    """The chosen tokens come with their scores and the likeliest in their place."""
    document = answer("ab")
    document["candidates"][0]["logprobsResult"] = {
        "chosenCandidates": [{"token": "a", "logProbability": -0.5}, {"token": "b"}],
        "topCandidates": [{"candidates": [{"token": "c", "logProbability": "?"}]}],
    }
    assert verdict(document).response.logprobs == (
        TokenLogprob("a", -0.5, (("c", -math.inf),)),
        TokenLogprob("b", 0.0),
    )


def test_an_error_with_a_status_of_success_is_one() -> None:
    """A document that is an error raises it, whatever its status was."""
    found = verdict(failure(503, "UNAVAILABLE", "overloaded"))
    assert isinstance(found.error, errors.Overloaded)


TEXTS = st.text(min_size=1, max_size=12)
SIGNED = st.none() | st.just("c2ln")
PARTS = st.one_of(
    st.builds(lambda text: {"text": text}, TEXTS),
    st.builds(lambda text: {"text": text, "thought": True}, TEXTS),
    st.builds(lambda text: {"text": text, "thoughtSignature": "c2ln"}, TEXTS),
    st.builds(lambda given: {"functionCall": {"name": "f", "args": given}}, gps.json_objects(3)),
    st.just(CALL),
    st.just({"inlineData": {"mimeType": "image/png", "data": ""}}),
)


@st.composite
def answers(draw: st.DrawFn) -> dict[str, Any]:
    """Draw answers as the API makes them: what can be one part is one."""
    parts: list[dict[str, Any]] = []
    for part in draw(st.lists(PARTS, max_size=5)):
        last = parts[-1] if parts else {}
        plain = "text" in part and "text" in last and "thoughtSignature" not in last
        if not (plain and part.get("thought") == last.get("thought")):
            parts.append(part)
    reason = draw(st.sampled_from(["STOP", "MAX_TOKENS", "OTHER"]))
    return answer(*parts, reason=reason)


@given(answers(), st.integers(1, 5))
def test_the_fragments_are_the_whole(whole: dict[str, Any], size: int) -> None:
    """However an answer is cut into fragments, its response is that of the whole answer."""
    pieces = ContentPieces()
    chunks = [chunk for each in fragments(whole, size) if (chunk := pieces.take(each, ""))]
    expected = verdict(whole).response
    assert pieces.finished
    assert verdict(pieces.document()).response == expected
    assert "".join(chunk.text for chunk in chunks) == expected.text
    assert "".join(chunk.reasoning for chunk in chunks) == expected.reasoning
    assert pieces.usage == expected.usage


@given(answers(), st.lists(st.integers(0, 400), max_size=8), st.sampled_from(["\n", "\r\n", "\r"]))
def test_no_split_of_the_bytes_matters(whole: dict[str, Any], at: list[int], end: str) -> None:
    """Wherever the network cuts the bytes of a stream, the events are the same."""
    data = b"".join(sse(each, end) for each in fragments(whole))
    cuts = sorted({0, len(data), *(place % (len(data) + 1) for place in at)})
    decoder = SseDecoder()
    events = [e for a, b in itertools.pairwise(cuts) for e in decoder.feed(data[a:b])]
    events += decoder.feed(b"\n\n")
    assert [json.loads(event.data) for event in events if event.data] == fragments(whole)


@given(st.lists(gps.json_objects(), max_size=4) | st.lists(answers(), max_size=2))
def test_no_document_is_too_odd(documents: list[dict[str, Any]]) -> None:
    """No JSON makes the reader raise, and its whole has an outcome."""
    pieces = ContentPieces()
    for document in documents:
        pieces.take(document, "")
        assert isinstance(verdict(document).response.text, str)
    assert isinstance(verdict(pieces.document()).response.text, str)


def test_a_blocked_prompt_is_whole() -> None:
    """A stream that only says that the prompt is blocked has ended, and is refused."""
    pieces = ContentPieces()
    assert pieces.take({"promptFeedback": {"blockReason": "OTHER"}}, "") is None
    assert pieces.finished
    assert isinstance(verdict(pieces.document()).error, errors.Refused)
