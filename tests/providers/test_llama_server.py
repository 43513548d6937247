"""OpenAI's protocol as llama.cpp's real server speaks it."""

from __future__ import annotations

import json

import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.providers import OpenAI

pytestmark = pytest.mark.anyio


@pytest.fixture
def model(llama: str) -> OpenAI:
    """Give a model of random weights behind the real server."""
    return OpenAI("tiny", base_url=llama)


async def test_tokens_are_counted(model: OpenAI) -> None:
    """Text and usage arrive, and the output limit is kept and told."""
    response = await model(gp.Request("the cat", max_output_tokens=5, extra={"seed": 1}))
    assert 0 < response.usage.output_tokens <= 5
    assert response.usage.input_tokens > 5
    assert response.finish_reason in {"stop", "length"}


async def test_labels_are_kept(model: OpenAI) -> None:
    """Random weights choose among the labels and say nothing else."""
    labels = ("billing", "bug report", "praise")
    for seed in range(5):
        request = gp.Request("help!", labels=labels, max_output_tokens=200, extra={"seed": seed})
        assert (await model(request)).text in labels


async def test_a_schema_is_kept(model: OpenAI) -> None:
    """The answer is a JSON document of the schema's shape."""
    schema = {
        "title": "verdict",
        "type": "object",
        "properties": {"good": {"type": "boolean"}, "level": {"enum": [1, 2, 3]}},
        "required": ["good", "level"],
        "additionalProperties": False,
    }
    response = await model(gp.Request("judge", schema=schema, max_output_tokens=200))
    document = json.loads(response.text)
    assert isinstance(document["good"], bool)
    assert document["level"] in {1, 2, 3}


async def test_a_document_that_was_cut_is_no_document(model: OpenAI) -> None:
    """A JSON answer that hits the limit raises `Truncated` with what arrived."""
    schema = {
        "type": "object",
        "properties": {"text": {"type": "string", "minLength": 500}},
        "required": ["text"],
        "additionalProperties": False,
    }
    with pytest.raises(errors.Truncated) as caught:
        await model(gp.Request("write", schema=schema, max_output_tokens=8))
    assert caught.value.partial


async def test_a_prompt_that_is_too_long_is_named_so(model: OpenAI) -> None:
    """The server's error for long prompts is a `ContextOverflow`."""
    with pytest.raises(errors.ContextOverflow):
        await model(gp.Request("word " * 3000))


async def test_a_wrong_parameter_is_an_invalid_request(model: OpenAI) -> None:
    """A parameter the server does not take raises `InvalidRequest` with its words."""
    with pytest.raises(errors.InvalidRequest, match="openai 'tiny': 400"):
        await model(gp.Request("x", extra={"response_format": {"type": "no-such-type"}}))
