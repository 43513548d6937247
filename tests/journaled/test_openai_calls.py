"""`OpenAI` in a pipeline with a journal: answers are kept as they came, before they are read."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline._journal_admin import Selector
from genai_pipeline.journals import Memory, Sqlite
from genai_pipeline.providers import OpenAI
from tests import canary
from tests.engine.doubles import Kept, Ledger
from tests.servers.chat import ChatServer, completion, http

pytestmark = pytest.mark.anyio

PRICES = gp.PriceBook({"m": {"input": "1", "output": "10"}})


@pytest.fixture
def chat() -> Iterator[ChatServer]:
    """Give a server that counts what it is asked."""
    with ChatServer() as server:
        yield server


def pipeline(model: Any, journal: Any, **request: Any) -> gp.Pipeline[Any, Any]:
    """Answer a pipeline of one record that asks *model*."""

    async def ask(value: str) -> Any:
        answer = await model(
            gp.Request(value, system=canary.PROMPT, max_output_tokens=9, **request)
        )
        return [answer.text, answer.usage.input_tokens, answer.attributes.get("replayed")]

    return gp.Pipeline(
        source=Ledger(["hi"]),
        stage=gp.map(ask),
        sink=Kept(),
        journal=journal,
        prices=PRICES,
        max_failures=None,
    )


async def test_an_answer_is_replayed_to_the_letter(chat: ChatServer, tmp_path: Path) -> None:
    """After the record is put back, its call is answered from the file, for nothing."""
    model = OpenAI("m", base_url=chat.url("ok"), api_key=canary.KEY, headers=canary.HEADERS)
    told: list[Any] = []

    class Failing(Kept):
        async def __call__(self, record: gp.Record[Any]) -> None:
            raise gp.errors.StorageFailed("the disk is full")

    journal = Sqlite(tmp_path / "run.db", ballast=0)
    first = pipeline(model, journal)
    broken = gp.Pipeline(
        source=first.source, stage=first.stage, sink=Failing(), journal=journal, prices=PRICES
    )
    with pytest.raises(gp.RunFailed) as caught:
        await broken.run()
    assert caught.value.report.calls == 1
    assert str(caught.value.report.cost) == "0.000060000"
    run = pipeline(model, journal)
    with gp.listen(told.append):
        report = await run.run()
    assert (report.written, report.replayed, report.calls) == (1, 1, 0)
    assert report.cost is None or report.cost == 0
    sink: Any = run.sink
    assert sink.values == [["you said: hi", 10, True]]
    (event,) = [each for each in told if isinstance(each, gp.events.CallFinished)]
    assert (event.replayed, event.model) == (True, "served-model")
    assert event.cost == Decimal(0)
    assert len(chat.seen) == 1


async def test_what_was_turned_away_is_not_kept(chat: ChatServer) -> None:
    """A 429 costs nothing and is no answer: the next attempt is a call."""
    busy = [True]

    def answer(_: Any) -> bytes:
        if busy.pop() if busy else False:
            return http({"error": {"message": "slow"}}, status="429 Too Many Requests")
        return http(completion("now"))

    chat.answers["busy"] = answer
    model = OpenAI("m", base_url=chat.url("busy"), api_key=canary.KEY, headers=canary.HEADERS)
    journal = Memory()
    retried = gp.wrap(model, gp.Retry(on=gp.Transient, attempts=2, first_wait=0.01, max_wait=0.01))
    report = await pipeline(retried, journal).run()
    assert (report.written, len(chat.seen)) == (1, 2)
    assert report.cost is not None
    (line,) = await journal.costs()
    assert (line.calls, line.unknown) == (1, 0)


async def test_a_lost_answer_counts_at_the_most_it_can_cost(chat: ChatServer) -> None:
    """A connection that breaks in the body leaves a call of unknown outcome."""
    model = OpenAI("m", base_url=chat.url("reset"), api_key=canary.KEY, headers=canary.HEADERS)
    journal = Memory()
    report = await pipeline(model, journal).run()
    worst = PRICES.worst(
        "openai", "m", gp.Request("hi", system=canary.PROMPT, max_output_tokens=9), at=0.0
    )
    assert (report.dead, report.cost) == (1, worst)
    (line,) = await journal.costs()
    assert line.unknown == 1


async def test_a_useless_answer_is_paid_and_kept(chat: ChatServer) -> None:
    """An answer that is no JSON where JSON was asked for is billed, and replays as it was."""
    chat.answers["talk"] = lambda _: http(completion("certainly!"))
    model = OpenAI("m", base_url=chat.url("talk"), api_key=canary.KEY, headers=canary.HEADERS)
    journal = Memory()
    for _ in range(2):
        report = await pipeline(model, journal, schema={"type": "object"}).run()
        assert report.errors == {"InvalidAnswer": 1}
        await journal.redrive(Selector(state="dead"))
    assert len(chat.seen) == 1
    (record,) = [json.loads(exchange.body) for exchange in chat.seen]
    assert record["messages"][-1]["content"] == "hi"
