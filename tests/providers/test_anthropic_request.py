"""What is sent to Anthropic's Messages API for each request, and what is refused before."""

from __future__ import annotations

import base64
import json
from functools import partial
from typing import Any

import attrs
import pytest
from hypothesis import given

import genai_pipeline as gp
from genai_pipeline import errors, parts
from genai_pipeline.providers._anthropic_request import MessageForm, Version
from genai_pipeline.testing import strategies as gps

LIMIT = {"model": "claude-opus-5", "max_tokens": 9}
LIMITED = partial(gp.Request, "x", max_output_tokens=9)
WEATHER = gp.Tool("weather", "Tells the weather.", {"type": "object", "properties": {}})
CALL = parts.ToolCall("weather", '{"city": "Bern"}', id="toolu_1")


def form(
    model: str = "claude-opus-5", *, version: Version = "2026-10-21", cache: Any = None
) -> MessageForm:
    return MessageForm(model=model, version=version, cache_prompt=cache)


def body_of(request: gp.Request, how: MessageForm | None = None) -> dict[str, Any]:
    """Answer the body for *request*, with a limit if it has none."""
    if request.max_output_tokens is None:
        request = attrs.evolve(request, max_output_tokens=9)
    return (how or form()).body(request, "anthropic 'm'", streamed=False)


def sent(request: gp.Request, how: MessageForm | None = None) -> dict[str, Any]:
    """Answer the body for *request*, less what is always the same."""
    body = body_of(request, how)
    assert {name: body.pop(name) for name in LIMIT} == LIMIT
    return body


def refusal(request: gp.Request, how: MessageForm | None = None) -> str:
    with pytest.raises(gp.ConfigurationError) as caught:
        body_of(request, how)
    assert str(caught.value).startswith("anthropic 'm': ")
    return str(caught.value)


def turn(*blocks: dict[str, Any], role: str = "user") -> dict[str, Any]:
    return {"role": role, "content": list(blocks)}


def test_a_text_is_a_turn() -> None:
    """A plain request is its model, its limit and one turn."""
    assert sent(gp.Request("hi")) == {"messages": [{"role": "user", "content": "hi"}]}


def test_instructions_stand_apart() -> None:
    """The system, and system turns before the conversation, go to ``system``; later ones stay."""
    assert sent(gp.Request("hi", system="Be brief."))["system"] == "Be brief."
    request = gp.Request(
        [
            gp.Message("system", "In French."),
            gp.Message("user", "hi"),
            gp.Message("system", "Now in German."),
        ],
        system="Be brief.",
    )
    assert sent(request) == {
        "system": [{"type": "text", "text": "Be brief."}, {"type": "text", "text": "In French."}],
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "system", "content": "Now in German."},
        ],
    }


def test_a_conversation_needs_a_turn() -> None:
    """Instructions alone are refused."""
    assert "every message is of the system" in refusal(gp.Request([gp.Message("system", "x")]))


@pytest.mark.parametrize(
    ("part", "block"),
    [
        (parts.Text("look"), {"type": "text", "text": "look"}),
        (
            parts.Image(data=b"\x89PNG", media_type="image/png"),
            {
                "type": "image",
                "source": {
                    "type": "base64",
                    "media_type": "image/png",
                    "data": base64.b64encode(b"\x89PNG").decode(),
                },
            },
        ),
        (
            parts.Image(url="https://x.example/a.png"),
            {"type": "image", "source": {"type": "url", "url": "https://x.example/a.png"}},
        ),
        (
            parts.File(data=b"%PDF", name="report.pdf"),
            {
                "type": "document",
                "source": {"type": "base64", "media_type": "application/pdf", "data": "JVBERg=="},
                "title": "report.pdf",
            },
        ),
        (
            parts.File(data="Grüße".encode(), media_type="text/plain"),
            {
                "type": "document",
                "source": {"type": "text", "media_type": "text/plain", "data": "Grüße"},
            },
        ),
        (
            parts.File(url="https://x.example/a.pdf"),
            {"type": "document", "source": {"type": "url", "url": "https://x.example/a.pdf"}},
        ),
        (
            parts.File(id="file_1"),
            {"type": "document", "source": {"type": "file", "file_id": "file_1"}},
        ),
    ],
)
def test_what_a_user_says(part: parts.Part, block: dict[str, Any]) -> None:
    """Texts, pictures and documents each have their block."""
    assert sent(gp.Request(gp.Message("user", part))) == {"messages": [turn(block)]}


@pytest.mark.parametrize(
    ("part", "words"),
    [
        (parts.Audio(data=b"x"), "message 0 holds Audio, which this API cannot take"),
        (parts.Image(data=b"x", media_type="image/heic"), "media_type='image/heic'"),
        (parts.Image(url="gs://b/x.png"), "url='gs://b/x.png'"),
        (parts.Image(data=b"x", detail="low"), "detail='low'"),
        (parts.File(data=b"x", media_type="text/csv"), "media_type='text/csv'"),
        (parts.File(url="s3://b/x.pdf"), "url='s3://b/x.pdf'"),
    ],
)
def test_what_it_cannot_take_is_refused(part: parts.Part, words: str) -> None:
    """Parts without a form raise before anything is sent, and say what is taken."""
    assert words in refusal(gp.Request(gp.Message("user", part)))


def test_a_text_file_is_text() -> None:
    """Bytes that are no text are the record's fault, not the configuration's."""
    file = parts.File(data=b"\xff", media_type="text/plain")
    with pytest.raises(errors.InvalidRequest, match="no text in UTF-8"):
        sent(gp.Request(gp.Message("user", file)))


def test_tools_and_their_results_go_back_and_forth() -> None:
    """Tools, calls with an object of arguments, and results by the call's id."""
    request = gp.Request(
        [
            gp.Message("user", "Warm?"),
            gp.Message("assistant", [parts.Text("Let me see."), CALL]),
            gp.Message("tool", parts.ToolResult.to(CALL, "down", is_error=True)),
        ],
        tools=[WEATHER],
        tool_choice="auto",
    )
    assert sent(request) == {
        "tools": [
            {
                "name": "weather",
                "description": "Tells the weather.",
                "input_schema": {"type": "object", "properties": {}},
            }
        ],
        "tool_choice": {"type": "auto"},
        "messages": [
            {"role": "user", "content": "Warm?"},
            turn(
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "toolu_1", "name": "weather", "input": {"city": "Bern"}},
                role="assistant",
            ),
            turn(
                {
                    "type": "tool_result",
                    "tool_use_id": "toolu_1",
                    "content": "down",
                    "is_error": True,
                }
            ),
        ],
    }


@pytest.mark.parametrize(
    ("choice", "form_"),
    [
        ("none", {"type": "none"}),
        ("required", {"type": "any"}),
        ("weather", {"type": "tool", "name": "weather"}),
    ],
)
def test_a_tool_can_be_asked_for(choice: str, form_: dict[str, str]) -> None:
    """Each choice has its form, a tool's own name included."""
    assert sent(gp.Request("x", tools=[WEATHER], tool_choice=choice))["tool_choice"] == form_


def test_a_strict_tool_says_so() -> None:
    """Strictness is native."""
    tool = gp.Tool("f", parameters={"type": "object"}, strict=True)
    assert sent(gp.Request("x", tools=[tool]))["tools"] == [
        {"name": "f", "input_schema": {"type": "object"}, "strict": True}
    ]


def test_arguments_that_are_no_object_are_told() -> None:
    """A call that another model wrote badly is the record's fault, and named."""
    call = parts.ToolCall("weather", "{oops", id="1")
    with pytest.raises(errors.InvalidRequest, match="the tool 'weather' are no JSON object"):
        sent(gp.Request([gp.Message("assistant", call)]))


def test_thoughts_go_back_as_they_came() -> None:
    """Sealed thoughts return unchanged, hidden ones too; those without a seal stay behind."""
    said = gp.Message(
        "assistant",
        [
            parts.Reasoning("Hm.", signature="c2ln"),
            parts.Reasoning(signature="aGlkZGVu", hidden=True),
            parts.Reasoning("another model's"),
            parts.Text("Yes."),
        ],
    )
    assert sent(gp.Request([gp.Message("user", "?"), said]))["messages"][1] == turn(
        {"type": "thinking", "thinking": "Hm.", "signature": "c2ln"},
        {"type": "redacted_thinking", "data": "aGlkZGVu"},
        {"type": "text", "text": "Yes."},
        role="assistant",
    )


@pytest.mark.parametrize(
    ("effort", "fields"),
    [
        ("none", {"thinking": {"type": "disabled"}}),
        *(
            (effort, {"thinking": {"type": "adaptive"}, "output_config": {"effort": effort}})
            for effort in ("low", "medium", "high", "xhigh", "max")
        ),
    ],
)
def test_effort_is_how_much_it_thinks(effort: Any, fields: dict[str, Any]) -> None:
    """None turns thinking off, each level lets the model decide within it."""
    body = sent(gp.Request("x", reasoning_effort=effort))
    assert {name: body.get(name) for name in fields} == fields
    assert set(body) == {"messages", *fields}


def test_efforts_it_does_not_have_are_refused() -> None:
    """There is no minimal effort, and older models want a number of tokens."""
    assert "takes none, low, medium" in refusal(gp.Request("x", reasoning_effort="minimal"))
    old = form("claude-sonnet-4-5-20250929")
    assert "budget_tokens" in refusal(gp.Request("x", reasoning_effort="high"), old)
    budget = {"type": "enabled", "budget_tokens": 4096}
    body = body_of(gp.Request("x", extra={"thinking": budget}), old)
    assert body["thinking"] == budget


def test_the_form_of_the_answer_is_native() -> None:
    """Labels and schemas become the API's own output format, beside an effort."""
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]}
    request = gp.Request("x", schema=schema, reasoning_effort="low")
    assert sent(request)["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": schema},
    }
    labels = sent(gp.Request("x", labels=["a", "b"]))["output_config"]["format"]["schema"]
    assert labels["properties"]["label"]["enum"] == ["a", "b"]


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (gp.Request("x", temperature=1), "temperature=1; version 2026-10-21"),
        (gp.Request("x", top_p=0.5), "top_p=0.5; version 2026-10-21"),
        (gp.Request("x", extra={"top_k": 5}), "top_k=5; version 2026-10-21"),
        (gp.Request("x", seed=1), "seed=1; this API has no such parameter"),
        (gp.Request("x", logprobs=0), "logprobs=0; this API has no such parameter"),
    ],
)
def test_parameters_it_lacks_are_refused(request_: gp.Request, words: str) -> None:
    """What the newest version does not take raises, even at its default, and nothing is sent."""
    assert words in refusal(request_)


def test_the_older_version_takes_sampling_parameters() -> None:
    """Models before 4.7 choose as they are told, within the API's range."""
    old = form("claude-sonnet-4-6", version="2023-06-01")
    request = gp.Request("x", temperature=0.3, top_p=0.9, extra={"top_k": 5})
    body = body_of(request, old)
    assert (body["temperature"], body["top_p"], body["top_k"]) == (0.3, 0.9, 5)
    assert "takes 0 to 1" in refusal(gp.Request("x", temperature=1.5), old)


@pytest.mark.parametrize(
    ("model", "fixed"),
    [
        ("claude-opus-4-7", True),
        ("claude-opus-4-7-20260401", True),
        ("us.anthropic.claude-opus-4-8-v1:0", True),
        ("claude-haiku-5-5", True),
        ("claude-fable-5", True),
        ("claude-sonnet-4-6", False),
        ("claude-haiku-4-5@20251001", False),
        ("claude-sonnet-4-20250514", False),
        ("claude-3-7-sonnet-latest", False),
        ("claude-2.1", False),
        ("my-deployment", False),
    ],
)
def test_newer_models_choose_in_one_way(model: str, fixed: bool) -> None:
    """From 4.7 on, by the name, any other temperature than the default is refused."""
    old = form(model, version="2023-06-01")
    request = gp.Request("x", temperature=0)
    if fixed:
        assert "models from 4.7 on choose in one way only" in refusal(request, old)
    else:
        assert body_of(request, old)["temperature"] == 0
    assert body_of(gp.Request("x", temperature=1), old)["temperature"] == 1


def test_an_output_limit_is_needed() -> None:
    """Without one there is an error that says where to give it."""
    with pytest.raises(gp.ConfigurationError, match="or max_output_tokens= to the provider"):
        form().body(gp.Request("x"), "a", streamed=False)
    assert body_of(gp.Request("x", max_output_tokens=5))["max_tokens"] == 5


def test_stops_and_streams_have_their_fields() -> None:
    """Texts to stop before are a list; a stream is asked for."""
    body = form().body(LIMITED(stop=["END"]), "a", streamed=True)
    assert body["stop_sequences"] == ["END"]
    assert body["stream"] is True


def test_labels_cannot_be_streamed() -> None:
    """Which label it is shows only at the end."""
    with pytest.raises(gp.ConfigurationError, match="cannot be streamed"):
        form().body(LIMITED(labels=["a", "b"]), "a", streamed=True)


def test_what_is_new_passes_through() -> None:
    """Parameters that we do not know go along, and make another request of it."""
    request = gp.Request("x", extra={"speed": "fast", "service_tier": "auto"})
    body = sent(request)
    assert (body["speed"], body["service_tier"]) == ("fast", "auto")
    assert request.fingerprint() != gp.Request("x").fingerprint()


@pytest.mark.parametrize(
    "name",
    ["model", "messages", "max_tokens", "stream", "temperature", "top_p", "stop_sequences"],
)
def test_what_has_its_own_field_does_not(name: str) -> None:
    """A field of the request cannot be gone round by ``extra``."""
    old = form("claude-sonnet-4-5", version="2023-06-01")
    for value in (1, "hot"):
        assert f"extra[{name!r}]" in refusal(gp.Request("x", extra={name: value}), old)


def test_what_is_new_joins_what_is_set() -> None:
    """Tools of the server, and further keys of thinking and output, stand beside ours."""
    search = {"type": "web_search_20250305", "name": "web_search"}
    request = gp.Request(
        "x",
        tools=[WEATHER],
        reasoning_effort="low",
        extra={
            "tools": [search],
            "thinking": {"display": "summarized"},
            "output_config": {"format": {"type": "json_schema", "schema": {}}},
        },
    )
    body = sent(request)
    assert [tool["name"] for tool in body["tools"]] == ["weather", "web_search"]
    assert body["thinking"] == {"type": "adaptive", "display": "summarized"}
    assert body["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": {}},
    }


@pytest.mark.parametrize(
    "extra",
    [
        {"thinking": {"type": "disabled"}},
        {"output_config": {"effort": "high"}},
        {"output_config": None},
        {"tools": {}},
    ],
)
def test_what_is_set_is_not_overridden(extra: dict[str, Any]) -> None:
    """A key that is set already, or another kind of value, is one too many."""
    request = gp.Request("x", tools=[WEATHER], reasoning_effort="low", extra=extra)
    assert "would override" in refusal(request)


MARK = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


def marks(request: gp.Request) -> str:
    """Answer where in the body of *request* the one mark is."""
    body = body_of(request, form(cache="1h"))
    assert json.dumps(body).count("cache_control") == 1
    for place in ("system", "tools"):
        if "cache_control" in str(body.get(place)):
            assert MARK.items() <= body[place][-1].items()
            return place
    (index,) = [i for i, each in enumerate(body["messages"]) if "cache_control" in str(each)]
    assert MARK.items() <= body["messages"][index]["content"][-1].items()
    return f"message {index}"


def test_what_calls_have_in_common_is_cached() -> None:
    """The mark is at the end of what stands before the last turn: there, every call is alike."""
    assert marks(gp.Request("x", system="s")) == "system"
    assert marks(gp.Request("x", tools=[WEATHER])) == "tools"
    assert marks(gp.Request("x", system="s", tools=[WEATHER])) == "system"
    shots = [gp.Message("user", "10+10"), gp.Message("assistant", "20")]
    assert marks(gp.Request([*shots, gp.Message("user", "1+1")], system="s")) == "message 1"
    called = [gp.Message("user", "?"), gp.Message("assistant", CALL)]
    results = gp.Message("tool", parts.ToolResult.to(CALL, "warm"))
    assert marks(gp.Request([*called, results], tools=[WEATHER])) == "message 1"


def test_thoughts_carry_no_mark() -> None:
    """Where the turn before the last ends in a thought, the mark is before it."""
    said = (parts.Text("Yes."), parts.Reasoning("Hm.", signature="s"))
    request = gp.Request(
        [gp.Message("user", "?"), gp.Message("assistant", said), gp.Message("user", "And?")]
    )
    blocks = body_of(request, form(cache="1h"))["messages"][1]["content"]
    assert [set(MARK) <= set(block) for block in blocks] == [True, False]


def test_nothing_in_common_is_not_cached() -> None:
    """A lone turn has no mark, and neither has a provider that was not asked to cache."""
    assert "cache_control" not in str(body_of(gp.Request("x"), form(cache="5m")))
    assert "cache_control" not in str(sent(gp.Request("x", system="s")))


def test_counting_asks_for_the_same_prompt() -> None:
    """What concerns the answer alone is left out, and no limit is needed."""
    request = gp.Request(
        "x",
        system="s",
        labels=["a", "b"],
        stop="END",
        tools=[WEATHER],
        extra={"service_tier": "auto", "speed": "fast"},
    )
    counted = form().counted(request, "a")
    whole = body_of(request)
    dropped = {"max_tokens", "stop_sequences", "service_tier"}
    assert counted == {name: value for name, value in whole.items() if name not in dropped}


@given(gps.requests())
def test_every_request_is_sent_or_refused(request: gp.Request) -> None:
    """No request is too odd: it has a body of plain JSON, or an error that says why not."""
    for how in (form(cache="5m"), form("any", version="2023-06-01")):
        try:
            body = body_of(request, how)
        except (gp.ConfigurationError, errors.InvalidRequest) as error:
            assert str(error).startswith("anthropic 'm': ")
        else:
            assert json.loads(json.dumps(body)) == body
