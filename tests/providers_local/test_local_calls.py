"""How the embedded model behaves as a provider: events, concurrency, cancellation, loops."""

from __future__ import annotations

from decimal import Decimal

import anyio
import pytest

import genai_pipeline as gp
from genai_pipeline import events
from genai_pipeline.errors import InvalidRequest
from genai_pipeline.providers import Local, _local_loading

pytestmark = [pytest.mark.anyio, pytest.mark.extras]

PARCEL = gp.Request("the parcel is late", labels=["billing", "delivery"])


@pytest.fixture
def unread(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the vectors be unread, as in a new process."""
    monkeypatch.setattr(_local_loading, "_loaded", None)


async def test_each_answered_call_is_told_once(local: Local) -> None:
    """One event tells provider, model, tokens, cost and how the answer ended."""
    heard: list[events.Event] = []

    with gp.listen(heard.append):
        response = await local(PARCEL)

    (event,) = heard
    assert isinstance(event, events.CallFinished)
    assert (event.provider, event.model) == ("local", response.model)
    assert event.input_tokens == response.usage.input_tokens > 0
    assert event.output_tokens == response.usage.output_tokens > 0
    assert (event.cost, event.finish_reason, event.error) == (Decimal(0), "stop", None)
    assert event.seconds >= 0


async def test_a_refused_call_is_told_with_its_error(local: Local) -> None:
    """A failure is one event too, and names the class of the error."""
    heard: list[events.CallFinished] = []

    with gp.listen(heard.append), pytest.raises(InvalidRequest):
        await local(gp.Request("Write a poem"))

    assert [event.error for event in heard] == ["InvalidRequest"]


async def test_a_batch_of_embeddings_is_one_call(local: Local) -> None:
    """Embedding several texts is told once, with the tokens of all."""
    heard: list[events.CallFinished] = []

    with gp.listen(heard.append):
        await local.embed(["one text", "another text"])

    (event,) = heard
    assert event.input_tokens == 4


async def test_a_call_takes_the_time_of_the_clock_it_was_given() -> None:
    """The seconds of a call are those of the injected clock."""
    heard: list[events.CallFinished] = []

    class Stepping(gp.SystemClock):
        """A clock that moves by one second at each look."""

        seen = 0

        def now(self) -> float:
            self.seen += 1
            return float(self.seen)

    with gp.listen(heard.append):
        await Local(clock=Stepping())(PARCEL)

    assert [event.seconds for event in heard] == [1.0]


@pytest.mark.usefixtures("unread")
async def test_concurrent_first_calls_read_the_vectors_once(
    local: Local, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Many calls at once share one reading, and none gets the answer of another."""
    from genai_pipeline.providers._local_vectors import WordVectors

    readings = 0
    load = WordVectors.load

    def counted(files: object) -> WordVectors:
        nonlocal readings
        readings += 1
        return load(files)  # type: ignore[arg-type]

    monkeypatch.setattr(WordVectors, "load", counted)
    answers: dict[int, str] = {}

    async def call(number: int) -> None:
        text = "the parcel is late" if number % 2 else "a wrong invoice"
        answers[number] = (await local(gp.Request(text, labels=PARCEL.labels))).text

    async with anyio.create_task_group() as group:
        for number in range(100):
            group.start_soon(call, number)

    assert readings == 1
    assert answers == {n: "delivery" if n % 2 else "billing" for n in range(100)}


@pytest.mark.usefixtures("unread")
async def test_a_call_cancelled_while_reading_leaves_the_next_one_whole(local: Local) -> None:
    """Cancelling the first call, at its first wait or during the reading, harms no other."""
    heard: list[events.CallFinished] = []

    with gp.listen(heard.append), anyio.CancelScope() as scope:
        scope.cancel()
        await local(PARCEL)
    assert scope.cancelled_caught
    assert [event.error for event in heard] == ["Cancelled"]

    async with anyio.create_task_group() as group:
        group.start_soon(local, PARCEL)
        await anyio.lowlevel.checkpoint()
        await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()

    assert (await local(PARCEL)).text == "delivery"


def test_one_provider_serves_several_event_loops(local: Local) -> None:
    """The same object works in one loop after another, of either kind."""
    texts = [
        anyio.run(local, PARCEL, backend=backend).text for backend in ("asyncio", "trio", "asyncio")
    ]

    assert texts == ["delivery"] * 3


@pytest.mark.usefixtures("unread")
def test_one_provider_serves_loops_in_several_threads(local: Local) -> None:
    """Loops in different threads, all new to the vectors, get the right answers."""

    async def elsewhere() -> list[str]:
        texts: list[str] = []

        async def one(backend: str) -> None:
            response = await anyio.to_thread.run_sync(
                lambda: anyio.run(local, PARCEL, backend=backend)
            )
            texts.append(response.text)

        async with anyio.create_task_group() as group:
            for backend in ("asyncio", "trio", "asyncio"):
                group.start_soon(one, backend)
        return texts

    assert anyio.run(elsewhere) == ["delivery"] * 3
