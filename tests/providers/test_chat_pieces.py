"""Chunk documents, put together, are what the server would have answered at once."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.messages import TokenLogprob
from genai_pipeline.providers._chat_answer import read_document
from genai_pipeline.providers._chat_pieces import ChatPieces, error_in
from genai_pipeline.testing import strategies as gps
from tests.providers.chat_answers import read_answer

ASK = gp.Request("q")
LEAVES = st.none() | st.booleans() | st.integers(-2, 2) | st.text(max_size=3)
NAMES = st.sampled_from(
    [
        *("id", "model", "choices", "delta", "content", "finish_reason", "usage", "index"),
        *("tool_calls", "function", "name", "arguments", "logprobs", "refusal", "reasoning"),
        *("annotations", "error", "object", "prompt_tokens", "message"),
    ]
)
ANY = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=12,
)
TEXT = st.text(min_size=1, max_size=5)


@st.composite
def completions(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a whole answer."""
    message: dict[str, Any] = {"content": draw(st.text(max_size=20))}
    for name in [draw(st.sampled_from(["reasoning", "reasoning_content"]))]:
        if draw(st.booleans()):
            message[name] = draw(TEXT)
    calls = draw(st.integers(0, 3))
    if calls:
        message["tool_calls"] = [
            {
                "id": draw(TEXT),
                "type": "function",
                "function": {"name": draw(TEXT), "arguments": draw(st.text(max_size=10))},
            }
            for _ in range(calls)
        ]
    reason = draw(st.sampled_from(["stop", "length", "tool_calls"]))
    usage = gp.Usage(input_tokens=draw(st.integers(0, 9)), output_tokens=draw(st.integers(0, 9)))
    told = {"prompt_tokens": usage.input_tokens, "completion_tokens": usage.output_tokens}
    return {
        "id": draw(TEXT),
        "model": draw(TEXT),
        "system_fingerprint": draw(TEXT | st.none()),
        "usage": told,
        "choices": [{"index": 0, "finish_reason": reason, "message": message}],
    }


def split(draw: st.DrawFn, text: str) -> list[str]:
    """Cut *text* into pieces."""
    at = sorted(draw(st.lists(st.integers(0, len(text)), max_size=4)))
    return [text[a:b] for a, b in zip([0, *at], [*at, len(text)], strict=True)]


@st.composite
def streamed(draw: st.DrawFn) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Draw a whole answer, and the same as chunks."""
    whole = draw(completions())
    message = whole["choices"][0]["message"]
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    for name in ("reasoning", "reasoning_content", "content"):
        deltas += [{name: piece} for piece in split(draw, message.get(name, ""))]
    for index, call in enumerate(message.get("tool_calls", ())):
        function = {**call["function"], "arguments": ""}
        deltas.append({"tool_calls": [{"index": index, **call, "function": function}]})
        deltas += [
            {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
            for piece in split(draw, call["function"]["arguments"])
        ]
    head = {name: whole[name] for name in ("id", "model", "system_fingerprint")}
    chunks = [{**head, "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    reason = whole["choices"][0]["finish_reason"]
    chunks.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": reason}]})
    chunks.append({**head, "choices": [], "usage": whole["usage"]})
    return whole, chunks


@given(streamed())
def test_the_pieces_are_the_whole(drawn: tuple[dict[str, Any], list[dict[str, Any]]]) -> None:
    """However an answer is cut into chunks, its response is that of the whole answer."""
    whole, documents = drawn
    pieces = ChatPieces()
    chunks = [chunk for each in documents if (chunk := pieces.take(each)) is not None]
    expected = read_answer(ASK, json.dumps(whole).encode(), {}, "p").response
    assert pieces.finished
    assert read_document(ASK, pieces.document(), {}, "p").response == expected
    assert "".join(chunk.text for chunk in chunks) == expected.text
    assert pieces.usage == expected.usage
    assert "".join(chunk.reasoning for chunk in chunks) == expected.reasoning
    pieces_of_calls = [chunk.tool_call.arguments for chunk in chunks if chunk.tool_call]
    calls = whole["choices"][0]["message"].get("tool_calls", ())
    assert "".join(pieces_of_calls) == "".join(call["function"]["arguments"] for call in calls)
    assert all(chunk.text or chunk.reasoning or chunk.tool_call for chunk in chunks)


@given(st.lists(st.dictionaries(NAMES, ANY, max_size=5) | gps.json_objects(), max_size=5))
def test_no_document_is_too_odd(documents: list[dict[str, Any]]) -> None:
    """No JSON object makes the reader raise, and its whole has an outcome."""
    pieces = ChatPieces()
    for document in documents:
        if not error_in(document, ""):
            pieces.take(document)
    assert isinstance(read_document(ASK, pieces.document(), {}, "p").response.text, str)


def test_scores_and_annotations_are_gathered() -> None:
    """Lists that come in parts are one list in the end."""
    pieces = ChatPieces()
    for number in (1, 2):
        choice = {
            "delta": {"content": "x", "annotations": [number]},
            "logprobs": {"content": [{"token": "x", "logprob": -number}], "refusal": None},
        }
        pieces.take({"choices": [choice]})
    response = read_document(ASK, pieces.document(), {}, "p").response
    assert response.attributes["annotations"] == [1, 2]
    assert response.logprobs == (TokenLogprob("x", -1.0), TokenLogprob("x", -2.0))


def test_a_moderation_comes_on_a_chunk_of_its_own() -> None:
    """What ``extra={"moderation": …}`` asked for is told, though its chunk has no choices."""
    pieces = ChatPieces()
    found = {"input": {"type": "moderation_results"}, "output": {"type": "moderation_results"}}
    pieces.take({"choices": [{"delta": {"content": "x"}, "finish_reason": "stop"}]}, "")
    assert pieces.take({"choices": [], "moderation": found}, "") is None
    response = read_document(ASK, pieces.document(), {}, "p").response
    assert response.attributes["moderation"] == found


def test_other_choices_are_passed_over() -> None:
    """Only the first choice is read, wherever it stands."""
    choices = [{"index": 1, "delta": {"content": "b"}}, {"index": 0, "delta": {"content": "a"}}]
    assert ChatPieces().take({"choices": choices}) == gp.Chunk("a")
    assert ChatPieces().take({"choices": choices[:1]}) is None


def test_errors_come_in_several_forms() -> None:
    """OpenAI's, those of gateways in a choice, vLLM's older one, and events of that name."""
    assert error_in({"error": {"message": "x"}}, "") == {"message": "x"}
    assert error_in({"choices": [{"error": {"code": 502}}]}, "") == {"code": 502}
    assert error_in({"object": "error", "message": "x"}, "")
    assert error_in({"message": "x"}, "error") == {"message": "x"}
    assert not error_in({"choices": [{"delta": {"content": "error"}}]}, "")
