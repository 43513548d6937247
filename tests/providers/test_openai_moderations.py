"""`OpenAIModerations`: what is harmful in texts and pictures, over real sockets."""

from __future__ import annotations

from typing import Any

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.events import CallFinished
from genai_pipeline.journals import Memory
from genai_pipeline.parts import Audio, Image, Text
from genai_pipeline.providers import Moderation, OpenAIModerations
from tests.engine.doubles import Kept, Ledger
from tests.providers.sdk import headers_of, sdk_request
from tests.servers.chat import ChatServer, Exchange, http

pytestmark = pytest.mark.anyio


def result(text: str) -> dict[str, Any]:
    """Answer what is found in *text*: harm, if it says so."""
    harmful = "harm" in text
    return {
        "flagged": harmful,
        "categories": {"violence": harmful, "self-harm/intent": False},
        "category_scores": {"violence": 0.9 if harmful else 0.1, "self-harm/intent": 0.0},
        "category_applied_input_types": {"violence": ["text"], "self-harm/intent": []},
    }


def moderate(exchange: Exchange) -> bytes:
    """Answer what is found in each input."""
    given: Any = exchange.json["input"]
    texts: list[Any] = [given] if isinstance(given, str) else given
    if texts and isinstance(texts[0], dict):
        texts = [" ".join(part.get("text", "") for part in texts)]
    told = {"id": "modr-1", "model": "served-model", "results": [result(text) for text in texts]}
    return http(told, headers="x-request-id: req-1\r\n")


@pytest.fixture
def moderations(chat: ChatServer) -> OpenAIModerations:
    """Give moderations of a server of ours."""
    chat.answers["moderate"] = moderate
    return OpenAIModerations(base_url=chat.url("moderate"), api_key="sk-test")


async def test_what_is_found_is_told(moderations: OpenAIModerations) -> None:
    """Whether and how a text is harmful, and how sure the model is of each category."""
    assert await moderations("no harm done") == Moderation(
        flagged=True,
        categories=("violence",),
        scores={"violence": 0.9, "self-harm/intent": 0.0},
        input_types={"violence": ("text",), "self-harm/intent": ()},
        model="served-model",
        request_id="req-1",
    )
    assert not (await moderations("good day")).flagged


async def test_texts_and_pictures_go_together(
    moderations: OpenAIModerations, chat: ChatServer
) -> None:
    """A message is one input, whatever its parts; what cannot be looked at is refused."""
    message = gp.Message("user", [Text("harm?"), Image(url="https://x.example/a.png")])
    assert (await moderations(message)).flagged
    assert chat.seen[-1].json["input"] == [
        {"type": "text", "text": "harm?"},
        {"type": "image_url", "image_url": {"url": "https://x.example/a.png"}},
    ]
    assert not (await moderations(gp.Message("user", "good day"))).flagged
    with pytest.raises(gp.ConfigurationError, match="Audio cannot be moderated"):
        await moderations(gp.Message("user", [Audio(data=b"x")]))


async def test_requests_are_those_of_the_sdk(
    moderations: OpenAIModerations, chat: ChatServer
) -> None:
    """The body is the SDK's, field by field, and so are the findings."""
    ours = await moderations.many(["harm", "good day"])
    sent = chat.seen[-1]
    theirs, answer = await sdk_request(
        chat,
        chat.url("moderate"),
        lambda client: client.moderations.create(
            model="omni-moderation-latest", input=["harm", "good day"]
        ),
    )
    assert (sent.target, sent.json) == (theirs.target, theirs.json)
    assert headers_of(sent) == headers_of(theirs)
    assert [one.flagged for one in ours] == [one.flagged for one in answer.results]
    assert ours[0].scores["violence"] == answer.results[0].category_scores.violence


async def test_many_share_a_request(moderations: OpenAIModerations, chat: ChatServer) -> None:
    """Behind `batched`, each text gets its own finding of one call."""
    one, found = gp.batched(moderations.many, size=3, linger=5), dict[str, bool]()

    async def ask(text: str) -> None:
        found[text] = (await one(text)).flagged

    asked = len(chat.seen)
    async with gp.wrap(one), anyio.create_task_group() as group:
        for text in ("harm", "good day", "harmless"):
            group.start_soon(ask, text)
    assert found == {"harm": True, "good day": False, "harmless": True}
    assert len(chat.seen) == asked + 1
    assert await moderations.many([]) == []


@pytest.mark.parametrize(
    ("document", "words"),
    [
        ({}, "the answer holds no results"),
        ({"results": [{"flagged": "yes"}]}, "the answer holds no results"),
        ({"results": []}, "the answer holds 0 results for 1 inputs"),
        ({"results": [result("a")] * 2}, "the answer holds 2 results for 1 inputs"),
    ],
)
async def test_what_is_no_finding_is_an_invalid_answer(
    chat: ChatServer, document: dict[str, Any], words: str
) -> None:
    """Whether a text is harmful is never guessed."""
    chat.answers["moderate-odd"] = lambda _: http(document)
    with pytest.raises(errors.InvalidAnswer, match=words):
        await OpenAIModerations(base_url=chat.url("moderate-odd"), api_key="k")("a")


async def test_figures_that_make_no_sense_are_left_out(chat: ChatServer) -> None:
    """A score is a number from 0 to 1."""
    scores = {"hate": True, "sexual": 2, "violence": "much", "illicit": 1}
    told = {"results": [{"flagged": False, "category_scores": scores, "categories": None}]}
    chat.answers["moderate-figures"] = lambda _: http(told)
    found = await OpenAIModerations(base_url=chat.url("moderate-figures"), api_key="k")("a")
    assert (found.scores, found.categories) == ({"illicit": 1.0}, ())


@pytest.mark.parametrize("given", ["", ["a", ""]])
async def test_nothing_is_not_moderated(moderations: OpenAIModerations, given: Any) -> None:
    """An empty text is told before anything is sent."""
    ask = moderations if isinstance(given, str) else moderations.many
    with pytest.raises(errors.InvalidRequest, match="a text is empty"):
        await ask(given)


@pytest.mark.parametrize(
    ("way", "kind"), [("429", errors.RateLimited), ("401", errors.AuthenticationFailed)]
)
async def test_a_call_tells_of_itself_once(
    moderations: OpenAIModerations, chat: ChatServer, way: str, kind: type[Exception]
) -> None:
    """Good or bad, one event tells of a call, which costs nothing."""
    told: list[Any] = []
    with gp.listen(told.append):
        await moderations("good day")
        with pytest.raises(kind):
            await OpenAIModerations(base_url=chat.url(way), api_key="k")("a")
        with anyio.move_on_after(0.05):
            await OpenAIModerations(base_url=chat.url("hang"), api_key="k")("a")
    calls = [each for each in told if isinstance(each, CallFinished)]
    assert [each.error for each in calls] == [None, kind.__name__, "Cancelled"]
    assert calls[0].model == "served-model"
    assert calls[0].cost == 0


async def test_it_filters_in_a_pipeline_with_a_journal(moderations: OpenAIModerations) -> None:
    """Records that are flagged are filtered; free calls need no place in the journal."""

    async def is_safe(text: str) -> bool:
        return not (await moderations(text)).flagged

    sink = Kept()
    report = await gp.Pipeline(
        source=Ledger(["harm", "good day"]),
        stage=gp.filter(is_safe),
        sink=sink,
        journal=Memory(),
    ).run()
    assert (report.filtered, report.written) == (1, 1)
    assert list(sink.values) == ["good day"]
