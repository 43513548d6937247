"""`embed`: a stage that gives each value the vector of its text."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar, overload

import attrs

from genai_pipeline import _options
from genai_pipeline._batched import Batched
from genai_pipeline._canonical import digest, json_copy
from genai_pipeline._lifespan import Composite
from genai_pipeline._options import check
from genai_pipeline._paid import OnUnknown, current_recorder
from genai_pipeline._versions import check_mark
from genai_pipeline._wrap import name_of
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.embeddings import Embedded, EmbeddingRequest, EmbeddingTask, Vector
from genai_pipeline.errors import ContextOverflow, DataError, InvalidAnswer, Permanent
from genai_pipeline.messages import Usage
from genai_pipeline.records import Record
from genai_pipeline.tokens import TokenEstimator
from genai_pipeline.types import Embedder, Stage

__all__ = ["embed"]

A = TypeVar("A")

_ON_TOP = 1.25
_HOPELESS = 3
"""So many texts fail each alone, and none succeeds: then it is for no text that they fail."""


class _About:
    """Counts about, rather too many tokens than too few, and learns from what answers tell."""

    def __init__(self) -> None:
        self._estimator = TokenEstimator()

    def __call__(self, text: str) -> int:
        return math.ceil(self._estimator.count(text) * _ON_TOP)

    def learn(self, request: EmbeddingRequest, usage: Usage) -> None:
        counted = self._estimator.counter.count(request)
        self._estimator.learn(counted, usage.input_tokens)


@attrs.frozen(kw_only=True, eq=False)
class _Packs(Composite):
    """Embeds many texts in one request, and in several where a text of them is refused."""

    embedder: Embedder
    name: str
    dimensions: int | None
    task: EmbeddingTask | None
    extra: Mapping[str, Any]
    about: _About | None
    """What counts the tokens of texts, if nothing better was given."""

    def parts(self) -> Iterable[object]:
        """Answer what is opened and closed with this."""
        return (self.embedder,)

    async def one(self, text: str) -> Vector:
        """Answer the vector of *text*."""
        (vector,) = await self.ask((text,))
        return vector

    async def __call__(self, texts: Sequence[str]) -> Sequence[Vector | Exception]:
        """Answer a vector for each of *texts*, or why there is none."""
        try:
            return await self.ask(texts)
        except Permanent as error:
            if len(texts) == 1:
                return [error]
            told = error.texts if isinstance(error, ContextOverflow) else {}
            known = {place: told[place] for place in range(len(texts)) if place in told}
            return await (self._others(texts, known) if known else _Search(self, texts).answers())

    async def _others(
        self, texts: Sequence[str], known: Mapping[int, Exception]
    ) -> Sequence[Vector | Exception]:
        """Answer for each of *texts*; those with an error that is *known* are not asked for."""
        others = [place for place in range(len(texts)) if place not in known]
        found: Sequence[Vector | Exception] = ()
        if others:
            try:
                found = await self([texts[place] for place in others])
            except Exception as error:  # noqa: BLE001 - each of the others raises it
                found = [error] * len(others)
        answers = {**known, **dict(zip(others, found, strict=True))}
        return [answers[place] for place in range(len(texts))]

    async def ask(self, texts: Sequence[str]) -> Sequence[Vector]:
        request = EmbeddingRequest(
            texts, dimensions=self.dimensions, task=self.task, extra=self.extra
        )
        answer = await self.embedder(request)
        vectors = answer.vectors
        if self.about is not None:
            self.about.learn(request, answer.usage)
        if len(vectors) != len(texts):
            raise InvalidAnswer(
                f"{self.name}: {len(vectors)} vectors came for {len(texts)} texts; "
                "an embedder answers one for each, in their order"
            )
        return vectors


class _Search:
    """
    Looks for the texts on whose account a request is refused, by halving it.

    The longest are the likeliest, so the shorter half goes first. What passes, or would fail
    each text alike, ends the search; those without an answer by then fail with it.
    """

    def __init__(self, packs: _Packs, texts: Sequence[str]) -> None:
        self._packs = packs
        self._texts = texts
        self._answers: list[Vector | Exception | None] = [None] * len(texts)
        self._succeeded = False
        self._refused = 0

    async def answers(self) -> Sequence[Vector | Exception]:
        """Answer a vector, or the error of its own, for each text."""
        places = sorted(range(len(self._texts)), key=lambda place: len(self._texts[place]))
        error: Exception = Permanent(f"{self._packs.name}: not asked for")
        try:
            await self._halve(places)
        except Exception as found:  # noqa: BLE001 - each of the others raises it
            error = found
        return [error if answer is None else answer for answer in self._answers]

    async def _halve(self, places: list[int]) -> None:
        middle = (len(places) + 1) // 2
        for half in (places[:middle], places[middle:]):
            await self._try(half)

    async def _try(self, places: list[int]) -> None:
        try:
            vectors = await self._packs.ask([self._texts[place] for place in places])
        except Permanent as error:
            if len(places) > 1:
                await self._halve(places)
                return
            self._answers[places[0]] = error
            self._refused += 1
            if self._refused >= _HOPELESS and not self._succeeded:
                raise
            return
        self._succeeded = True
        for place, vector in zip(places, vectors, strict=True):
            self._answers[place] = vector


class _Embed(Composite):
    """The stage; enters and leaves the embedder, if that has a life cycle."""

    __slots__ = ("_packed", "_packs", "_text", "fingerprint", "name", "on_unknown", "version")

    def __init__(
        self,
        packs: _Packs,
        packed: Batched[str, Vector],
        text: Callable[[Any], str] | None,
        *,
        version: str,
        on_unknown: OnUnknown,
    ) -> None:
        self._packs = packs
        self._packed = packed
        self._text = text
        self.name = packs.name
        self.version = version
        self.on_unknown = on_unknown
        asked = [packs.dimensions, packs.task, packs.extra]
        self.fingerprint = digest(json_copy(asked, where="embed"))

    def parts(self) -> Iterable[object]:
        return (self._packs,)

    async def __call__(self, record: Record[Any]) -> Sequence[Record[Any]]:
        text = record.value if self._text is None else self._text(record.value)
        if not isinstance(text, str):
            raise DataError(
                f"{self.name}: the text of {record.key!r} is a {type(text).__qualname__}; "
                "let text= answer a text"
            )
        if current_recorder() is None:
            vector = await self._packed(text)
        else:
            vector = await self._packs.one(text)
        return (Record(Embedded(record.value, vector), record.key, record.attributes),)

    def __repr__(self) -> str:
        return f"<stage {self.name}>"


@overload
def embed(
    embedder: Embedder,
    *,
    text: Callable[[A], str],
    dimensions: int | None = None,
    task: EmbeddingTask | None = None,
    extra: Mapping[str, Any] | None = None,
    size: int = 2048,
    max_tokens: int = 300_000,
    count_tokens: Callable[[str], int] | None = None,
    linger: float = 0.01,
    clock: Clock | None = None,
    name: str | None = None,
    version: str = "1",
    on_unknown: OnUnknown = "retry",
) -> Stage[A, Embedded[A]]: ...
@overload
def embed(
    embedder: Embedder,
    *,
    text: None = None,
    dimensions: int | None = None,
    task: EmbeddingTask | None = None,
    extra: Mapping[str, Any] | None = None,
    size: int = 2048,
    max_tokens: int = 300_000,
    count_tokens: Callable[[str], int] | None = None,
    linger: float = 0.01,
    clock: Clock | None = None,
    name: str | None = None,
    version: str = "1",
    on_unknown: OnUnknown = "retry",
) -> Stage[str, Embedded[str]]: ...
def embed(
    embedder: Embedder,
    *,
    text: Callable[[Any], str] | None = None,
    dimensions: int | None = None,
    task: EmbeddingTask | None = None,
    extra: Mapping[str, Any] | None = None,
    size: int = 2048,
    max_tokens: int = 300_000,
    count_tokens: Callable[[str], int] | None = None,
    linger: float = 0.01,
    clock: Clock | None = None,
    name: str | None = None,
    version: str = "1",
    on_unknown: OnUnknown = "retry",
) -> Stage[Any, Any]:
    """
    Make a stage that embeds the text of each value: ``text(value)``, or the value itself.

    Each value becomes an `Embedded`: the value and its vector.

    Concurrent records share requests, of *size* texts and *max_tokens* tokens at most (OpenAI's
    limits), for which the first waits *linger* seconds. *count_tokens* counts the tokens of a
    text, as `tokens.Tiktoken.count` does; by default they are a `TokenEstimator`'s, which learns
    from the answers, and a quarter more. Texts that the embedder itself tells to be too long
    (`ContextOverflow.texts`) fail, and the others go on without them. When a request is refused
    otherwise, it is halved until the texts are found on whose account it was: they fail, each
    with the error of its own, and the others do not. When three fail each alone and none
    succeeds, all fail.

    In a pipeline with a journal each record makes a request of its own, since the journal keeps
    what was paid for by record. To share requests there too, `gather` the records, and
    embed them in a `map` behind: a later run goes on with the same groups.

    *name*, *version* and *on_unknown* are as with `map`; the model, *dimensions*, *task* and
    *extra* are part of the version by themselves. Raises `DataError` for a text that is none.
    """
    check(callable(embedder), "embed", "embedder", embedder, "an embedder, as OpenAIEmbeddings")
    check(
        text is None or _options.is_function(text), "embed", "text", text, "a function of a value"
    )
    check(
        count_tokens is None or _options.is_function(count_tokens),
        "embed",
        "count_tokens",
        count_tokens,
        "a function of a text",
    )
    _options.apply(_options.at_least(1), "embed", "max_tokens", max_tokens)
    _options.apply(_options.at_least(1), "embed", "size", size)
    _options.apply(_options.seconds, "embed", "linger", linger)
    check_mark("embed", version, on_unknown)
    EmbeddingRequest("", dimensions=dimensions, task=task, extra=extra or {})
    about = None if count_tokens is not None else _About()
    packs = _Packs(
        embedder=embedder,
        name=name or f"embed-{name_of(embedder)}",
        dimensions=dimensions,
        task=task,
        extra=extra or {},
        about=about,
    )
    packed: Batched[str, Vector] = Batched(
        many=packs,
        size=size,
        linger=linger,
        clock=clock or SystemClock(),
        weigh=count_tokens or about,
        max_weight=max_tokens,
    )
    return _Embed(packs, packed, text, version=version, on_unknown=on_unknown)
