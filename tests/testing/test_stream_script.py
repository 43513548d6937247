"""A scripted stream keeps the contract, and plays what goes wrong."""

from __future__ import annotations

import pytest

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.testing import (
    FakeClock,
    Script,
    ScriptError,
    StreamingProviderContract,
    StreamScript,
)

pytestmark = pytest.mark.anyio
ASK = gp.Request("how are you")
TEXT = "well and you"


async def read(stream: gp.StreamingProvider, request: gp.Request = ASK) -> list[gp.Chunk]:
    async with stream(request) as chunks:
        return [chunk async for chunk in chunks]


class TestStreamScript(StreamingProviderContract):
    """The double that users test with is a streaming provider by the book."""

    def make(self) -> gp.StreamingProvider:
        return StreamScript(*[TEXT] * 300)

    def make_whole(self) -> gp.Provider:
        return Script(TEXT)

    def make_failing(self) -> gp.StreamingProvider:
        return StreamScript(errors.Overloaded("busy"))

    def make_breaking(self) -> gp.StreamingProvider:
        return StreamScript(["well ", errors.ConnectionFailed("reset")])

    def make_silent(self, clock: FakeClock) -> gp.StreamingProvider:
        return StreamScript(["well ", 3600.0, "and"], clock=clock)

    async def check_closed(self, stream: gp.StreamingProvider) -> None:
        assert isinstance(stream, StreamScript)
        assert stream.in_flight == 0


async def test_a_text_comes_word_by_word() -> None:
    """Each word is a chunk, and the last one counts words as tokens."""
    script = StreamScript(TEXT)
    chunks = await read(script)
    assert [chunk.text for chunk in chunks] == ["well ", "and ", "you", ""]
    assert chunks[-1].usage == gp.Usage(input_tokens=3, output_tokens=3)
    assert (script.calls, script.left, script.requests) == (1, 0, [ASK])


async def test_silence_passes_on_the_clock(clock: FakeClock) -> None:
    """A number among the pieces is so many seconds before the next."""
    await read(StreamScript([5, "a", 2.5, "b"], clock=clock))
    assert clock.now() == 7.5


async def test_none_is_an_end_without_a_last_chunk() -> None:
    """A stream that ends early is no answer, and says what came."""
    with pytest.raises(errors.StreamInterrupted) as caught:
        await read(StreamScript(["a", None]))
    assert caught.value.partial == "a"


async def test_a_chunk_goes_out_as_it_is() -> None:
    """With a last chunk of its own, the script adds none."""
    last = gp.Chunk("!", finish_reason="length", usage=gp.Usage(output_tokens=9))
    assert await read(StreamScript(["a", last])) == [gp.Chunk("a"), last]


async def test_a_call_too_many_is_a_mistake_of_the_test() -> None:
    """The error says how many answers there are."""
    with pytest.raises(ScriptError, match="1 answer, and this is call 2"):
        script = StreamScript("a")
        await read(script)
        await read(script)


def test_an_answer_that_is_none_is_refused() -> None:
    """A number alone is no answer."""
    with pytest.raises(gp.ConfigurationError, match=r"answers\[0\]=3"):
        StreamScript(3)  # type: ignore[arg-type]
