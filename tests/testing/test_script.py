"""A script answers what the test says, and remembers what it was asked."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import anyio
import anyio.lowlevel
import pytest

import genai_pipeline as gp
from genai_pipeline.errors import RateLimited
from genai_pipeline.events import CallFinished
from genai_pipeline.testing import FakeClock, Script, ScriptError

pytestmark = pytest.mark.anyio


async def test_answers_come_in_order(anyio_backend: str) -> None:
    """Texts and responses are given one after the other; what is left is known."""
    given = gp.Response("two", usage=gp.Usage(input_tokens=7), finish_reason="length")
    model = Script("one", given)
    assert model.left == 2
    assert (await model(gp.Request("a"))).text == "one"
    assert await model(gp.Request("b")) is given
    assert model.left == 0
    assert model.prompts == ["a", "b"]
    assert model.calls == 2
    assert model.requests[0] == gp.Request("a")


async def test_exceptions_are_raised(anyio_backend: str) -> None:
    """An exception, or a class of them, is raised instead of answered."""
    error = RateLimited("slow down", retry_after=3)
    model = Script(error, KeyError, "fine")
    with pytest.raises(RateLimited) as caught:
        await model(gp.Request("x"))
    assert caught.value is error
    with pytest.raises(KeyError):
        await model(gp.Request("x"))
    assert (await model(gp.Request("x"))).text == "fine"


async def test_functions_see_the_request(anyio_backend: str) -> None:
    """A function, async or plain, makes the answer out of the request, or an error."""

    async def shout(request: gp.Request) -> str:
        await anyio.lowlevel.checkpoint()
        return request.prompt.upper()

    model = Script(shout, lambda request: gp.Response(request.prompt[::-1]), lambda _: KeyError())
    assert (await model(gp.Request("abc"))).text == "ABC"
    assert (await model(gp.Request("abc"))).text == "cba"
    with pytest.raises(KeyError):
        await model(gp.Request("abc"))


async def test_the_end_of_the_script_is_an_error(anyio_backend: str) -> None:
    """A call too many says how many answers there were, which call it is and what to do."""
    model = Script("one")
    await model(gp.Request("a"))
    with pytest.raises(ScriptError, match=r"has 1 answer, and this is call 2: 'b'; give more"):
        await model(gp.Request("b"))
    with pytest.raises(AssertionError, match="has 0 answers, and this is call 1"):
        await Script()(gp.Request("never"))


async def test_then_repeat(anyio_backend: str) -> None:
    """``then="repeat"`` gives the last answer for ever, an error too."""
    model = Script("one", gp.Transient("no"), then="repeat")
    await model(gp.Request("x"))
    for _ in range(3):
        with pytest.raises(gp.Transient):
            await model(gp.Request("x"))


async def test_then_function(anyio_backend: str) -> None:
    """A function as ``then=`` answers all that the script does not."""
    model = Script("one", then=lambda request: f"{request.prompt}!")
    answers = [(await model(gp.Request(prompt))).text for prompt in "abc"]
    assert answers == ["one", "b!", "c!"]
    every = Script.of(lambda request: request.prompt)
    assert (await every(gp.Request("echo"))).text == "echo"


async def test_usage_counts_words(anyio_backend: str) -> None:
    """A text's usage is the words asked and answered, every message and the system included."""
    turns = [gp.Message("user", "one two"), gp.Message("assistant", "three")]
    response = await Script("four five six")(gp.Request(turns, system="be brief"))
    assert response.usage == gp.Usage(input_tokens=5, output_tokens=3)
    assert response.finish_reason == "stop"
    assert response.model == "script"


async def test_labels_are_honoured(anyio_backend: str) -> None:
    """A text that is none of the labels is a mistake of the script; a response is deliberate."""
    request = gp.Request("?", labels=["yes", "no"])
    assert (await Script("yes")(request)).text == "yes"
    with pytest.raises(ScriptError, match=r"call 1 is 'maybe', which is none of .*'yes', 'no'"):
        await Script("maybe")(request)
    assert (await Script(gp.Response("maybe"))(request)).text == "maybe"


async def test_schemas_need_json(anyio_backend: str) -> None:
    """A text that is no JSON does not answer a request with a schema."""
    request = gp.Request("?", schema={"type": "object"})
    assert (await Script('{"a": 1}')(request)).text == '{"a": 1}'
    with pytest.raises(ScriptError, match="which is no JSON"):
        await Script("{a: 1")(request)


async def test_an_answer_of_another_kind_is_refused(anyio_backend: str) -> None:
    """What a function may not answer is named."""
    wrong: Any = lambda _: 42  # noqa: E731
    with pytest.raises(ScriptError, match="call 1 is a int; give a text"):
        await Script(wrong)(gp.Request("?"))


async def test_latency_passes_on_the_clock(clock: FakeClock) -> None:
    """Each call takes its latency, a number or a function of the request, in virtual time."""
    await Script("a", clock=clock, latency=30)(gp.Request("x"))
    assert clock.now() == 30
    await Script("a", clock=clock, latency=lambda r: len(r.prompt))(gp.Request("four"))
    assert clock.now() == 34


async def test_answers_belong_to_calls_in_their_order(clock: FakeClock) -> None:
    """The first call gets the first answer even when it takes longest."""
    model = Script("1", "2", "3", clock=clock, latency=lambda r: float(r.prompt))
    answers: dict[str, str] = {}

    async def ask(seconds: str) -> None:
        answers[seconds] = (await model(gp.Request(seconds))).text

    async with anyio.create_task_group() as group:
        for number, seconds in enumerate(("9", "1", "5")):
            group.start_soon(ask, seconds)
            while model.calls == number:
                await anyio.lowlevel.checkpoint()
    assert answers == {"9": "1", "1": "2", "5": "3"}
    assert (model.in_flight, model.most_in_flight) == (0, 3)


async def test_a_bulkhead_shows(clock: FakeClock) -> None:
    """``most_in_flight`` is what a limit around the model let through."""
    model = Script("a", then="repeat", clock=clock, latency=1)
    limit = anyio.Semaphore(2)

    async def ask() -> None:
        async with limit:
            await model(gp.Request("x"))

    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(ask)
    assert model.most_in_flight == 2
    assert clock.now() == 3


async def test_each_call_is_told_once(clock: FakeClock) -> None:
    """Answers, errors and cancellation each emit one ``CallFinished`` with what is known."""
    paid = gp.Response("a b", usage=gp.Usage(cost=Decimal("0.5")))
    model = Script("a b", paid, gp.Transient("no"), "late", clock=clock, latency=2, model="m")
    heard: list[CallFinished] = []
    with gp.listen(heard.append):
        await model(gp.Request("x"))
        await model(gp.Request("x"))
        with pytest.raises(gp.Transient):
            await model(gp.Request("x"))
        with clock.cancel_at(clock.now() + 1):
            await model(gp.Request("x"))
    assert [(event.provider, event.model, event.seconds) for event in heard] == [
        ("script", "m", 2),
        ("script", "m", 2),
        ("script", "m", 2),
        ("script", "m", 1),
    ]
    assert [event.error for event in heard] == [None, None, "Transient", "Cancelled"]
    assert [event.finish_reason for event in heard] == ["stop", "stop", None, None]
    assert (heard[0].input_tokens, heard[0].output_tokens) == (1, 2)
    assert heard[1].cost == Decimal("0.5")
    assert model.in_flight == 0


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Script(3), r"answers\[0\]=3; give a text, a Response"),  # type: ignore[arg-type]
        (lambda: Script(then="repeat"), r"then='repeat'; give at least one answer"),
        (lambda: Script("a", then="stop"), r"then='stop'; give 'error', 'repeat' or"),  # type: ignore[arg-type]
        (lambda: Script("a", latency=-1), r"latency=-1; give seconds"),
        (lambda: Script("a", latency=float("nan")), r"latency=nan; give seconds"),
    ],
)
def test_a_wrong_script_is_refused_when_it_is_written(make: Any, message: str) -> None:
    """Options are validated when the script is built."""
    with pytest.raises(gp.ConfigurationError, match=message):
        make()


async def test_a_script_error_stops_a_run(clock: FakeClock) -> None:
    """A mistake of the test is no dead letter: the run fails and raises it."""
    from tests.testing.doubles import Buried, Listed, Written

    model = Script("one", clock=clock)

    async def ask(prompt: str) -> str:
        return (await model(gp.Request(prompt))).text

    buried = Buried()
    pipeline = gp.Pipeline(
        source=Listed("a", "b"),
        stage=gp.map(ask),
        sink=Written(),
        dead_letters=buried,
        max_in_flight=1,
        clock=clock,
    )
    with pytest.raises(gp.RunFailed) as caught:
        await pipeline.run()
    assert isinstance(caught.value.exceptions[0], ScriptError)
    assert buried.letters == []
