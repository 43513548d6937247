"""`embed`: records share requests, and each fails for its own text alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

import genai_pipeline as gp
from genai_pipeline import errors
from genai_pipeline.embeddings import Embedded
from genai_pipeline.testing import FakeClock
from tests.engine.doubles import Kept, Ledger

pytestmark = pytest.mark.anyio


class Lengths:
    """Embeds a text as its length, refuses those that are bad, and writes its requests down."""

    model = "lengths"

    def __init__(
        self, bad: Callable[[str], bool] = lambda _: False, *, error: Exception | None = None
    ) -> None:
        self.requests: list[tuple[str, ...]] = []
        self.asked: list[gp.EmbeddingRequest] = []
        self._bad = bad
        self._error = error or errors.ContextOverflow("a text is too long")

    async def __call__(self, request: gp.EmbeddingRequest) -> gp.EmbeddingResponse:
        await anyio.lowlevel.checkpoint()
        self.requests.append(request.texts)
        self.asked.append(request)
        if any(map(self._bad, request.texts)):
            raise self._error
        return gp.EmbeddingResponse([[float(len(text))] for text in request.texts])


async def embed_all(stage: gp.Stage[Any, Any], values: list[Any]) -> list[Any]:
    """Put all values through *stage* at once; answer lengths and errors, in order."""
    ends: list[Any] = [None] * len(values)

    async def one(place: int, value: Any) -> None:
        try:
            (record,) = await stage(gp.Record(value, str(place)))
        except Exception as error:  # noqa: BLE001 - compared by the test
            ends[place] = error
        else:
            assert record.value.value == value
            ends[place] = record.value.vector[0]

    async with anyio.create_task_group() as group:
        for place, value in enumerate(values):
            group.start_soon(one, place, value)
    return ends


async def test_records_share_a_request(clock: FakeClock) -> None:
    """Texts that come at the same time go together, and each record gets its own vector."""
    embedder = Lengths()
    ends = await embed_all(gp.embed(embedder, clock=clock), ["a", "bb", "ccc"])
    assert ends == [1, 2, 3]
    assert sorted(map(len, embedder.requests)) == [3]


async def test_requests_keep_to_items_and_tokens(clock: FakeClock) -> None:
    """No request has more texts or tokens than was said; what is longer goes alone."""
    embedder = Lengths()
    await embed_all(gp.embed(embedder, size=2, clock=clock), ["a"] * 5)
    assert sorted(map(len, embedder.requests)) == [1, 2, 2]
    embedder = Lengths()
    stage = gp.embed(embedder, max_tokens=10, count_tokens=len, clock=clock)
    texts = ["1234", "123456", "123", "12345678901234", "1"]
    await embed_all(stage, texts)
    for request in embedder.requests:
        assert sum(map(len, request)) <= 10 or len(request) == 1
    assert sorted(text for request in embedder.requests for text in request) == sorted(texts)
    assert len(embedder.requests) < len(texts)


async def test_tokens_are_estimated_unless_counted(clock: FakeClock) -> None:
    """Without a counter, a quarter on top of the estimate makes rather too little go together."""
    embedder = Lengths()
    texts = ["x" * 320] * 5  # 80 tokens each, and 20 on top
    await embed_all(gp.embed(embedder, max_tokens=200, clock=clock), texts)
    assert sorted(map(len, embedder.requests)) == [1, 2, 2]
    embedder = Lengths()
    await embed_all(gp.embed(embedder, max_tokens=199, clock=clock), texts)
    assert sorted(map(len, embedder.requests)) == [1] * 5


@pytest.mark.parametrize(("told", "together"), [(160, 1), (38, 4)])
async def test_packing_learns_from_answers(told: int, together: int, clock: FakeClock) -> None:
    """What answers tell of the tokens of texts decides how many of the next ones go together."""
    sizes: list[int] = []

    async def embedder(request: gp.EmbeddingRequest) -> gp.EmbeddingResponse:
        sizes.append(len(request.texts))
        usage = gp.Usage(input_tokens=told * len(request.texts))
        return gp.EmbeddingResponse([[1.0]] * len(request.texts), usage=usage)

    stage = gp.embed(embedder, max_tokens=200, clock=clock)
    for _ in range(100):
        await embed_all(stage, ["x" * 320])
    sizes.clear()
    await embed_all(stage, ["x" * 320] * together)
    assert sizes == [together]
    sizes.clear()
    await embed_all(stage, ["x" * 320] * (together + 1))
    assert sorted(sizes) == [1, together]


@given(
    sizes=st.lists(st.integers(1, 60), min_size=1, max_size=40),
    limit=st.integers(1, 60),
    backend=st.sampled_from(["asyncio", "trio"]),
)
def test_each_text_fails_for_itself_alone(sizes: list[int], limit: int, backend: str) -> None:
    """Property: whichever texts are too long fail, and the others have their vectors."""

    async def run() -> None:
        async with FakeClock() as clock:
            embedder = Lengths(lambda text: len(text) > limit)
            ends = await embed_all(gp.embed(embedder, clock=clock), ["x" * size for size in sizes])
        for size, end in zip(sizes, ends, strict=True):
            assert end == size or (size > limit and isinstance(end, errors.ContextOverflow))
        bad = sum(size > limit for size in sizes)
        assert len(embedder.requests) <= 1 + 2 * (bad + 1) * len(sizes).bit_length()

    anyio.run(run, backend=backend)


class Knowing(Lengths):
    """Tells which texts are too long before it asks anybody, as embedders of this library do."""

    async def __call__(self, request: gp.EmbeddingRequest) -> gp.EmbeddingResponse:
        texts = enumerate(request.texts)
        bad = {at: errors.ContextOverflow(text) for at, text in texts if self._bad(text)}
        if bad:
            raise errors.ContextOverflow("some texts are too long", texts=bad)
        return await super().__call__(request)


@pytest.mark.parametrize("retried", [False, True])
async def test_texts_that_are_known_to_be_too_long_are_not_searched_for(
    retried: bool, clock: FakeClock
) -> None:
    """They fail, each with its own error, and the others go in one request."""
    embedder = Knowing(lambda text: len(text) > 3)
    model = gp.wrap(embedder, gp.Retry(on=gp.Transient)) if retried else embedder
    ends = await embed_all(gp.embed(model, clock=clock), ["a", "four", "bb", "longer", "ccc"])
    assert [str(end) for end in ends] == ["1.0", "four", "2.0", "longer", "3.0"]
    assert list(map(sorted, embedder.requests)) == [["a", "bb", "ccc"]]
    ends = await embed_all(gp.embed(model, clock=clock), ["four", "longer"])
    assert [str(end) for end in ends] == ["four", "longer"]
    assert len(embedder.requests) == 1


async def test_what_is_too_long_fails_for_that_also_when_the_others_fail(clock: FakeClock) -> None:
    """An error of the others' request is theirs alone."""

    async def embedder(request: gp.EmbeddingRequest) -> gp.EmbeddingResponse:
        if "long" in request.texts:
            found = {request.texts.index("long"): errors.ContextOverflow("it is long")}
            raise errors.ContextOverflow("one of them is long", texts=found)
        raise errors.RateLimited("slow down")

    ends = await embed_all(gp.embed(embedder, clock=clock), ["a", "long", "b"])
    assert [str(end) for end in ends] == ["slow down", "it is long", "slow down"]


async def test_one_bad_text_of_many_costs_few_requests(clock: FakeClock) -> None:
    """The text that is too long is found by halving, longest last."""
    embedder = Lengths(lambda text: len(text) > 2000)
    ends = await embed_all(
        gp.embed(embedder, clock=clock), ["x" * (1 + i) for i in range(1000)] + ["y" * 3000]
    )
    assert ends[:-1] == list(range(1, 1001))
    assert isinstance(ends[-1], errors.ContextOverflow)
    assert len(embedder.requests) <= 22


async def test_what_no_text_is_to_blame_for_is_not_searched_for(clock: FakeClock) -> None:
    """When three texts fail each alone and none succeeds, all fail, and no more is asked."""
    embedder = Lengths(lambda _: True, error=errors.InvalidRequest("no such model"))
    ends = await embed_all(gp.embed(embedder, clock=clock), ["x"] * 1000)
    assert all(str(end) == "no such model" for end in ends)
    assert len(embedder.requests) <= 20


@pytest.mark.parametrize(
    "error", [gp.Transient("down"), errors.AuthenticationFailed("no key"), OSError("broken")]
)
async def test_what_passes_or_is_everyones_is_not_halved(
    clock: FakeClock, error: Exception
) -> None:
    """An error that no text causes is every record's, after one request."""
    embedder = Lengths(lambda _: True, error=error)
    ends = await embed_all(gp.embed(embedder, clock=clock), ["a", "b", "c"])
    assert ends == [error] * 3
    assert len(embedder.requests) == 1


async def test_vectors_found_before_an_outage_are_kept(clock: FakeClock) -> None:
    """An outage in the middle of a search fails those without an answer, and no others."""

    class Breaking(Lengths):
        async def __call__(self, request: gp.EmbeddingRequest) -> gp.EmbeddingResponse:
            if len(self.requests) == 2:
                raise gp.Transient("down")
            return await super().__call__(request)

    embedder = Breaking(lambda text: len(text) > 3)
    ends = await embed_all(gp.embed(embedder, clock=clock), ["a", "bb", "ccc", "dddd"])
    assert ends[:2] == [1, 2]
    assert all(isinstance(end, gp.Transient) for end in ends[2:])


async def test_a_lost_vector_shifts_nothing(clock: FakeClock) -> None:
    """An embedder that answers too few vectors is told of, and nobody gets another's."""

    async def short(request: gp.EmbeddingRequest) -> gp.EmbeddingResponse:
        return gp.EmbeddingResponse([[1.0]] * (len(request.texts) - 1))

    ends = await embed_all(gp.embed(short, clock=clock), ["a", "b"])
    assert all(isinstance(end, errors.InvalidAnswer) for end in ends)
    assert "1 vectors came for 2 texts" in str(ends[0])


async def test_the_text_is_what_is_asked_for(clock: FakeClock) -> None:
    """``text=`` says what to embed of a value; a value that is none is the data's fault."""

    def body(row: dict[str, Any]) -> str:
        return row["body"]  # type: ignore[no-any-return]

    embedder = Lengths()
    stage = gp.embed(embedder, text=body, dimensions=8, task="document", clock=clock)
    good, bad = await embed_all(stage, [{"body": "abc"}, {"body": None}])
    assert good == 3
    assert isinstance(bad, errors.DataError)
    assert "the text of '1' is a NoneType" in str(bad)
    (asked,) = embedder.asked
    assert (asked.dimensions, asked.task) == (8, "document")


async def test_it_is_a_stage_of_a_pipeline() -> None:
    """Every record of a run has its vector, in requests of as many as walk at once."""
    embedder, sink = Lengths(), Kept()
    report = await gp.Pipeline(
        source=Ledger(["x" * (1 + i) for i in range(50)]),
        stage=gp.embed(embedder),
        sink=sink,
        max_in_flight=10,
    ).run()
    assert report.written == 50
    values: Sequence[Embedded[str]] = sink.values
    assert all(one.vector[0] == len(one.value) for one in values)
    assert len(embedder.requests) < 50


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"size": 0}, "size=0"),
        ({"max_tokens": 0}, "max_tokens=0"),
        ({"linger": -1}, "linger=-1"),
        ({"text": "body"}, "text='body'; give a function of a value"),
        ({"count_tokens": 3}, "count_tokens=3"),
        ({"task": "search"}, "task='search'"),
        ({"dimensions": 0}, "dimensions=0"),
        ({"extra": {"x": {1}}}, "extra"),
        ({"version": ""}, "version=''"),
        ({"on_unknown": "guess"}, "on_unknown='guess'"),
    ],
)
async def test_options_are_validated(options: dict[str, Any], words: str) -> None:
    """A wrong option is refused when the stage is built."""
    with pytest.raises(gp.ConfigurationError, match=words):
        gp.embed(Lengths(), **options)
    with pytest.raises(gp.ConfigurationError, match="embedder=3; give an embedder"):
        gp.embed(3)  # type: ignore[call-overload]
