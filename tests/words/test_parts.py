"""The parts of messages and answers, and the tools of a request."""

from __future__ import annotations

import json
from typing import Any

import attrs
import pytest
from hypothesis import given

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline._answer_codec import packed, unpacked
from genai_pipeline._part_forms import identity_of, kept_part, plain_part, texts_of
from genai_pipeline.messages import TokenLogprob
from genai_pipeline.parts import Audio, File, Image, Part, Reasoning, Text, ToolCall, ToolResult
from genai_pipeline.testing import strategies as gps

PIXEL = b"\x89PNG"


@given(gps.parts())
def test_a_part_is_kept_as_json(part: Part) -> None:
    """Every part comes back from JSON as it was."""
    assert kept_part(json.loads(json.dumps(plain_part(part)))) == part


@given(gps.parts(), gps.parts())
def test_parts_that_differ_are_told_apart(one: Part, other: Part) -> None:
    """Two parts have one identity only if they are equal."""
    assert (identity_of(one) == identity_of(other)) == (one == other)


@given(gps.responses())
def test_an_answer_is_kept_with_all_its_parts(response: gp.Response) -> None:
    """A store gives an answer back with its parts and the scores of its tokens."""
    assert unpacked(packed(response, 0.0)).answer == response


def test_what_is_no_part_is_no_value() -> None:
    """Something else in a part's place is named, not guessed at."""
    with pytest.raises(ValueError, match="no part"):
        kept_part({"part": "smell"})


@pytest.mark.parametrize(
    ("role", "part"),
    [
        ("system", Image(data=PIXEL)),
        ("user", ToolCall("f")),
        ("user", Reasoning("so")),
        ("assistant", ToolResult("42")),
        ("assistant", Image(data=PIXEL)),
        ("tool", Text("42")),
    ],
)
def test_a_part_out_of_place_is_refused(role: Any, part: Part) -> None:
    """A message names the part that its role cannot say, and what it can."""
    with pytest.raises(gp.ConfigurationError, match=f"part 0 is of {type(part).__name__}.*{role}"):
        gp.Message(role, [part])


def test_an_empty_message_is_refused() -> None:
    """A message has a text or at least one part."""
    with pytest.raises(gp.ConfigurationError, match="give a text, or parts"):
        gp.Message("user", [])


@pytest.mark.parametrize(
    ("kind", "given"),
    [
        (Image, {}),
        (Image, {"data": PIXEL, "url": "https://example.org/x.png"}),
        (Image, {"data": b""}),
        (Image, {"data": "text"}),
        (Image, {"url": "x.png"}),
        (Image, {"url": "file:///etc/passwd"}),
        (Image, {"data": PIXEL, "media_type": "text/html"}),
        (Image, {"data": PIXEL, "detail": ""}),
        (File, {}),
        (File, {"id": "file-1", "data": b"x"}),
        (Audio, {"data": b""}),
    ],
)
def test_a_wrong_part_is_refused(kind: Any, given: dict[str, Any]) -> None:
    """Each option of a part is checked when it is built."""
    with pytest.raises(gp.ConfigurationError, match=kind.__name__):
        kind(**given)


def test_bytes_are_not_shown() -> None:
    """The repr of a part does not spill its data."""
    assert "PNG" not in repr(gp.Message("user", ["look", Image(data=PIXEL)]))


def test_the_text_of_parts_is_one() -> None:
    """A message answers its text and its parts, however it was given."""
    message = gp.Message("user", ["a", Image(data=PIXEL), Text("b")])
    assert (message.text, message.parts[0]) == ("ab", Text("a"))
    assert gp.Message("user", "ab").parts == (Text("ab"),)
    assert gp.Message("user", Text("ab")).content == (Text("ab"),)
    assert gp.Request(message).prompt == "ab"


def test_parts_decide_on_the_fingerprint() -> None:
    """Other pictures, tools and options make another request; defaults do not."""
    made = [
        gp.Request("x"),
        gp.Request(gp.Message("user", ["x"])),
        *(gp.Request(gp.Message("user", ["x", Image(data=data)])) for data in (b"1", b"2")),
        gp.Request("x", tools=[gp.Tool("f")]),
        gp.Request("x", tools=[gp.Tool("f", "of x")]),
        gp.Request("x", tools=[gp.Tool("f")], tool_choice="f"),
        gp.Request("x", stop="."),
        gp.Request("x", seed=1),
        gp.Request("x", top_p=0.5),
        gp.Request("x", reasoning_effort="low"),
        gp.Request("x", logprobs=0),
    ]
    assert len({request.fingerprint() for request in made}) == len(made)
    assert gp.Request("x", tools=(), stop=()).fingerprint() == gp.Request("x").fingerprint()


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("tool_choice", "f"),
        ("tools", [3]),
        ("tools", 3),
        ("tools", [gp.Tool("f"), gp.Tool("f")]),
        ("stop", [""]),
        ("stop", 3),
        ("seed", -1),
        ("seed", 1.5),
        ("top_p", 1.1),
        ("reasoning_effort", "hard"),
        ("logprobs", 21),
        ("logprobs", True),
    ],
)
def test_a_wrong_option_is_refused(option: str, value: Any) -> None:
    """The error names the option of the request."""
    with pytest.raises(gp.ConfigurationError, match=f"Request: {option}="):
        gp.Request("x", **{option: value})


def test_a_choice_is_among_the_tools() -> None:
    """One of the given tools can be demanded, and no other."""
    assert gp.Request("x", tools=[gp.Tool("f")], tool_choice="f").tool_choice == "f"
    with pytest.raises(gp.ConfigurationError, match="'auto', 'none', 'required', 'f'"):
        gp.Request("x", tools=[gp.Tool("f")], tool_choice="g")


@pytest.mark.parametrize(
    "options",
    [
        {"name": "two words"},
        {"name": "x" * 65},
        {"name": "f", "description": 3},
        {"name": "f", "parameters": "any"},
        {"name": "f", "parameters": {"x": object()}},
        {"name": "f", "strict": 1},
    ],
)
def test_a_wrong_tool_is_refused(options: dict[str, Any]) -> None:
    """Each option of a tool is checked when it is built."""
    with pytest.raises(gp.ConfigurationError, match="Tool"):
        gp.Tool(**options)


def test_arguments_are_read_when_asked_for() -> None:
    """The arguments of a call are JSON, or an error that says whose and what."""
    assert ToolCall("f", '{"a": 1}').parse() == {"a": 1}
    assert ToolCall("f", "").parse() == {}
    for wrong in ("{", "[1]", "[" * 100_000):
        with pytest.raises(errors.InvalidAnswer, match="'f' are no JSON object"):
            ToolCall("f", wrong).parse()


def test_an_answer_goes_on() -> None:
    """The message of an answer is its text, or all its parts, signatures included."""
    assert gp.Response("hi").message == gp.Message("assistant", "hi")
    parts = (Reasoning("hm", signature="s"), Text("hi"), ToolCall("f", id="1"))
    response = gp.Response("hi", parts=parts)
    assert response.message.content == parts
    assert (response.reasoning, response.tool_calls) == ("hm", (parts[2],))
    result = ToolResult.to(response.tool_calls[0], "42")
    assert (result.call_id, result.name, result.content) == ("1", "f", "42")


@given(gps.parts())
def test_texts_are_those_of_the_part(part: Part) -> None:
    """What a model reads of a part is text that the part holds."""
    held = [value for value in attrs.astuple(part) if isinstance(value, str)]
    assert all(text in held or not text for text in texts_of(part))


def test_the_scores_of_a_stream_are_in_its_whole() -> None:
    """Joined chunks have the parts and scores of the last."""
    last = gp.Chunk(
        finish_reason="tool", parts=(ToolCall("f"),), logprobs=(TokenLogprob("a", -0.1),)
    )
    joined = gp.join_chunks([gp.Chunk(reasoning="so"), last])
    assert (joined.parts, joined.logprobs) == (last.parts, last.logprobs)
