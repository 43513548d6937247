"""In what servers of Chat Completions differ, as their profiles say it."""

from __future__ import annotations

import json
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline.parts import Reasoning, Text, ToolCall
from genai_pipeline.providers import ChatProfile, OpenAI

LABELLED = gp.Request("q", labels=("a", "b"), max_output_tokens=9)
THOUGHT = gp.Request([gp.Message("assistant", [Reasoning("hm"), ToolCall("f", id="c")])])


def body(request: gp.Request, *, streamed: bool = False, **options: Any) -> dict[str, Any]:
    """Answer the body that a provider with these *options* sends."""
    model = OpenAI("m", **{"base_url": "http://127.0.0.1/v1", **options})
    sent: dict[str, Any] = json.loads(model._dialect.body(request, streamed=streamed))
    return sent


@pytest.mark.parametrize(
    ("profile", "limit", "thought"),
    [
        (None, "max_tokens", None),
        ("compatible", "max_tokens", None),
        ("openai", "max_completion_tokens", None),
        ("vllm", "max_tokens", "reasoning"),
        ("llama.cpp", "max_tokens", "reasoning_content"),
    ],
)
def test_each_server_is_asked_as_it_likes(profile: Any, limit: str, thought: str | None) -> None:
    """The output limit has the server's name, and reasoning goes back where it is looked for."""
    assert body(LABELLED, profile=profile)[limit] == 9
    (turn,) = body(THOUGHT, profile=profile)["messages"]
    fields = {name for name in turn if name.startswith("reasoning")}
    assert fields == ({thought} if thought else set())
    assert thought is None or turn[thought] == "hm"


def test_the_limit_may_be_named_apart() -> None:
    """``limit_field=`` goes before the profile."""
    named: Any = {"profile": "vllm", "limit_field": "max_completion_tokens"}
    assert body(LABELLED, **named)["max_completion_tokens"] == 9


def test_structured_output_has_three_forms() -> None:
    """Labels and schemas go as OpenAI has them, as an object with a schema, or not at all."""
    schema = {"type": "object", "properties": {}, "required": [], "additionalProperties": False}
    asked = gp.Request("q", schema=schema)
    nested = body(asked)["response_format"]
    assert nested["json_schema"]["schema"] == schema
    bare = body(asked, profile=ChatProfile(structured="json_object"))["response_format"]
    assert bare == {"type": "json_object", "schema": schema}
    for request, name in ((asked, "schema"), (LABELLED, "labels")):
        with pytest.raises(gp.ConfigurationError, match=f"{name}= cannot be held to by this"):
            body(request, profile=ChatProfile(structured=None))


def test_usage_is_not_asked_of_who_refuses_it() -> None:
    """A stream without ``stream_options`` is for servers that turn it away."""
    asked = gp.Request("q")
    assert body(asked, streamed=True)["stream_options"] == {"include_usage": True}
    silent = body(asked, streamed=True, profile=ChatProfile(stream_usage=False))
    assert silent["stream"] is True
    assert "stream_options" not in silent


@pytest.mark.parametrize("name", ["guided_json", "guided_choice", "guided_regex", "guided_grammar"])
def test_what_vllm_ignores_is_refused(name: str) -> None:
    """Constraints that the server passes over in silence are told before anything is sent."""
    with pytest.raises(gp.ConfigurationError, match=rf"extra\['{name}'\].*has no effect: vLLM"):
        body(gp.Request("q", extra={name: "x"}), profile="vllm")
    kept = {"structured_outputs": {"choice": ["a", "b"]}}
    assert body(gp.Request("q", extra=kept), profile="vllm")["structured_outputs"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"limit_field": "tokens"}, "limit_field='tokens'"),
        ({"structured": "tool"}, "structured='tool'"),
        ({"reasoning_field": "thoughts"}, "reasoning_field='thoughts'"),
        ({"stream_usage": 1}, "stream_usage=1"),
        ({"ignored": ["a"]}, r"ignored=\['a'\]; give names and mends"),
    ],
)
def test_a_wrong_profile_is_told_when_built(options: dict[str, Any], words: str) -> None:
    """What a profile cannot say raises at once."""
    with pytest.raises(gp.ConfigurationError, match=words):
        ChatProfile(**options)


@pytest.mark.anyio
@pytest.mark.parametrize(
    "profile", ["llama.cpp", ChatProfile(structured="json_object", reasoning_field=None)]
)
async def test_llama_cpp_holds_to_both_forms(llama: str, profile: Any) -> None:
    """Its real server chooses among the labels, whichever way it is asked."""
    model = OpenAI("tiny", base_url=llama, profile=profile)
    labels = ("billing", "bug report", "praise")
    for seed in range(3):
        request = gp.Request("help!", labels=labels, max_output_tokens=200, seed=seed)
        assert (await model(request)).text in labels


@pytest.mark.anyio
async def test_llama_cpp_takes_its_reasoning_back(llama: str) -> None:
    """A turn with what the model thought is taken by the real server."""
    model = OpenAI("tiny", base_url=llama, profile="llama.cpp")
    turns = [
        gp.Message("user", "hello"),
        gp.Message("assistant", [Reasoning("they greet"), Text("hello")]),
        gp.Message("user", "and?"),
    ]
    assert (await model(gp.Request(turns, max_output_tokens=5))).usage.input_tokens > 0
