"""Anthropic's Messages API as llama.cpp's real server speaks it."""

from __future__ import annotations

import pytest

import genai_pipeline as gp
from genai_pipeline import errors, parts
from genai_pipeline.providers import Anthropic

pytestmark = pytest.mark.anyio


@pytest.fixture
def model(llama: str) -> Anthropic:
    """Give a model of random weights behind the real server."""
    url = llama.removesuffix("/v1")
    return Anthropic("tiny", base_url=url, version="2023-06-01", max_output_tokens=64)


async def test_tokens_are_counted(model: Anthropic) -> None:
    """Text and usage arrive, and the output limit is kept and told."""
    response = await model(gp.Request("the cat", max_output_tokens=5, temperature=0))
    assert 0 < response.usage.output_tokens <= 5
    assert response.usage.input_tokens > 5
    assert response.finish_reason in {"stop", "length"}
    assert response.model


async def test_tokens_are_counted_before(model: Anthropic) -> None:
    """What a prompt will count as is told without asking the model, and it is what is charged."""
    request = gp.Request("the cat sat on the mat", system="Be brief.", temperature=0)
    count = await model.count_tokens(request)
    usage = (await model(request)).usage
    assert count == usage.input_tokens > 6


async def test_the_chunks_are_what_a_call_answers(model: Anthropic) -> None:
    """Without chance, text, finish reason and usage are those of a whole answer."""
    for words in ("the cat", "a dog", "no bird"):
        request = gp.Request(words, max_output_tokens=12, temperature=0)
        whole = await model(request)
        async with model.stream(request) as chunks:
            joined = gp.join_chunks([chunk async for chunk in chunks])
        assert joined.text == whole.text
        assert joined.finish_reason == whole.finish_reason
        assert joined.usage.output_tokens == whole.usage.output_tokens
        assert joined.usage.input_tokens == whole.usage.input_tokens


async def test_a_conversation_with_tools_is_taken(model: Anthropic) -> None:
    """Tools, their calls and results, and thoughts of before are understood by a server."""
    call = parts.ToolCall("weather", '{"city": "Bern"}', id="toolu_1")
    request = gp.Request(
        [
            gp.Message("user", "Warm?"),
            gp.Message("assistant", [parts.Reasoning("Hm.", signature="s"), call]),
            gp.Message("tool", parts.ToolResult.to(call, "20 degrees")),
        ],
        system="Be brief.",
        tools=[gp.Tool("weather", parameters={"type": "object", "properties": {}})],
        max_output_tokens=8,
        temperature=0,
    )
    assert (await model(request)).usage.input_tokens > 20


async def test_a_prompt_that_is_too_long_is_named_so(model: Anthropic) -> None:
    """The server's error for long prompts is a `ContextOverflow`, streamed or not."""
    request = gp.Request("word " * 3000)
    with pytest.raises(errors.ContextOverflow):
        await model(request)
    with pytest.raises(errors.ContextOverflow):
        async with model.stream(request):
            pass


async def test_a_schema_is_not_known_there(model: Anthropic) -> None:
    """A server that knows no output format answers as it likes, which is told, never guessed."""
    schema = {"type": "object", "required": ["a"]}
    with pytest.raises((errors.InvalidAnswer, errors.Truncated), match="anthropic 'tiny'"):
        await model(gp.Request("judge", schema=schema))
