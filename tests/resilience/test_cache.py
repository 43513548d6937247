"""Answers known already, and one call for many equal ones."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import anyio
import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline.errors import (
    AuthenticationFailed,
    ConfigurationError,
    DeadlineExceeded,
    InvalidRequest,
    Overloaded,
    Rejected,
)
from genai_pipeline.messages import FinishReason
from genai_pipeline.resilience import (
    Cache,
    CacheAnswered,
    CacheFailed,
    CacheMissed,
    Deadline,
    Fallback,
    Retry,
)
from genai_pipeline.stores import Memory, Sqlite
from genai_pipeline.testing import FakeClock, Script
from genai_pipeline.walk import current_deadline, current_walk

from .cancelling import Call, cancel_at_every_wait

pytestmark = pytest.mark.anyio

ASK = gp.Request("Hello")
USED = gp.Usage(input_tokens=7, output_tokens=3, cost=Decimal("0.25"))


def _cache(clock: FakeClock, **options: Any) -> Cache:
    return Cache(**{"store": Memory(clock=clock), "clock": clock, **options})


async def _ask_all(model: gp.Provider, *requests: gp.Request) -> list[Any]:
    """Answer what concurrent calls answer or raise."""
    results: list[Any] = [None] * len(requests)

    async def ask(index: int, request: gp.Request) -> None:
        try:
            results[index] = await model(request)
        except Exception as error:  # noqa: BLE001 - looked at by the test
            results[index] = error

    async with anyio.create_task_group() as group:
        for index, request in enumerate(requests):
            group.start_soon(ask, index, request)
    return results


async def test_an_equal_call_is_answered_from_the_store() -> None:
    """The second equal call makes no request, and its answer is marked and used nothing."""
    clock = FakeClock()
    original = gp.Response("Hi", usage=USED, model="m", request_id="r", attributes={"score": [1]})
    model = Script(original)
    cached = gp.wrap(model, _cache(clock))
    heard: list[Any] = []
    with gp.listen(heard.append):
        assert await cached(ASK) is original
        clock.advance(5)
        again = await cached(gp.Request("Hello"))
    assert model.calls == 1
    assert again == gp.Response(
        "Hi",
        usage=gp.Usage(cost=0),
        model="m",
        request_id="r",
        attributes={
            "score": [1],
            "cached": True,
            "cached_usage": {
                "input_tokens": 7,
                "output_tokens": 3,
                "cached_tokens": 0,
                "cache_write_tokens": 0,
                "reasoning_tokens": 0,
                "cost": "0.25",
            },
        },
    )
    assert [event for event in heard if isinstance(event, CacheMissed | CacheAnswered)] == [
        CacheMissed(name="cache"),
        CacheAnswered(name="cache", kind="fresh", seconds=5),
    ]


@given(
    first=st.builds(
        dict,
        max_output_tokens=st.none() | st.integers(1, 3),
        temperature=st.none() | st.sampled_from([0, 0.5, 1]),
        system=st.none() | st.sampled_from(["a", "b"]),
        extra=st.sampled_from([{}, {"top_p": 1}, {"top_p": 0.5}, {"seed": 1}]),
    ),
    second=st.builds(
        dict,
        max_output_tokens=st.none() | st.integers(1, 3),
        temperature=st.none() | st.sampled_from([0, 0.5, 1]),
        system=st.none() | st.sampled_from(["a", "b"]),
        extra=st.sampled_from([{}, {"top_p": 1}, {"top_p": 0.5}, {"seed": 1}]),
    ),
)
async def test_every_parameter_counts(first: dict[str, Any], second: dict[str, Any]) -> None:
    """Pain 35: no answer is served that was made with any other parameter, known or extra."""
    model = Script("one", "two")
    cached = gp.wrap(model, _cache(FakeClock()))
    await cached(gp.Request("Hello", **first))
    await cached(gp.Request("Hello", **second))
    assert model.calls == (1 if first == second else 2)


async def test_two_models_behind_one_cache_do_not_share() -> None:
    """Without a scope, an entry belongs to the handler it was made by."""
    cache = _cache(FakeClock())
    one, two = gp.wrap(Script("one"), cache), gp.wrap(Script("two"), cache)
    assert [(await one(ASK)).text, (await two(ASK)).text, (await one(ASK)).text] == [
        "one",
        "two",
        "one",
    ]


async def test_equal_scopes_share_a_store_and_others_do_not() -> None:
    """Two caches over one store share what they name alike, and nothing else."""
    store: Memory[str] = Memory()
    texts = []
    for scope, text in (("m v1", "one"), ("m v1", "never"), ("m v2", "two"), (None, "three")):
        model = gp.wrap(Script(text), Cache(store=store, scope=scope))
        texts.append((await model(ASK)).text)
    assert texts == ["one", "one", "two", "three"]


async def test_tenants_never_share() -> None:
    """Behaviour 30: with per=, records of another tenant, or of none, get answers of their own."""
    model = Script(*"abcde")
    cached = gp.wrap(model, _cache(FakeClock(), per="tenant", scope="m"))
    records = [
        gp.Record(index, str(index), {"tenant": tenant} if tenant else {})
        for index, tenant in enumerate(["x", "y", "x", "", ""])
    ]

    async def source() -> AsyncIterator[gp.Delivery[int]]:
        for record in records:
            yield gp.Delivery(record)

    async def ask(_: int) -> str:
        return (await cached(ASK)).text

    sink: Any = gp.sinks.Collect()
    pipeline = gp.Pipeline(source=source(), stage=gp.map(ask), sink=sink, max_in_flight=1)
    await pipeline.run()
    assert [record.value for record in sink.records] == ["a", "b", "a", "c", "d"]
    assert (await cached(ASK)).text == "e"


async def test_a_record_with_half_of_the_names_is_passed_by() -> None:
    """With several names in per=, a record without one of them is answered and shares nothing."""
    model = Script("x", then="repeat")
    cached = gp.wrap(model, _cache(FakeClock(), per=["tenant", "user"], scope="m"))

    async def source() -> AsyncIterator[gp.Delivery[int]]:
        for index in range(2):
            yield gp.Delivery(gp.Record(index, str(index), {"tenant": "x"}))

    async def ask(_: int) -> str:
        return (await cached(ASK)).text

    sink: Any = gp.sinks.Collect()
    await gp.Pipeline(source=source(), stage=gp.map(ask), sink=sink, max_in_flight=1).run()
    assert [record.value for record in sink.records] == ["x", "x"]
    assert model.calls == 2


async def test_any_handler_with_a_key() -> None:
    """With key=, any handler is cached: by its text, and passed by where that is None."""
    calls: list[int] = []

    async def double(value: int) -> dict[str, int]:
        calls.append(value)
        return {"double": 2 * value}

    cache = _cache(FakeClock(), key=lambda value: None if value < 0 else str(value))
    cached = gp.wrap(double, cache)
    assert [(await cached(value))["double"] for value in (1, 1, -1, -1)] == [2, 2, -2, -2]
    assert calls == [1, -1, -1]


async def test_any_object_may_be_the_handler() -> None:
    """A handler that cannot be hashed or weakly referred to has entries of its own too."""

    @attrs.define  # compared by its fields, hence without a hash
    class Model:
        text: str

        async def __call__(self, request: gp.Request) -> gp.Response:
            return gp.Response(self.text)

    cache = _cache(FakeClock())
    one, two = gp.wrap(Model("one"), cache), gp.wrap(Model("two"), cache)
    answers = [await one(ASK), await two(ASK), await one(ASK)]
    assert [answer.text for answer in answers] == ["one", "two", "one"]
    assert answers[2].attributes["cached"]


async def test_a_value_without_a_key_is_refused() -> None:
    """A value that is no request needs key=, and key= must answer text."""

    async def double(value: int) -> int:
        return 2 * value

    with pytest.raises(ConfigurationError, match="key=None, and the value is a int"):
        await gp.wrap(double, _cache(FakeClock()))(1)
    with pytest.raises(ConfigurationError, match="answered 1; let it answer text"):
        await gp.wrap(double, _cache(FakeClock(), key=lambda value: value))(1)


@pytest.mark.parametrize("reason", ["length", "refusal", "filter", "other", "stop", "tool"])
async def test_only_complete_answers_are_kept(reason: FinishReason) -> None:
    """Pain 37: answers cut, refused, filtered or ended otherwise are fetched anew each time."""
    model = Script(gp.Response("x", finish_reason=reason), then="repeat")
    cached = gp.wrap(model, _cache(FakeClock()))
    await cached(ASK)
    await cached(ASK)
    assert model.calls == (1 if reason in ("stop", "tool") else 2)


async def test_a_substitute_does_not_take_the_place_of_the_real_answer() -> None:
    """An answer of a fallback is not kept, so the next call asks the first target again."""
    model = Script(Overloaded, "real")
    cached = gp.wrap(model, _cache(FakeClock()), Fallback(Script("substitute")))
    assert [(await cached(ASK)).text for _ in range(3)] == ["substitute", "real", "real"]


@pytest.mark.parametrize("mark", ["degraded", "stale"])
async def test_degraded_and_stale_answers_are_not_kept(mark: str) -> None:
    """An answer that another policy marked as less than real is not kept."""
    model = Script(gp.Response("x", attributes={mark: True}), "real")
    cached = gp.wrap(model, _cache(FakeClock()))
    assert [(await cached(ASK)).text for _ in range(2)] == ["x", "real"]


async def test_keep_has_a_say() -> None:
    """An answer that keep= says no to is not kept."""
    model = Script("", "good")
    cached = gp.wrap(model, _cache(FakeClock(), keep=lambda response: bool(response.text)))
    assert [(await cached(ASK)).text for _ in range(3)] == ["", "good", "good"]


async def test_failures_are_not_kept() -> None:
    """Behaviour 30: an error is raised to the caller, and the next call tries again."""
    model = Script(InvalidRequest("bad"), "good")
    cached = gp.wrap(model, _cache(FakeClock()))
    with pytest.raises(InvalidRequest):
        await cached(ASK)
    assert (await cached(ASK)).text == "good"


async def test_an_answer_is_fetched_anew_after_its_time() -> None:
    """Up to ttl the kept answer serves, and at ttl the model is asked again."""
    clock = FakeClock()
    model = Script("old", "new")
    cached = gp.wrap(model, _cache(clock, ttl=10))
    await cached(ASK)
    clock.advance(9.9)
    assert (await cached(ASK)).text == "old"
    clock.advance(0.1)
    assert (await cached(ASK)).text == "new"


async def test_without_ttl_an_answer_serves_for_ever() -> None:
    """ttl=None keeps answers for as long as the store does."""
    clock = FakeClock()
    cached = gp.wrap(Script("old"), _cache(clock, ttl=None))
    await cached(ASK)
    clock.advance(1e9)
    assert (await cached(ASK)).text == "old"


async def test_a_stale_answer_stands_in_for_a_failure() -> None:
    """After ttl and within stale_for, a passing failure is answered by the old answer, marked."""
    clock = FakeClock()
    model = Script("old", Overloaded, AuthenticationFailed, InvalidRequest, Overloaded)
    cached = gp.wrap(model, _cache(clock, ttl=10, stale_for=5))
    heard: list[Any] = []
    await cached(ASK)
    clock.advance(10)
    with gp.listen(heard.append):
        for _ in range(2):
            response = await cached(ASK)
            assert response.text == "old"
            assert (response.attributes["cached"], response.attributes["stale"]) == (True, True)
    assert CacheAnswered(name="cache", kind="stale", seconds=10) in heard
    with pytest.raises(InvalidRequest):
        await cached(ASK)
    clock.advance(5)
    with pytest.raises(Overloaded):
        await cached(ASK)
    assert model.left == 0


async def test_a_failure_is_no_reason_for_a_stale_answer_unless_told() -> None:
    """Without stale_for the failure is raised, however fresh the answer was a moment ago."""
    clock = FakeClock()
    cached = gp.wrap(Script("old", Overloaded), _cache(clock, ttl=10))
    await cached(ASK)
    clock.advance(10)
    with pytest.raises(Overloaded):
        await cached(ASK)


class Everlasting(Memory[Any]):
    """A store without expiry, which notes how long it was told to keep its entries."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[float | None] = []

    async def put(self, key: str, value: Any, /, *, ttl: float | None = None) -> None:
        self.told.append(ttl)
        await super().put(key, value)


@pytest.mark.parametrize(
    ("options", "told"),
    [({"ttl": 10}, 10), ({"ttl": 10, "stale_for": 5}, 15), ({"ttl": None, "stale_for": 5}, None)],
)
async def test_a_store_is_told_how_long_to_keep(
    options: dict[str, Any], told: float | None
) -> None:
    """An entry may expire in its store when it can stand in for nothing any more."""
    store = Everlasting()
    await gp.wrap(Script("x"), _cache(FakeClock(), store=store, **options))(ASK)
    assert store.told == [told]


async def test_a_store_that_keeps_too_long_does_no_harm() -> None:
    """However long a store keeps an entry, past ttl and stale_for it stands in for nothing."""
    clock = FakeClock()
    model = Script("old", Overloaded, Overloaded)
    cached = gp.wrap(model, _cache(clock, store=Everlasting(), ttl=10, stale_for=5))
    await cached(ASK)
    clock.advance(14.5)
    assert (await cached(ASK)).text == "old"
    clock.advance(0.5)
    with pytest.raises(Overloaded):
        await cached(ASK)


async def test_a_paid_answer_is_kept_though_nobody_waits(clock: FakeClock) -> None:
    """Who is cancelled while the store takes its time leaves the answer in the store."""

    class Slow(Memory[Any]):
        async def put(self, key: str, value: Any, /, *, ttl: float | None = None) -> None:
            await clock.sleep(2)
            await super().put(key, value, ttl=ttl)

    model = Script("x", latency=1, clock=clock)
    cached = gp.wrap(model, _cache(clock, store=Slow(clock=clock)))
    with clock.cancel_at(2):
        await cached(ASK)
    assert (await cached(ASK)).attributes["cached"]
    assert model.calls == 1


async def test_the_store_lives_as_long_as_the_whole() -> None:
    """A store that is an asynchronous context manager is entered and left with the handler."""
    log: list[str] = []

    class Connected(Memory[Any]):
        async def __aenter__(self) -> None:
            log.append("enter")

        async def __aexit__(self, *raised: object) -> None:
            log.append("leave")

    async with gp.wrap(Script("x"), Cache(store=Connected())):
        assert log == ["enter"]
    assert log == ["enter", "leave"]


def test_the_defaults_are_those_documented() -> None:
    """Answers serve for a day, stand in for no failure, and a store gets five seconds."""
    cache = Cache(store=Memory())
    assert (cache.ttl, cache.stale_for, cache.store_timeout) == (86_400, 0, 5)


class Broken(Memory[Any]):
    """Fails at what it is told to."""

    fails: tuple[str, ...] = ()

    async def get(self, key: str, /) -> Any:
        if "get" in self.fails:
            raise OSError("no get")
        return await super().get(key)

    async def put(self, key: str, value: Any, /, *, ttl: float | None = None) -> None:
        if "put" in self.fails:
            raise OSError("no put")
        await super().put(key, value, ttl=ttl)


@pytest.mark.parametrize("operation", ["get", "put"])
async def test_a_broken_store_fails_no_call(operation: Literal["get", "put"]) -> None:
    """A store that raises is as good as an empty one, and an event says so."""
    store = Broken()
    store.fails = (operation,)
    model = Script("one", "two")
    cached = gp.wrap(model, Cache(store=store))
    heard: list[Any] = []
    with gp.listen(heard.append):
        assert [(await cached(ASK)).text for _ in range(2)] == ["one", "two"]
    failed = [event for event in heard if isinstance(event, CacheFailed)]
    assert [(event.operation, str(event.error)) for event in failed] == [
        (operation, f"no {operation}")
    ] * 2


async def test_a_hanging_store_holds_nobody_up(clock: FakeClock) -> None:
    """A store that does not answer is given up after store_timeout, reading and writing."""

    class Hanging(Memory[Any]):
        async def get(self, key: str, /) -> Any:
            await anyio.sleep_forever()

        async def put(self, key: str, value: Any, /, *, ttl: float | None = None) -> None:
            await anyio.sleep_forever()

    cached = gp.wrap(Script("one"), Cache(store=Hanging(), store_timeout=2, clock=clock))
    heard: list[Any] = []
    with gp.listen(heard.append):
        assert (await cached(ASK)).text == "one"
    assert clock.now() == 4
    errors = [str(event.error) for event in heard if isinstance(event, CacheFailed)]
    assert errors == ["the store took longer than 2 s"] * 2


@pytest.mark.parametrize(
    "entry",
    [
        "",
        "{}",
        "[]",
        b"x",
        17,
        '{"version":2,"made":0,"json":1}',
        '{"version":1,"made":0}',
        '{"version":1,"made":0,"response":{}}',
        '{"version":1,"made":0,"response":{"text":"x","usage":{"cost":"NO"}}}',
    ],
)
async def test_an_entry_that_cannot_be_read_is_none(entry: Any) -> None:
    """Damaged, foreign and future entries are passed over, told of and replaced."""
    store: Memory[Any] = Memory()
    cached = gp.wrap(Script("one", "two"), Cache(store=store, ttl=None, scope="m"))
    await cached(ASK)
    [key] = store._entries
    await store.put(key, entry)
    heard: list[Any] = []
    with gp.listen(heard.append):
        assert (await cached(ASK)).text == "two"
    assert [event.operation for event in heard if isinstance(event, CacheFailed)] == ["get"]
    assert (await cached(ASK)).text == "two"


async def test_entries_are_plain_json() -> None:
    """What a store holds is JSON text with the whole answer in it."""
    store: Memory[Any] = Memory()
    await gp.wrap(Script(gp.Response("Hi", usage=USED)), Cache(store=store, clock=FakeClock()))(ASK)
    [(text, _)] = store._entries.values()
    assert json.loads(text) == {
        "version": 1,
        "made": 1_800_000_000.0,
        "response": {
            "text": "Hi",
            "usage": {
                "input_tokens": 7,
                "output_tokens": 3,
                "cached_tokens": 0,
                "cache_write_tokens": 0,
                "reasoning_tokens": 0,
                "cost": "0.25",
            },
            "finish_reason": "stop",
            "model": "",
            "request_id": None,
            "raw_finish_reason": None,
            "attributes": {},
        },
    }


@pytest.mark.parametrize("answer", [(1, 2), {"a": (1,)}, object(), float("nan"), {1: 2}])
async def test_what_json_cannot_hold_is_answered_and_not_kept(answer: object) -> None:
    """An answer that would come back changed is not kept, and an event says why."""

    async def handler(value: int) -> object:
        return answer

    heard: list[Any] = []
    cached = gp.wrap(handler, _cache(FakeClock(), key=str))
    with gp.listen(heard.append):
        assert await cached(1) is answer
        assert await cached(1) is answer
    assert [event.operation for event in heard if isinstance(event, CacheFailed)] == ["put"] * 2


async def test_attributes_that_json_cannot_hold_are_not_kept() -> None:
    """An answer whose attributes would come back as something else is answered, not kept."""
    part = gp.Usage(input_tokens=1)
    model = Script(gp.Response("x", attributes={"usage": part}), then="repeat")
    cached = gp.wrap(model, _cache(FakeClock()))
    for _ in range(2):
        assert (await cached(ASK)).attributes["usage"] is part
    assert model.calls == 2


async def test_a_hit_may_be_changed_without_harm() -> None:
    """What one caller does to the attributes of a hit, no other sees."""
    cached = gp.wrap(Script(gp.Response("x", attributes={"list": []})), _cache(FakeClock()))
    await cached(ASK)
    (await cached(ASK)).attributes["list"].append(1)
    assert (await cached(ASK)).attributes["list"] == []


async def test_a_cache_before_a_cache_tells_what_the_call_used() -> None:
    """Behind two caches, a hit of the second tells the same usage as of the first."""
    near, far = _cache(FakeClock()), _cache(FakeClock(), scope="far")
    model = Script(gp.Response("x", usage=USED))
    await gp.wrap(model, far)(ASK)
    both = gp.wrap(model, near, far)
    for _ in range(2):
        response = await both(ASK)
        assert response.attributes["cached_usage"]["input_tokens"] == 7
        assert response.usage.input_tokens == 0
    assert model.calls == 1


async def test_equal_calls_share_one(clock: FakeClock) -> None:
    """Behaviour 29: many equal calls at once make one; one answer is paid, the others shared."""
    model = Script(gp.Response("x", usage=USED), latency=1, clock=clock)
    cached = gp.wrap(model, _cache(clock))
    responses = await _ask_all(cached, *[ASK] * 20)
    assert model.calls == 1
    assert {response.text for response in responses} == {"x"}
    total = sum((response.usage for response in responses), gp.Usage())
    assert (total.input_tokens, total.cost) == (7, Decimal("0.25"))
    assert sum(response.attributes.get("shared", False) for response in responses) == 19


async def test_different_calls_never_mix(clock: FakeClock) -> None:
    """However calls overlap, each gets the answer to its own request."""
    model = Script.of(
        lambda request: request.prompt.upper(),
        latency=lambda request: len(request.prompt) % 3,
        clock=clock,
    )
    cached = gp.wrap(model, _cache(clock))
    requests = [gp.Request(f"{index % 7 * 'x'}y") for index in range(50)]
    responses = await _ask_all(cached, *requests)
    assert [response.text for response in responses] == [
        request.prompt.upper() for request in requests
    ]
    assert model.calls == 7


async def test_everybody_who_waits_gets_the_failure(clock: FakeClock) -> None:
    """Behaviour 30: one failure is raised to all who wait, each a copy; the next call succeeds."""
    model = Script(Overloaded("busy", retry_after=3), "good", latency=1, clock=clock)
    cached = gp.wrap(model, _cache(clock))
    errors = await _ask_all(cached, *[ASK] * 5)
    assert len({id(error) for error in errors}) == 5
    assert {(type(error), str(error), error.retry_after) for error in errors} == {
        (Overloaded, "busy", 3)
    }
    assert (await cached(ASK)).text == "good"


async def test_followers_outlive_the_leader(clock: FakeClock) -> None:
    """Behaviour 29: when whoever began the call is cancelled, the others get its answer."""
    model = Script("x", latency=10, clock=clock)
    cached = gp.wrap(model, _cache(clock))
    answers: list[str] = []

    async def follow() -> None:
        answers.append((await cached(ASK)).text)

    async with anyio.create_task_group() as group:
        group.start_soon(_until, clock, 3, cached)
        await clock.sleep(1)
        group.start_soon(follow)
        group.start_soon(follow)
    assert answers == ["x", "x"]
    assert (model.calls, clock.now()) == (1, 10)


async def _until(clock: FakeClock, seconds: float, model: gp.Provider) -> None:
    """Ask, and leave after so many seconds."""
    with clock.cancel_at(clock.now() + seconds):
        await model(ASK)


async def test_when_all_leave_the_work_is_cancelled(clock: FakeClock) -> None:
    """Behaviour 29: the call ends when the last who waits leaves, and the next begins anew."""
    model = Script("never", "x", latency=10, clock=clock)
    cached = gp.wrap(model, _cache(clock))
    async with anyio.create_task_group() as group:
        group.start_soon(_until, clock, 3, cached)
        group.start_soon(_until, clock, 5, cached)
        await clock.sleep(4)
        assert model.in_flight == 1
        await clock.sleep(2)
        assert model.in_flight == 0
    assert (await cached(ASK)).text == "x"
    assert clock.now() == 16


async def test_who_comes_while_an_abandoned_call_winds_down_begins_anew(
    clock: FakeClock,
) -> None:
    """A call that everybody left is not joined; the newcomer gets an answer of its own."""
    calls: list[float] = []

    async def model(request: gp.Request) -> gp.Response:
        calls.append(clock.now())
        try:
            await clock.sleep(3)
        except BaseException:
            with anyio.CancelScope(shield=True):
                await clock.sleep(5)
            raise
        return gp.Response(f"call {len(calls)}")

    cached = gp.wrap(model, _cache(clock))
    async with anyio.create_task_group() as group:
        group.start_soon(_until, clock, 1, cached)
        await clock.sleep(2)
        assert (await cached(ASK)).text == "call 2"
        assert (await cached(ASK)).text == "call 2"
    assert calls == [0, 2]


async def test_a_leaders_deadline_is_its_own(clock: FakeClock) -> None:
    """Behaviour 29: followers with more time get the answer after the leader's deadline."""
    seen: list[float] = []

    async def model(request: gp.Request) -> gp.Response:
        seen.append(current_deadline())
        await clock.sleep(10)
        return gp.Response("x")

    cached = gp.wrap(model, _cache(clock))
    hasty = gp.wrap(cached, Deadline(3, clock=clock))
    hasty_answer: list[Any] = []
    answer: list[Any] = []

    async def ask(provider: gp.Provider, into: list[Any]) -> None:
        into.extend(await _ask_all(provider, ASK))

    async with anyio.create_task_group() as group:
        group.start_soon(ask, hasty, hasty_answer)
        await clock.sleep(1)
        group.start_soon(ask, cached, answer)
    assert isinstance(hasty_answer[0], DeadlineExceeded)
    assert answer[0].text == "x"
    assert seen == [float("inf")]


async def test_in_a_run_the_call_belongs_to_the_run(clock: FakeClock) -> None:
    """In a pipeline the leader leaves at once, and the call has the latest deadline of all."""
    seen: list[float] = []
    attempts: list[int] = []

    async def model(request: gp.Request) -> gp.Response:
        await clock.sleep(5)
        seen.append(current_deadline())
        if len(seen) == 1:
            raise Overloaded
        return gp.Response("x")

    retry = Retry(on=Overloaded, first_wait=1, random=lambda: 1, clock=clock)
    cached = gp.wrap(model, _cache(clock), retry)
    left: list[float] = []

    async def ask(value: int) -> str:
        if value == 0:
            await _until(clock, 2, cached)
            left.append(clock.now())
            return "left"
        await clock.sleep(1)
        text = (await cached(ASK)).text
        walk = current_walk()
        assert walk is not None
        attempts.append(walk.attempts)
        return text

    sink: Any = gp.sinks.Collect()
    pipeline = gp.Pipeline(
        source=gp.sources.Values([0, 1]),
        stage=gp.map(ask),
        sink=sink,
        record_timeout=100,
        clock=clock,
    )
    report = await pipeline.run()
    assert sorted(record.value for record in sink.records) == ["left", "x"]
    assert (report.written, left) == (2, [2])
    assert seen == [100, 100]
    assert attempts == [1]


async def test_equal_records_of_a_run_are_paid_once(clock: FakeClock, tmp_path: Path) -> None:
    """A hundred records with ten different texts make ten calls, and the next run none."""
    model = Script.of(lambda request: request.prompt.upper(), latency=1, clock=clock)
    cache = Cache(store=Sqlite(tmp_path / "s.db"), scope="m")  # threads need real time
    cached = gp.wrap(model, cache)

    async def ask(text: str) -> str:
        return (await cached(gp.Request(text))).text

    for _ in range(2):
        sink: Any = gp.sinks.Collect()
        pipeline = gp.Pipeline(
            source=gp.sources.Values([f"text {index % 10}" for index in range(100)]),
            stage=gp.map(ask),
            sink=sink,
            max_in_flight=32,
        )
        assert (await pipeline.run()).written == 100
        assert {record.value for record in sink.records} == {f"TEXT {i}" for i in range(10)}
        for record in sink.records:
            assert record.value == f"TEXT {int(record.key) % 10}"
    assert model.calls == 10


async def test_a_run_leaves_no_call_behind(clock: FakeClock) -> None:
    """A run that ends while a call nobody waits for winds down awaits its end."""
    log: list[str] = []

    async def model(request: gp.Request) -> gp.Response:
        try:
            await clock.sleep(100)
        finally:
            with anyio.CancelScope(shield=True):
                await clock.sleep(5)
            log.append("ended")
        return gp.Response("late")

    cached = gp.wrap(model, _cache(clock))

    async def ask(value: int) -> int:
        await _until(clock, 2, cached)
        return value

    sink: Any = gp.sinks.Collect()
    await gp.Pipeline(
        source=gp.sources.Values([0]), stage=gp.map(ask), sink=sink, clock=clock
    ).run()
    assert log == ["ended"]


def test_a_loop_in_a_thread_of_a_run_shares_nothing_with_it() -> None:
    """A stage in a thread that runs an event loop of its own may use a cache there."""
    cached = gp.wrap(Script.of(lambda request: "x"), Cache(store=Memory(), scope="m"))

    async def call() -> str:
        return (await cached(ASK)).text

    async def run() -> list[str]:
        sink: Any = gp.sinks.Collect()
        stage = gp.map(lambda _: anyio.run(call), thread=True)
        await gp.Pipeline(source=gp.sources.Values([0, 1]), stage=stage, sink=sink).run()
        return [record.value for record in sink.records]

    assert anyio.run(run) == ["x", "x"]


async def test_a_finished_call_is_seen_by_a_slow_look_up(clock: FakeClock) -> None:
    """Who looked into the store before an equal call ended does not make it again."""

    class Slow(Memory[Any]):
        async def get(self, key: str, /) -> Any:
            found = await super().get(key)
            await clock.sleep(delays.pop(0) if delays else 0)
            return found

    delays = [0.0, 10.0]
    model = Script("x", latency=1, clock=clock)
    cached = gp.wrap(model, Cache(store=Slow(clock=clock), clock=clock, store_timeout=60))
    responses = await _ask_all(cached, ASK, ASK)
    assert [response.text for response in responses] == ["x", "x"]
    assert model.calls == 1


async def test_cancelled_at_every_wait_nothing_is_kept_or_lost(clock: FakeClock) -> None:
    """Cancelled at any wait, the call under way ends, and the next call is answered."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Call]:
        model = Script("x", then="repeat", latency=1, clock=clock)
        cached = gp.wrap(model, _cache(clock))
        yield lambda: cached(ASK)
        assert model.in_flight == 0
        assert (await cached(ASK)).text == "x"

    assert await cancel_at_every_wait(scenario, may_finish=True) >= 1


async def test_a_follower_cancelled_at_every_wait_disturbs_nobody(clock: FakeClock) -> None:
    """A follower that leaves at any wait costs the leader nothing."""

    @asynccontextmanager
    async def scenario() -> AsyncIterator[Call]:
        model = Script("x", latency=1, clock=clock)
        cached = gp.wrap(model, _cache(clock))
        answers: list[Any] = []

        async def lead() -> None:
            answers.extend(await _ask_all(cached, ASK))

        async with anyio.create_task_group() as group:
            group.start_soon(lead)
            await clock.sleep(0.5)
            yield lambda: cached(ASK)
        assert [answer.text for answer in answers] == ["x"]
        assert model.calls == 1

    assert await cancel_at_every_wait(scenario) == 1


def test_a_cache_may_be_used_on_one_loop_after_another() -> None:
    """The same cache serves several event loops in turn, the entries being those of its store."""
    model = Script("x")
    cached = gp.wrap(model, Cache(store=Memory(), scope="m"))

    async def ask() -> str:
        return (await cached(ASK)).text

    assert [anyio.run(ask, backend=backend) for backend in ("asyncio", "trio", "asyncio")] == [
        "x"
    ] * 3
    assert model.calls == 1


async def test_a_refusal_from_below_goes_through() -> None:
    """A Rejected is raised as it is, so that the record waits."""
    cached = gp.wrap(Script(Rejected("wait", retry_after=9)), _cache(FakeClock()))
    with pytest.raises(Rejected) as caught:
        await cached(ASK)
    assert caught.value.retry_after == 9


@pytest.mark.parametrize(
    ("options", "named"),
    [
        ({"store": 1}, "store=1"),
        ({"store": {}}, "store={}"),
        ({"store": Memory}, "store="),
        ({"ttl": 0}, "ttl=0"),
        ({"ttl": -1}, "ttl=-1"),
        ({"stale_for": -1}, "stale_for=-1"),
        ({"stale_on": 1}, "stale_on=1"),
        ({"scope": ""}, "scope=''"),
        ({"per": [""]}, "per="),
        ({"per": 3}, "per=3"),
        ({"key": "x"}, "key='x'"),
        ({"keep": 1}, "keep=1"),
        ({"store_timeout": 0}, "store_timeout=0"),
    ],
)
def test_wrong_options_are_named(options: dict[str, Any], named: str) -> None:
    """A wrong option is a ConfigurationError that names it."""
    with pytest.raises(ConfigurationError, match=named):
        Cache(**{"store": Memory(), **options})
