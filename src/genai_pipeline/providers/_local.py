"""`Local`: a small model that comes with the library and needs no network."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, Any, ClassVar, Literal, TypeVar

import anyio.to_thread
import attrs

from genai_pipeline._listeners import listened
from genai_pipeline._options import at_least, check
from genai_pipeline._reconcile import LostCall
from genai_pipeline.clock import Clock, SystemClock
from genai_pipeline.errors import ContextOverflow, InvalidRequest
from genai_pipeline.events import CallFinished, emit
from genai_pipeline.messages import Request, Response, Usage
from genai_pipeline.parts import Text
from genai_pipeline.providers._local_answers import MODEL, Labelling, Summary
from genai_pipeline.providers._local_files import find_model_files
from genai_pipeline.providers._local_loading import word_vectors
from genai_pipeline.providers._rules import refuse_options, refuse_parts

if TYPE_CHECKING:
    from genai_pipeline.providers._local_vectors import WordVectors

__all__ = ["Local"]

T = TypeVar("T")

_CAN = (
    "it chooses among labels=, summarises with Local.summary(text) and embeds with "
    "Local().embed(texts); for anything else use a provider with a language model"
)

# Reading this many characters takes less than a millisecond: not worth a worker thread.
_INLINE = 1_000

_MOST_SENTENCES = 100

# How freely to choose: it has no choice.
_IGNORED = ("temperature", "top_p", "seed")


def _to_descriptions(descriptions: Mapping[str, str]) -> dict[str, str]:
    fine = isinstance(descriptions, Mapping) and all(
        isinstance(text, str) for pair in descriptions.items() for text in pair
    )
    check(fine, "Local", "descriptions", descriptions, "a mapping of labels to texts")
    return dict(descriptions)


@attrs.frozen(eq=False)
class Local:
    """
    The embedded model: labels, extractive summaries and embeddings, offline and without a key.

    It compares static word vectors, which ship inside a package of the extra ``local``: it
    knows which words go together, and nothing of grammar, negation or facts. English works best.
    The same request always gets the same answer. How good it is, in figures, stands
    in the documentation under "The quality of the embedded model".

    A `Request` does one of two things, with the text of its last message, which must be the
    user's; ``system``, earlier messages and ``temperature`` are not looked at:

    - with ``labels=`` it answers the label whose name and description are most like the text,
      and each label's cosine similarity in ``Response.attributes["scores"]``;
    - as made by `summary` it answers whole sentences of the text.

    Anything else raises `InvalidRequest`, as does a text without a single word; a text longer
    than *max_characters* raises `ContextOverflow`. Building one without the extra installed
    raises `ConfigurationError`.

    The vectors (16 MB) are read once for each process, in a worker thread, by the first call.
    Longer texts are worked on in worker threads, so the event loop is never held for long.

    Its calls are free and always answer alike, so a pipeline's journal does not keep them.
    """

    records_calls: ClassVar[bool] = True
    output_modes: ClassVar[tuple[str, ...]] = ("labels",)

    descriptions: Mapping[str, str] = attrs.field(
        factory=dict, kw_only=True, converter=_to_descriptions
    )
    """
    Words that say more about labels than their names do, by label: ``{"billing": "invoice,
    payment, refund"}``. A request adds or replaces some in ``extra={"descriptions": {...}}``.
    """

    max_characters: int = attrs.field(
        default=200_000, kw_only=True, validator=at_least(1, 10_000_000)
    )
    """The longest text that is read."""

    clock: Clock = attrs.field(factory=SystemClock, kw_only=True, repr=False)

    def __attrs_post_init__(self) -> None:
        find_model_files()

    @staticmethod
    def summary(text: str, sentences: int = 1, *, max_output_tokens: int | None = None) -> Request:
        """
        Answer the request for a summary of *text* by (at most) *sentences* of its own sentences.

        With *max_output_tokens* only sentences are chosen that fit into it as a whole; the
        response's ``finish_reason`` is ``length`` when that left fewer of them, and `Truncated`
        is raised when none fits.
        """
        extra = {"task": "summary", "sentences": sentences}
        return Request(text, max_output_tokens=max_output_tokens, extra=extra)

    async def __call__(self, request: Request) -> Response:
        """Answer *request*: a label of those given, or a summary."""
        with self._call() as finished:
            task = self._task(request)
            response = await self._work(task.answer, task.size)
            finished(response.usage, response.finish_reason)
        return response

    async def find(self, call: LostCall, /) -> Literal["void"]:  # noqa: ARG002 - whichever it is
        """Answer that a call whose answer was lost cost nothing, so that it is made again."""
        return "void"

    async def embed(self, texts: Iterable[str]) -> list[list[float]]:
        """
        Answer a vector of 256 numbers, of length one, for each of *texts*, in order.

        The cosine of two texts is the sum of the products of their vectors. A text without a
        word gets zeros. Counts as one call.
        """
        with self._call() as finished:
            batch = self._texts(texts)

            def read(words: WordVectors) -> tuple[int, list[list[float]]]:
                readings = [words.read(text) for text in batch]
                return sum(each.tokens for each in readings), [
                    each.vector.tolist() for each in readings
                ]

            tokens, vectors = await self._work(read, sum(map(len, batch)))
            finished(Usage(input_tokens=tokens, cost=Decimal(0)), "stop")
        return vectors

    async def _work(self, work: Callable[[WordVectors], T], size: int) -> T:
        words = await word_vectors()
        if size <= _INLINE:
            return work(words)
        return await anyio.to_thread.run_sync(work, words)

    def _task(self, request: Request) -> Labelling | Summary:
        last = request.messages[-1]
        if last.role != "user":
            raise InvalidRequest(
                f"Local: the last message is of the role {last.role!r}, and Local cannot go on "
                f"with a conversation; {_CAN}"
            )
        if request.schema is not None:
            raise InvalidRequest(f"Local: it cannot fill a schema=; {_CAN}")
        refuse_options(request, "Local", takes=("labels", "max_output_tokens", *_IGNORED))
        refuse_parts(request, "Local", takes=(Text,))
        text = last.text
        self._measure(text)
        extra = dict(request.extra)
        if request.labels is not None:
            descriptions = _described(extra.pop("descriptions", {}), request.labels)
            _nothing_left(extra, "with labels=, 'descriptions' is known")
            return Labelling(text, request.labels, {**self.descriptions, **descriptions})
        if extra.pop("task", None) != "summary":
            raise InvalidRequest(f"Local: it cannot write text; {_CAN}")
        sentences = extra.pop("sentences", 1)
        _nothing_left(extra, "beside 'task', 'sentences' is known")
        if type(sentences) is not int or not 1 <= sentences <= _MOST_SENTENCES:
            raise InvalidRequest(
                f"Local: sentences={sentences!r}; give a whole number, 1 to {_MOST_SENTENCES}"
            )
        return Summary(text, sentences, request.max_output_tokens)

    def _texts(self, texts: Iterable[str]) -> list[str]:
        batch = [] if isinstance(texts, str) else list(texts)
        if isinstance(texts, str) or not all(isinstance(text, str) for text in batch):
            raise InvalidRequest("Local: embed takes several texts; give a list of str")
        for text in batch:
            self._measure(text)
        return batch

    def _measure(self, text: str) -> None:
        if len(text) > self.max_characters:
            raise ContextOverflow(
                f"Local: the text has {len(text):,} characters, more than "
                f"max_characters={self.max_characters:,}; split it, or allow more"
            )

    @contextmanager
    def _call(self) -> Iterator[Callable[[Usage, str], None]]:
        """Tell the listeners of one call, however it ends."""
        began = self.clock.now()
        outcome: dict[str, Any] = {}

        def finished(usage: Usage, finish_reason: str) -> None:
            outcome.update(
                input_tokens=usage.input_tokens,
                output_tokens=usage.output_tokens,
                cost=usage.cost,
                finish_reason=finish_reason,
            )

        try:
            yield finished
        except BaseException as error:
            failed = isinstance(error, Exception)
            outcome["error"] = type(error).__name__ if failed else "Cancelled"
            raise
        finally:
            if listened():
                seconds = self.clock.now() - began
                emit(CallFinished(provider="local", model=MODEL, seconds=seconds, **outcome))


def _described(descriptions: object, labels: tuple[str, ...]) -> Mapping[str, str]:
    if not isinstance(descriptions, Mapping):
        raise InvalidRequest(
            f"Local: descriptions={descriptions!r}; give a mapping of labels to texts"
        )
    for label, text in descriptions.items():
        if label not in labels or not isinstance(text, str):
            raise InvalidRequest(
                f"Local: descriptions[{label!r}]={text!r}; give a text for one of {labels!r}"
            )
    return descriptions


def _nothing_left(extra: Mapping[str, Any], known: str) -> None:
    if extra:
        raise InvalidRequest(f"Local: extra holds {', '.join(map(repr, extra))}; {known}")
