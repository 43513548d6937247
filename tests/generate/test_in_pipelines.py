"""Stages of `generate` in pipelines: replayed, resumed at the call that was missing, accounted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Literal

import attrs
import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline._journal_admin import Selector
from genai_pipeline.journals import Memory, Sqlite
from genai_pipeline.providers import OpenAI
from genai_pipeline.testing import FakeClock, Script
from tests.engine.doubles import Kept, Ledger
from tests.servers.chat import ChatServer, completion, http

pytestmark = pytest.mark.anyio

PRICES = gp.PriceBook(
    {"m": {"input": "1", "output": "10"}, "script": {"input": "1", "output": "1"}}
)


@attrs.frozen
class Verdict:
    """What a text is about."""

    topic: Literal["bug", "praise"]


GOOD, BAD = json.dumps({"topic": "bug"}), json.dumps({"topic": "rant"})


def pipeline(model: Any, *, values: Any = ("x",), **options: Any) -> gp.Pipeline[Any, Any]:
    """Answer a pipeline of one stage that asks *model* about *values*."""
    stage = {
        name: options.pop(name)
        for name in ("prompt", "output", "reasks", "version", "max_output_tokens", "mode")
        if name in options
    }
    return gp.Pipeline(
        source=Ledger(values),
        stage=gp.generate(
            model, **{"prompt": "About {value}", "output": Verdict, "max_output_tokens": 9, **stage}
        ),
        sink=options.pop("sink", None) or Kept(),
        **{"max_failures": None, **options},
    )


class Full(Kept):
    """A sink whose disk is full."""

    async def __call__(self, record: gp.Record[Any]) -> None:
        raise errors.StorageFailed("the disk is full")


async def test_the_report_adds_up_and_tells_what_was_mended(clock: FakeClock) -> None:
    """Good, mended, refused, cut and useless answers: each record has one end, each call counts."""
    answers: dict[str, list[Any]] = {
        "good": [GOOD],
        "second": [gp.Response(BAD), GOOD],
        "longer": [gp.Response("{", finish_reason="length"), GOOD],
        "refused": [gp.Response("no", finish_reason="refusal")],
        "cut": [gp.Response("{", finish_reason="length")] * 2,
        "useless": [gp.Response(BAD)] * 2,
    }

    def answer(request: gp.Request) -> Any:
        return answers[request.messages[0].text.split("@")[1]].pop(0)

    values = list(answers)
    dead: gp.sinks.Collect[gp.DeadLetter] = gp.sinks.Collect()
    run = pipeline(
        Script.of(answer, clock=clock),
        values=values,
        prompt=lambda value: f"@{value}@",
        dead_letters=dead,
        clock=clock,
    )
    report = await run.run()
    report.check()
    assert (report.written, report.dead, report.calls) == (3, 3, 10)
    assert report.errors == {"Refused": 1, "Truncated": 1, "InvalidAnswer": 1}
    assert report.mended == report.to_dict()["mended"] == {"reasked": 2, "cap_raised": 2}
    letters = {letter.payload: letter for letter in dead.values}
    assert letters["useless"].category == "transient"
    assert letters["refused"].category == letters["cut"].category == "permanent"
    assert {name: letter.attempts for name, letter in letters.items()} == {
        "useless": 2,
        "refused": 1,
        "cut": 2,
    }


async def test_attempts_at_an_answer_are_none_of_the_next_stage() -> None:
    """A record that was asked about twice, and fails in a later stage, failed there at once."""
    dead: gp.sinks.Collect[gp.DeadLetter] = gp.sinks.Collect()

    def fail(verdict: Any) -> Any:
        raise gp.DataError(f"no {verdict.topic} today")

    run = pipeline(Script(gp.Response(BAD), GOOD), dead_letters=dead)
    await attrs.evolve(run, stage=gp.chain(run.stage, gp.map(fail))).run()
    assert [(letter.attempts, letter.stage) for letter in dead.values] == [(1, "fail")]


async def test_every_call_is_replayed() -> None:
    """After the sink failed, the cut, the useless and the good answer come from the journal."""
    answers: list[Any] = [gp.Response("{", finish_reason="length"), gp.Response(BAD), GOOD]
    model, journal = Script(*answers), Memory()
    with pytest.raises(gp.RunFailed):
        await pipeline(model, journal=journal, prices=PRICES, sink=Full()).run()
    run = pipeline(model, journal=journal, prices=PRICES)
    report = await run.run()
    assert (report.written, report.replayed, report.calls) == (1, 3, 0)
    assert report.mended == {"cap_raised": 1, "reasked": 1}
    sink: Any = run.sink
    assert sink.values == [Verdict("bug")]
    assert model.calls == 3


async def test_a_record_resumes_at_the_call_that_was_missing() -> None:
    """When the process ends between an answer and the question that follows, only that is asked."""
    model = Script(gp.Response(BAD), errors.AuthenticationFailed("the key was revoked"), GOOD)
    journal = Memory()
    with pytest.raises(gp.RunFailed):
        await pipeline(model, journal=journal).run()
    report = await pipeline(model, journal=journal).run()
    assert (report.written, report.replayed, report.calls) == (1, 1, 1)
    assert [len(request.messages) for request in model.requests] == [1, 3, 3]


async def test_what_the_stage_asks_for_is_what_it_is_known_by() -> None:
    """Another template, type or version is another stage; trying harder is the same one."""
    model, journal = Script.of(lambda _: GOOD), Memory()
    other = {"title": "o", "type": "object", "properties": {}}
    for changed, calls in (
        ({}, 1),
        ({"reasks": 3}, 1),
        ({"version": "2"}, 2),
        ({"prompt": "On {value}"}, 3),
        ({"output": other}, 4),
        ({"max_output_tokens": 10}, 5),
        ({}, 5),
    ):
        report = await pipeline(model, journal=journal, **changed).run()
        assert model.calls == calls
        assert (report.skipped + report.written, report.dead) == (1, 0)


async def test_policies_stand_behind_the_stage(clock: FakeClock) -> None:
    """Faults are retried by the policies, bad answers by the stage, and a refusal by nobody."""
    faults = [errors.Overloaded("503"), errors.RateLimited("429", retry_after=5)]
    script = Script(*faults, gp.Response(BAD), errors.Overloaded("503"), GOOD, clock=clock)
    model = gp.resilient(script, clock=clock)
    report = await pipeline(model, clock=clock, journal=Memory()).run()
    assert (report.written, report.calls, report.failed_calls) == (1, 5, 3)
    assert report.mended == {"reasked": 1}
    refusing = Script(gp.Response("", finish_reason="filter"), clock=clock)
    with pytest.raises(gp.RunFailed) as caught:
        await pipeline(gp.resilient(refusing, clock=clock), clock=clock).run()
    assert caught.value.report.errors == {"Refused": 1}
    assert refusing.calls == 1


async def test_a_bad_record_is_the_datas_fault() -> None:
    """A record that lacks a field of the template is dead at once, and calls nothing."""
    model = Script()
    dead: gp.sinks.Collect[gp.DeadLetter] = gp.sinks.Collect()
    run = pipeline(model, values=[{"a": 1}], prompt="{b}", dead_letters=dead)
    report = await run.run()
    assert (report.dead, report.errors) == (1, {"DataError": 1})
    assert dead.values[0].category == "data"


async def test_a_server_that_ignores_the_schema_is_corrected(tmp_path: Path) -> None:
    """Over a real socket: prose, then another shape, then right; and all of it replayed."""
    texts = [f"Of course: {BAD} Anything else?", "{oops", f"```json\n{GOOD}\n```"]
    seen: list[Any] = []

    def answer(exchange: Any) -> bytes:
        seen.append(exchange.json)
        return http(completion(texts[len(seen) - 1]))

    journal = Sqlite(tmp_path / "run.db", ballast=0)
    with ChatServer() as server:
        server.answers["talk"] = answer
        model = OpenAI("m", base_url=server.url("talk"), api_key="k" * 8)
        for sink in (Full(), Kept()):
            run = pipeline(model, reasks=2, journal=journal, prices=PRICES, sink=sink)
            try:
                report = await run.run()
            except gp.RunFailed as failed:
                assert failed.report.calls == 3
    assert sink.values == [Verdict("bug")]
    assert (report.replayed, report.calls, report.mended) == (3, 0, {"reasked": 2})
    assert len(seen) == 3
    said, wanted = [turn["content"] for turn in seen[1]["messages"][-2:]]
    assert said == texts[0]
    assert wanted == (
        "This answer cannot be used:\n"
        '- $.topic: "rant" is none of "bug", "praise"\n'
        "Answer again, with the whole JSON document, corrected, and nothing else."
    )
    assert all(each["response_format"]["json_schema"]["strict"] for each in seen)


async def test_a_server_with_tools_and_no_schemas_answers_by_one() -> None:
    """Over a real socket: the tool is asked for by name, and its arguments are the value."""
    seen: list[Any] = []

    def answer(exchange: Any) -> bytes:
        seen.append(exchange.json)
        told = completion(None)
        call = {"name": "answer", "arguments": GOOD if len(seen) > 1 else BAD}
        told["choices"][0] |= {"finish_reason": "tool_calls"}
        told["choices"][0]["message"]["tool_calls"] = [
            {"id": "call_1", "type": "function", "function": call}
        ]
        return http(told)

    with ChatServer() as server:
        server.answers["tools"] = answer
        model = OpenAI("m", base_url=server.url("tools"), api_key="k" * 8)
        run = pipeline(model, journal=Memory(), mode="tool")
        report = await run.run()
    sink: Any = run.sink
    assert sink.values == [Verdict("bug")]
    assert report.mended == {"reasked": 1}
    for body in seen:
        assert "response_format" not in body
        assert body["tool_choice"] == {"type": "function", "function": {"name": "answer"}}
        assert body["tools"][0]["function"]["parameters"]["required"] == ["topic"]


async def test_a_cut_document_of_a_server_gets_more_room() -> None:
    """The provider's own `Truncated` raises the limit once; the second one is the record's end."""
    limits: list[int] = []

    def answer(exchange: Any) -> bytes:
        limits.append(exchange.json["max_tokens"])
        cut = completion("{")
        cut["choices"][0]["finish_reason"] = "length"
        return http(cut)

    journal = Memory()
    with ChatServer() as server:
        server.answers["cut"] = answer
        model = OpenAI("m", base_url=server.url("cut"), api_key="k" * 8)
        for _ in range(2):
            report = await pipeline(model, journal=journal, prices=PRICES).run()
            assert report.errors == {"Truncated": 1}
            await journal.redrive(Selector(state="dead"))
    assert limits == [9, 18]
