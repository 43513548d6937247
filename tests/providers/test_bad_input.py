"""Whatever servers send has the outcome that the reference tells, for each provider over HTTP."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.events import CallFinished
from tests.providers.bad_answers import CASES, LIMIT, Case, mutants
from tests.providers.embedder_wires import EMBEDDERS
from tests.providers.lent import LENT
from tests.providers.wires import Wire
from tests.servers.chat import http
from tests.servers.exact import ExactServer

pytestmark = pytest.mark.anyio
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "bad-input.md"
HEADING = "the server sends"


def rows(section: str) -> dict[str, tuple[str, ...]]:
    """Answer the cells of the table in a *section* of the reference, by the first of a row."""
    page = PAGE.read_text("utf-8")
    (text,) = re.findall(rf"^## {section}\n(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL)
    lines = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {case: tuple(others) for case, *others in cells if case != HEADING}


OUTCOMES = rows("On the way") | rows("In a document, or in an event")
OF_LENT = rows("Through an SDK's client")
OF_EMBEDDERS = rows("From a model that embeds")
ASK = gp.Request("hello")
READ, THAT_ERROR = "read", "that error"
ODD: tuple[Any, ...] = (None, True, -1, 1.5, 2**70, "", "x\u2028y", [], [None], {}, {"x": [{}]})
ODD_IN_EVENTS: tuple[Any, ...] = (None, 2**70, "x\u2028y", [None], {"x": [{}]})

one_loop = pytest.mark.parametrize("anyio_backend", ["asyncio"])
"""For what the event loop has no part in, and many answers."""


@pytest.fixture(params=LENT)
def lent(request: pytest.FixtureRequest) -> Wire:
    """Give each SDK's client in turn."""
    return LENT[request.param]


@pytest.fixture(params=EMBEDDERS)
def embedder(request: pytest.FixtureRequest) -> Wire:
    """Give each model that embeds in turn."""
    return EMBEDDERS[request.param]


class Outcome:
    """What came of a call or of a stream: an answer or an error, and the text that came."""

    def __init__(self) -> None:
        self.text = ""
        self.response: gp.Response | None = None
        self.error: errors.PipelineError | None = None
        self.told: list[CallFinished] = []

    def check(self, expected: str) -> None:
        """Assert that it is what a cell of the table says, and was told of once."""
        (event,) = self.told
        assert event.error == (None if self.error is None else type(self.error).__name__)
        if self.error is None:
            assert READ in expected.split(" or ")
            assert self.text == "fine"
            return
        assert len(str(self.error)) < 500
        if expected == THAT_ERROR:
            assert "too busy" in str(self.error)
            assert isinstance(self.error, errors.Transient)
        else:
            assert f"`{type(self.error).__name__}`" in expected.split(" or ")
        if isinstance(self.error, errors.ConnectionFailed):
            assert self.error.sent
        if isinstance(self.error, errors.StreamInterrupted):
            assert self.error.partial == self.text


async def called(provider: Any, exact: ExactServer, answer: bytes) -> Outcome:
    """Answer what comes of a call that is answered so."""
    came = Outcome()
    exact.say(answer)
    with gp.listen(lambda event: _note(came, event)):
        try:
            came.response = await provider(ASK)
            came.text = came.response.text
        except errors.PipelineError as error:
            came.error = error
    return came


async def streamed(provider: Any, exact: ExactServer, answer: bytes, *, pause: int = 0) -> Outcome:
    """Answer what comes of a stream that is sent so, with a pause until its first chunk is here."""
    came, chunks = Outcome(), list[gp.Chunk]()
    exact.say(answer, pause=pause)
    with gp.listen(lambda event: _note(came, event)):
        try:
            async with provider.stream(ASK) as pieces:
                async for chunk in pieces:
                    chunks.append(chunk)
                    exact.go_on()
            came.response = gp.join_chunks(chunks)
        except errors.PipelineError as error:
            came.error = error
    came.text = "".join(chunk.text for chunk in chunks)
    return came


def _note(came: Outcome, event: object) -> None:
    if isinstance(event, CallFinished):
        came.told.append(event)


def _dumped(document: Any) -> bytes:
    return json.dumps(document).encode()


def test_the_reference_tells_of_each_case() -> None:
    """The tables have a row for each sort of bad input, and further ones for what differs."""
    assert OUTCOMES.keys() == CASES.keys()
    assert OF_LENT.keys() < CASES.keys()
    assert OF_EMBEDDERS.keys() < CASES.keys()
    assert all(OUTCOMES[name] != outcomes for name, outcomes in OF_LENT.items())
    assert all(OUTCOMES[name][:1] != outcomes for name, outcomes in OF_EMBEDDERS.items())


@pytest.mark.parametrize("name", CASES)
async def test_bad_input_has_the_outcome_that_is_told(
    exact: ExactServer, wire: Wire, name: str
) -> None:
    """A call, a stream, and a stream that has begun, end as the row of the reference says."""
    await check_each(exact, wire, CASES[name], OUTCOMES[name])


@one_loop
@pytest.mark.parametrize("name", CASES)
async def test_so_it_has_through_an_sdks_client(exact: ExactServer, lent: Wire, name: str) -> None:
    """Where the table of what differs through a client has no row, the others count."""
    await check_each(exact, lent, CASES[name], OF_LENT.get(name, OUTCOMES[name]))


@one_loop
@pytest.mark.parametrize("name", CASES)
async def test_so_it_has_of_a_model_that_embeds(
    exact: ExactServer, embedder: Wire, name: str
) -> None:
    """Where the table of what differs of vectors has no row, what is told of calls counts."""
    (call,) = OF_EMBEDDERS.get(name, OUTCOMES[name][:1])
    await check_each(exact, embedder, CASES[name], (call, "", ""))


async def check_each(exact: ExactServer, wire: Wire, case: Case, outcomes: tuple[str, ...]) -> None:
    """Assert that a call, a stream, and one that has begun end as is told, where something is."""
    call, stream, later = outcomes
    head, rest = wire.halves()
    before, after = wire.coded(head), wire.coded(rest) + wire.end
    provider = wire.make(exact.address, max_answer_bytes=LIMIT)
    answer = case.whole(wire) if case.whole and call else None
    if answer is not None:
        (await called(provider, exact, answer)).check(call)
    answer = case.streamed(wire, b"", before + after) if case.streamed and stream else None
    if answer is not None:
        (await streamed(provider, exact, answer)).check(stream)
    answer = case.streamed(wire, before, after) if case.streamed and later else None
    if answer is not None:
        pause = answer.index(before) + len(before)
        came = await streamed(provider, exact, answer, pause=pause)
        came.check(later)
        assert came.text


@one_loop
async def test_usage_is_never_a_wrong_number(exact: ExactServer, wire: Wire) -> None:
    """Numbers that cannot be counts, or are none, count nothing, and attributes stay JSON."""
    provider = wire.make(exact.address)
    async with gp.wrap(provider):
        for name in (each for each in CASES if each.endswith("for every number")):
            case = CASES[name]
            assert case.whole is not None
            assert case.streamed is not None
            whole, stream = case.whole(wire), case.streamed(wire, b"", b"")
            assert whole is not None
            assert stream is not None
            for came in (
                await called(provider, exact, whole),
                await streamed(provider, exact, stream),
            ):
                assert came.response is not None
                usage = came.response.usage
                assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens) == (0, 0, 0)
                json.dumps(came.response.attributes, allow_nan=False)


@one_loop
async def test_odd_values_are_never_a_crash(exact: ExactServer, wire: Wire) -> None:
    """Whatever stands in whichever place of an answer, there is a defined outcome."""
    provider = wire.make(exact.address)
    async with gp.wrap(provider):
        for document in mutants(wire.whole("fine"), ODD):
            came = await called(provider, exact, http(_dumped(document)))
            assert (came.response is None) == (came.error is not None)


@one_loop
async def test_odd_values_among_vectors_are_never_a_crash(
    exact: ExactServer, embedder: Wire
) -> None:
    """Whatever stands in whichever place of an answer of vectors, there is a defined outcome."""
    provider = embedder.make(exact.address)
    for document in mutants(embedder.whole("fine"), ODD):
        came = await called(provider, exact, http(_dumped(document)))
        assert (came.response is None) == (came.error is not None)


@one_loop
async def test_odd_values_in_a_stream_are_never_a_crash(exact: ExactServer, wire: Wire) -> None:
    """Whatever stands in whichever place of an event, there is a defined outcome."""
    provider = wire.make(exact.address)
    events = wire.events("fine")
    async with gp.wrap(provider):
        for at, (name, document) in enumerate(events):
            if document in [told for _, told in events[:at]]:
                continue
            before, after = wire.coded(events[:at]), wire.coded(events[at + 1 :]) + wire.end
            for mutant in mutants(document, ODD_IN_EVENTS):
                body = before + wire.frame(name, _dumped(mutant)) + after
                came = await streamed(provider, exact, http(body, kind=wire.media_type))
                assert (came.response is None) == (came.error is not None)
