"""Other targets for when the first cannot."""

from __future__ import annotations

import gc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline._lifespan import Composite, Lifespan
from genai_pipeline.errors import (
    AuthenticationFailed,
    ConfigurationError,
    ContextOverflow,
    DataError,
    InvalidAnswer,
    InvalidRequest,
    Overloaded,
    QuotaExhausted,
    Refused,
    Rejected,
    StorageFailed,
)
from genai_pipeline.resilience import Deadline, Fallback, FallbackTaken
from genai_pipeline.testing import FakeClock, Script

from .cancelling import Call, cancel_at_every_wait

pytestmark = pytest.mark.anyio

ASK = gp.Request("Hello")


async def _fails(wrapped: gp.Provider, kind: type[Exception]) -> Any:
    with pytest.raises(kind) as caught:
        await wrapped(ASK)
    return caught.value


async def test_the_first_answers_alone() -> None:
    """While the first target answers, no other is asked and nothing is marked."""
    other = Script()
    response = await gp.wrap(Script("one"), Fallback(other))(ASK)
    assert (response.text, dict(response.attributes), other.calls) == ("one", {}, 0)


async def test_the_next_answers_and_is_named() -> None:
    """The next target answers, named in the answer, and in an event beside what failed last."""
    heard: list[Any] = []
    primary, second, third = Script(Overloaded("busy")), Script(QuotaExhausted), Script("three")
    with gp.listen(heard.append):
        wrapped = gp.wrap(primary, Fallback(second, gp.wrap(third), name="models"))
        response = await wrapped(ASK)
    assert response.text == "three"
    assert response.attributes == {"fallback": "Script"}
    assert [event for event in heard if isinstance(event, FallbackTaken)] == [
        FallbackTaken(name="models", target="Script", error="Overloaded"),
        FallbackTaken(name="models", target="Script", error="QuotaExhausted"),
    ]
    assert (primary.calls, second.calls, third.calls) == (1, 1, 1)


async def test_an_open_circuit_costs_no_request() -> None:
    """Behaviour 31: what a policy refuses goes on with 0 requests to the first target."""
    primary, other = Script("never"), Script("two")

    async def is_open(request: gp.Request, call_next: gp.Provider) -> gp.Response:
        raise Rejected("open", retry_after=30)

    response = await gp.wrap(primary, Fallback(other), is_open)(ASK)
    assert (response.text, primary.calls) == ("two", 0)


@pytest.mark.parametrize(
    "error",
    [DataError, InvalidRequest, Refused, ConfigurationError, StorageFailed, ContextOverflow],
)
async def test_other_errors_are_raised_at_once(error: type[Exception]) -> None:
    """By default what is wrong with request, data, machine or options asks no other target."""
    other = Script("two")
    await _fails(gp.wrap(Script(error("wrong")), Fallback(other)), error)
    assert other.calls == 0


@pytest.mark.parametrize(
    "error", [Overloaded, Rejected, AuthenticationFailed, ConnectionResetError, TimeoutError]
)
async def test_what_may_succeed_elsewhere_goes_on(error: type[Exception]) -> None:
    """By default passing failures, refusals of policies and account troubles go on."""
    assert (await gp.wrap(Script(error("x")), Fallback(Script("two")))(ASK)).text == "two"


async def test_on_takes_a_class_several_or_a_function() -> None:
    """on= alone decides: a class, a tuple of classes, or a function of the error."""
    for on in (Refused, (KeyError, Refused), lambda error: isinstance(error, Refused)):
        wrapped = gp.wrap(Script(Refused("no")), Fallback(Script("two"), on=on))
        assert (await wrapped(ASK)).text == "two"
        await _fails(gp.wrap(Script(Overloaded("x")), Fallback(Script("y"), on=on)), Overloaded)


async def test_an_error_not_named_ends_it_wherever_it_comes_from() -> None:
    """A failure of another target that on= does not name is raised, and no third is asked."""
    third = Script("three")
    wrapped = gp.wrap(Script(Overloaded), Fallback(Script(InvalidRequest("bad")), third))
    await _fails(wrapped, InvalidRequest)
    assert third.calls == 0


async def test_when_all_fail_the_first_error_is_raised() -> None:
    """The first target's own error is raised, not a group, with a note on the others."""
    first = Overloaded("first")
    wrapped = gp.wrap(
        Script(first, then="repeat"),
        Fallback(
            Script(Overloaded("second"), then="repeat"), Script(Rejected("third"), then="repeat")
        ),
    )
    for _ in range(2):
        error = await _fails(wrapped, Overloaded)
        assert error is first
        assert error.__notes__ == [
            "Fallbacks failed too: Script: Overloaded: second; Script: Rejected: third"
        ]


@given(waits=st.lists(st.none() | st.integers(0, 100), min_size=2, max_size=5))
async def test_when_all_refuse_the_wait_is_the_shortest(waits: list[int | None]) -> None:
    """When every target refused, the error tells when the first of them is ready again."""
    first, *others = [Script(Rejected("no", retry_after=wait)) for wait in waits]
    error = await _fails(gp.wrap(first, Fallback(*others)), Rejected)
    known = [wait for wait in waits if wait is not None]
    assert error.retry_after == (min(known) if known else None)


async def test_a_refusal_keeps_its_wait_beside_failures() -> None:
    """When the first refused and another failed, the wait is the first's own."""
    wrapped = gp.wrap(Script(Rejected("open", retry_after=30)), Fallback(Script(Overloaded)))
    assert (await _fails(wrapped, Rejected)).retry_after == 30


async def test_a_refusal_is_not_written_to() -> None:
    """The shorter wait of another is told by a copy; the first target's own error is as it was."""
    refusal = Rejected("open", retry_after=30)
    wrapped = gp.wrap(Script(refusal), Fallback(Script(Rejected("full", retry_after=5))))
    assert (await _fails(wrapped, Rejected)).retry_after == 5
    assert refusal.retry_after == 30


async def test_a_failure_prevails_over_the_bad_answer_of_another() -> None:
    """When the first failed, its error is raised, whatever the others answered."""
    wrapped = gp.wrap(Script(Overloaded("first")), Fallback(Script("bad"), accept=lambda _: False))
    await _fails(wrapped, Overloaded)


async def test_a_paid_bad_answer_is_not_repeated_for_nothing() -> None:
    """When the first refused and another answered badly, the error counts as an attempt."""
    wrapped = gp.wrap(Script(Rejected), Fallback(Script("bad"), accept=lambda _: False))
    await _fails(wrapped, InvalidAnswer)


async def test_a_bad_answer_goes_on() -> None:
    """accept= decides on each answer, asynchronously too; none accepted is InvalidAnswer."""

    async def good(response: gp.Response) -> bool:
        return response.text != "bad"

    heard: list[Any] = []
    with gp.listen(heard.append):
        wrapped = gp.wrap(Script("bad"), Fallback(Script("bad"), Script("good"), accept=good))
        assert (await wrapped(ASK)).text == "good"
    taken = [event.error for event in heard if isinstance(event, FallbackTaken)]
    assert taken == ["NotAccepted", "NotAccepted"]
    wrapped = gp.wrap(Script("bad"), Fallback(Script("bad"), accept=good))
    assert str(await _fails(wrapped, InvalidAnswer)) == "the answer was not accepted"


async def test_too_long_skips_targets_of_the_same_size() -> None:
    """Behaviour 31: a context overflow goes to the next target that reads more, if told sizes."""
    same, large = Script("never"), Script("long")
    wrapped = gp.wrap(
        Script(ContextOverflow("too long")),
        Fallback(same, large, context_sizes=[8_000, 8_000, 8_001]),
    )
    assert (await wrapped(ASK)).text == "long"
    assert same.calls == 0
    too_long = ContextOverflow("too long")
    wrapped = gp.wrap(Script(too_long), Fallback(same, context_sizes=[8_000, 4_000]))
    assert await _fails(wrapped, ContextOverflow) is too_long
    assert same.calls == 0
    assert not hasattr(too_long, "__notes__")  # nobody else was asked


async def test_each_overflow_skips_more() -> None:
    """What was too long for a larger target is not tried at a smaller one that comes later."""
    second, smaller = Script(ContextOverflow), Script("never")
    wrapped = gp.wrap(
        Script(ContextOverflow),
        Fallback(second, smaller, Script("long"), context_sizes=[8, 32, 16, 64]),
    )
    assert (await wrapped(ASK)).text == "long"
    assert (second.calls, smaller.calls) == (1, 0)


async def test_other_failures_do_not_skip() -> None:
    """Sizes matter after an overflow alone; another failure goes to a smaller target too."""
    wrapped = gp.wrap(Script(Overloaded), Fallback(Script("small"), context_sizes=[9, 1]))
    assert (await wrapped(ASK)).text == "small"


async def test_past_the_deadline_no_other_is_asked(clock: FakeClock) -> None:
    """When the caller's time is up, the first error is raised and the next is not asked."""

    async def late(request: gp.Request) -> gp.Response:
        clock.advance(10)
        raise Overloaded("late")

    other = Script("two")
    wrapped = gp.wrap(late, Deadline(10, clock=clock), Fallback(other, clock=clock))
    await _fails(wrapped, Overloaded)
    assert other.calls == 0
    wrapped = gp.wrap(late, Deadline(10.5, clock=clock), Fallback(other, clock=clock))
    assert (await wrapped(ASK)).text == "two"  # half a second is left


async def test_others_live_as_long_as_the_wrap() -> None:
    """The other targets are entered and left with what the fallback stands around."""
    log: list[str] = []

    class Model(Composite):
        def parts(self) -> list[object]:
            return []

        async def __aenter__(self) -> Any:
            log.append("enter")
            return self

        async def __aexit__(self, *raised: object) -> None:
            log.append("leave")

        async def __call__(self, request: gp.Request) -> gp.Response:
            return gp.Response("live")

    async with gp.wrap(Script(Overloaded), Fallback(Model())) as wrapped:
        assert (await wrapped(ASK)).text == "live"
        assert log == ["enter"]
    assert log == ["enter", "leave"]
    assert Lifespan.current() is None


async def test_any_handler_may_fall_back() -> None:
    """A handler of other values than requests falls back as well, its answer unmarked."""

    async def broken(value: int) -> int:
        raise ConnectionError

    async def works(value: int) -> int:
        return value + 1

    assert await gp.wrap(broken, Fallback(works))(1) == 2


async def test_cancellation_goes_through(clock: FakeClock) -> None:
    """Cancelled at every wait, the call ends there and asks no further target."""
    third = Script("never", then="repeat")

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Call]:
        slow = Script(Overloaded, then="repeat", latency=1, clock=clock)
        quick = Script("two", latency=1, clock=clock)
        wrapped = gp.wrap(slow, Fallback(quick, third, clock=clock))
        yield lambda: wrapped(ASK)
        assert slow.in_flight == quick.in_flight == 0

    assert await cancel_at_every_wait(scenario) == 2
    assert third.calls == 0


async def test_failing_leaves_no_cycles(clock: FakeClock) -> None:
    """An error that was handled leaves nothing for the garbage collector."""

    async def broken(value: int) -> int:
        raise Overloaded("x")

    wrapped = gp.wrap(broken, Fallback(broken, broken))
    gc.collect()
    gc.disable()
    try:
        for _ in range(10):
            with suppress(Overloaded):
                await wrapped(1)
        assert gc.collect() == 0
    finally:
        gc.enable()


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"on": int}, "on="),
        ({"on": ()}, "on="),
        ({"on": (OSError, int)}, "on="),
        ({"accept": 3}, "accept=3"),
        ({"context_sizes": [1]}, "context_sizes"),
        ({"context_sizes": [1, 0]}, "context_sizes"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], named: str) -> None:
    """A wrong option is a ConfigurationError that names it."""
    with pytest.raises(ConfigurationError, match=named):
        Fallback(Script("x"), **options)


def test_a_fallback_needs_targets() -> None:
    """Without another target, or with a class for one, there is nothing to fall back to."""
    with pytest.raises(ConfigurationError, match="others"):
        Fallback()
    with pytest.raises(ConfigurationError, match=r"others\[0\]"):
        Fallback(cast("Any", Script))
