"""Requests and answers of OpenAI's Responses API, as documents."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.messages import TokenLogprob
from genai_pipeline.parts import Audio, File, Image, Part, Reasoning, Text, ToolCall, ToolResult
from genai_pipeline.providers import OpenAIResponses
from genai_pipeline.providers._dialect import Verdict
from genai_pipeline.providers._responses_answer import read_response
from genai_pipeline.providers._responses_request import Asked, count_body, response_body
from tests.servers.responses import message_item, response_document

FREE = gp.Request("q")
LABELLED = gp.Request("q", labels=("a", "b"))
SHAPED = gp.Request("q", schema={"type": "object"})
CALL = ToolCall("weather", '{"city":"Oslo"}', id="call_1")
CALL_ITEM = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "call_1",
    "name": "weather",
    "arguments": '{"city":"Oslo"}',
}


def body(request: gp.Request, **asked: Any) -> dict[str, Any]:
    """Answer the body sent for *request*."""
    return response_body(request, Asked("m", **asked), "openai 'm'")


def verdict(document: object, request: gp.Request = FREE) -> Verdict:
    """Answer what *document* means for *request*."""
    return read_response(request, document, {}, "openai 'm'")


def thought(*texts: str, **more: Any) -> dict[str, Any]:
    """Answer an item of reasoning, summarised in *texts*."""
    summary = [{"type": "summary_text", "text": text} for text in texts]
    return {"type": "reasoning", "id": "rs_1", "summary": summary} | more


def test_a_plain_request_is_not_stored() -> None:
    """Only the model and the messages are sent by default, and the wish that nothing be kept."""
    assert body(FREE) == {
        "model": "m",
        "input": [{"role": "user", "content": "q"}],
        "store": False,
    }
    assert body(FREE, stored=True)["store"] is True


def test_every_option_has_its_field() -> None:
    """Instructions, limits, sampling, reasoning, scores and tools go where the API wants them."""
    request = gp.Request(
        "q",
        system="s",
        max_output_tokens=99,
        temperature=0.5,
        top_p=0.9,
        reasoning_effort="low",
        logprobs=2,
        tools=[gp.Tool("weather", "Tell it.", strict=True), gp.Tool("clock")],
        tool_choice="weather",
        labels=("a", "b"),
    )
    nothing = {"type": "object", "properties": {}}
    sent = body(request, summary="auto")
    form = sent.pop("text")["format"]
    assert (form["type"], form["name"], form["strict"]) == ("json_schema", "label", True)
    assert form["schema"]["properties"]["label"]["enum"] == ["a", "b"]
    assert sent == {
        "model": "m",
        "input": [{"role": "user", "content": "q"}],
        "store": False,
        "instructions": "s",
        "max_output_tokens": 99,
        "temperature": 0.5,
        "top_p": 0.9,
        "reasoning": {"effort": "low", "summary": "auto"},
        "top_logprobs": 2,
        "include": ["message.output_text.logprobs"],
        "tools": [
            {
                "type": "function",
                "name": "weather",
                "description": "Tell it.",
                "parameters": nothing,
                "strict": True,
            },
            {"type": "function", "name": "clock", "parameters": nothing, "strict": False},
        ],
        "tool_choice": {"type": "function", "name": "weather"},
    }


@pytest.mark.parametrize(
    ("part", "sent"),
    [
        (Text("a"), {"type": "input_text", "text": "a"}),
        (
            Image(url="https://x.example/a.png"),
            {"type": "input_image", "image_url": "https://x.example/a.png", "detail": "auto"},
        ),
        (
            Image(data=b"\x89PNG", detail="high"),
            {
                "type": "input_image",
                "image_url": "data:image/png;base64,iVBORw==",
                "detail": "high",
            },
        ),
        (File(id="file-1"), {"type": "input_file", "file_id": "file-1"}),
        (
            File(url="https://x.example/a.pdf"),
            {"type": "input_file", "file_url": "https://x.example/a.pdf"},
        ),
        (
            File(data=b"%PDF", name="a.pdf"),
            {
                "type": "input_file",
                "filename": "a.pdf",
                "file_data": "data:application/pdf;base64,JVBERg==",
            },
        ),
    ],
)
def test_each_part_has_its_form(part: Part, sent: dict[str, Any]) -> None:
    """Texts, pictures and files of the user's go as the API wants them."""
    request = gp.Request(gp.Message("user", [part]))
    assert body(request)["input"] == [{"role": "user", "content": [sent]}]


def test_an_answer_goes_back_as_it_came() -> None:
    """Reasoning with its seal, messages with their phase and calls are the items they were."""
    items = [
        thought("First.", "Then.", encrypted_content="sealed"),
        message_item("I look.", phase="commentary"),
        CALL_ITEM,
    ]
    response = verdict(response_document(*items)).response
    turns = [gp.Message("user", "q"), response.message]
    assert response.finish_reason == "tool"
    assert response.parts == (
        Reasoning("First.", signature="sealed", id="rs_1"),
        Reasoning("Then.", id="rs_1"),
        Text("I look.", signature="commentary"),
        CALL,
    )
    result = gp.Message("tool", ToolResult.to(CALL, "rain"))
    assert body(gp.Request([*turns, result]))["input"] == [
        {"role": "user", "content": "q"},
        items[0],
        {"role": "assistant", "content": "I look.", "phase": "commentary"},
        {name: value for name, value in CALL_ITEM.items() if name != "id"},
        {"type": "function_call_output", "call_id": "call_1", "output": "rain"},
    ]


def test_sealed_reasoning_alone_goes_back() -> None:
    """Reasoning of which there is no text keeps its seal; without one nobody could read it."""
    document = response_document(thought(encrypted_content="sealed"), message_item("hi"))
    response = verdict(document).response
    assert response.parts[0] == Reasoning(signature="sealed", id="rs_1", hidden=True)
    sent = body(gp.Request([gp.Message("user", "q"), response.message, gp.Message("user", "r")]))
    assert sent["input"][1] == thought(encrypted_content="sealed")
    turn = gp.Message("assistant", [Reasoning("hm", id="rs_1"), Text("hi")])
    said = {"role": "assistant", "content": "hi"}
    assert body(gp.Request([turn]))["input"] == [said]
    assert body(gp.Request([turn]), stored=True)["input"] == [thought("hm"), said]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (gp.Request("q", seed=1), "seed=1; this API has no such parameter"),
        (gp.Request("q", stop="x"), r"stop=\('x',\); this API has no such parameter"),
        (gp.Request(gp.Message("user", [Audio(data=b"x")])), "message 0 holds Audio"),
        (
            gp.Request(gp.Message("user", [Image(url="s3://b/a.png")])),
            "reads https:// and http:// alone",
        ),
        (gp.Request(gp.Message("tool", ToolResult("42"))), "ToolResult: '' has no id"),
        (gp.Request("q", extra={"stream": True}), r"extra\['stream'\]"),
        (gp.Request("q", extra={"background": True}), r"extra\['background'\]"),
        (gp.Request("q", extra={"store": True}), r"extra\['store'\]=True would override"),
        (gp.Request("q", system="s", extra={"instructions": "t"}), r"extra\['instructions'\]"),
        (gp.Request("q", labels=("a", "b"), extra={"text": {"format": 1}}), "'text'"),
        (gp.Request("q", reasoning_effort="low", extra={"reasoning": {"effort": "high"}}), "'reas"),
    ],
)
def test_what_the_api_cannot_do_is_refused(request_: gp.Request, words: str) -> None:
    """What has no field there, or is said twice, is an error that names it; nothing is left out."""
    with pytest.raises(gp.ConfigurationError, match=words):
        body(request_)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"store": 1}, "store=1; give True or False"),
        ({"reasoning_summary": "long"}, "reasoning_summary='long'; give one of 'auto', 'concise'"),
        ({"name": ""}, "name"),
        ({"base_url": "http://model.example/v1"}, "unencrypted"),
    ],
)
def test_a_wrong_option_is_told_when_built(options: dict[str, Any], words: str) -> None:
    """Each option that cannot work raises at once, naming itself and what is allowed."""
    with pytest.raises(gp.ConfigurationError, match=words):
        OpenAIResponses("m", **options)


def test_the_key_of_the_environment_goes_to_openai_alone() -> None:
    """OpenAI's own hosts get the key in ``OPENAI_API_KEY``, and others none."""
    assert OpenAIResponses("m")._key() is not None
    assert OpenAIResponses("m", base_url="https://gateway.example/v1")._key() is None


def test_labels_are_not_streamed() -> None:
    """Which label it is shows at the end alone."""
    with pytest.raises(gp.ConfigurationError, match="cannot be streamed"):
        response_body(LABELLED, Asked("m"), "p", streamed=True)


def test_extras_join_what_is_there() -> None:
    """Further fields of objects, and further things to include, go beside our own."""
    extra = {
        "reasoning": {"context": "all_turns"},
        "include": ["web_search_call.results"],
        "text": {"verbosity": "low"},
        "previous_response_id": "resp_0",
    }
    request = gp.Request("q", reasoning_effort="low", logprobs=1, schema={}, extra=extra)
    sent = body(request)
    assert sent["reasoning"] == {"effort": "low", "context": "all_turns"}
    assert sent["include"] == ["message.output_text.logprobs", "web_search_call.results"]
    assert set(sent["text"]) == {"format", "verbosity"}
    assert sent["previous_response_id"] == "resp_0"


def test_counting_asks_for_input_alone() -> None:
    """What says how to answer is left out of the question of how long the input is."""
    request = gp.Request(
        "q", system="s", max_output_tokens=9, temperature=0, tools=[gp.Tool("clock")]
    )
    sent = count_body(request, Asked("m"), "p")
    assert sorted(sent) == ["input", "instructions", "model", "tools"]


def test_an_answer_is_read_in_full() -> None:
    """Text, model, ids, tokens and attributes are all taken over."""
    found = read_response(
        FREE,
        response_document(message_item("a", "b"), service_tier="default"),
        {"x-request-id": "req-1", "x-ratelimit-remaining-tokens": "7"},
        "p",
    )
    assert found.error is None
    assert found.response == gp.Response(
        "ab",
        usage=gp.Usage(
            input_tokens=10,
            output_tokens=5,
            cached_tokens=4,
            cache_write_tokens=2,
            reasoning_tokens=3,
        ),
        finish_reason="stop",
        raw_finish_reason="completed",
        model="served-model",
        request_id="req-1",
        attributes={
            "service_tier": "default",
            "response_id": "resp_1",
            "rate_limits": {"remaining-tokens": 7.0},
        },
    )


def test_commentary_is_no_answer() -> None:
    """The text is that of the final answer; what was said on the way is among the parts."""
    items = [message_item("I look.", phase="commentary"), message_item("42", phase="final_answer")]
    response = verdict(response_document(*items), SHAPED).response
    assert response.text == "42"
    assert [part.text for part in response.parts if isinstance(part, Text)] == ["I look.", "42"]


def test_scores_and_notes_are_kept() -> None:
    """How likely each token was is told, and what the text cites."""
    score = {"token": "x", "logprob": -0.5, "top_logprobs": [{"token": "y", "logprob": -2}]}
    part = {"type": "output_text", "text": "x", "annotations": [{"type": "url_citation"}]}
    item = message_item(content=[{**part, "logprobs": [score]}])
    response = verdict(response_document(item)).response
    assert response.logprobs == (TokenLogprob("x", -0.5, (("y", -2.0),)),)
    assert response.attributes["annotations"] == [{"type": "url_citation"}]


def test_items_that_are_not_known_are_passed_over() -> None:
    """What a built-in tool did is no part of the answer; the output that tells of it is kept."""
    search = {"type": "web_search_call", "id": "ws_1", "status": "completed"}
    response = verdict(response_document(search, message_item("hi"))).response
    assert (response.text, response.parts) == ("hi", ())
    assert response.attributes["output"][0] == search


@pytest.mark.parametrize(
    ("more", "finish", "raw"),
    [
        ({}, "stop", "completed"),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}},
            "length",
            "max_output_tokens",
        ),
        ({"status": "incomplete", "incomplete_details": {"reason": "steered"}}, "other", "steered"),
        ({"status": "incomplete"}, "other", "incomplete"),
    ],
)
def test_finish_reasons_are_translated(more: dict[str, Any], finish: str, raw: str) -> None:
    """Why an answer is incomplete is told in our words; theirs is kept beside."""
    response = verdict(response_document(message_item("x"), **more)).response
    assert (response.finish_reason, response.raw_finish_reason) == (finish, raw)


REFUSAL = message_item(content=[{"type": "refusal", "refusal": "I will not"}])


@pytest.mark.parametrize(
    ("document", "request_", "kind"),
    [
        ([], FREE, errors.InvalidAnswer),
        ({}, FREE, errors.InvalidAnswer),
        (response_document(output=None), FREE, errors.InvalidAnswer),
        (response_document(), FREE, errors.InvalidAnswer),
        (response_document(status="queued"), FREE, errors.InvalidAnswer),
        (response_document(thought("hm")), FREE, errors.InvalidAnswer),
        (response_document(REFUSAL), FREE, errors.Refused),
        (
            response_document(
                message_item("x"),
                status="incomplete",
                incomplete_details={"reason": "content_filter"},
            ),
            FREE,
            errors.Refused,
        ),
        (
            response_document(
                message_item('{"lab'),
                status="incomplete",
                incomplete_details={"reason": "max_output_tokens"},
            ),
            LABELLED,
            errors.Truncated,
        ),
        (response_document(message_item('{"label": "c"}')), LABELLED, errors.InvalidAnswer),
        (response_document(message_item("prose")), SHAPED, errors.InvalidAnswer),
        (response_document(status="failed"), FREE, errors.ConnectionFailed),
        ({"error": {"message": "?"}}, FREE, errors.ConnectionFailed),
        ({"error": "out of memory"}, FREE, errors.ConnectionFailed),
    ],
)
def test_what_is_no_answer_is_an_error(
    document: object, request_: gp.Request, kind: type[Exception]
) -> None:
    """Each way of a 200 to be no answer has its error."""
    assert type(verdict(document, request_).error) is kind


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("server_error", errors.Overloaded),
        ("rate_limit_exceeded", errors.RateLimited),
        ("vector_store_timeout", errors.ConnectionFailed),
        ("invalid_prompt", errors.InvalidRequest),
        ("invalid_image_url", errors.InvalidRequest),
        ("data_residency_mismatch", errors.InvalidRequest),
        ("bio_policy", errors.Refused),
        ("misalignment_policy_violation", errors.Refused),
        ("image_content_policy_violation", errors.Refused),
        ("insufficient_quota", errors.QuotaExhausted),
        ("context_length_exceeded", errors.ContextOverflow),
    ],
)
def test_a_failure_inside_a_success_has_its_error(code: str, kind: type[Exception]) -> None:
    """A response that failed raises by its code, and what it used is counted."""
    error = {"code": code, "message": "so it is"}
    found = verdict(response_document(status="failed", error=error))
    assert type(found.error) is kind
    assert "so it is" in str(found.error)
    assert found.response.usage.input_tokens == 10


def test_a_call_is_an_answer_where_a_schema_was_asked_for() -> None:
    """A model that calls a tool first has answered, whatever its last answer shall look like."""
    found = verdict(response_document(CALL_ITEM), SHAPED)
    assert found.error is None
    assert found.response.tool_calls == (CALL,)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5)
    | st.sampled_from(["message", "reasoning", "function_call", "failed", "incomplete"]),
    lambda inner: st.lists(inner, max_size=2)
    | st.dictionaries(
        st.sampled_from([
            "output", "content", "type", "status", "text", "error", "usage", "summary", "id",
            "input_tokens", "input_tokens_details", "incomplete_details", "reason", "logprobs",
        ]),
        inner,
        max_size=6,
    ),
    max_leaves=25,
)  # fmt: skip


@given(JSON, st.sampled_from([FREE, LABELLED, SHAPED]))
def test_every_document_has_an_outcome(document: object, request_: gp.Request) -> None:
    """No JSON makes the reader raise; the outcome is a response or one of our errors."""
    found = verdict(document, request_)
    assert isinstance(found.response.text, str)
    assert found.error is None or isinstance(found.error, errors.PipelineError)
