"""Whatever servers send has the outcome that the reference tells, for each provider over HTTP."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.events import CallFinished
from tests.providers.bad_answers import CASES, LIMIT, mutants
from tests.providers.wires import WIRES, Wire
from tests.servers.chat import http
from tests.servers.exact import ExactServer

pytestmark = pytest.mark.anyio
PAGE = Path(__file__).parents[2] / "docs" / "reference" / "bad-input.md"
ROW = re.compile(r"^\| (.+?) \| (.*?) ?\| (.*?) ?\| (.*?) ?\|$", re.MULTILINE)
OUTCOMES = {
    case: (call, stream, later)
    for case, call, stream, later in ROW.findall(PAGE.read_text("utf-8"))
    if case != "the server sends"
}
ASK = gp.Request("hello")
READ, THAT_ERROR = "read", "that error"
ODD: tuple[Any, ...] = (None, True, -1, 1.5, 2**70, "", "x\u2028y", [], [None], {}, {"x": [{}]})
ODD_IN_EVENTS: tuple[Any, ...] = (None, 2**70, "x\u2028y", [None], {"x": [{}]})

one_loop = pytest.mark.parametrize("anyio_backend", ["asyncio"])
"""For what the event loop has no part in, and many answers."""


@pytest.fixture(scope="module")
def server() -> Iterator[ExactServer]:
    """Give a server that sends what it is told to."""
    with ExactServer() as exact:
        yield exact


@pytest.fixture(params=WIRES)
def wire(request: pytest.FixtureRequest) -> Wire:
    """Give each API in turn."""
    return WIRES[request.param]


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
        if expected == READ:
            assert self.error is None
            assert self.text == "fine"
            return
        assert self.error is not None
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


async def called(provider: Any, server: ExactServer, answer: bytes) -> Outcome:
    """Answer what comes of a call that is answered so."""
    came = Outcome()
    server.say(answer)
    with gp.listen(lambda event: _note(came, event)):
        try:
            came.response = await provider(ASK)
            came.text = came.response.text
        except errors.PipelineError as error:
            came.error = error
    return came


async def streamed(provider: Any, server: ExactServer, answer: bytes, *, pause: int = 0) -> Outcome:
    """Answer what comes of a stream that is sent so, with a pause until its first chunk is here."""
    came, chunks = Outcome(), list[gp.Chunk]()
    server.say(answer, pause=pause)
    with gp.listen(lambda event: _note(came, event)):
        try:
            async with provider.stream(ASK) as pieces:
                async for chunk in pieces:
                    chunks.append(chunk)
                    server.go_on()
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
    """The tables have a row for each sort of bad input, and no other."""
    assert OUTCOMES.keys() == CASES.keys()


@pytest.mark.parametrize("name", CASES)
async def test_bad_input_has_the_outcome_that_is_told(
    server: ExactServer, wire: Wire, name: str
) -> None:
    """A call, a stream, and a stream that has begun, end as the row of the reference says."""
    case, (call, stream, later) = CASES[name], OUTCOMES[name]
    head, rest = wire.halves()
    before, after = wire.coded(head), wire.coded(rest) + wire.end
    provider = wire.make(server.address, max_answer_bytes=LIMIT)
    answer = case.whole(wire) if case.whole and call else None
    if answer is not None:
        (await called(provider, server, answer)).check(call)
    answer = case.streamed(wire, b"", before + after) if case.streamed and stream else None
    if answer is not None:
        (await streamed(provider, server, answer)).check(stream)
    answer = case.streamed(wire, before, after) if case.streamed and later else None
    if answer is not None:
        pause = answer.index(before) + len(before)
        came = await streamed(provider, server, answer, pause=pause)
        came.check(later)
        assert came.text


@one_loop
async def test_usage_is_never_a_wrong_number(server: ExactServer, wire: Wire) -> None:
    """Numbers that cannot be counts, or are none, count nothing, and attributes stay JSON."""
    provider = wire.make(server.address)
    async with gp.wrap(provider):
        for name in (each for each in CASES if each.endswith("for every number")):
            case = CASES[name]
            assert case.whole is not None
            assert case.streamed is not None
            whole, stream = case.whole(wire), case.streamed(wire, b"", b"")
            assert whole is not None
            assert stream is not None
            for came in (
                await called(provider, server, whole),
                await streamed(provider, server, stream),
            ):
                assert came.response is not None
                usage = came.response.usage
                assert (usage.input_tokens, usage.output_tokens, usage.cached_tokens) == (0, 0, 0)
                json.dumps(came.response.attributes, allow_nan=False)


@one_loop
async def test_odd_values_are_never_a_crash(server: ExactServer, wire: Wire) -> None:
    """Whatever stands in whichever place of an answer, there is a defined outcome."""
    provider = wire.make(server.address)
    async with gp.wrap(provider):
        for document in mutants(wire.whole("fine"), ODD):
            came = await called(provider, server, http(_dumped(document)))
            assert (came.response is None) == (came.error is not None)


@one_loop
async def test_odd_values_in_a_stream_are_never_a_crash(server: ExactServer, wire: Wire) -> None:
    """Whatever stands in whichever place of an event, there is a defined outcome."""
    provider = wire.make(server.address)
    events = wire.events("fine")
    async with gp.wrap(provider):
        for at, (name, document) in enumerate(events):
            if document in [told for _, told in events[:at]]:
                continue
            before, after = wire.coded(events[:at]), wire.coded(events[at + 1 :]) + wire.end
            for mutant in mutants(document, ODD_IN_EVENTS):
                body = before + wire.frame(name, _dumped(mutant)) + after
                came = await streamed(provider, server, http(body, kind=wire.media_type))
                assert (came.response is None) == (came.error is not None)
