"""What users of other clients suffer, and what keeps it from happening here; numbered as known."""

from __future__ import annotations

import json

import anyio
import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.providers import OpenAI
from tests import canary
from tests.providers.chat_answers import read_answer
from tests.servers.chat import ChatServer, completion
from tests.servers.chat import http as answer

LABELLED = gp.Request("Which?", labels=["yes", "no"])
DOCUMENT = gp.Request("Which?", schema={"type": "object"})


def ended(reason: str | None, text: str | None) -> dict[str, object]:
    """Answer a completion that ended for *reason*."""
    message = {"role": "assistant", "content": text, "refusal": None}
    return completion(choices=[{"index": 0, "finish_reason": reason, "message": message}])


def encoded(reason: str | None, text: str | None) -> bytes:
    """Answer the same as bytes."""
    return json.dumps(ended(reason, text)).encode()


@pytest.mark.anyio
async def test_one_retry_owns_the_attempts(chat: ChatServer) -> None:
    """Pain 4: with three attempts set, three requests reach the server, and no more."""
    chat.answers["broken"] = lambda _: answer({"error": {"message": "x"}}, status="500 Broken")
    model = gp.resilient(
        OpenAI("m", base_url=chat.url("broken"), api_key=canary.KEY, headers=canary.HEADERS),
        retry=gp.Retry(on=gp.Transient, attempts=3, first_wait=0.001, max_wait=0.001),
    )
    before = len(chat.seen)
    async with model:
        with pytest.raises(errors.ConnectionFailed):
            await model(gp.Request("hello"))
    assert len(chat.seen) == before + 3


def test_one_provider_serves_one_loop_after_another(chat: ChatServer) -> None:
    """Pain 16: made once for a module, it works in each event loop, whatever the last left."""
    model = gp.resilient(
        OpenAI("m", base_url=chat.url("ok"), api_key=canary.KEY, headers=canary.HEADERS)
    )

    async def use() -> str:
        async with model:
            return (await model(gp.Request("hello"))).text

    async def use_and_break() -> None:
        async with model:
            await model(gp.Request("hello"))
            raise RuntimeError

    for backend in ("asyncio", "trio", "asyncio"):
        with pytest.raises(RuntimeError):
            anyio.run(use_and_break, backend=backend)
        assert anyio.run(use, backend=backend) == "you said: hello"


@pytest.mark.anyio
async def test_a_cut_answer_is_not_bought_again_with_the_same_limit(chat: ChatServer) -> None:
    """Pain 36: a cut document is `Truncated` at once; a fallback may raise the limit, once."""
    chat.answers["cut"] = lambda exchange: answer(
        ended("stop", '{"a": 1}') if exchange.json["max_tokens"] >= 100 else ended("length", '{"a"')
    )
    provider = OpenAI("m", base_url=chat.url("cut"), api_key=canary.KEY, headers=canary.HEADERS)
    retry = gp.Retry(on=Exception, attempts=5, first_wait=0.001, max_wait=0.001)
    request = attrs.evolve(DOCUMENT, max_output_tokens=10)

    async def roomier(request: gp.Request) -> gp.Response:
        return await provider(attrs.evolve(request, max_output_tokens=100))

    before = len(chat.seen)
    async with gp.wrap(provider, retry) as model:
        with pytest.raises(errors.Truncated) as cut:
            await model(request)
        assert cut.value.partial == '{"a"'
        assert len(chat.seen) == before + 1
        larger = gp.wrap(model, gp.Fallback(roomier, on=errors.Truncated))
        assert (await larger(request)).text == '{"a": 1}'
        assert len(chat.seen) == before + 3


REASONS = st.sampled_from(["stop", "length", "content_filter", "tool_calls", "weird", None])
TEXTS = st.sampled_from(["", " ", "yes", "no", '"yes"', "{}", '{"a"', "maybe", None])


@given(reason=REASONS, text=TEXTS, request_=st.sampled_from([LABELLED, DOCUMENT]))
def test_what_is_not_complete_is_no_success(
    reason: str | None, text: str | None, request_: gp.Request
) -> None:
    """Pain 37: where a label or a document is asked for, it is whole, or an error; never empty."""
    verdict = read_answer(request_, encoded(reason, text), {}, "model")
    if reason in {"length", "content_filter"}:
        assert isinstance(verdict.error, errors.Truncated | errors.Refused)
    if verdict.error is None:
        good = {"yes", "no"} if request_.labels else {"{}"}
        assert verdict.response.text in good


@given(reason=REASONS, text=TEXTS)
def test_an_answer_to_a_free_request_says_how_it_ended(
    reason: str | None, text: str | None
) -> None:
    """Pain 37: free text that was cut or filtered is never taken for a complete one."""
    verdict = read_answer(gp.Request("Which?"), encoded(reason, text), {}, "model")
    if reason == "content_filter":
        assert isinstance(verdict.error, errors.Refused)
    elif reason == "length":
        assert verdict.response.finish_reason == "length"
    elif text is None and reason != "tool_calls":
        assert isinstance(verdict.error, errors.InvalidAnswer)
